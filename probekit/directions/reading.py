"""A text read token by token along directions, beside what means nothing.

Two controls. *Neutral texts*: what the first tokens of neutral texts, as many as the text has,
reach along the same direction. *Random directions*: what the text itself reaches along directions
that were drawn, each standardised by neutral tokens like the others. A mean is said to stand out
only if it lies outside of both.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from probekit.directions.pieces import Piece, pieces
from probekit.directions.reference import Band, Reference, text_scores
from probekit.errors import UserError, unknown
from probekit.models import Model

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Reading:
    """A text's scores, in standard deviations of tokens in neutral texts.

    Attributes:
        text: as it was given.
        emotions: `[emotion]`.
        pieces: stretches that cover it; several tokens of one character are one piece.
        values: `[piece, emotion]`, the mean over a piece's tokens; NaN where none is scored.
        random: `[piece]`, the same along one random direction, the first that was drawn.
        means: `[emotion]`, over the text's scored tokens.
        neutral_bands: `[emotion]`, of means of neutral texts cut to this length.
        random_band: of this text's means along random directions.
        token_band: of its single tokens along random directions.
        n_tokens: how many were scored: the first, and special ones, are not.
        reference: what the scores are measured by.
    """

    text: str
    emotions: tuple[str, ...]
    pieces: tuple[Piece, ...]
    values: Floats
    random: Floats
    means: Floats
    neutral_bands: tuple[Band, ...]
    random_band: Band
    token_band: Band
    n_tokens: int
    reference: Reference

    @property
    def n_random(self) -> int:
        """How many random directions make the bands."""
        return len(self.reference.panel.emotions) - len(self.reference.directions.emotions)

    def only(self, emotions: Sequence[str]) -> "Reading":
        """The scores of some emotions, in the order given; the controls stay those of all.

        Raises:
            UserError: an emotion that is not there.
        """
        for name in emotions:
            if name not in self.emotions:
                raise unknown("emotion", name, self.emotions)
        kept = [self.emotions.index(name) for name in dict.fromkeys(emotions)]
        return replace(
            self,
            emotions=tuple(self.emotions[place] for place in kept),
            values=self.values[:, kept],
            means=self.means[kept],
            neutral_bands=tuple(self.neutral_bands[place] for place in kept),
        )

    def side(self, emotion: int) -> int:
        """1 where an emotion's mean is above both controls, −1 below both, else 0."""
        mean = float(self.means[emotion])
        sides = {self.random_band.side(mean), self.neutral_bands[emotion].side(mean)}
        return sides.pop() if len(sides) == 1 else 0

    def ranked(self) -> list[int]:
        """Places of the emotions, the highest mean first."""
        return [int(place) for place in np.argsort(-self.means, kind="stable")]

    def strongest(self, emotion: int, k: int) -> list[int]:
        """Places of the pieces that score highest for an emotion, at most `k`, highest first."""
        scored = np.flatnonzero(~np.isnan(self.values[:, emotion]))
        order = np.argsort(-self.values[scored, emotion], kind="stable")
        return [int(place) for place in scored[order][:k]]


def read_text(model: Model, reference: Reference, text: str) -> Reading:
    """Score every token of a text along the reference's directions, at its layer.

    Raises:
        UserError: no text, one that is longer than the context, or one without a token beside the
            first; directions of another model.
    """
    if not text.strip():
        raise UserError("the text is empty: give some words, or a file that holds them")
    prompt, scored, raw = text_scores(model, reference.panel, text, reference.template)
    if not scored:
        raise UserError(
            "the text is one token, and a prompt's first token is left out (its norm is many times "
            "the others'): give a longer text"
        )
    n_emotions = len(reference.directions.emotions)
    own, random = np.split(reference.standardise(raw), [n_emotions], axis=1)
    stretches = tuple(pieces(prompt, text))
    return Reading(
        text=text,
        emotions=reference.directions.emotions,
        pieces=stretches,
        values=_by_piece(stretches, scored, own),
        random=_by_piece(stretches, scored, random[:, :1])[:, 0],
        means=own.mean(0),
        neutral_bands=reference.bands(len(scored)),
        random_band=Band.of(random.mean(0)),
        token_band=Band.of(random),
        n_tokens=len(scored),
        reference=reference,
    )


def _by_piece(stretches: tuple[Piece, ...], scored: list[int], scores: Floats) -> Floats:
    """Means `[piece, direction]` over each piece's scored tokens, NaN where it has none."""
    row = {token: number for number, token in enumerate(scored)}
    out = np.full((len(stretches), scores.shape[1]), np.nan)
    for number, piece in enumerate(stretches):
        if rows := [row[token] for token in piece.tokens if token in row]:
            out[number] = scores[rows].mean(0)
    return out
