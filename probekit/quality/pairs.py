"""Two screens on texts that were not learned from: single pairs, and the probe.

- *steerability*: cosine of the difference of a single text and its control with the direction of
  its emotion. Where single differences point every which way, their mean steers unreliably
  (Braun et al. 2025, arXiv 2505.22637). Beside it the cosine with the other emotions' directions,
  the paired difference of the two, and random directions.
- *probe*: cosine with the weights of a logistic probe, and rank correlation of what both read
  off the texts; beside both, random directions. Weights lean against correlated features, a mean
  difference does not, so the cosine may be small where both read the same.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from probekit import stats
from probekit.evaluation import Row
from probekit.quality.fits import Fits, Folds, project
from probekit.quality.heldout import RANDOM
from probekit.quality.stability import OTHERS
from probekit.stats import Estimate
from probekit.tasks import NEUTRAL

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Screens:
    """Texts of the own arm that are scored: the held-out ones, or all where none are."""

    def __init__(self, fits: Fits) -> None:
        self.fits, sample = fits, fits.sample
        emotional = (sample.arm == sample.source) & (sample.emotion != NEUTRAL)
        held = sample.held_out.any()
        self.split = "test" if held else "all"
        self.scored: Mask = emotional & (sample.held_out if held else True)
        self.column = np.searchsorted(np.array(sample.emotions), sample.emotion[self.scored])
        groups = [str(name) for name in sample.group[self.scored]]
        self.weights = stats.bootstrap_weights(groups, fits.options.bootstraps, fits.options.seed)
        self.differences, self.against = self._differences()

    def _differences(self) -> tuple[Floats, str]:
        """`[scored, layer, d]`, each text's states minus its control's, and what that is."""
        sample, states = self.fits.sample, self.fits.states
        own = states[self.scored].astype(np.float64)
        member = sample.group[self.scored][:, None] == sample.group[None]
        neutral = member & (sample.emotion == NEUTRAL)
        other = member & (sample.arm == sample.source)[None]
        other &= sample.emotion[None] != sample.emotion[self.scored][:, None]
        for beside, name in ((neutral, "neutral text"), (other, "other emotions' texts")):
            if beside.any(1).all():
                share = beside / beside.sum(1, keepdims=True)
                return own - np.einsum("ij,jld->ild", share, states, optimize=True), name
        means = [states[sample.learned & (sample.emotion == e)].mean(0) for e in sample.emotions]
        return own - np.mean(means, axis=0, dtype=np.float64), "mean of all emotions"

    def rows(self) -> Iterator[Row]:
        """Rows of both screens."""
        yield from self._pairs()
        if self.fits.estimator != "logistic":
            yield from self._probe()

    def _cells(self, task: str, **more: str) -> Row:
        sample = self.fits.sample
        cells = {"split": self.split, "task": task, "source": sample.source}
        return {**cells, "target": sample.source, "method": self.fits.estimator, **more}

    def _each(self) -> Iterator[tuple[str, Mask]]:
        """ "" with all scored items, then each emotion with its own."""
        yield "", np.ones(len(self.column), bool)
        for number, name in enumerate(self.fits.sample.emotions):
            yield name, self.column == number

    def _cosines(self, fits: Folds) -> Floats:
        """`[scored, emotion, layer]`, of single differences with the directions of their fold."""
        length = np.linalg.norm(self.differences, axis=-1)[:, None]  # [scored, 1, layer]
        out = np.empty((len(self.column), *next(iter(fits.values())).shape[:2]))
        for fold in np.unique(self.fits.sample.fold[self.scored]):
            inside = self.fits.sample.fold[self.scored] == fold
            out[inside] = project(self.differences[inside], fits[int(fold)])
        return np.divide(out, length, out=np.full_like(out, np.nan), where=length > 0)

    def _pairs(self) -> Iterator[Row]:
        items = np.arange(len(self.column))
        found = self._cosines(self.fits.folds)
        own = found[items, self.column]  # [scored, layer]
        other = (found.sum(1) - own) / (found.shape[1] - 1)
        folds = self.fits.folds
        peers = np.stack(
            [
                self._cosines(dict.fromkeys(folds, self.fits.peer(n)))[items, self.column]
                for n in range(self.fits.options.peers)
            ]
        )
        for name, inside in self._each():
            for place, layer in enumerate(self.fits.layers):
                at = {"emotion": name, "layer": layer, "n": int(inside.sum())}
                at["clusters"] = len(set(self.fits.sample.group[self.scored][inside]))
                yield from self._pair_rows(own[:, place], other[:, place], inside, at)
                drawn = peers[:, inside, place].mean(1)
                control = self._cells("steerability", condition="control", unit=RANDOM)
                told = {**control, **at, "metric": "pair_cosine", "k": len(drawn)}
                yield {**told, **Estimate.of_null(drawn).cells}

    def _pair_rows(self, own: Floats, other: Floats, inside: Mask, at: Row) -> Iterator[Row]:
        weights = self.weights[:, inside]
        mine, theirs = (stats.weighted_mean(side[inside], weights) for side in (own, other))
        told = {**self._cells("steerability", condition="direction"), **at}
        yield {**told, "metric": "pair_cosine", **Estimate.of(mine, against_zero=True).cells}
        above = Estimate.of(mine - theirs, against_zero=True)
        yield {**told, "metric": "pair_cosine_above_others", **above.cells}
        control = {**told, "condition": "control", "unit": OTHERS}
        yield {**control, "metric": "pair_cosine", **Estimate.of(theirs).cells}

    def _probe(self) -> Iterator[Row]:
        """Cosine with the probe's weights, and rank correlation of scores."""
        sample, states = self.fits.sample, self.fits.states
        probe = Fits(sample, states, self.fits.layers, "logistic", self.fits.options)
        asked = probe.by_fold(only=self.scored)
        own = {fold: self.fits.folds[fold] for fold in asked}
        random = [dict.fromkeys(asked, self.fits.peer(n)) for n in range(self.fits.options.peers)]
        cosine = np.stack([_mean_cosine(asked, each) for each in (own, *random)])
        reads = probe.scores(asked)[self.scored]
        strata = sample.fold[self.scored]
        mine = self.fits.scores(own)[self.scored]
        theirs = [self.fits.scores(each)[self.scored] for each in random]
        for column, name in enumerate(sample.emotions):
            for place, layer in enumerate(self.fits.layers):
                at = {"emotion": name, "layer": layer, "n": len(strata)}
                told = {**self._cells("probe", condition="direction"), **at}
                control = {**told, "condition": "control", "unit": RANDOM, "k": len(random)}
                drawn = cosine[1:, column, place]
                figure = {"metric": "probe_cosine", "value": float(cosine[0, column, place])}
                yield {**told, **figure}
                yield {**control, "metric": "probe_cosine", **Estimate.of_null(drawn).cells}
                read = reads[:, column, place]
                found = stats.spearman(mine[:, column, place], read, strata, self.weights)
                yield {**told, "metric": "probe_spearman", **Estimate.of(found).cells}
                ranks = [stats.spearman(t[:, column, place], read, strata)[0] for t in theirs]
                drawn = np.array(ranks)
                yield {**control, "metric": "probe_spearman", **Estimate.of_null(drawn).cells}


def _mean_cosine(one: Folds, other: Folds) -> Floats:
    """`[emotion, layer]`, cosines of unit vectors, mean over fits."""
    return np.mean([np.einsum("eld,eld->el", one[fold], other[fold]) for fold in one], axis=0)
