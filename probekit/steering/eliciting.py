"""Directions from what a model writes: replies in an emotion, or stories of it.

Reading directions come from texts that somebody else wrote. Here the model is made to write: it
is asked to reply in an emotion (expressing), or to tell of somebody who feels it without naming
it (stories). What is not accepted is left out, the rate is kept, and the states of what was
written are read *after the plain prompt*, so that no instruction and no emotion's name stands
before them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from probekit.activations import capture
from probekit.directions import Directions, extract
from probekit.errors import UserError
from probekit.models import Model
from probekit.prompts import Template
from probekit.sites import Kind
from probekit.steering.generation import GREEDY, Decoding
from probekit.steering.methods import Method, Plain, Prompted, Setting, produce
from probekit.steering.sample import Sample
from probekit.stimuli import Stimulus, StimulusSet

Source = Literal["expressing", "stories"]
Accept = Callable[[Sequence[Sample]], NDArray[np.bool_]]
"""Says of each text whether it is taken: a judge's word, or that it names no emotion."""
STORY = "Tell what happens to somebody who feels {emotion}. Do not name what they feel."
LEAST = 3


@dataclass(frozen=True)
class Elicited:
    """Texts that a model wrote, and which of them were accepted.

    Attributes:
        source: "expressing" or "stories".
        samples: all of them, the plain replies among them.
        accepted: `[sample]`; plain replies always are.
    """

    source: Source
    samples: tuple[Sample, ...]
    accepted: NDArray[np.bool_]

    def rates(self) -> dict[str, float]:
        """Share of accepted texts by emotion."""
        emotions = np.array([sample.emotion for sample in self.samples])
        wanted = [name for name in dict.fromkeys(emotions.tolist()) if name]
        return {name: float(self.accepted[emotions == name].mean()) for name in wanted}

    def stimuli(self) -> StimulusSet:
        """The accepted texts as a set: scenario is the prompt, plain replies are neutral."""
        rows = tuple(
            Stimulus(
                id=f"{sample.prompt}-{sample.emotion or 'neutral'}-{sample.seed}",
                text=sample.text,
                emotion=sample.emotion or "neutral",
                arm="" if sample.emotion else "neutral",
                scenario=sample.prompt,
            )
            for sample, taken in zip(self.samples, self.accepted, strict=True)
            if taken
        )
        return StimulusSet(self.source, rows)

    def directions(
        self,
        model: Model,
        setting: Setting,
        *,
        kind: Kind = "resid_post",
        estimator: str = "grouped",
        advance: Callable[[int], None] = lambda _: None,
    ) -> Directions:
        """Directions from the states of accepted texts, the mean over what was written.

        Groups may be incomplete: an emotion whose reply to a prompt was not accepted is estimated
        from the others (`grouped` fits emotion beside prompt).

        Raises:
            UserError: an emotion with fewer than three accepted texts.
        """
        stimuli = self.stimuli()
        counts = {name: int((stimuli.column("emotion") == name).sum()) for name in self.rates()}
        if short := [name for name, count in counts.items() if count < LEAST]:
            raise UserError(
                f"{counts[short[0]]} accepted texts of {short[0]}: {LEAST} are needed; leave the "
                "emotion out, give more prompts, or a larger model"
            )
        plain = setting.template("plain")
        taken = [s for s, kept in zip(self.samples, self.accepted, strict=True) if kept]
        before = [rendered(model, plain, sample.asked) for sample in taken]
        whole = [start + sample.text for start, sample in zip(before, taken, strict=True)]
        states = capture(
            model,
            list(zip(stimuli.ids, whole, strict=True)),
            [kind],
            ["span"],
            spans=[(len(b), len(text)) for b, text in zip(before, whole, strict=True)],
            truncate=True,
            advance=advance,
        )
        return extract(
            model,
            stimuli,
            states,
            kind=kind,
            pooling="span",
            source=self.source,
            template=plain,
            estimator=estimator,
        )


def elicit(
    model: Model,
    emotions: Sequence[str],
    prompts: Sequence[tuple[str, str]],
    accept: Accept,
    source: Source = "expressing",
    *,
    chat: bool | None = None,
    decoding: Decoding = GREEDY,
    seed: int = 0,
    advance: Callable[[int], None] = lambda _: None,
) -> Elicited:
    """Let a model write in each emotion after each prompt, and say what is accepted.

    Args:
        emotions: names, as the model is told them.
        prompts: (id, text); not those on which steering is measured.
        accept: what is taken of the texts; empty ones never are.
        source: "expressing" asks for a reply in the emotion, "stories" for a story of somebody
            who feels it, without the name.
        chat: in the chat template (default: where the model has one).
        advance: called with the number of texts just written.
    """
    setting = Setting.of(model, chat)
    ask = {"expressing": "", "stories": STORY}[source]
    asked: list[tuple[Method, str]] = [(Plain(setting), "")]
    asked += [(Prompted(setting, ask=ask), emotion) for emotion in emotions]
    samples: list[Sample] = []
    for method, emotion in asked:
        samples += produce(
            model, method, emotion, None, prompts, decoding, seed=seed, advance=advance
        )
    written = np.array([bool(sample.text.strip()) for sample in samples])
    plain = np.array([not sample.emotion for sample in samples])
    return Elicited(source, tuple(samples), written & (plain | accept(samples)))


def rendered(model: Model, template: Template, text: str) -> str:
    """A prompt as text, without the first token that the tokenizer puts before any text."""
    whole, tokenizer = template.render(text, model.tokenizer)[0], model.tokenizer
    adds = bool(tokenizer.bos_token) and tokenizer.bos_token_id in tokenizer("a").input_ids
    return whole.removeprefix(tokenizer.bos_token) if adds else whole
