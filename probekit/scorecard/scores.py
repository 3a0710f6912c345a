"""`Scores`: what was found of each text, one column a measure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from probekit.errors import UserError
from probekit.scorecard import repetition
from probekit.scorecard.coherence import Rule
from probekit.scorecard.fluency import log_ratios
from probekit.scorecard.relevance import Encode, relevance
from probekit.scorecard.words import names_any, names_target
from probekit.steering import Sample

Floats = NDArray[np.float64]
PLAIN, RANDOM, NEUTRAL = "plain", "random", "neutral"
"""Methods that are controls, and the label of a text without an emotion."""


def control_of(method: str, methods: Collection[str]) -> str:
    """The random method that another is held against: "random NAME" where it was run."""
    own = f"{RANDOM} {method}"
    return own if own in methods else RANDOM


def is_random(method: str) -> bool:
    """Whether a method is a random control, of steering or of another method."""
    return method.split()[0] == RANDOM


@dataclass(frozen=True, eq=False)
class Scores:
    """Every text with its figures; NaN where one is missing.

    Attributes:
        samples: the texts.
        labels: of the judge.
        probabilities: `[text, label]`; a row of NaN where the judge gave no answer.
        reasons: why each is incoherent, "" where it is not.
        measures: name -> `[text]`.
    """

    samples: tuple[Sample, ...]
    labels: tuple[str, ...]
    probabilities: Floats
    reasons: tuple[str, ...]
    measures: Mapping[str, Floats]

    def __post_init__(self) -> None:
        n = len(self.samples)
        if self.probabilities.shape != (n, len(self.labels)):
            shape = self.probabilities.shape
            raise UserError(f"the judge gave {shape} for {n} texts and {len(self.labels)} labels")
        if NEUTRAL not in self.labels:
            raise UserError(f"the judge's labels lack {NEUTRAL!r}: {', '.join(self.labels)}")
        made = {each.emotion for each in self.samples if each.emotion}
        if strange := sorted(made - set(self.labels)):
            raise UserError(f"the judge has no label {strange[0]!r}: {', '.join(self.labels)}")

    @cached_property
    def judged(self) -> NDArray[np.str_]:
        """`[text]`, the likeliest label; "" for an empty text, and where the judge gave none."""
        found = np.array(self.labels)[np.nan_to_num(self.probabilities).argmax(1)]
        return np.where((np.array(self.reasons) == "empty") | self.unanswered, "", found)

    @cached_property
    def unanswered(self) -> NDArray[np.bool_]:
        """`[text]`, whether the judge gave no probabilities."""
        return np.any(np.isnan(self.probabilities), axis=1, keepdims=True)[:, 0]

    @cached_property
    def incoherent(self) -> NDArray[np.bool_]:
        """`[text]`, whether each is called incoherent."""
        return np.array([bool(reason) for reason in self.reasons], dtype=bool)

    @cached_property
    def prompts(self) -> list[str]:
        """`[text]`, ids of prompts: the clusters."""
        return [each.prompt for each in self.samples]

    @cached_property
    def emotions(self) -> tuple[str, ...]:
        """Emotions that a text was made for, in the order of the labels."""
        made = {each.emotion for each in self.samples}
        return tuple(label for label in self.labels if label in made)


def score(
    samples: Sequence[Sample],
    labels: Sequence[str],
    probabilities: Floats,
    *,
    nats: Floats | None = None,
    nats_other: Floats | None = None,
    encode: Encode | None = None,
    rule: Rule | None = None,
) -> Scores:
    """Bring all that is known of each text together.

    Args:
        samples: the texts, plain ones among them (without, ratios are missing).
        labels, probabilities: of a judge, `[text, label]`.
        nats, nats_other: `reply_nats` under the unsteered model and under another, `[text]`.
        encode: sentence encoder, for relevance.
        rule: of incoherence; its perplexity is that of the other model.

    Raises:
        UserError: figures that do not fit the texts, or an emotion that the judge does not know.
    """
    rule, n = rule or Rule(), len(samples)
    texts, blank = [each.text for each in samples], np.full(n, np.nan)
    own, other = (blank if given is None else np.asarray(given) for given in (nats, nats_other))
    for given in (own, other):
        if len(given) != n:
            raise UserError(f"{len(given)} perplexities for {n} texts; give as many")
    measures: dict[str, Floats] = {}
    counted = [repetition.measure(text) for text in texts]
    for name in repetition.measure(""):
        measures[name] = _column(each[name] for each in counted)
    measures["tokens"] = _column(float(each.tokens) for each in samples)
    measures["ended"] = _column(float(each.ended) for each in samples)
    prompts, plain = [s.prompt for s in samples], np.array([s.method == PLAIN for s in samples])
    for name, given in (("", own), ("_other", other)):
        measures[f"perplexity{name}"] = np.exp(given)
        measures[f"log_ratio{name}"] = log_ratios(given, prompts, plain)
    measures["names_target"] = _column(
        float(names_target(s.text, s.emotion)) if s.emotion else None for s in samples
    )
    measures["names_any"] = _column(float(names_any(text)) for text in texts)
    if encode is not None:
        near, control, above = relevance(encode, [s.asked for s in samples], texts)
        measures |= {"cosine": near, "cosine_other_prompts": control, "relevance": above}
    broken = measures["perplexity_other"]
    reasons = [rule.reason(text, value) for text, value in zip(texts, broken, strict=True)]
    return Scores(
        tuple(samples), tuple(labels), np.asarray(probabilities), tuple(reasons), measures
    )


def _column(values: Iterable[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
