"""`Sample`: the items that directions of one arm are learned from and tried on."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probekit.directions import Design
from probekit.questions import Question
from probekit.tasks import NEUTRAL

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
Strings = NDArray[np.str_]


@dataclass(frozen=True, eq=False)
class Sample:
    """Texts of every emotional arm, then the neutral texts of the same scenarios.

    Attributes:
        source: the arm that is learned from.
        rows: `[item]`, places in the set.
        emotion: `[item]`, "neutral" for neutral texts.
        arm, group, domain: `[item]`; the group is what folds do not part.
        fold: `[item]`; held-out items are a fold of their own, the last.
        held_out: `[item]`, items of the test split.
        emotions: in the order of the directions.
    """

    source: str
    rows: Ints
    emotion: Strings
    arm: Strings
    group: Strings
    domain: Strings
    fold: Ints
    held_out: Mask
    emotions: tuple[str, ...]

    @classmethod
    def of(cls, which: Question, whether: Question | None) -> "Sample":
        """From the question of *which* emotion and, for the neutral texts, of *whether* any."""
        task = which.task
        columns: list[NDArray[Any]] = [task.rows, task.labels, task.arms, task.groups]
        columns += [task.blocks, which.folds, task.held_out]
        if whether is not None:
            other = whether.task
            fold = dict(zip(task.groups, which.folds, strict=True))
            kept = np.flatnonzero((other.labels == NEUTRAL) & np.isin(other.groups, task.groups))
            neutral = np.full(len(kept), NEUTRAL)
            groups = other.groups[kept]
            folds = np.array([fold[name] for name in groups], dtype=np.int64)
            added = [other.rows[kept], neutral, neutral, groups, other.blocks[kept], folds]
            added.append(other.held_out[kept])
            columns = [np.concatenate(pair) for pair in zip(columns, added, strict=True)]
        rows, labels, arms, groups, domains, folds, held_out = columns
        emotions = tuple(map(str, np.unique(task.labels)))
        return cls(task.source, rows, labels, arms, groups, domains, folds, held_out, emotions)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def own(self) -> Mask:
        """`[item]`, those of the arm that is learned from, and neutral ones."""
        return np.isin(self.arm, [self.source, NEUTRAL])

    @property
    def learned(self) -> Mask:
        """`[item]`, own items that are not held out."""
        return self.own & ~self.held_out

    def design(self, chosen: Mask, emotion: Strings | None = None) -> Design:
        """The design of some items, with their own emotions or those of chance."""
        given = self.emotion if emotion is None else emotion
        return Design(given[chosen], self.group[chosen])

    def of_scenario(self) -> Strings:
        """`[item]`, the emotion that an item's scenario is about; a neutral text has one too.

        "" where a scenario is told in several emotions.
        """
        told: dict[str, set[str]] = {}
        for group, emotion in zip(self.group, self.emotion, strict=True):
            if emotion != NEUTRAL:
                told.setdefault(str(group), set()).add(str(emotion))
        one = {group: min(names) if len(names) == 1 else "" for group, names in told.items()}
        return np.array([one[str(group)] for group in self.group], dtype=np.str_)
