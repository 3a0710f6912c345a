"""Figures of merit, cluster bootstrap, permutation p-values, Benjamini-Hochberg.

All resampling is over clusters (scenarios, couples, quads): an interval refuses to be computed
without their ids. A bootstrap draw is a row of weights, how often each item's cluster was drawn,
so that every figure of one data set is computed on the same draws and differences are paired.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from probekit.errors import UserError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
ECE_MIN_ITEMS = 200
TIE_DIGITS = 9
"""Decimals of a score that count: what differs by rounding alone is a tie."""


def bootstrap_weights(clusters: Sequence[str] | None, n: int, seed: int) -> Floats:
    """Weights `[1 + n, item]`: a row of ones (the sample itself), then `n` cluster draws.

    Raises:
        UserError: no cluster ids, or fewer than two clusters.
    """
    if clusters is None or len(clusters) == 0:
        raise UserError("an interval needs the cluster id of every item; give `clusters`")
    names, member = np.unique(np.asarray(clusters), return_inverse=True)
    if len(names) < 2:
        raise UserError("an interval needs at least two clusters")
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=n)
    return np.vstack([np.ones(len(member)), drawn[:, member]]).astype(np.float64)


def auroc(
    scores: Floats, positive: NDArray[np.bool_], strata: Ints, weights: Floats | None = None
) -> Floats:
    """Area under the ROC curve over pairs of items of the same stratum (fold).

    Scores of different folds come from different fits and are not compared. Ties count half.

    Args:
        scores: `[item]`.
        positive: `[item]`.
        strata: `[item]`.
        weights: `[draw, item]`; default one draw of ones.

    Returns:
        `[draw]`; NaN where a draw holds no pair.
    """
    weights = np.ones((1, len(scores))) if weights is None else weights
    scores = scores.round(TIE_DIGITS)
    up, down = scores[positive], scores[~positive]
    same = strata[positive][:, None] == strata[~positive][None]
    wins = (up[:, None] > down[None]) + 0.5 * (up[:, None] == down[None])
    w_up, w_down = weights[:, positive], weights[:, ~positive]
    total = ((w_up @ same.astype(np.float64)) * w_down).sum(1)
    won = ((w_up @ (wins * same)) * w_down).sum(1)
    return np.divide(won, total, out=np.full(len(weights), np.nan), where=total > 0)


def macro_auroc(
    scores: Floats, labels: Ints, strata: Ints, weights: Floats | None = None
) -> Floats:
    """Mean one-vs-rest AUROC `[draw]` of class scores `[item, class]` (one column: class 1)."""
    if scores.shape[1] == 1:
        return auroc(scores[:, 0], labels == 1, strata, weights)
    each = [auroc(scores[:, k], labels == k, strata, weights) for k in range(scores.shape[1])]
    return mean_known(np.stack(each))


def mean_known(values: Floats) -> Floats:
    """Mean over the first axis of what is not NaN; NaN where nothing is."""
    known = ~np.isnan(values)
    count = known.sum(0)
    total = np.where(known, values, 0.0).sum(0)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def full_probabilities(probabilities: Floats) -> Floats:
    """`[item, class]` from one column (probability of class 1) or from all classes."""
    if probabilities.shape[1] == 1:
        return np.hstack([1 - probabilities, probabilities])
    return probabilities


def hits(probabilities: Floats, labels: Ints) -> Floats:
    """`[item]`, 1 where the most probable class is the label."""
    return (full_probabilities(probabilities).argmax(1) == labels).astype(np.float64)


def brier(probabilities: Floats, labels: Ints) -> Floats:
    """`[item]`, squared error summed over classes (Brier 1950): 0 best, 2 worst."""
    full = full_probabilities(probabilities)
    return ((full - np.eye(full.shape[1])[labels]) ** 2).sum(1)


def cross_entropy(probabilities: Floats, shares: Floats) -> Floats:
    """`[item]`, cross-entropy in nats of predicted against given shares, both `[item, class]`."""
    return -(shares * np.log(probabilities.clip(1e-12))).sum(1)


def r_squared(predicted: Floats, true: Floats, weights: Floats | None = None) -> Floats:
    """`[draw]`, 1 - squared error over the spread around the mean; below 0 is worse than the mean.

    Args:
        predicted, true: `[item]`.
        weights: `[draw, item]`; default one draw of ones.
    """
    weights = np.ones((1, len(true))) if weights is None else weights
    # Centred and scaled first: squares of numbers far from zero would cancel.
    centred, size = true - true.mean(), true.std() or 1.0
    error = weighted_mean(((true - predicted) / size) ** 2, weights)
    mean = weighted_mean(centred / size, weights)
    spread = weighted_mean((centred / size) ** 2, weights) - mean**2
    return 1 - np.divide(error, spread, out=np.full(len(error), np.nan), where=spread > 1e-12)


def spearman(
    predicted: Floats, true: Floats, strata: Ints, weights: Floats | None = None
) -> Floats:
    """Rank correlation within strata (folds), `[draw]`.

    Both sides are ranked inside each stratum, centred there, and correlated over all items, since
    predictions of different fits are not compared. Draws reweight the ranks of the sample.
    """
    from scipy.stats import rankdata

    weights = np.ones((1, len(true))) if weights is None else weights
    a, b = np.empty(len(true)), np.empty(len(true))
    for stratum in np.unique(strata):
        inside = strata == stratum
        for ranks, values in ((a, predicted), (b, true)):
            ranks[inside] = rankdata(values[inside]) / (inside.sum() + 1) - 0.5
    both = weighted_mean(a * b, weights) - weighted_mean(a, weights) * weighted_mean(b, weights)
    spreads = (
        (weighted_mean(side * side, weights) - weighted_mean(side, weights) ** 2).clip(0)
        for side in (a, b)
    )
    spread = np.sqrt(next(spreads) * next(spreads))
    return np.divide(both, spread, out=np.full(len(both), np.nan), where=spread > 1e-12)


def expected_calibration_error(probabilities: Floats, labels: Ints, bins: int = 10) -> float | None:
    """Mean |confidence - accuracy| over equal-width bins; None below 200 items."""
    if len(labels) < ECE_MIN_ITEMS:
        return None
    full = full_probabilities(probabilities)
    confidence, hit = full.max(1), hits(probabilities, labels)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(confidence[place == b].mean() - hit[place == b].mean()) * (place == b).mean()
        for b in np.unique(place)
    ]
    return float(sum(gaps))


def forced_choice(scores: Floats, labels: Ints, pairs: Sequence[str]) -> tuple[Floats, Ints]:
    """Within-pair choice: 1 where the positive item of a pair scores higher, a tie counts half.

    Returns:
        `[pair]` values, and `[pair]` the row of each pair's positive item (for its cluster).
    """
    names, scores = np.asarray(pairs), scores.round(TIE_DIGITS)
    values, rows = [], []
    for name in np.unique(names):
        inside = np.flatnonzero(names == name)
        up, down = inside[labels[inside] == 1], inside[labels[inside] == 0]
        if len(up) == 1 and len(down) == 1:
            difference = scores[up[0]] - scores[down[0]]
            values.append(0.5 if difference == 0 else float(difference > 0))
            rows.append(up[0])
    return np.array(values), np.array(rows, dtype=np.int64)


def weighted_mean(values: Floats, weights: Floats) -> Floats:
    """Mean of item values `[item]` in every draw of weights `[draw, item]`."""
    total = weights.sum(1)
    return np.divide(weights @ values, total, out=np.full(len(total), np.nan), where=total > 0)


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % percentile interval and, for a difference, its two-sided p."""

    value: float
    low: float
    high: float
    p: float | None = None

    @staticmethod
    def of(draws: Floats, *, against_zero: bool = False) -> "Estimate":
        """From `[1 + n]` draws whose first is the sample itself."""
        rest = draws[1:][~np.isnan(draws[1:])]
        if not len(rest):
            return Estimate(float(draws[0]), float("nan"), float("nan"))
        low, high = np.quantile(rest, [0.025, 0.975])
        # A percentile interval of few clusters can miss its own estimate: widen it to hold it.
        low, high = min(low, draws[0]), max(high, draws[0])
        p = None
        if against_zero:
            tail = min((rest <= 0).sum(), (rest >= 0).sum())
            p = min(1.0, 2 * (tail + 1) / (len(rest) + 1))
        return Estimate(float(draws[0]), float(low), float(high), p)

    @staticmethod
    def of_null(null: Floats) -> "Estimate":
        """Mean of a null distribution `[k]` without NaN, and 95 % of it."""
        mean, (low, high) = float(null.mean()), np.quantile(null, [0.025, 0.975])
        # Where nearly all relabelings agree, their mean can lie outside their percentiles.
        return Estimate(mean, float(min(low, mean)), float(max(high, mean)))

    @property
    def cells(self) -> dict[str, float]:
        """Its cells in `results.csv`, p where it has one."""
        cells = {"value": self.value, "low": self.low, "high": self.high}
        return cells if self.p is None else {**cells, "p": self.p}


def krippendorff_alpha(
    ratings: Floats, level: Literal["nominal", "interval"], weights: Floats | None = None
) -> Floats:
    """Krippendorff's alpha `[draw]`: 1 full agreement, 0 that of chance (Krippendorff 2011).

    Args:
        ratings: `[rater, item]`, NaN where a rater gave none; labels as numbers.
        level: how two values differ: "nominal" (or not), or by their squared distance.
        weights: `[draw, item]`; default one draw of ones.

    Returns:
        NaN where all values are equal, or no item has two.
    """
    weights = np.ones((1, ratings.shape[1])) if weights is None else weights
    given = ~np.isnan(ratings)
    usable = given.sum(0) >= 2
    values, counts = np.unique(ratings[:, usable][given[:, usable]]), given.sum(0)[usable]
    # [item, value]: how often each value was given to each item.
    table = (ratings[:, usable, None] == values).sum(0).astype(np.float64)
    distance = (values[:, None] - values[None]) ** 2
    if level == "nominal":
        distance = (distance > 0).astype(np.float64)
    within = np.einsum("ia,ab,ib->i", table, distance, table) / (counts - 1)
    total = weights[:, usable] @ table
    pairs = total.sum(1)
    observed = weights[:, usable] @ within / pairs
    expected = np.einsum("wa,ab,wb->w", total, distance, total) / (pairs * (pairs - 1))
    ratio = np.divide(observed, expected, out=np.full(len(pairs), np.nan), where=expected > 0)
    return 1 - ratio


def cohen_kappa(first: Ints, second: Ints, n_labels: int, weights: Floats | None = None) -> Floats:
    """Cohen's kappa `[draw]` of two raters: 1 full agreement, 0 that of chance (Cohen 1960).

    Args:
        first, second: `[item]`, numbers of labels from 0; items that both judged.
        n_labels: how many labels there are.
        weights: `[draw, item]`; default one draw of ones.

    Returns:
        NaN where both raters give one and the same label throughout, or no item weighs anything.
    """
    weights = np.ones((1, len(first))) if weights is None else weights
    one, other = np.eye(n_labels)[first], np.eye(n_labels)[second]
    agreed = weighted_mean((first == second).astype(np.float64), weights)
    total = weights.sum(1, keepdims=True)
    shares = [
        np.divide(weights @ rows, total, out=np.full((len(weights), n_labels), np.nan),
                  where=total > 0)
        for rows in (one, other)
    ]  # fmt: skip
    chance = (shares[0] * shares[1]).sum(1)
    room = 1 - chance
    return np.divide(agreed - chance, room, out=np.full(len(room), np.nan), where=room > 1e-12)


def smallest_effect(null: ArrayLike, power: float = 0.8, alpha: float = 0.05) -> float:
    """The smallest distance from chance that would be found with this power, two-sided.

    From the spread of the permutation null, taken as normal: `(z_power + z_(1 - alpha/2)) · sd`
    (Cohen 1988, chapter 1).
    """
    normal = NormalDist()
    z = normal.inv_cdf(power) + normal.inv_cdf(1 - alpha / 2)
    return float(z * np.std(np.asarray(null, dtype=np.float64), ddof=1))


def permutation_p(observed: float, null: ArrayLike) -> float:
    """One-sided p: (1 + number of null values at least as large) / (1 + number); NaN for NaN."""
    if np.isnan(observed):
        return float("nan")
    null = np.asarray(null)
    return float((1 + (null >= observed - 1e-12).sum()) / (1 + len(null)))


def sign_flip_p(values: Floats, clusters: Sequence[str], n: int, seed: int) -> Floats:
    """Two-sided p of a mean against 0, the signs of whole clusters flipped at random.

    Args:
        values: `[item, column]`, each column tested for itself on the same flips.
        clusters: `[item]`.
        n: number of flips; the smallest p is 1 / (1 + n), or 2 to the number of clusters less one.
        seed: of the flips.

    Returns:
        `[column]`: (1 + flips at least as far from 0) / (1 + n); NaN where a value is NaN.
    """
    names, member = np.unique(np.asarray(clusters), return_inverse=True)
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, member, values)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(n, len(names)))
    observed = np.abs(sums.sum(0))
    far = (np.abs(signs @ sums) >= observed - 1e-12 * np.abs(sums).sum(0)).sum(0)
    return np.where(np.isnan(observed), np.nan, (1 + far) / (1 + n))


def benjamini_hochberg(p: ArrayLike) -> Floats:
    """Adjusted p-values (Benjamini & Hochberg 1995), in the order given."""
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p)
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    adjusted = np.minimum.accumulate(scaled[::-1])[::-1].clip(max=1)
    out = np.empty_like(p)
    out[order] = adjusted
    return out


def adjusted(p: Sequence[float | None]) -> list[float | None]:
    """The same of p-values some of which are missing; a single one, or none, is left without."""
    known = [value for value in p if value is not None and not np.isnan(value)]
    if len(known) < 2:
        return [None] * len(p)
    found = dict(zip(known, map(float, benjamini_hochberg(known)), strict=True))
    return [found.get(value) if value is not None else None for value in p]
