"""`assemble`: a budget of components, spread over sublayers.

*influence*: the paper's way (Wang et al. 2025, arXiv 2510.11328): a share of the budget are
neurons, every sublayer has a least number, the rest goes by the sublayer's influence where it is
positive (largest remainder), none gets more than a cap, and inside a sublayer the best by score are
taken.
*global*: the best of all heads and neurons by score alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from probekit.circuits.circuit import Circuit
from probekit.circuits.components import INNER, Component, Values
from probekit.directions.identity import Identity
from probekit.errors import UserError, unknown
from probekit.models import Model
from probekit.sites import Kind

Allocation = Literal["influence", "global"]
ALLOCATIONS = ("influence", "global")
SIZES = (9, 35, 140, 560, 2240)


@dataclass(frozen=True)
class Spread:
    """How the paper spreads a budget.

    Attributes:
        neurons: share of the budget that are neurons (392 of 560).
        least_heads, least_neurons: what every sublayer has, as far as the budget allows.
        cap: share of its kind's budget that one sublayer gets at most.
    """

    neurons: float = 0.7
    least_heads: int = 2
    least_neurons: int = 4
    cap: float = 0.4


def check_budget(model: Model, k: int) -> None:
    """Raise a `UserError` unless the model has so many components."""
    heads, neurons = (model.sites.units(kind) * model.n_layers for kind in INNER)
    if not 1 <= k <= heads + neurons:
        raise UserError(
            f"K {k}: {model.name} has {heads} heads and {neurons} neurons; give 1 to "
            f"{heads + neurons}"
        )


def assemble(
    model: Model,
    emotion: str,
    scores: Values,
    k: int,
    *,
    influence: Values | None = None,
    allocation: Allocation = "influence",
    spread: Spread = Spread(),
    source: str = "",
    stimuli: Mapping[str, Any] | None = None,
) -> Circuit:
    """The circuit of an emotion.

    Args:
        scores: kind -> `[layer, unit]`, comparable over layers: in units of residual norms.
        k: number of components.
        influence: kind -> `[layer]`, for "influence".
        allocation: how the budget is spread.
        spread: of "influence".
        source, stimuli: what the scores were learned from.

    Raises:
        UserError: a budget larger than the model, or what the allocation needs is missing.
    """
    check_budget(model, k)
    if allocation == "influence" and influence is not None:
        counts = by_influence(scores, influence, k, spread)
        chosen = [
            (float(values[unit]), Component(kind, layer, int(unit)))
            for kind in INNER
            for layer, values in enumerate(scores[kind])
            for unit in np.argsort(-values, kind="stable")[: counts[kind][layer]]
        ]
    elif allocation == "global":
        every = [
            (float(value), Component(kind, layer, unit))
            for kind in INNER
            for (layer, unit), value in np.ndenumerate(scores[kind])
        ]
        every.sort(key=lambda each: (-each[0], each[1]))
        chosen = every[:k]
    elif allocation in ALLOCATIONS:
        raise UserError(f"allocation {allocation}: give the influence of each sublayer")
    else:
        raise unknown("allocation", allocation, ALLOCATIONS)
    chosen.sort(key=lambda pair: (-pair[0], pair[1]))
    return Circuit(
        emotion,
        tuple(component for _, component in chosen),
        tuple(value for value, _ in chosen),
        allocation,
        source,
        Identity.of(model),
        dict(stimuli or {}),
        {"k": k, **(asdict(spread) if allocation == "influence" else {})},
    )


def by_influence(
    scores: Values, influence: Values, k: int, spread: Spread
) -> dict[Kind, NDArray[np.int64]]:
    """Kind -> `[layer]`, number of components; together k, where the model has as many."""
    sizes = {kind: scores[kind].shape for kind in INNER}
    room = {kind: layers * units for kind, (layers, units) in sizes.items()}
    neurons = min(round(k * spread.neurons), room["mlp_post"])
    heads = min(k - neurons, room["z"])
    budget = {"z": heads, "mlp_post": min(k - heads, room["mlp_post"])}
    least = {"z": spread.least_heads, "mlp_post": spread.least_neurons}
    return {
        kind: spread_out(
            np.asarray(influence[kind]), budget[kind], sizes[kind][1], least[kind], spread.cap
        )
        for kind in INNER
    }


def spread_out(
    weights: NDArray[np.float64], budget: int, room: int, least: int, cap: float
) -> NDArray[np.int64]:
    """A budget over places by their positive weights, by largest remainder; they sum to it.

    Args:
        weights: `[place]`.
        budget: what is given out.
        room: what one place can take.
        least: what every place gets, or as much of it as the budget allows.
        cap: share of the budget that a place gets, unless there is no other room.
    """
    layers = len(weights)
    found = np.full(layers, min(least, budget // layers, room), dtype=np.int64)
    limit = np.full(layers, min(room, max(int(found[0]), int(cap * budget))), dtype=np.int64)
    if limit.sum() < budget:
        limit[:] = room
    positive = np.clip(weights, 0, None)
    while (left := int(budget - found.sum())) > 0:
        free = limit - found
        share = np.where(free > 0, positive, 0.0)
        if share.sum() == 0:  # No place with influence has room: the others take the rest alike.
            share = (free > 0).astype(np.float64)
        exact = left * share / share.sum()
        given = np.minimum(np.floor(exact).astype(np.int64), free)
        if given.sum() == 0:
            order = np.argsort(-np.where(free > 0, exact, -1.0), kind="stable")
            given[order[:left]] = np.minimum(1, free[order[:left]])
        found += given
    return found


def budgets(model: Model, given: Sequence[int] = ()) -> tuple[int, ...]:
    """Sizes at which circuits are looked at: those given, or powers of four that leave some heads.

    Raises:
        UserError: a budget larger than the model.
    """
    for k in given:
        check_budget(model, k)
    if given:
        return tuple(sorted(set(given)))
    heads = model.sites.units("z") * model.n_layers
    return tuple(k for k in SIZES if k * (1 - Spread().neurons) < heads)
