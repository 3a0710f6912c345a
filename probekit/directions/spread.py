"""How states spread within classes: a shrunk covariance, whitening, components of neutral texts.

Everything works on the smaller of items and dimensions, so that few items in many dimensions are
as fast as they should be. All arrays are float64, of one layer.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from probekit.errors import UserError

Floats = NDArray[np.float64]
MIN_SHRINKAGE = 1e-6
"""Without any shrinkage, fewer items than dimensions have a covariance that cannot be inverted."""


@dataclass(frozen=True)
class Spread:
    """The within-class covariance `D ((1 - a) ZᵀZ / n + a μ I) D`, shrunk by a share `a`.

    `Z` are residuals from class means, each feature divided by its deviation (the diagonal `D`):
    a few dimensions of a language model's stream are hundreds of times as wide as the others, and
    would set the target of the shrinkage alone. So scikit-learn's discriminant analysis does it.

    Attributes:
        z: `[item, d]`.
        scale: `[d]`, the deviations.
        shrinkage: `a`, by Ledoit and Wolf (2004), from the same residuals.
        level: `μ`, the mean variance of `z`.
    """

    z: Floats
    scale: Floats
    shrinkage: float
    level: float

    @classmethod
    def of(cls, residuals: Floats) -> "Spread":
        """From residuals `[item, d]` of class means."""
        deviation = np.sqrt((residuals**2).mean(0))
        # What is constant within classes has no deviation to divide by.
        scale = np.where(deviation > 1e-12 * deviation.max(), deviation, 1.0)
        z = residuals / scale
        return cls(z, scale, *ledoit_wolf(z))

    def solve(self, vectors: Floats) -> Floats:
        """The inverse covariance times vectors `[k, d]`."""
        n, d = self.z.shape
        ridge, b = self.shrinkage * self.level, (vectors / self.scale).T
        weight = (1 - self.shrinkage) / n
        if n < d:  # Woodbury: a system of items.
            small = self.z @ self.z.T
            small[np.diag_indices(n)] += ridge / weight
            out = (b - self.z.T @ np.linalg.solve(small, self.z @ b)) / ridge
        else:
            large = weight * (self.z.T @ self.z)
            large[np.diag_indices(d)] += ridge
            out = np.linalg.solve(large, b)
        return out.T / self.scale

    def whiten(self, states: Floats) -> Floats:
        """Rows `[item, d]` in coordinates in which the covariance is the identity."""
        return self._root(states / self.scale)

    def unwhiten(self, readers: Floats) -> Floats:
        """Readers `[k, d]` of whitened rows as readers of the rows themselves: equal scores."""
        return self._root(readers) / self.scale

    def _root(self, rows: Floats) -> Floats:
        axes, size = self._axes
        floor = 1 / np.sqrt(self.shrinkage * self.level)
        return rows * floor + ((rows @ axes.T) * (size - floor)) @ axes

    @cached_property
    def _axes(self) -> tuple[Floats, Floats]:
        """Principal axes `[r, d]` of `z`, and `[r]` the inverse root of the variance along each."""
        axes, variance = principal(self.z)
        kept = (1 - self.shrinkage) * variance + self.shrinkage * self.level
        return axes, 1 / np.sqrt(kept)


def ledoit_wolf(z: Floats) -> tuple[float, float]:
    """Share of shrinkage towards `μ I`, and `μ`, of centred rows `[item, d]`.

    The coefficient of Ledoit and Wolf (2004) that `sklearn.covariance.ledoit_wolf_shrinkage`
    gives, from the smaller of the two Gram matrices.
    """
    n, d = z.shape
    gram = z @ z.T if n < d else z.T @ z
    level = float((z**2).sum() / (n * d))
    squared = float((gram**2).sum() / n**2)
    noise = (float(((z**2).sum(1) ** 2).sum() / n) - squared) / (n * d)
    spread = squared / d - level**2
    share = min(noise, spread) / spread if spread > 0 else 1.0
    return float(np.clip(share, MIN_SHRINKAGE, 1.0)), level


def principal(centred: Floats) -> tuple[Floats, Floats]:
    """Principal axes `[r, d]` of centred rows `[item, d]`, and variances `[r]`, largest first."""
    n, d = centred.shape
    values, vectors = np.linalg.eigh(centred @ centred.T if n < d else centred.T @ centred)
    values, vectors = values[::-1], vectors[:, ::-1]
    keep = values > 1e-10 * max(values[0], 1e-300)
    values, vectors = values[keep], vectors[:, keep]
    axes = (centred.T @ vectors / np.sqrt(values)).T if n < d else vectors.T
    return axes, values / n


def leading(neutral: Floats, share: float) -> Floats:
    """Leading principal axes `[k, d]` of neutral states that hold a share of their variance.

    The fewest components whose variances sum to `share` or more ("Emotion Concepts and their
    Function in a Large Language Model", arXiv 2604.07729, takes half of the variance).

    Args:
        neutral: `[item, d]`.
        share: between 0 and 1.

    Raises:
        UserError: fewer than three items, or a share that is none.
    """
    if not 0 < share < 1:
        raise UserError(f"neutral components up to a share of {share}: give one between 0 and 1")
    if len(neutral) < 3:
        raise UserError(
            f"neutral components of {len(neutral)} neutral items: give three or more, or leave "
            "the option out"
        )
    axes, variance = principal(neutral - neutral.mean(0))
    held = np.cumsum(variance) / variance.sum()
    return axes[: int(np.searchsorted(held, share - 1e-12)) + 1]
