"""Representational similarity: the order of distances in a model against that in a theory.

1. Distances are ranked; a theory is compared by Spearman's rho, and by Kendall's tau-a, which does
   not favour theories without ties (Nili et al. 2014, PLoS Comput Biol 10, e1003553).
2. A partial rho takes what the nuisances explain (length, domain, words) out of both sides.
3. Chance is relabeling: the theory's rows and columns change places together (Mantel 1967). In a
   partial rho it is what the nuisances leave of the theory that changes places (double
   semi-partialing, Dekker, Krackhardt & Snijders 2007, Psychometrika 72, 563-581). Only what is
   linear in ranks is taken out: of a nuisance that shares half its variance with the theory a
   trace stays, and a p of .05 comes in .07 to .08 of cases.
4. The noise ceiling comes from halves of the scenarios.
"""

from collections.abc import Iterator, Sequence
from itertools import permutations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
EXACT = 8
"""Up to so many labels, all their orders are gone through: 40,320 of eight."""
LEFT = 3
"""A partial figure needs so many pairs more than the mean and the nuisances take up."""
ROUNDING = 1e-9
CHUNK = 64
DIGITS = 9
"""Decimals of a distance, in units of the largest, that count: the rest is rounding."""


def ranks(values: Floats) -> Floats:
    """Mean ranks over the last axis; what differs by rounding alone is a tie; NaN makes NaN."""
    scale = np.abs(values).max(-1, keepdims=True)
    scaled = np.divide(values, scale, out=np.zeros_like(values), where=scale > 0)
    return rankdata(np.where(np.isnan(values), np.nan, scaled.round(DIGITS)), axis=-1)


def basis(nuisances: Floats, pairs: int) -> Floats:
    """Orthonormal columns `[pair, rank]` that span the mean and the ranks of the nuisances.

    Args:
        nuisances: `[nuisance, pair]`; one that is constant, or NaN, is left out.
        pairs: number of pairs.
    """
    mean = np.full((pairs, 1), pairs**-0.5)
    usable = [row for row in nuisances if np.isfinite(row).all()]
    centred = [each - each.mean() for each in map(ranks, usable)]
    if not (moving := [each / np.linalg.norm(each) for each in centred if each.any()]):
        return mean
    left, sizes, _ = np.linalg.svd(np.array(moving).T, full_matrices=False)
    return np.hstack([mean, left[:, sizes > ROUNDING * sizes[0]]])


def residual(values: Floats, explained: Floats) -> Floats:
    """Values `[..., pair]` less what the columns of `explained` say of them, at length 1.

    NaN where nothing is left.
    """
    left = values - (values @ explained) @ explained.T
    size = np.linalg.norm(left, axis=-1, keepdims=True)
    was = np.linalg.norm(values, axis=-1, keepdims=True)
    return np.divide(left, size, out=np.full(left.shape, np.nan), where=size > ROUNDING * was)


def relabelings(count: int, most: int, seed: int) -> Ints:
    """Orders `[k, label]` other than the given one: all, or `most` for more than `EXACT`."""
    if count <= EXACT:
        return np.array(list(permutations(range(count))), dtype=np.int64)[1:]
    rng = np.random.default_rng(seed)
    return np.array([rng.permutation(count) for _ in range(most)], dtype=np.int64)


def square(pairs: Floats, count: int) -> Floats:
    """The symmetric table `[count, count]` of values of pairs, 0 on its diagonal."""
    out = np.zeros((count, count))
    out[np.triu_indices(count, 1)] = pairs
    return out + out.T


def moved(table: Floats, orders: Ints) -> Floats:
    """`[order, pair]`: the pairs of a table whose rows and columns change places together."""
    rows, columns = np.triu_indices(len(table), 1)
    return table[orders[:, rows], orders[:, columns]]


def rho(
    distances: Floats, theory: Floats, orders: Ints, nuisances: Floats | None = None
) -> tuple[Floats, Floats]:
    """Spearman's rho of distances and a theory, partial where nuisances are given.

    Args:
        distances: `[..., draw, pair]`.
        theory: `[label, label]`.
        orders: `[k, label]`, relabelings.
        nuisances: `[nuisance, pair]`.

    Returns:
        `[..., draw]`, and `[..., k]` of the first draw relabeled. NaN where too few pairs are left.
    """
    pairs = distances.shape[-1]
    explained = basis(np.empty((0, pairs)) if nuisances is None else nuisances, pairs)
    data = residual(ranks(distances), explained)
    model = residual(ranks(theory[np.triu_indices(len(theory), 1)]), explained)
    if nuisances is not None and pairs - explained.shape[1] < LEFT:
        data = np.full_like(data, np.nan)
    shuffled = residual(moved(square(model, len(theory)), orders), explained)
    return data @ model, data[..., 0, :] @ shuffled.T


def signs(ranked: Floats) -> NDArray[np.float32]:
    """Which of any two distances is larger, `[..., pair of pairs]`: 1 the first, -1, or 0 (tie)."""
    exact = ranked.astype(np.float32)  # Ranks are whole or half numbers; NaN is kept as NaN.
    first, second = np.triu_indices(ranked.shape[-1], 1)
    return np.sign(exact[..., first] - exact[..., second])


def tau(order: NDArray[np.float32], theory: Floats, orders: Ints) -> tuple[Floats, Floats]:
    """Kendall's tau-a of a theory and distances, given as the `signs` of their ranks; see `rho`."""
    ranked = ranks(theory[np.triu_indices(len(theory), 1)])
    own, shuffled = signs(ranked), signs(moved(square(ranked, len(theory)), orders))
    null = order[..., 0, :] @ shuffled.T
    return (order @ own).astype(np.float64) / len(own), null.astype(np.float64) / len(own)


def ceiling(left: Floats, right: Floats) -> tuple[float, float]:
    """Between what figures a true theory's rho is to be expected.

    Lower: the mean rho `r` of the distances in one half of the scenarios with those in the other.
    Upper: `√(2r / (1 + r))`, what distances of all scenarios share with their noiseless form
    (Spearman–Brown). NaN where no split gives all distances.

    Args:
        left, right: `[split, pair]`.
    """
    known = ~(np.isnan(left).any(1) | np.isnan(right).any(1))
    if not known.any():
        return float("nan"), float("nan")
    mean = basis(np.empty((0, left.shape[1])), left.shape[1])
    one, other = (residual(ranks(half[known]), mean) for half in (left, right))
    lower = float(np.nanmean((one * other).sum(1)))
    at_least_none = max(lower, 0.0)
    return lower, float(np.sqrt(2 * at_least_none / (1 + at_least_none)))


def shuffled_pairs(values: Floats, pairs: tuple[Ints, Ints], orders: Ints) -> Iterator[Floats]:
    """Values `[pair]` of items that change places, `[order, pair]` a few orders at a time.

    Args:
        pairs: the items of each pair.
        orders: places `[k, item]` that items take; they keep pairs among the given ones.
    """
    rows, columns = pairs
    table = np.zeros((orders.shape[1], orders.shape[1]))
    table[rows, columns] = table[columns, rows] = values
    for part in np.array_split(orders, range(CHUNK, len(orders), CHUNK)):
        yield table[part[:, rows], part[:, columns]]


def item_rho(
    data: Floats, model: Floats, nuisances: Floats, pairs: tuple[Ints, Ints], orders: Ints
) -> tuple[Floats, Floats]:
    """Spearman's rho of distances of items and a model, partial where nuisances are given.

    Args:
        data: `[layer, pair]`.
        model: `[pair]`.
        nuisances: `[nuisance, pair]`.
        pairs, orders: see `shuffled_pairs`.

    Returns:
        `[layer]`, and `[layer, k]` with the items in other places.
    """
    explained = basis(nuisances, data.shape[1])
    left, own = residual(ranks(data), explained), residual(ranks(model), explained)
    null = [left @ residual(part, explained).T for part in shuffled_pairs(own, pairs, orders)]
    return left @ own, np.hstack(null)


def spreads(values: Floats, pairs: tuple[Ints, Ints], weights: Floats) -> Floats:
    """Weighted covariances `[draw, variable, variable]` of the ranks of values of pairs.

    A pair counts as often as its items were drawn, one times the other.

    Args:
        values: `[variable, pair]`.
        pairs: the items of each pair.
        weights: `[draw, item]`.
    """
    scaled = ranks(values) / values.shape[1] - 0.5
    out = np.empty((len(weights), len(values), len(values)))
    for draw, weight in enumerate(weights):
        both = weight[pairs[0]] * weight[pairs[1]]
        mean = scaled @ both / both.sum()
        out[draw] = (scaled * both) @ scaled.T / both.sum() - np.outer(mean, mean)
    return out


def partial(spread: Floats, asked: int, nuisances: Sequence[int], layers: int) -> Floats:
    """(Partial) correlations `[layer, draw]` of the first `layers` variables with one more.

    Args:
        spread: `[draw, variable, variable]`.
        asked: the variable asked about.
        nuisances: variables whose part is taken out of both sides.
    """
    sides, rest = [*range(layers), asked], list(nuisances)
    left = spread[:, sides][:, :, sides]
    if rest:
        mixed = spread[:, sides][:, :, rest]
        inverse = np.linalg.pinv(spread[:, rest][:, :, rest], hermitian=True)
        left = left - mixed @ inverse @ mixed.swapaxes(1, 2)
    own = left.diagonal(axis1=1, axis2=2)
    was = spread.diagonal(axis1=1, axis2=2)[:, sides]
    alive = (own[:, :-1] > ROUNDING * was[:, :-1]) & (own[:, -1:] > ROUNDING * was[:, -1:])
    size = np.sqrt((own[:, :-1] * own[:, -1:]).clip(0))
    found = np.divide(left[:, :-1, -1], size, out=np.full(size.shape, np.nan), where=alive)
    return found.T
