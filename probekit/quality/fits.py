"""Directions fitted in every fold and with chance's labels, and what items score on them."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from probekit.directions import estimate
from probekit.quality.options import Extraction
from probekit.quality.sample import Mask, Sample, Strings

Floats = NDArray[np.float64]
States = NDArray[np.float32]
Folds = dict[int, Floats]
"""Fold -> unit vectors `[emotion, layer, d]` of the fit that did not see it."""


class Fits:
    """One estimator on one sample's states.

    Args:
        sample: the items.
        states: `[item, layer, d]`.
        layers: numbers of the layers.
        estimator: its name.
        options: of the run.
    """

    def __init__(
        self,
        sample: Sample,
        states: States,
        layers: Sequence[int],
        estimator: str,
        options: Extraction,
    ) -> None:
        self.sample, self.states, self.layers = sample, states, tuple(layers)
        self.estimator, self.options = estimator, options

    def vectors(self, chosen: Mask, emotion: Strings | None = None) -> Floats:
        """Unit vectors `[emotion, layer, d]` from some items."""
        found = estimate(
            self.states[chosen],
            self.sample.design(chosen, emotion),
            self.estimator,
            neutral_components=self.options.neutral_components,
            whiten=self.options.whiten,
            layers=self.layers,
        )
        return found.vectors

    @cached_property
    def whole(self) -> Floats:
        """From all items that may be learned from."""
        return self.vectors(self.sample.learned)

    @cached_property
    def folds(self) -> Folds:
        """The fits that figures rest on: for held-out items the whole one."""
        return self.by_fold()

    def by_fold(self, emotion: Strings | None = None, only: Mask | None = None) -> Folds:
        """A fit for each fold of some items (default: all), learned from the other folds."""
        sample = self.sample
        asked = sample.fold if only is None else sample.fold[only]
        return {
            int(fold): self.vectors(sample.learned & (sample.fold != fold), emotion)
            for fold in np.unique(asked)
        }

    def scores(self, fits: Folds) -> Floats:
        """`[item, emotion, layer]`: states times the unit vectors of the fit without their fold.

        NaN for items of a fold that has no fit.
        """
        shape = (len(self.sample), *next(iter(fits.values())).shape[:2])
        out = np.full(shape, np.nan)
        for fold, vectors in fits.items():
            inside = self.sample.fold == fold
            out[inside] = project(self.states[inside], vectors)
        return out

    def peer(self, number: int) -> Floats:
        """Random unit vectors `[emotion, layer, d]`, the same whichever layers are there."""
        shape = (len(self.sample.emotions), self.states.shape[2])
        seeds = ([self.options.seed, number, layer] for layer in self.layers)
        drawn = [np.random.default_rng(seed).standard_normal(shape) for seed in seeds]
        stacked = np.stack(drawn, axis=1)
        return stacked / np.linalg.norm(stacked, axis=-1, keepdims=True)


def project(states: NDArray[np.floating], vectors: Floats) -> Floats:
    """Scores `[item, emotion, layer]` of states `[item, layer, d]`."""
    layers = range(states.shape[1])
    return np.stack([states[:, n].astype(np.float64) @ vectors[:, n].T for n in layers], axis=-1)
