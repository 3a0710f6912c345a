"""From states to directions: checks, options around any estimator, unit length.

1. States are checked: finite, as many as the design's items, not all alike at a layer.
2. `neutral_components`: leading principal components of neutral items are projected out.
3. `whiten`: states go into coordinates in which the spread within classes is the same everywhere.
4. The estimator; its vectors are mapped back to the coordinates of the states.
5. Each vector is scaled to unit length; its raw norm is kept. A norm of zero is refused.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from probekit.directions.artefact import Directions, Norm
from probekit.directions.design import NEUTRAL, Design
from probekit.directions.estimators import ESTIMATORS, WEIGHTS, States
from probekit.directions.frame import Frame
from probekit.directions.identity import Identity
from probekit.errors import UserError, unknown
from probekit.models import Model
from probekit.prompts import NO_TEMPLATE, Template
from probekit.sites import Kind, Site
from probekit.stimuli import StimulusSet
from probekit.store import Activations, ActivationStore

Floats = NDArray[np.float64]
Source = Literal["reading", "expressing", "stories"]
ROUNDING = 1e-9


@dataclass(frozen=True)
class Estimate:
    """Vectors of unit length `[emotion, layer, d]` and their raw norms `[emotion, layer]`."""

    emotions: tuple[str, ...]
    vectors: Floats
    norms: Floats


def estimate(
    states: States,
    design: Design,
    estimator: str = "grouped",
    *,
    neutral_components: float | None = None,
    whiten: bool = False,
    layers: Sequence[int] | None = None,
    **options: Any,
) -> Estimate:
    """Directions of every emotion at every layer.

    Args:
        states: `[item, layer, d]`.
        design: labels of the items.
        estimator: a name of `ESTIMATORS`.
        neutral_components: share of the neutral items' variance whose leading components are
            projected out of states and vectors, at each layer by itself; see `leading`.
        whiten: estimate where the shrunk within-class covariance is the identity, and give the
            vectors that read the same scores off the states as they are. `mean` becomes a linear
            discriminant so; raw norms are those of weights.
        layers: numbers of the layers, for messages (default: their places).
        options: of the estimator, such as `C`, `components` or `seed`.

    Raises:
        UserError: NaN, too few items or groups, unmatched arms, emotions confounded with
            scenarios, an unknown estimator or option, a vector of length zero.
    """
    states = np.asarray(states)
    numbers = list(layers) if layers is not None else list(range(states.shape[1]))
    _check_states(states, design, numbers)
    _check_options(estimator, options)
    frame = Frame(states, design, neutral_components, whiten)
    raw = frame.back(ESTIMATORS[estimator](frame.states, design, **options))
    norms = np.linalg.norm(raw, axis=-1)
    _refuse_zero(norms, design.emotions, numbers)
    return Estimate(design.emotions, raw / norms[..., None], norms)


def extract(
    model: Model,
    stimuli: StimulusSet,
    activations: Activations | ActivationStore,
    *,
    kind: Kind = "resid_post",
    pooling: str = "mean",
    template: Template = NO_TEMPLATE,
    source: Source = "reading",
    by_valence: bool = False,
    estimator: str = "grouped",
    neutral_components: float | None = None,
    whiten: bool = False,
    **options: Any,
) -> Directions:
    """`Directions` from captured activations of a set, or of a larger set that it is part of.

    Args:
        model: the model that was read.
        stimuli: the rows that are used; their states are found by id.
        activations: from `capture`.
        kind, pooling: which of the captured states; every captured layer is used.
        template: the prompt around each text in the capture.
        source: what the states are of: "reading" a text, "expressing" an emotion while replying,
            or "stories" that the model wrote.
        by_valence: see `Design.of`.
        estimator, neutral_components, whiten, options: see `estimate`.

    Raises:
        UserError: as `estimate`; a text without captured states; a store of another model or
            template.
    """
    states, layers = _states(model, stimuli, activations, kind, pooling, template)
    found = estimate(
        states,
        Design.of(stimuli, by_valence=by_valence),
        estimator,
        neutral_components=neutral_components,
        whiten=whiten,
        layers=layers,
        **options,
    )
    arms = sorted(set(stimuli.column("arm")) - {NEUTRAL, ""})
    return Directions(
        vectors=found.vectors.astype(np.float32),
        norms=found.norms,
        emotions=found.emotions,
        layers=layers,
        kind=kind,
        pooling=pooling,
        source=source,
        arm=" ".join(map(str, arms)),
        estimator=estimator,
        options={
            "by_valence": by_valence,
            "neutral_components": neutral_components,
            "whiten": whiten,
            **_defaults(estimator),
            **options,
        },
        norm=_norm(estimator, whiten),
        model=Identity.of(model),
        template=template.describe(),
        stimuli=stimuli.describe(),
    )


def _check_states(states: States, design: Design, layers: Sequence[int]) -> None:
    """Refuse states that are not finite, not the design's, or all alike at a layer."""
    if states.ndim != 3 or len(states) != len(design) or states.shape[1] != len(layers):
        raise UserError(
            f"states of shape {states.shape} for {len(design)} items and {len(layers)} layers: "
            "give [item, layer, d]"
        )
    for place, layer in enumerate(layers):
        here = states[:, place]
        if not np.isfinite(here).all():
            item, column = np.argwhere(~np.isfinite(here))[0]
            raise UserError(
                f"NaN or infinity in the states of item {item}, layer {layer}, dimension {column}: "
                "leave the item out, or capture it in bfloat16 or float32"
            )
        if np.ptp(here, axis=0).max() <= np.finfo(np.float32).eps * np.abs(here).max():
            raise UserError(
                f"layer {layer}: the states of all items are the same, to rounding: choose another "
                "pooling or site"
            )


def _check_options(estimator: str, options: Mapping[str, Any]) -> None:
    if estimator not in ESTIMATORS:
        raise unknown("estimator", estimator, list(ESTIMATORS))
    accepted = _defaults(estimator)
    if strange := [name for name in options if name not in accepted]:
        own = ", ".join(accepted) or "none"
        raise UserError(f"unknown option {strange[0]!r} of {estimator}: it has {own}")


def _defaults(estimator: str) -> dict[str, Any]:
    """Options of an estimator with their defaults."""
    given = inspect.signature(ESTIMATORS[estimator]).parameters.values()
    return {p.name: p.default for p in given if p.kind is p.KEYWORD_ONLY}


def _refuse_zero(norms: Floats, emotions: Sequence[str], layers: Sequence[int]) -> None:
    """A vector that is nothing beside the largest of its layer is rounding, not a direction."""
    zero = norms <= ROUNDING * norms.max(0)
    if zero.any():
        emotion, layer = np.argwhere(zero)[0]
        raise UserError(
            f"the direction of {emotions[emotion]} at layer {layers[layer]} has length zero: its "
            "mean is that of what it is compared with; leave the emotion or the layer out"
        )


def _states(
    model: Model,
    stimuli: StimulusSet,
    activations: Activations | ActivationStore,
    kind: Kind,
    pooling: str,
    template: Template,
) -> tuple[States, tuple[int, ...]]:
    """States `[item, layer, d]` of the set's rows, and the numbers of the layers."""
    loaded = activations
    if isinstance(loaded, ActivationStore):
        key = loaded.header["key"]
        if key["model"] != model.fingerprint:
            raise UserError(
                f"{loaded.folder} holds activations of another model than {model.name}: capture "
                "them on it"
            )
        if key["template"] != template.describe():
            raise UserError(
                f"{loaded.folder} was captured with the template {key['template']['name']!r}, not "
                f"{template.name!r}: give that one"
            )
        loaded = loaded.load(kind, pooling)
    stack = loaded.stack(kind, pooling)
    width = model.sites.width(Site(kind, loaded.layers[kind][0]))
    if stack.shape[2] != width:
        raise UserError(
            f"the activations are {stack.shape[2]} wide, {kind} of {model.name} {width}: capture "
            "them on this model"
        )
    place = {id_: row for row, id_ in enumerate(loaded.ids)}
    if missing := [id_ for id_ in stimuli.ids if id_ not in place]:
        raise UserError(
            f"no activations of the row {missing[0]!r} of {stimuli.name} ({len(missing)} of "
            f"{len(stimuli)} are missing): capture the set"
        )
    return stack[[place[id_] for id_ in stimuli.ids]], loaded.layers[kind]


def _norm(estimator: str, whiten: bool) -> Norm:
    if estimator == "random":
        return "none"
    return "weights" if whiten or estimator in WEIGHTS else "distance"
