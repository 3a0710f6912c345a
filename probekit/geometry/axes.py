"""Axes of valence and arousal: learned from labels and norms, tried on ratings of other texts.

An axis is the slope of the states on a norm, from a regression of the emotions' means on published
valence and arousal together, so that neither stands in for the other.

A few emotions in many dimensions lie along *any* order that one asks for, and other texts of the
same emotions follow: that shows that the emotions are apart, not that valence orders them. So each
emotion is also projected on axes that were learned without it, and chance is there that the norms
belong to other emotions.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from probekit import stats

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
NAMES = ("valence", "arousal")


def projections(grams: Floats, members: Floats, norms: Floats) -> Floats:
    """Items' coordinates along both axes, `[layer, draw, axis, item]`, each axis at length 1.

    Coordinates count from the mean of the emotions that are learned from.

    Args:
        grams: `[layer, item, item]`.
        members: `[draw, emotion, item]`, weights of the items that are learned from.
        norms: `[emotion, 2]` or `[draw, emotion, 2]`, valence and arousal.
    """
    size = members.sum(2, keepdims=True)
    means = np.divide(members, size, out=np.zeros(members.shape), where=size > 0)
    middle = means.mean(1, keepdims=True)
    slopes = np.linalg.pinv(norms - norms.mean(-2, keepdims=True)) @ (means - middle)
    out = np.empty((len(grams), *slopes.shape))
    for layer, gram in enumerate(grams):
        along = slopes @ gram
        length = np.sqrt((along * slopes).sum(-1, keepdims=True).clip(0))
        along = along - along @ middle.swapaxes(1, 2)
        out[layer] = np.divide(along, length, out=np.zeros(along.shape), where=length > 0)
    return out


def unseen(grams: Floats, members: Floats, emotion: Ints, norms: Floats) -> Floats:
    """`projections` of each item on axes that were learned without its emotion.

    Args:
        grams: `[layer, item, item]`.
        members: `[emotion, item]`, weights of the items that are learned from.
        emotion: `[item]`.
        norms: `[draw, emotion, 2]`.

    Returns:
        `[layer, draw, axis, item]`.
    """
    out = np.empty((len(grams), len(norms), len(NAMES), len(emotion)))
    for left_out in range(len(members)):
        others, inside = np.arange(len(members)) != left_out, emotion == left_out
        found = projections(grams, members[None, others], norms[:, others])
        out[..., inside] = found[..., inside]
    return out


def rank_correlation(
    projected: Floats, ratings: Floats, strata: Ints, weights: Floats | None = None
) -> Floats:
    """Spearman's correlation within strata, as `stats.spearman` has it.

    Args:
        projected: `[item]` with weights `[draw, item]` of a bootstrap, or `[draw, item]` without.
        ratings: `[item]`.
        strata: `[item]`: one number for all, or the emotion, so that only texts of one emotion
            are compared.

    Returns:
        `[draw]`; NaN where the ratings of a stratum do not differ.
    """
    if weights is not None:
        return stats.spearman(projected, ratings, strata, weights)
    sides = [np.atleast_2d(projected).copy(), np.atleast_2d(ratings).astype(np.float64)]
    for values in sides:
        for stratum in np.unique(strata):
            inside = strata == stratum
            part = rankdata(values[:, inside].round(stats.TIE_DIGITS), axis=1)
            values[:, inside] = part / (inside.sum() + 1) - 0.5
    both = (sides[0] * sides[1]).sum(1)
    size = np.sqrt((sides[0] ** 2).sum(1) * (sides[1] ** 2).sum(1))
    return np.divide(both, size, out=np.full(len(both), np.nan), where=size > 0)
