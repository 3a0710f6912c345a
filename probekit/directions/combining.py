"""Arithmetic of directions: what may be combined, and what the result is called.

Raw vectors are combined, each at its own length, and the result is scaled to length one again:
`a + b`, `2 * a` and `a.blend(...)` agree with the arithmetic of vectors in the stream.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from probekit.errors import UserError

if TYPE_CHECKING:
    from probekit.directions.artefact import Directions

Floats = NDArray[np.float64]
CANCELLED = 1e-6
"""Vectors are float32: of a sum that is this small beside its parts only rounding is left."""


def paired(
    mine: "Directions", theirs: "Directions", word: Literal["sum", "difference"]
) -> "Directions":
    """Sum or difference, emotion by emotion and layer by layer.

    Raises:
        UserError: directions of another model, site, shape or kind of norm, or a result of
            length zero.
    """
    check_alike(mine, theirs)
    if mine.norm != theirs.norm:
        raise UserError(
            f"directions with norms of different kinds, {mine.norm} and {theirs.norm}: combine "
            "those of one"
        )
    labels: dict[str, Any] = {
        name: _joined(getattr(mine, name), getattr(theirs, name))
        for name in ("pooling", "source", "arm")
    }
    if mine.template != theirs.template:
        name = _joined(mine.template["name"], theirs.template["name"])
        labels["template"] = {"name": name, "pattern": None}
    if mine.stimuli != theirs.stimuli:
        labels["stimuli"] = {"of": [mine.stimuli, theirs.stimuli]}
    labels["residual_norms"] = _agreed(mine.residual_norms, theirs.residual_norms)
    options = {"of": [origin(mine), origin(theirs)]}
    raw = mine.raw + theirs.raw if word == "sum" else mine.raw - theirs.raw
    floor = np.maximum(mine.norms, theirs.norms)
    return _renewed(mine, raw, floor, mine.emotions, estimator=word, options=options, **labels)


def blended(directions: "Directions", shares: Mapping[str, float]) -> "Directions":
    """One direction: the sum of some emotions' raw vectors, each times its share.

    Raises:
        UserError: an emotion that is not there, none, or a result of length zero.
    """
    if not shares:
        raise UserError(f"a blend of nothing: give shares of {', '.join(directions.emotions)}")
    rows = [directions.place(emotion, directions.layers[0])[0] for emotion in shares]
    weights = np.array(list(shares.values()), dtype=np.float64)
    raw = np.einsum("e,eld->ld", weights, directions.raw[rows])[None]
    floor = (np.abs(weights)[:, None] * directions.norms[rows]).max(0)[None]
    name = " + ".join(f"{share:g} {emotion}" for emotion, share in shares.items())
    options = {"shares": dict(shares), "of": origin(directions)}
    return _renewed(directions, raw, floor, (name,), estimator="blend", options=options)


def origin(directions: "Directions") -> dict[str, Any]:
    """How directions came about, for what is made of them."""
    told = directions.describe()
    own = ("source", "arm", "pooling", "estimator", "options", "template", "stimuli")
    return {name: told[name] for name in own}


def check_alike(mine: "Directions", theirs: "Directions", *, emotions: bool = True) -> None:
    """Raise a `UserError` unless both are of one model, kind of site, and shape."""
    sides = (mine, theirs)
    checks = {
        "models": [str(side.model) for side in sides],
        "sites": [side.kind for side in sides],
        "layers": [", ".join(map(str, side.layers)) for side in sides],
        "emotions": [", ".join(side.emotions) for side in sides] if emotions else ["", ""],
    }
    if mine.model.fingerprint == theirs.model.fingerprint:
        del checks["models"]  # The same weights may have come under two names.
    for what, (left, right) in checks.items():
        if left != right:
            raise UserError(
                f"directions of different {what} ({left}; {right}): combine those of one"
            )


def _renewed(
    directions: "Directions", raw: Floats, floor: Floats, emotions: tuple[str, ...], **labels: Any
) -> "Directions":
    """New raw vectors under these labels, scaled to length one."""
    norms = np.linalg.norm(raw, axis=-1)
    zero = norms <= CANCELLED * floor
    if zero.any():
        row, place = np.argwhere(zero)[0]
        raise UserError(
            f"the result for {emotions[row]} at layer {directions.layers[place]} has length zero: "
            "the vectors cancel"
        )
    unit = (raw / norms[..., None]).astype(np.float32)
    return replace(directions, vectors=unit, norms=norms, emotions=emotions, **labels)


def _agreed(mine: tuple[float, ...], theirs: tuple[float, ...]) -> tuple[float, ...]:
    """Lengths of the states, which are the model's and not the directions': whichever side has
    them; none where the two differ, as when they were measured around other templates."""
    if mine and theirs and mine != theirs:
        return ()
    return mine or theirs


def _joined(mine: str, theirs: str) -> str:
    return mine if mine == theirs else f"{mine} | {theirs}"
