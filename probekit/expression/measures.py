"""Draws of figures of replies: crossed bootstraps, partial correlations."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from probekit import stats

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
FLOOR = 1e-3
"""Probabilities below it count as it where their logarithm is taken."""


def crossed(values: Floats, rows: Floats, versions: Floats) -> Floats:
    """Mean `[draw]` of `[version, row]`, both resampled; NaN is left out.

    Args:
        values: `[version, row]`.
        rows, versions: weights `[draw, row]` and `[draw, version]`.
    """
    known = ~np.isnan(values)
    total = np.einsum("dv,vr,dr->d", versions, np.where(known, values, 0.0), rows, optimize=True)
    count = np.einsum("dv,vr,dr->d", versions, known.astype(np.float64), rows, optimize=True)
    return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)


def crossed_p(apart: Floats, scenarios: Sequence[str], flips: int, seed: int) -> float:
    """Two-sided p of the mean of differences `[version, row]` against 0, signs flipped.

    Of whole scenarios, or of versions, whichever tells less: what is found is to hold for others
    of either. A row or version that is all NaN is left out.

    Args:
        scenarios: `[row]`.
        flips: drawn; seed: of them.
    """
    found = []
    for values, units in ((apart.T, scenarios), (apart, [str(n) for n in range(len(apart))])):
        known = (~np.isnan(values)).sum(1) > 0
        means = np.nanmean(values[known], 1, keepdims=True)
        own = [unit for unit, is_known in zip(units, known, strict=True) if is_known]
        found.append(float(stats.sign_flip_p(means, own, flips, seed)[0]))
    return max(found)


def resampled_versions(count: int, draws: int, seed: int) -> Floats:
    """Weights `[1 + draw, version]`: ones, then draws with replacement."""
    rng = np.random.default_rng([seed, 7])
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=draws)
    return np.vstack([np.ones(count), drawn]).astype(np.float64)


class Related(NamedTuple):
    """How two tables go with a third, `[draw]` each.

    Attributes:
        read: correlation of what is judged with the read-out; words: with words alone.
        given: with the read-out, words held constant.
    """

    read: Floats
    words: Floats
    given: Floats


def related(judged: Floats, read: Floats, words: Floats, weights: Floats) -> Related:
    """Correlations over all cells of tables `[row, class]`, rows weighted `[draw, row]`."""
    moments = [(a * b).sum(1) for a, b in (
        (judged, judged), (read, read), (words, words),
        (judged, read), (judged, words), (read, words),
    )]  # fmt: skip
    jj, rr, ww, jr, jw, rw = (weights @ moment for moment in moments)
    r, w, both = (_ratio(a, b) for a, b in ((jr, jj * rr), (jw, jj * ww), (rw, rr * ww)))
    given = _ratio(r - w * both, (1 - w**2) * (1 - both**2))
    return Related(r, w, given)


def _ratio(over: Floats, under: Floats) -> Floats:
    """`over / √under`, NaN where there is no spread."""
    return np.divide(over, np.sqrt(under.clip(0)), out=np.full(len(over), np.nan),
                     where=under > 1e-12)  # fmt: skip


def centred(table: Floats, labels: Ints | None = None) -> Floats:
    """`[row, class]` less its row means, and less the column means (of rows of one label)."""
    own = table - table.mean(1, keepdims=True)
    groups = np.zeros(len(own), np.int64) if labels is None else labels
    for label in np.unique(groups):
        own[groups == label] -= own[groups == label].mean(0)
    return own


def log(probabilities: Floats) -> Floats:
    """Logarithms of probabilities, none below `FLOOR`."""
    return np.log(probabilities.clip(FLOOR))


def swapped(
    labels: Ints, groups: NDArray[np.str_], count: int, seed: int, *, within: bool
) -> Sequence[Ints]:
    """Orders of rows that keep each scenario whole.

    Within labels, scenarios that hold the same labels change places, each text taking the place of
    that of its label; one that has no like stays. Else the texts of each scenario change places,
    whatever their labels.

    Args:
        labels, groups: `[row]`.
        count: of orders; seed: of the draws.
    """
    rng = np.random.default_rng([seed, 11])
    inside = [np.flatnonzero(groups == name) for name in np.unique(groups)]
    alike: dict[tuple[int, ...], list[Ints]] = defaultdict(list)
    for rows in inside:
        own = rows[np.argsort(labels[rows], kind="stable")]
        alike[tuple(labels[own].tolist())].append(own)
    found = []
    for _ in range(count):
        order = np.arange(len(labels))
        if within:
            for members in alike.values():
                table = np.stack(members)
                order[table] = table[rng.permutation(len(table))]
        else:
            for rows in inside:
                order[rows] = rng.permutation(rows)
        found.append(order)
    return found
