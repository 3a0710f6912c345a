"""Which concepts of a set can be erased, and which others are read to see whether they stay.

A concept is a task of `tasks_of` with classes, on its own arm: "reception/keyword_free". Kept are
the other tasks of the same arm (which emotion, when reception is erased, is read on emotional
texts alone; reception, when the emotion is erased, on neutral ones too) and labels such as the
domain. A label that goes with what is erased is left out with a note: it would be erased as well,
and rightly.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probekit.erasure.study import Concept
from probekit.errors import UserError, unknown
from probekit.folds import check_labels
from probekit.stimuli import StimulusSet
from probekit.tasks import FEWEST_FOLDS, Task, tasks_of

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
Strings = NDArray[np.str_]
ASKED = ("reception", "categorisation")
"""The tasks that are erased unless others are named."""
FACTORS = ("domain", "valence", "person")
"""Columns that are read beside the tasks, where they do not go with what is erased."""
TIED = 0.3
"""Cramér's V from which a label counts as going with another."""


@dataclass(frozen=True, eq=False)
class Question:
    """A concept to erase, on the rows of a set that it and the kept ones are read on.

    Attributes:
        erased: the concept; its name holds the task and the arm.
        kept: the others.
        rows: `[row]`, places in the set.
        groups, folds, held_out: `[row]`, of the concept's own task.
    """

    erased: Concept
    kept: tuple[Concept, ...]
    rows: Ints
    groups: Strings
    folds: Ints
    held_out: Mask

    @property
    def name(self) -> str:
        """Such as "reception/keyword_free"."""
        return self.erased.name

    @property
    def fitted(self) -> Mask:
        """`[row]`, those that the kept eraser is fitted on: every learned one with a label."""
        return ~self.held_out & (self.erased.labels != "")


def questions_of(
    stimuli: StimulusSet, wanted: Sequence[str], n_folds: int, seed: int
) -> tuple[list[Question], list[str]]:
    """The concepts asked for, and a line for each thing that was left out.

    Args:
        wanted: names of tasks, with or without an arm; none: reception and categorisation.
        n_folds, seed: of the folds of each task.

    Raises:
        UserError: the set does not allow one that was asked for, or none at all.
    """
    tasks, notes = tasks_of(stimuli, n_folds)
    # In quads only texts of a quad are compared, and a new probe's scores are not.
    usable = [task for task in tasks if task.values is None and not task.within_units]
    notes += [
        f"{stimuli.name}: {name_of(task)} is not erased: it is compared inside quads alone"
        for task in tasks
        if task.within_units
    ]
    names = {name_of(task): task for task in usable}
    accepted = list(dict.fromkeys([*(task.name for task in usable), *names]))
    if strange := [name for name in wanted if name not in accepted]:
        raise unknown("concept", strange[0], accepted or "none: the set has no classes")
    asked = [t for n, t in names.items() if t.name in (wanted or ASKED) or n in wanted]
    if not asked:
        raise UserError(
            f"{stimuli.name} has neither reception nor categorisation to erase: "
            f"name a concept ({', '.join(accepted) or 'it has none'})"
        )
    found = [_question(stimuli, task, usable, n_folds, seed) for task in asked]
    return [question for question, _ in found], [*notes, *(n for _, own in found for n in own)]


def name_of(task: Task) -> str:
    """`reception/keyword_free`; `valence` for a task without arms."""
    return f"{task.name}/{task.source}" if task.source else task.name


def _question(
    stimuli: StimulusSet, task: Task, tasks: Sequence[Task], n_folds: int, seed: int
) -> tuple[Question, list[str]]:
    fold_of = dict(zip(task.groups, task.folds(n_folds, seed).tolist(), strict=True))
    others = [each for each in tasks if each.source == task.source and each is not task]
    rows, groups, held = _rows([task, *others], set(fold_of))
    erased = _of_task(task, rows)
    kept, notes = [], []
    labels = [_of_task(each, rows) for each in others]
    for label in (*labels, *_factors(stimuli, rows, groups, held, [erased, *labels])):
        if len(np.unique(label.labels[label.labels != ""])) < 2:
            continue
        if why := _unfit(label, erased, groups, held):
            notes.append(f"{label.name} is not read beside {erased.name}: {why}")
        else:
            kept.append(label)
    folds = np.array([fold_of[group] for group in groups])
    return Question(erased, tuple(kept), rows, groups, folds, held), notes


def _rows(tasks: Sequence[Task], groups: set[str]) -> tuple[Ints, Strings, Mask]:
    """Rows of the tasks' own arms, of those groups: places, groups, whether held out."""
    found: dict[int, tuple[str, bool]] = {}
    for task in tasks:
        own = task.mask(task.source)
        columns = (task.rows[own].tolist(), task.groups[own], task.held_out[own])
        for row, group, held in zip(*columns, strict=True):
            if group in groups:
                found.setdefault(row, (str(group), bool(held)))
    rows = np.array(sorted(found), dtype=np.int64)
    own_groups, held = zip(*(found[row] for row in rows.tolist()), strict=True)
    return rows, np.array(own_groups), np.array(held)


def _of_task(task: Task, rows: Ints) -> Concept:
    """A task's labels on these rows, "" for those that are not its own."""
    place = {row: number for number, row in enumerate(task.rows.tolist())}
    own = task.mask(task.source)
    at = np.array([place.get(row, -1) for row in rows.tolist()])
    has = (at >= 0) & own[at]
    # Test rows keep to themselves, so that each split keeps its balance.
    blocks = np.char.add(task.blocks, np.where(task.held_out, "/test", "/dev"))
    labels, units, blocks = (np.where(has, v[at], "") for v in (task.labels, task.units, blocks))
    return Concept(name_of(task), labels, task.scheme, units, blocks)


def _factors(
    stimuli: StimulusSet, rows: Ints, groups: Strings, held: Mask, tasks: Sequence[Concept]
) -> list[Concept]:
    """The set's columns of labels on rows of the erased concept.

    Chance moves them between groups that hold the same labels of every task, within a split.
    """
    told: dict[str, set[str]] = {}
    for group, *labels in zip(groups, *(task.labels for task in tasks), strict=True):
        told.setdefault(str(group), set()).update(map(str, labels))
    same = np.array([" ".join(sorted(told[str(group)])) for group in groups])
    blocks = np.char.add(same, np.where(held, "/test", "/dev"))
    has = tasks[0].labels != ""
    columns = {name: np.where(has, stimuli.column(name)[rows], "") for name in FACTORS}
    return [Concept(name, labels, "across", groups, blocks) for name, labels in columns.items()]


def _unfit(label: Concept, erased: Concept, groups: Strings, held: Mask) -> str:
    """Why a label cannot be read beside an erased one; "" where it can."""
    has = label.labels != ""
    both = has & (erased.labels != "")
    if (tie := cramers_v(label.labels[both], erased.labels[both])) > TIED:
        return f"the two go together (Cramér's V {tie:.2f}), so erasing the one erases the other"
    try:
        check_labels(groups[has & ~held], label.labels[has & ~held], FEWEST_FOLDS)
    except UserError as error:
        return str(error)
    if held.any() and len(np.unique(label.labels[has & held])) < 2:
        return "one class only among the texts held out"
    return ""


def cramers_v(a: Strings, b: Strings) -> float:
    """Association of two labels, 0 none to 1, without its bias in few items (Bergsma 2013).

    Args:
        a, b: `[item]`.
    """
    n = len(a)
    (left, i), (right, j) = (np.unique(each, return_inverse=True) for each in (a, b))
    if n < 2 or min(len(left), len(right)) < 2:
        return 0.0
    table = np.zeros((len(left), len(right)))
    np.add.at(table, (i, j), 1)
    expected = table.sum(1, keepdims=True) * table.sum(0) / n
    r, k = len(left), len(right)
    phi = ((table - expected) ** 2 / expected).sum() / n - (k - 1) * (r - 1) / (n - 1)
    least = min(r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)) - 1
    return float(np.sqrt(max(0.0, phi) / least)) if least > 0 else 1.0
