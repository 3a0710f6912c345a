"""What a geometry run is asked for."""

from dataclasses import dataclass
from typing import Any

from probekit.errors import UserError
from probekit.pooling import parse
from probekit.prompts import TEMPLATES, Template


@dataclass(frozen=True)
class Geometry:
    """What a geometry run is asked for, beside its model and stimuli.

    Attributes:
        sites: kinds ("resid_post") or "kind.layer" strings.
        positions: poolings; see `probekit.pooling`.
        template: the prompt around each text; its end is where `last` is read.
        permutations: relabelings and exchanges of chance; the smallest p is one over one more.
        bootstraps: draws of scenarios, for intervals.
        splits: halves of the scenarios, for noise ceilings.
        seed: of all draws.
        standardize: scale each feature by its standard deviation; see `grams`.
        truncate: cut texts that do not fit the context.
    """

    sites: tuple[str, ...] = ("resid_post",)
    positions: tuple[str, ...] = ("last", "mean")
    template: Template = TEMPLATES["feeling"]
    permutations: int = 1000
    bootstraps: int = 1000
    splits: int = 100
    seed: int = 0
    standardize: bool = True
    truncate: bool = False

    def check(self) -> None:
        """Raise a `UserError` where a size is none."""
        for name in ("permutations", "bootstraps", "splits"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}: give 1 or more")

    def describe(self) -> dict[str, Any]:
        """JSON-able options, for the manifest and the keys of stages."""
        return {
            "sites": list(self.sites),
            "poolings": list(parse(self.positions)),
            "template": self.template.describe(),
            "permutations": self.permutations,
            "bootstrap": self.bootstraps,
            "splits": self.splits,
            "seed": self.seed,
            "standardize": self.standardize,
            "truncate": self.truncate,
        }
