"""How alike two models' states of the same texts are: linear centred kernel alignment."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from probekit.errors import UserError
from probekit.folds import permute_places
from probekit.geometry.grams import grams
from probekit.store import Activations, ActivationStore

Floats = NDArray[np.float64]
FEWEST = 4
"""The unbiased estimator divides by n - 3."""


@dataclass(frozen=True)
class Alignment:
    """Layer-by-layer alignment of two models.

    Attributes:
        layers: numbers of the first model's layers, and of the second's.
        values: `[layer, other layer]`, linear CKA: 1 the same up to rotation and scale, about 0
            for unrelated states (a little below is noise).
        null: `[layer, other layer]`, its mean where the texts change places.
        p: `[layer, other layer]`, one-sided.
    """

    layers: tuple[tuple[int, ...], tuple[int, ...]]
    values: Floats
    null: Floats
    p: Floats


def align(
    one: Activations | ActivationStore,
    other: Activations | ActivationStore,
    kind: str,
    pooling: str,
    *,
    scenarios: Sequence[str] | None = None,
    permutations: int = 200,
    seed: int = 0,
) -> Alignment:
    """Compare every layer of one model with every layer of another, on the same items.

    Args:
        one, other: states of the two models; items may stand in another order.
        kind, pooling: which states, such as "resid_post" and "mean".
        scenarios: `[item]`, in the order of `one`: texts change places with those of other
            scenarios, whole scenarios together. Default: each text by itself.
        permutations: of the null; the smallest p is 1 / (1 + permutations).
        seed: of the permutations.

    Raises:
        UserError: the items are not the same, or fewer than four.
    """
    if sorted(one.ids) != sorted(other.ids) or len(set(one.ids)) != len(one.ids):
        strange = sorted(set(one.ids) ^ set(other.ids))[:1]
        named = f" ({strange[0]!r} is in one alone)" if strange else ""
        raise UserError(f"CKA compares states of the same items{named}: capture the same texts")
    place = {id_: row for row, id_ in enumerate(other.ids)}
    mine, theirs = (_tables(_load(each, kind, pooling)) for each in (one, other))
    order = np.array([place[id_] for id_ in one.ids])
    theirs = theirs[:, order[:, None], order]
    units = np.array(one.ids if scenarios is None else scenarios, dtype=np.str_)
    if len(units) != len(order):
        raise UserError(f"{len(units)} scenarios for {len(order)} items: give one for each item")
    values = _inner(mine, theirs)
    moves = permute_places(units, np.full(len(units), ""), permutations, seed)
    null = np.stack([_inner(mine, theirs[:, move[:, None], move]) for move in moves])
    p = (1 + (null >= values - 1e-12).sum(0)) / (1 + len(null))
    return Alignment((one.layers[kind], other.layers[kind]), values, null.mean(0), p)


def cka(one: ArrayLike, other: ArrayLike) -> Floats:
    """Linear CKA `[layer, other layer]` of states `[item, layer, d]` of the same items.

    With the unbiased estimator of HSIC (Song et al. 2012, JMLR 13, 1393-1434; Kornblith et al.
    2019, ICML): with few items and many features the biased one is near 1 for any two models.

    Raises:
        UserError: not equally many items, fewer than four, or states that are not finite.
    """
    one, other = np.asarray(one), np.asarray(other)
    if len(one) != len(other):
        raise UserError(
            f"CKA compares states of the same items: {len(one)} and {len(other)} were given"
        )
    return _inner(_tables(one), _tables(other))


def _load(states: Activations | ActivationStore, kind: str, pooling: str) -> NDArray[np.float32]:
    held = states.load(kind, pooling) if isinstance(states, ActivationStore) else states
    return held.stack(kind, pooling)


def _inner(one: Floats, other: Floats) -> Floats:
    """`[layer, other layer]`, sums of products of tables."""
    return one.reshape(len(one), -1) @ other.reshape(len(other), -1).T


def _tables(states: NDArray[np.floating]) -> Floats:
    """U-centred Gram matrices `[layer, item, item]` at length 1 (Székely & Rizzo 2014).

    Their inner product is n (n - 3) times the unbiased HSIC.
    """
    n = len(states)
    if n < FEWEST:
        raise UserError(f"CKA needs at least {FEWEST} items: {n} were given")
    inner = grams(states, np.ones(n, dtype=bool), standardize=False)
    diagonal = np.arange(n)
    inner[:, diagonal, diagonal] = 0
    rows = inner.sum(-1, keepdims=True) / (n - 2)
    whole = inner.sum((-1, -2), keepdims=True) / ((n - 1) * (n - 2))
    inner = inner - rows - rows.swapaxes(-1, -2) + whole
    inner[:, diagonal, diagonal] = 0
    size = np.linalg.norm(inner, axis=(-1, -2), keepdims=True)
    return np.divide(inner, size, out=np.full(inner.shape, np.nan), where=size > 0)
