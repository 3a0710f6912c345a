"""Modulation: an emotion is brought about through a circuit alone.

At each component the emotion's effect on its activation (the group-centred mean difference) is
added while the model writes, at the inputs of W_O and W_down, times a dose of about 1. The control
does the same through as many random components of the same sublayers, with what is added scaled so
that it writes a vector of the same length to the stream.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probekit.circuits.circuit import Circuit, random_like
from probekit.circuits.components import (
    Component,
    Values,
    by_site,
    columns,
    written_by,
)
from probekit.edits import Positions
from probekit.errors import UserError
from probekit.models import Model
from probekit.runs import digest
from probekit.sites import Site
from probekit.steering import Drive, Method, Part
from probekit.steering.methods import Prompted
from probekit.steering.steering import REPLY

Vector = NDArray[np.float32]
SCALES = (0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True, eq=False)
class Modulation(Drive):
    """Vectors added to, or put in place of, the activations of some units.

    Attributes:
        vectors: site -> units, and `[width of the units]` what is added or set.
        model: fingerprint of the model.
        dose: what is added is multiplied by it.
        how: "add", or "set" (an ablation; the dose then means nothing and is 1).
        positions: at which tokens.
    """

    vectors: Mapping[Site, tuple[tuple[int, ...], Vector]]
    model: str
    dose: float = 1.0
    how: Any = "add"
    positions: Positions = REPLY

    def __post_init__(self) -> None:
        if not (np.isfinite(self.dose) and self.dose >= 0):
            raise UserError(f"dose {self.dose} of a modulation: give 0 or a positive number")

    @property
    def fingerprint(self) -> str:
        return self.model

    @property
    def idle(self) -> bool:
        return not self.vectors or (self.how == "add" and self.dose == 0)

    def parts(self) -> Iterator[Part]:
        for site, (units, vector) in self.vectors.items():
            yield Part(site, self.how, vector, self.dose, self.positions, units=units)


def modulate(model: Model, circuit: Circuit, effects: Values, dose: float = 1.0) -> Modulation:
    """Add an emotion's effects through a circuit.

    Args:
        effects: kind -> `[layer, width]`, of the emotion.

    Raises:
        UserError: a circuit of another model, or a negative dose.
    """
    circuit.for_model(model)
    return Modulation(_cut(model, circuit.components, effects), model.fingerprint, dose)


def random_modulation(
    model: Model, circuit: Circuit, effects: Values, dose: float, seed: int
) -> Modulation:
    """The control: random components of the same sublayers, that write as much to the stream."""
    circuit.for_model(model)
    own = _cut(model, circuit.components, effects)
    drawn = random_like(model, circuit.components, seed, without=circuit.components)
    other = _cut(model, drawn, effects)
    scaled = {}
    for site, (units, vector) in other.items():
        length, wanted = (_length(model, site, *given) for given in ((units, vector), own[site]))
        factor = wanted / length if length else 0.0
        scaled[site] = (units, (vector * factor).astype(np.float32))
    return Modulation(scaled, model.fingerprint, dose)


def _cut(
    model: Model, components: Sequence[Component], values: Values
) -> dict[Site, tuple[tuple[int, ...], Vector]]:
    return {
        site: (
            units,
            values[site.kind][site.layer][columns(model, site, units)].astype(np.float32),
        )
        for site, units in by_site(components).items()
    }


def _length(model: Model, site: Site, units: tuple[int, ...], vector: Vector) -> float:
    """Of what units write to the stream."""
    return float(np.linalg.norm(vector @ written_by(model, site, units)))


@dataclass(frozen=True)
class Modulated(Method):
    """A way to make a model express an emotion: through its circuit.

    Attributes:
        model: the model.
        circuits: emotion -> circuit.
        effects: emotion -> kind -> `[layer, width]`.
        scales: its doses.
        seed: of the control's components; None: the circuit itself.
    """

    model: Model
    circuits: Mapping[str, Circuit]
    effects: Mapping[str, Values]
    scales: tuple[float, ...] = SCALES
    seed: int | None = None
    dosed = True

    @property
    def doses(self) -> tuple[float, ...]:
        return self.scales

    def steering(self, emotion: str, dose: float | None) -> Drive:
        if dose is None:
            raise UserError(f"{self.name} needs a dose: give one, such as 1")
        circuit, effects = self.circuits[emotion], self.effects[emotion]
        if self.seed is None:
            return modulate(self.model, circuit, effects, dose)
        return random_modulation(self.model, circuit, effects, dose, self.seed)

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), **_told(self.circuits, self.effects, self.seed)}


@dataclass(frozen=True, kw_only=True)
class Ablated(Prompted):
    """The model is asked for the emotion while components are held at what neutral texts have.

    Attributes:
        model: the model.
        circuits: emotion -> circuit.
        neutral: kind -> `[layer, width]`.
        seed: of random components of the same sublayers; None: the circuit itself.
    """

    model: Model
    circuits: Mapping[str, Circuit]
    neutral: Values
    seed: int | None = None

    def steering(self, emotion: str, dose: float | None) -> Drive:
        del dose
        components = self.circuits[emotion].for_model(self.model).components
        if self.seed is not None:
            components = random_like(self.model, components, self.seed, without=components)
        held = _cut(self.model, components, self.neutral)
        return Modulation(held, self.model.fingerprint, how="set", positions="after_first")

    def describe(self) -> dict[str, Any]:
        told = _told(self.circuits, {"neutral": self.neutral}, self.seed)
        return {**super().describe(), **told}


def _told(
    circuits: Mapping[str, Circuit], values: Mapping[str, Values], seed: int | None
) -> dict[str, Any]:
    """What tells a method through circuits from any other."""
    sums = hashlib.sha256()
    for name, each in sorted(values.items()):
        for kind, array in sorted(each.items()):
            sums.update(f"{name} {kind}".encode() + np.ascontiguousarray(array).tobytes())
    parts = {name: [str(c) for c in each.components] for name, each in circuits.items()}
    return {"circuits": digest(parts)[:24], "values": sums.hexdigest()[:24], "draw": seed}
