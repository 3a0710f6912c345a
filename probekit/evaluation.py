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
from probekit.tasks import Task

Floats = NDArray[np.float64]
Row = dict[str, Any]
Draws = dict[str, Floats]


class Scorer:
    """Figures of predictions on one target arm of a task, on shared bootstrap draws.

    Args:
        task: what was asked.
        target: the arm predicted.
        folds: `[item]` of the task, strata of the AUROC.
        n_draws: bootstrap draws.
        seed: of the draws.
    """

    def __init__(
        self, task: Task, target: str, folds: NDArray[np.int64], n_draws: int, seed: int
    ) -> None:
        rows = task.mask(target)
        self.task, self.target = task, target
        self.labels, self.strata = task.label_numbers[rows], folds[rows]
        self.pairs = task.units[rows] if task.paired else None
        clusters = task.groups[rows]
        self.n, self.clusters = len(clusters), len(np.unique(clusters))
        # One draw for a cluster whatever the arm: arms of a task are compared pairwise.
        self.weights = stats.bootstrap_weights([str(name) for name in clusters], n_draws, seed)

    def draws(self, probabilities: Floats) -> Draws:
        """Metric -> `[1 + draw]` of predictions `[item, output]`."""
        scores = probabilities
        out = {
            "auroc": stats.macro_auroc(scores, self.labels, self.strata, self.weights),
            "accuracy": stats.weighted_mean(stats.hits(scores, self.labels), self.weights),
            "brier": stats.weighted_mean(stats.brier(scores, self.labels), self.weights),
        }
        if self.pairs is not None:
            values, rows = stats.forced_choice(scores[:, 0], self.labels, list(self.pairs))
            out["forced_choice"] = stats.weighted_mean(values, self.weights[:, rows])
        return out

    def auroc_draws(self, probabilities: Floats) -> Floats:
        """AUROC alone, `[1 + draw]`."""
        return stats.macro_auroc(probabilities, self.labels, self.strata, self.weights)

    def row(self, **cells: Any) -> Row:
        """A row with what is common to this task and target."""
        common = {"task": self.task.name, "source": self.task.source, "target": self.target}
        return {**common, "n": self.n, "clusters": self.clusters, **cells}

    def figures(self, draws: Mapping[str, Floats], **cells: Any) -> Iterator[Row]:
        """A row for each metric with its interval."""
        for metric, values in draws.items():
            yield self.row(metric=metric, **interval(Estimate.of(values)), **cells)


def interval(estimate: Estimate) -> Row:
    """An estimate's cells."""
    cells: Row = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
    return cells if estimate.p is None else {**cells, "p": estimate.p}


def reference(results: Mapping[str, CrossValidated]) -> NDArray[np.str_]:
    """`[fold]`, the baseline whose inner score is best; the first in order wins a tie."""
    names = list(results)
    inner = np.stack([results[name].inner for name in names])
    return np.array(names)[inner.argmax(0)]


def composite(
    results: Mapping[str, CrossValidated], chosen: NDArray[np.str_], strata: NDArray[np.int64]
) -> Floats:
    """Predictions of the chosen baseline of each item's fold, `[item, output]`."""
    out = np.empty_like(next(iter(results.values())).nested)
    for fold, name in enumerate(chosen):
        out[strata == fold] = results[str(name)].nested[strata == fold]
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
    words = scorer.auroc_draws(text)
    curve = [scorer.draws(probabilities) for probabilities in result.predictions]
    nested = scorer.draws(result.nested)
    yield from _curve_rows(scorer, [nested], [""], words, result.null_nested[:, None])
    yield from _curve_rows(scorer, curve, list(layers), words, result.null)
    numbers = np.asarray(layers)[result.layers]
    yield scorer.row(
        condition="probe",
        method="logistic",
        metric="chosen_layer",
        value=float(np.median(numbers)),
        low=float(numbers.min()),
        high=float(numbers.max()),
    )
    ece = stats.expected_calibration_error(result.nested, scorer.labels)
    if ece is not None:
        yield scorer.row(condition="probe", method="logistic", metric="ece", value=ece)
    if len(scorer.task.classes) > 2:
        yield from _confusion_rows(scorer, result.nested)


def _curve_rows(
    scorer: Scorer,
    curve: Sequence[Draws],
    layers: Sequence[int | str],
    words: Floats,
    null: Floats,
) -> Iterator[Row]:
    """Rows of several layers; p-values of a curve are adjusted over its layers."""
    above = [Estimate.of(d["auroc"] - words, against_zero=True) for d in curve]
    has_null = len(null) > 0
    p_null: list[float | None] = [None] * len(curve)
    if has_null:
        observed = [float(draws["auroc"][0]) for draws in curve]
        p_null = [stats.permutation_p(o, null[:, i]) for i, o in enumerate(observed)]
    q_null, q_above = _adjusted(p_null), _adjusted([estimate.p for estimate in above])
    for i, (draws, layer) in enumerate(zip(curve, layers, strict=True)):
        probe = {"condition": "probe", "method": "logistic", "layer": layer}
        for row in scorer.figures(draws, **probe):
            tests = {"p": p_null[i], "q": q_null[i]} if row["metric"] == "auroc" else {}
            yield {**row, **tests}
        yield scorer.row(metric="auroc_above_text", **interval(above[i]), q=q_above[i], **probe)
        if has_null:
            low, high = np.quantile(null[:, i], [0.025, 0.975])
            cells = {"value": float(null[:, i].mean()), "low": float(low), "high": float(high)}
            yield scorer.row(
                condition="null",
                method="permutation",
                metric="auroc",
                layer=layer,
                k=len(null),
                **cells,
            )


def _adjusted(p: Sequence[float | None]) -> Sequence[float | None]:
    """p-values adjusted over a curve; a single one, or none, is left without."""
    known = [value for value in p if value is not None]
    if len(known) < 2:
        return [None] * len(p)
    return [float(q) for q in stats.benjamini_hochberg(known)]


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


def keyword_effect_row(rich: Scorer, rich_auroc: Floats, free_auroc: Floats) -> Row:
    """Keyword-rich minus keyword-free AUROC of the same scenarios, on paired draws."""
    estimate = Estimate.of(rich_auroc - free_auroc, against_zero=True)
    return {
        **rich.row(condition="control", method="keyword_effect", metric="auroc_keyword_effect"),
        "source": "keyword_rich",
        "target": "keyword_free",
        **interval(estimate),
    }
