"""Options around any estimator: neutral components projected out, states whitened, and back."""

import numpy as np
from numpy.typing import NDArray

from probekit.directions.design import Design
from probekit.directions.estimators import States, by_layer
from probekit.directions.spread import Spread, leading
from probekit.errors import UserError

Floats = NDArray[np.float64]


class Frame:
    """The coordinates in which an estimator works, layer by layer.

    Attributes:
        states: `[item, layer, d]` in them.

    Args:
        states: `[item, layer, d]` as they were captured.
        share: of the neutral items' variance whose leading components are projected out.
        whiten: whether the shrunk within-class covariance becomes the identity.

    Raises:
        UserError: neutral components without neutral items.
    """

    def __init__(self, states: States, design: Design, share: float | None, whiten: bool) -> None:
        self.bases: list[Floats] = []
        self.spreads: list[Spread] = []
        self.states = states
        if share is not None:
            if not design.neutral.any():
                raise UserError("neutral components: no item is neutral: add neutral texts")
            self.bases = [leading(layer[design.neutral], share) for layer in by_layer(states)]
            self.states = self._outside(self.states)
        if whiten:
            means = design.averaging()
            for layer in by_layer(self.states):
                self.spreads.append(Spread.of(layer - (means @ layer)[design.of_class]))
            pairs = zip(self.spreads, by_layer(self.states), strict=True)
            self.states = np.stack([spread.whiten(layer) for spread, layer in pairs], axis=1)

    def back(self, vectors: Floats) -> Floats:
        """Vectors `[emotion, layer, d]` of these coordinates as vectors of the states."""
        if self.spreads:
            pairs = zip(self.spreads, by_layer(vectors), strict=True)
            vectors = np.stack([spread.unwhiten(layer) for spread, layer in pairs], axis=1)
        # A reader that was fitted outside the components may lean into them all the same.
        return self._outside(vectors) if self.bases else vectors

    def _outside(self, rows: States) -> Floats:
        """Rows `[row, layer, d]` without their part in the neutral components."""
        pairs = zip(self.bases, by_layer(rows), strict=True)
        return np.stack([layer - (layer @ basis.T) @ basis for basis, layer in pairs], axis=1)
