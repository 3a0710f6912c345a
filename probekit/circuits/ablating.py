"""Rows of what circuits are needed for: every ablation beside random ones of the same size."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probekit import stats
from probekit.causal import RECEPTION, Row, Sizes, adjusted
from probekit.circuits.rows import estimated
from probekit.circuits.study import Study
from probekit.circuits.texts import NEEDED
from probekit.circuits.validating import (
    CIRCUIT,
    COMPLEMENT,
    NOTHING,
    OTHER,
    RANDOM,
    RANDOM_COMPLEMENT,
    Ablation,
    Validation,
    planned,
)
from probekit.stats import Estimate

Floats = NDArray[np.float64]
CONTROLS = {CIRCUIT: RANDOM, COMPLEMENT: RANDOM_COMPLEMENT, OTHER: RANDOM}
"""What each ablation is held against: random components, as many in every sublayer."""
Group = tuple[str, str, int]
"""(condition, allocation, k) of ablations that are told together."""
TASKS = {"own_label": "categorisation", RECEPTION: "reception"}
"""Figures of what is read, and the task that they are of."""


@dataclass(frozen=True, eq=False)
class Shifts:
    """What ablating an emotion's circuit, or random components, does to what is read.

    Attributes:
        emotion: whose circuit.
        metric: "own_label" or "reception_shift".
        target: texts of the emotion ("own") or of "others".
        clusters: `[row]` scenarios.
        values: group -> `[row]`.
    """

    emotion: str
    metric: str
    target: str
    clusters: tuple[str, ...]
    values: Mapping[Group, Floats]


def validate(study: Study) -> list[Row]:
    """Effects on expression at every size; at the study's own on what is read, and on language."""
    options = study.options
    sizes = Sizes(
        bootstraps=options.bootstraps, permutations=options.permutations, seed=options.seed
    )
    given = Validation(
        study.model,
        study.learned.neutral,
        options.emotions,
        study.lifts,
        study.folder,
        study.stages.digests["circuits"],
        sizes,
        study.progress,
    )
    plan = list(
        planned(
            study.model,
            study.circuits,
            options.k,
            options.allocation,
            options.draws,
            options.seed,
        )
    )
    # Nothing is read without its own layers: complements are not asked what they read.
    reading = [
        each
        for each in plan
        if (each.allocation, each.k) == (options.allocation, options.k)
        and each.condition in (CIRCUIT, RANDOM)
    ]
    read = dict(zip(reading, given.reading(reading), strict=True))
    found: list[Row] = []
    shifts: list[Shifts] = []
    for emotion in options.emotions:
        groups: dict[Group, list[Ablation]] = {}
        for each in plan:
            if each.emotion == emotion:
                groups.setdefault((each.condition, each.allocation, each.k), []).append(each)
        measured = _Emotion(study, given, emotion, groups)
        found += measured.expression()
        found += measured.language()
        shifts += measured.shifts(read)
    found += reading_rows(study, shifts)
    missing = [name for name in options.emotions if name not in study.lifts]
    if missing:
        told = ", ".join(missing)
        study.notes.append(
            f"no effect on expression of {told}: fewer than {NEEDED} accepted replies are held out"
        )
    adjusted(found)
    return found


class _Emotion:
    """What is measured of one emotion's circuits."""

    def __init__(
        self,
        study: Study,
        given: Validation,
        emotion: str,
        groups: Mapping[Group, Sequence[Ablation]],
    ) -> None:
        self.study, self.given, self.emotion, self.groups = study, given, emotion, groups
        self.options = study.options
        self.nothing = Ablation(emotion, NOTHING, "", "", 0, ())

    def expression(self) -> Iterator[Row]:
        """Lift of held-out expressions: alone, its share of the unablated one, beyond random."""
        lift = self.study.lifts.get(self.emotion)
        if lift is None:
            return
        clusters = [each.scenario for each in lift.replies]
        before = self.given.lift(self.nothing)
        common = {"task": "expression", "emotion": self.emotion, "set": "scenarios"}
        yield {
            **common, "metric": "lift", "condition": NOTHING,
            **estimated(self.study, before, clusters, test=True),
        }  # fmt: skip
        found = self._over(self.groups, self.given.lift, "ablating for expression")
        for (condition, allocation, k), after in found.items():
            row = {**common, "condition": condition, "method": allocation, "k": k}
            yield {**row, "metric": "lift_share", **self._share(after, before, clusters)}
        yield from _beside_random(self.study, "lift", found, clusters, common, test=False)

    def language(self) -> Iterator[Row]:
        """Nats per token that neutral texts cost more."""
        texts = self.given.plain_texts
        clusters = list(texts.column("scenario"))
        before = self.given.language(self.nothing)
        found = self._over(self._own(), self.given.language, "language")
        added = {group: after - before for group, after in found.items()}
        common = {"task": "language", "emotion": self.emotion, "set": texts.name}
        yield from _beside_random(self.study, "nats_added", added, clusters, common)

    def shifts(self, read: Mapping[Ablation, Mapping[str, Floats]]) -> Iterator[Shifts]:
        """Shifts on test vignettes of this emotion and of others: their own label, reception."""
        subject, rows = self.given.subject, self.given.rows
        own = subject.emotion[rows] == subject.labels.index(self.emotion)
        for metric in TASKS:
            found = {
                group: np.mean([read[member][metric] for member in members], axis=0)
                for group, members in self._own().items()
            }
            for target, mask in (("own", own), ("others", ~own)):
                values = {group: each[mask] for group, each in found.items()}
                scenarios = tuple(map(str, subject.scenario[rows][mask]))
                yield Shifts(self.emotion, metric, target, scenarios, values)

    def _own(self) -> dict[Group, Sequence[Ablation]]:
        """The circuit and random ones of the study's own size and allocation."""
        size = (self.options.allocation, self.options.k)
        return {
            group: each
            for group, each in self.groups.items()
            if group[1:] == size and group[0] in (CIRCUIT, RANDOM)
        }

    def _over(
        self, groups: Mapping[Group, Sequence[Ablation]], measure: Any, what: str
    ) -> dict[Group, Floats]:
        """Group -> `[item]`, the mean over a group's ablations (draws, other emotions)."""
        total, done = sum(map(len, groups.values())), 0
        found: dict[Group, Floats] = {}
        for group, members in groups.items():
            each = []
            for member in members:
                self.study.progress(f"{what}: {self.emotion}", done, total)
                each.append(measure(member))
                done += 1
            found[group] = np.mean(each, axis=0)
        self.study.progress(f"{what}: {self.emotion}", total, total)
        return found

    def _share(self, after: Floats, before: Floats, clusters: Sequence[str]) -> Row:
        """Ratio of means, with its interval on shared draws."""
        options = self.options
        weights = stats.bootstrap_weights(list(clusters), options.bootstraps, options.seed)
        above, below = weights @ after, weights @ before
        if not (below > 0).all():  # A share of nothing is no figure.
            return {"n": len(after), "clusters": len(set(clusters))}
        sizes = {"n": len(after), "clusters": len(set(clusters))}
        return {**Estimate.of(above / below).cells, **sizes}


def reading_rows(study: Study, shifts: Sequence[Shifts]) -> Iterator[Row]:
    """What every circuit does to what is read, by emotion and over all circuits together."""
    texts = {"set": "vignettes"}
    for each in shifts:
        common = {"task": TASKS[each.metric], "emotion": each.emotion, "target": each.target}
        yield from _beside_random(study, each.metric, each.values, each.clusters, common | texts)
    for metric, task in TASKS.items():
        for target in ("own", "others"):
            parts = [s for s in shifts if (s.metric, s.target) == (metric, target)]
            values = {
                group: np.concatenate([part.values[group] for part in parts])
                for group in parts[0].values
            }
            clusters = [name for part in parts for name in part.clusters]
            common = {"task": task, "emotion": "", "target": target, **texts}
            yield from _beside_random(study, metric, values, clusters, common)


def _beside_random(
    study: Study,
    metric: str,
    found: Mapping[Group, Floats],
    clusters: Sequence[str],
    common: Row,
    *,
    test: bool = True,
) -> Iterator[Row]:
    """A figure under each ablation, and its paired difference from random components."""
    for (condition, allocation, k), values in found.items():
        row = {**common, "condition": condition, "method": allocation, "k": k}
        yield {**row, "metric": metric, **estimated(study, values, clusters, test=test)}
        control = found.get((CONTROLS.get(condition, ""), allocation, k))
        if control is not None:
            gap = estimated(study, values - control, clusters, test=True)
            yield {**row, "metric": f"{metric}_above_random", **gap}
