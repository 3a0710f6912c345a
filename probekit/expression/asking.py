"""What a model answers when it is asked for a post's label: by likelihood, and in its own words."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from probekit.expression.texts import Posts
from probekit.judges.likelihood import EMPTY, label_scores
from probekit.models import Model
from probekit.prompts import SLOT, TEMPLATES, Encoded
from probekit.readouts import LabelLogits
from probekit.runs import Progress, counting
from probekit.steering.generation import Decoding, generate

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
OPTIONS = "{options}"
QUESTIONS = (
    f'Someone wrote: "{SLOT}"\nWhich emotion does this express: {OPTIONS}? Answer with one word.',
    f"Classify the emotion of this post as one of: {OPTIONS}.\n\nPost: {SLOT}",
    f"{SLOT}\n\nWhat does the person who posted this feel? Choose one of {OPTIONS}.",
)
"""Ways of asking; the one that does best on development posts is reported on the others."""
ANSWERED = Decoding(max_new_tokens=12)
FORMS = {
    "anger": ("anger", "angry"),
    "disgust": ("disgust", "disgusted"),
    "fear": ("fear", "fearful", "afraid", "scared"),
    "happiness": ("happiness", "happy", "joy", "joyful"),
    "sadness": ("sadness", "sad"),
    "surprise": ("surprise", "surprised"),
    "neutral": ("neutral",),
}
"""Words that count as an answer."""


@dataclass(frozen=True)
class Asked:
    """Answers about every post.

    Attributes:
        likelihood: `[way, post, class]` log-probabilities up to a number for each post, question
            by question, as they are and then less the model's habit.
        answers: `[question, post]` classes, -1 where no one class was named.
        texts: `[question, post]`, what was written.
    """

    likelihood: Floats
    answers: Ints
    texts: list[list[str]]


def ask(model: Model, posts: Posts, *, chat: bool, progress: Progress = lambda *_: None) -> Asked:
    """Put every question about every post."""
    labels = LabelLogits(model, posts.names, before="" if chat else " ")
    texts, many = posts.stimuli.texts, len(posts.labels)
    advance = counting(progress, "asking for labels", 2 * len(QUESTIONS) * many)
    likelihood, answers, written = [], [], []
    for question in QUESTIONS:
        prompts = _prompts(model, question, texts, posts.names, chat=chat)
        scores = label_scores(model, prompts, labels)
        advance(many)
        nothing = label_scores(
            model, _prompts(model, question, EMPTY, posts.names, chat=chat), labels
        )
        # Contextual calibration (Zhao et al. 2021, arXiv 2102.09690), up to a number for each post.
        likelihood += [scores, scores - nothing.mean(0)]
        said = [
            reply.text for reply in generate(model, prompts, decoding=ANSWERED, advance=advance)
        ]
        written.append(said)
        answers.append([named(text, posts.names) for text in said])
    return Asked(np.stack(likelihood), np.array(answers), written)


def ways() -> list[str]:
    """Names of the ways whose scores `Asked.likelihood` holds."""
    return [f"{n} {kind}" for n, kind in product(range(len(QUESTIONS)), ("plain", "calibrated"))]


def named(text: str, names: Sequence[str]) -> int:
    """The place of the one class that an answer names; -1 where it names none, or several."""
    words = set(re.findall(r"[a-z]+", text.lower()))
    found = [place for place, name in enumerate(names) if words & {*FORMS.get(name, ()), name}]
    return found[0] if len(found) == 1 else -1


def _prompts(
    model: Model, question: str, texts: Sequence[str], names: Sequence[str], *, chat: bool
) -> list[Encoded]:
    options = ", ".join([*names[:-1], f"or {names[-1]}"])
    asked = [question.replace(OPTIONS, options).replace(SLOT, text) for text in texts]
    if chat:
        return model.encode(asked, TEMPLATES["chat"])
    return model.encode([f"{each}\nAnswer:" for each in asked])
