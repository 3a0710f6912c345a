"""Several judges as one: the mean of their probabilities."""

from collections.abc import Sequence

import numpy as np

from probekit.errors import UserError
from probekit.judges.judge import Floats, Judge


class Ensemble(Judge):
    """The mean of the probabilities of several judges.

    Raises:
        UserError: fewer than two judges, or judges with other labels.
    """

    def __init__(self, judges: Sequence[Judge], name: str = "") -> None:
        if len(judges) < 2:
            raise UserError(f"an ensemble of {len(judges)} judges: give two or more")
        if any(judge.labels != judges[0].labels for judge in judges):
            raise UserError("the judges of an ensemble choose from different labels: give alike")
        self.judges = tuple(judges)
        self.name = name or f"mean({', '.join(judge.name for judge in judges)})"
        self.labels = judges[0].labels
        self.trained_on = frozenset().union(*(judge.trained_on for judge in judges))
        self.reads_with = frozenset().union(*(judge.reads_with for judge in judges))
        if all(judge.identity for judge in judges):
            self.identity = ("mean", *(part for judge in judges for part in judge.identity))
        self.notes = tuple(dict.fromkeys(note for judge in judges for note in judge.notes))

    def read(self, texts: Sequence[str]) -> Floats:
        return np.mean([judge.probabilities(texts) for judge in self.judges], axis=0)
