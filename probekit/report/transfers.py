"""Patching over layers: what a source moves at a site, beside the controls at the same layers."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from probekit.plots import Estimate
from probekit.report.causal import (
    ALPHA,
    Arm,
    Effects,
    figure_of,
    headlined,
    strongest,
)
from probekit.report.reading import Line
from probekit.report.terms import SOURCES

CONTROLS = ("neutral", "random", "shuffled")
ABOVE = "above_random"
CATEGORY, PROBE, RECEPTION = "source_shift", "source_shift_probe", "reception_shift"
KINDS = {"category": (CATEGORY, PROBE), "reception": (RECEPTION,)}
"""What is asked about, and the figures that read it."""

LAST = "last"


class Count(NamedTuple):
    """At how many layers an effect goes the asked way, and further than a control's.

    Attributes:
        tested: layers with a q of the difference from the control.
        before, within: of them, layers where the effect's interval is on the asked side of 0 and
            the difference goes that way at q < .05; before the trivial bound, and within it.
        short: layers where the difference does so, but the effect's interval does not. A control
            may itself move the figure: what only differs from that has moved nothing.
    """

    tested: int
    before: int
    within: int
    short: int


@dataclass(frozen=True)
class Transfer:
    """One figure of one source at one site of some texts, over layers.

    Attributes:
        effects: the run.
        arm: the texts that are patched.
        site: where.
        metric: which figure.
        source: whose state is put in.
    """

    effects: Effects
    arm: Arm
    site: str
    metric: str
    source: str

    @cached_property
    def lines(self) -> dict[int, Line]:
        """The effect at each layer."""
        return self.of(self.source)

    @property
    def placebo(self) -> str:
        """The source whose state is the placebo."""
        return placebo_of(self.arm)

    @cached_property
    def beyond(self) -> dict[int, Line]:
        """The effect minus that of the placebo at the same layer, paired by text."""
        return self.of(self.source, f"above_{self.placebo}")

    @cached_property
    def above(self) -> dict[int, Line]:
        """The same minus that of a random vector; it decides nothing."""
        return self.of(self.source, ABOVE)

    def of(self, source: str, method: str = "") -> dict[int, Line]:
        """The same figure of any source, by layer."""
        wanted = (self.arm, self.site, LAST, self.metric, source, method)
        found = (lines for c, lines in self.effects.curves.items() if wanted == (*c[:5], c.method))
        return {layer: line for lines in found for layer, line in lines.items()}

    @property
    def open(self) -> list[int]:
        """Layers before the trivial bound."""
        return [layer for layer in self.lines if layer < self.effects.bound]

    @cached_property
    def best(self) -> int | None:
        """The layer before the trivial bound at which the effect is strongest."""
        most = strongest(self.lines[layer] for layer in self.open)
        return most.layer if most else None

    def at_best(self, source: str, method: str = "") -> Estimate:
        """The figure of any source at that layer."""
        return figure_of(self.best_line(self.of(source, method)))

    def best_line(self, lines: Mapping[int, Line]) -> Line | None:
        """That one of some lines which is at that layer."""
        return None if self.best is None else lines.get(self.best)

    @property
    def sign(self) -> int:
        """-1 for a neutral text, which is to take reception away; else 1."""
        return -1 if _takes_away(self.source, self.arm, self.metric) else 1

    @cached_property
    def moved(self) -> Count:
        """The layers that count: those that go further than with the placebo."""
        return self.count(self.beyond)

    def count(self, difference: Mapping[int, Line]) -> Count:
        """Layers at which the effect moves, and further than a control.

        Args:
            difference: the effect minus the control's, by layer.
        """
        tested = {layer: line for layer, line in difference.items() if line.q is not None}
        further = [
            layer
            for layer, line in tested.items()
            if (line.q or 0) < ALPHA and (line.estimate.value or 0) * self.sign > 0
        ]
        moved = [x for x in further if figure_of(self.lines.get(x)).side == self.sign]
        before = sum(layer < self.effects.bound for layer in moved)
        return Count(len(tested), before, len(moved) - before, len(further) - len(moved))


def placebo_of(texts: Arm) -> str:
    """The source that lacks what is asked about, and is the state of a real text all the same."""
    return "neutral" if texts.target == "neutral" else "same"


def arms(effects: Effects) -> list[Arm]:
    """The texts that were patched at their last token."""
    return list(dict.fromkeys(each.arm for each in effects.curves if each.position == LAST))


def sites(effects: Effects) -> list[str]:
    """Sites with curves over layers, the stream after a block first."""
    found = dict.fromkeys(each.site for each in effects.curves if each.position == LAST)
    return sorted(found, key=lambda site: site != "resid_post")


def sources(effects: Effects, texts: Arm, site: str, metric: str) -> list[str]:
    """Sources of a figure, patches before controls."""
    wanted = (texts, site, LAST, metric, "")
    found = dict.fromkeys(c.source for c in effects.curves if wanted == (*c[:4], c.method))
    known = [*SOURCES, *found]
    return sorted((s for s in found if s != "none"), key=known.index)


def transfers(effects: Effects, texts: Arm, site: str, metric: str) -> list[Transfer]:
    """A transfer of each patch; of the neutral text too where it takes reception away."""
    found = sources(effects, texts, site, metric)
    chosen = [s for s in found if s not in CONTROLS or _takes_away(s, texts, metric)]
    return [Transfer(effects, texts, site, metric, source) for source in chosen]


def _takes_away(source: str, texts: Arm, metric: str) -> bool:
    return (source, metric) == ("neutral", RECEPTION) and texts.target != "neutral"


def asked(effects: Effects, kind: str, site: str, texts: Arm) -> list[list[Transfer]]:
    """What each source may move of a kind at a site: one transfer for each figure that reads it.

    A patch from the same emotion asks nothing: what it moves is no other emotion.
    """
    found: dict[str, list[Transfer]] = {}
    for metric in KINDS[kind]:
        for transfer in transfers(effects, texts, site, metric):
            if transfer.source != "same" and not _idle(transfer):
                found.setdefault(transfer.source, []).append(transfer)
    return list(found.values())


def questions(effects: Effects, kind: str) -> list[list[Transfer]]:
    """What the findings speak of: every source at each site, in the headline arms."""
    places = [(site, texts) for site in sites(effects) for texts in headlined(arms(effects))]
    return [readings for place in places for readings in asked(effects, kind, *place)]


def _idle(transfer: Transfer) -> bool:
    """Reception has nothing to gain from one emotional text in another's place."""
    return transfer.metric == RECEPTION and transfer.source in ("other", "across")
