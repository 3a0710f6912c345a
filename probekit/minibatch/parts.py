"""Items in training, validation and test: whole groups, their classes balanced, or permuted."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probekit.corpus import Items, to_mean, to_smallest
from probekit.errors import UserError
from probekit.minibatch.blocks import Bools, Ints
from probekit.minibatch.options import Options

PARTS = ("train", "validation", "test")
Names = NDArray[np.str_]


@dataclass(frozen=True, eq=False)
class Parts:
    """Which items are learned from, chosen on and reported on.

    Attributes:
        labels: `[item]`.
        groups: `[item]`, numbers of groups.
        classes: `[class]`, in order.
        times: `[item]`, how often a training item is taken; 0 outside of training.
        null_labels, null_times: the same with labels permuted across groups of the training part.
        validation, test: `[item]`, which items these are, once balanced.
        counts: part -> class -> items before balancing and rows after.
        unlabelled: items left out for want of a label.
    """

    labels: Names
    groups: Ints
    classes: Names
    times: Ints
    null_labels: Names
    null_times: Ints
    validation: Bools
    test: Bools
    counts: dict[str, dict[str, tuple[int, int]]]
    unlabelled: int

    @property
    def held_out(self) -> Bools:
        """`[item]`, validation and test."""
        return self.validation | self.test


def parts_of(items: Items, options: Options) -> Parts:
    """Part the items of a store.

    Raises:
        UserError: no labels, one class only, or a class without a row in some part.
    """
    labels = np.asarray(items.column("label"), dtype=np.str_)
    known = labels != ""
    if not known.any():
        raise UserError(
            f"{items.path.parent} has no labels: capture it with --label COLUMN into a new folder"
        )
    classes = np.unique(labels[known])
    if len(classes) < 2:
        raise UserError(
            f"{items.path.parent} has one class only ({classes[0]}): capture a corpus of two or "
            "more"
        )
    names, groups = np.unique(items.column("group"), return_inverse=True)
    part = np.where(known, hashed(names.tolist(), options.shares, options.seed)[groups], -1)
    train, validation, test = (part == number for number in range(3))
    _refuse_empty(labels, classes, part)
    mean = options.balance_train == "mean"
    times = _times(labels, train, mean, options.seed)
    null = permuted(labels, groups, train, options.seed)
    null_times = _times(null, train, mean, options.seed)
    kept = test
    if options.balance_test == "smallest":
        rows = np.flatnonzero(test)[to_smallest(labels[test].tolist(), options.seed)]
        kept = np.isin(np.arange(len(labels)), rows)
    after = {"train": times, "validation": validation, "test": kept}
    counts = {
        name: _counted(labels, classes, part == number, after[name])
        for number, name in enumerate(PARTS)
    }
    unlabelled = int((~known).sum())
    return Parts(
        labels, groups, classes, times, null, null_times, validation, kept, counts, unlabelled
    )


def hashed(names: Sequence[str], shares: Sequence[float], seed: int) -> Ints:
    """The number of each group's part, `[group]`, by a hash of its name and the seed.

    It depends on nothing else: more items of a corpus change no group's part.
    """
    digests = (hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8) for name in names)
    places = np.array([int.from_bytes(each.digest()) for each in digests], np.float64) / 2**64
    bounds = np.cumsum(shares)[:-1] / sum(shares)
    return np.searchsorted(bounds, places, side="right").astype(np.int64)


def permuted(labels: Names, groups: Ints, inside: Bools, seed: int) -> Names:
    """Labels permuted across the groups of some items; the others keep theirs.

    A group of one label keeps one; each row of a mixed group is a unit of its own.
    """
    rows = np.flatnonzero(inside)
    _, numbers = np.unique(labels[rows], return_inverse=True)
    _, own = np.unique(groups[rows], return_inverse=True)
    least, most = (np.full(own.max() + 1, fill) for fill in (len(rows), -1))
    np.minimum.at(least, own, numbers)
    np.maximum.at(most, own, numbers)
    mixed = (least != most)[own]
    units = np.where(mixed, own.max() + 1 + np.arange(len(rows)), own)
    _, first, unit = np.unique(units, return_index=True, return_inverse=True)
    out = labels.copy()
    out[rows] = np.random.default_rng(seed).permutation(labels[rows][first])[unit]
    return out


def _times(labels: Names, inside: Bools, mean: bool, seed: int) -> Ints:
    """`[item]`, how often each is taken."""
    if not mean:
        return inside.astype(np.int64)
    rows = np.flatnonzero(inside)[to_mean(labels[inside].tolist(), seed)]
    return np.bincount(rows, minlength=len(labels)).astype(np.int64)


def _counted(
    labels: Names, classes: Names, before: Bools, after: Ints | Bools
) -> dict[str, tuple[int, int]]:
    return {
        str(name): (int(before[labels == name].sum()), int(after[labels == name].sum()))
        for name in classes
    }


def _refuse_empty(labels: Names, classes: Names, part: Ints) -> None:
    """Raise where a class is missing from a part."""
    held: Mapping[tuple[str, int], int] = Counter(zip(labels.tolist(), part.tolist(), strict=True))
    for number, name in enumerate(PARTS):
        for label in classes:
            if not held[str(label), number]:
                raise UserError(
                    f"class {str(label)!r} has no row in the {name} part: give a larger share of "
                    "it with --parts, another --seed, or a corpus with more groups of that class"
                )
