"""Means of the items of each emotion: their products, cosines and cross-validated distances."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from probekit.folds import deal

Floats = NDArray[np.float64]


def memberships(classes: NDArray[np.int64], weights: Floats, count: int) -> Floats:
    """`[draw, class, item]`: the weight of each item in its class.

    Args:
        classes: `[item]`, or `[draw, item]` for relabelings.
        weights: `[draw, item]`, or `[1, item]`.
        count: number of classes.
    """
    held = np.atleast_2d(classes)[:, None, :] == np.arange(count)[None, :, None]
    return held * weights[:, None, :]


def apart(clusters: Sequence[str] | NDArray[np.str_]) -> Floats:
    """`[item, item]`: 1 where two items belong to different scenarios, 0 where to the same."""
    _, member = np.unique(np.asarray(clusters), return_inverse=True)
    return (member[:, None] != member[None]).astype(np.float64)


def products(
    gram: Floats, left: Floats, right: Floats | None = None, mask: Floats | None = None
) -> Floats:
    """Inner products of class means `[draw, class, class]`.

    Args:
        gram: `[item, item]`.
        left, right: `[draw, class, item]` weights; `right` defaults to `left`.
        mask: `[item, item]` of 0 and 1, pairs of items that count. With pairs of different
            scenarios alone, the products are those of the true means without bias.

    Returns:
        NaN where no pair counts.
    """
    right = left if right is None else right
    mask = np.ones_like(gram) if mask is None else mask
    total = _both(gram * mask, left, right)
    size = _both(mask, left, right)
    return np.divide(total, size, out=np.full(total.shape, np.nan), where=size > 0)


def _both(table: Floats, left: Floats, right: Floats) -> Floats:
    draws, classes, items = left.shape
    one = (left.reshape(-1, items) @ table).reshape(draws, classes, items)
    return one @ right.swapaxes(1, 2)


def around_mean(inner: Floats) -> Floats:
    """Products `[..., class, class]` of class means less the mean of the class means."""
    rows, columns = inner.mean(-1, keepdims=True), inner.mean(-2, keepdims=True)
    return inner - rows - columns + rows.mean(-2, keepdims=True)


def cosines(inner: Floats) -> Floats:
    """Cosines `[..., class, class]` of class means around their mean.

    Their sum is fixed: of `c` means the cosines are about `-1 / (c - 1)` where nothing is alike,
    not 0.
    """
    inner = around_mean(inner)
    size = np.sqrt(inner.diagonal(axis1=-2, axis2=-1).clip(0))
    both = size[..., :, None] * size[..., None, :]
    return np.divide(inner, both, out=np.full(inner.shape, np.nan), where=both > 0)


def distances(inner: Floats) -> Floats:
    """Squared distances `[..., pair]` of class means, pairs as in `numpy.triu_indices(c, 1)`.

    Of products of different scenarios (see `products`) these are cross-validated distances: the
    mean over all ways to take the two factors from different scenarios, so noise adds nothing to
    them and they can be negative. With features scaled by their spread they are the diagonal form
    of the crossnobis distance (Walther et al. 2016, NeuroImage 137, 188-200). The full form is not
    used: a covariance of more features than items, estimated on the same items, brings back the
    very bias that cross-validation removes.
    """
    own = inner.diagonal(axis1=-2, axis2=-1)
    table = own[..., :, None] + own[..., None, :] - inner - inner.swapaxes(-1, -2)
    rows, columns = np.triu_indices(inner.shape[-1], 1)
    return table[..., rows, columns]


def halves(
    clusters: NDArray[np.str_], labels: NDArray[np.str_], count: int, seed: int
) -> tuple[Floats, Floats]:
    """Weights `[split, item]` of two halves of the scenarios, even in every kind of label."""
    first = [deal(clusters, labels, 2, seed + place) == 0 for place in range(count)]
    one = np.array(first, dtype=np.float64)
    return one, 1 - one


def split_half_cosines(gram: Floats, left: Floats, right: Floats) -> Floats:
    """`[class]`, the cosine that centroids of two sets of *all* these scenarios would have.

    The mean cosine `r` of a class's centroid in one half with its centroid in the other, stepped
    up to the full number of scenarios (Spearman–Brown, `2r / (1 + r)`); 0 where it is negative.

    Args:
        gram: `[item, item]`.
        left, right: `[split, class, item]`.
    """
    across = around_mean(products(gram, left, right)).diagonal(axis1=1, axis2=2)
    size = [
        around_mean(products(gram, half)).diagonal(axis1=1, axis2=2).clip(0)
        for half in (left, right)
    ]
    both = np.sqrt(size[0] * size[1])
    found = np.divide(across, both, out=np.full(both.shape, np.nan), where=both > 0)
    found = found[~np.isnan(found).any(1)]
    mean = found.mean(0).clip(0) if len(found) else np.full(left.shape[1], np.nan)
    return 2 * mean / (1 + mean)
