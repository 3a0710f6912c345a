"""The judge that counts emotion words: the control that any other one has to beat."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from probekit.judges.judge import EMOTIONS, LABELS, NEUTRAL, Floats, Judge
from probekit.runs import digest
from probekit.stimuli import emotion_words, lexicon


class LexiconJudge(Judge):
    """Shares of the words that name each emotion (`stimuli/lexicon`).

    To the counted words comes one imagined word that names nothing (add-one), so that a text
    without any is neutral; and a ninth of a word for every label, so that no probability is 0.
    Two emotions named equally often go to the one that stands first in `EMOTIONS`.
    """

    name = "lexicon"

    def __init__(self) -> None:
        self.identity = ("lexicon", digest(lexicon()))

    def read(self, texts: Sequence[str]) -> Floats:
        listed = lexicon()
        counts = np.full((len(texts), len(LABELS)), 1 / len(LABELS))
        counts[:, LABELS.index(NEUTRAL)] = 1
        for row, text in enumerate(texts):
            for emotion, count in Counter(listed[form] for form in emotion_words(text)).items():
                if emotion in EMOTIONS:
                    counts[row, LABELS.index(emotion)] += count
        return counts / counts.sum(1, keepdims=True)
