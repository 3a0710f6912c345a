"""Cross-validation folds that respect a design, and label permutations that respect it too."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from probekit.errors import UserError, unknown

Scheme = Literal["within", "flip", "across"]
Labels = NDArray[np.str_]


def grouped_folds(
    groups: Sequence[str] | Labels, labels: Labels, n_folds: int, seed: int
) -> NDArray[np.int64]:
    """Assign whole groups to folds; groups that hold the same labels are dealt out evenly.

    Args:
        groups: `[item]`, the scenario, couple or quad that must not be parted.
        labels: `[item]`, classes.
        n_folds: how many folds.
        seed: of the order in which alike groups are dealt.

    Returns:
        `[item]`, fold numbers. Class counts of two folds differ by at most the labels of one
        group for every kind of group.

    Raises:
        UserError: one class only, a label seen once, or fewer groups of a class than folds.
    """
    check_labels(groups, labels, n_folds)
    return deal(groups, labels, n_folds, seed)


def deal(
    groups: Sequence[str] | Labels, labels: Labels, n_folds: int, seed: int
) -> NDArray[np.int64]:
    """`grouped_folds` without its checks: for targets that are no classes, labels all alike."""
    held: dict[str, list[str]] = defaultdict(list)
    for group, label in zip(groups, labels, strict=True):
        held[str(group)].append(str(label))
    kinds: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for group, has in sorted(held.items()):
        kinds[tuple(sorted(has))].append(group)
    rng, fold_of, place = np.random.default_rng(seed), {}, 0
    for _, alike in sorted(kinds.items()):
        for group in rng.permutation(alike):
            fold_of[str(group)] = place % n_folds
            place += 1
    return np.array([fold_of[str(group)] for group in groups])


def check_labels(groups: Sequence[str] | Labels, labels: Labels, n_folds: int) -> None:
    """Raise a `UserError` where these labels cannot be cross-validated by group."""
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2:
        raise UserError(f"one class only ({', '.join(map(str, classes))}): a probe needs two")
    if once := [str(c) for c, count in zip(classes, counts, strict=True) if count == 1]:
        raise UserError(f"label seen once: {', '.join(once)}; give every label more items")
    for name in classes:
        inside = {group for group, label in zip(groups, labels, strict=True) if label == name}
        if len(inside) < n_folds:
            raise UserError(
                f"fewer groups than folds: label {str(name)!r} has {len(inside)} groups for "
                f"{n_folds} folds; add scenarios, or ask for fewer folds"
            )


def check_groups(groups: Sequence[str] | Labels, n_folds: int) -> None:
    """Raise a `UserError` where there are fewer groups than folds."""
    if (count := len(np.unique(groups))) < n_folds:
        raise UserError(
            f"fewer groups than folds: {count} groups for {n_folds} folds; add texts, or ask for "
            "fewer folds"
        )


def scheme_of(labels: Labels, groups: Sequence[str] | Labels) -> Scheme:
    """The scheme of a design: "within" where all groups hold the same several labels, or "across".

    Args:
        labels: `[item]`; groups: `[item]`, what the scheme's units are.
    """
    units = np.asarray(groups, dtype=np.str_)
    held = {tuple(sorted(labels[units == unit].tolist())) for unit in np.unique(units)}
    alike = len(held) == 1 and len(set(next(iter(held)))) > 1
    return "within" if alike else "across"


def permute_labels(
    labels: Labels,
    scheme: Scheme,
    units: Sequence[str] | Labels,
    blocks: Sequence[str] | Labels,
    n: int,
    seed: int,
) -> NDArray[np.str_]:
    """Relabelings `[n, item]` that keep the design.

    Args:
        labels: `[item]`, the true classes.
        scheme: "within": labels of each unit (a pair) are shuffled inside it; "flip": the two
            labels of a whole unit (a quad) are exchanged or not; "across": each unit (a
            scenario) keeps one label, and labels are shuffled over the units of a block (a
            domain); of a unit that holds several labels, each row is a unit of its own.
        units: `[item]`, what the scheme speaks of.
        blocks: `[item]`, used by "across".
        n: number of relabelings.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    out = np.tile(np.asarray(labels), (n, 1))
    rows_of: dict[str, NDArray[np.int64]] = {
        str(unit): np.flatnonzero(np.asarray(units) == unit) for unit in np.unique(units)
    }
    match scheme:
        case "within":
            for rows in rows_of.values():
                for draw in out:
                    draw[rows] = rng.permutation(draw[rows])
        case "flip":
            for unit, rows in rows_of.items():
                if len(held := np.unique(labels[rows])) != 2:
                    raise UserError(
                        f"{unit!r} holds the labels {list(map(str, held))}: flips need two"
                    )
                flipped = np.where(labels[rows] == held[0], held[1], held[0])
                turned = np.flatnonzero(rng.random(n) < 0.5)
                out[np.ix_(turned, rows)] = flipped
        case "across":
            whole: list[NDArray[np.int64]] = []
            for rows in rows_of.values():
                whole += [rows] if len(set(labels[rows])) == 1 else list(rows[:, None])
            for block in np.unique(blocks):
                inside = [rows for rows in whole if blocks[rows[0]] == block]
                own = np.array([labels[rows[0]] for rows in inside])
                for draw in out:
                    for rows, label in zip(inside, rng.permutation(own), strict=True):
                        draw[rows] = label
        case _:
            raise unknown("permutation scheme", scheme, ["within", "flip", "across"])
    return out


def permute_places(
    units: Sequence[str] | Labels, blocks: Sequence[str] | Labels, n: int, seed: int
) -> NDArray[np.int64]:
    """Places `[n, item]` from which each item takes its value, for targets that are no classes.

    Within a block, whole units change places with units of as many items; of units that no other
    equals in size, the items do.
    """
    rng, units, blocks = np.random.default_rng(seed), np.asarray(units), np.asarray(blocks)
    out = np.tile(np.arange(len(units)), (n, 1))
    alike: dict[tuple[str, int], list[NDArray[np.int64]]] = defaultdict(list)
    for unit in np.unique(units):
        rows = np.flatnonzero(units == unit)
        alike[str(blocks[rows[0]]), len(rows)].append(rows)
    for members in alike.values():
        table = np.stack(members)
        for draw in out:
            moved = rng.permutation(len(table)) if len(table) > 1 else np.array([0])
            taken = table[moved]
            if len(table) == 1:
                taken = rng.permuted(taken, axis=1)
            draw[table] = taken
    return out
