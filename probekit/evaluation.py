"""From out-of-fold predictions to rows of `results.csv`: figures, intervals, controls.

Every figure of a task is computed on the same bootstrap draws of its clusters, so the difference
of a probe and a text baseline is a paired one.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probekit import stats
from probekit.crossval import CrossValidated
from probekit.stats import Estimate
from probekit.tasks import ALARM, Task

Floats = NDArray[np.float64]
Row = dict[str, Any]
Draws = dict[str, Floats]
FITTED = {"auroc": "logistic", "cross_entropy": "logistic", "spearman": "ridge"}
"""How the probe of a task is fitted, by the figure that answers its question."""


class Scorer:
    """Figures of predictions on one target arm and split of a task, on shared bootstrap draws.

    Args:
        task: what was asked.
        target: the arm predicted.
        folds: `[item]` of the task: the fits that are not compared with one another.
        n_draws: bootstrap draws.
        seed: of the draws.
        split: "test" for held-out rows, "dev" for the others of a task that holds some out, or
            "all" for a task that holds none out.
    """

    def __init__(
        self,
        task: Task,
        target: str,
        folds: NDArray[np.int64],
        n_draws: int,
        seed: int,
        split: str = "all",
    ) -> None:
        self.mask = task.mask(target) & (task.held_out == (split == "test"))
        rows = self.mask
        self.task, self.target, self.split = task, target, split
        self.truth = task.probe_target[rows]
        self.labels = self.truth
        self.strata = (folds if task.compare is None else task.compare)[rows]
        self.pairs = task.units[rows] if task.paired and target != ALARM else None
        clusters = task.groups[rows]
        self.n, self.clusters = len(clusters), len(np.unique(clusters))
        # One draw for a cluster whatever the arm: arms of a task are compared pairwise.
        self.weights = stats.bootstrap_weights([str(name) for name in clusters], n_draws, seed)

    def draws(self, predictions: Floats) -> Draws:
        """Metric -> `[1 + draw]` of predictions `[item, output]`; the task's own comes first."""
        return {self.task.metric: self.primary(predictions), **self._others(predictions)}

    def primary(self, predictions: Floats) -> Floats:
        """The figure that answers the task's question, `[1 + draw]`."""
        match self.task.metric:
            case "spearman":
                return stats.spearman(predictions[:, 0], self.truth, self.strata, self.weights)
            case "cross_entropy":
                nats = stats.cross_entropy(predictions, self.truth)
                return stats.weighted_mean(nats, self.weights)
            case _:
                return stats.macro_auroc(predictions, self.labels, self.strata, self.weights)

    def above(self, probe: Floats, words: Floats) -> Floats:
        """How much better the probe's primary figure is than the words', `[1 + draw]`."""
        return self.better * (self.primary(probe) - self.primary(words))

    @property
    def better(self) -> int:
        """1 where a larger primary figure is better, -1 where a smaller one is."""
        return -1 if self.task.metric == "cross_entropy" else 1

    def _others(self, predictions: Floats) -> Draws:
        match self.task.metric:
            case "spearman":
                return {"r2": stats.r_squared(predictions[:, 0], self.truth, self.weights)}
            case "cross_entropy":
                hit = predictions.argmax(1) == self.truth.argmax(1)
                return {"accuracy": stats.weighted_mean(hit.astype(np.float64), self.weights)}
        out = {
            "accuracy": stats.weighted_mean(stats.hits(predictions, self.labels), self.weights),
            "brier": stats.weighted_mean(stats.brier(predictions, self.labels), self.weights),
        }
        if self.task.name == "reception":
            out["false_alarm"] = self.false_alarms(predictions)
        if self.pairs is not None:
            values, rows = stats.forced_choice(predictions[:, 0], self.labels, list(self.pairs))
            out["forced_choice"] = stats.weighted_mean(values, self.weights[:, rows])
        return out

    def false_alarms(self, predictions: Floats) -> Floats:
        """Share of neutral texts that are called emotional, `[1 + draw]`."""
        neutral = self.labels == 0
        called = (predictions[neutral, 0] > 0.5).astype(np.float64)
        return stats.weighted_mean(called, self.weights[:, neutral])

    def row(self, **cells: Any) -> Row:
        """A row with what is common to this task and target."""
        common = {"task": self.task.name, "source": self.task.source, "target": self.target}
        return {"split": self.split, **common, "n": self.n, "clusters": self.clusters, **cells}

    def figures(self, draws: Mapping[str, Floats], **cells: Any) -> Iterator[Row]:
        """A row for each metric with its interval."""
        for metric, values in draws.items():
            yield self.row(metric=metric, **Estimate.of(values).cells, **cells)


def reference(results: Mapping[str, CrossValidated]) -> NDArray[np.str_]:
    """`[fold]`, the baseline whose inner score is best; the first in order wins a tie."""
    names = list(results)
    inner = np.stack([results[name].inner for name in names])
    return np.array(names)[inner.argmax(0)]


def composite(results: Mapping[str, CrossValidated], chosen: NDArray[np.str_]) -> Floats:
    """Predictions of the chosen baseline of each item's fold, `[item, output]`."""
    first = next(iter(results.values()))
    out = np.empty_like(first.nested)
    for fold, name in enumerate(chosen):
        inside = first.strata == fold
        out[inside] = results[str(name)].nested[inside]
    return out


def baseline_rows(
    scorer: Scorer, results: Mapping[str, CrossValidated], picked: Floats
) -> Iterator[Row]:
    """Rows of every text baseline, and of the reference whose predictions were picked."""
    for name, result in results.items():
        yield from scorer.figures(scorer.draws(result.nested), condition="baseline", method=name)
    yield from scorer.figures(scorer.draws(picked), condition="baseline", method="reference")


def probe_rows(
    scorer: Scorer, result: CrossValidated, layers: Sequence[int], text: Floats
) -> Iterator[Row]:
    """Rows of one site and pooling: headline, layer curve, null, above text, confusion.

    Args:
        scorer: of the target arm.
        result: cross-validated probes on that arm.
        layers: layer numbers, in the order of `result.predictions`.
        text: predictions of the text reference, `[item, output]`.
    """
    curve = [scorer.draws(probabilities) for probabilities in result.predictions]
    nested = scorer.draws(result.nested)
    words = scorer.primary(text)
    own = {"condition": "probe", "method": FITTED[scorer.task.metric]}
    chance = {"condition": "null", "method": "permutation"}
    null = result.null_nested[:, None]
    yield from curve_rows(scorer, [nested], [{"layer": ""}], [words], null, own, chance)
    places = [{"layer": layer} for layer in layers]
    beside = [words] * len(places)
    yield from curve_rows(scorer, curve, places, beside, result.null, own, chance)
    yield _peak_row(scorer, curve, layers, own)
    numbers = np.asarray(layers)[result.layers[np.unique(result.strata)]]
    yield scorer.row(
        condition="probe",
        method=FITTED[scorer.task.metric],
        metric="chosen_layer",
        value=float(np.median(numbers)),
        low=float(numbers.min()),
        high=float(numbers.max()),
    )
    if scorer.task.values is not None:
        return
    ece = stats.expected_calibration_error(result.nested, scorer.labels)
    if ece is not None:
        yield scorer.row(condition="probe", method="logistic", metric="ece", value=ece)
    if len(scorer.task.classes) > 2:
        yield from _confusion_rows(scorer, result.nested)
        yield from _each_class_rows(scorer, result.nested, text)


def alarm_rows(scorer: Scorer, predictions: Floats, **cells: Any) -> Iterator[Row]:
    """The share of vivid neutral texts that are called emotional."""
    draws = {"false_alarm": scorer.false_alarms(predictions)}
    yield from scorer.figures(draws, condition="control", **cells)


def curve_rows(
    scorer: Scorer,
    curve: Sequence[Draws],
    places: Sequence[Row],
    words: Sequence[Floats],
    null: Floats,
    own: Row,
    chance: Row,
) -> Iterator[Row]:
    """Rows of several places, beside their words and their null; q is over the places.

    Args:
        scorer: of the target arm and split.
        curve: `[place]`, draws by metric; the task's metric is among them.
        places: `[place]`, the cells that tell them apart: layers, or emotions.
        words: `[place]`, draws of the text reference's primary figure.
        null: `[permutation, place]`, the primary figure with chance's labels; may be empty.
        own, chance: cells of the figures and of their null.
    """
    metric, better = scorer.task.metric, scorer.better
    above = [
        Estimate.of(better * (draws[metric] - text), against_zero=True)
        for draws, text in zip(curve, words, strict=True)
    ]
    has_null = len(null) > 0
    p_null: list[float | None] = [None] * len(curve)
    if has_null:
        observed = [better * float(draws[metric][0]) for draws in curve]
        p_null = [stats.permutation_p(o, better * null[:, i]) for i, o in enumerate(observed)]
    q_null, q_above = stats.adjusted(p_null), stats.adjusted([estimate.p for estimate in above])
    for i, (draws, place) in enumerate(zip(curve, places, strict=True)):
        for row in scorer.figures(draws, **own, **place):
            tests = {"p": p_null[i], "q": q_null[i]} if row["metric"] == metric else {}
            yield {**row, **tests}
        cells = {**own, **place, "metric": f"{metric}_above_text"}
        yield scorer.row(**cells, **above[i].cells, q=q_above[i])
        if has_null:
            cells = {**chance, **place, "metric": metric, "k": len(null)}
            yield scorer.row(**cells, **Estimate.of_null(null[:, i]).cells)


def _confusion_rows(scorer: Scorer, probabilities: Floats) -> Iterator[Row]:
    predicted, classes = probabilities.argmax(1), scorer.task.classes
    for number, name in enumerate(classes):
        inside = predicted[scorer.labels == number]
        for other, guess in enumerate(classes):
            yield scorer.row(
                condition="probe",
                method="logistic",
                metric="confusion",
                emotion=str(name),
                unit=str(guess),
                value=float((inside == other).mean()),
            )


def _peak_row(scorer: Scorer, curve: Sequence[Draws], layers: Sequence[int], own: Row) -> Row:
    """The layer at which the figure is best, of the sample and of every draw."""
    each = scorer.better * np.stack([draws[scorer.task.metric] for draws in curve])
    # Of equals the lowest; a draw in which nothing is known has no peak.
    peaks = np.asarray(layers, dtype=np.float64)[np.where(np.isnan(each), -np.inf, each).argmax(0)]
    peaks[np.isnan(each).all(0)] = np.nan
    return scorer.row(metric="peak_layer", **own, **Estimate.of(peaks).cells)


def _each_class_rows(scorer: Scorer, probabilities: Floats, text: Floats) -> Iterator[Row]:
    """Each class against all others, beside the text reference."""
    for number, name in enumerate(scorer.task.classes):
        own, words = (
            stats.auroc(each[:, number], scorer.labels == number, scorer.strata, scorer.weights)
            for each in (probabilities, text)
        )
        cells = {"metric": "auroc_of_class", "emotion": str(name)}
        probe = {"condition": "probe", "method": "logistic"}
        yield scorer.row(**cells, **probe, **Estimate.of(own).cells)
        baseline = {"condition": "baseline", "method": "reference"}
        yield scorer.row(**cells, **baseline, **Estimate.of(words).cells)
        above = Estimate.of(own - words, against_zero=True).cells
        yield scorer.row(**{**cells, "metric": "auroc_of_class_above_text"}, **probe, **above)


def keyword_effect_row(rich: Scorer, rich_auroc: Floats, free_auroc: Floats) -> Row:
    """Keyword-rich minus keyword-free AUROC of the same scenarios, on paired draws."""
    estimate = Estimate.of(rich_auroc - free_auroc, against_zero=True)
    return {
        **rich.row(condition="control", method="keyword_effect", metric="auroc_keyword_effect"),
        "source": "keyword_rich",
        "target": "keyword_free",
        **estimate.cells,
    }
