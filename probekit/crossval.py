"""Nested cross-validation of every layer at once: what may be claimed about a probe.

`cross_validate` chooses C and the layer inside training folds only:
1. for each pair of folds {j, k}, fit on all others and score on j and on k;
2. for the outer fold k, the mean of its scores on the other folds j picks C (for every layer)
   and the layer (for the headline); nothing of fold k is in those fits;
3. fit on all folds but k with that C; predict k.
The fits of a pair of folds serve both of its members, so an inner loop over the remaining folds
costs half of what it does when each outer fold is handled alone. Rows that are held out (a test
split) are in no fit and in no choice: the fits without fold j choose for them, as inner folds,
and one fit on all folds predicts them. Permuted labels are extra columns of the same batch, with
the layer chosen the same way and C fixed at `NULL_C`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from probekit import logistic
from probekit.errors import UserError
from probekit.probes import as_stack, chunks
from probekit.targets import Target

CS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Inverse penalties tried; features are standardised, so wide matrices want strong penalties."""
NULL_C = 1e-2
"""C of the permutation null: the middle of `CS`, chosen without looking at any label."""
NULL_TOLERANCE = 1e-2
"""Gradient accepted in fits of permuted labels; finer ones move the null's mean by .0002."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class CrossValidated:
    """Predictions of the rows of one test mask, by fits that did not see them.

    Attributes:
        rows: `[item]`, places of the test rows in the input.
        predictions: `[layer, item, output]`, C chosen for each layer and fold: probabilities for
            classes and shares, numbers for a scale.
        nested: `[item, output]`, layer and C chosen for each fold.
        layers: `[fold]`, place of the chosen layer; held-out rows are one more fold, the last.
        inner: `[fold]`, the inner score that chose it.
        strata: `[item]`, the fold of each row: the fit that predicted it.
        null: `[permutation, layer]` and `null_nested` `[permutation]`, the target's metric for
            permuted labels (macro AUROC, cross-entropy or rank correlation).
    """

    rows: Ints
    predictions: Floats
    nested: Floats
    layers: Ints
    inner: Floats
    strata: Ints
    null: Floats
    null_nested: Floats


def cross_validate(
    X: ArrayLike,
    labels: NDArray[Any],
    folds: Ints,
    *,
    train: Mask | None = None,
    tests: Sequence[Mask] | None = None,
    select: Mask | None = None,
    held_out: Mask | None = None,
    compare: Ints | None = None,
    permuted: Ints | None = None,
    cs: Sequence[float] = CS,
    standardize: bool = True,
    advance: Callable[[float], None] = lambda _: None,
) -> list[CrossValidated]:
    """Nested cross-validation of every layer, with the permutation null in the same batch.

    Args:
        X: `[item, layer, d]` or `[item, d]`.
        labels: `[item]` classes as 0..K-1, `[item, class]` shares, or `[item]` floats; see
            `probekit.targets`.
        folds: `[item]`, fold numbers from `grouped_folds`; those of held-out rows are not read.
        train: `[item]`, rows to learn from (default all).
        tests: masks `[item]` of rows to predict, one result each (default: `train`), for transfer
            from one arm to another; folds keep a scenario's arms on one side.
        select: `[item]`, rows whose inner folds choose C and layer (default: `train`).
        held_out: `[item]`, rows never learned from nor chosen on (a test split).
        compare: `[item]`, which items are ranked against one another, those of one number
            (default: those predicted by one fit).
        permuted: `[permutation, item]`, relabelings that keep the design (for shares and floats:
            places to take values from).
        cs: values of C to choose from.
        standardize: z-score features in training folds.
        advance: called with the share of layers just finished.

    Raises:
        UserError: NaN in the features or targets, or fewer than three folds.
    """
    stack, _ = as_stack(X)
    for name, each in (("labels", labels), ("folds", folds)):
        if len(each) != stack.shape[1]:
            raise UserError(f"{len(each)} {name} for {stack.shape[1]} rows of features")
    held = np.zeros(len(labels), bool) if held_out is None else held_out
    if held.all() or folds[~held].max() < 2:
        raise UserError("two folds leave no rows to choose C and the layer on: give three or more")
    train = np.ones(len(labels), bool) if train is None else train
    target = Target.of(labels, permuted, len(cs))
    plan = _Plan(target, folds, train, train if select is None else select, held, compare, cs)
    outer, inner = [], []
    for rows in chunks(len(stack), plan.bytes_per_layer(stack.shape[2])):
        predictions, scores = plan.run(stack[rows], standardize)
        outer.append(predictions)
        inner.append(scores)
        advance(len(rows) / len(stack))
    best = plan.choose(np.concatenate(inner))
    return [plan.result(np.concatenate(outer), best, test) for test in tests or [train]]


class _Plan:
    """Which rows each fit sees and predicts, and how the results are chosen among.

    A fit is named by the folds it leaves out: none (for held-out rows), one, or two.
    """

    def __init__(
        self,
        target: Target,
        folds: Ints,
        train: Mask,
        select: Mask,
        held: Mask,
        compare: Ints | None,
        cs: Sequence[float],
    ) -> None:
        self.target, self.cs = target, list(cs)
        n_permuted = target.columns.shape[1] - len(cs)
        self.c = torch.tensor([*cs, *[NULL_C] * n_permuted], dtype=torch.float64)
        n_folds = int(folds[~held].max()) + 1
        self.folds = np.where(held, n_folds, folds)
        self.select = select & ~held
        self.compare = self.folds if compare is None else compare
        single = [(k,) for k in range(n_folds)]
        whole: list[tuple[int, ...]] = [()] if held.any() else []
        self.left_out = [*single, *combinations(range(n_folds), 2), *whole]
        # Folds in the order of `self.folds`: for each, the folds left out when it is predicted.
        self.outer_fits: list[tuple[int, ...]] = [*single, *whole]
        self.n_folds = n_folds
        rows = [np.flatnonzero(train & ~held & ~np.isin(self.folds, out)) for out in self.left_out]
        if lacking := [
            out for out, found in zip(self.left_out, rows, strict=True) if not len(found)
        ]:
            raise UserError(
                f"nothing is left to learn from without fold {lacking[0][0]}: spread the rows that "
                "are learned from over three folds or more"
            )
        self.train_rows = np.zeros((len(rows), max(map(len, rows))), np.int64)
        self.weight = torch.zeros(self.train_rows.shape, dtype=torch.float64)
        for place, found in enumerate(rows):
            self.train_rows[place, : len(found)] = found
            self.weight[place, : len(found)] = 1
        self.columns = target.columns[torch.as_tensor(self.train_rows)]

    def bytes_per_layer(self, d: int) -> int:
        """Memory of one layer's designs, in bytes."""
        return len(self.left_out) * self.train_rows.shape[1] * d * 8 * 3

    def run(self, stack: Tensor, standardize: bool) -> tuple[Floats, Floats]:
        """Fit a chunk of layers.

        Returns:
            Outer predictions `[layer, item, problem, output]` and inner scores
            `[layer, fold, problem]`.
        """
        n_layers, n_designs = len(stack), len(self.left_out)
        x = stack[:, torch.as_tensor(self.train_rows)].flatten(0, 1)
        design = logistic.make_design(x, self.weight.repeat(n_layers, 1), standardize=standardize)
        z = design.project(stack[:, None].expand(-1, n_designs, -1, -1).flatten(0, 1))
        n_c = len(self.cs)
        columns = self.columns.repeat(n_layers, 1, 1, 1)
        true = self.target.fit(
            design, columns[:, :, :n_c], self.c[:n_c], logistic.GRADIENT_TOLERANCE
        )
        found = self.target.predict(true, z)
        if len(self.c) > n_c:
            # The null is an average over many fits: a coarser optimum is ample, and faster.
            null = self.target.fit(
                design.single(), columns[:, :, n_c:].float(), self.c[n_c:], NULL_TOLERANCE
            )
            found = torch.cat([found, self.target.predict(null, z.float()).double()], 2)
        by_fit = found.unflatten(0, (n_layers, n_designs))
        return self._outer(by_fit), self._inner(by_fit)

    def _outer(self, by_fit: Tensor) -> Floats:
        """Each item as the fit without its own fold predicts it."""
        fit_of = np.array([self.left_out.index(out) for out in self.outer_fits])
        return by_fit[:, fit_of[self.folds], np.arange(len(self.folds))].numpy()

    def _inner(self, by_fit: Tensor) -> Floats:
        """For each outer fold k, the mean score on folds j of the fits without j and k."""
        total = np.zeros((len(by_fit), len(self.outer_fits), len(self.c)))
        for place, out in enumerate(self.outer_fits):
            others = [j for j in range(self.n_folds) if j not in out]
            for j in others:
                inside = np.flatnonzero(self.select & (self.folds == j))
                if not len(inside):
                    continue
                fit = self.left_out.index(tuple(sorted((*out, j))))
                score = self.target.inner(by_fit[:, fit, inside], inside, self.compare[inside])
                total[:, place] += score.numpy() / len(others)
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
        """Predictions and null of the test rows, with what was chosen."""
        rows = np.flatnonzero(test)
        own, items, n_c = self.folds[rows], np.arange(len(rows)), len(self.cs)
        compare = self.compare[rows]
        outer = outer[:, rows]
        c_of = choice.c[:, own][..., None, None]
        by_layer = np.take_along_axis(outer[:, :, :n_c], c_of, 2)[:, :, 0]
        null = outer[:, :, n_c:]
        draws = np.arange(null.shape[2])
        null_nested = null[choice.null_layer[own], items[:, None], draws[None]]
        return CrossValidated(
            rows=rows,
            predictions=by_layer,
            nested=by_layer[choice.layer[own], items],
            layers=choice.layer,
            inner=choice.score,
            strata=own,
            null=np.stack([self.target.null(part, rows, compare) for part in null], 1),
            null_nested=self.target.null(null_nested, rows, compare),
        )


@dataclass(frozen=True)
class _Choice:
    """`c [layer, fold]`, `layer [fold]`, `score [fold]`, `null_layer [fold, permutation]`."""

    c: Ints
    layer: Ints
    score: Floats
    null_layer: Ints
