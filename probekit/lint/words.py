"""What words alone achieve on a set: every text baseline, every task, with null and power."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probekit import runs, stats
from probekit.baselines import Baseline
from probekit.crossval import CrossValidated, cross_validate
from probekit.evaluation import Scorer
from probekit.stats import Estimate
from probekit.stimuli import StimulusSet
from probekit.tasks import FEWEST_FOLDS, Task, tasks_of

BLIND = 300
"""Draws of scores that know nothing, for the smallest effect."""


@dataclass(frozen=True)
class Words:
    """One figure of one baseline on one task.

    Attributes:
        task, source: the question, and the arm it was put to.
        folds: "scenario", or the column whose values were held out in turn.
        method: the baseline.
        metric: auroc, forced_choice, spearman, cross_entropy.
        estimate: the figure with its interval over scenarios.
        chance: mean of the permutation null (for the task's own metric).
        smallest: the smallest distance from chance that the design shows with power .8.
        p: of the permutation test, one-sided.
        clusters: scenarios.
    """

    task: str
    source: str
    folds: str
    method: str
    metric: str
    estimate: Estimate
    chance: float | None
    smallest: float | None
    p: float | None
    clusters: int


@dataclass(frozen=True)
class Design:
    """Sizes of the validation, and its seed."""

    folds: int = 6
    permutations: int = 60
    bootstraps: int = 1000
    seed: int = 0


def measure(
    stimuli: StimulusSet,
    baselines: Sequence[Baseline],
    design: Design,
    progress: runs.Progress = lambda *_: None,
) -> Iterator[Words]:
    """Every baseline on every task of a set, all rows taken together.

    Folds keep scenarios whole and hold equal numbers of each class. Where a set has three domains
    or more, categorisation is also done with whole domains held out.
    """
    tasks, _ = tasks_of(stimuli, design.folds, hold_out=False)
    for number, task in enumerate(tasks):
        progress("what words alone achieve", number, len(tasks))
        for name, folds in _foldings(stimuli, task, design):
            scorer = Scorer(task, task.source, folds, design.bootstraps, design.seed)
            smallest = _smallest(scorer, design)
            for baseline in baselines:
                result = cross_validate(
                    baseline.compact[task.rows],
                    task.probe_target,
                    folds,
                    train=task.mask(task.source),
                    held_out=task.held_out,
                    compare=task.compare,
                    permuted=task.permuted(design.permutations, design.seed),
                    standardize=baseline.standardize,
                )[0]
                yield from _figures(scorer, smallest, result, name, baseline.name)
    progress("what words alone achieve", len(tasks), len(tasks))


def _foldings(
    stimuli: StimulusSet, task: Task, design: Design
) -> Iterator[tuple[str, NDArray[np.int64]]]:
    yield "scenario", task.folds(design.folds, design.seed)
    if task.name != "categorisation" or task.within_units:
        return
    domain, own = stimuli.column("domain")[task.rows], task.mask(task.source)
    told = {name: set(task.labels[own & (domain == name)]) for name in np.unique(domain)}
    # Every domain needs every emotion, or topic and emotion cannot be told apart.
    if len(told) >= FEWEST_FOLDS and all(held == set(task.labels[own]) for held in told.values()):
        yield "domain", np.unique(domain, return_inverse=True)[1]


def _smallest(scorer: Scorer, design: Design) -> float | None:
    """The smallest effect that this design can show: from scores that know nothing of the labels.

    That is a matter of the texts and their scenarios alone, whatever is measured on them.
    """
    outputs = max(1, len(scorer.task.classes)) if len(scorer.task.classes) > 2 else 1
    rng, n = np.random.default_rng(design.seed), (scorer.n, outputs)
    match scorer.task.metric:
        case "auroc":
            args = scorer.labels, scorer.strata
            drawn = [stats.macro_auroc(rng.normal(size=n), *args)[0] for _ in range(BLIND)]
        case "spearman":
            args = scorer.truth, scorer.strata
            drawn = [stats.spearman(rng.normal(size=n)[:, 0], *args)[0] for _ in range(BLIND)]
        case _:
            return None
    return stats.smallest_effect(drawn)


def _figures(
    scorer: Scorer, smallest: float | None, result: CrossValidated, folds: str, method: str
) -> Iterator[Words]:
    task = scorer.task
    for metric, draws in scorer.draws(result.nested).items():
        if metric not in (task.metric, "forced_choice"):
            continue
        own, null = metric == task.metric, result.null_nested
        chance = p = None
        if own and len(null):
            chance = float(null.mean())
            p = stats.permutation_p(scorer.better * float(draws[0]), scorer.better * null)
        estimate = Estimate.of(draws)
        yield Words(
            task.name, task.source, folds, method, metric, estimate, chance,
            smallest if own else None, p,
            scorer.clusters,
        )  # fmt: skip
