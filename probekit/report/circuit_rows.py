"""A run of circuits as its page reads it: figures by what they are of, and their controls."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from probekit.plots import Estimate
from probekit.report.lines import Lines
from probekit.report.reading import NOTHING, Line, Recorded
from probekit.report.scorecard_rows import Card

if TYPE_CHECKING:
    from probekit.circuits.graph import Graph

CIRCUIT, COMPLEMENT, OTHER = "circuit", "complement", "other emotion's"
RANDOM, RANDOM_COMPLEMENT, INTACT = "random", "random complement", "nothing"
NULL = "null"
PROMPT, STEER = "prompt", "steer"
SUBLAYERS = {"attn_out": "attention", "mlp_out": "MLP"}
PARTS = {"z": "heads", "mlp_post": "neurons"}
READOUTS = {
    "labels": "the emotion’s word as the next token",
    "category": "a probe of which emotion",
}
WAYS = {
    "halves": "two halves of the scenarios",
    "themes": "two halves of the themes",
    "seeds": "two seeds of sampling",
    "sources": "replies and vignettes",
    "allocations": "the two ways to spread the budget",
    "emotions": "two emotions",
}
"""What two circuits were compared over; of emotions a small overlap is what sets them apart."""
EVENTS = ("positive", "neutral", "negative")


@dataclass(frozen=True)
class Circuits(Lines):
    """A run's manifest, its lines by what they are of, and its graphs."""

    graphs: "tuple[Graph, ...]"

    @cached_property
    def emotions(self) -> tuple[str, ...]:
        """Every emotion that has a circuit, in the order that was asked for."""
        told = self.options.get("emotions") or ()
        return tuple(dict.fromkeys([*told, *(x.emotion for x in self.lines if x.emotion)]))

    @cached_property
    def k(self) -> int | None:
        """The size of the circuits; of a run that does not say, the largest."""
        sizes = [line.k for line in self.lines if line.k is not None]
        return self.options.get("k") or max(sizes, default=None)

    @cached_property
    def allocation(self) -> str:
        """How the budget of the circuits was spread."""
        return str(self.options.get("allocation") or "influence")

    @property
    def judge(self) -> str:
        """The judge's name."""
        return str(self.manifest.get("judge") or "a judge without a name")

    def ablated(
        self, metric: str, emotion: str, condition: str, k: int | None = None, way: str = ""
    ) -> Line | None:
        """What an ablation does to expression or language; of the study's own size and way."""
        cells = {"condition": condition, "k": k or self.k, "method": way or self.allocation}
        return self.line(metric, emotion=emotion, **cells)

    def lift(self, emotion: str) -> Line | None:
        """Nats per token that the instruction gains, nothing ablated."""
        return self.line("lift", emotion=emotion, condition=INTACT)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Sizes at which expression was measured."""
        own = self.of("lift_share", method=self.allocation)
        return tuple(sorted({line.k for line in own if line.k is not None}))

    def shared(self, way: str, emotion: str, target: str = "") -> tuple[Line | None, Line | None]:
        """Jaccard of two circuits, and its null."""
        cells = {"method": way, "emotion": emotion, "target": target}
        own = self.line("jaccard", condition="", **cells)
        return own, self.line("jaccard", condition=NULL, **cells)

    @cached_property
    def card(self) -> Card:
        """Its modulation as a scorecard."""
        own = [x for x in self.lines if x.task == "modulation"]
        kept = [x for x in own if x.metric != "target_accuracy_by_event"]
        return Card(self.manifest, tuple(kept), ())


def circuits_of(recorded: Recorded) -> Circuits:
    """The rows of a run of circuits, graphs in the order of its emotions."""
    read = Circuits(recorded.manifest, recorded.lines, ())
    places = {name: place for place, name in enumerate(read.emotions)}
    graphs = sorted(recorded.graphs, key=lambda each: places.get(each.emotion, len(places)))
    return Circuits(recorded.manifest, recorded.lines, tuple(graphs))


def outside(own: Line | None, null: Line | None) -> int | None:
    """1 or -1 where a figure is above or below its null's middle 95 %, 0 inside; else None."""
    if own is None or null is None or own.estimate.value is None:
        return None
    low, high = null.estimate.low, null.estimate.high
    if low is None or high is None:
        return None
    return int(own.estimate.value > high) - int(own.estimate.value < low)


def best(card: Card, method: str) -> tuple[float | None, Estimate] | None:
    """The dose at which a method is most accurate, whatever it costs, and its accuracy."""
    found = [(each.dose, card.value("target_accuracy", each)) for each in card.of(method)]
    known = [(dose, e) for dose, e in found if e.value is not None]
    return max(known, key=lambda pair: pair[1].value or 0.0, default=None)


def apart(one: Estimate, other: Estimate) -> int | None:
    """1 or -1 where one interval lies wholly above or below the other, 0 where they meet."""
    ends = (one.low, one.high, other.low, other.high)
    if None in ends:
        return None
    low, high, least, most = (float(end or 0.0) for end in ends)
    return int(low > most) - int(high < least)


def span(estimates: Sequence[Estimate]) -> str:
    """Least and greatest of some figures: ".12 to .30", or the one that there is."""
    known = [e for e in estimates if e.value is not None]
    if not known:
        return NOTHING.text()
    ends = sorted(known, key=lambda e: e.value or 0.0)
    first, last = (Estimate(e.value).text() for e in (ends[0], ends[-1]))
    return first if first == last else f"{first} to {last}"
