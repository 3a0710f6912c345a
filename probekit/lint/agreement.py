"""How far blind readers agree with one another, and with the labels."""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from probekit import stats
from probekit.plots import number
from probekit.stats import Estimate
from probekit.stimuli import Reading, Stimulus, StimulusSet
from probekit.stimuli.readings import NOTHING, matrix, text_hash

Level = Literal["nominal", "interval"]
SCALES: tuple[tuple[str, Level], ...] = (
    ("emotion", "nominal"),
    ("valence", "interval"),
    ("arousal", "interval"),
)
POSITIVE_FROM, NEGATIVE_TO = 6.0, 4.0
"""Mean valence from which a text is read as positive, and up to which as negative."""


def alphas(
    stimuli: StimulusSet, readings: Sequence[Reading], n_draws: int = 1000, seed: int = 0
) -> Iterator[tuple[str, Estimate, int]]:
    """Krippendorff's alpha of each scale, its interval over scenarios, and the number of texts.

    Scales on which no text has two readings, or all readings are alike, are passed over.
    """
    rows = stimuli.rows
    scenario_of = {row.id: row.scenario or row.id for row in rows}
    scenario_of |= {text_hash(row.text): row.scenario or row.id for row in rows}
    for column, level in SCALES:
        items, table = matrix(readings, column)
        shared = (~np.isnan(table)).sum(0) >= 2
        if not shared.any():
            continue
        named = {reading.text_sha256: reading.id for reading in readings}
        clusters = [scenario_of.get(sha) or scenario_of.get(named[sha], sha) for sha, _ in items]
        if len(set(clusters)) < 2:
            continue
        weights = stats.bootstrap_weights(clusters, n_draws, seed)
        draws = stats.krippendorff_alpha(table, level, weights)
        # Where all readings are alike there is nothing to agree about by more than chance.
        if not np.isnan(draws[0]):
            yield column, Estimate.of(draws), int(shared.sum())


def as_intended(
    stimuli: StimulusSet, readings: Sequence[Reading]
) -> Iterator[tuple[str, int, int]]:
    """For each label group: its name, readings that gave the label, and readings in all.

    A text that was rewritten since is judged by the label of the row that has its id.
    """
    rows = {text_hash(row.text): row for row in stimuli.rows}
    named = {row.id: row for row in stimuli.rows}
    counts: dict[str, list[int]] = {}
    for reading in readings:
        row = rows.get(reading.text_sha256) or named.get(reading.id)
        if row and (judged := _judge(row, reading)):
            name, right = judged
            entry = counts.setdefault(name, [0, 0])
            entry[0] += right
            entry[1] += 1
    yield from ((name, right, total) for name, (right, total) in sorted(counts.items()))


def _judge(row: Stimulus, reading: Reading) -> tuple[str, bool] | None:
    """The label group, and whether the reading gives its label; None if it does not say."""
    if reading.about:
        return "whose feeling", reading.emotion == row.extra.get(f"emotion_{reading.about}")
    if row.arm:
        wanted = NOTHING if row.emotion == "neutral" else row.emotion
        return row.arm, reading.emotion == wanted
    if row.emotion:
        return "emotion", reading.emotion == row.emotion
    if np.isnan(reading.valence):
        return None
    match row.valence:
        case "positive":
            right = reading.valence >= POSITIVE_FROM
        case "negative":
            right = reading.valence <= NEGATIVE_TO
        case _:
            right = NEGATIVE_TO < reading.valence < POSITIVE_FROM
    return f"valence {row.valence}", right


def lines(stimuli: StimulusSet, readings: Sequence[Reading]) -> Iterator[tuple[str, str]]:
    """Agreement in the first round and of the texts as they stand, as (what, figure)."""
    current = {text_hash(row.text) for row in stimuli.rows}
    rounds = {
        "first round": [reading for reading in readings if reading.round == 1],
        "texts as they stand": [r for r in readings if r.text_sha256 in current],
    }
    for when, chosen in rounds.items():
        for column, alpha, count in alphas(stimuli, chosen):
            told = f"{number(alpha.value)} [{number(alpha.low)}, {number(alpha.high)}]"
            yield f"{when}: Krippendorff's alpha, {column}", f"{told}, {count} texts"
        for group, right, total in as_intended(stimuli, chosen):
            yield f"{when}: {group} read as intended", f"{right} of {total}"
