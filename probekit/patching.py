"""Activation patching with its controls: whose state, put where, moves which read-out.

The state of another text's last token is put in the place of a text's own, at every layer and
site. Sources: a text of the same emotion, of another one (also from the other keyword arm), the
neutral control of the same scenario, a random vector of equal length, the text's own state at
another position; and none.
Every source is measured by the same figures, so base rates and placebos stand in the same table.

- `source_shift`: change of the log-odds of the source's emotion among the emotion words (for
  control sources: of the emotion that the text of another emotion has).
- `target_shift`: the same of the patched text's own emotion.
- `source_shift_probe`: `source_shift` by an eight-class probe at the last block.
- `flip`: share of texts whose first word among the labels is the source's emotion.
- `reception_shift`: change of the log-odds "emotional" of a probe at the last block.

On pairs whose tokens can be aligned, the states of the changed words, of what follows them and of
the read-out token are patched from one arm into the other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from probekit import runs
from probekit.activations import capture
from probekit.causal import (
    Floats,
    Row,
    Sizes,
    Subject,
    adjusted,
    last_token,
    log_odds,
    norm_matched,
)
from probekit.edits import Edit, Set
from probekit.errors import UserError
from probekit.hooks import reading
from probekit.models import Model
from probekit.prompts import Encoded
from probekit.runs import Progress
from probekit.sites import Kind, Site
from probekit.stimuli import StimulusSet
from probekit.store import Activations
from probekit.sweep import Swept
from probekit.tasks import NEUTRAL

CONTROLS = ("neutral", "random", "shuffled")
COMPARED = {"random": ("same", "other", "across", "partner", "neutral"), "same": ("other",)}
"""Control -> sources that are compared with it, text by text."""
PARTS = ("changed", "after", "readout")
"""Parts of an aligned pair. Tokens before the first change are the same in both: no patch there."""
EXAMPLES = 3


@dataclass(frozen=True)
class Patching:
    """What a patching run is asked for.

    Attributes:
        sites: kinds, every layer of which is patched.
        heads: patch single heads too, from another emotion and at random.
        sizes: template, draws and seed.
    """

    sites: tuple[Kind, ...] = ("resid_post", "attn_out", "mlp_out")
    heads: bool = False
    sizes: Sizes = field(default_factory=Sizes)


def run_patching(
    model: Model,
    stimuli: StimulusSet,
    out: Path,
    options: Patching,
    *,
    command: str = "",
    progress: Progress = lambda *_: None,
) -> Path:
    """Run the study and write its run folder; one that was killed goes on.

    Args:
        stimuli: a set with emotions; its test split is patched, its dev split fits the probes.

    Raises:
        UserError: a set without labels, a site the model lacks, no text left to patch, or `out`
            holds another run.
    """
    model.sites.expand(options.sites)
    kinds = [*options.sites, *(["z"] if options.heads else [])]
    subject = Subject(model, stimuli, options.sizes, progress, kinds)
    identity = subject.identity("patch", {"sites": list(options.sites), "heads": options.heads})
    runs.open_run(out, identity)
    rows = list(subject.base)
    notes: list[str] = []
    for arm in [*subject.arms, *([NEUTRAL] if NEUTRAL in subject.arm else [])]:
        targets = subject.rows(arm, learned=False)
        if len(targets):
            rows += _LastToken(subject, arm, targets, options, out / runs.STAGES).rows(notes)
    pairs = aligned_pairs(subject)
    if pairs:
        rows += _Aligned(subject, pairs, out / runs.STAGES).rows()
    elif stimuli.has("pair"):
        notes.append("no pair whose two texts have as many tokens: positions were not patched")
    subject.write(out, rows, "patch")
    manifest = subject.manifest("patch", command, identity, notes=list(dict.fromkeys(notes)))
    runs.write_json(out / runs.MANIFEST, manifest)
    return out


class _LastToken:
    """Patches at the last token of the texts of one arm, from every source."""

    def __init__(
        self,
        subject: Subject,
        arm: str,
        targets: NDArray[np.int64],
        options: Patching,
        keep: Path,
    ) -> None:
        self.subject, self.arm, self.targets = subject, arm, targets
        self.options, self.keep = options, keep
        self.rng = np.random.default_rng(options.sizes.seed)
        self.donors = self._donors()

    def _donors(self) -> dict[str, NDArray[np.int64]]:
        """Source -> `[target]`, the row whose state is put in; -1 where there is none."""
        pool = self.subject.rows(self._emotional, learned=False)
        if self.arm == NEUTRAL:
            return {
                "partner": self._partners(self._emotional),
                "neutral": self._draw(self.targets, lambda t, s: s != t),
            }
        emotion = self.subject.emotion
        donors = {
            "same": self._draw(pool, lambda t, s: emotion[s] == emotion[t] and s != t),
            "other": self._draw(pool, lambda t, s: emotion[s] != emotion[t]),
            "neutral": self._partners(NEUTRAL),
        }
        if others := [arm for arm in self.subject.arms if arm != self._emotional]:
            # Of the emotion that "other" has, so that one figure speaks of both.
            wanted = dict(zip(self.targets, emotion[donors["other"]], strict=True))
            pool = self.subject.rows(others[0], learned=False)
            donors["across"] = self._draw(pool, lambda t, s: emotion[s] == wanted[t])
        return donors

    @property
    def _emotional(self) -> str:
        return self.subject.arms[0] if self.arm == NEUTRAL else self.arm

    def _draw(self, pool: NDArray[np.int64], fits: Any) -> NDArray[np.int64]:
        """For each target one row of another scenario that fits."""
        scenario = self.subject.scenario
        found = []
        for target in self.targets:
            there = [s for s in pool if scenario[s] != scenario[target] and fits(target, s)]
            found.append(self.rng.choice(there) if there else -1)
        return np.array(found)

    def _partners(self, arm: str) -> NDArray[np.int64]:
        """The rows of another arm with the same scenario (or pair)."""
        stimuli, subject = self.subject.stimuli, self.subject
        key = stimuli.column("pair") if stimuli.has("pair") else subject.scenario
        there = {key[row]: row for row in np.flatnonzero(subject.arm == arm)}
        return np.array([there.get(key[target], -1) for target in self.targets])

    @cached_property
    def _elsewhere(self) -> Activations:
        """States of the targets at one token other than their last, drawn at random."""
        subject, spans = self.subject, []
        for prompt in (subject.prompts[target] for target in self.targets):
            tokens = prompt.tokens_of(0, prompt.text_end - prompt.text_start)
            # The first token is a sink; the last of the text may be the one that is patched.
            token = self.rng.choice([t for t in tokens if 0 < t < len(prompt) - 1])
            first, last = prompt.offsets[token]
            spans.append((max(0, first - prompt.text_start), last - prompt.text_start))
        texts = [(subject.stimuli.ids[t], subject.stimuli.texts[t]) for t in self.targets]
        template = subject.sizes.template
        return capture(
            subject.model, texts, self.options.sites, ["span"], template=template, spans=spans
        )

    def _values(self, source: str, site: Site, head: int | None) -> NDArray[np.float32]:
        """What is put in, `[target, d]`; of a head its own part."""
        own = self.subject.state(site)
        part = slice(None)
        if head is not None:
            each = own.shape[1] // self.subject.model.sites.units("z")
            part = slice(head * each, (head + 1) * each)
        if source == "shuffled":
            return self._elsewhere.layer(site.kind, site.layer, "span")[:, part]
        if source == "random":
            # Of one seed everywhere: the same directions at each layer, so that layers compare.
            rng = np.random.default_rng([self.options.sizes.seed, 1])
            return norm_matched(own[self.donors[self._named]][:, part], rng)
        return own[self.donors[source]][:, part]

    @property
    def _named(self) -> str:
        """The source whose emotion the figures speak of."""
        return "partner" if self.arm == NEUTRAL else "other"

    def rows(self, notes: list[str]) -> list[Row]:
        """Figures of all sources, sites and layers."""
        whole = np.all([donors >= 0 for donors in self.donors.values()], axis=0)
        if missing := int((~whole).sum()):
            notes.append(f"{missing} texts of arm {self.arm} lack a source and are left out")
            self.targets = self.targets[whole]
            self.donors = {name: donors[whole] for name, donors in self.donors.items()}
        if not len(self.targets):
            raise UserError(
                f"{self.subject.stimuli.name}: no text of arm {self.arm!r} has a source of every "
                "kind (another text of its emotion, of another one, its neutral partner)"
            )
        sources = [*self.donors, "random", "shuffled"]
        places = [(source, site, None) for site in self._sites() for source in sources]
        if self.options.heads:
            places += [
                (source, site, head)
                for site in self.subject.model.sites.expand(["z"])
                for head in range(self.subject.model.sites.units("z"))
                for source in (self._named, "random")
            ]
        edits = [
            last_token(
                site,
                Set(self._values(source, site, head), f"the state of source {source!r}"),
                units=None if head is None else (head,),
            )
            for source, site, head in places
        ]
        swept = self.subject.sweep(
            self.targets,
            edits,
            readouts=("labels", "category", "reception"),
            keep=self.keep,
            what=f"patching {self.arm}",
        )
        notes += swept.notes
        return [*self._base(swept), *self._figures(swept, places)]

    def _sites(self) -> tuple[Site, ...]:
        return self.subject.model.sites.expand(self.options.sites)

    def _base(self, swept: Swept) -> list[Row]:
        """How often the first word is already the own or the source's emotion."""
        first = swept.clean["labels"].argmax(-1)
        source = self.subject.emotion[self.donors[self._named]]
        out = [("flip", first == source, "none")]
        if self.arm != NEUTRAL:
            out.append(("top1", first == self.subject.emotion[self.targets], ""))
        return [
            {
                "task": "category",
                "metric": metric,
                "source": of,
                "target": self.arm,
                "condition": "baseline",
                **self.subject.effects(hit[:, None].astype(np.float64), self.targets)[0],
            }
            for metric, hit, of in out
        ]

    def _figures(self, swept: Swept, places: Sequence[tuple[str, Site, int | None]]) -> list[Row]:
        named = self.subject.emotion[self.donors[self._named]]
        figures = shifts(swept, named, self.subject.emotion[self.targets])
        if self.arm == NEUTRAL:
            figures.pop("target_shift", None)
        rows: list[Row] = []
        for metric, values in figures.items():
            rows += self._plain(metric, values, places)
            if metric != "flip":
                for control in COMPARED:
                    rows += self._above(control, metric, values, places)
        return rows

    def _plain(self, metric: str, values: Floats, places: Sequence[Any]) -> list[Row]:
        found = self.subject.effects(values.T, self.targets)
        return [
            self._place(metric, source, site, head) | estimate
            for (source, site, head), estimate in zip(places, found, strict=True)
        ]

    def _above(self, control: str, metric: str, values: Floats, places: Sequence[Any]) -> list[Row]:
        """Each source minus a control at the same place, paired by text, with p and q."""
        at = {place: number for number, place in enumerate(places)}
        pairs = [
            (place, values[number] - values[at[control, *place[1:]]])
            for place, number in at.items()
            if place[0] in COMPARED[control] and (control, *place[1:]) in at
        ]
        if not pairs:
            return []
        found = self.subject.effects(np.stack([d for _, d in pairs], 1), self.targets, test=True)
        rows = [
            self._place(metric, *place) | {"method": f"above_{control}"} | estimate
            for (place, _), estimate in zip(pairs, found, strict=True)
        ]
        families: dict[Any, list[Row]] = {}
        for (place, _), row in zip(pairs, rows, strict=True):
            families.setdefault((place[0], place[1].kind, place[2] is None), []).append(row)
        for family in families.values():
            adjusted(family)
        return rows

    def _place(self, metric: str, source: str, site: Site, head: int | None) -> Row:
        return {
            "task": "reception" if metric == "reception_shift" else "category",
            "metric": metric,
            "site": site.kind,
            "layer": site.layer,
            "unit": "" if head is None else head,
            "position": "last",
            "source": source,
            "target": self.arm,
            "condition": "control" if source in CONTROLS else "patch",
        }


def shifts(swept: Swept, source: NDArray[np.int64], target: NDArray[np.int64]) -> dict[str, Floats]:
    """Metric -> `[edit, item]` of what a sweep read; see the module's text.

    Args:
        source, target: `[item]`, places of the emotions among the labels.
    """
    after, before = swept.values["labels"], swept.clean["labels"]
    out = {"source_shift": log_odds(after, source) - log_odds(before, source)}
    out["target_shift"] = log_odds(after, target) - log_odds(before, target)
    out["flip"] = (after.argmax(-1) == source).astype(np.float64)
    if "category" in swept.values:
        probe, was = swept.values["category"], swept.clean["category"]
        out["source_shift_probe"] = log_odds(probe, source) - log_odds(was, source)
    if "reception" in swept.values:
        out["reception_shift"] = swept.effects("reception")[..., 0]
    return out


@dataclass(frozen=True)
class Pair:
    """Two texts of a pair with as many tokens.

    Attributes:
        target, source: rows of the patched text (neutral) and of the other (emotional).
        first, last: the first and the last token that differ.
    """

    target: int
    source: int
    first: int
    last: int

    def tokens(self, part: str, length: int) -> list[int]:
        """Tokens of one of `PARTS` in a prompt of this length."""
        match part:
            case "changed":
                return list(range(self.first, self.last + 1))
            case "after":
                return list(range(self.last + 1, length - 1))
            case _:
                return [length - 1]


def aligned_pairs(subject: Subject) -> list[Pair]:
    """Pairs of held-out texts whose prompts have equal length, so that tokens correspond."""
    stimuli = subject.stimuli
    if not stimuli.has("pair"):
        return []
    of_pair = stimuli.column("pair")
    emotional = {of_pair[r]: r for r in subject.rows(subject.arms[0], learned=False)}
    found = []
    for target in subject.rows(NEUTRAL, learned=False):
        source = emotional.get(of_pair[target])
        if source is None:
            continue
        a, b = subject.prompts[target].input_ids, subject.prompts[source].input_ids
        differ = [n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y]
        if len(a) == len(b) and differ and differ[-1] < len(a) - 1:
            found.append(Pair(int(target), int(source), differ[0], differ[-1]))
    return found


class _Aligned:
    """Patches of parts of aligned pairs, from the emotional text into the neutral one."""

    def __init__(self, subject: Subject, pairs: Sequence[Pair], keep: Path) -> None:
        self.subject, self.pairs, self.keep = subject, pairs, keep
        self.targets = np.array([pair.target for pair in pairs])
        self.sites = subject.model.sites.expand(["resid_pre"])
        prompts = [subject.prompts[pair.source] for pair in pairs]
        self.states = token_states(subject.model, prompts, self.sites)

    def rows(self) -> list[Row]:
        """Figures of the parts over all pairs, then every token of a few pairs."""
        places = [
            (part, site, source)
            for part in PARTS
            for site in self.sites
            for source in ("partner", "random")
        ]
        edits = [self._edit(*place) for place in places]
        swept = self.subject.sweep(
            self.targets,
            edits,
            readouts=("labels", "reception"),
            keep=self.keep,
            what="patching aligned pairs",
        )
        emotion = self.subject.emotion[[pair.source for pair in self.pairs]]
        figures = shifts(swept, emotion, emotion)
        rows: list[Row] = []
        for metric in ("source_shift", "reception_shift"):
            if metric not in figures:
                continue
            found = self.subject.effects(figures[metric].T, self.targets)
            for (part, site, source), estimate in zip(places, found, strict=True):
                rows.append(self._place(metric, site, part, source) | estimate)
        return rows + [row for number in range(EXAMPLES) for row in self._example(number)]

    def _edit(self, part: str, site: Site, source: str) -> Edit:
        tokens = [pair.tokens(part, len(self.subject.prompts[pair.target])) for pair in self.pairs]
        longest = max(map(len, tokens))
        values = np.zeros((len(tokens), longest, self.subject.model.d_model), np.float32)
        for item, own in enumerate(tokens):
            values[item, : len(own)] = self.states[site][item][own]
        if source == "random":
            seed = [self.subject.sizes.seed, 2]
            values = norm_matched(values + 1e-30, np.random.default_rng(seed))
        return Edit(site, tokens, Set(values, f"the states of {source!r}"))

    def _example(self, number: int) -> list[Row]:
        """Every layer and token of one pair, from its first change on."""
        if number >= len(self.pairs):
            return []
        pair, prompt = self.pairs[number], self.subject.prompts[self.pairs[number].target]
        tokens = range(pair.first, len(prompt))
        places = [(site, token) for site in self.sites for token in tokens]
        edits = [Edit(s, t, Set(self.states[s][number][t], "the partner's")) for s, t in places]
        row = np.array([pair.target])
        swept = self.subject.sweep(row, edits, readouts=("reception",), keep=self.keep)
        if "reception" not in swept.values:
            return []
        words = self.subject.model.tokenizer
        shown = [words.decode([prompt.input_ids[t]]) for t in range(len(prompt))]
        name = str(self.subject.stimuli.column("pair")[pair.target])
        return [
            self._place("reception_shift", site, str(token), "partner")
            | {"target": name, "unit": shown[token], "value": float(value), "n": 1}
            | {"method": "changed" if token <= pair.last else ""}
            for (site, token), value in zip(
                places, swept.effects("reception")[:, 0, 0], strict=True
            )
        ]

    def _place(self, metric: str, site: Site, position: str, source: str) -> Row:
        return {
            "task": "reception" if metric == "reception_shift" else "category",
            "metric": metric,
            "site": site.kind,
            "layer": site.layer,
            "position": position,
            "source": source,
            "target": NEUTRAL,
            "condition": "patch" if source == "partner" else "control",
        }


@torch.no_grad()
def token_states(
    model: Model, prompts: Sequence[Encoded], sites: Sequence[Site]
) -> Mapping[Site, list[NDArray[np.float32]]]:
    """Every token's state at some sites: site -> for each prompt `[token, d]`."""
    out: dict[Site, list[NDArray[np.float32]]] = {site: [] for site in sites}
    for prompt in prompts:

        def receive(site: Site, value: torch.Tensor) -> None:
            out[site].append(value[0].float().cpu().numpy())

        with reading(model.sites, sites, receive):
            model.body(model.collate([prompt]))
    return out
