"""Erasers fitted and probes trained anew, in every split and for every labeling.

Labels are `[draw, item]` class numbers: the true ones first, then permuted ones; -1 for a row
that has none. What depends on the labels is fitted for each draw.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from probekit import logistic
from probekit.erasure.closed_form import Metric, class_means, deviations, orthogonal
from probekit.erasure.eraser import random_eraser
from probekit.errors import UserError
from probekit.probes import chunks

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Split:
    """Masks `[item]`: the rows of the eraser, those of a new probe, and those it predicts."""

    fit: Mask
    learn: Mask
    test: Mask
    seed: int


def splits(folds: Ints, held_out: Mask, *, new: bool) -> Iterator[Split]:
    """One for each fold, or one for the rows held out.

    Args:
        folds: `[item]`; those of held-out rows are not read.
        new: whether the probe learns from rows that the eraser has not seen, half of the folds
            each; otherwise both have all training rows.

    Raises:
        UserError: fewer than three folds.
    """
    count = 0 if held_out.all() else int(folds[~held_out].max()) + 1
    if count < 3:
        raise UserError(f"{count} folds: give three, for the eraser, a new probe and its test")
    for fold in range(1 if held_out.any() else count):
        # In turn, so that every fold serves in every part.
        others = [(fold + step) % count for step in range(1, count)]
        others = list(range(count)) if held_out.any() else others
        half = (len(others) + 1) // 2 if new else 0
        fit, learn = (others[:half], others[half:]) if new else (others, others)
        fitted, learned = (np.isin(folds, part) & ~held_out for part in (fit, learn))
        test = held_out if held_out.any() else folds == fold
        yield Split(fitted, learned, test, seed=fold)


@dataclass(frozen=True)
class Erased:
    """Erasers of several draws: `read` and `write` `[draw, k, d]`, `mean` `[d]`.

    Those that do not depend on the labels are one for all draws.
    """

    read: Tensor
    write: Tensor
    mean: Tensor

    def __len__(self) -> int:
        return len(self.read)

    def __call__(self, rows: Tensor, draws: range) -> Tensor:
        """Rows `[n, d]` as each of these draws erases them, `[draw, n, d]`."""
        read, write = (side[draws.start : draws.stop] for side in (self.read, self.write))
        return rows - ((rows - self.mean) @ read.mT) @ write

    @property
    def rank(self) -> int:
        """Directions erased with the true labels."""
        return int((self.read[0].abs().amax(-1) > 0).sum())


def fit(x: Tensor, labels: Ints, rows: Mask, *, shrinkage: bool, seed: int) -> dict[str, Erased]:
    """Erasers of one layer by method: none, leace, projection, random.

    Args:
        x: `[item, d]`.
        labels: `[draw, item]`.
        rows: `[item]`, those to fit on; of them those that have a label.
        shrinkage: of LEACE's covariance.
        seed: of the random directions, as many as LEACE erases.
    """
    inside = torch.as_tensor(rows & (labels[0] >= 0))
    own = x[inside]
    means, counts = class_means(own, torch.as_tensor(labels)[:, inside], int(labels.max()) + 1)
    apart, centre = deviations(means, counts)
    span = orthogonal(apart, means)
    leace = Erased(*Metric.of_rows(own, shrinkage=shrinkage).oblique(apart), centre[0])
    chance = torch.as_tensor(random_eraser(leace.rank, x.shape[1], seed).read)[None]
    return {
        "none": Erased(chance[:, :0], chance[:, :0], centre[0]),
        "leace": leace,
        "projection": Erased(span, span, centre[0]),
        "random": Erased(chance, chance, centre[0]),
    }


def predict(
    x: Tensor, erased: Erased, columns: Tensor, learn: Mask, test: Mask, c: float
) -> Floats:
    """Predictions `[test item, draw, output]` of new probes, on erased rows from erased rows.

    An eraser of its own for each draw needs a design of its own; otherwise all draws are problems
    of one design.

    Args:
        columns: `[item, draw, output]`, from `columns_of`.
        learn, test: `[item]`, rows to learn from and to predict.
        c: inverse penalty of the probes.
    """
    train, tested = x[torch.as_tensor(learn)], x[torch.as_tensor(test)]
    target = columns[torch.as_tensor(learn)]
    own = len(erased) > 1
    found = []
    for draws in chunks(len(erased), (len(train) + len(tested)) * x.shape[1] * 8 * 3):
        rows = erased(train, draws)
        part = (
            target[:, draws.start : draws.stop].transpose(0, 1)[:, :, None] if own else target[None]
        )
        weight = rows.new_ones(rows.shape[:2])
        design = logistic.make_design(rows, weight, standardize=True)
        fitted = logistic.fit(design, part, rows.new_full((part.shape[2],), c))
        z = design.project(erased(tested, draws))
        found.append(logistic.probabilities(fitted.logits(z)))
    values = torch.cat(found)
    return (values[:, :, 0].transpose(0, 1) if own else values[0]).numpy()


def columns_of(labels: Ints) -> Tensor:
    """`[item, draw, output]`, 0 or 1: one output for two classes, else one a class."""
    table = torch.as_tensor(labels).T.clamp_min(0)
    one_hot = torch.nn.functional.one_hot(table, int(labels.max()) + 1).to(torch.float64)
    return one_hot[..., 1:] if one_hot.shape[-1] == 2 else one_hot


def mean_gap(before: Tensor, after: Tensor, labels: Ints) -> float:
    """Largest distance of a class mean from the mean, in deviations of its feature before."""
    means, counts = class_means(after, torch.as_tensor(labels), int(labels.max()) + 1)
    apart = (means - after.mean(0))[counts > 0].abs()
    scale = before.std(0)
    return float((apart[:, scale > 0] / scale[scale > 0]).max())
