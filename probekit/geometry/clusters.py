"""Do items of one class lie closer to one another than to any other class? (Rousseeuw 1987)"""

import numpy as np
from numpy.typing import NDArray

from probekit.geometry.centroids import memberships

Floats = NDArray[np.float64]


def silhouettes(
    distances: Floats, classes: NDArray[np.int64], mask: Floats, weights: Floats
) -> Floats:
    """Mean silhouette `[draw]`: 1 far apart, 0 no clusters, below 0 nearer to another class.

    Args:
        distances: `[item, item]`.
        classes: `[item]`, or `[draw, item]` for relabelings.
        mask: `[item, item]` of 0 and 1, pairs that count; those of one scenario share their words
            and are left out.
        weights: `[draw, item]` of a bootstrap, or `[1, item]`.

    Returns:
        An item whose class has no other item counts 0, as in scikit-learn.
    """
    count = int(classes.max()) + 1
    members = memberships(classes, weights, count)
    draws, items = len(members), len(distances)
    flat = members.reshape(-1, items).T
    total, size = (distances * mask) @ flat, mask @ flat
    means = np.divide(total, size, out=np.full(total.shape, np.nan), where=size > 0)
    means = means.reshape(items, draws, count).swapaxes(0, 1)
    place = np.broadcast_to(np.atleast_2d(classes), (draws, items))[:, :, None]
    own = np.take_along_axis(means, place, 2)[..., 0]
    others = np.where(np.arange(count) == place, np.inf, np.where(np.isnan(means), np.inf, means))
    nearest = others.min(2)
    known = np.isfinite(own) & np.isfinite(nearest)
    size = np.maximum(own, nearest)
    each = np.divide(nearest - own, size, out=np.zeros(own.shape), where=known & (size > 0))
    counted = np.broadcast_to(weights, (draws, items))
    return (each * counted).sum(1) / counted.sum(1)
