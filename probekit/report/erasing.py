"""An erasure run as its page reads it: figures by concept, reading, method and layer."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from probekit.plots import Estimate
from probekit.report.causal import ALPHA, figure_of
from probekit.report.reading import Line, Recorded, twice
from probekit.report.words import say

NEW, SAME = "auroc", "auroc_same_rows"
CHANGE, BEYOND = "auroc_change", "auroc_above_random"
LOSS, DIGITS = "nats_per_token", 3
"""The model's own loss; erasing changes it in the third digit."""
METHODS = {
    "none": "before",
    "leace": "LEACE",
    "projection": "projection",
    "random": "random directions",
}
COSTS = {
    "erased": "LEACE",
    "random": "random directions",
    "placebo": "placebo",
}
"""What is done to the states whose loss is measured."""


class Block(NamedTuple):
    """Where states were read, and how they were pooled."""

    site: str
    pooling: str

    def __str__(self) -> str:
        return ", ".join(part for part in self if part)


class Reading(NamedTuple):
    """A concept erased, one that is read, and where."""

    source: str
    target: str
    block: Block

    @property
    def own(self) -> bool:
        """Whether it is the erased concept that is read."""
        return self.source == self.target


class Kind(NamedTuple):
    """Which figure of a reading: its metric, method, and whether it is its chance."""

    metric: str
    method: str
    null: bool = False


@dataclass(frozen=True)
class Erasing:
    """An erasure run: its manifest, and its lines by what they are of."""

    manifest: dict[str, Any]
    index: dict[tuple[Reading, Kind, int], Line]

    def above_chance(self, line: Line | None) -> bool | None:
        """Whether a probe is shown to read something.

        `None` where chance was not measured, or with too few permutations: p as small as they
        allow, and q over layers not small enough for all that.
        """
        decides = tested(line)
        if line is None or decides is None:
            return None
        return True if decides < ALPHA else None if self.at_floor(line) else False

    def at_floor(self, line: Line) -> bool:
        """Whether p is the smallest that the permutations allow."""
        count = self.manifest.get("permutations")
        # p is rounded to six digits in the results.
        return bool(count) and line.p is not None and line.p <= 1.0001 / (1 + int(count))

    @cached_property
    def readings(self) -> tuple[Reading, ...]:
        """What was read after erasing what, in the order of the results."""
        return tuple(dict.fromkeys(r for r, f, _ in self.index if f.metric == NEW))

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """Sites and poolings, the headlined one first: the manifest's first of each."""
        there = list(dict.fromkeys(reading.block for reading in self.readings))
        sites, poolings = (self.manifest.get(name) or [""] for name in ("sites", "poolings"))
        first = Block(str(sites[0]), str(poolings[0]))
        return tuple(sorted(there, key=lambda block: block != first))

    @property
    def concepts(self) -> tuple[str, ...]:
        """What was erased."""
        return tuple(dict.fromkeys(reading.source for reading in self.readings))

    def of(self, concept: str, block: Block) -> Reading:
        """The reading of an erased concept itself."""
        return Reading(concept, concept, block)

    def kept(self, concept: str, block: Block) -> list[Reading]:
        """What else was read where a concept was erased."""
        return [r for r in self.readings if (r.source, r.block) == (concept, block) and not r.own]

    def headline(self, block: Block) -> int | None:
        """The layer that is headlined; the manifest says it, never a figure."""
        given = self.manifest.get("headline_layer", {}).get(block.site)
        return None if given is None else int(given)

    def line(
        self, reading: Reading, metric: str, method: str, layer: int | None, *, null: bool = False
    ) -> Line | None:
        """The line of one figure at one layer."""
        if layer is None:
            return None
        return self.index.get((reading, Kind(metric, method, null), layer))

    def value(
        self, reading: Reading, metric: str, method: str, layer: int | None, *, null: bool = False
    ) -> Estimate:
        """Its estimate, or a missing one."""
        return figure_of(self.line(reading, metric, method, layer, null=null))

    def over_layers(
        self, reading: Reading, metric: str, method: str, *, null: bool = False
    ) -> list[Line]:
        """The lines of one figure at every layer that has it."""
        wanted = (reading, Kind(metric, method, null))
        found = self.curves.get(wanted, {})
        return [found[layer] for layer in sorted(found)]

    @cached_property
    def curves(self) -> dict[tuple[Reading, Kind], dict[int, Line]]:
        """Lines by layer."""
        found: dict[tuple[Reading, Kind], dict[int, Line]] = {}
        for (reading, figure, layer), line in self.index.items():
            found.setdefault((reading, figure), {})[layer] = line
        return found

    def loss(self, concept: str, block: Block) -> Reading:
        """The model's own loss where a concept was erased."""
        return Reading(concept, "", block)

    def loss_layer(self, concept: str, block: Block) -> int | None:
        """The headline layer, or the one nearest to it at which the loss was measured."""
        lines = self.over_layers(self.loss(concept, block), LOSS, "erased")
        there = [line.layer for line in lines if line.layer is not None]
        wanted = self.headline(block)
        if not there or wanted is None:
            return None
        return min(there, key=lambda layer: (abs(layer - wanted), layer))


def erasing_of(recorded: Recorded) -> Erasing:
    """The lines of an erasure run.

    Raises:
        UserError: a figure is given twice.
    """
    index: dict[tuple[Reading, Kind, int], Line] = {}
    for line in recorded.lines:
        if line.layer is None:
            continue
        reading = Reading(line.source, line.target, Block(line.site, line.pooling))
        key = (reading, Kind(line.metric, line.method, line.condition == "null"), line.layer)
        if key in index:
            raise twice(line)
        index[key] = line
    return Erasing(recorded.manifest, index)


def tested(line: Line | None) -> float | None:
    """What decides about a figure: its q over layers, or its p where it is the only layer."""
    if line is None:
        return None
    return line.p if line.q is None else line.q


def side(line: Line | None) -> int | None:
    """1 or -1 for a difference that is shown, 0 for one that is not, `None` for none tested."""
    decides = tested(line)
    if line is None or decides is None or line.estimate.value is None:
        return None
    if decides >= ALPHA:
        return 0
    return int(line.estimate.value > 0) - int(line.estimate.value < 0)


def said(concept: str) -> str:
    """`reception, keyword-free`."""
    return ", ".join(map(say, concept.split("/")))


def arms_listed(concepts: Iterable[str]) -> list[str]:
    """`reception (keyword-free)`, for use within a list."""
    return [
        f"{say(task)} ({say(arm)})" if arm else say(task)
        for task, _, arm in (concept.partition("/") for concept in concepts)
    ]
