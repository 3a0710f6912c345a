"""Figures of many items on shared bootstrap draws of their groups, in memory that stays small.

The areas under ROC curves are counted along the sorted scores: no table of pairs is made, and
draws come a few at a time. Otherwise as `stats`: a draw weighs every item by how often its group
was drawn, all methods are scored on the same draws, and differences are paired.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from probekit import stats
from probekit.errors import UserError
from probekit.minibatch.blocks import Ints

Floats = NDArray[np.float64]
Key = tuple[str, int | None]
"""A metric, and the number of a class or None for the mean over classes."""
TOGETHER = 4_000_000
"""Weights, draw by item, that are held at once."""


def log_odds(logits: NDArray[np.floating]) -> Floats:
    """Of each class against all others, from logits over the last axis: no probability is lost."""
    logits = logits.astype(np.float64)
    out = np.empty_like(logits)
    for number in range(logits.shape[-1]):
        others = np.delete(logits, number, axis=-1)
        out[..., number] = logits[..., number] - np.logaddexp.reduce(others, axis=-1)
    return out


class Ranked:
    """Items in the order of one score, for areas under the ROC curve.

    Args:
        scores: `[item]`.
        positive: `[item]`.
    """

    def __init__(self, scores: Floats, positive: NDArray[np.bool_]) -> None:
        scores = scores.round(stats.TIE_DIGITS)
        up, down = np.flatnonzero(positive), np.flatnonzero(~positive)
        self._up, self._down = up, down[np.argsort(scores[down], kind="stable")]
        ranked = scores[self._down]
        self._below = np.searchsorted(ranked, scores[up], side="left")
        self._to = np.searchsorted(ranked, scores[up], side="right")

    def auroc(self, weights: Floats) -> Floats:
        """`[draw]` of weights `[draw, item]`; ties count half, NaN where a draw has no pair."""
        passed = np.zeros((len(weights), len(self._down) + 1))
        np.cumsum(weights[:, self._down], axis=1, out=passed[:, 1:])
        own = weights[:, self._up]
        won = np.einsum("du,du->d", own, passed[:, self._below] + passed[:, self._to]) / 2
        total = own.sum(1) * passed[:, -1]
        return np.divide(won, total, out=np.full(len(weights), np.nan), where=total > 0)


def aurocs(scores: Floats, labels: Ints) -> Floats:
    """`[class]`, one against the rest, of `[item, class]` scores; every item weighs as much."""
    ones = np.ones((1, len(labels)))
    columns = range(scores.shape[1])
    return np.array([Ranked(scores[:, k], labels == k).auroc(ones)[0] for k in columns])


class Scorer:
    """Figures on draws of groups.

    Args:
        labels: `[item]`, numbers of classes.
        groups: `[item]`, numbers of groups.
        n_classes: how many classes there are.
        n_draws: bootstrap draws.
        seed: of the draws.

    Raises:
        UserError: fewer than two groups.
    """

    def __init__(self, labels: Ints, groups: Ints, n_classes: int, n_draws: int, seed: int) -> None:
        names, self._member = np.unique(groups, return_inverse=True)
        if len(names) < 2:
            raise UserError("an interval needs at least two groups in the test part: add items")
        self.labels, self.n_classes, self.n_draws, self.seed = labels, n_classes, n_draws, seed
        self.n, self.clusters = len(labels), len(names)

    def draws(self, scores: Mapping[str, Floats]) -> dict[str, dict[Key, Floats]]:
        """Method -> metric -> `[1 + draw]`, from scores `[item, class]` of each method."""
        of_class = [self.labels == k for k in range(self.n_classes)]
        ranked = {
            name: [Ranked(table[:, k], own) for k, own in enumerate(of_class)]
            for name, table in scores.items()
        }
        hits = {name: table.argmax(1) == self.labels for name, table in scores.items()}
        found: dict[str, dict[Key, list[Floats]]] = {name: {} for name in scores}
        for weights in self._weights():
            sizes = [weights[:, own].sum(1) for own in of_class]
            for name in scores:
                for k, own in enumerate(of_class):
                    right = weights[:, own & hits[name]].sum(1)
                    recall = np.full(len(weights), np.nan)
                    np.divide(right, sizes[k], out=recall, where=sizes[k] > 0)
                    parts = {("recall", k): recall, ("auroc", k): ranked[name][k].auroc(weights)}
                    for key, values in parts.items():
                        found[name].setdefault(key, []).append(values)
        return {name: self._whole(parts) for name, parts in found.items()}

    def _whole(self, parts: dict[Key, list[Floats]]) -> dict[Key, Floats]:
        """All draws of each class, and the means over classes."""
        out: dict[Key, Floats] = {key: np.concatenate(values) for key, values in parts.items()}
        for metric, mean in (("auroc", "auroc"), ("recall", "balanced_accuracy")):
            classes = np.stack([out[metric, k] for k in range(self.n_classes)])
            out[mean, None] = stats.mean_known(classes)
        return out

    def _weights(self) -> Iterator[Floats]:
        """`[draw, item]`, a few draws at a time; the first of all is the sample itself."""
        random = np.random.default_rng(self.seed)
        together, left = max(1, TOGETHER // self.n), self.n_draws
        yield np.ones((1, self.n))
        while left > 0:
            count = min(together, left)
            shares = np.full(self.clusters, 1 / self.clusters)
            drawn = random.multinomial(self.clusters, shares, size=count)
            yield drawn[:, self._member].astype(np.float64)
            left -= count
