"""What ablating components does: to expression, to what texts are read as, to plain language.

*Expression* is measured as lift: by how many nats per token an instruction ("Always reply in
anger.") makes a held-out reply that was accepted likelier than the plain prompt does. Ablating what
carries the emotion lowers the lift; ablating what language needs lowers both likelihoods.
*Reception* and *categorisation* are the causal studies' readouts on test vignettes without emotion
words; *language* is the surprisal of neutral test texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probekit.circuits.texts import Expression
from probekit.edits import Edit
from probekit.models import Model
from probekit.prompts import Encoded, Template
from probekit.scorecard.likelihood import continuation_nats
from probekit.stimuli import StimulusSet

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Lift:
    """Held-out expressions, ready to be read with and without their instruction.

    Attributes:
        model: reads.
        replies: accepted expressions of one emotion.
        asked, plain: `[reply]` prompts with and without the instruction.
        ids: `[reply]` tokens of the replies.
    """

    model: Model
    replies: tuple[Expression, ...]
    asked: tuple[Encoded, ...]
    plain: tuple[Encoded, ...]
    ids: tuple[tuple[int, ...], ...]

    @classmethod
    def of(
        cls, model: Model, replies: Sequence[Expression], asked: Template, plain: Template
    ) -> "Lift":
        """Encode replies behind both prompts."""
        texts = [each.asked for each in replies]
        ids = [
            tuple(model.tokenizer(each.text, add_special_tokens=False)["input_ids"])
            for each in replies
        ]
        return cls(
            model,
            tuple(replies),
            tuple(model.encode(texts, asked)),
            tuple(model.encode(texts, plain)),
            tuple(ids),
        )

    def measure(self, edits: Sequence[Edit] = ()) -> Floats:
        """`[reply]`, nats per token that the instruction gains, under edits of both readings."""
        asked, plain = (
            continuation_nats(self.model, prompts, self.ids, edits)
            for prompts in (self.asked, self.plain)
        )
        return np.array([b.mean() - a.mean() for a, b in zip(asked, plain, strict=True)])


def neutral_nats(
    model: Model,
    texts: StimulusSet,
    edits: Sequence[Edit] = (),
) -> Floats:
    """Surprisal in nats per token of whole texts, the first token left out, `[text]`."""
    prompts = model.encode(texts.texts, ids=texts.ids)
    first = [prompt.first(1) for prompt in prompts]
    rest = [prompt.input_ids[1:] for prompt in prompts]
    found = continuation_nats(model, first, rest, edits)
    return np.array([nats.mean() for nats in found])
