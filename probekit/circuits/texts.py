"""Texts that circuits are learned from: what a model writes in an emotion, or the vignettes.

*Expressing*: the model is asked to reply in an emotion after scenarios with an event, a judge who
is not told the emotion says what it reads, and the accepted replies are read after the *plain*
prompt: no instruction stands before them, and no token of an emotion word is read.
*Reading*: vignettes without emotion words, and their neutral controls; nobody is asked anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from probekit.circuits.activities import ReadOut
from probekit.directions.design import NEUTRAL
from probekit.errors import UserError
from probekit.models import Model
from probekit.prompts import Encoded
from probekit.steering import Setting
from probekit.steering.eliciting import rendered
from probekit.stimuli import Stimulus, StimulusSet, emotion_spans

Source = Literal["expressing", "reading"]
EVENTS = ("positive", "neutral", "negative")
NEEDED = 4
"""Accepted texts of an emotion, at least: two for each half of the scenarios."""


@dataclass(frozen=True)
class Expression:
    """What a model wrote when it was asked to.

    Attributes:
        emotion: the one asked for, "neutral" for a plain reply.
        context: id of the scenario with its event.
        scenario, valence, theme, split: of the context.
        seed: of sampling.
        asked: the context's text.
        text: the reply.
        judged: what the judge took it for; "" where it gave no answer.
    """

    emotion: str
    context: str
    scenario: str
    valence: str
    theme: str
    split: str
    seed: int
    asked: str
    text: str
    judged: str

    @property
    def accepted(self) -> bool:
        """Whether it is taken: the judge's word, for a plain reply that there is a text."""
        return bool(self.text.strip()) and self.emotion in (self.judged, NEUTRAL)

    @property
    def id(self) -> str:
        """Of the text."""
        return f"{self.context}-{self.emotion}-{self.seed}"


def contexts(count: int, split: str, *, every_event: bool = False) -> list[Stimulus]:
    """Scenarios with an event each, themes and events in turn.

    Args:
        count: of scenarios.
        split: "dev" for learning, "test" for measuring.
        every_event: all three events of each scenario.

    Raises:
        UserError: more scenarios than there are.
    """
    rows = StimulusSet.load("scenarios").select(split=split).rows
    scenes: dict[str, dict[str, Stimulus]] = {}
    for row in rows:
        scenes.setdefault(row.scenario, {})[row.valence] = row
    if not 1 <= count <= len(scenes):
        raise UserError(f"{count} scenarios of the {split} split: give 1 to {len(scenes)}")
    chosen = [list(scenes)[n * len(scenes) // count] for n in range(count)]
    return [
        scenes[name][event]
        for place, name in enumerate(chosen)
        for event in (EVENTS if every_event else (EVENTS[place % len(EVENTS)],))
    ]


def rates(expressions: Sequence[Expression]) -> dict[str, float]:
    """Share of accepted texts by emotion."""
    asked = [each for each in expressions if each.emotion != NEUTRAL]
    names = dict.fromkeys(each.emotion for each in asked)
    taken = {n: [each.accepted for each in asked if each.emotion == n] for n in names}
    return {name: sum(each) / len(each) for name, each in taken.items()}


def expressed(
    model: Model, expressions: Sequence[Expression], setting: Setting, emotions: Sequence[str]
) -> tuple[StimulusSet, list[ReadOut]]:
    """Accepted expressions as a set, and where each is read.

    Groups may be incomplete: an emotion whose reply to a context was not accepted is estimated
    from its others.

    Args:
        expressions: plain replies among them.
        setting: of the plain prompts.
        emotions: that are wanted.

    Raises:
        UserError: an emotion with fewer than `NEEDED` accepted texts; it names all of them.
    """
    taken = [e for e in expressions if e.accepted and e.emotion in (*emotions, NEUTRAL)]
    prompts = _after_plain(model, taken, setting)
    where = [
        ReadOut(prompt, _tokens(prompt, each.text))
        for prompt, each in zip(prompts, taken, strict=True)
    ]
    kept = [row for row, each in enumerate(where) if each.tokens]
    rows = tuple(_row(taken[row]) for row in kept)
    check_enough([row.emotion for row in rows], emotions)
    return StimulusSet("expressing", rows), [where[row] for row in kept]


def check_enough(found: Sequence[str], emotions: Sequence[str]) -> None:
    """Raise a `UserError` that names every emotion with too few texts."""
    short = {name: found.count(name) for name in emotions if found.count(name) < NEEDED}
    if short:
        told = ", ".join(f"{count} of {name}" for name, count in short.items())
        raise UserError(
            f"too few accepted texts: {told}; {NEEDED} of each emotion are needed: leave these "
            "emotions out, give more scenarios or a larger model, or take --source reading"
        )


def vignettes(model: Model, emotions: Sequence[str]) -> tuple[StimulusSet, list[ReadOut]]:
    """Dev vignettes without emotion words and their controls, read over their own tokens.

    Raises:
        UserError: an emotion that the set does not have.
    """
    rows = StimulusSet.load("vignettes").select(arm=["keyword_free", "neutral"], split="dev").rows
    taken = StimulusSet(
        "vignettes", tuple(r for r in rows if r.arm == "neutral" or r.emotion in emotions)
    )
    check_enough([row.emotion for row in taken.rows], emotions)
    prompts = model.encode(taken.texts, ids=taken.ids)
    # The first token is an attention sink in most models.
    return taken, [
        ReadOut(prompt, tuple(t for t in prompt.tokens_of(0, len(text)) if t))
        for prompt, text in zip(prompts, taken.texts, strict=True)
    ]


def _after_plain(
    model: Model, expressions: Sequence[Expression], setting: Setting
) -> list[Encoded]:
    """Replies after their plain prompts; the text's characters are those of the reply."""
    plain = setting.template("plain")
    before = [rendered(model, plain, each.asked) for each in expressions]
    whole = [start + each.text for start, each in zip(before, expressions, strict=True)]
    coded = model.encode(whole, ids=[each.id for each in expressions], truncate=True)
    return [
        Encoded(p.id, p.input_ids, p.special, p.offsets, len(start), len(text))
        for p, start, text in zip(coded, before, whole, strict=True)
    ]


def _tokens(prompt: Encoded, reply: str) -> tuple[int, ...]:
    """Tokens of the reply that hold no part of an emotion word."""
    named: set[int] = set()
    for start, end in emotion_spans(reply):
        named.update(prompt.tokens_of(start, end))
    return tuple(t for t in prompt.tokens_of(0, len(reply)) if t not in named)


def _row(each: Expression) -> Stimulus:
    told: dict[str, Any] = {"arm": NEUTRAL} if each.emotion == NEUTRAL else {}
    return Stimulus(
        id=each.id,
        text=each.text,
        emotion=each.emotion,
        scenario=each.scenario,
        valence=each.valence,
        domain=each.theme,
        **told,
    )
