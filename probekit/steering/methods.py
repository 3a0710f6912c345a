"""Ways to make a model express an emotion: asking it, showing it examples, steering it, nothing.

All of them write after the same plain prompts with the same decoding; they differ in what stands
before the prompt and in what is done to the states.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from probekit.directions import Directions
from probekit.directions.sources import SET
from probekit.errors import UserError
from probekit.models import Model
from probekit.prompts import SLOT, Template
from probekit.steering.generation import Decoding, Reply, generate
from probekit.steering.sample import Sample
from probekit.steering.steering import Drive, Steering
from probekit.stimuli import StimulusSet

BRIEF = "Keep the reply to at most two sentences."
ASK = "Always reply in {emotion}."
ASK_TEXT = "What follows is told by somebody full of {emotion}."
SHOTS, QUESTION = 2, "Tell me what happened."


@dataclass(frozen=True)
class Setting:
    """What stands around every prompt.

    Attributes:
        chat: in the model's chat template, or as a text that is written on.
        brief: of a chat, the instruction that every method has.
    """

    chat: bool
    brief: str = BRIEF

    @classmethod
    def of(cls, model: Model, chat: bool | None = None) -> "Setting":
        """A chat where the model has a chat template, unless something else is asked for.

        Raises:
            UserError: a chat with a model that has no chat template.
        """
        able = bool(model.tokenizer.chat_template)
        if chat and not able:
            raise UserError(
                f"{model.name} has no chat template: leave --chat out, or use an instruct model"
            )
        return cls(able if chat is None else chat)

    def template(self, name: str, asked: str = "", shots: Sequence[str] = ()) -> Template:
        """The prompt with an instruction and answered examples in front of it."""
        if self.chat:
            system = " ".join(part for part in (asked, self.brief) if part)
            return Template(name, None, system, tuple((QUESTION, shot) for shot in shots))
        before = [asked] if asked else []
        return Template(name, "\n\n".join([*before, *shots, SLOT]))


@dataclass(frozen=True)
class Method(ABC):
    """A way to make a model express an emotion.

    Attributes:
        setting: what stands around every prompt.
        name: what results call it.
    """

    setting: Setting
    name: str
    dosed = False
    """Whether it has a dose."""

    @property
    def doses(self) -> tuple[float, ...]:
        """Its own doses, where their unit is another than that of directions; else none."""
        return ()

    def template(self, emotion: str) -> Template:
        """The prompt's template for an emotion."""
        del emotion
        return self.setting.template("plain")

    @abstractmethod
    def steering(self, emotion: str, dose: float | None) -> Drive | None:
        """What is done to the states."""

    def describe(self) -> dict[str, Any]:
        """What a manifest says of it."""
        return {"name": self.name, "chat": self.setting.chat, "brief": self.setting.brief}


@dataclass(frozen=True)
class Plain(Method):
    """The model as it is."""

    name: str = "plain"

    def steering(self, emotion: str, dose: float | None) -> Drive | None:
        del emotion, dose
        return None


@dataclass(frozen=True)
class Prompted(Plain):
    """The model is asked to reply in the emotion (Wang et al. 2025, "Do LLMs 'Feel'?")."""

    name: str = "prompt"
    ask: str = ""

    def asked(self, emotion: str) -> str:
        """The instruction, in words."""
        usual = ASK if self.setting.chat else ASK_TEXT
        return (self.ask or usual).format(emotion=emotion)

    def template(self, emotion: str) -> Template:
        return self.setting.template(self.name, self.asked(emotion))

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "ask": self.asked("{emotion}")}


@dataclass(frozen=True)
class FewShot(Prompted):
    """The model is asked, and shown texts of the emotion: dev vignettes that name it.

    They are texts of the very scenarios that reading directions are made from.
    """

    name: str = "few-shot"

    def template(self, emotion: str) -> Template:
        rows = StimulusSet.load(SET).select(arm="keyword_rich", split="dev", emotion=emotion)
        if len(rows) < SHOTS:
            raise UserError(f"no examples of {emotion}: few-shot has those of {SET}' emotions")
        return self.setting.template(self.name, self.asked(emotion), rows.texts[:SHOTS])


@dataclass(frozen=True)
class Steered(Method):
    """Along directions.

    Attributes:
        model, directions: whose they are.
        layers: default those of the middle third of depth.
        options: of `Steering`: how, positions, gate.
    """

    name: str
    model: Model
    directions: Directions
    layers: tuple[int, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    dosed = True

    def steering(self, emotion: str, dose: float | None) -> Steering:
        if dose is None:
            raise UserError(f"{self.name} needs a dose: give one, such as 0.1")
        return Steering.along(
            self.model, self.directions, emotion, dose, layers=self.layers, **self.options
        )

    def describe(self) -> dict[str, Any]:
        told = self.directions.describe()
        kept = ("kind", "pooling", "source", "arm", "estimator", "options", "stimuli")
        options = {name: str(value) for name, value in self.options.items()}
        return {
            **super().describe(),
            "directions": {name: told[name] for name in kept},
            "layers": list(self.layers),
            "options": options,
        }


@dataclass(frozen=True)
class Random(Steered):
    """The control of steering: random directions of the same lengths at the same layers.

    Each emotion has a draw of its own, so that what one draw happens to do is not all of it.
    """

    seed: int = 0

    def steering(self, emotion: str, dose: float | None) -> Steering:
        place = self.directions.emotions.index(emotion) if emotion else 0
        return super().steering(emotion, dose).random(1000 * (self.seed + 1) + place)


def held_out(count: int = 24, split: str = "test") -> list[tuple[str, str]]:
    """(id, text) of scenarios with their indifferent events, spread over the themes.

    No direction is made from them; "test" is for measuring, "dev" for eliciting.
    """
    rows = StimulusSet.load("scenarios").select(split=split, valence="neutral").rows
    step = max(1, len(rows) // count)
    return [(row.id, row.text) for row in rows[::step][:count]]


def produce(
    model: Model,
    method: Method,
    emotion: str,
    dose: float | None,
    prompts: Sequence[tuple[str, str]],
    decoding: Decoding,
    *,
    seed: int = 0,
    batch_size: int = 16,
    advance: Callable[[int], None] = lambda _: None,
) -> list[Sample]:
    """What a method makes a model write after plain prompts, (id, text) each."""
    ids, texts = [id_ for id_, _ in prompts], [text for _, text in prompts]
    encoded = model.encode(texts, method.template(emotion), ids=ids)
    replies = generate(
        model,
        encoded,
        method.steering(emotion, dose),
        decoding,
        seed=seed,
        batch_size=batch_size,
        advance=advance,
    )
    return [
        sample(prompt, reply, method, emotion, dose, seed)
        for prompt, reply in zip(prompts, replies, strict=True)
    ]


def sample(
    prompt: tuple[str, str],
    reply: Reply,
    method: Method,
    emotion: str,
    dose: float | None,
    seed: int,
) -> Sample:
    """A reply with how it was made."""
    own = dose if method.dosed else None
    return Sample(*prompt, reply.text, method.name, emotion, own, seed, len(reply.ids), reply.ended)
