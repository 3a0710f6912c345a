"""`Design`: which emotion, in which scenario, each item of a set of states belongs to."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from probekit.errors import UserError
from probekit.stimuli import StimulusSet

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
NEUTRAL = "neutral"
MIN_ITEMS, MIN_GROUPS = 2, 2
"""A direction from one text, or from the texts of one scenario, is that text or scenario."""


@dataclass(frozen=True, eq=False)
class Design:
    """Labels of items.

    A *group* is a scenario, and within it one valence where valences are given (the second
    study's events, arXiv 2510.11328: the same scenario ends well, badly, or in neither way, and
    each of the three is answered in every emotion). A *cell* is one emotion in one group.

    Attributes:
        emotion: `[item]`, "neutral" for items without one.
        scenario: `[item]`.
        valence: `[item]` of the event, crossed with the emotion; "" where it is not.

    Raises:
        UserError: unequal lengths, or an item without an emotion.
    """

    emotion: NDArray[np.str_]
    scenario: NDArray[np.str_]
    valence: NDArray[np.str_]

    def __init__(
        self, emotion: ArrayLike, scenario: ArrayLike, valence: ArrayLike | None = None
    ) -> None:
        columns = [np.asarray(emotion, dtype=np.str_), np.asarray(scenario, dtype=np.str_)]
        given = np.zeros(len(columns[0]), np.str_) if valence is None else valence
        columns.append(np.asarray(given, dtype=np.str_))
        if len({column.shape for column in columns}) != 1 or columns[0].ndim != 1:
            sizes = ", ".join(str(column.shape) for column in columns)
            raise UserError(f"labels of shapes {sizes}: give one emotion and scenario an item")
        if (columns[0] == "").any():
            place = int(np.argmax(columns[0] == ""))
            raise UserError(f"item {place} has no emotion: leave it out, or call it {NEUTRAL!r}")
        if (columns[1] == "").any():
            place = int(np.argmax(columns[1] == ""))
            raise UserError(f"item {place} has no scenario: give it one, its own id if need be")
        for name, column in zip(("emotion", "scenario", "valence"), columns, strict=True):
            object.__setattr__(self, name, column)

    @classmethod
    def of(cls, stimuli: StimulusSet, *, by_valence: bool = False) -> "Design":
        """The design of a set's rows, in their order.

        A row's scenario is its `scenario`, else its `pair`, its `quad`, or a scenario of its own.

        Args:
            by_valence: groups are keyed by the column `valence` too. For sets in which it is a
                property of the event; where it is the emotion's own, every group would hold one
                emotion only.

        Raises:
            UserError: a row without an emotion.
        """
        scenario = np.array(stimuli.ids, dtype=np.str_)
        for name in ("quad", "pair", "scenario"):
            column = stimuli.column(name)
            scenario = np.where(column != "", column, scenario)
        emotion = np.where(stimuli.column("arm") == NEUTRAL, NEUTRAL, stimuli.column("emotion"))
        if (emotion == "").any():
            row = stimuli.ids[int(np.argmax(emotion == ""))]
            raise UserError(
                f"the row {row!r} of {stimuli.name} has no emotion: select rows that have one"
            )
        return cls(emotion, scenario, stimuli.column("valence") if by_valence else None)

    def __len__(self) -> int:
        return len(self.emotion)

    @cached_property
    def emotions(self) -> tuple[str, ...]:
        """The emotions in their order, neutral left out."""
        return tuple(sorted({str(name) for name in self.emotion} - {NEUTRAL}))

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The emotions, then neutral where there are neutral items."""
        return (*self.emotions, *([NEUTRAL] if self.neutral.any() else []))

    @cached_property
    def neutral(self) -> NDArray[np.bool_]:
        """`[item]`, whether an item is neutral."""
        return self.emotion == NEUTRAL

    @cached_property
    def of_class(self) -> Ints:
        """`[item]`, each item's place in `classes`."""
        place = {name: number for number, name in enumerate(self.classes)}
        return np.array([place[str(name)] for name in self.emotion], dtype=np.int64)

    @cached_property
    def groups(self) -> tuple[tuple[str, ...], Ints]:
        """Names of the groups, and `[item]`, each item's place among them."""
        scenarios, scenario = np.unique(self.scenario, return_inverse=True)
        valences, valence = np.unique(self.valence, return_inverse=True)
        found, place = np.unique(scenario * len(valences) + valence, return_inverse=True)
        pairs = (divmod(int(key), len(valences)) for key in found)
        names = (f"{scenarios[s]} {valences[v]}".strip() for s, v in pairs)
        return tuple(names), place.astype(np.int64)

    @cached_property
    def cells(self) -> tuple[Ints, Ints, Ints, Ints]:
        """`[cell]` group, class and number of items of each cell, and `[item]` its cell."""
        keys = self.groups[1] * len(self.classes) + self.of_class
        found, place, count = np.unique(keys, return_inverse=True, return_counts=True)
        group, of_class = np.divmod(found, len(self.classes))
        return group, of_class, count, place.astype(np.int64)

    @cached_property
    def table(self) -> NDArray[np.bool_]:
        """`[group, class]`, which cells there are."""
        out = np.zeros((len(self.groups[0]), len(self.classes)), dtype=bool)
        out[self.cells[0], self.cells[1]] = True
        return out

    def averaging(self) -> Floats:
        """`[class, item]` weights of class means."""
        one_hot = (np.arange(len(self.classes))[:, None] == self.of_class).astype(np.float64)
        return one_hot / one_hot.sum(1, keepdims=True)

    def check(
        self,
        estimator: str,
        *,
        n_emotions: int = 1,
        with_neutral: bool = True,
        informative: bool = False,
    ) -> None:
        """Raise a `UserError` unless every class has the items and groups that are needed.

        Args:
            estimator: its name, for the message.
            n_emotions: how many emotions, at least.
            with_neutral: whether neutral is a class that must have them too.
            informative: count only groups that hold more than one class.
        """
        if len(self.emotions) < n_emotions:
            raise UserError(
                f"{estimator}: {_count(len(self.emotions), 'emotion')} "
                f"({', '.join(self.emotions) or 'none'}): it needs {n_emotions} or more; add "
                "emotions, or neutral texts and take 'control'"
            )
        counted = self.table & (self.table.sum(1, keepdims=True) > 1) if informative else self.table
        for number, name in enumerate(self.classes if with_neutral else self.emotions):
            items, groups = int((self.of_class == number).sum()), int(counted[:, number].sum())
            if items < MIN_ITEMS or groups < MIN_GROUPS:
                what = "groups beside another emotion" if informative else "groups"
                raise UserError(
                    f"{estimator}: {name} has {_count(items, 'item')} in {groups} {what} "
                    f"(scenarios, or scenarios and valences): give it {MIN_ITEMS} items in "
                    f"{MIN_GROUPS} of them, or leave it out"
                )

    def check_estimable(self, estimator: str) -> None:
        """Raise a `UserError` where emotions are confounded with groups.

        Effects of emotions beside those of groups can be told apart if and only if the graph of
        groups and classes, joined where a cell is there, is in one piece (Searle, Linear Models,
        chapter 7).
        """
        shared = csr_array(self.table.T.astype(np.int64) @ self.table.astype(np.int64))
        pieces, piece = connected_components(shared, directed=False)
        if pieces > 1:
            held = [", ".join(self._names(piece == n)) for n in range(pieces)]
            raise UserError(
                f"{estimator}: no group (scenario, or scenario and valence) joins "
                f"{' and '.join(held[:3])}: their difference is also that of their scenarios; add "
                "scenarios that hold both, or neutral texts in each, or take 'mean'"
            )

    def check_matched(self, estimator: str) -> None:
        """Raise a `UserError` where a group lacks its neutral item, or has nothing else."""
        if NEUTRAL not in self.classes:
            raise UserError(f"{estimator}: no item is neutral: give each scenario a neutral text")
        lone = ~self.table[:, -1] | (self.table.sum(1) < 2)
        if lone.any():
            group = int(np.argmax(lone))
            held = ", ".join(self._names(self.table[group]))
            partner = "a neutral text" if not self.table[group, -1] else "an emotional text"
            raise UserError(
                f"{estimator}: unmatched arms: the group {self.groups[0][group]!r} holds {held} "
                f"and not {partner} ({int(lone.sum())} of {len(lone)} groups are so): select whole "
                "scenarios"
            )

    def _names(self, chosen: Sequence[bool] | NDArray[np.bool_]) -> list[str]:
        return [name for name, keep in zip(self.classes, chosen, strict=True) if keep]


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"
