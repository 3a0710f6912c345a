"""Inner products of items, from which every figure of the geometry is computed.

A Gram matrix holds what does not depend on the axes of the space, costs `item²` whatever
`d_model` is, and is the same thing for states and for word counts: so words take the same path.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from probekit.errors import UserError

Floats = NDArray[np.float64]
FLAT = 1e-12
"""Share of the largest spread below which a feature, or a vector, counts as constant."""


def grams(states: ArrayLike, learned: ArrayLike, *, standardize: bool = True) -> Floats:
    """Inner products of states, centred and scaled by the rows that are learned from.

    A few features of a transformer's stream are so large that they alone decide a cosine; each
    feature is therefore divided by its standard deviation (Timkey & van Schijndel 2021,
    arXiv 2109.04404).

    Args:
        states: `[item, layer, d]`.
        learned: `[item]`, true for the rows that give the mean and the standard deviation.
        standardize: divide by the standard deviation; counts of words are left as they are.

    Returns:
        `[layer, item, item]`.

    Raises:
        UserError: a state is not finite; names item and layer by place.
    """
    states, learned = np.asarray(states), np.asarray(learned, dtype=bool)
    out = np.empty((states.shape[1], len(states), len(states)))
    for layer in range(states.shape[1]):
        x = states[:, layer].astype(np.float64)
        if not np.isfinite(x).all():
            item = int(np.flatnonzero(~np.isfinite(x).all(1))[0])
            raise UserError(
                f"the state of item {item} at layer place {layer} holds NaN or infinity: "
                "capture it anew, in float32"
            )
        x -= x[learned].mean(0)
        if standardize:
            spread = x[learned].std(0)
            moves = spread > FLAT * spread.max(initial=0.0)
            x = x[:, moves] / spread[moves]
        out[layer] = x @ x.T
    return out


def centred(grams: Floats) -> Floats:
    """The Gram matrices `[..., item, item]` of the same items, less their mean."""
    rows = grams.mean(-1, keepdims=True)
    return grams - rows - rows.swapaxes(-1, -2) + rows.mean(-2, keepdims=True)


def cosine_distances(grams: Floats) -> Floats:
    """One less the cosine of any two items `[..., item, item]`, around the mean of all.

    An item that stands at the mean has no direction: it is at distance 1 from every other.
    """
    inner = centred(grams)
    size = np.sqrt(inner.diagonal(axis1=-2, axis2=-1).clip(0))
    size = np.where(size > FLAT * size.max(-1, keepdims=True), size, np.inf)
    return 1 - inner / (size[..., :, None] * size[..., None, :])


def principal(grams: Floats, count: int) -> tuple[Floats, Floats]:
    """Principal components of the items around their mean; no label is used.

    Items projected onto axes of the *emotions'* means would stand apart even in noise, since the
    axes would be drawn from the items that they show.

    Args:
        grams: `[layer, item, item]`.
        count: how many components, largest first.

    Returns:
        `[layer, item, component]` coordinates, the largest of each component made positive, and
        `[layer, component]` shares of the variance.
    """
    values, vectors = np.linalg.eigh(centred(grams))
    values, vectors = values[:, ::-1].clip(0), vectors[:, :, ::-1]
    places = vectors[:, :, :count] * np.sqrt(values[:, None, :count])
    # A turn of sign says nothing, so it is fixed; rounding makes ties of mirror images stay put.
    largest = np.abs(places.round(9)).argmax(1, keepdims=True)
    places *= np.where(np.take_along_axis(places, largest, 1) < 0, -1.0, 1.0)
    return places, values[:, :count] / values.sum(1, keepdims=True)


def participation_ratio(grams: Floats) -> Floats:
    """How many dimensions carry the variance: `(Σλ)² / Σλ²` of the covariance, `[...]`.

    From 1 (a line) to one less than the number of points, which also bounds it: few points, or
    noisy ones, bias it. A figure has a meaning beside the same figure of shuffled labels.

    Args:
        grams: `[..., point, point]`, centred.
    """
    total, squares = np.trace(grams, axis1=-2, axis2=-1), (grams**2).sum((-2, -1))
    return np.divide(total**2, squares, out=np.full(np.shape(total), np.nan), where=squares > 0)


def within(grams: Floats, classes: NDArray[np.int64]) -> Floats:
    """The Gram matrices `[..., item, item]` of items less the mean of their class."""
    same = (classes[:, None] == classes[None]).astype(np.float64)
    off = np.eye(len(classes)) - same / same.sum(1, keepdims=True)
    return off @ grams @ off
