"""Patches of pairs whose tokens correspond, part by part and token by token."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from probekit.causal import RECEPTION, Row, Subject, norm_matched, task_of
from probekit.edits import Edit, Set
from probekit.hooks import reading
from probekit.models import Model
from probekit.patching.figures import shifts
from probekit.prompts import Encoded
from probekit.sites import Site
from probekit.tasks import NEUTRAL

PARTS = ("changed", "after", "readout")
"""Parts of an aligned pair. Tokens before the first change are the same in both: no patch there."""
EXAMPLES = 3


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


class Aligned:
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
        for metric in ("source_shift", RECEPTION):
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
            self._place(RECEPTION, site, str(token), "partner")
            | {"target": name, "unit": shown[token], "value": float(value), "n": 1}
            | {"method": "changed" if token <= pair.last else ""}
            for (site, token), value in zip(
                places, swept.effects("reception")[:, 0, 0], strict=True
            )
        ]

    def _place(self, metric: str, site: Site, position: str, source: str) -> Row:
        return {
            "task": task_of(metric),
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
