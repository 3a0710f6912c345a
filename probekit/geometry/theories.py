"""What theories of emotion say of how far apart two emotions are."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from probekit.errors import UserError
from probekit.stimuli import Taxonomy
from probekit.stimuli.taxonomy import TAXONOMIES, affect_norms

Floats = NDArray[np.float64]
BASIC = 2
"""The level of Plutchik's basic emotions, the middle ring of his wheel."""


def norms(labels: Sequence[str]) -> Floats:
    """Mean valence and arousal `[label, 2]` of the labels as words, on 1 to 9.

    The means are those of Warriner, Kuperman & Brysbaert (2013); see `affect_norms.json`.

    Raises:
        UserError: a label is not among the words with norms.
    """
    known = affect_norms()
    if missing := [label for label in labels if label not in known]:
        raise UserError(
            f"no published valence and arousal for {', '.join(map(repr, missing))}: name emotions "
            "by words of the taxonomies (stimuli/taxonomies/affect_norms.json lists them)"
        )
    return np.array([known[label][:2] for label in labels])


def circumplex(labels: Sequence[str]) -> Floats:
    """Distance `[label, label]` in the plane of valence and arousal (Russell 1980)."""
    return _distance(norms(labels))


def valence(labels: Sequence[str]) -> Floats:
    """Difference of valence `[label, label]`."""
    return _distance(norms(labels)[:, :1])


def arousal(labels: Sequence[str]) -> Floats:
    """Difference of arousal `[label, label]`."""
    return _distance(norms(labels)[:, 1:])


def wheel(labels: Sequence[str]) -> Floats:
    """Degrees `[label, label]` between two emotions on Plutchik's wheel, 0 to 180.

    Labels of other taxonomies stand where their maps put them; the ring of an emotion (how intense
    it is) does not count.

    Raises:
        UserError: a label has no place on the wheel.
    """
    plutchik = Taxonomy.load("plutchik")
    # The file lists the basic emotions in the order of the wheel.
    order = [name for name in plutchik.labels if plutchik.levels[name] == BASIC]
    angle = np.array([order.index(_basic(label)) for label in labels]) * 360.0 / len(order)
    gap = np.abs(angle[:, None] - angle[None])
    return np.minimum(gap, 360 - gap)


def opposites(labels: Sequence[str]) -> Floats:
    """1 for two emotions that face each other on Plutchik's wheel, 0 for others.

    Raises:
        UserError: a label has no place on the wheel, or no two labels face each other.
    """
    facing = (wheel(labels) == 180).astype(np.float64)
    if not facing.any():
        raise UserError(f"of {', '.join(labels)} no two are opposite on Plutchik's wheel")
    return facing


THEORIES: Mapping[str, Callable[[Sequence[str]], Floats]] = {
    "circumplex": circumplex,
    "valence": valence,
    "arousal": arousal,
    "wheel": wheel,
    "opposites": opposites,
}


def _distance(points: Floats) -> Floats:
    return np.sqrt(((points[:, None] - points[None]) ** 2).sum(-1))


def _basic(label: str) -> str:
    """Plutchik's basic emotion of a label of any taxonomy."""
    plutchik = Taxonomy.load("plutchik")
    for name in dict.fromkeys(("plutchik", "probekit", *TAXONOMIES)):
        try:
            return plutchik.root(Taxonomy.load(name).to("plutchik", label))
        except UserError:
            continue
    raise UserError(f"{label!r} has no place on Plutchik's wheel: leave out theories of the wheel")
