"""What a run of directions is asked for."""

from dataclasses import dataclass
from typing import Any

from probekit.directions import ESTIMATORS
from probekit.errors import UserError, unknown
from probekit.pooling import parse
from probekit.prompts import NO_TEMPLATE, Template


@dataclass(frozen=True)
class Extraction:
    """What a run of directions is asked for, beside its model and stimuli.

    Attributes:
        sites: kinds ("resid_post") or "kind.layer" strings.
        positions: poolings; see `probekit.pooling`.
        template: the prompt around each text.
        estimators: names of `ESTIMATORS`; each has its own directions and figures.
        neutral_components, whiten: see `probekit.directions.estimate`.
        folds: of the dev split, for the choice of the layer.
        permutations: relabelings, the whole estimation repeated on each.
        peers: sets of random directions beside every figure.
        halves: random halvings of the scenarios, for stability.
        bootstraps: draws of every interval.
        seed: of all draws.
        truncate: cut texts that do not fit the context.
    """

    sites: tuple[str, ...] = ("resid_post",)
    positions: tuple[str, ...] = ("mean",)
    template: Template = NO_TEMPLATE
    estimators: tuple[str, ...] = ("grouped",)
    neutral_components: float | None = None
    whiten: bool = False
    folds: int = 6
    permutations: int = 100
    peers: int = 20
    halves: int = 50
    bootstraps: int = 1000
    seed: int = 0
    truncate: bool = False

    def check(self) -> None:
        """Raise a `UserError` for an unknown estimator, or a size that is none."""
        for name in self.estimators:
            if name not in ESTIMATORS:
                raise unknown("estimator", name, list(ESTIMATORS))
        if not self.estimators:
            raise UserError(f"no estimator: give one of {', '.join(ESTIMATORS)}")
        for name in ("peers", "halves", "bootstraps"):
            if getattr(self, name) < 2:
                raise UserError(f"{name} is {getattr(self, name)}: give 2 or more")

    def describe(self) -> dict[str, Any]:
        """JSON-able options, for the manifest and the keys of stages."""
        return {
            "sites": list(self.sites),
            "poolings": list(parse(self.positions)),
            "template": self.template.describe(),
            "estimators": list(self.estimators),
            "neutral_components": self.neutral_components,
            "whiten": self.whiten,
            "folds": self.folds,
            "permutations": self.permutations,
            "peers": self.peers,
            "halves": self.halves,
            "bootstrap": self.bootstraps,
            "seed": self.seed,
            "truncate": self.truncate,
        }
