"""`auto_dose`: the largest dose that a model still writes well at."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from probekit.directions.sources import neutral_texts
from probekit.errors import UserError
from probekit.models import Model
from probekit.scorecard.fluency import reply_nats
from probekit.steering import Decoding, Setting, Steering, generate

GRID = tuple(round(0.01 * 2 ** (step / 2), 3) for step in range(14))
"""Doses that are tried, each 1.4 times the one before: .01 to .9."""
PROMPTS, WORDS = 12, 12
"""Neutral texts that are written on from, and how many of their words."""


@dataclass(frozen=True)
class Tried:
    """A dose and the median ratio of perplexities that it cost."""

    dose: float
    ratio: float


@dataclass(frozen=True)
class AutoDose:
    """The dose that was found, and what was tried, the smallest first."""

    dose: float
    tried: tuple[Tried, ...]


def auto_dose(
    model: Model,
    steering: Steering,
    setting: Setting,
    decoding: Decoding,
    bound: float = 1.5,
    *,
    advance: Callable[[int], None] = lambda _: None,
) -> AutoDose:
    """The largest dose up to which the median perplexity ratio stays within a bound.

    What is written after the openings of neutral texts is read by the unsteered model; the ratio
    is to what it writes there plainly. Doses are tried from the smallest on, until one costs more.

    Args:
        model: the model.
        steering: whose dose is sought; its own dose is not used.
        setting: what stands around each prompt.
        decoding: how tokens are chosen.
        bound: the ratio that is allowed, 1 or more.
        advance: called with 1 after each dose.

    Raises:
        UserError: a bound below 1, or one that the smallest dose exceeds.
    """
    if not bound >= 1:
        raise UserError(f"bound {bound}: give a perplexity ratio of 1 or more, such as 1.5")
    asked = [" ".join(text.split()[:WORDS]) for text in neutral_texts().texts[:PROMPTS]]
    template = setting.template("plain")
    prompts = model.encode(asked, template)

    def nats(each: Steering | None) -> np.ndarray:
        replies = generate(model, prompts, each, decoding)
        return reply_nats(model, asked, [reply.text for reply in replies], template)

    plain, tried = nats(None), []
    for dose in GRID:
        ratio = float(np.exp(np.nanmedian(nats(steering.at(dose)) - plain)))
        tried.append(Tried(dose, ratio))
        advance(1)
        if not ratio <= bound:
            break
    kept = [each.dose for each in tried if each.ratio <= bound]
    if not kept:
        raise UserError(
            f"even dose {GRID[0]:g} costs a perplexity ratio of {tried[0].ratio:.2f}: allow a "
            f"larger --bound than {bound:g}, or steer at other layers"
        )
    return AutoDose(kept[-1], tuple(tried))
