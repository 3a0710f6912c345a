"""Rows of `results.csv` of a study of a corpus: each figure beside its null and its words."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from probekit import stats
from probekit.evaluation import Row
from probekit.minibatch.scoring import Floats, Key, Scorer, aurocs, log_odds
from probekit.minibatch.study import LINEAR, MLP, Study
from probekit.stats import Estimate

PROBE, NULL, BASELINE, REFERENCE = "probe", "null", "baseline", "reference"
ABOVE_TEXT, SELECTIVITY, ABOVE_LINEAR = "above_text", "selectivity", "above_linear"
Draws = dict[Key, Floats]
Logits = NDArray[np.float32]


def found(study: Study) -> tuple[list[Row], dict[str, int]]:
    """Every row, and the layer that each method chose."""
    rows: list[Row] = []
    scores = {name: table[study.test] for name, table in study.words.items()}
    chosen: dict[str, int] = {}
    for method in study.methods:
        said = study.said(method)
        curve, place = _curve(study, method, said.probe, said.null)
        rows += curve
        chosen[method] = study.blocks.layers[place]
        for condition, table in zip((PROBE, NULL), said, strict=True):
            scores[f"{condition}/{method}"] = log_odds(table[study.test, place])
    scorer = Scorer(
        study.numbers[study.test],
        study.groups[study.test],
        len(study.parts.classes),
        study.options.bootstraps,
        study.options.seed,
    )
    draws = scorer.draws(scores)
    sizes = {"n": scorer.n, "clusters": scorer.clusters}
    rows += [{**sizes, **row} for row in _headlines(study, draws, chosen)]
    _adjust(rows)
    task = {"task": "categorisation", "pooling": study.options.pooling}
    return [{"split": "test", **task, **row} for row in rows], chosen


def _curve(study: Study, method: str, probe: Logits, null: Logits) -> tuple[list[Row], int]:
    """Every layer on validation, and on test with its null; and the place validation chose.

    The chosen layer's own test figures come with intervals, elsewhere.
    """
    on_validation = [study.chosen_on(log_odds(probe[:, n])) for n in range(probe.shape[1])]
    best = int(np.argmax(on_validation))
    rows: list[Row] = []
    for n, layer in enumerate(study.blocks.layers):
        cells = {"site": study.options.site, "layer": layer, "method": method, "metric": "auroc"}
        own = {**cells, "split": "validation", "n": int(study.validation.sum())}
        rows.append({**own, "condition": PROBE, "value": on_validation[n]})
        for condition, table in ((PROBE, probe), (NULL, null)):
            if n != best:
                each = aurocs(log_odds(table[study.test, n]), study.numbers[study.test])
                value = float(np.nanmean(each))
                rows.append({**cells, "condition": condition, "value": value})
    return rows, best


def _headlines(study: Study, draws: dict[str, Draws], chosen: dict[str, int]) -> Iterator[Row]:
    """Baselines; then each probe at its layer, beside its null and the reference."""
    for name in study.words:
        cells = {"condition": BASELINE, "method": name}
        yield from _figures(study, draws[name], cells)
        value = study.chosen_on(study.words[name])
        own = {"split": "validation", "n": int(study.validation.sum()), "clusters": None}
        yield {**cells, **own, "metric": "auroc", "value": value}
    words = draws[study.reference]
    cells = {"condition": BASELINE, "method": REFERENCE, "unit": study.reference}
    yield from _figures(study, words, cells)
    for method, layer in chosen.items():
        cells = {"site": study.options.site, "layer": layer, "method": method}
        own, null = draws[f"{PROBE}/{method}"], draws[f"{NULL}/{method}"]
        yield from _figures(study, own, {**cells, "condition": PROBE})
        yield from _figures(study, null, {**cells, "condition": NULL})
        yield from _differences(study, own, words, {**cells, "condition": ABOVE_TEXT})
        # One permutation: its own spread is not in the interval, so no p is given.
        for row in _differences(study, own, null, {**cells, "condition": SELECTIVITY}):
            yield {name: value for name, value in row.items() if name != "p"}
    if MLP in chosen:
        cells = {"site": study.options.site, "layer": chosen[MLP], "method": MLP}
        own, linear = (draws[f"{PROBE}/{method}"] for method in (MLP, LINEAR))
        yield from _differences(study, own, linear, {**cells, "condition": ABOVE_LINEAR})


def _figures(study: Study, draws: Draws, cells: Row) -> Iterator[Row]:
    for key, values in draws.items():
        yield {**cells, **_named(study, key), **Estimate.of(values).cells}


def _differences(study: Study, own: Draws, other: Draws, cells: Row) -> Iterator[Row]:
    """Paired differences over the same draws, with p."""
    for key, values in own.items():
        estimate = Estimate.of(values - other[key], against_zero=True)
        yield {**cells, **_named(study, key), **estimate.cells}


def _named(study: Study, key: Key) -> Row:
    metric, number = key
    emotion = "" if number is None else str(study.parts.classes[number])
    return {"metric": metric, "emotion": emotion}


def _adjust(rows: list[Row]) -> None:
    """q over all tests of the study."""
    tested = [row for row in rows if "p" in row]
    for row, q in zip(tested, stats.adjusted([row["p"] for row in tested]), strict=True):
        row["q"] = q
