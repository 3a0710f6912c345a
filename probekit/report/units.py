"""Ablation by unit: effects on the test half, ranked by the dev half, beside a random control."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from probekit.report.causal import ALPHA, Arm, Curve, Effects, arm, headlined, picked
from probekit.report.reading import Line

OWN, RECEPTION, KL = "own_label", "reception_shift", "kl"
SITES = {
    "z": "heads",
    "attn_out": "attention sublayers",
    "mlp_out": "MLP sublayers",
    "resid_post": "whole layers",
    "mlp_post": "neurons",
}
"""What a unit is at each site, in the order of the page."""

KINDS = {"z": "heads", "resid_post": "layers", "mlp_post": "neurons"}
"""What the results call the units of a site; both sublayers are tested as one kind."""

TOP, RANDOM = "top", "random_k"


@dataclass(frozen=True)
class Family:
    """The units of one site that were tested together: one method, one position, some texts."""

    effects: Effects
    arm: Arm
    site: str
    method: str
    position: str

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
        return Curve(self.arm, self.site, self.position, OWN, "", "ablation", self.method)

    def _own(self, groups: Mapping[Curve, list[Line]], metric: str = OWN) -> list[Line]:
        return groups.get(self._key._replace(metric=metric), [])

    def tested(self, metric: str = OWN) -> list[Line]:
        """Units that have a q, those that help most first."""
        given = [line for line in self._own(self.effects.groups, metric) if line.q is not None]
        return sorted(given, key=lambda line: line.estimate.value or 0.0)

    def at_random(self, metric: str = OWN) -> int | None:
        """How many places survive in which a random vector stands: what any disturbance does."""
        key = self._key._replace(metric=metric, condition="control", method="random")
        given = [line.q for line in self.effects.groups.get(key, []) if line.q is not None]
        return sum(q < ALPHA for q in given) if given else None

    def survivors(self, metric: str = OWN) -> list[Line]:
        """Those of them at q < .05."""
        return [line for line in self.tested(metric) if (line.q or 0.0) < ALPHA]

    @property
    def ranked(self) -> list[Line]:
        """Units that help most on the dev half first (without one, by the effects themselves)."""
        order = {(line.layer, line.unit): line.estimate.value for line in self.dev or self.lines}

        def harm(line: Line) -> float:
            value = order.get((line.layer, line.unit))
            return float("inf") if value is None else value

        return sorted(self.lines, key=harm)

    def beside(self, line: Line, metric: str, *, control: bool = False) -> Line | None:
        """Another figure of a unit; with `control`, that of a random vector in its place."""
        task = "reception" if metric == RECEPTION else "category"
        cells = {"metric": metric, "task": task}
        if control:
            cells |= {"condition": "control", "method": "random"}
        return self.effects.beside(line, **cells)

    @property
    def smallest_p(self) -> float | None:
        """The smallest p that so few clusters can give."""
        return self._base("smallest_p")

    @property
    def needed_p(self) -> float | None:
        """What the p of a single unit must not exceed to survive alone."""
        return self._base("fdr_bound")

    def _base(self, metric: str) -> float | None:
        kind = KINDS.get(self.site, "sublayers")
        found = self.effects.of(condition="baseline", metric=metric, set=self.arm.set, source=kind)
        return found[0].estimate.value if found else None


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
        if (each.condition, each.metric, each.source) == ("ablation", OWN, "")
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
