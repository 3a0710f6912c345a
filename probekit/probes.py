"""Linear probes: `LayerProbes` (fit, predict) and `cross_validate` (what may be claimed).

`LayerProbes` fits a logistic regression on every layer of `[item, layer, d]` in one batch.

`cross_validate` chooses C and the layer inside training folds only:
1. for each pair of folds {j, k}, fit on all others and score on j and on k;
2. for the outer fold k, the mean of its scores on the other folds j picks C (for every layer)
   and the layer (for the headline); nothing of fold k is in those fits;
3. fit on all folds but k with that C; predict k.
The fits of a pair of folds serve both of its members, so an inner loop over the remaining folds
costs half of what it does when each outer fold is handled alone. Permuted labels are extra
columns of the same batch, with the layer chosen the same way and C fixed at `NULL_C`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from probekit import logistic, stats
from probekit.errors import UserError

CS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Inverse penalties tried; features are standardised, so wide matrices want strong penalties."""
NULL_C = 1e-2
"""C of the permutation null: the middle of `CS`, chosen without looking at any label."""
NULL_TOLERANCE = 1e-2
"""Gradient accepted in fits of permuted labels; finer ones move the null's mean by .0002."""
CHUNK_BYTES = 24e6

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


def _as_stack(x: ArrayLike) -> tuple[Tensor, bool]:
    """Features as float64 `[layer, item, d]`, and whether a layer axis was given."""
    array = np.asarray(x)
    if array.ndim not in (2, 3):
        raise UserError(f"features have shape {array.shape}: give [item, d] or [item, layer, d]")
    stack = torch.as_tensor(array, dtype=torch.float64)
    stack = stack.transpose(0, 1) if array.ndim == 3 else stack[None]
    if not bool(stack.isfinite().all()):
        layer, item, _ = (int(i) for i in (~stack.isfinite()).nonzero()[0])
        raise UserError(f"NaN or infinity in the features of item {item}, layer place {layer}")
    return stack, array.ndim == 3


class LayerProbes(ClassifierMixin, BaseEstimator):
    """L2 logistic regression on every layer at once, to scikit-learn's contract.

    With `X` of shape `[item, d]` it behaves as `make_pipeline(StandardScaler(),
    LogisticRegression(C))`; with `[item, layer, d]` every result has a layer axis.

    Args:
        C: inverse penalty.
        standardize: z-score features with the training rows' mean and deviation.

    Attributes:
        classes_: `[class]`.
        coef_: `[layer, output, d]` on raw features; one output for two classes, else one a class.
        intercept_: `[layer, output]`.
        n_iter_: Newton steps.
        n_features_in_: d.
    """

    def __init__(self, C: float = 1.0, *, standardize: bool = True) -> None:
        self.C = C
        self.standardize = standardize

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit all layers.

        Args:
            X: `[item, layer, d]` or `[item, d]`.
            y: `[item]`, labels of two or more classes.

        Raises:
            UserError: shapes that do not match, one class only, or NaN.
        """
        stack, self._layered = _as_stack(X)
        self.classes_, labels = np.unique(np.asarray(y), return_inverse=True)
        if stack.shape[1] != len(labels):
            raise UserError(f"{stack.shape[1]} rows of features for {len(labels)} labels")
        if len(self.classes_) < 2:
            raise UserError(f"one class only ({self.classes_[0]}): a probe needs two")
        self.n_features_in_ = stack.shape[2]
        target = _targets(labels[None], len(self.classes_))[None].expand(len(stack), -1, -1, -1)
        coefficients, intercepts, steps = [], [], []
        for rows in _chunks(len(stack), stack[0].numel() * 8):
            part = stack[rows]
            weight = torch.ones(part.shape[:2], dtype=torch.float64)
            design = logistic.make_design(part, weight, standardize=self.standardize)
            c = torch.tensor([self.C], dtype=torch.float64)
            fit = logistic.fit(design, target[rows], c, logistic.EXACT_TOLERANCE)
            raw = (design.basis @ fit.w[:, :, 0]) / design.scale.mT
            coefficients.append(raw.mT)
            intercepts.append(fit.b[:, 0] - (design.mean @ raw)[:, 0])
            steps.append(fit.iterations)
        self.coef_ = torch.cat(coefficients).numpy()
        self.intercept_ = torch.cat(intercepts).numpy()
        self.n_iter_ = max(steps)
        return self

    def decision_function(self, X: ArrayLike) -> Floats:
        """`[item, layer]` for two classes, else `[item, layer, class]` (no layer axis for 2-D)."""
        check_is_fitted(self)
        stack, layered = _as_stack(X)
        if stack.shape[2] != self.n_features_in_ or len(stack) != len(self.coef_):
            raise UserError(
                f"features have {len(stack)} layers of {stack.shape[2]}, the probes were fitted on "
                f"{len(self.coef_)} layers of {self.n_features_in_}"
            )
        scores = np.einsum("lnd,lkd->nlk", stack.numpy(), self.coef_) + self.intercept_
        scores = scores[..., 0] if scores.shape[-1] == 1 else scores
        return scores if layered else scores[:, 0]

    def predict_proba(self, X: ArrayLike) -> Floats:
        """`[item, layer, class]` (no layer axis for 2-D features)."""
        scores = torch.as_tensor(self.decision_function(X))
        if len(self.classes_) > 2:
            return scores.softmax(-1).numpy()
        return torch.stack([(-scores).sigmoid(), scores.sigmoid()], -1).numpy()

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """`[item, layer]` labels (`[item]` for 2-D features)."""
        best = self.predict_proba(X).argmax(-1)
        return self.classes_[best]

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Any:
        """Accuracy: a number for 2-D features, `[layer]` with a layer axis."""
        hit = (np.asarray(y) == self.predict(X).T).astype(np.float64)
        weights = np.ones(hit.shape[-1]) if sample_weight is None else np.asarray(sample_weight)
        mean = hit @ weights / weights.sum()
        return mean if hit.ndim == 2 else float(mean)


@dataclass(frozen=True)
class CrossValidated:
    """Out-of-fold results on the rows of one test mask.

    Attributes:
        rows: `[item]`, places of the test rows in the input.
        probabilities: `[layer, item, output]`, C chosen for each layer and fold.
        nested: `[item, output]`, layer and C chosen for each fold.
        layers: `[fold]`, place of the chosen layer.
        inner: `[fold]`, the inner score that chose it.
        null_auroc: `[permutation, layer]` and `null_nested` `[permutation]`, macro AUROC of
            permuted labels.
    """

    rows: Ints
    probabilities: Floats
    nested: Floats
    layers: Ints
    inner: Floats
    null_auroc: Floats
    null_nested: Floats


def cross_validate(
    X: ArrayLike,
    labels: Ints,
    folds: Ints,
    *,
    train: Mask | None = None,
    tests: Sequence[Mask] | None = None,
    select: Mask | None = None,
    permuted: Ints | None = None,
    cs: Sequence[float] = CS,
    standardize: bool = True,
    advance: Callable[[float], None] = lambda _: None,
) -> list[CrossValidated]:
    """Nested cross-validation of every layer, with the permutation null in the same batch.

    Args:
        X: `[item, layer, d]` or `[item, d]`.
        labels: `[item]`, classes as 0..K-1.
        folds: `[item]`, fold numbers from `grouped_folds`.
        train: `[item]`, rows to learn from (default all).
        tests: masks `[item]` of rows to predict, one result each (default: `train`), for transfer
            from one arm to another; folds keep a scenario's arms on one side.
        select: `[item]`, rows whose inner folds choose C and layer (default: `train`).
        permuted: `[permutation, item]`, relabelings that keep the design.
        cs: values of C to choose from.
        standardize: z-score features in training folds.
        advance: called with the share of layers just finished.

    Raises:
        UserError: NaN in the features, or fewer than three folds.
    """
    stack, _ = _as_stack(X)
    if folds.max() < 2:
        raise UserError("two folds leave no rows to choose C and the layer on: give three or more")
    train = np.ones(len(labels), bool) if train is None else train
    permuted = np.empty((0, len(labels)), np.int64) if permuted is None else permuted
    plan = _Plan(labels, permuted, folds, train, train if select is None else select, cs)
    outer, inner = [], []
    for rows in _chunks(len(stack), plan.bytes_per_layer(stack.shape[2])):
        probabilities, scores = plan.run(stack[rows], standardize)
        outer.append(probabilities)
        inner.append(scores)
        advance(len(rows) / len(stack))
    best = plan.choose(np.concatenate(inner))
    return [plan.result(np.concatenate(outer), best, test) for test in tests or [train]]


class _Plan:
    """Which rows each fit sees and predicts, and how the results are chosen among."""

    def __init__(
        self,
        labels: Ints,
        permuted: Ints,
        folds: Ints,
        train: Mask,
        select: Mask,
        cs: Sequence[float],
    ) -> None:
        self.n_classes = int(labels.max()) + 1
        self.n_folds = int(folds.max()) + 1
        self.cs = list(cs)
        self.all_labels = np.concatenate([np.tile(labels, (len(cs), 1)), permuted])
        self.c = torch.tensor([*cs, *[NULL_C] * len(permuted)], dtype=torch.float64)
        self.folds, self.select = folds, select
        self.fold_pairs = list(combinations(range(self.n_folds), 2))
        self.left_out: list[tuple[int, ...]] = [(k,) for k in range(self.n_folds)]
        self.left_out += self.fold_pairs
        rows = [np.flatnonzero(train & ~np.isin(folds, out)) for out in self.left_out]
        self.train_rows = np.zeros((len(rows), max(map(len, rows))), np.int64)
        self.weight = torch.zeros(self.train_rows.shape, dtype=torch.float64)
        for place, found in enumerate(rows):
            self.train_rows[place, : len(found)] = found
            self.weight[place, : len(found)] = 1
        target = _targets(self.all_labels, self.n_classes)
        self.target = target[torch.as_tensor(self.train_rows)]

    def bytes_per_layer(self, d: int) -> int:
        """Memory of one layer's designs, in bytes."""
        return len(self.left_out) * self.train_rows.shape[1] * d * 8 * 3

    def run(self, stack: Tensor, standardize: bool) -> tuple[Floats, Floats]:
        """Fit a chunk of layers.

        Returns:
            Outer probabilities `[layer, item, problem, output]` and inner scores
            `[layer, fold, problem]`.
        """
        n_layers, n_designs = len(stack), len(self.left_out)
        x = stack[:, torch.as_tensor(self.train_rows)].flatten(0, 1)
        design = logistic.make_design(x, self.weight.repeat(n_layers, 1), standardize=standardize)
        z = design.project(stack[:, None].expand(-1, n_designs, -1, -1).flatten(0, 1))
        n_c = len(self.cs)
        target = self.target.repeat(n_layers, 1, 1, 1)
        logits = logistic.fit(design, target[:, :, :n_c], self.c[:n_c]).logits(z)
        if len(self.c) > n_c:
            # The null is an average over many fits: a coarser optimum is ample, and faster.
            null = logistic.fit(
                design.single(), target[:, :, n_c:].float(), self.c[n_c:], NULL_TOLERANCE
            )
            logits = torch.cat([logits, null.logits(z.float()).double()], 2)
        probability = logistic.probabilities(logits)
        probability = probability.unflatten(0, (n_layers, n_designs)).numpy()
        return self._outer(probability), self._inner(probability)

    def _outer(self, probability: Floats) -> Floats:
        return probability[:, self.folds, np.arange(len(self.folds))]

    def _inner(self, probability: Floats) -> Floats:
        """For each outer fold k, the mean AUROC on folds j of the fits without j and k."""
        total = np.zeros((len(probability), self.n_folds, len(self.c)))
        for place, pair in enumerate(self.fold_pairs, start=self.n_folds):
            for k, j in (pair, pair[::-1]):
                inside = np.flatnonzero(self.select & (self.folds == j))
                score = _auroc(
                    torch.as_tensor(probability[:, place, inside]),
                    torch.as_tensor(self.all_labels[:, inside]),
                )
                total[:, k] += score.numpy() / (self.n_folds - 1)
        return total

    def choose(self, inner: Floats) -> "_Choice":
        """C for every layer and fold, the layer for every fold, from `[layer, fold, problem]`.

        argmax takes the first of equals: the strongest penalty, the lowest layer.
        """
        real = inner[..., : len(self.cs)]
        best = real.max(-1)
        null_layer = inner[..., len(self.cs) :].argmax(0)
        return _Choice(real.argmax(-1), best.argmax(0), best.max(0), null_layer)

    def result(self, outer: Floats, choice: "_Choice", test: Mask) -> CrossValidated:
        """Out-of-fold predictions and null of the test rows, with what was chosen."""
        rows = np.flatnonzero(test)
        own, items, n_c = self.folds[rows], np.arange(len(rows)), len(self.cs)
        outer = outer[:, rows]
        c_of = choice.c[:, own][..., None, None]
        by_layer = np.take_along_axis(outer[:, :, :n_c], c_of, 2)[:, :, 0]
        null, labels = outer[:, :, n_c:], self.all_labels[n_c:, rows]
        draws = np.arange(null.shape[2])
        null_nested = null[choice.null_layer[own], items[:, None], draws[None]]
        return CrossValidated(
            rows=rows,
            probabilities=by_layer,
            nested=by_layer[choice.layer[own], items],
            layers=choice.layer,
            inner=choice.score,
            null_auroc=np.stack([_by_draw(part, labels, own) for part in null], 1),
            null_nested=_by_draw(null_nested, labels, own),
        )


@dataclass(frozen=True)
class _Choice:
    """`c [layer, fold]`, `layer [fold]`, `score [fold]`, `null_layer [fold, permutation]`."""

    c: Ints
    layer: Ints
    score: Floats
    null_layer: Ints


def _by_draw(scores: Floats, labels: Ints, strata: Ints) -> Floats:
    """Macro AUROC `[permutation]` of scores `[item, permutation, output]`, within folds."""
    draws = range(scores.shape[1])
    return np.array([stats.macro_auroc(scores[:, p], labels[p], strata)[0] for p in draws])


def _targets(labels: Ints, n_classes: int) -> Tensor:
    """`[item, problem, output]` targets from `[problem, item]` labels."""
    table = torch.as_tensor(labels).T
    if n_classes == 2:
        return table[..., None].to(torch.float64)
    return torch.nn.functional.one_hot(table, n_classes).to(torch.float64)


def _auroc(scores: Tensor, labels: Tensor) -> Tensor:
    """Macro AUROC `[layer, problem]` of `[layer, item, problem, output]`, for short item axes.

    A class without an item, or with nothing else beside it, is left out of the mean.
    """
    wins = (scores[:, :, None] > scores[:, None]).double()
    wins += 0.5 * (scores[:, :, None] == scores[:, None])
    n_outputs = scores.shape[-1]
    classes = torch.arange(n_outputs) if n_outputs > 1 else torch.tensor([1])
    up = (labels.T[..., None] == classes).double()
    won = torch.einsum("lijpk,ipk,jpk->lpk", wins, up, 1 - up)
    total = up.sum(0) * (1 - up).sum(0)
    share = torch.where(total > 0, won / total.clamp_min(1), torch.zeros_like(won))
    return share.sum(-1) / (total > 0).sum(-1).clamp_min(1)


def _chunks(n: int, bytes_each: int) -> list[range]:
    """Consecutive runs of `n` that stay within the memory of one chunk."""
    size = max(1, int(CHUNK_BYTES / max(bytes_each, 1)))
    return [range(start, min(n, start + size)) for start in range(0, n, size)]
