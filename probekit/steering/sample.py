"""`Sample`: one text that a model wrote, and how it was made to write it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    """One generated text.

    Attributes:
        prompt: id of the prompt, the cluster of every interval.
        asked: the prompt's own words, without any instruction of a method.
        text: what the model wrote.
        method: "plain", "prompt", "steer", "random" and the like; see `probekit.steering.methods`.
        emotion: the one it was made for, "" where there is none.
        dose: of steering, relative to the residual norm; None where a method has none.
        seed: of sampling.
        tokens: how many it wrote, the end marker not counted.
        ended: whether the model ended by itself, before the limit.
    """

    prompt: str
    asked: str
    text: str
    method: str
    emotion: str
    dose: float | None
    seed: int
    tokens: int
    ended: bool
