"""`Directions`: vectors of unit length with all that says what they are; arithmetic; one file.

A file is safetensors: `vectors` (float32) and `norms` (float64), everything else as JSON in its
header. Anything that reads safetensors reads it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from probekit.directions import combining
from probekit.directions.identity import Identity
from probekit.errors import UserError, unknown
from probekit.models import Model
from probekit.runs import atomic_write
from probekit.shown import card, counted, numbered
from probekit.sites import KINDS, Kind
from probekit.store import Activations, ActivationStore

FORMAT = "probekit-directions-1"
Floats = NDArray[np.float64]
Norm = Literal["distance", "weights", "none"]
"""What a raw norm is: a distance between means in the units of the states, the length of a
reader's weights, or nothing."""


@dataclass(frozen=True, eq=False)
class Directions:
    """One direction for every emotion at every layer of one kind of site of one model.

    Attributes:
        vectors: `[emotion, layer, d]` float32, each of length one.
        norms: `[emotion, layer]` float64, the raw lengths; `norm` says of what.
        emotions: `[emotion]`.
        layers: `[layer]`, numbers of the layers.
        kind: of the site, such as "resid_post".
        pooling: of the states, such as "mean".
        source: what the states were of: "reading", "expressing", "stories".
        arm: of the texts, "" where they have none.
        estimator: its name; "sum", "difference" or "blend" after arithmetic.
        options: of the estimator; after arithmetic, what went into it.
        norm: "distance" (between means, in units of the states), "weights" (of a reader), "none".
        model: whose directions they are.
        template: name and pattern of the prompt around each text.
        stimuli: name, sha256 and number of rows of the texts.
        residual_norms: `[layer]`, median length of neutral states at the site, the unit of a dose
            (`probekit.steering.with_scale` fills it); empty where it was not measured.

    Raises:
        UserError: shapes that do not fit the labels, or a vector that is not of length one.
    """

    vectors: NDArray[np.float32]
    norms: Floats
    emotions: tuple[str, ...]
    layers: tuple[int, ...]
    kind: Kind
    pooling: str
    source: str
    arm: str
    estimator: str
    options: Mapping[str, Any]
    norm: Norm
    model: Identity
    template: Mapping[str, Any]
    stimuli: Mapping[str, Any]
    residual_norms: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown("site", self.kind, KINDS)
        shape = (len(self.emotions), len(self.layers))
        if self.vectors.shape[:2] != shape or self.norms.shape != shape or self.vectors.ndim != 3:
            raise UserError(
                f"vectors {self.vectors.shape} and norms {self.norms.shape} for "
                f"{shape[0]} emotions and {shape[1]} layers: give [emotion, layer, d] and "
                "[emotion, layer]"
            )
        length = np.linalg.norm(self.vectors.astype(np.float64), axis=-1)
        if not bool((np.abs(length - 1) < 1e-4).all()):
            raise UserError("directions are vectors of length one: divide each by its norm")
        settle = object.__setattr__
        settle(self, "emotions", tuple(map(str, self.emotions)))
        settle(self, "layers", tuple(map(int, self.layers)))
        lengths = tuple(map(float, self.residual_norms))
        settle(self, "residual_norms", lengths)
        good = len(lengths) == shape[1] and all(0 < length < np.inf for length in lengths)
        if lengths and not good:
            raise UserError(
                f"residual norms {lengths} for {shape[1]} layers: give one positive length for "
                "each layer, or none"
            )
        # What a file gives back: JSON's lists and numbers.
        for name in ("options", "template", "stimuli"):
            settle(self, name, json.loads(json.dumps(getattr(self, name))))

    def __repr__(self) -> str:
        size = f"{len(self.emotions)} emotions, {len(self.layers)} layers of {self.kind}"
        return f"Directions({size}, {self.estimator}, {self.model.name})"

    def _repr_html_(self) -> str:
        facts = {
            "emotions": counted(self.emotions),
            "layers": numbered(self.layers),
            "site": f"{self.kind}, {self.pooling}",
            "source": ", ".join(filter(None, (self.source, self.arm, self.stimuli.get("name")))),
            "mean raw norm": ""
            if self.norm == "none"
            else f"{self.norms.mean():.3g} ({self.norm})",
            "model": self.model,
        }
        return card(f"Directions ({self.estimator})", facts)

    @property
    def raw(self) -> Floats:
        """`[emotion, layer, d]`, each vector at its raw length."""
        return self.vectors * self.norms[..., None]

    def of(self, emotion: str, layer: int) -> NDArray[np.float32]:
        """The unit vector `[d]` of an emotion at a layer, by name and number.

        Raises:
            UserError: an emotion or layer that is not there.
        """
        row, place = self.place(emotion, layer)
        return self.vectors[row, place]

    def place(self, emotion: str, layer: int) -> tuple[int, int]:
        """Where an emotion and a layer stand in the arrays."""
        if emotion not in self.emotions:
            raise unknown("emotion", emotion, self.emotions)
        if layer not in self.layers:
            raise unknown("layer", layer, self.layers)
        return self.emotions.index(emotion), self.layers.index(layer)

    # Arithmetic

    def __add__(self, other: "Directions") -> "Directions":
        """Sum of the raw vectors, emotion by emotion and layer by layer."""
        return combining.paired(self, other, "sum")

    def __sub__(self, other: "Directions") -> "Directions":
        """Difference of the raw vectors, emotion by emotion and layer by layer."""
        return combining.paired(self, other, "difference")

    def __mul__(self, factor: float) -> "Directions":
        """Raw norms times a number; a negative one turns the vectors round."""
        if not (np.isfinite(factor) and factor != 0):
            raise UserError(f"directions times {factor}: give a number that is not zero")
        sign = np.float32(np.sign(factor))
        return replace(self, vectors=self.vectors * sign, norms=self.norms * abs(factor))

    __rmul__ = __mul__

    def __neg__(self) -> "Directions":
        return self * -1.0

    def blend(self, shares: Mapping[str, float]) -> "Directions":
        """One direction: the sum of some emotions' raw vectors, each times its share.

        Args:
            shares: such as `{"joy": 0.7, "fear": 0.3}`; the result's emotion is then called
                "0.7 joy + 0.3 fear".

        Raises:
            UserError: an emotion that is not there, none, or a sum of length zero.
        """
        return combining.blended(self, shares)

    def cosine(self, other: "Directions") -> Floats:
        """`[emotion, emotion, layer]`: cosines with another's directions, its emotions second.

        Raises:
            UserError: directions of another model, site, or other layers.
        """
        combining.check_alike(self, other, emotions=False)
        mine, theirs = self.vectors.astype(np.float64), other.vectors.astype(np.float64)
        return np.einsum("ald,bld->abl", mine, theirs)

    def project(
        self,
        states: Activations | ActivationStore | NDArray[Any],
        *,
        pooling: str | None = None,
    ) -> Floats:
        """Scores `[item, emotion, layer]`: states times unit vectors, in the states' units.

        Args:
            states: captured activations, or `[item, layer, d]` with the layers of these directions.
            pooling: of captured activations (default: that of these directions).

        Raises:
            UserError: a store of another model, a layer that was not captured, another shape.
        """
        if isinstance(states, ActivationStore):
            if states.header["key"]["model"] != self.model.fingerprint:
                raise UserError(
                    f"{states.folder} holds activations of another model than {self.model}: "
                    "capture them on it"
                )
            states = states.load(self.kind, pooling or self.pooling)
        if isinstance(states, Activations):
            given = states
            columns = [given.layer(self.kind, n, pooling or self.pooling) for n in self.layers]
            states = np.stack(columns, axis=1)
        array = np.asarray(states)
        if array.ndim != 3 or array.shape[1:] != self.vectors.shape[1:]:
            raise UserError(
                f"states of shape {array.shape}: give [item, {len(self.layers)} layers, "
                f"{self.vectors.shape[2]}]"
            )
        scores = [
            array[:, place].astype(np.float64) @ self.vectors[:, place].T.astype(np.float64)
            for place in range(len(self.layers))
        ]
        return np.stack(scores, axis=-1)

    def peer(self, seed: int) -> "Directions":
        """Random directions with the same labels and norms: what to compare these with.

        Draws are keyed by seed, layer number and emotion's place, so that a layer's peer does not
        depend on which other layers are there.
        """
        shape = (len(self.emotions), self.vectors.shape[2])
        drawn = np.stack(
            [np.random.default_rng([seed, n]).standard_normal(shape) for n in self.layers], axis=1
        )
        unit = drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)
        made = {"seed": seed, "norms_of": combining.origin(self)}
        vectors = unit.astype(np.float32)
        return replace(self, vectors=vectors, estimator="random", options=made)

    # Whose they are

    def for_model(self, model: Model) -> "Directions":
        """These directions, if they are the model's own.

        Raises:
            UserError: another model, or the same in another dtype.
        """
        self.model.require(
            model,
            "directions of {own} are not those of {here}: extract them on this model, or load the "
            "one they are of, in its dtype",
        )
        return self

    def describe(self) -> dict[str, Any]:
        """All labels, JSON-able, for a manifest and the header of a file."""
        labels = {f.name: getattr(self, f.name) for f in fields(self)}
        del labels["vectors"], labels["norms"]
        return {**labels, "model": asdict(self.model)}

    def save(self, path: str | Path) -> None:
        """Write one safetensors file; on return it is whole, on disk, and gives the same back."""
        arrays = {"vectors": np.ascontiguousarray(self.vectors), "norms": self.norms.copy()}
        # One entry: safetensors writes several in random order, and bytes must repeat.
        told = {"format": FORMAT, **self.describe()}
        header = {"directions": json.dumps(told, sort_keys=True, ensure_ascii=False)}
        with atomic_write(Path(path)) as temporary:
            save_file(arrays, temporary, metadata=header)

    @classmethod
    def load(cls, path: str | Path, model: Model | None = None) -> "Directions":
        """Read what `save` wrote.

        Args:
            model: refuse directions of another one.

        Raises:
            UserError: no such file, no directions in it, another format, another model.
        """
        if not Path(path).is_file():
            raise UserError(f"{path} is no file: give one that Directions.save wrote")
        try:
            with safe_open(path, framework="numpy") as file:
                told = json.loads((file.metadata() or {})["directions"])
                arrays = {name: file.get_tensor(name) for name in ("vectors", "norms")}
        except (SafetensorError, KeyError, ValueError) as error:
            raise UserError(f"{path} holds no directions: give what Directions.save wrote") from (
                error
            )
        if (found := told.pop("format", None)) != FORMAT:
            raise UserError(f"{path} has the format {found!r}, this version reads {FORMAT!r}")
        loaded = cls(**arrays, **{**told, "model": Identity(**told["model"])})
        return loaded if model is None else loaded.for_model(model)
