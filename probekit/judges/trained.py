"""Judges that learned: multinomial logistic regression on what is read of a text.

They learn from texts that were written to express an emotion, and never from the vignettes:
directions come from those, and a judge that shared them would share their accidents.

1. gather the training texts, their labels, and the scenarios that must not be parted (`Lesson`);
2. choose the penalty C by cross-entropy in folds that keep scenarios whole;
3. fit all texts, and take off the classes' shares among them (Bayes' rule: probabilities are those
   of a world in which all labels are equally frequent); keep weights and figures in the cache.
"""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from probekit import runs, stats
from probekit.errors import UserError
from probekit.folds import grouped_folds
from probekit.judges.features import Features
from probekit.judges.judge import LABELS, Floats, Judge, softmax, text_key
from probekit.judges.readings import GeneratedReadings
from probekit.probes import LayerProbes
from probekit.stimuli import StimulusSet, shipped

TRAINING_SETS = ("expressions", "complex_neutral")
"""The shipped sets that judges learn from, by default; one that is not there is passed over.

Chosen in cross-validation of `expressions` with embeddings, before any generated text was read:
kappa .67 with `expressions` alone, .68 with `complex_neutral` too (whose texts out of fold are then
read as neutral in 92 % of cases and not in 33 %), .62 with `minimal_pairs` instead, .57 with both
and `crossed`, .14 without `expressions`: descriptions of events are not expressions of emotion.
"""
GRID = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0)
"""Inverse penalties to choose from, on standardised numbers."""
FOLDS = 5


class SameModelWarning(UserWarning):
    """A judge reads with the very model whose texts it judges."""


@dataclass(frozen=True)
class Lesson:
    """Texts to learn from: `[text]` texts, labels, and groups that folds must not part."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    groups: tuple[str, ...]
    sets: tuple[str, ...]

    @classmethod
    def of(cls, *sets: StimulusSet) -> "Lesson":
        """The rows of some sets whose emotion is one of `LABELS`, each text once.

        Raises:
            UserError: no such row, or a text that stands under two labels.
        """
        rows = [
            (row.text, row.emotion, f"{stimuli.name}/{row.scenario or row.id}", row.id)
            for stimuli in sets
            for row in stimuli.rows
            if row.emotion in LABELS
        ]
        names = tuple(stimuli.name for stimuli in sets)
        if not rows:
            said = f"no row of {', '.join(names)} has one of the emotions {', '.join(LABELS)}"
            raise UserError(said)
        return cls._of(rows, names)

    @classmethod
    def read(cls, readings: GeneratedReadings) -> "Lesson":
        """Generated texts with what most readers said of them; "other" is no label of a judge.

        Raises:
            UserError: no text has a label.
        """
        said = list(zip(readings.texts, readings.majority(), strict=True))
        ways: dict[str, set[str | None]] = {}
        for text, label in said:
            ways.setdefault(text.text, set()).add(label)
        # A text that was written twice and read in two ways has no label.
        rows = [
            (text.text, label, f"generated/{text.prompt}", text.id)
            for text, label in said
            if label in LABELS and text.text.strip() and len(ways[text.text]) == 1
        ]
        if not rows:
            raise UserError("no generated text has a label of most readers: give more readings")
        return cls._of(rows, ("generated",))

    def __add__(self, other: "Lesson") -> "Lesson":
        """Both.

        Raises:
            UserError: a text that stands under two labels.
        """
        rows = [
            (*row, f"{'+'.join(lesson.sets)} {number}")
            for lesson in (self, other)
            for number, row in enumerate(
                zip(lesson.texts, lesson.labels, lesson.groups, strict=True)
            )
        ]
        return self._of(rows, self.sets + other.sets)

    @classmethod
    def _of(cls, rows: Iterable[tuple[str, str, str, str]], sets: tuple[str, ...]) -> "Lesson":
        """Of (text, label, group, name), each text once."""
        found: dict[str, tuple[str, str]] = {}
        for text, label, group, name in rows:
            if found.setdefault(text, (label, group))[0] != label:
                raise UserError(f"{name}: its text stands under another label too")
        labels, groups = zip(*found.values(), strict=True)
        return cls(tuple(found), labels, groups, sets)

    @classmethod
    def shipped(cls, names: Sequence[str] = TRAINING_SETS) -> "Lesson":
        """Of the shipped sets with these names, those that there are."""
        return cls.of(*(StimulusSet.load(name) for name in names if name in shipped()))

    @property
    def sha256(self) -> str:
        """Digest of texts, labels and groups."""
        return runs.digest([self.texts, self.labels, self.groups])


class TrainedJudge(Judge):
    """Logistic regression on features of texts.

    Args:
        features: what is read.
        lesson: what it learns from; default the shipped `TRAINING_SETS`.
        grid: inverse penalties to choose from.
        seed: of the folds.

    Attributes:
        C: the inverse penalty chosen.
        learned: figures out of fold on the training texts, at the C chosen on the same folds:
            "kappa" and "cross_entropy". They are of training texts, not of generated ones.

    Raises:
        UserError: one class only, or a class of fewer scenarios than folds.
    """

    def __init__(
        self,
        features: Features,
        lesson: Lesson | None = None,
        *,
        grid: Sequence[float] = GRID,
        seed: int = 0,
    ) -> None:
        self.features, self.lesson = features, lesson or Lesson.shipped()
        self.name, self.reads_with = features.name, features.reads_with
        self.trained_on = frozenset(map(text_key, self.lesson.texts))
        missing = [label for label in LABELS if label not in self.lesson.labels]
        if missing:
            self.notes = (f"{self.name} learned nothing of {', '.join(missing)}",)
        key = {
            "format": "probekit-judge-2",
            "features": list(features.key),
            "lesson": self.lesson.sha256,
            "grid": list(grid),
            "folds": FOLDS,
            "seed": seed,
        }
        self.identity = (runs.digest(key),)
        path = runs.cache_home() / "judges" / f"{self.identity[0][:24]}.safetensors"
        if not path.exists():
            arrays, facts = _fit(features.of(self.lesson.texts), self.lesson, grid, seed)
            with runs.atomic_write(path) as temporary:
                save_file(arrays, temporary, metadata=facts)
        with safe_open(path, framework="numpy") as file:
            self._weights, self._bias = file.get_tensor("weights"), file.get_tensor("bias")
            facts = file.metadata()
        self.C = float(facts["C"])
        self.learned = {name: float(facts[name]) for name in ("kappa", "cross_entropy")}

    def read(self, texts: Sequence[str]) -> Floats:
        return softmax(self.features.of(texts) @ self._weights.T + self._bias)


def warn_if_steered(judge: Judge, fingerprint: str, name: str) -> None:
    """Warn if a judge reads with the model (by its fingerprint) whose texts it is to judge."""
    if fingerprint in judge.reads_with:
        warnings.warn(
            f"the judge {judge.name} reads with {name}, which wrote the texts: what the model "
            "writes and what it reads may err alike; take a judge of another model",
            SameModelWarning,
            stacklevel=2,
        )


def _fit(
    x: NDArray[np.float32], lesson: Lesson, grid: Sequence[float], seed: int
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Weights and intercepts on raw features, and what is known of them, as strings."""
    labels, groups = np.array(lesson.labels), np.array(lesson.groups)
    folds = grouped_folds(groups, labels, FOLDS, seed)
    true = np.array([LABELS.index(label) for label in lesson.labels])
    tried = [out_of_fold(x, labels, folds, c) for c in grid]
    losses = [_loss(found, true) for found in tried]
    chosen = int(np.argmin(losses))
    kappa = stats.cohen_kappa(true, tried[chosen].argmax(1), len(LABELS))[0]
    weights, bias = _regression(x, labels, grid[chosen])
    facts = {"C": grid[chosen], "kappa": float(kappa), "cross_entropy": losses[chosen]}
    told = {name: repr(float(value)) for name, value in facts.items()}
    return {"weights": weights, "bias": bias}, told


def out_of_fold(x: NDArray[Any], labels: NDArray[np.str_], folds: NDArray[Any], c: float) -> Floats:
    """Probabilities `[text, label]` by fits that did not see the text's fold."""
    found = np.full((len(x), len(LABELS)), np.nan)
    for fold in np.unique(folds):
        test = folds == fold
        weights, bias = _regression(x[~test], labels[~test], c)
        found[test] = softmax(x[test] @ weights.T + bias)
    return found


def _regression(x: NDArray[Any], labels: NDArray[np.str_], c: float) -> tuple[Floats, Floats]:
    """Weights `[label, d]` and intercepts `[label]`, -inf for a label that no text has."""
    fit = LayerProbes(C=c).fit(x, labels)
    slopes, offsets = fit.coef_[0], fit.intercept_[0]
    if len(fit.classes_) == 2:  # one output: the second class's log-odds
        slopes, offsets = np.vstack([-slopes, slopes]) / 2, np.hstack([-offsets, offsets]) / 2
    rows = [LABELS.index(str(name)) for name in fit.classes_]
    shares = np.array([(labels == name).mean() for name in fit.classes_])
    weights, bias = np.zeros((len(LABELS), x.shape[1])), np.full(len(LABELS), -np.inf)
    weights[rows], bias[rows] = slopes, offsets - np.log(shares)
    return weights, bias


def _loss(probabilities: Floats, true: NDArray[np.int64]) -> float:
    """Cross-entropy in nats: the mean over classes of the mean over their texts."""
    nats = -np.log(probabilities[np.arange(len(true)), true].clip(1e-12))
    return float(np.mean([nats[true == label].mean() for label in np.unique(true)]))
