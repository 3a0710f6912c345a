"""A judge that has learned from readings how often generated text expresses nothing.

Trained judges learn from texts most of which were written to express an emotion, as if all labels
were equally frequent. What models write is mostly neutral, and such a judge sees emotions in it
that readers do not. One number makes up for it: what is added to the log-odds of "neutral".
"""

from collections.abc import Sequence

import numpy as np

from probekit import runs, stats
from probekit.errors import UserError
from probekit.judges.judge import LABELS, NEUTRAL, Floats, Judge, text_key
from probekit.judges.readings import CHOICES, GeneratedReadings

SHIFTS = np.arange(-2, 10, 0.5)
"""What may be added to the log-odds of neutral, in nats; of equally good ones the least."""


class Calibrated(Judge):
    """Another judge, the log-odds of "neutral" moved by the number of best kappa on readings.

    Args:
        judge: the other one.
        readings: what the number is learned from, such as `half("dev")`; their texts have then
            trained the judge, and its kappa is to be had on other prompts only.

    Attributes:
        shift: the number, in nats.

    Raises:
        UserError: a text of the readings trained the other judge, or none has a label.
    """

    def __init__(self, judge: Judge, readings: GeneratedReadings) -> None:
        keys = frozenset(text_key(text.text) for text in readings.texts)
        if keys & judge.trained_on:
            raise UserError(
                f"{judge.name} was trained on texts that are to calibrate it: give others"
            )
        self.inner, self.name = judge, judge.name
        self.labels, self.reads_with = judge.labels, judge.reads_with
        self.trained_on = judge.trained_on | keys
        if judge.identity:
            self.identity = (*judge.identity, "calibrated", readings.sha256)
            key = {"shift": list(self.identity), "among": SHIFTS.tolist()}
            kept = runs.cache_home() / "judges"
            self.shift = float(runs.stage(kept, key, lambda: _shift(judge, readings)))
        else:
            self.shift = _shift(judge, readings)
        told = f"log-odds of neutral moved by {self.shift:+g} nats"
        self.notes = (*judge.notes, f"{judge.name}: {told}, learned on {len(keys)} generated texts")

    def read(self, texts: Sequence[str]) -> Floats:
        return _moved(self.inner.probabilities(texts), self.shift)


def _moved(probabilities: Floats, shift: float) -> Floats:
    """Probabilities `[text, label]` after the log-odds of neutral were moved."""
    moved = probabilities.copy()
    moved[:, LABELS.index(NEUTRAL)] *= np.exp(shift)
    return moved / moved.sum(1, keepdims=True)


def _shift(judge: Judge, readings: GeneratedReadings) -> float:
    """The shift with the best kappa, of equals the least."""
    found = judge.probabilities([text.text for text in readings.texts])
    majority = readings.majority()
    rows = [i for i, said in enumerate(majority) if said and not np.isnan(found[i]).any()]
    if not rows:
        raise UserError("no text to calibrate with has a label of most readers: give more")
    true = np.array([CHOICES.index(majority[i] or "") for i in rows])
    kappas = [
        stats.cohen_kappa(true, _moved(found[rows], shift).argmax(1), len(CHOICES))[0]
        for shift in SHIFTS
    ]
    # Where every text has one label, kappa says nothing and nothing is moved.
    return 0.0 if np.isnan(kappas).all() else float(SHIFTS[int(np.nanargmax(kappas))])
