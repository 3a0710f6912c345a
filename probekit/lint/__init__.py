"""`lint`: whether a set is what its datasheet claims, measured.

A datasheet's head may claim, under `claims`, any of `CHECKS` with a `min` or `max` (and options of
that check), and under `words_alone` any figure of a text baseline:

    claims:
      length_ratio: {max: 1.15}
      words_alone:
        - {task: reception, source: keyword_free, method: bag_of_words, min: 0.4, max: 0.6}

A claim is judged on the point estimate; the interval is shown beside it. What a set does not claim
is measured and shown, and cannot fail.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from probekit import runs
from probekit.baselines import Baseline, word_baselines
from probekit.errors import UserError, unknown
from probekit.lint import agreement, texts
from probekit.lint.texts import Measured
from probekit.lint.words import Design, Words, measure
from probekit.plots import number
from probekit.stimuli import StimulusSet, locate, read_datasheet, read_readings

__all__ = ["CHECKS", "Design", "Finding", "Measured", "Words", "lint", "measure"]

Check = Callable[..., Measured | None]

CHECKS: Mapping[str, tuple[str, Check]] = {
    "keywords": ("keyword-free texts with an emotion word", texts.keywords),
    "idioms": ("keyword-free texts with an idiom or body-language phrase", texts.idiomatic),
    "length_ratio": ("longest over shortest text of a scenario", texts.length_ratio),
    "changed_tokens": ("largest share of words changed in a pair", texts.changed_tokens),
    "unbalanced_words": ("words not equally often in both arms", texts.unbalanced_words),
    "near_duplicates": ("scenarios that share much of their wording", texts.near_duplicates),
    "length_d": (
        "words a text, |d| between labels",
        partial(texts.imbalance, count=lambda text: float(len(texts.words(text)))),
    ),
    "sentences_d": (
        "sentences, |d| between labels",
        partial(texts.imbalance, count=texts.sentences),
    ),
    "punctuation_d": (
        "punctuation, |d| between labels",
        partial(texts.imbalance, count=texts.punctuation),
    ),
    "readability_d": (
        "Coleman-Liau grade, |d| between labels",
        partial(texts.imbalance, count=texts.readability),
    ),
    "gender_v": (
        "gender by emotion, Cramér's V",
        partial(texts.association, factor=texts.gender),
    ),
    "person_v": (
        "person by emotion, Cramér's V",
        partial(texts.association, factor=lambda row: row.person),
    ),
    "domain_v": (
        "setting by emotion, Cramér's V",
        partial(texts.association, factor=lambda row: row.domain),
    ),
}
"""Name -> what is measured, and how. Where a set gives nothing to measure, there is no figure."""

BOUNDS = ("min", "max")
DESIGN = Design()
NEEDS = {
    "changed_tokens": "pair",
    "unbalanced_words": "pair",
    "length_ratio": "scenario",
}
"""Checks that speak of pairs or scenarios, and the column that says so."""


@dataclass(frozen=True)
class Finding:
    """One thing measured, and what was claimed about it.

    Attributes:
        name: the check, or the task, arm, baseline and metric.
        said: the figure in words, with its interval where it has one.
        value: the figure.
        claim: what is claimed, in words; empty if nothing is.
        passed: whether the claim holds; None if nothing is claimed.
        where: what made the figure, worst first.
    """

    name: str
    said: str
    value: float
    claim: str = ""
    passed: bool | None = None
    where: tuple[str, ...] = ()


def lint(
    name_or_path: str | Path,
    *,
    design: Design = DESIGN,
    extra: Sequence[Baseline] = (),
    readings: Sequence[Path] = (),
    progress: runs.Progress = lambda *_: None,
) -> list[Finding]:
    """Measure a set and hold its datasheet's claims against the figures.

    Args:
        name_or_path: a shipped set or a file.
        design: sizes of the validation.
        extra: baselines that need a model, with features of the set's texts in their order.
        readings: files of blind readings, beside the one that lies with the set.
        progress: receives what is done.

    Raises:
        UserError: the set or its datasheet is not as it should be.
    """
    stimuli = StimulusSet.load(name_or_path)
    path = locate(name_or_path)
    claims = dict(read_datasheet(path).get("claims") or {})
    about_words = claims.pop("words_alone", [])
    for name in claims:
        if name not in CHECKS:
            raise unknown("claim", name, [*CHECKS, "words_alone"])
    found = [*_of_texts(stimuli, claims), *_of_readers(stimuli, path, readings)]
    try:
        figures = list(measure(stimuli, [*word_baselines(stimuli.texts), *extra], design, progress))
    except UserError as error:
        if about_words:
            raise
        return [*found, Finding("words alone", f"not measured: {error}", float("nan"))]
    return found + list(_of_words(figures, about_words))


def _of_texts(stimuli: StimulusSet, claims: Mapping[str, Any]) -> Iterator[Finding]:
    for name, (told, check) in CHECKS.items():
        bounds, options = _claim(name, claims[name]) if name in claims else ({}, {})
        there = name not in NEEDS or any(stimuli.column(NEEDS[name]))
        try:
            measured = check(stimuli, **options) if there else None
        except TypeError as error:
            raise UserError(f"the claim {name!r} has options it does not take: {error}") from error
        if measured is not None:
            value = measured.value
            yield Finding(
                told, f"{value:.3g}", value, *_judged(value, bounds), where=measured.where
            )
        elif bounds:
            raise UserError(
                f"the datasheet claims {name!r}, and the set gives nothing to measure it on: take "
                "the claim out"
            )


def _claim(name: str, given: Any) -> tuple[dict[str, float], dict[str, Any]]:
    """Bounds and options of a claim.

    Raises:
        UserError: it is no mapping, has no bound, or a bound is no number.
    """
    bounds = {key: given[key] for key in BOUNDS if key in given} if isinstance(given, dict) else {}
    if not bounds or not all(isinstance(value, int | float) for value in bounds.values()):
        raise UserError(
            f"the claim {name!r} is {given!r}: give a number as `min`, `max` or both, such as "
            "{max: 0}"
        )
    return bounds, {key: value for key, value in given.items() if key not in BOUNDS}


def _of_readers(stimuli: StimulusSet, path: Path, files: Sequence[Path]) -> Iterator[Finding]:
    own = path.with_name("readings.csv")
    beside = [own] if path.name == "stimuli.jsonl" and own.is_file() else []
    readings = [reading for file in (*beside, *files) for reading in read_readings(file)]
    for name, said in agreement.lines(stimuli, readings):
        yield Finding(name, said, float("nan"))


def _of_words(figures: Sequence[Words], claims: Sequence[Any]) -> Iterator[Finding]:
    asked = [_figure_claimed(claim) for claim in claims]
    met = [False] * len(asked)
    for words in figures:
        arm = f" {words.source}" if words.source else ""
        held = "" if words.folds == "scenario" else f", {words.folds}s held out"
        name = f"{words.task}{arm}{held}: {words.method}, {words.metric}"
        found, value = _said(words), words.estimate.value
        own = [
            place
            for place, (wanted, _) in enumerate(asked)
            if all(getattr(words, key) == wanted[key] for key in wanted)
        ]
        for place in own:
            met[place] = True
            yield Finding(name, found, value, *_judged(value, asked[place][1]))
        if not own:
            yield Finding(name, found, value)
    if not all(met):
        raise UserError(
            f"the datasheet claims a figure that was not measured ({claims[met.index(False)]}): it "
            "may need --model, or name a task, source, method, metric or folds that the set does "
            "not have"
        )


def _figure_claimed(claim: Any) -> tuple[dict[str, Any], dict[str, float]]:
    """Which figure a claim on words is about, and its bounds."""
    bounds, wanted = _claim("words_alone", claim)
    own = {"source": "", "folds": "scenario", "metric": "auroc"}
    accepted = ("task", "method", *own)
    if strange := [key for key in wanted if key not in accepted]:
        raise unknown("key of a claim on words", strange[0], [*accepted, *BOUNDS])
    return {**own, **wanted}, bounds


def _said(words: Words) -> str:
    estimate = words.estimate
    low, high = (number(end, digits=3) for end in (estimate.low, estimate.high))
    said = f"{number(estimate.value, digits=3)} [{low}, {high}]"
    if words.chance is not None:
        said += f" chance {number(words.chance)}"
    if words.smallest is not None:
        said += f" detectable ±{number(words.smallest)}"
    return said


def _judged(value: float, bounds: Mapping[str, float]) -> tuple[str, bool | None]:
    """The claim in words, and whether the point estimate keeps it."""
    if not bounds:
        return "", None
    low, high = bounds.get("min"), bounds.get("max")
    # Figures are shown and claimed to three digits; a rounding error is no breach.
    kept = (low is None or value >= low - 5e-4) and (high is None or value <= high + 5e-4)
    # What could not be computed keeps no promise.
    kept = kept and value == value
    match low, high:
        case None, _:
            return f"at most {high:g}", kept
        case _, None:
            return f"at least {low:g}", kept
        case _:
            return f"{low:g} to {high:g}", kept
