"""Ablation by unit: effects on the test half, ranked by the dev half, each beside its placebo."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from probekit.report.causal import ALPHA, Arm, Curve, Effects, arm, headlined, picked
from probekit.report.reading import Line

OWN, RECEPTION, KL = "own_label", "reception_shift", "kl"
NEURONS = "mlp_post"
SITES = {
    "z": "heads",
    "attn_out": "attention sublayers",
    "mlp_out": "MLP sublayers",
    "resid_post": "whole layers",
    NEURONS: "neurons",
}
"""What a unit is at each site, in the order of the page."""

KINDS = {"z": "heads", "resid_post": "layers", NEURONS: "neurons"}
"""What the results call the units of a site; both sublayers are tested as one kind."""

TOP, RANDOM = "top", "random_k"
ABLATION, PLACEBO, DIFFERENCE = "ablation", "control", "difference"
"""What the results call an effect of a single unit, the same of a change as long in a random
direction, and the first minus the second."""

SOURCE = {ABLATION: "", PLACEBO: "random", DIFFERENCE: "random"}
"""The sources of the three."""

HEADLINE_K = 8
"""How many units together the findings speak of."""


@dataclass(frozen=True)
class Family:
    """The units of one site that were tested together: one method, one position, some texts."""

    effects: Effects
    arm: Arm
    site: str
    method: str
    position: str

    @property
    def units(self) -> str:
        """What is ablated."""
        return SITES.get(self.site, self.site)

    @property
    def controlled(self) -> bool:
        """Whether a single unit can have a placebo: one number has no direction."""
        return self.site != NEURONS

    @cached_property
    def lines(self) -> list[Line]:
        """The effect of each unit on the text's own emotion."""
        return self._own(self.effects.groups)

    @cached_property
    def dev(self) -> list[Line]:
        """The same on the dev half, where units may have been ranked by another method."""
        own = self._own(self.effects.dev_groups)
        others = (lines for c, lines in self.effects.dev_groups.items() if c[:6] == self._key[:6])
        return own or next(others, [])

    @property
    def _key(self) -> Curve:
        return Curve(self.arm, self.site, self.position, OWN, "", ABLATION, self.method)

    def _own(self, groups: Mapping[Curve, list[Line]], metric: str = OWN) -> list[Line]:
        return groups.get(self._key._replace(metric=metric), [])

    def tested(self, metric: str = OWN) -> list[Line]:
        """Units that have a q, those that help most first."""
        given = [line for line in self._own(self.effects.groups, metric) if line.q is not None]
        return sorted(given, key=lambda line: line.estimate.value or 0.0)

    def survivors(self, metric: str = OWN) -> list[Line]:
        """Those of them at q < .05."""
        return [line for line in self.tested(metric) if (line.q or 0.0) < ALPHA]

    def against(self, condition: str, metric: str = OWN) -> list[Line]:
        """The placebos of the units, or the differences from them."""
        key = self._key._replace(metric=metric, condition=condition, source=SOURCE[condition])
        return self.effects.groups.get(key, [])

    def placebos(self, metric: str = OWN) -> int | None:
        """How many placebos survive: what any change of that length does; `None` if untested."""
        given = [line.q for line in self.against(PLACEBO, metric) if line.q is not None]
        return sum(q < ALPHA for q in given) if given else None

    def compared(self, metric: str = OWN) -> bool:
        """Whether differences from the placebo were tested."""
        return any(line.q is not None for line in self.against(DIFFERENCE, metric))

    def beyond(self, metric: str = OWN) -> list[Line]:
        """Survivors that also do more than their placebo, at q < .05: those that matter."""
        return [line for line in self.survivors(metric) if self._against_placebo(line) > 0]

    def outdone(self, metric: str = OWN) -> list[Line]:
        """Survivors that differ from their placebo too, but because that does more."""
        return [line for line in self.survivors(metric) if self._against_placebo(line) < 0]

    def _against_placebo(self, line: Line) -> int:
        """1 or -1 where the difference goes on with the effect or against it, 0 if it is none."""
        found = self.beside(line, line.metric, DIFFERENCE)
        if found is None or found.q is None or found.q >= ALPHA:
            return 0
        same = (found.estimate.value or 0.0) * (line.estimate.value or 0.0)
        return int(same > 0) - int(same < 0)

    @property
    def ranked(self) -> list[Line]:
        """Units that help most on the dev half first (without one, by the effects themselves)."""
        order = {(line.layer, line.unit): line.estimate.value for line in self.dev or self.lines}

        def harm(line: Line) -> float:
            value = order.get((line.layer, line.unit))
            return float("inf") if value is None else value

        return sorted(self.lines, key=harm)

    def beside(self, line: Line, metric: str, condition: str = ABLATION) -> Line | None:
        """Another figure of a unit, or the same of its placebo, or their difference."""
        task = "reception" if metric == RECEPTION else "category"
        cells = {"metric": metric, "task": task}
        return self.effects.beside(line, **cells, condition=condition, source=SOURCE[condition])

    @property
    def smallest_p(self) -> float | None:
        """The smallest p that so few clusters can give."""
        line = self._base("smallest_p")
        return line.estimate.value if line else None

    @property
    def needed_p(self) -> float | None:
        """What the p of a single unit must not exceed to survive alone."""
        line = self._base("fdr_bound")
        return line.estimate.value if line else None

    @property
    def attribution(self) -> Line | None:
        """How the first-order estimate that units were picked by agrees with exact effects."""
        return self._base("attribution_r")

    def _base(self, metric: str) -> Line | None:
        kind = KINDS.get(self.site, "sublayers")
        every = (*self.effects.lines, *self.effects.dev)
        cells = {"condition": "baseline", "metric": metric, "set": self.arm.set, "source": kind}
        found = picked(every, **cells)
        return found[0] if found else None


def families(effects: Effects) -> list[Family]:
    """Units that were ablated one by one, by site, texts, method and position.

    The order is fixed beforehand: that of the sites here; of methods the one that ranked the dev
    half, then as in the manifest.
    """
    ranking = [each.method for each in effects.dev_groups]
    said = [*ranking, *map(str, effects.manifest.get("methods") or ())]

    def order(family: Family) -> tuple[int, int, int, int]:
        first = [list(SITES), [str(each) for each in known], said, ["last", "all"]]
        own = [family.site, str(family.arm), family.method, family.position]
        places = [
            names.index(name) if name in names else len(names)
            for names, name in zip(first, own, strict=True)
        ]
        return (places[0], places[1], places[2], places[3])

    found = [
        (each.arm, each.site, each.method, each.position)
        for each in effects.groups
        if (each.condition, each.metric, each.source) == (ABLATION, OWN, "")
    ]
    known = headlined(texts for texts, *_ in found)
    return sorted((Family(effects, *each) for each in found), key=order)


def headlines(effects: Effects) -> list[Family]:
    """One family for each site and headline arm: its first method and position."""
    found = families(effects)
    shown = headlined(family.arm for family in found)
    first: dict[tuple[str, Arm], Family] = {}
    for family in found:
        if family.arm in shown:
            first.setdefault((family.site, family.arm), family)
    return list(first.values())


@dataclass(frozen=True)
class Together:
    """Units of one site ablated together, by how many: the top ones, and as many at random."""

    arm: Arm
    site: str
    metric: str
    top: dict[int, Line]
    random: dict[int, Line]

    @property
    def k(self) -> int | None:
        """Eight units, or the most that stand beside a control, or that there are."""
        both = [k for k in self.top if k in self.random] or list(self.top)
        return HEADLINE_K if HEADLINE_K in both else max(both, default=None)

    @property
    def units(self) -> str:
        """What is ablated."""
        return SITES.get(self.site, self.site)

    def side(self, k: int) -> int | None:
        """1 or -1 where the top units lie above or below the band of random ones, 0 within it."""
        top, random = self.top.get(k), self.random.get(k)
        if not top or not random or top.estimate.value is None or random.estimate.low is None:
            return None
        value, low, high = top.estimate.value, random.estimate.low, random.estimate.high or 0.0
        return int(value > high) - int(value < low)


def together(effects: Effects) -> list[Together]:
    """Every curve over the number of units."""
    counted = [line for line in effects.lines if line.k is not None and line.site]
    found = dict.fromkeys((arm(line), line.site, line.metric) for line in counted)

    def of(method: str, texts: Arm, site: str, metric: str) -> dict[int, Line]:
        cells = {"method": method, "site": site, "metric": metric, **texts._asdict()}
        return {line.k: line for line in picked(counted, **cells) if line.k is not None}

    return [Together(*each, of(TOP, *each), of(RANDOM, *each)) for each in found]
