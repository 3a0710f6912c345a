"""Figures of a study of retention: how well a turn's emotion is read, and for how long.

Every figure is computed on the same bootstrap draws of groups (scenarios), so that differences are
paired. A figure of a window is the mean over continuations and over some of its offsets of the
AUROC at each: averaging what the probe says over a longer window would make it look better.
"""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from probekit import stats
from probekit.folds import Scheme, permute_labels, scheme_of
from probekit.persistence.passages import Floats as Said
from probekit.persistence.retention import Study
from probekit.stats import Estimate

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
SAMPLED = 6
"""Offsets of a window, at most, evenly from its first to its last."""
ENDLESS = 0.025
"""Share of draws above which an end of 95 % lies beyond what was read."""
LEAST = 0.02
"""AUROC above one half from which a share of it is given."""


def sampled(window: range) -> list[int]:
    """The offsets that stand for a window."""
    ends = np.linspace(window.start, window.stop - 1, min(SAMPLED, len(window)))
    return [int(offset) for offset in ends.round()]


class Measures:
    """Draws of figures of the test rows.

    Args:
        study: what was read.
        rows: `[row]` of test rows, those that count (default: all).

    Attributes:
        labels: `[row]`; groups: `[row]`.
        scheme: how chance permutes labels: "within" test groups if all hold the same ones, else
            "across" them.
    """

    def __init__(self, study: Study, rows: NDArray[np.bool_] | None = None) -> None:
        options, own = study.options, study.test
        self.study = study
        self.rows = np.ones(int(own.sum()), bool) if rows is None else rows
        self.labels, self.groups = study.labels[own][self.rows], study.groups[own][self.rows]
        clusters = [str(name) for name in self.groups]
        self.weights = stats.bootstrap_weights(clusters, options.bootstraps, options.seed)
        self._one = np.zeros(len(self.labels), np.int64)
        # That of the whole test split: some of its rows are no design of their own.
        self.scheme: Scheme = scheme_of(study.emotions[study.labels[own]], study.groups[own])

    @cached_property
    def permuted(self) -> Ints:
        """`[permutation, row]` labels."""
        options, names = self.study.options, self.study.emotions[self.labels]
        blocks = np.full(len(names), "")
        drawn = permute_labels(
            names, self.scheme, self.groups, blocks, options.permutations, options.seed
        )
        return np.searchsorted(self.study.emotions, drawn)

    def at(self, said: Said, window: range) -> Said:
        """`[place, row, class]` of `[continuation, row, offset, class]`: offsets of a window."""
        own = said[:, self.rows][:, :, sampled(window)]
        return np.moveaxis(own, 2, 1).reshape(-1, own.shape[1], own.shape[3])

    def auroc(self, said: Said | Floats, emotion: int | None = None) -> Floats:
        """`[1 + draw]` of class scores `[place, row, class]`: macro, or of one emotion."""
        return np.mean([self._auroc(own, emotion) for own in said], 0)

    def _auroc(self, said: Said | Floats, emotion: int | None) -> Floats:
        scores = said.astype(np.float64)
        if emotion is None:
            return stats.macro_auroc(scores, self.labels, self._one, self.weights)
        own = self.labels == emotion
        return stats.auroc(scores[:, emotion], own, self._one, self.weights)

    def null(self, said: Said | Floats, emotion: int | None = None) -> Floats:
        """AUROC `[permutation]` of permuted labels, macro or of one emotion.

        By ranks (Mann-Whitney), which serves all permutations at once.
        """
        own = np.eye(len(self.study.emotions))[self.permuted]
        many = own.sum(1)
        ranks = rankdata(said.astype(np.float64).round(stats.TIE_DIGITS), axis=1)
        wins = np.einsum("prk,crk->pk", own, ranks, optimize=True) / len(ranks)
        pairs = many * (len(self.labels) - many)
        wins -= many * (many + 1) / 2
        each = np.divide(wins, pairs, out=np.full(wins.shape, np.nan), where=pairs > 0)
        return stats.mean_known(each.T) if emotion is None else each[:, emotion]


def half_life(offsets: Floats, draws: Floats) -> Floats:
    """Offset `[draw]` at which what is read above chance has fallen to half of its largest.

    Between windows, log-linearly in the offset, counted from the turn; infinite where it does not
    fall so far, and NaN where there is nothing above chance to fall.

    Args:
        offsets: `[window]`, the offsets that stand for the windows, above 0.
        draws: `[window, draw]` AUROC.
    """
    above = draws - 0.5
    found = np.full(above.shape[1], np.nan)
    for draw, curve in enumerate(above.T):
        if np.isnan(curve).any() or not curve.max() > 0:
            continue
        peak = int(curve.argmax())
        half = curve[peak] / 2
        later = np.flatnonzero(curve[peak:] <= half)
        if not len(later):
            found[draw] = np.inf
            continue
        after = peak + int(later[0])
        share = (curve[after - 1] - half) / (curve[after - 1] - curve[after])
        steps = np.log(offsets[[after - 1, after]])
        found[draw] = float(np.exp(steps[0] + share * (steps[1] - steps[0])))
    return found


def lived(lives: Floats, last: int) -> tuple[dict[str, float], float | None]:
    """Cells of a half-life `[1 + draw]`, infinite where half was not reached; and its least.

    Where more than `ENDLESS` of the draws do not reach it there is no upper end: the least is given
    by itself. Where the sample does not reach it, the least is all that is given.

    Args:
        last: the last offset that was read.
    """
    found = Estimate.of(np.where(np.isinf(lives), last, lives))
    if np.isinf(lives[0]):
        return {}, found.low
    if np.isinf(lives[1:]).mean() > ENDLESS:
        return {"value": found.value}, found.low
    return found.cells, None


def kept(after: Floats, whole: Floats) -> Floats:
    """`[draw]`, share of what is read above chance that remains after a cut.

    NaN where hardly anything is; all NaN where that is so of the sample itself.
    """
    above = whole - 0.5
    share = np.divide(after - 0.5, above, out=np.full_like(above, np.nan), where=above > LEAST)
    return share if above[0] > LEAST else np.full_like(above, np.nan)
