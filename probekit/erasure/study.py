"""`evaluate_erasure`: what a newly trained probe still finds, and what else erasing took along.

In every split the eraser is fitted on training rows, and a new probe on erased training rows; it
is scored on erased held-out rows. Two figures, because one of them is no evidence on new texts:
- `auroc_same_rows`: probe and eraser learn from the same rows. After LEACE the probe is at
  chance by construction (its best weights are zero), however little of the concept is gone.
- `auroc`: the probe learns from training rows that the eraser has not seen, erased as well. What
  it finds is what the eraser leaves in texts of the same kind.

Methods are none, leace, projection (of the class means' span) and random (as many directions).
Chance is the whole pipeline with permuted labels, the fitting of the eraser included. Concepts
that were not erased are read from the same erased states.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from probekit import stats
from probekit.crossval import NULL_C
from probekit.erasure.refit import columns_of, fit, mean_gap, predict, splits
from probekit.errors import UserError
from probekit.folds import Scheme, permute_labels
from probekit.probes import as_stack
from probekit.stats import Estimate

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
Strings = NDArray[np.str_]
Row = dict[str, Any]
CONDITIONS = {
    "none": "baseline",
    "leace": "erasure",
    "projection": "erasure",
    "random": "control",
}
"""Method -> the condition under which its figures stand."""
METRICS = {"auroc": True, "auroc_same_rows": False}
"""Figure -> whether the probe learns from rows that the eraser has not seen."""
COMPARED = {"change": "none", "above_random": "random"}
"""Paired differences of a figure -> the method that it is less."""


@dataclass(frozen=True, eq=False)
class Concept:
    """What is erased, or read to see whether it was kept.

    Attributes:
        name: "emotion", "domain".
        labels: `[item]`; "" for a row that has none.
        scheme: how chance permutes the labels; see `folds.permute_labels`.
        units: `[item]`, what the scheme speaks of (default: the groups).
        blocks: `[item]`, within which an "across" permutation stays (default: anywhere).
    """

    name: str
    labels: Strings
    scheme: Scheme = "across"
    units: Strings | None = None
    blocks: Strings | None = None

    def drawn(self, groups: Strings, n: int, seed: int) -> Ints:
        """`[1 + n, item]` class numbers, the true ones and then permuted; -1 for no label."""
        labels = np.asarray(self.labels)
        has = labels != ""
        classes = np.unique(labels[has])
        if len(classes) < 2:
            there = ", ".join(map(str, classes)) or "none"
            raise UserError(f"classes of {self.name}: {there}; give two or more")
        units = np.asarray(groups if self.units is None else self.units)[has]
        blocks = np.full(len(labels), "") if self.blocks is None else np.asarray(self.blocks)
        permuted = permute_labels(labels[has], self.scheme, units, blocks[has], n, seed)
        out = np.full((1 + n, len(labels)), -1)
        out[:, has] = np.searchsorted(classes, np.vstack([labels[has], permuted]))
        return out


def evaluate_erasure(
    states: ArrayLike,
    erased: Concept,
    groups: Strings,
    folds: Ints,
    *,
    kept: Sequence[Concept] = (),
    held_out: Mask | None = None,
    layers: Sequence[int] | None = None,
    permutations: int = 100,
    bootstraps: int = 1000,
    seed: int = 0,
    c: float = NULL_C,
    shrinkage: bool = True,
    advance: Callable[[float], None] = lambda _: None,
) -> list[Row]:
    """One concept and others, before and after erasing it, layer by layer.

    Args:
        states: `[item, layer, d]` or `[item, d]`.
        erased: the concept to erase.
        groups: `[item]`, scenarios: what folds do not part, and what bootstraps draw.
        folds: `[item]`, fold numbers from `grouped_folds`, three or more.
        kept: concepts that should stay.
        held_out: `[item]`, a test split: the rows predicted, by one fit on all others. Without
            it every fold is predicted by fits on the others.
        layers: numbers of the layers (default: 0, 1, ...).
        permutations, bootstraps, seed: draws of chance and of intervals; the random eraser's too.
        c: inverse penalty of the probes; fixed, so that nothing is chosen.
        shrinkage: of LEACE's covariance.
        advance: called with the share of the work just finished.

    Returns:
        Rows of `results.csv`: `source` is the concept erased, `target` the one read, `k` the rank
        of the eraser. Each AUROC has its null and p; `..._change` is its paired difference from
        no erasing, `..._above_random` that from random erasing, each with p against zero; q over
        layers. `mean_gap` is the largest distance of a
        class mean from the mean on the fitted rows of any split, in standard deviations of its
        feature; `moved` the squared length of what erasing changed in held-out rows over that of
        the states around the mean.

    Raises:
        UserError: NaN, lengths that differ, fewer than three folds, or a concept of one class.
    """
    stack, _ = as_stack(states)
    named = [(each.name, each.labels) for each in (erased, *kept)]
    held = np.zeros(len(folds), bool) if held_out is None else np.asarray(held_out)
    for name, given in (("groups", groups), ("folds", folds), ("held_out", held), *named):
        if len(given) != stack.shape[1]:
            raise UserError(f"{len(given)} {name} for {stack.shape[1]} rows of states")
    numbers = list(range(len(stack))) if layers is None else list(layers)
    if len(numbers) != len(stack):
        raise UserError(f"{len(numbers)} layer numbers for {len(stack)} layers of states")
    draws = (permutations, bootstraps, seed)
    study = _Study(stack, numbers, erased, np.asarray(groups), folds, held, draws, c, shrinkage)
    rows = []
    for target in (erased, *kept):
        rows += study.read(target)
        advance(1 / len(named))
    return [*rows, *study.sizes()]


class _Study:
    def __init__(
        self,
        stack: Tensor,
        numbers: Sequence[int],
        erased: Concept,
        groups: Strings,
        folds: Ints,
        held: Mask,
        draws: tuple[int, int, int],
        c: float,
        shrinkage: bool,
    ) -> None:
        self.stack, self.numbers, self.erased = stack, numbers, erased
        self.groups, self.folds, self.c, self.shrinkage = groups, folds, c, shrinkage
        self.permutations, self.bootstraps, self.seed = draws
        self.splits = {name: list(splits(folds, held, new=new)) for name, new in METRICS.items()}
        self.tested = held if held.any() else ~held
        self.strata = np.where(held, -1, folds)

    def read(self, target: Concept) -> Iterator[Row]:
        """AUROC of one concept under every method, with its null and its change."""
        labels = target.drawn(self.groups, self.permutations, self.seed)
        by = labels if target is self.erased else self.erased.drawn(self.groups, 0, self.seed)
        items, cells, weights = self._scored_rows(target, labels)
        for metric in METRICS:
            tables = [
                self._predictions(x, number, labels, by, metric)
                for x, number in zip(self.stack, self.numbers, strict=True)
            ]
            found = {
                method: [self._aurocs(each[method][0], labels, items, weights) for each in tables]
                for method in CONDITIONS
            }
            for method in CONDITIONS:
                own = {**cells, "metric": metric, "method": method}
                ranks = [each[method][1] for each in tables]
                yield from _curve(found, self.numbers, ranks, own)

    def _scored_rows(self, target: Concept, labels: Ints) -> tuple[Ints, Row, Floats]:
        """Places of the rows predicted, common cells, and bootstrap weights `[draw, place]`."""
        items = np.flatnonzero((labels[0] >= 0) & self.tested)
        clusters = [str(name) for name in self.groups[items]]
        cells = {"task": "erasure", "source": self.erased.name, "target": target.name}
        cells |= {"n": len(items), "clusters": len(set(clusters)), "seed": self.seed}
        return items, cells, stats.bootstrap_weights(clusters, self.bootstraps, self.seed)

    def _predictions(
        self, x: Tensor, number: int, labels: Ints, by: Ints, metric: str
    ) -> dict[str, tuple[Floats, int]]:
        """Method -> predictions `[item, draw, output]` of one layer, and the eraser's rank."""
        columns, there = columns_of(labels), labels[0] >= 0
        out = {}
        for split in self.splits[metric]:
            learn, test = split.learn & there, split.test & there
            for method, eraser in self._fit(x, number, by, split.fit, split.seed).items():
                table, rank = out.setdefault(method, (np.full(columns.shape, np.nan), eraser.rank))
                table[test] = predict(x, eraser, columns, learn, test, self.c)
                out[method] = (table, max(rank, eraser.rank))
        return out

    def _fit(self, x: Tensor, number: int, by: Ints, rows: Mask, fold: int) -> dict[str, Any]:
        seed = np.random.SeedSequence([self.seed, number, fold]).generate_state(1)
        return fit(x, by, rows, shrinkage=self.shrinkage, seed=int(seed[0]))

    def _aurocs(
        self, predictions: Floats, labels: Ints, items: Ints, weights: Floats
    ) -> tuple[Floats, Floats]:
        """`[1 + bootstrap]` with the true labels, and `[permutation]` with permuted ones."""
        given, truth, strata = predictions[items], labels[:, items], self.strata[items]
        null = [
            stats.macro_auroc(given[:, draw], truth[draw], strata)[0]
            for draw in range(1, len(truth))
        ]
        return stats.macro_auroc(given[:, 0], truth[0], strata, weights), np.array(null)

    def sizes(self) -> Iterator[Row]:
        """How unequal class means are on the fitted rows, and how far held-out rows move."""
        labels = self.erased.drawn(self.groups, 0, self.seed)
        items, cells, weights = self._scored_rows(self.erased, labels)
        for x, number in zip(self.stack, self.numbers, strict=True):
            gaps: dict[str, list[float]] = {method: [] for method in CONDITIONS}
            moved = {method: np.zeros(len(x)) for method in CONDITIONS}
            size = np.zeros(len(x))
            for split in self.splits["auroc_same_rows"]:
                fitted = split.fit & (labels[0] >= 0)
                own, test = (torch.as_tensor(rows) for rows in (fitted, split.test))
                for method, eraser in self._fit(x, number, labels, fitted, split.seed).items():
                    after = eraser(x, range(1))[0]
                    gaps[method].append(mean_gap(x[own], after[own], labels[0, fitted]))
                    moved[method][split.test] = (after - x)[test].square().sum(-1).numpy()
                    size[split.test] = (x[test] - eraser.mean).square().sum(-1).numpy()
            for method, condition in CONDITIONS.items():
                row = {**cells, "layer": number, "method": method, "condition": condition}
                yield {**row, "metric": "mean_gap", "value": max(gaps[method])}
                share = (weights @ moved[method][items]) / (weights @ size[items])
                yield {**row, "metric": "moved", **Estimate.of(share).cells}


def _curve(
    found: Mapping[str, Sequence[tuple[Floats, Floats]]],
    numbers: Sequence[int],
    ranks: Sequence[int],
    cells: Mapping[str, Any],
) -> Iterator[Row]:
    """Rows of one method over layers; p-values are adjusted over them."""
    method, metric = cells["method"], cells["metric"]
    after, condition = found[method], CONDITIONS[method]
    p = [stats.permutation_p(float(d[0]), n) if len(n) else float("nan") for d, n in after]
    q = stats.adjusted(p)
    for place, (draws, null) in enumerate(after):
        own = {**cells, "layer": numbers[place], "k": ranks[place]}
        value = Estimate.of(draws).cells
        yield {**own, "condition": condition, **value, "p": p[place], "q": q[place]}
        if len(null):
            yield {**own, "condition": "null", **Estimate.of_null(null).cells}
    for name, other in COMPARED.items():
        if method not in ("none", other):
            pairs = zip(after, found[other], strict=True)
            differences = [Estimate.of(a - b, against_zero=True) for (a, _), (b, _) in pairs]
            q = stats.adjusted([difference.p for difference in differences])
            for place, difference in enumerate(differences):
                own = {**cells, "layer": numbers[place], "k": ranks[place], "condition": condition}
                yield {**own, "metric": f"{metric}_{name}", **difference.cells, "q": q[place]}
