"""The closed forms: which low-rank factors make class means equal.

The cross-covariance of states and one-hot classes has the class means' deviations from the mean
as its columns, `√p_c (m_c - m)` once each class is divided by its standard deviation. With W the
inverse root of the covariance (Belrose et al. 2023, theorem 4.3; arXiv:2306.03819):
1. whiten the deviations: `W (m_c - m)`; their singular values are canonical correlations;
2. V = their right singular vectors, rank at most k - 1, since the deviations sum to zero;
3. erase `W⁺ V Vᵀ W (x - m)`: read through `Vᵀ W`, write through `W⁺ V`.
The means become equal whatever W is; W decides how little everything else moves. So the
covariance may be shrunk, which matters where there are not many more items than features.
Features are divided by their standard deviations first. That changes nothing in the theorem's map,
and says in which units a covariance is shrunk, or a pseudo-inverse smallest.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

CORRELATION_TOLERANCE = 1e-8
"""Canonical correlations below it are rounding: the classes do not differ along them."""
SPAN_TOLERANCE = 1e-9
"""Deviations of class means are rounding below it, as a share of the largest class mean."""


@dataclass(frozen=True)
class Metric:
    """A covariance in its principal axes, on features divided by their standard deviations.

    Attributes:
        axes: `[r, d]`, orthonormal, r the rank of the data.
        root: `[r]`, square root of the variance along each axis, shrunk or not.
        scale: `[d]`, standard deviations; 1 for a feature that is constant to rounding.
    """

    axes: Tensor
    root: Tensor
    scale: Tensor

    @staticmethod
    def of_covariance(covariance: Tensor, mean: Tensor, n: int, *, shrinkage: bool) -> "Metric":
        """From a covariance `[d, d]` of n items (divided by n) around a mean `[d]`."""
        scale = _scale(covariance.diagonal(), mean)
        values, vectors = torch.linalg.eigh(covariance / scale / scale[:, None])
        return Metric._of(values, vectors.mT, scale, n, shrinkage)

    @staticmethod
    def of_rows(rows: Tensor, *, shrinkage: bool) -> "Metric":
        """From states `[n, d]` themselves, by their inner products where n < d."""
        n, d = rows.shape
        mean = rows.mean(0)
        centred = rows - mean
        scale = _scale(centred.square().mean(0), mean)
        scaled = centred / scale
        if n >= d:
            values, vectors = torch.linalg.eigh(scaled.mT @ scaled / n)
            return Metric._of(values, vectors.mT, scale, n, shrinkage)
        values, vectors = torch.linalg.eigh(scaled @ scaled.mT / n)
        axes = vectors.mT @ scaled / (n * values.clamp_min(1e-300)).sqrt()[:, None]
        return Metric._of(values, axes, scale, n, shrinkage)

    @staticmethod
    def _of(values: Tensor, axes: Tensor, scale: Tensor, n: int, shrinkage: bool) -> "Metric":
        # The pseudo-inverse's tolerance is the rounding of a sum of n products of d features.
        size = max(n, len(scale))
        kept = values > size * torch.finfo(values.dtype).eps * values[-1].clamp_min(1e-300)
        found = shrunk(values, n, len(scale)) if shrinkage else values
        return Metric(axes[kept], found[kept].sqrt(), scale)

    def oblique(self, deviations: Tensor) -> tuple[Tensor, Tensor]:
        """LEACE's read and write factors, each `[..., k, d]`, rows of zeros beyond their rank.

        Args:
            deviations: `[..., k, d]`, `√p_c (m_c - m)` of each class.
        """
        white = (deviations / self.scale) @ self.axes.mT / self.root
        _, correlation, v = torch.linalg.svd(white, full_matrices=False)
        v = v * (correlation > CORRELATION_TOLERANCE)[..., None]
        return (v / self.root) @ self.axes / self.scale, (v * self.root) @ self.axes * self.scale


def orthogonal(deviations: Tensor, means: Tensor) -> Tensor:
    """Orthonormal rows `[..., k, d]` of the span of deviations, zeros beyond their rank.

    Args:
        deviations: `[..., k, d]`.
        means: `[..., k, d]`, the class means: how large rounding may be.
    """
    _, size, v = torch.linalg.svd(deviations, full_matrices=False)
    largest = means.norm(dim=-1).amax(-1, keepdim=True)
    return v * (size > SPAN_TOLERANCE * largest)[..., None]


def shrunk(values: Tensor, n: int, d: int) -> Tensor:
    """Eigenvalues of a covariance of n items, moved towards their mean by what n leaves unsure.

    Optimal linear shrinkage of d features (Bodnar, Gupta & Parolya 2014, arXiv:1308.2608).

    Args:
        values: `[r]`; the other d - r are zero.
    """
    mean, square = values.sum() / d, values.square().sum()
    spread = square - d * mean**2
    share = (d * mean) ** 2 / n / spread.clamp_min(1e-300)
    share = share.clamp(0, 1)
    return (1 - share) * values + share * mean


def deviations(means: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """`√p_c (m_c - m)`, `[..., k, d]`, and the mean m, `[..., d]`.

    Args:
        means: `[..., k, d]` of each class; those of a class without items are not read.
        counts: `[..., k]` items of each class.
    """
    share = (counts / counts.sum(-1, keepdim=True))[..., None]
    mean = (share * means).sum(-2)
    return share.sqrt() * (means - mean[..., None, :]), mean


def class_means(rows: Tensor, labels: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """`[..., k, d]` means (zero for an empty class) and `[..., k]` counts.

    Args:
        rows: `[n, d]`.
        labels: `[..., n]`, 0 to k - 1.
    """
    member = torch.nn.functional.one_hot(labels, k).to(rows.dtype)
    counts = member.sum(-2)
    return member.mT @ rows / counts.clamp_min(1)[..., None], counts


def _scale(variance: Tensor, mean: Tensor) -> Tensor:
    deviation = variance.clamp_min(0).sqrt()
    return torch.where(deviation > 1e-12 * (1 + mean.abs()), deviation, 1.0)
