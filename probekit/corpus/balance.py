"""Classes made equally large, by rows that are left out or taken more than once."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from probekit.errors import UserError

Ints = NDArray[np.int64]


def to_smallest(labels: Sequence[str], seed: int) -> Ints:
    """Rows in which every class is as large as the smallest, in their order: for a test split."""
    groups = _groups(labels)
    return resampled(labels, min(map(len, groups.values())), seed)


def to_mean(labels: Sequence[str], seed: int) -> Ints:
    """Rows in which every class has the mean size: for a training split.

    Larger classes lose rows; of smaller ones all are taken, and some again.
    """
    return resampled(labels, round(len(labels) / len(_groups(labels))), seed)


def resampled(labels: Sequence[str], size: int, seed: int) -> Ints:
    """`[row]`, places of `size` rows of every class, in their order.

    Args:
        labels: `[item]`.
        size: rows of a class.
        seed: of what is left out or repeated.

    Raises:
        UserError: no labels, or a size below 1.
    """
    if size < 1:
        raise UserError(f"{size} rows a class: give 1 or more")
    rng = np.random.default_rng(seed)
    drawn = []
    for rows in _groups(labels).values():
        whole, rest = divmod(size, len(rows))
        some = rng.choice(rows, rest, replace=False)
        drawn.append(np.concatenate([np.tile(rows, whole), some]))
    return np.sort(np.concatenate(drawn)).astype(np.int64)


def _groups(labels: Sequence[str]) -> dict[str, Ints]:
    names = np.asarray(labels)
    if not names.size or (names == "").any():
        raise UserError("some rows have no label: classes can be balanced where all have one")
    return {str(name): np.flatnonzero(names == name) for name in np.unique(names)}
