"""What a probe learns: classes, shares of several classes, or numbers on a scale.

| target | given as | fitted by | chosen by, and null of |
|---|---|---|---|
| `Classes` | `[item]` integers | logistic regression | macro AUROC |
| `Shares` | `[item, class]` soft labels | logistic regression | cross-entropy |
| `Numbers` | `[item]` floats | ridge regression | squared error; rank correlation |

A target holds its values for several *problems* at once: the true ones first, once for each
penalty tried, then the permuted ones.
"""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from probekit import logistic, stats
from probekit.errors import UserError
from probekit.logistic import Design, Fit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Target(ABC):
    """Values of all problems, `columns [item, problem, output]`, and how they are learned.

    Attributes:
        columns: the values, float64.
        n_true: how many problems hold the true values.
    """

    metric: str
    columns: Tensor
    n_true: int

    @staticmethod
    def of(values: NDArray[Any], permuted: Ints | None, n_true: int) -> "Target":
        """The target that the type and shape of `values` mean.

        Args:
            values: `[item]` integers (classes 0..K-1), `[item, class]` shares that sum to one,
                or `[item]` floats.
            permuted: `[permutation, item]`: relabelings for classes, and for the others the
                places from which each item takes its value.
            n_true: how often the true values stand before the permuted ones.

        Raises:
            UserError: another shape or type, shares that do not sum to one, NaN.
        """
        values = np.asarray(values)
        drawn = np.empty((0, len(values)), np.int64) if permuted is None else np.asarray(permuted)
        if values.ndim == 1 and values.dtype.kind in "iub":
            if values.min() < 0:
                raise UserError(f"classes are numbered from 0, not {values.min()}: use np.unique")
            return Classes(values.astype(np.int64), drawn, n_true)
        if values.dtype.kind != "f" or values.ndim not in (1, 2):
            raise UserError(
                f"targets have shape {values.shape} and type {values.dtype}: give [item] integers "
                "(classes), [item, class] shares, or [item] floats (a scale)"
            )
        if not np.isfinite(values).all():
            place = int(np.argwhere(~np.isfinite(values))[0][0])
            raise UserError(f"the target of item {place} is missing or infinite: leave it out")
        return (Shares if values.ndim == 2 else Numbers)(values.astype(np.float64), drawn, n_true)

    @abstractmethod
    def fit(self, design: Design, rows: Tensor, c: Tensor, tolerance: float) -> Fit:
        """Fit the problems `rows [design, row, problem, output]` of these designs."""

    @abstractmethod
    def predict(self, fitted: Fit, z: Tensor) -> Tensor:
        """Predictions `[design, row, problem, output]` of projected rows."""

    @abstractmethod
    def inner(self, predictions: Tensor, items: Ints, compare: Ints) -> Tensor:
        """Scores `[layer, problem]` of `[layer, item, problem, output]`, higher is better.

        `compare [item]` says which items are compared with one another: those of one number.
        """

    @abstractmethod
    def null(self, predictions: Floats, items: Ints, strata: Ints) -> Floats:
        """The metric `[permutation]` of `[item, permutation, output]` on permuted values."""


class _Logistic(Target):
    def fit(self, design: Design, rows: Tensor, c: Tensor, tolerance: float) -> Fit:
        return logistic.fit(design, rows, c, tolerance)

    def predict(self, fitted: Fit, z: Tensor) -> Tensor:
        return logistic.probabilities(fitted.logits(z))


class Classes(_Logistic):
    """One of K classes; two classes have one output, the probability of the second."""

    metric = "auroc"

    def __init__(self, labels: Ints, permuted: Ints, n_true: int) -> None:
        self.labels = np.concatenate([np.tile(labels, (n_true, 1)), permuted])
        self.n_classes, self.n_true = int(labels.max()) + 1, n_true
        table = torch.as_tensor(self.labels).T
        if self.n_classes == 2:
            self.columns = table[..., None].to(torch.float64)
        else:
            self.columns = torch.nn.functional.one_hot(table, self.n_classes).to(torch.float64)

    def inner(self, predictions: Tensor, items: Ints, compare: Ints) -> Tensor:
        """Macro AUROC; a class without an item, or alone, is left out of the mean."""
        labels = torch.as_tensor(self.labels[:, items])
        wins = (predictions[:, :, None] > predictions[:, None]).double()
        wins += 0.5 * (predictions[:, :, None] == predictions[:, None])
        n_outputs = predictions.shape[-1]
        classes = torch.arange(n_outputs) if n_outputs > 1 else torch.tensor([1])
        up = (labels.T[..., None] == classes).double()
        same = torch.as_tensor(compare[:, None] == compare[None], dtype=torch.float64)
        won = torch.einsum("lijpk,ij,ipk,jpk->lpk", wins, same, up, 1 - up)
        total = torch.einsum("ij,ipk,jpk->pk", same, up, 1 - up)
        share = torch.where(total > 0, won / total.clamp_min(1), torch.zeros_like(won))
        return share.sum(-1) / (total > 0).sum(-1).clamp_min(1)

    def null(self, predictions: Floats, items: Ints, strata: Ints) -> Floats:
        labels, draws = self.labels[self.n_true :, items], range(predictions.shape[1])
        return np.array([stats.macro_auroc(predictions[:, p], labels[p], strata)[0] for p in draws])


class _Gathered(Target):
    """Targets whose permutations move whole values between items."""

    def __init__(self, values: Floats, permuted: Ints, n_true: int) -> None:
        self.n_true = n_true
        table = values if values.ndim == 2 else values[:, None]
        own = np.tile(np.arange(len(table)), (n_true, 1))
        places = np.concatenate([own, permuted]).T
        self.columns = torch.as_tensor(table)[torch.as_tensor(places)]

    def _true(self, items: Ints) -> Tensor:
        return self.columns[torch.as_tensor(items)]


class Shares(_Gathered, _Logistic):
    """Soft labels: each item's share of every class, learned by cross-entropy.

    Two classes have two outputs too, so the same C bends less than in `Classes`: as C/2 there.
    """

    metric = "cross_entropy"

    def __init__(self, values: Floats, permuted: Ints, n_true: int) -> None:
        wrong = (values < 0).any(1) | (np.abs(values.sum(1) - 1) > 1e-6)
        if wrong.any():
            place = int(np.argmax(wrong))
            raise UserError(
                f"the shares of item {place} are {values[place].tolist()}: shares are not negative "
                "and sum to one; divide each item's counts by their sum"
            )
        super().__init__(values, permuted, n_true)

    def inner(self, predictions: Tensor, items: Ints, compare: Ints) -> Tensor:  # noqa: ARG002
        nats = -(self._true(items) * predictions.clamp_min(1e-12).log()).sum(-1)
        return -nats.mean(1)

    def null(self, predictions: Floats, items: Ints, strata: Ints) -> Floats:  # noqa: ARG002
        true, draws = self._true(items)[:, self.n_true :].numpy(), range(predictions.shape[1])
        return np.array([stats.cross_entropy(predictions[:, p], true[:, p]).mean() for p in draws])


class Numbers(_Gathered):
    """A scale, ordinal levels as their numbers; learned by ridge regression.

    The objective is that of the logistic fits with squared loss, `C/2 · Σ (y - ŷ)² + ½ |w|²`; in
    rotated coordinates its optimum is closed.
    """

    metric = "spearman"

    def fit(self, design: Design, rows: Tensor, c: Tensor, tolerance: float) -> Fit:  # noqa: ARG002
        weight = design.weight[:, :, None, None]
        b = (weight * rows).sum(1) / weight.sum(1)
        moved = torch.einsum("dnr,dnpo->drpo", design.z, weight * (rows - b[:, None]))
        w = moved / (design.spectrum[:, :, None, None] + (1.0 / c.to(rows))[None, None, :, None])
        return Fit(w, b, 1, True)

    def predict(self, fitted: Fit, z: Tensor) -> Tensor:
        return fitted.logits(z)

    def inner(self, predictions: Tensor, items: Ints, compare: Ints) -> Tensor:  # noqa: ARG002
        return -(predictions - self._true(items)).square().mean((1, 3))

    def null(self, predictions: Floats, items: Ints, strata: Ints) -> Floats:
        true = self._true(items)[:, self.n_true :, 0].numpy()
        draws = range(true.shape[1])
        return np.array(
            [stats.spearman(predictions[:, p, 0], true[:, p], strata)[0] for p in draws]
        )
