"""The judge that asks a causal model: how likely is each emotion's name after the text?"""

from collections.abc import Sequence

import numpy as np

from probekit.edits import Edit, Scale
from probekit.judges.judge import LABELS, Floats, Judge, softmax
from probekit.models import Model
from probekit.prompts import SLOT, Encoded, Template, encode
from probekit.readouts import LabelLogits
from probekit.sweep import sweep

QUESTION = Template(
    "judge",
    f'Someone wrote: "{SLOT}"\n'
    f"Question: Which emotion does this express: {', '.join(LABELS[:-1])}, or is it neutral?\n"
    "Answer:",
)
EMPTY = ("N/A", "...", "[no text]")
"""Texts that say nothing: what the model answers to them is its habit, and is taken off."""
ROOM = 8
"""Tokens of the context that are kept for the labels, behind a prompt; a longer text is cut."""


class LikelihoodJudge(Judge):
    """Log-probability of each label after a question about the text, less that after no text.

    The subtraction is contextual calibration (Zhao et al. 2021, arXiv 2102.09690), here of
    log-probabilities, with the mean of three texts that say nothing. Nothing is learned from texts.

    Args:
        model: whom to ask; better not the one that wrote the texts.
        question: a template around the text.
    """

    def __init__(self, model: Model, question: Template = QUESTION) -> None:
        self.model, self.question = model, question
        self.name = f"likelihood({model.describe()['name']})"
        self.reads_with = frozenset({model.fingerprint})
        self.identity = ("likelihood", model.fingerprint, str(model.dtype), str(question.pattern))
        self.labels_read = LabelLogits(model, LABELS)
        self._habit = self._scores(EMPTY).mean(0)

    def read(self, texts: Sequence[str]) -> Floats:
        return softmax(self._scores(texts) - self._habit)

    def _scores(self, texts: Sequence[str]) -> Floats:
        room, tokenizer = self.model.n_ctx - ROOM, self.model.tokenizer
        prompts = encode(tokenizer, texts, self.question, n_ctx=room, truncate=True)
        return label_scores(self.model, prompts, self.labels_read)


def label_scores(model: Model, prompts: Sequence[Encoded], labels: LabelLogits) -> Floats:
    """Logarithms of probabilities `[prompt, label]`, up to a number for each prompt."""
    # A sweep needs an edit: this one changes nothing, behind the last block.
    nothing = Edit(f"resid_post.{model.n_layers - 1}", -1, Scale(1.0))
    found = sweep(model, prompts, [nothing], {"label": labels}).clean["label"]
    return np.asarray(found, dtype=np.float64)
