"""Patching over layers: what a source moves at a site, beside the controls at the same layers."""

from dataclasses import dataclass
from functools import cached_property

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
ABOVE, ABOVE_SAME = "above_random", "above_same"
CATEGORY, RECEPTION = "source_shift", "reception_shift"
LAST = "last"


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

    @cached_property
    def above(self) -> dict[int, Line]:
        """The effect minus that of a random vector at the same layer, paired by text."""
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
        return figure_of(self.of(source, method).get(-1 if self.best is None else self.best))

    @property
    def tested(self) -> int:
        """Layers with a q of the difference from a random vector."""
        return sum(line.q is not None for line in self.above.values())

    @property
    def sign(self) -> int:
        """-1 for a neutral text, which is to take reception away; else 1."""
        return -1 if _takes_away(self.source, self.arm, self.metric) else 1

    def moved(self, *, inside: bool) -> int:
        """At how many layers the effect goes the asked way, and further than a random vector's.

        The first by its interval, the second at q < .05. A random vector may itself move the
        figure: what only differs from that has moved nothing.

        Args:
            inside: count those within the trivial bound, or those before it.
        """
        return sum(
            figure_of(self.lines.get(layer)).side == self.sign
            for layer in self._beyond_random
            if (layer >= self.effects.bound) == inside
        )

    @property
    def only_beyond(self) -> int:
        """At how many layers the effect differs so from a random vector's, but not from 0."""
        return len(self._beyond_random) - self.moved(inside=True) - self.moved(inside=False)

    @property
    def _beyond_random(self) -> list[int]:
        return [
            layer
            for layer, line in self.above.items()
            if line.q is not None and line.q < ALPHA and (line.estimate.value or 0) * self.sign > 0
        ]


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


def questions(effects: Effects, metric: str) -> list[Transfer]:
    """What the findings speak of: another text's emotion at each site, in the headline arms.

    A patch from the same emotion asks nothing: what it moves is no other emotion.
    """
    return [
        transfer
        for site in sites(effects)
        for texts in headlined(arms(effects))
        for transfer in transfers(effects, texts, site, metric)
        if transfer.source != "same" and not _idle(transfer)
    ]


def _idle(transfer: Transfer) -> bool:
    """Reception has nothing to gain from one emotional text in another's place."""
    return transfer.metric == RECEPTION and transfer.source in ("other", "across")
