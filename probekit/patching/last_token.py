"""Patches at the last token of a prompt, from every source."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probekit.activations import capture
from probekit.causal import Floats, Row, Subject, adjusted, norm_matched, task_of
from probekit.edits import Edit, Set
from probekit.errors import UserError
from probekit.patching.figures import shifts
from probekit.sites import Kind, Site
from probekit.store import Activations
from probekit.sweep import Swept
from probekit.tasks import NEUTRAL

CONTROLS = ("neutral", "random", "shuffled")
COMPARED = {
    "random": ("same", "other", "across", "partner", "neutral"),
    "same": ("other", "across", "neutral"),
    "neutral": ("other", "across", "partner"),
}
"""Control -> sources that are compared with it, text by text.

A random vector is no state that a model ever has; another text's state without the emotion that the
figures speak of is the fairer placebo.
"""


class LastToken:
    """Patches at the last token of the texts of one arm, from every source."""

    def __init__(
        self,
        subject: Subject,
        arm: str,
        targets: NDArray[np.int64],
        sites: Sequence[Kind],
        heads: bool,
        keep: Path,
    ) -> None:
        self.subject, self.arm, self.targets = subject, arm, targets
        self.kinds, self.heads, self.keep = sites, heads, keep
        self.rng = np.random.default_rng(subject.sizes.seed)
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
        # A source that no text has is left out; one that some lack leaves those texts out.
        return {name: d for name, d in donors.items() if name == self._named or (d >= 0).any()}

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
        there = {key[row]: row for row in np.flatnonzero(subject.arm == arm) if key[row]}
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
        return capture(subject.model, texts, self.kinds, ["span"], template=template, spans=spans)

    def _values(self, source: str, site: Site, head: int | None) -> NDArray[np.float32]:
        """What is put in, `[target, d]`; of a head its own part."""
        if source == "shuffled":
            return self._elsewhere.layer(site.kind, site.layer, "span")
        own = self.subject.state(site, head)
        if source == "random":
            # Of one seed everywhere: the same directions at each layer, so that layers compare.
            rng = np.random.default_rng([self.subject.sizes.seed, 1])
            return norm_matched(own[self.donors[self._named]], rng)
        return own[self.donors[source]]

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
        if self.heads:
            places += [
                (source, site, head)
                for site in self.subject.model.sites.expand(["z"])
                for head in range(self.subject.model.sites.units("z"))
                for source in (self._named, "random")
            ]
        edits = [
            Edit(
                site,
                -1,
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
        return self.subject.model.sites.expand(self.kinds)

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
            "task": task_of(metric),
            "metric": metric,
            "site": site.kind,
            "layer": site.layer,
            "unit": "" if head is None else head,
            "position": "last",
            "source": source,
            "target": self.arm,
            "condition": "control" if source in CONTROLS else "patch",
        }
