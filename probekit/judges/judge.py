"""`Judge`: from a text alone to probabilities of the eight emotions and of none."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probekit.errors import UserError
from probekit.stimuli.readings import INTENSE

Floats = NDArray[np.float64]
EMOTIONS = INTENSE
NEUTRAL = "neutral"
LABELS = (*EMOTIONS, NEUTRAL)
"""What a judge chooses from: Plutchik's intense ring, and a text without any emotion."""


class Judge(ABC):
    """Reads texts, and is given nothing else: no target, no method, no prompt.

    Attributes:
        name: what tables call it.
        labels: the eight emotions and "neutral".
        trained_on: SHA-256 of each text that trained it; such texts say nothing of its quality.
        reads_with: fingerprints of the models whose states it reads. A judge that reads with the
            model that is steered may see the steering itself and not the text.
        identity: what makes its answers, for caches; empty where that is not known.
        notes: what a reader of its figures should know.
    """

    name: str
    labels: tuple[str, ...] = LABELS
    trained_on: frozenset[str] = frozenset()
    reads_with: frozenset[str] = frozenset()
    identity: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def probabilities(self, texts: Sequence[str]) -> Floats:
        """Probabilities `[text, label]`; rows sum to one.

        A text without a word (white space alone) has no emotion that could be read, not even
        none: its row is NaN, and figures count it as missing. So is the row of a text to which a
        judge gave no answer that can be read.

        Raises:
            UserError: one string instead of several, or something that is no text.
        """
        given = checked(texts)
        found = np.full((len(given), len(self.labels)), np.nan)
        some = [place for place, text in enumerate(given) if text.strip()]
        if some:
            found[some] = self.read([given[place] for place in some])
        return found

    @abstractmethod
    def read(self, texts: Sequence[str]) -> Floats:
        """Probabilities `[text, label]` of texts none of which is empty."""

    def judge(self, texts: Sequence[str]) -> list[str]:
        """The most probable label of each text, "" for a text without a word."""
        return best(self.probabilities(texts), self.labels)


def best(probabilities: Floats, labels: Sequence[str] = LABELS) -> list[str]:
    """The most probable label of each row `[text, label]` (of equals the first), "" for NaN."""
    missing = np.any(np.isnan(probabilities), axis=1, keepdims=True)
    places = np.argmax(np.where(missing, 0.0, probabilities), axis=1).tolist()
    gone = missing[:, 0].tolist()
    return ["" if none else str(labels[place]) for none, place in zip(gone, places, strict=True)]


def checked(texts: Sequence[Any]) -> list[str]:
    """The texts as a list.

    Raises:
        UserError: one string instead of several, or something that is no text.
    """
    if isinstance(texts, str):
        raise UserError("a judge was given one string: give a list of texts")
    given = list(texts)
    for place, text in enumerate(given):
        if not isinstance(text, str):
            kind = type(text).__name__
            raise UserError(f"text {place + 1} of {len(given)} is a {kind}: judges read text only")
    return given


def text_key(text: str) -> str:
    """Hex SHA-256 of a text, as `trained_on` holds it."""
    return hashlib.sha256(text.encode()).hexdigest()


def softmax(scores: Floats) -> Floats:
    """Probabilities from scores `[text, label]`."""
    shifted = np.exp(scores - scores.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)
