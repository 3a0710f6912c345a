"""What neutral texts score along directions: the unit of a reading, and one of its two controls.

A raw projection is mostly an offset that all texts share, and its spread differs from direction to
direction. So scores are standardised by each direction's own distribution over tokens of neutral
texts: 0 is their mean, 1 is one of their standard deviations.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from probekit import runs
from probekit.directions.artefact import Directions
from probekit.directions.words import score_tokens
from probekit.errors import UserError
from probekit.models import Model
from probekit.prompts import NO_TEMPLATE, Encoded, Template, encode
from probekit.stimuli import StimulusSet

Floats = NDArray[np.float64]
PEERS = 20
"""Random directions for every direction that is read along."""
MIDDLE = (2.5, 97.5)
"""Percentiles: a band is the middle 95 % of a control's figures."""


class Band(NamedTuple):
    """The middle 95 % of figures that mean nothing."""

    low: float
    high: float

    @classmethod
    def of(cls, values: NDArray[Any]) -> "Band":
        """Of all figures of an array."""
        low, high = np.percentile(values, MIDDLE)
        return cls(float(low), float(high))

    def side(self, value: float) -> int:
        """1 above the band, −1 below it, 0 inside."""
        return int(value > self.high) - int(value < self.low)


@dataclass(frozen=True, eq=False)
class Reference:
    """How tokens of neutral texts score along directions at one layer, and along random peers.

    Attributes:
        directions: those that are read along, at the one layer.
        panel: the same, then `PEERS` random peers of each, as one artefact.
        mean, deviation: `[direction of the panel]`, over the tokens, in the states' units.
        texts: of each neutral text `[token, emotion]`, standardised.
        stimuli: name, sha256 and number of rows of the neutral texts.
        template: the prompt around each of them.
    """

    directions: Directions
    panel: Directions
    mean: Floats
    deviation: Floats
    texts: tuple[NDArray[np.float32], ...]
    stimuli: Mapping[str, Any]
    template: Template

    @classmethod
    def measure(
        cls,
        model: Model,
        directions: Directions,
        stimuli: StimulusSet,
        layer: int,
        template: Template = NO_TEMPLATE,
        *,
        advance: Callable[[int], None] = lambda _: None,
    ) -> "Reference":
        """Read neutral texts, each once; the figures are kept in the user's cache.

        Args:
            directions: of the model.
            stimuli: neutral texts.
            layer: one of the directions'.
            advance: called with the number of texts just read.

        Raises:
            UserError: directions of another model, a layer that they lack, or texts whose tokens
                all score the same.
        """
        directions.for_model(model)
        own = at_layer(directions, layer)
        panel = with_peers(own)
        key = {
            "format": "probekit-reference-1",
            "model": model.fingerprint,
            "directions": hashlib.sha256(panel.vectors.tobytes()).hexdigest(),
            "site": f"{own.kind}.{layer}",
            "emotions": len(own.emotions),
            "texts": stimuli.sha256,
            "template": template.describe(),
        }
        kept = runs.cache_home() / "reading" / f"{runs.digest(key)[:24]}.safetensors"
        if not kept.exists():
            measured = _measured(model, panel, len(own.emotions), stimuli, template, advance)
            with runs.atomic_write(kept) as temporary:
                save_file(measured, temporary)
        found = load_file(kept)
        texts = np.split(found["scores"], np.cumsum(found["lengths"])[:-1])
        told = stimuli.describe()
        return cls(own, panel, found["mean"], found["deviation"], tuple(texts), told, template)

    @property
    def layer(self) -> int:
        """The number of the layer."""
        return self.directions.layers[0]

    @property
    def n_tokens(self) -> int:
        """How many neutral tokens make the unit."""
        return sum(map(len, self.texts))

    def standardise(self, raw: Floats) -> Floats:
        """`[token, direction of the panel]` of the states' units in those of neutral tokens."""
        return (raw - self.mean) / self.deviation

    def bands(self, n_tokens: int) -> tuple[Band, ...]:
        """For each emotion, the means of the neutral texts' first tokens, as many as given.

        A mean over few tokens spreads more than one over many. Texts that are shorter give all
        they have: for a longer text the band errs on the wide side.
        """
        means = np.stack([text[:n_tokens].astype(np.float64).mean(0) for text in self.texts])
        return tuple(Band.of(column) for column in means.T)


def text_scores(
    model: Model, panel: Directions, text: str, template: Template
) -> tuple[Encoded, list[int], Floats]:
    """A text's prompt, places of its scored tokens in it, and `[scored token, direction]`.

    The first token of a prompt and special ones are not scored, nor are the template's.

    Raises:
        UserError: a text that is longer than the context.
    """
    prompt = encode(model.tokenizer, [text], template, n_ctx=2**62)[0]
    if len(prompt) > model.n_ctx:
        raise UserError(
            f"the text has {len(prompt)} tokens with its template and the context of {model.name} "
            f"holds {model.n_ctx}: give a shorter one"
        )
    found = score_tokens(model, panel, text, template)
    scored = [place for place in prompt.tokens_of(0, len(text)) if not found.special[place]]
    return prompt, scored, found.values[scored, :, 0]


def at_layer(directions: Directions, layer: int) -> Directions:
    """The directions at one of their layers.

    Raises:
        UserError: a layer that they lack.
    """
    _, place = directions.place(directions.emotions[0], layer)
    here = slice(place, place + 1)
    return replace(
        directions,
        vectors=directions.vectors[:, here],
        norms=directions.norms[:, here],
        layers=(layer,),
        residual_norms=directions.residual_norms[here],
    )


def with_peers(directions: Directions, n: int = PEERS) -> Directions:
    """The directions, then `n` random peers of each: one pass scores all of them."""
    parts = [directions, *(directions.peer(seed) for seed in range(n))]
    return replace(
        directions,
        vectors=np.concatenate([part.vectors for part in parts]),
        norms=np.concatenate([part.norms for part in parts]),
        emotions=tuple(
            f"random {number} {name}" if number else name
            for number, part in enumerate(parts)
            for name in part.emotions
        ),
    )


def _measured(
    model: Model,
    panel: Directions,
    n_emotions: int,
    stimuli: StimulusSet,
    template: Template,
    advance: Callable[[int], None],
) -> dict[str, NDArray[Any]]:
    """What is kept of the neutral texts; texts without a scored token are left out."""
    values: list[Floats] = []
    for text in stimuli.texts:
        values.append(text_scores(model, panel, text, template)[2])
        advance(1)
    whole = np.concatenate(values)
    mean, deviation = (whole.mean(0), whole.std(0)) if len(whole) else (whole.sum(0),) * 2
    if not bool((deviation > 0).all()):
        raise UserError(
            f"the {len(whole)} tokens of {stimuli.name} score all the same: give more and longer "
            "neutral texts"
        )
    scores = ((whole - mean) / deviation)[:, :n_emotions].astype(np.float32)
    lengths = np.array([len(rows) for rows in values if len(rows)], dtype=np.int64)
    return {
        "mean": mean,
        "deviation": deviation,
        "scores": np.ascontiguousarray(scores),
        "lengths": lengths,
    }
