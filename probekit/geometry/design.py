"""A set as the geometry sees it: texts that name an emotion, and what else they differ in."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from probekit.errors import UserError
from probekit.folds import deal, grouped_folds, permute_places
from probekit.stimuli import StimulusSet
from probekit.tasks import FEWEST_FOLDS, NEUTRAL, Task, tasks_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Strings = NDArray[np.str_]
MOST_ITEMS = 400
"""Of a larger set, whole scenarios are drawn: tables of pairs grow with the square."""
RATINGS = ("read_valence", "read_arousal")
GRADES = {"intensity": ("moderate", "strong")}
"""Columns of words that are grades, in their order."""


@dataclass(frozen=True)
class Design:
    """Texts of the emotional arms, `item`, and those of the neutral arm, for the picture.

    Items stand in the order of scenario, arm and id, whatever order the set has.

    Attributes:
        stimuli: the set, or the scenarios drawn from a large one.
        rows: `[item]`, places in the set.
        neutral: `[neutral item]`, places in the set.
        labels: the emotions, in the order of their numbers.
        arms: names of the emotional arms ("" where a set has none).
        emotion: `[item]`, numbers.
        arm, domain, scenario: `[item]`.
        length: `[item]`, logarithm of the number of characters.
        learned: `[item]`, rows that axes and scales are learned from: dev, or half the scenarios.
        held_out: name of the other half's split.
        ratings: name -> `[item]`, what readers or authors gave; NaN where nobody did.
        relabeled: `[permutation, item]`, emotions as chance deals them out.
        notes: what a reader must know.
    """

    stimuli: StimulusSet
    rows: Ints
    neutral: Ints
    labels: tuple[str, ...]
    arms: tuple[str, ...]
    emotion: Ints
    arm: Strings
    domain: Strings
    scenario: Strings
    length: Floats
    learned: NDArray[np.bool_]
    held_out: str
    ratings: Mapping[str, Floats]
    relabeled: Ints
    notes: tuple[str, ...]

    @property
    def cell(self) -> Strings:
        """`[item]`, emotion and domain: what halves of the scenarios hold in equal numbers."""
        names = np.array(self.labels)[self.emotion]
        return np.char.add(np.char.add(names, "/"), self.domain)

    def places(self, factor: str, count: int, seed: int) -> Ints:
        """Places `[count, item]` that items take where one factor is chance and the others stay.

        Emotions and lengths change between scenarios of a domain, domains between scenarios of an
        emotion, arms within a scenario.
        """
        if factor == "arm":
            return permute_places(np.arange(len(self.rows)).astype(str), self.scenario, count, seed)
        own = np.array(self.labels)[self.emotion]
        block = {"domain": own, "length": self.cell}.get(factor, self.domain)
        # Only scenarios told in the same arms, of the same emotions where these stay, are alike.
        told = np.char.add(np.char.add(self.arm, ":"), block)
        alike = {name: "+".join(told[self.scenario == name]) for name in set(self.scenario)}
        blocks = np.array([alike[name] for name in self.scenario])
        return permute_places(self.scenario, blocks, count, seed)


def design_of(stimuli: StimulusSet, permutations: int, seed: int) -> Design:
    """The design of a set.

    Raises:
        UserError: it names fewer than two emotions, or has too few scenarios of one.
    """
    task, notes = _emotions(stimuli)
    if len(task.rows) > MOST_ITEMS:
        parts = ceil(len(task.rows) / MOST_ITEMS)
        kept = set(task.groups[deal(task.groups, task.labels, parts, seed) == 0])
        groups = dict(zip(np.array(stimuli.ids)[task.rows], task.groups, strict=True))
        rows = [r for r in stimuli.rows if groups.get(r.id, r.scenario or r.id) in kept]
        notes.append(f"{stimuli.name}: one scenario in {parts} was drawn, {len(rows)} texts")
        stimuli = StimulusSet(stimuli.name, tuple(rows))
        task, _ = _emotions(stimuli)
    learned, held_out = ~task.held_out, "test"
    if learned.all():
        learned = grouped_folds(task.groups, task.labels, 2, seed) == 0
        held_out = "held_out"
    ids = np.array(stimuli.ids)
    order = np.lexsort((ids[task.rows], task.arms, task.groups))
    rows = task.rows[order]
    neutral = np.flatnonzero(stimuli.column("arm") == NEUTRAL)
    return Design(
        stimuli=stimuli,
        rows=rows,
        neutral=neutral[np.argsort(ids[neutral])],
        labels=tuple(map(str, task.classes)),
        arms=tuple(arm for arm in task.targets if (task.arms == arm).any()),
        emotion=task.label_numbers[order],
        arm=task.arms[order],
        domain=task.blocks[order],
        scenario=task.groups[order],
        length=np.log([len(stimuli.texts[row]) for row in rows]),
        learned=learned[order],
        held_out=held_out,
        ratings=_ratings(stimuli, rows),
        relabeled=task.permuted(permutations, seed)[:, order],
        notes=tuple(notes),
    )


def _emotions(stimuli: StimulusSet) -> tuple[Task, list[str]]:
    """The set's first question of which emotion, and what is to be said of it."""
    needed = f"{stimuli.name}: geometry needs two or more emotions, three scenarios of each"
    try:
        tasks, notes = tasks_of(stimuli, FEWEST_FOLDS)
    except UserError as why:
        raise UserError(f"{needed}: {why}") from why
    notes = [note for note in notes if "categorisation" in note]
    for task in tasks:
        if task.name == "categorisation":
            return task, notes
    raise UserError(": ".join([needed, *notes]))


def _ratings(stimuli: StimulusSet, rows: Ints) -> dict[str, Floats]:
    found = {name: stimuli.numbers(name)[rows] for name in RATINGS if stimuli.has(name)}
    for name, grades in GRADES.items():
        given = stimuli.column(name)[rows]
        if np.isin(given, grades).any():
            values = [grades.index(value) if value in grades else np.nan for value in given]
            found[name] = np.array(values, dtype=np.float64)
    return found
