"""Streaming fitters: class means of every layer, and for LEACE the covariance too."""

from abc import ABC, abstractmethod
from collections.abc import Hashable
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from probekit.erasure.closed_form import Metric, deviations, orthogonal
from probekit.erasure.eraser import Eraser
from probekit.errors import UserError
from probekit.probes import as_stack


class _Fitter(ABC):
    """Means of every class, merged batch by batch in float64 (Chan, Golub & LeVeque 1979)."""

    def __init__(self) -> None:
        self.n = 0
        self._places: dict[Hashable, int] = {}
        self._counts = torch.zeros(0, dtype=torch.float64)
        self._means = self._mean = torch.zeros(0)

    def update(self, states: ArrayLike, labels: ArrayLike) -> Self:
        """Take in more items; whatever the batches and their order, the result is the same.

        Args:
            states: `[item, layer, d]` or `[item, d]`.
            labels: `[item]` classes: strings, integers or booleans.

        Raises:
            UserError: shapes that do not match, NaN, or labels that are no classes.
        """
        stack, _ = as_stack(states)
        given = np.asarray(labels)
        if given.shape != (stack.shape[1],) or given.dtype.kind not in "iubUS":
            raise UserError(
                f"labels of type {given.dtype}, shape {given.shape} for {stack.shape[1]} rows of "
                "states: give [item] strings or integers"
            )
        if self.n and stack.shape[::2] != self._mean.shape:
            layers, d = self._mean.shape
            raise UserError(
                f"states have {len(stack)} layers of {stack.shape[2]}, those before {layers} "
                f"layers of {d}"
            )
        if stack.shape[1]:
            self._start(stack)
            self._merge(stack)
            self._merge_classes(stack, given)
        return self

    def _start(self, stack: Tensor) -> None:
        if not self.n:
            self._mean = stack.new_zeros(stack.shape[::2])
            self._means = stack.new_zeros(len(stack), 0, stack.shape[2])

    def _merge(self, stack: Tensor) -> None:
        """Take a batch `[layer, item, d]` into the mean."""
        count = stack.shape[1]
        self.n += count
        self._mean += (stack.mean(1) - self._mean) * (count / self.n)

    def _merge_classes(self, stack: Tensor, labels: Any) -> None:
        for name in np.unique(labels):
            place = self._places.setdefault(name.item(), len(self._places))
            if place == len(self._counts):
                self._counts = torch.cat([self._counts, self._counts.new_zeros(1)])
                fresh = self._means.new_zeros(len(stack), 1, stack.shape[2])
                self._means = torch.cat([self._means, fresh], 1)
            inside = stack[:, torch.as_tensor(labels == name)]
            self._counts[place] += inside.shape[1]
            share = inside.shape[1] / self._counts[place]
            self._means[:, place] += (inside.mean(1) - self._means[:, place]) * share

    @property
    def erasers(self) -> tuple[Eraser, ...]:
        """One for each layer.

        Raises:
            UserError: items of fewer than two classes so far.
        """
        if len(self._counts) < 2:
            there = ", ".join(map(str, self._places)) or "none"
            raise UserError(f"classes seen: {there}; erasing needs items of two or more")
        apart, means = deviations(self._means, self._counts)
        return tuple(
            _settled(*self._factors(layer, apart[layer]), mean) for layer, mean in enumerate(means)
        )

    @abstractmethod
    def _factors(self, layer: int, apart: Tensor) -> tuple[Tensor, Tensor]:
        """Read and write `[k, d]` of one layer, zeros beyond their rank."""


class LEACE(_Fitter):
    """Least-squares concept erasure (Belrose et al. 2023, arXiv:2306.03819) of every layer.

    Makes the class means equal, so that no linear probe can learn the concept from the rows it was
    fitted on, and moves states as little as that allows. Memory is `[layer, d, d]` in float64.

    Args:
        shrinkage: shrink the covariance towards the features' own variances by what the number
            of items leaves unsure; without it, a pseudo-inverse, which is the theorem's optimum
            on the fitted rows and throws new ones about where items are about as many as
            features. The means become equal either way.

    Example:
        `erasers = LEACE().update(states, labels).erasers`, one for each layer.
    """

    def __init__(self, *, shrinkage: bool = True) -> None:
        super().__init__()
        self.shrinkage = shrinkage

    def _start(self, stack: Tensor) -> None:
        if not self.n:
            self._scatter = stack.new_zeros(len(stack), stack.shape[2], stack.shape[2])
        super()._start(stack)

    def _merge(self, stack: Tensor) -> None:
        before, count = self.n, stack.shape[1]
        mean = stack.mean(1)
        moved = mean - self._mean
        super()._merge(stack)
        for layer, rows in enumerate(stack - mean[:, None]):
            self._scatter[layer].addmm_(rows.mT, rows)
            apart = moved[layer]
            self._scatter[layer].addr_(apart, apart, alpha=before * count / self.n)

    def _factors(self, layer: int, apart: Tensor) -> tuple[Tensor, Tensor]:
        covariance = self._scatter[layer] / self.n
        metric = Metric.of_covariance(
            covariance, self._mean[layer], self.n, shrinkage=self.shrinkage
        )
        return metric.oblique(apart)


class ProjectionEraser(_Fitter):
    """Orthogonal projection of the span of the class means, of every layer.

    Makes the class means equal too, and takes along whatever else lies in that span.
    """

    @staticmethod
    def of(directions: ArrayLike, mean: ArrayLike) -> Eraser:
        """Projects given directions out, such as a probe's weights.

        Args:
            directions: `[k, d]` or `[d]`; nearly parallel ones count as one.
            mean: `[d]`, what stays as it is.

        Raises:
            UserError: widths that do not match, or a direction that is zero or NaN.
        """
        given = torch.atleast_2d(torch.as_tensor(np.asarray(directions, np.float64)))
        centre = torch.as_tensor(np.asarray(mean, np.float64))
        if given.dim() != 2 or given.shape[1:] != centre.shape:
            raise UserError(
                f"directions {list(given.shape)} and mean {list(centre.shape)}: give [k, d], [d]"
            )
        length = given.norm(dim=-1, keepdim=True)
        if not bool((length > 0).all()):
            raise UserError("directions to project out: give [k, d], none of them zero or NaN")
        basis = orthogonal(given / length, given / length)
        return _settled(basis, basis, centre)

    def _factors(self, layer: int, apart: Tensor) -> tuple[Tensor, Tensor]:
        basis = orthogonal(apart, self._means[layer])
        return basis, basis


def _settled(read: Tensor, write: Tensor, mean: Tensor) -> Eraser:
    """An `Eraser` of the factors' rows that are not zero."""
    kept = read.abs().amax(-1) > 0
    return Eraser(read[kept].numpy(), write[kept].numpy(), mean.numpy().copy())
