"""How well a judge reads generated text, against blind readers and beside its controls.

1. The true label is what most readers said. Texts without one (`GeneratedReadings.majority`) are
   left out and their share is told; so are texts in which there is no word.
2. Cohen's kappa of the judge with that label, interval over prompts; with each reader too, beside
   the kappa of the readers with each other, which is what a judge can reach.
3. Controls: the judge's own labels dealt out to other texts, and one label for all texts. The
   lexicon judge is validated like any other, and belongs in the same table.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probekit import runs, stats
from probekit.errors import UserError
from probekit.judges.agreement import agreement
from probekit.judges.judge import Floats, Judge, best, text_key
from probekit.judges.readings import CHOICES, GeneratedReadings
from probekit.stats import Estimate

ENOUGH = 0.4
"""The kappa below which a judge is refused: up to it agreement counts as fair (Landis & Koch 1977,
doi:10.2307/2529310)."""
BINS = 10


@dataclass(frozen=True)
class Bin:
    """A bin of the reliability curve: mean confidence, share that is right, texts."""

    confidence: float
    accuracy: float
    n: int


@dataclass(frozen=True)
class Validation:
    """A judge against blind readers.

    Attributes:
        judge: its name.
        kappa: with the label of most readers.
        permuted: kappa of the judge's labels dealt out at random: mean, and 95 % of the draws.
        p: of kappa against that, one-sided.
        constant: kappa of the commonest label given to all texts; 0 by definition, None where
            all texts have it.
        readers: kappa with each reader.
        ceiling: kappa between readers (first round), by pair.
        recall, precision: by label that readers gave; None where there is nothing to divide by.
            "other" has recall 0: no judge can give it.
        methods: kappa by the method that made the texts, where the interval can be had.
        method_recall: by method and label.
        confusion: `[label of most readers, label of the judge]`, counts over `CHOICES`.
        reliability: bins of confidence.
        ece: expected calibration error; None below 200 texts.
        brier: mean over texts; 0 best, 2 worst.
        n: texts with a label of most readers, `clusters` their prompts.
        undecided: share of the read texts on which readers have no majority, or could not tell.
        missing: texts of `n` without a word, which the judge cannot read; they are in no figure.
    """

    judge: str
    kappa: Estimate
    permuted: Estimate
    p: float
    constant: float | None
    readers: dict[str, Estimate]
    ceiling: dict[tuple[str, str], Estimate]
    recall: dict[str, float | None]
    precision: dict[str, float | None]
    methods: dict[str, Estimate]
    method_recall: dict[str, dict[str, float | None]]
    confusion: NDArray[np.int64]
    reliability: tuple[Bin, ...]
    ece: float | None
    brier: float
    n: int
    clusters: int
    undecided: float
    missing: int


def validate(
    judge: Judge,
    readings: GeneratedReadings,
    *,
    n_draws: int = 1000,
    n_permutations: int = 200,
    seed: int = 0,
) -> Validation:
    """Hold a judge against blind readings.

    Args:
        n_draws: bootstrap draws over prompts.
        n_permutations: deals of the judge's labels.
        seed: of both.

    Raises:
        UserError: a text trained the judge; no text has a label of most readers; one prompt only.
    """
    _refuse_trained(judge, readings)
    found = judge.probabilities([text.text for text in readings.texts])
    named = best(found, judge.labels)
    majority = readings.majority()
    read = [i for i, text in enumerate(readings.texts) if text.id in _read(readings)]
    told = [i for i in read if majority[i] is not None]
    rows = np.array([i for i in told if named[i]], dtype=np.int64)
    if not len(rows):
        raise UserError(f"{judge.name}: none of {len(read)} read texts has a label of most readers")
    true = np.array([CHOICES.index(majority[i] or "") for i in rows])
    given = np.array([CHOICES.index(named[i]) for i in rows])
    prompts = [readings.texts[i].prompt for i in rows]
    kappa = _kappa(true, given, prompts, n_draws, seed)
    null = _dealt(true, given, n_permutations, seed)
    confusion = _counts(true, given)
    methods = [readings.texts[i].method for i in rows]
    of = {m: np.flatnonzero([own == m for own in methods]) for m in dict.fromkeys(methods)}
    full = np.hstack([found[rows], np.zeros((len(rows), 1))])  # "other": no judge gives it
    return Validation(
        judge=judge.name,
        kappa=kappa,
        permuted=Estimate.of_null(null),
        p=stats.permutation_p(kappa.value, null),
        constant=None if len(set(true)) == 1 else 0.0,
        readers=dict(_with_readers(readings, named, n_draws, seed)),
        ceiling=agreement(readings, n_draws, seed).kappa,
        recall=_shares(confusion, 1),
        precision=_shares(confusion.T, 1),
        methods={
            name: _kappa(true[at], given[at], [prompts[i] for i in at], n_draws, seed)
            for name, at in of.items()
            if len({prompts[i] for i in at}) > 1
        },
        method_recall={name: _shares(_counts(true[at], given[at]), 1) for name, at in of.items()},
        confusion=confusion,
        reliability=_reliability(full, true),
        ece=stats.expected_calibration_error(full, true, BINS),
        brier=float(stats.brier(full, true).mean()),
        n=len(rows),
        clusters=len(set(prompts)),
        undecided=1 - len(told) / len(read),
        missing=len(told) - len(rows),
    )


def require(validation: Validation, *, forced: bool = False) -> Estimate:
    """The kappa that must stand beside every score of a judge; see `require_kappa`."""
    return require_kappa(validation.judge, validation.kappa, forced=forced)


def require_kappa(judge: str, kappa: Estimate, *, forced: bool = False) -> Estimate:
    """The kappa again.

    Raises:
        UserError: it is below `ENOUGH` (or undefined) and is not forced.
    """
    if not forced and not kappa.value >= ENOUGH:
        raise UserError(
            f"the judge {judge} agrees with blind readers by kappa {kappa.value:.2f} "
            f"[{kappa.low:.2f}, {kappa.high:.2f}], below {ENOUGH:g}: its scores would say little; "
            "take another judge, or force it (--force)"
        )
    return kappa


def kept_kappa(judge: Judge, readings: GeneratedReadings) -> Estimate:
    """The kappa of `validate`, on the prompts none of whose texts trained the judge.

    It is kept in the user's cache for a judge whose identity is known.

    Raises:
        UserError: no such prompt is left.
    """
    unseen = readings.unseen_by(judge.trained_on)

    def measure() -> list[float]:
        kappa = validate(judge, unseen).kappa
        return [kappa.value, kappa.low, kappa.high]

    if not judge.identity:
        return Estimate(*measure())
    key = {"kappa": 2, "judge": list(judge.identity), "readings": unseen.sha256}
    found = runs.stage(runs.cache_home() / "judges", key, measure)
    return Estimate(*(math.nan if value is None else value for value in found))


def _refuse_trained(judge: Judge, readings: GeneratedReadings) -> None:
    known = sum(text_key(text.text) in judge.trained_on for text in readings.texts)
    if known:
        raise UserError(
            f"{known} of {len(readings.texts)} texts trained the judge {judge.name}: a judge's "
            "kappa cannot be computed on texts that trained it; give other texts"
        )


def _read(readings: GeneratedReadings) -> set[str]:
    return {reading.id for reading in readings.readings}


def _kappa(
    true: NDArray[np.int64], given: NDArray[np.int64], prompts: Sequence[str], n: int, seed: int
) -> Estimate:
    weights = stats.bootstrap_weights(prompts, n, seed)
    return Estimate.of(stats.cohen_kappa(true, given, len(CHOICES), weights))


def _dealt(true: NDArray[np.int64], given: NDArray[np.int64], n: int, seed: int) -> Floats:
    """Kappa `[draw]` of the judge's labels in a random order, NaN left out."""
    rng = np.random.default_rng(seed)
    each = [stats.cohen_kappa(true, rng.permutation(given), len(CHOICES))[0] for _ in range(n)]
    known = [value for value in each if not np.isnan(value)]
    return np.array(known or [0.0], dtype=np.float64)


def _with_readers(
    readings: GeneratedReadings, named: Sequence[str], n: int, seed: int
) -> Iterator[tuple[str, Estimate]]:
    """Kappa with each reader, of the texts that the reader labelled."""
    for reader in readings.readers:
        answers = readings.answers(reader)
        rows = [i for i, said in enumerate(answers) if said and named[i]]
        prompts = [readings.texts[i].prompt for i in rows]
        if len(set(prompts)) > 1:
            true = np.array([CHOICES.index(answers[i] or "") for i in rows])
            given = np.array([CHOICES.index(named[i]) for i in rows])
            yield reader, _kappa(true, given, prompts, n, seed)


def _counts(true: NDArray[np.int64], given: NDArray[np.int64]) -> NDArray[np.int64]:
    found = np.zeros((len(CHOICES), len(CHOICES)), dtype=np.int64)
    np.add.at(found, (true, given), 1)
    return found


def _shares(counts: NDArray[np.int64], axis: int) -> dict[str, float | None]:
    """The diagonal over the sums of an axis; None where there is nothing to divide by."""
    totals = counts.sum(axis)
    return {
        label: float(counts[i, i] / totals[i]) if totals[i] else None
        for i, label in enumerate(CHOICES)
    }


def _reliability(probabilities: Floats, true: NDArray[np.int64]) -> tuple[Bin, ...]:
    confidence, hit = probabilities.max(1), stats.hits(probabilities, true)
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return tuple(
        Bin(float(confidence[at].mean()), float(hit[at].mean()), int(at.sum()))
        for number in np.unique(place)
        if (at := place == number).any()
    )
