"""`Steering`: what is done to the states of one row while it is written, as a relative dose."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from probekit.depth import middle_third
from probekit.directions import Directions
from probekit.edits import Add, Edit, Gate, Level, Operation, Positions, Response, Set
from probekit.errors import UserError, unknown
from probekit.models import Model
from probekit.sites import Site
from probekit.steering.scale import Scale, residual_scale

How = Literal["add", "clamp", "project_out", "replace"]
HOW = ("add", "clamp", "project_out", "replace")
MAX_DOSE = 2.0
Vector = NDArray[np.float32]
REPLY = Response()


@dataclass(frozen=True, eq=False)
class Part:
    """What is done at one site.

    Attributes:
        site, positions, gate, units: where.
        how: "add" number times vector, "set" to it, or set the coordinate along the vector to the
            number ("level").
        vector: `[width]` float32, of the site or its units.
        number: a length or a level.
    """

    site: Site
    how: Literal["add", "set", "level"]
    vector: Vector
    number: float
    positions: Positions = REPLY
    gate: Gate | None = None
    units: tuple[int, ...] | None = None


class Drive(ABC):
    """What is done to the states of one row while it is written.

    Attributes:
        fingerprint: of the model that it belongs to.
        idle: whether the row is as the model writes it.
    """

    @property
    @abstractmethod
    def fingerprint(self) -> str: ...

    @property
    @abstractmethod
    def idle(self) -> bool: ...

    @abstractmethod
    def parts(self) -> Iterator[Part]:
        """All that is done, site by site."""


@dataclass(frozen=True, eq=False)
class Steering(Drive):
    """A direction at one or several layers, how strongly, how, and at which tokens.

    Attributes:
        vectors: layer -> unit vector `[d]`.
        scale: of the model, the unit of the dose.
        dose: length of what is added over the median length of a neutral state, at each layer.
        how: "add" the vector at its dose; "clamp" the coordinate to what neutral texts have on
            average plus the dose; "project_out" the direction (the dose means nothing); "replace"
            the whole state by the vector at its dose.
        positions: "response" (default), "prompt", "all", or a `Response` with start and decay.
        gate: only tokens where a probe reads above a threshold.

    Raises:
        UserError: a dose that is no number, negative or above 2; no layer; another `how`.
    """

    vectors: Mapping[int, Vector]
    scale: Scale
    dose: float
    how: How = "add"
    positions: Positions = REPLY
    gate: Gate | None = None

    def __post_init__(self) -> None:
        checked_dose(self.dose)
        if self.how not in HOW:
            raise unknown("way of steering", self.how, HOW)
        if not self.vectors:
            raise UserError("steering at no layer: give at least one")
        for layer in self.vectors:
            self.scale.norm(layer)

    @classmethod
    def along(
        cls,
        model: Model,
        directions: Directions,
        emotion: str,
        dose: float,
        *,
        layers: Sequence[int] = (),
        **how: Any,
    ) -> "Steering":
        """Steer along an emotion's direction.

        Args:
            model: whose directions they are.
            directions: of a kind as wide as the residual stream.
            emotion: one of them.
            dose: see `Steering`.
            layers: default those of the middle third of depth that the directions have.
            how: `how`, `positions`, `gate`.

        Raises:
            UserError: directions of another model, or an emotion or layer that they lack.
        """
        directions.for_model(model)
        chosen = layers or default_layers(model, directions)
        vectors = {layer: directions.of(emotion, layer) for layer in chosen}
        return cls(vectors, residual_scale(model, directions.kind), dose, **how)

    @property
    def fingerprint(self) -> str:
        return self.scale.fingerprint

    @property
    def idle(self) -> bool:
        """Whether the row is as the model writes it: a dose of 0 changes nothing."""
        return self.dose == 0 and self.how != "project_out"

    def parts(self) -> Iterator[Part]:
        # Projecting out is clamping to 0: the two are one operation with levels of their own.
        levelled = self.how in ("clamp", "project_out")
        how = "level" if levelled else "add" if self.how == "add" else "set"
        for layer, vector in self.vectors.items():
            number = self.level(layer) if levelled else self.length(layer)
            site = Site(self.scale.kind, layer)
            yield Part(site, how, vector, number, self.positions, self.gate)

    @property
    def total(self) -> float:
        """The dose over all layers."""
        return self.dose * len(self.vectors)

    def at(self, dose: float) -> "Steering":
        """The same at another dose."""
        return replace(self, dose=dose)

    def random(self, seed: int) -> "Steering":
        """The control: random directions of the same lengths, drawn for the seed and the layer."""
        drawn = {}
        for layer, vector in self.vectors.items():
            made = np.random.default_rng([seed, layer]).standard_normal(len(vector))
            drawn[layer] = (made / np.linalg.norm(made)).astype(np.float32)
        return replace(self, vectors=drawn)

    def length(self, layer: int) -> float:
        """How long the added vector is at a layer, in units of the states."""
        return self.dose * self.scale.norm(layer)

    def level(self, layer: int) -> float:
        """The coordinate that "clamp" sets: that of the mean neutral state, plus the dose."""
        if self.how == "project_out":
            return 0.0
        mean = float(self.scale.means[layer].astype(np.float64) @ self.vectors[layer])
        return mean + self.length(layer)

    def explain(self) -> str:
        """What is done, in words."""
        layers = ", ".join(map(str, sorted(self.vectors)))
        word = "layer" if len(self.vectors) == 1 else "layers"
        total = f" (total {self.total:g})" if len(self.vectors) > 1 else ""
        what = {
            "add": f"dose {self.dose:g}{total} added",
            "clamp": f"coordinate held at dose {self.dose:g}{total} above neutral texts",
            "project_out": "direction projected out",
            "replace": f"state replaced by the direction at dose {self.dose:g}{total}",
        }[self.how]
        return f"{what} at {self.scale.kind}, {word} {layers}"


def default_layers(model: Model, directions: Directions) -> tuple[int, ...]:
    """Layers of the middle third of depth, or all that the directions have where they lack them."""
    middle = tuple(layer for layer in middle_third(model.n_layers) if layer in directions.layers)
    return middle or directions.layers


def checked_dose(dose: Any) -> float:
    """The dose as a number.

    Raises:
        UserError: one that is no number, negative or above 2.
    """
    try:
        number = float(dose)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number <= MAX_DOSE:
        raise UserError(
            f"dose {dose}: give a number from 0 to {MAX_DOSE:g}, the added length over the "
            "residual stream's; 0.05 to 0.2 is where models usually change and still write"
        )
    return number


def edits_of(model: Model, rows: Sequence[Drive | None]) -> list[Edit]:
    """Edits that do to each row of a batch what its own drive says.

    Rows that differ only in their numbers share an edit, so that a batch of many vectors costs
    what one vector costs.

    Raises:
        UserError: a drive of another model.
    """
    groups: dict[tuple[Any, ...], dict[int, Part]] = {}
    for row, drive in enumerate(rows):
        if drive is None or drive.idle:
            continue
        if drive.fingerprint != model.fingerprint:
            raise UserError(
                f"this steering is not of {model.name}: its doses and directions belong to "
                "another model; make it from directions of this one"
            )
        for part in drive.parts():
            key = (part.site, part.how, part.positions, part.gate, part.units)
            groups.setdefault(key, {})[row] = part
    return [
        Edit(site, positions, _operation(how, members), rows=tuple(members), gate=gate, units=units)
        for (site, how, positions, gate, units), members in groups.items()
    ]


def _operation(how: str, members: Mapping[int, Part]) -> Operation:
    """One operation with values `[row, width]`; rows that it does not reach hold ones."""
    width = len(next(iter(members.values())).vector)
    vectors, numbers = torch.ones(max(members) + 1, width), torch.ones(max(members) + 1)
    for row, part in members.items():
        vectors[row], numbers[row] = torch.from_numpy(part.vector), part.number
    if how == "level":
        return Level(vectors, numbers)
    scaled = vectors * numbers[:, None]
    return Add(scaled) if how == "add" else Set(scaled, "given values")
