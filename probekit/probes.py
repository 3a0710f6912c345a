"""Linear probes of every layer at once, to scikit-learn's contract.

`LayerProbes` is a logistic regression for classes or soft labels, `LayerRegression` a ridge
regression for numbers; both fit all layers of `[item, layer, d]` in one batch.
"""

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from probekit import logistic, stats
from probekit.errors import UserError
from probekit.shown import card, counted
from probekit.targets import Target

CHUNK_BYTES = 24e6
"""Memory of the designs that are solved together; larger chunks leave the processor's cache."""

Floats = NDArray[np.float64]


def as_stack(x: ArrayLike) -> tuple[Tensor, bool]:
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


def chunks(n: int, bytes_each: int) -> list[range]:
    """Consecutive runs of `n` that stay within the memory of one chunk."""
    size = max(1, int(CHUNK_BYTES / max(bytes_each, 1)))
    return [range(start, min(n, start + size)) for start in range(0, n, size)]


class _LayerLinear(BaseEstimator):
    """A linear fit on every layer; subclasses say of what.

    Attributes:
        coef_: `[layer, output, d]` on raw features.
        intercept_: `[layer, output]`.
        n_iter_: Newton steps.
        n_features_in_: d.
    """

    def __init__(self, C: float = 1.0, *, standardize: bool = True) -> None:
        self.C = C
        self.standardize = standardize

    def _html_repr(self) -> str:
        """What scikit-learn's `_repr_html_` and `_repr_mimebundle_` give a notebook."""
        facts = {"C": self.C, "standardize": self.standardize, "fitted": "not yet"}
        if hasattr(self, "coef_"):
            facts |= {"fitted": "yes", "layers": len(self.coef_), "features": self.n_features_in_}
        if (classes := getattr(self, "classes_", None)) is not None:
            facts["classes"] = counted(classes.tolist())
        return card(type(self).__name__, facts)

    def _fit(self, X: ArrayLike, values: NDArray[Any]) -> None:
        stack, self._layered = as_stack(X)
        if stack.shape[1] != len(values):
            raise UserError(f"{stack.shape[1]} rows of features for {len(values)} labels")
        target = Target.of(values, None, 1)
        self.n_features_in_ = stack.shape[2]
        rows_of = target.columns[None].expand(len(stack), -1, -1, -1)
        c = torch.tensor([self.C], dtype=torch.float64)
        coefficients, intercepts, steps = [], [], []
        for rows in chunks(len(stack), stack[0].numel() * 8):
            part = stack[rows]
            weight = torch.ones(part.shape[:2], dtype=torch.float64)
            design = logistic.make_design(part, weight, standardize=self.standardize)
            fit = target.fit(design, rows_of[rows], c, logistic.EXACT_TOLERANCE)
            raw = (design.basis @ fit.w[:, :, 0]) / design.scale.mT
            coefficients.append(raw.mT)
            intercepts.append(fit.b[:, 0] - (design.mean @ raw)[:, 0])
            steps.append(fit.iterations)
        self.coef_ = torch.cat(coefficients).numpy()
        self.intercept_ = torch.cat(intercepts).numpy()
        self.n_iter_ = max(steps)

    def _values(self, X: ArrayLike) -> Floats:
        """`[item, layer]` for one output, else `[item, layer, output]` (no layer axis for 2-D)."""
        check_is_fitted(self)
        stack, layered = as_stack(X)
        if stack.shape[2] != self.n_features_in_ or len(stack) != len(self.coef_):
            raise UserError(
                f"features have {len(stack)} layers of {stack.shape[2]}, the probes were fitted on "
                f"{len(self.coef_)} layers of {self.n_features_in_}"
            )
        scores = np.einsum("lnd,lkd->nlk", stack.numpy(), self.coef_) + self.intercept_
        scores = scores[..., 0] if scores.shape[-1] == 1 else scores
        return scores if layered else scores[:, 0]


class LayerProbes(ClassifierMixin, _LayerLinear):
    """L2 logistic regression on every layer at once.

    With `X` of shape `[item, d]` it behaves as `make_pipeline(StandardScaler(),
    LogisticRegression(C))`; with `[item, layer, d]` every result has a layer axis.

    Args:
        C: inverse penalty.
        standardize: z-score features with the training rows' mean and deviation.

    Attributes:
        classes_: `[class]`; for soft labels the column numbers.
        coef_: `[layer, output, d]` on raw features; one output for two classes, else one a class.
        intercept_: `[layer, output]`.
        n_iter_: Newton steps.
        n_features_in_: d.
    """

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit all layers.

        Args:
            X: `[item, layer, d]` or `[item, d]`.
            y: `[item]` labels of two or more classes, or `[item, class]` shares (soft labels,
                learned by cross-entropy).

        Raises:
            UserError: shapes that do not match, one class only, shares that do not sum to one,
                or NaN.
        """
        given = np.asarray(y)
        if given.ndim == 2:
            self.classes_, values = np.arange(given.shape[1]), given.astype(np.float64)
        else:
            self.classes_, values = np.unique(given, return_inverse=True)
        if len(self.classes_) < 2:
            raise UserError(f"one class only ({self.classes_[0]}): a probe needs two")
        self._fit(X, values)
        return self

    def decision_function(self, X: ArrayLike) -> Floats:
        """`[item, layer]` for two classes, else `[item, layer, class]` (no layer axis for 2-D)."""
        return self._values(X)

    def predict_proba(self, X: ArrayLike) -> Floats:
        """`[item, layer, class]` (no layer axis for 2-D features)."""
        scores = torch.as_tensor(self.decision_function(X))
        if self.coef_.shape[1] > 1:
            return scores.softmax(-1).numpy()
        return torch.stack([(-scores).sigmoid(), scores.sigmoid()], -1).numpy()

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """`[item, layer]` labels (`[item]` for 2-D features)."""
        best = self.predict_proba(X).argmax(-1)
        return self.classes_[best]

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Any:
        """Accuracy: a number for 2-D features, `[layer]` with a layer axis.

        Of soft labels, how often the class with the largest share is predicted.
        """
        given = np.asarray(y)
        true = given.argmax(1) if given.ndim == 2 else given
        hit = (true == self.predict(X).T).astype(np.float64)
        weights = np.ones(hit.shape[-1]) if sample_weight is None else np.asarray(sample_weight)
        mean = hit @ weights / weights.sum()
        return mean if hit.ndim == 2 else float(mean)


class LayerRegression(RegressorMixin, _LayerLinear):
    """Ridge regression on every layer at once, for ratings and ordinal levels as numbers.

    With `X` of shape `[item, d]` it behaves as `make_pipeline(StandardScaler(), Ridge(1 / C))`.

    Args:
        C: inverse penalty, as in `LayerProbes`.
        standardize: z-score features with the training rows' mean and deviation.
    """

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit all layers to numbers `[item]`.

        Raises:
            UserError: shapes that do not match, values that are no numbers, or NaN.
        """
        given = np.asarray(y)
        if given.ndim != 1 or given.dtype.kind not in "iuf":
            raise UserError(
                f"targets of type {given.dtype}, shape {given.shape}: give [item] numbers"
            )
        self._fit(X, given.astype(np.float64))
        return self

    def predict(self, X: ArrayLike) -> Floats:
        """`[item, layer]` (`[item]` for 2-D features)."""
        return self._values(X)

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Any:
        """R squared: a number for 2-D features, `[layer]` with a layer axis."""
        true, found = np.asarray(y, dtype=np.float64), self.predict(X)
        weights = None if sample_weight is None else np.asarray(sample_weight)[None]
        if found.ndim == 1:
            return float(stats.r_squared(found, true, weights)[0])
        return np.array([stats.r_squared(layer, true, weights)[0] for layer in found.T])
