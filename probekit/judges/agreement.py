"""How far blind readers of generated text agree: what a judge can reach at best."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probekit import stats
from probekit.judges.readings import CHOICES, GeneratedReadings
from probekit.stats import Estimate


@dataclass(frozen=True)
class Agreement:
    """How far readers agree in the first round, before anything was changed.

    Attributes:
        alpha: Krippendorff's alpha of the emotion ("other" is one; untold ones left out).
        coherence: Krippendorff's alpha of the coherence, as an interval scale.
        kappa: by pair of readers, Cohen's kappa of the emotion; the ceiling of a judge.
        texts: how many have two readings or more.
    """

    alpha: Estimate | None
    coherence: Estimate | None
    kappa: dict[tuple[str, str], Estimate]
    texts: int


def agreement(readings: GeneratedReadings, n_draws: int = 1000, seed: int = 0) -> Agreement:
    """How far the readers agree, of their first round; intervals over prompts."""
    place = {text.id: number for number, text in enumerate(readings.texts)}
    emotion = np.full((len(readings.readers), len(readings.texts)), np.nan)
    coherence = emotion.copy()
    for reading in readings.readings:
        if reading.round == 1:
            at = readings.readers.index(reading.reader), place[reading.id]
            emotion[at] = CHOICES.index(reading.emotion) if reading.emotion else np.nan
            coherence[at] = reading.coherence
    prompts = [text.prompt for text in readings.texts]
    weights = stats.bootstrap_weights(prompts, n_draws, seed)
    pairs = dict(_kappas(readings.readers, emotion, weights))
    both = int(((~np.isnan(emotion)).sum(0) >= 2).sum())
    return Agreement(
        _alpha(emotion, "nominal", weights),
        _alpha(coherence, "interval", weights),
        pairs,
        both,
    )


def _alpha(table: NDArray[np.float64], level: Any, weights: NDArray[np.float64]) -> Estimate | None:
    """Krippendorff's alpha of `[reader, text]`, None where it is not defined."""
    if not ((~np.isnan(table)).sum(0) >= 2).any():
        return None
    draws = stats.krippendorff_alpha(table, level, weights)
    return None if np.isnan(draws[0]) else Estimate.of(draws)


def _kappas(
    readers: tuple[str, ...], table: NDArray[np.float64], weights: NDArray[np.float64]
) -> Iterator[tuple[tuple[str, str], Estimate]]:
    """Cohen's kappa of every two readers on the texts that both labelled."""
    for one in range(len(readers)):
        for other in range(one + 1, len(readers)):
            both = ~np.isnan(table[one]) & ~np.isnan(table[other])
            if both.any():
                a, b = table[one, both].astype(int), table[other, both].astype(int)
                draws = stats.cohen_kappa(a, b, len(CHOICES), weights[:, both])
                yield (readers[one], readers[other]), Estimate.of(draws)
