"""Cells (method, emotion, dose) of a scorecard, and figures of them on shared bootstrap draws.

Every figure of one scorecard is computed on the same draws of prompts, so that differences between
cells are paired, whatever texts each of them holds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probekit.scorecard.scores import NEUTRAL, Scores
from probekit.stats import Estimate, bootstrap_weights, mean_known

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
OUTCOMES = ("target", "wrong", "neutral", "incoherent")
"""What becomes of a text; each text is one of them."""


@dataclass(frozen=True, eq=False)
class Cell:
    """Texts of one method at one dose, and the emotion each is held against.

    A text that was made for no emotion (plain, or a random direction) is held against every one.

    Attributes:
        method, emotion, dose: which cell; "" for all emotions together.
        rows: `[member]`, places of texts.
        targets: `[member]`, emotions.
    """

    method: str
    emotion: str
    dose: float | None
    rows: Ints
    targets: NDArray[np.str_]

    @property
    def key(self) -> tuple[str, str, float | None]:
        """What tells cells apart."""
        return self.method, self.emotion, self.dose


class Board:
    """The cells of a set of scores, and draws of prompts.

    Args:
        scores: of every text.
        bootstraps: draws of prompts.
        seed: of the draws.

    Raises:
        UserError: fewer than two prompts.
    """

    def __init__(self, scores: Scores, bootstraps: int = 1000, seed: int = 0) -> None:
        self.scores = scores
        self.prompts, self.member = np.unique(np.array(scores.prompts), return_inverse=True)
        self.weights = bootstrap_weights([str(p) for p in self.prompts], bootstraps, seed)

    @cached_property
    def methods(self) -> frozenset[str]:
        """Names of the methods that wrote."""
        return frozenset(each.method for each in self.scores.samples)

    @cached_property
    def cells(self) -> dict[tuple[str, str, float | None], Cell]:
        """Every cell by its key, as methods come, doses rising, all emotions together first."""
        samples = self.scores.samples
        doses: dict[str, set[float | None]] = {}
        for each in samples:
            doses.setdefault(each.method, set()).add(each.dose)
        found = {}
        for method, given in doses.items():
            for dose in sorted(given, key=lambda d: -np.inf if d is None else d):
                for cell in self._at(method, dose):
                    found[cell.key] = cell
        return found

    def _at(self, method: str, dose: float | None) -> Iterator[Cell]:
        pairs = []
        for row, each in enumerate(self.scores.samples):
            if (each.method, each.dose) == (method, dose):
                held = (each.emotion,) if each.emotion else self.scores.emotions
                pairs += [(row, target) for target in held]
        rows = np.array([row for row, _ in pairs], dtype=np.int64)
        targets = np.array([target for _, target in pairs], dtype=np.str_)
        yield Cell(method, "", dose, rows, targets)
        for emotion in self.scores.emotions:
            if (own := targets == emotion).any():
                yield Cell(method, emotion, dose, rows[own], targets[own])

    def outcomes(self, cell: Cell) -> dict[str, Floats]:
        """Name of `OUTCOMES` -> `[member]`, 1 where it is so; they sum to 1.

        NaN for a coherent text to which the judge gave no answer: it is no miss, and no hit.
        """
        broken, judged = self.scores.incoherent[cell.rows], self.scores.judged[cell.rows]
        target = ~broken & (judged == cell.targets)
        neutral = ~broken & (judged == NEUTRAL) & ~target
        masks = (target, ~(broken | target | neutral), neutral, broken)
        missing = self.scores.unanswered[cell.rows] & ~broken
        return {
            name: np.where(missing, np.nan, mask.astype(float))
            for name, mask in zip(OUTCOMES, masks, strict=True)
        }

    def probability(self, cell: Cell) -> Floats:
        """The judge's probability of each member's target, `[member]`."""
        places = [self.scores.labels.index(target) for target in cell.targets]
        return self.scores.probabilities[cell.rows, places]

    def by_prompt(self, cell: Cell, values: Floats) -> tuple[Floats, Floats]:
        """Sums of what is not missing, and counts, each `[prompt]`."""
        known, member = ~np.isnan(values), self.member[cell.rows]
        size = len(self.prompts)
        sums = np.bincount(member[known], values[known], minlength=size).astype(np.float64)
        return sums, np.bincount(member[known], minlength=size).astype(np.float64)

    def means(self, cell: Cell, values: Floats) -> Floats:
        """Mean of each prompt `[prompt]`; NaN where it has none."""
        return _ratio(*self.by_prompt(cell, values))

    def draws(self, cell: Cell, values: Floats) -> Floats:
        """Mean over the members in every draw of prompts, `[1 + draw]`."""
        sums, counts = self.by_prompt(cell, values)
        return _ratio(self.weights @ sums, self.weights @ counts)

    def median_draws(self, cell: Cell, values: Floats) -> Floats:
        """Median over prompts of each prompt's mean, in every draw, `[1 + draw]`."""
        return weighted_median(self.means(cell, values), self.weights)

    def paired(self, cell: Cell, other: Cell, values: Floats, others: Floats) -> Floats:
        """Difference of two cells' means at each prompt that both have, else NaN, `[prompt]`."""
        return self.means(cell, values) - self.means(other, others)

    def paired_draws(self, differences: Floats) -> Floats:
        """Mean of differences `[prompt]` over prompts in every draw, `[1 + draw]`."""
        known = ~np.isnan(differences)
        total = self.weights @ np.where(known, differences, 0.0)
        return _ratio(total, self.weights @ known.astype(np.float64))

    def sizes(self, cell: Cell, values: Floats) -> dict[str, int]:
        """`n` and `clusters`: members and prompts with a figure."""
        counts = self.by_prompt(cell, values)[1]
        return {"n": int(counts.sum()), "clusters": int((counts > 0).sum())}


def figure(draws: Floats, *, against_zero: bool = False) -> dict[str, Any]:
    """Cells of an estimate; nothing where the figure is missing, no interval where that is."""
    if np.isnan(draws[0]):
        return {}
    cells = Estimate.of(draws, against_zero=against_zero).cells
    return {name: value for name, value in cells.items() if not np.isnan(value)}


def weighted_median(values: Floats, weights: Floats) -> Floats:
    """Median of `[item]` without NaN under each draw of weights `[draw, item]`; NaN for none."""
    known = np.flatnonzero(~np.isnan(values))
    if not len(known):
        return np.full(len(weights), np.nan)
    order = known[np.argsort(values[known], kind="stable")]
    summed, ranked = weights[:, order].cumsum(1), values[order]
    half = summed[:, -1:] / 2
    lower, upper = (summed < half).sum(1), (summed <= half).sum(1)
    last = len(order) - 1
    found = (ranked[lower.clip(max=last)] + ranked[upper.clip(max=last)]) / 2
    return np.where(half[:, 0] > 0, found, np.nan)


def over(values: Sequence[Floats]) -> Floats:
    """Mean of several arrays of draws, missing ones left out."""
    return mean_known(np.stack(list(values)))


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0)
