"""Units, and what stands in their place: the edits of an ablation, and of its placebo."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from probekit.causal import LAST, Subject, norm_matched
from probekit.edits import Edit, Operation, ProjectOut, Rotated, Set, Zero
from probekit.errors import UserError
from probekit.pooling import tokens
from probekit.sites import KINDS, Site, SiteMap

Units = Literal["heads", "sublayers", "layers", "neurons"]
UNITS: tuple[Units, ...] = ("heads", "sublayers", "layers", "neurons")
READ = {
    "heads": ("z",),
    "sublayers": ("attn_out", "mlp_out"),
    "layers": ("attn_out", "mlp_out"),
    "neurons": ("mlp_post",),
}
"""Sites whose states replace a unit."""
METHODS = ("zero", "mean", "resample", "project", "random")
RANKED_BY = "mean"
_OTHERS, _RANDOM = 4, 5
"""Streams of random numbers."""


@dataclass(frozen=True)
class Unit:
    """What is ablated: heads or neurons of a site, or all of it; a layer is both its sublayers."""

    sites: tuple[Site, ...]
    unit: int | None = None


def every(kind: Units, sites: SiteMap) -> list[Unit]:
    """All units of a kind, in the order of the layers."""
    layers = range(sites.n_layers)
    match kind:
        case "sublayers":
            return [Unit((site,)) for site in sites.expand(["attn_out", "mlp_out"])]
        case "layers":
            both = [(Site("attn_out", layer), Site("mlp_out", layer)) for layer in layers]
            return [Unit(pair) for pair in both]
        case _:
            (site,) = READ[kind]
            numbers = range(sites.units(site))
            return [Unit((Site(site, layer),), n) for layer in layers for n in numbers]


def allowed(kind: Units, methods: Sequence[str]) -> list[str]:
    """The methods that say something of a kind: no direction is taken out of a head."""
    whole = kind in ("sublayers", "layers")
    return [m for m in dict.fromkeys(methods) if m != "project" or whole]


def ranking_method(kind: Units, methods: Sequence[str]) -> str:
    """The one by which the dev half ranks."""
    given = allowed(kind, methods)
    return RANKED_BY if RANKED_BY in given else [*given, "zero"][0]


class Replacing:
    """Edits that ablate units in some texts; what replaces them is learned from the dev half.

    Args:
        positions: "last" token of the prompt, or "all" of the text's own.
    """

    def __init__(self, subject: Subject, positions: Literal["last", "all"]) -> None:
        self.subject, self.positions = subject, positions
        self.pooling = LAST if positions == "last" else "mean"
        self.dev = subject.rows(subject.arms[0], learned=True)

    def edits(
        self,
        units: Sequence[Unit],
        method: str,
        rows: NDArray[np.int64],
        *,
        placebo: bool = False,
    ) -> list[Edit]:
        """Units ablated together; with `placebo` what is as large a change, but another."""
        where: Any = -1
        if self.positions == "all":  # Those that the replacing states are the mean of.
            where = [tokens(self.subject.prompts[row], "mean") for row in rows]
        out = []
        for unit in units:
            for site in unit.sites:
                operation = self._operation(site, unit.unit, method, rows)
                if placebo:
                    operation = Rotated(operation, self.subject.sizes.seed)
                part = None if unit.unit is None else (unit.unit,)
                out.append(Edit(site, where, operation, units=part))
        return out

    def _operation(
        self, site: Site, unit: int | None, method: str, rows: NDArray[np.int64]
    ) -> Operation:
        """What a unit is replaced by; means and directions come from the dev half."""
        if method == "zero":
            return Zero()
        states = self.subject.state(site, unit, self.pooling)
        learned = self.subject.learned
        match method:
            case "mean":
                return Set.mean(states[learned])
            case "resample":
                return Set.resample(states, self.others(rows))
            case "project":
                neutral = learned & (self.subject.emotion < 0)
                emotional = learned & (self.subject.emotion >= 0)
                if not neutral.any():
                    raise UserError("projecting reception out needs neutral texts in the set")
                return ProjectOut(states[emotional].mean(0) - states[neutral].mean(0))
            case _:
                return Set(norm_matched(states[rows], self._noise(site, unit)), "random")

    def others(self, rows: NDArray[np.int64]) -> list[int]:
        """For each text another one of the dev half."""
        order = self._rng(_OTHERS).permutation(self.dev)
        after = dict(zip(order.tolist(), np.roll(order, 1).tolist(), strict=True))
        spare = np.resize(order, len(rows)).tolist()
        return [after.get(row, other) for row, other in zip(rows.tolist(), spare, strict=True)]

    def _noise(self, site: Site, unit: int | None) -> np.random.Generator:
        """Of the unit alone: the two sublayers of a layer get directions of their own."""
        whole = (0, KINDS.index(site.kind)) if unit is None else (unit,)
        return self._rng(_RANDOM, site.layer, *whole)

    def _rng(self, *what: int) -> np.random.Generator:
        return np.random.default_rng([self.subject.sizes.seed, *what])
