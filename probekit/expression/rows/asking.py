"""Who tells the label: the probe, the model when asked, words alone; on the same posts."""

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from probekit import stats
from probekit.evaluation import Row
from probekit.expression.asking import ways
from probekit.expression.measures import log
from probekit.expression.rows.part import Part, mean
from probekit.stats import Estimate

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Asking(Part):
    """The probe, the model when asked, and words alone, on the same posts."""

    def rows(self) -> Iterator[Row]:
        rows, hits = self.study.test, self._hits
        weights, sizes = self.weights(rows), self.sizes(rows)
        draws = {name: mean(hit, weights) for name, (_, hit) in hits.items()}
        for name, (cells, _) in hits.items():
            yield {"metric": "accuracy", **cells, **sizes, **Estimate.of(draws[name]).cells}
        yield from self._null(rows, sizes)
        for name, (cells, _) in hits.items():
            if name != "probe":
                above = Estimate.of(draws["probe"] - draws[name], against_zero=True).cells
                probe = {"condition": "probe", "method": "logistic", "target": cells["method"]}
                yield {"metric": "accuracy_above", **probe, **sizes, **above}
        for name, table in self._tables.items():
            cells = hits[name][0]
            one = np.zeros(len(rows), np.int64)
            auroc = stats.macro_auroc(table, self.posts.labels[rows], one, weights)
            yield {"metric": "auroc", **cells, **sizes, **Estimate.of(auroc).cells}
        yield from self._generated(rows, weights, sizes)

    @cached_property
    def _tables(self) -> dict[str, Floats]:
        """Scores `[test post, class]` of those that give some."""
        study = self.study
        found = {
            "probe": study.base.logits["prompt"][study.test],
            "words": log(study.words),
            "likelihood": study.asked.likelihood[self._way][study.test],
        }
        # A class is ranked over posts, so each post's scores must be on one scale.
        return {name: log_softmax(table, axis=1) for name, table in found.items()}

    @cached_property
    def _dev(self) -> Ints:
        return np.flatnonzero(~self.posts.test)

    @cached_property
    def _way(self) -> int:
        """The way of asking by likelihood that development posts chose."""
        tables, labels = self.study.asked.likelihood[:, self._dev], self.posts.labels[self._dev]
        return int(np.argmax([(table.argmax(1) == labels).mean() for table in tables]))

    @cached_property
    def _question(self) -> int:
        """The question whose written answers do best on development posts."""
        answers = self.study.asked.answers[:, self._dev]
        return int((answers == self.posts.labels[self._dev]).mean(1).argmax())

    @cached_property
    def _hits(self) -> dict[str, tuple[Row, Floats]]:
        labels, test = self.posts.labels[self.study.test], self.study.test
        said = self.study.asked.answers[self._question, test]
        cells = {
            "probe": {"condition": "probe", "method": "logistic"},
            "words": {"condition": "baseline", "method": "reference"},
            "likelihood": {"condition": "asking", "method": "likelihood",
                           "unit": ways()[self._way]},
        }  # fmt: skip
        found = {n: (cells[n], self.hit(table, labels)) for n, table in self._tables.items()}
        asked = {"condition": "asking", "method": "generation", "unit": str(self._question)}
        return {**found, "generation": (asked, (said == labels).astype(np.float64))}

    def _null(self, rows: Ints, sizes: Row) -> Iterator[Row]:
        best = self._tables["probe"].argmax(1)
        null = (self.shuffled(rows) == best).mean(1)
        cells = {"condition": "null", "method": "permutation", "k": len(null)}
        yield {"metric": "accuracy", **cells, **sizes, **Estimate.of_null(null).cells}

    def _generated(self, rows: Ints, weights: Floats, sizes: Row) -> Iterator[Row]:
        said, labels = self.study.asked.answers[self._question, rows], self.posts.labels[rows]
        cells = {"condition": "asking", "method": "generation", "unit": str(self._question)}
        valid = (said >= 0).astype(np.float64)
        yield {"metric": "coverage", **cells, **sizes,
               **Estimate.of(mean(valid, weights)).cells}  # fmt: skip
        right = np.where(said >= 0, said == labels, np.nan).astype(np.float64)
        if np.isnan(right).all():
            yield {"metric": "accuracy_of_valid", **cells, **sizes, "value": None}
            return
        told = Estimate.of(mean(right, weights)).cells
        yield {"metric": "accuracy_of_valid", **cells, **sizes, **told, "n": int(valid.sum())}
