"""Which questions a stimulus set can answer: rows, labels, groups and how chance is permuted.

- *reception*: an emotional arm against the neutral arm of the same scenarios (or pairs).
- *valence*: positive against negative in crossed quads.
- *categorisation*: which emotion, within an arm, and from one arm to another.

A set of one's own needs only an `emotion` or `valence` column: each row is then its own group.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probekit.errors import UserError
from probekit.folds import Scheme, check_labels, grouped_folds, permute_labels
from probekit.stimuli import StimulusSet

EMOTIONAL_ARMS = ("keyword_free", "keyword_rich")
NEUTRAL = "neutral"
Strings = NDArray[np.str_]


@dataclass(frozen=True)
class Task:
    """A question put to one set; `item` runs over the rows it uses.

    Attributes:
        name: reception, valence or categorisation.
        source: the arm learned from ("" where the set has no arms).
        targets: the arms predicted, the source's own first.
        rows: `[item]`, places in the set.
        labels: `[item]`, classes.
        arms: `[item]`, arm of each row, for `source` and `targets`.
        groups: `[item]`, what folds must not part and bootstraps draw.
        units: `[item]`, what the permutation speaks of: pairs, quads or scenarios.
        blocks: `[item]`, within which an "across" permutation stays.
        scheme: how chance is permuted.
        paired: whether units are pairs with one item of each class.
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
    scheme: Scheme
    paired: bool = False

    @property
    def classes(self) -> Strings:
        """Class names in the order of label numbers; for two, the second counts as positive."""
        names = np.unique(self.labels)
        return names[::-1] if tuple(names) in (("emotional", NEUTRAL),) else names

    @property
    def label_numbers(self) -> NDArray[np.int64]:
        """`[item]`, places in `classes`."""
        return self._numbers(self.labels)

    def _numbers(self, labels: Strings) -> NDArray[np.int64]:
        place = {str(name): number for number, name in enumerate(self.classes)}
        return np.vectorize(place.__getitem__, otypes=[np.int64])(labels)

    def mask(self, target: str) -> NDArray[np.bool_]:
        """`[item]`, rows of one arm (reception: that arm and its neutral rows)."""
        return (self.arms == target) | (self.arms == "")

    def folds(self, n: int, seed: int) -> NDArray[np.int64]:
        """Fold numbers `[item]`; see `grouped_folds`."""
        return grouped_folds(self.groups, self.labels, n, seed)

    def permuted(self, n: int, seed: int) -> NDArray[np.int64]:
        """Relabelings `[n, item]` as label numbers; see `permute_labels`."""
        drawn = permute_labels(self.labels, self.scheme, self.units, self.blocks, n, seed)
        return self._numbers(drawn) if n else np.empty((0, len(self.rows)), np.int64)


def tasks_of(stimuli: StimulusSet, n_folds: int) -> tuple[list[Task], list[str]]:
    """The tasks that a set allows, and a line for each one that it only nearly allows.

    Raises:
        UserError: the set allows none; says what each would need.
    """
    table = _Table(stimuli)
    tasks, notes = [], []
    for task in [*table.reception(), *table.valence(), *table.categorisation()]:
        try:
            check_labels(task.groups, task.labels, n_folds)
            tasks.append(task)
        except UserError as error:
            notes.append(f"{stimuli.name}: {task.name} {task.source} left out: {error}")
    if not tasks:
        why = "; ".join(notes) or (
            "it needs an `emotion` or `valence` column with two classes, or arms with `neutral`"
        )
        raise UserError(f"stimuli {stimuli.name!r} allow no task: {why}")
    return tasks, notes


class _Table:
    """A set's columns as arrays, with groups filled in."""

    def __init__(self, stimuli: StimulusSet) -> None:
        column = {
            name: stimuli.column(name)
            for name in ("arm", "emotion", "valence", "domain", "scenario", "pair", "quad", "id")
        }
        self.arm, self.emotion, self.valence_ = column["arm"], column["emotion"], column["valence"]
        self.domain, self.pair, self.quad = column["domain"], column["pair"], column["quad"]
        own = np.where(column["pair"] != "", column["pair"], column["id"])
        own = np.where(column["quad"] != "", column["quad"], own)
        self.group = np.where(column["scenario"] != "", column["scenario"], own)

    def _task(self, name: str, source: str, keep: NDArray[np.bool_], **parts: object) -> Task:
        rows = np.flatnonzero(keep)
        defaults = {
            "targets": (source,),
            "arms": np.full(len(self.arm), source),
            "groups": self.group,
            "units": self.group,
            "blocks": self.domain,
        }
        fields = {**defaults, **parts}
        cut = {k: v[rows] if isinstance(v, np.ndarray) else v for k, v in fields.items()}
        return Task(name=name, source=source, rows=rows, **cut)  # type: ignore[arg-type]

    def reception(self) -> list[Task]:
        """Each emotional arm against the neutral rows."""
        found = []
        unit = np.where(self.pair != "", self.pair, self.group)
        for arm in EMOTIONAL_ARMS:
            if not ((self.arm == arm).any() and (self.arm == NEUTRAL).any()):
                continue
            keep = np.isin(self.arm, [arm, NEUTRAL])
            _, sizes = np.unique(unit[keep], return_counts=True)
            labels = np.where(self.arm == NEUTRAL, NEUTRAL, "emotional")
            paired = bool((sizes == 2).all())
            found.append(
                self._task(
                    "reception",
                    arm,
                    keep,
                    labels=labels,
                    units=unit,
                    scheme="within",
                    paired=paired,
                )
            )
        return found

    def valence(self) -> list[Task]:
        """Positive against negative; quads are flipped whole."""
        keep = np.isin(self.valence_, ["positive", "negative"])
        if not keep.any() or (self.arm[keep] != "").any():
            return []
        quads = (self.quad[keep] != "").all()
        scheme = "flip" if quads else self._scheme(self.valence_, keep)
        return [self._task("valence", "", keep, labels=self.valence_, scheme=scheme)]

    def categorisation(self) -> list[Task]:
        """Which emotion, learned from each arm and predicted on every emotional arm."""
        arms = [arm for arm in EMOTIONAL_ARMS if (self.arm == arm).any()]
        emotional = (self.emotion != "") & (self.emotion != NEUTRAL)
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

    def _scheme(self, labels: Strings, keep: NDArray[np.bool_]) -> Scheme:
        """Labels that all groups hold alike are shuffled inside them, others across them."""
        groups, labels = self.group[keep], labels[keep]
        held = {tuple(sorted(labels[groups == group])) for group in np.unique(groups)}
        alike = len(held) == 1 and len(set(next(iter(held)))) > 1
        return "within" if alike else "across"
