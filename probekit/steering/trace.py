"""What was written, read token by token without steering along an emotion's direction."""

from collections.abc import Sequence
from dataclasses import dataclass

from probekit.directions import Directions, Reference, read_text
from probekit.directions.pieces import written
from probekit.directions.sources import neutral_texts
from probekit.models import Model


@dataclass(frozen=True)
class Trace:
    """Scores in standard deviations of neutral tokens.

    Attributes:
        mean: over tokens.
        tokens: each piece of text with its score, in their order.
    """

    mean: float
    tokens: tuple[tuple[str, float], ...]


def trace(
    model: Model, directions: Directions, emotion: str, layer: int, texts: Sequence[str]
) -> list[Trace | None]:
    """Read texts along one emotion; None for one without a token that can be scored.

    The steered model's own states hold the added vector and would say no more than that it was
    added; so the model reads without steering.
    """
    reference = Reference.measure(model, directions, neutral_texts(), layer)
    return [_traced(model, reference, emotion, text.strip()) for text in texts]


def _traced(model: Model, reference: Reference, emotion: str, text: str) -> Trace | None:
    if len(text.split()) < 2:
        return None
    reading = read_text(model, reference, text).only([emotion])
    pieces = [
        (written(reading.text[piece.start : piece.end]), float(value))
        for piece, value in zip(reading.pieces, reading.values[:, 0], strict=True)
        if value == value  # The first token is not scored.
    ]
    return Trace(float(reading.means[0]), tuple(pieces))
