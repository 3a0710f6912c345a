"""Which questions a stimulus set can answer: rows, targets, groups and how chance is permuted.

- *reception*: an emotional arm against the neutral arm of the same scenarios (or pairs).
- *valence*: positive against negative in crossed quads.
- *categorisation*: which emotion, within an arm, and from one arm to another; in quads whose
  emotion flips, which of the two it is.
- *perspective*: of two people in a scene, whose feeling is the better one.
- a *rating*: a column of numbers, such as what readers gave as arousal.
- *soft labels*: the shares of the votes that each emotion got.
- *classes*, where only that is asked: which of all labels, neutral among them, whatever the arm.

A set of one's own needs only an `emotion` or `valence` column: each row is then its own group.
Rows of a test split are held out: nothing is learned from them, and nothing chosen on them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probekit.errors import UserError
from probekit.folds import (
    Scheme,
    check_groups,
    check_labels,
    deal,
    permute_labels,
    permute_places,
    scheme_of,
)
from probekit.stimuli import SHARES, StimulusSet

EMOTIONAL_ARMS = ("keyword_free", "keyword_rich")
NEUTRAL = "neutral"
ALARM = "complex_neutral"
"""The set, and the target, of vivid texts with nothing at stake: reception's false alarms."""
ASIDE = (ALARM, "expressions", "utterances")
"""Sets that are probed only where they are named: false alarms are a part of every other set's
reception, expressions train judges, and utterances are the turns of the study of retention."""
SOFT = "soft_labels"
FEWEST_FOLDS = 3
"""Two leave no rows to choose C and the layer on."""
Strings = NDArray[np.str_]


@dataclass(frozen=True)
class Task:
    """A question put to one set; `item` runs over the rows it uses.

    Attributes:
        name: reception, valence, categorisation, soft_labels, or the column of a rating.
        source: the arm learned from ("" where the set has no arms).
        targets: the arms predicted, the source's own first.
        rows: `[item]`, places in the set.
        labels: `[item]`, classes; where `values` are given, only what folds deal out evenly.
        arms: `[item]`, arm of each row, for `source` and `targets`.
        groups: `[item]`, what folds must not part and bootstraps draw.
        units: `[item]`, what the permutation speaks of: pairs, quads or scenarios.
        blocks: `[item]`, within which an "across" permutation stays.
        held_out: `[item]`, rows of the test split, never learned from.
        scheme: how chance is permuted.
        paired: whether units are pairs with one item of each class.
        within_units: whether only items of one unit are compared (quads whose emotion flips).
        values: `[item]` ratings or `[item, class]` shares, for targets that are no classes.
        names: classes of the shares.
        most_folds: in how many folds every class can stand.
    """

    name: str
    source: str
    targets: tuple[str, ...]
    rows: NDArray[np.int64]
    labels: Strings
    arms: Strings
    groups: Strings
    units: Strings
    blocks: Strings
    held_out: NDArray[np.bool_]
    scheme: Scheme
    paired: bool = False
    within_units: bool = False
    values: NDArray[np.float64] | None = None
    names: tuple[str, ...] = ()
    most_folds: int = 1_000_000

    @property
    def metric(self) -> str:
        """The figure that answers the question: auroc, spearman or cross_entropy."""
        if self.values is None:
            return "auroc"
        return "spearman" if self.values.ndim == 1 else "cross_entropy"

    @property
    def classes(self) -> Strings:
        """Class names in the order of label numbers; for two, the second counts as positive."""
        if self.values is not None:
            return np.array(self.names, dtype=np.str_)
        names = np.unique(self.labels)
        return names[::-1] if tuple(names) in (("emotional", NEUTRAL),) else names

    @property
    def label_numbers(self) -> NDArray[np.int64]:
        """`[item]`, places in `classes`."""
        return self._numbers(self.labels)

    @property
    def probe_target(self) -> NDArray[Any]:
        """What `cross_validate` learns: label numbers, ratings or shares."""
        return self.label_numbers if self.values is None else self.values

    def _numbers(self, labels: Strings) -> NDArray[np.int64]:
        place = {str(name): number for number, name in enumerate(self.classes)}
        return np.vectorize(place.__getitem__, otypes=[np.int64])(labels)

    def mask(self, target: str) -> NDArray[np.bool_]:
        """`[item]`, rows of one arm (reception: that arm and its neutral rows)."""
        return (self.arms == target) | (self.arms == "")

    def folds(self, n: int, seed: int) -> NDArray[np.int64]:
        """Fold numbers `[item]`; see `grouped_folds`. Held-out rows are one more fold, the last.

        There are `n` folds, or as many as the class with the fewest groups can fill.
        """
        n = min(n, self.most_folds)
        folds, learned = np.full(len(self.rows), n), ~self.held_out
        folds[learned] = deal(self.groups[learned], self.labels[learned], n, seed)
        return folds

    @property
    def compare(self) -> NDArray[np.int64] | None:
        """`[item]`, items of one number are ranked against one another; None for those of a fit."""
        return np.unique(self.units, return_inverse=True)[1] if self.within_units else None

    def permuted(self, n: int, seed: int) -> NDArray[np.int64]:
        """Relabelings `[n, item]` as label numbers, or places to take values from."""
        # Test rows keep to themselves, so that each split keeps its balance.
        blocks = np.char.add(self.blocks, np.where(self.held_out, "/test", "/dev"))
        if self.values is not None:
            return permute_places(self.units, blocks, n, seed)
        drawn = permute_labels(self.labels, self.scheme, self.units, blocks, n, seed)
        return self._numbers(drawn) if n else np.empty((0, len(self.rows)), np.int64)


def tasks_of(
    stimuli: StimulusSet,
    n_folds: int,
    *,
    ratings: Sequence[str] = (),
    hold_out: bool = True,
    classes: bool = False,
) -> tuple[list[Task], list[str]]:
    """The tasks that a set allows, and a line for each one that it only nearly allows.

    Args:
        stimuli: the set.
        n_folds: folds wanted; a task whose rarest class fills fewer takes fewer, at least three.
        ratings: columns of numbers to predict as well.
        hold_out: keep the rows of a test split out of everything that is learned or chosen.
        classes: ask that one question alone.

    Raises:
        UserError: the set allows none; says what each would need.
    """
    table = _Table(stimuli, hold_out)
    if classes:
        asked = table.classes()
    else:
        asked = [*table.reception(), *table.valence(), *table.categorisation(), *table.crossed()]
        asked += [*table.perspective(), *table.soft(), *(table.rating(name) for name in ratings)]
    tasks, notes = [], []
    for task in asked:
        named = f"{stimuli.name}: {task.name} {task.source}".rstrip()
        try:
            most = _most_folds(task)
            if most < n_folds:
                notes.append(f"{named} in {most} folds, not {n_folds}: a class has no more groups")
            tasks.append(replace(task, most_folds=most))
        except UserError as error:
            notes.append(f"{named} left out: {error}")
    if not tasks:
        why = "; ".join(notes) or (
            "it needs an `emotion` or `valence` column with two classes, or arms with `neutral`"
        )
        raise UserError(f"stimuli {stimuli.name!r} allow no task: {why}")
    return tasks, notes


def _most_folds(task: Task) -> int:
    """In how many folds every class of the rows that are learned from can stand.

    Raises:
        UserError: in fewer than three, or there is one class only.
    """
    groups, labels = task.groups[~task.held_out], task.labels[~task.held_out]
    if task.values is not None:
        check_groups(groups, FEWEST_FOLDS)
        return len(np.unique(groups))
    check_labels(groups, labels, FEWEST_FOLDS)
    return min(len(np.unique(groups[labels == name])) for name in np.unique(labels))


class _Table:
    """A set's columns as arrays, with groups filled in."""

    def __init__(self, stimuli: StimulusSet, hold_out: bool) -> None:
        names = ("set", "arm", "emotion", "valence", "domain", "scenario", "pair", "quad", "id")
        column = {name: stimuli.column(name) for name in (*names, "split")}
        self.stimuli, self.set = stimuli, column["set"]
        self.alarm = column["arm"] == ALARM
        test = column["split"] == "test"
        # A test split needs another to learn from; alone, it is a set like any other.
        self.held_out = self.alarm | (test & (hold_out and not test.all()))
        self.arm, self.emotion, self.valence_ = column["arm"], column["emotion"], column["valence"]
        self.domain, self.pair, self.quad = column["domain"], column["pair"], column["quad"]
        self.group = stimuli.groups

    def _task(self, name: str, source: str, keep: NDArray[np.bool_], **parts: object) -> Task:
        rows = np.flatnonzero(keep)
        defaults = {
            "targets": (source,),
            "arms": np.full(len(self.arm), source),
            "groups": self.group,
            "units": self.group,
            "blocks": self.domain,
            "held_out": self.held_out,
            "labels": np.full(len(self.arm), ""),
        }
        fields = {**defaults, **parts}
        cut = {k: v[rows] if isinstance(v, np.ndarray) else v for k, v in fields.items()}
        return Task(name=name, source=source, rows=rows, **cut)  # type: ignore[arg-type]

    def reception(self) -> list[Task]:
        """Each emotional arm against the neutral rows; false alarms are a target of their own."""
        found = []
        unit = np.where(self.pair != "", self.pair, self.group)
        labels = np.where(np.isin(self.arm, [NEUTRAL, ALARM]), NEUTRAL, "emotional")
        for arm in EMOTIONAL_ARMS:
            if not ((self.arm == arm).any() and (self.arm == NEUTRAL).any()):
                continue
            # A file may hold several sets: neutral texts of another one are no controls.
            own = np.isin(self.set, np.unique(self.set[self.arm == arm]))
            compared = np.isin(self.arm, [arm, NEUTRAL]) & own
            if not (compared & (self.arm == NEUTRAL)).any():
                continue
            _, sizes = np.unique(unit[compared], return_counts=True)
            alone = bool((sizes == 1).all())
            found.append(
                self._task(
                    "reception",
                    arm,
                    compared | self.alarm,
                    targets=(arm, *([ALARM] if self.alarm.any() else [])),
                    arms=np.where(self.alarm, ALARM, arm),
                    labels=labels,
                    units=unit,
                    scheme="across" if alone else "within",
                    paired=bool((sizes == 2).all()),
                )
            )
        return found

    def valence(self) -> list[Task]:
        """Positive against negative; quads are flipped whole."""
        keep = np.isin(self.valence_, ["positive", "negative"]) & ~self._flips_emotion
        if not keep.any() or (self.arm[keep] != "").any():
            return []
        quads = (self.quad[keep] != "").all()
        scheme = "flip" if quads else self._scheme(self.valence_, keep)
        return [self._task("valence", "", keep, labels=self.valence_, scheme=scheme)]

    def categorisation(self) -> list[Task]:
        """Which emotion, learned from each arm and predicted on every emotional arm."""
        arms = [arm for arm in EMOTIONAL_ARMS if (self.arm == arm).any()]
        emotional = (self.emotion != "") & (self.emotion != NEUTRAL) & (self.quad == "")
        found = []
        for arm in arms or [""]:
            keep = emotional & (np.isin(self.arm, arms) if arms else self.arm == "")
            if keep.any():
                others = tuple(other for other in arms if other != arm)
                found.append(
                    self._task(
                        "categorisation",
                        arm,
                        keep,
                        targets=(arm, *others),
                        arms=self.arm,
                        labels=self.emotion,
                        scheme=self._scheme(self.emotion, keep),
                    )
                )
        return found

    def classes(self) -> list[Task]:
        """Which label, neutral among them, of every text that has one."""
        keep = (self.emotion != "") & ~self.alarm
        scheme = self._scheme(self.emotion, keep)
        alike = {"arms": np.full(len(self.arm), ""), "labels": self.emotion, "scheme": scheme}
        return [self._task("classes", "", keep, **alike)] if keep.any() else []

    def crossed(self) -> list[Task]:
        """Which of its two emotions each text of a quad is about; only texts of a quad compare."""
        keep = self._flips_emotion
        if not keep.any():
            return []
        task = self._task(
            "categorisation", "", keep, labels=self.emotion, scheme="flip", within_units=True
        )
        return [task]

    def perspective(self) -> list[Task]:
        """Of two people in a scene, whose feeling is the better one; roles are mirrored."""
        try:
            labels = self.stimuli.column("favours")
        except UserError:
            return []
        keep = labels != ""
        return [self._task("perspective", "", keep, labels=labels, scheme="within")]

    def rating(self, name: str) -> Task:
        """A column of numbers, rows without one left out."""
        values = self.stimuli.numbers(name)
        if not (keep := np.isfinite(values) & ~self.alarm).any():
            raise UserError(f"the column {name!r} of {self.stimuli.name} is empty: give numbers")
        return self._task(name, "", keep, values=values, scheme="across")

    def soft(self) -> list[Task]:
        """Shares of votes, where rows carry them."""
        if not any(isinstance(row.extra.get(SHARES), Mapping) for row in self.stimuli.rows):
            return []
        classes, values = self.stimuli.shares()
        keep = np.isfinite(values.sum(1)) & ~self.alarm
        return [self._task(SOFT, "", keep, values=values, names=tuple(classes), scheme="across")]

    @property
    def _flips_emotion(self) -> NDArray[np.bool_]:
        return (self.quad != "") & (self.emotion != "")

    def _scheme(self, labels: Strings, keep: NDArray[np.bool_]) -> Scheme:
        """Labels that all groups hold alike are shuffled inside them, others across them."""
        return scheme_of(labels[keep], self.group[keep])
