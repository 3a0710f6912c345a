"""What the parts of a study share: draws over scenarios of some test posts."""

import numpy as np
from numpy.typing import NDArray

from probekit import stats
from probekit.evaluation import Row
from probekit.expression.study import Study
from probekit.folds import permute_labels, scheme_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
READ, JUDGED = "read_out", "judge"


class Part:
    """What the parts share: draws over scenarios of some test posts."""

    def __init__(self, study: Study) -> None:
        self.study, self.posts, self.options = study, study.posts, study.options

    def weights(self, rows: Ints) -> Floats:
        """`[1 + draw, row]`; one draw of a scenario whatever the rows."""
        clusters = [str(name) for name in self.posts.groups[rows]]
        return stats.bootstrap_weights(clusters, self.options.bootstraps, self.options.seed)

    def sizes(self, rows: Ints) -> Row:
        return {"n": len(rows), "clusters": len(np.unique(self.posts.groups[rows]))}

    def hit(self, table: Floats, labels: Ints) -> Floats:
        """`[row]`, 1 where the largest is the label; NaN where nothing was read."""
        best = np.where(np.isnan(table), -np.inf, table).argmax(1)
        return np.where(np.isnan(table).any(1), np.nan, (best == labels).astype(np.float64))

    def shuffled(self, rows: Ints) -> Ints:
        """`[permutation, row]`, labels permuted as the design of the test posts has it."""
        labels, groups = self.posts.labels.astype(np.str_), self.posts.groups
        scheme = scheme_of(labels[self.study.test], groups[self.study.test])
        return permute_labels(
            labels[rows], scheme, groups[rows], np.full(len(rows), ""),
            self.options.permutations, self.options.seed,
        ).astype(np.int64)  # fmt: skip


def mean(values: Floats, weights: Floats) -> Floats:
    """`[draw]` mean of what is not NaN."""
    known = ~np.isnan(values)
    return stats.weighted_mean(values[known], weights[:, known])
