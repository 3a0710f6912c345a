"""What directions say in words: tokens that one writes, and scores of a text's tokens."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from probekit.directions.artefact import Directions
from probekit.errors import UserError
from probekit.head import Head
from probekit.hooks import reading, stopping_after
from probekit.models import Model
from probekit.prompts import NO_TEMPLATE, Template
from probekit.sites import Site


@dataclass(frozen=True)
class Word:
    """A token of the vocabulary: its id, how it is written, and its score."""

    token: int
    text: str
    score: float


@dataclass(frozen=True)
class Scores:
    """Projections of every token of one prompt.

    Attributes:
        tokens: `[token]`, how each is written.
        special: `[token]`, True for tokens that stand for no text, and for the first one, whose
            norm is many times the others' (an attention sink).
        emotions: `[emotion]`.
        layers: `[layer]`, numbers.
        values: `[token, emotion, layer]`, state times unit vector, in the states' units.
    """

    tokens: tuple[str, ...]
    special: tuple[bool, ...]
    emotions: tuple[str, ...]
    layers: tuple[int, ...]
    values: NDArray[np.float64]


def top_tokens(
    model: Model,
    directions: Directions,
    emotion: str,
    layer: int,
    k: int = 10,
    *,
    head: Head | None = None,
) -> list[Word]:
    """The tokens that a direction writes most strongly, through the final norm and unembedding.

    The direct path alone: what the blocks above the layer make of it is left out. The vector goes
    through the final norm as if it were the whole state, so that its gain counts and its scale is
    that of the vector itself: scores are logits of a state that points along the direction, up to
    a factor the first-order change of any state's logits; see `Head.lens`.

    Args:
        k: how many, highest first. Of `-directions` they are the lowest.
        head: of the model, for many calls: making one runs the model twice.

    Raises:
        UserError: directions of another model, a site that is not of the stream, an emotion or
            layer that is not there, or `k` below one.
    """
    directions.for_model(model)
    if directions.kind in ("z", "mlp_post"):
        raise UserError(
            f"site {directions.kind} is not of the stream: read tokens off resid_post, or another "
            "site that is"
        )
    return tokens_written(model, directions.of(emotion, layer), k, head=head)


def tokens_written(
    model: Model, vector: NDArray[np.floating[Any]], k: int = 10, *, head: Head | None = None
) -> list[Word]:
    """The tokens that a vector `[d_model]` of the stream writes most strongly; see `top_tokens`.

    Raises:
        UserError: `k` below one.
    """
    if k < 1:
        raise UserError(f"{k} tokens: give one or more")
    given = torch.as_tensor(vector, device=model.device)
    # Rows of the unembedding beyond the tokenizer's are padding and stand for nothing.
    logits = (head or Head(model)).lens(given)[: len(model.tokenizer)].float()
    found = logits.topk(min(k, len(logits)))
    return [
        Word(int(token), model.tokenizer.decode([int(token)]), float(score))
        for score, token in zip(found.values, found.indices, strict=True)
    ]


@torch.no_grad()
def score_tokens(
    model: Model, directions: Directions, text: str, template: Template = NO_TEMPLATE
) -> Scores:
    """The projection of each token's state on each direction, at each of its layers.

    Raises:
        UserError: directions of another model, or a text that is longer than the context.
    """
    directions.for_model(model)
    prompt = model.encode([text], template)[0]
    sites = [Site(directions.kind, layer) for layer in directions.layers]
    seen: dict[Site, NDArray[np.float64]] = {}

    def receive(site: Site, value: Tensor) -> None:
        seen[site] = value[0].double().cpu().numpy()

    with (
        reading(model.sites, sites, receive),
        stopping_after(model.sites, max(directions.layers)),
    ):
        model.body(model.collate([prompt]))
    special = (True, *prompt.special[1:])
    return Scores(
        tuple(model.tokenizer.decode([token]) for token in prompt.input_ids),
        special,
        directions.emotions,
        directions.layers,
        directions.project(np.stack([seen[site] for site in sites], axis=1)),
    )
