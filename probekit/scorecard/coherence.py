"""The rule that calls a text incoherent, and how well it agrees with people who read."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from probekit.errors import UserError
from probekit.scorecard.repetition import distinct, loops
from probekit.stats import Estimate, bootstrap_weights

Floats = NDArray[np.float64]
BROKEN = 1.0
"""Below it a text is broken: readers give 0 for no sense, 1 for partly sound, 2 for sound, and
their mean is below 1 where one finds no sense and no other more than a part."""


@dataclass(frozen=True)
class Rule:
    """A text is incoherent if it is empty or goes beyond any of these bounds.

    The bounds of repetition had the largest kappa with readers' coherence on the training texts of
    `stimuli/generated` among those that leave the bound of perplexity where it was set before:
    between what people's prose reaches and prose with a quarter of its words moved (of 24 vignettes
    after a short prompt, read by two small models, the largest was 187 and the smallest of the
    moved ones 306). No shipped vignette, expression or scenario breaks them.

    Attributes:
        loops: largest share of words in loops.
        distinct_2: smallest share of different pairs of neighbouring words.
        perplexity: largest perplexity under another model than the writer (None: not asked).
    """

    loops: float = 0.2
    distinct_2: float = 0.8
    perplexity: float | None = 250.0

    def reason(self, text: str, perplexity: float | None = None) -> str:
        """Why a text is incoherent: "empty", "loops", "repeats", "perplexity"; "" if it is not.

        A perplexity that is missing (None, NaN) breaks no bound.
        """
        looping, different = loops(text), distinct(text, 2)
        if looping is None:
            return "empty"
        if looping > self.loops:
            return "loops"
        if different is not None and different < self.distinct_2:
            return "repeats"
        # NaN is above no bound.
        if perplexity is not None and self.perplexity is not None and perplexity > self.perplexity:
            return "perplexity"
        return ""

    def describe(self) -> dict[str, float | None]:
        """For a manifest."""
        return asdict(self)


@dataclass(frozen=True)
class Agreement:
    """The rule against readers; NaN where a figure has no meaning.

    Attributes:
        kappa: Cohen's kappa (1960): 1 full agreement, 0 that of chance.
        sensitivity: share of broken texts that are called incoherent.
        specificity: share of the others that are not.
        base: share of texts that the readers call broken.
        n, clusters: how many texts, of how many prompts.
    """

    kappa: Estimate
    sensitivity: Estimate
    specificity: Estimate
    base: Estimate
    n: int
    clusters: int


def validate(
    called: Sequence[bool],
    readings: Sequence[float],
    clusters: Sequence[str],
    *,
    bootstraps: int = 1000,
    seed: int = 0,
) -> Agreement:
    """Compare what the rule calls incoherent with what readers call broken.

    Args:
        called: `[text]`, whether the rule calls it incoherent.
        readings: `[text]`, the mean of the readers' coherence; NaN where there is none.
        clusters: `[text]`, prompts.
        bootstraps, seed: of the intervals, which draw prompts.

    Raises:
        UserError: lengths differ, a reading is not within 0 and 2, or fewer than two prompts.
    """
    rule, given = np.asarray(called, bool), np.asarray(readings, np.float64)
    if not len(rule) == len(given) == len(clusters):
        sizes = f"{len(rule)} texts, {len(given)} readings, {len(clusters)} clusters"
        raise UserError(f"{sizes}; give as many of each")
    known = ~np.isnan(given)
    if strange := [value for value in given[known] if not 0 <= value <= 2]:
        raise UserError(f"a reading of coherence is {strange[0]:g}: accepted are 0 to 2")
    own = [name for name, keep in zip(clusters, known, strict=True) if keep]
    weights = bootstrap_weights(own, bootstraps, seed)
    rule, broken = rule[known], given[known] < BROKEN
    # [draw] weights of the four cells of the table.
    both, neither = weights @ (rule & broken), weights @ ~(rule | broken)
    false, missed = weights @ (rule & ~broken), weights @ (~rule & broken)
    total = weights.sum(1)
    agreed = (both + neither) / total
    chance = ((both + false) * (both + missed) + (neither + missed) * (neither + false)) / total**2
    return Agreement(
        kappa=Estimate.of(_ratio(agreed - chance, 1 - chance)),
        sensitivity=Estimate.of(_ratio(both, both + missed)),
        specificity=Estimate.of(_ratio(neither, neither + false)),
        base=Estimate.of((both + missed) / total),
        n=int(known.sum()),
        clusters=len(set(own)),
    )


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.full(len(above), np.nan), where=below > 1e-12)
