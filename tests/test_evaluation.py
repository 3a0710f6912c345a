"""From predictions to rows: which rows there are, and that their figures belong together."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, r2_score

from probekit import stats
from probekit.crossval import CrossValidated, cross_validate
from probekit.evaluation import (
    Scorer,
    alarm_rows,
    baseline_rows,
    composite,
    keyword_effect_row,
    probe_rows,
    reference,
)
from probekit.runs import COLUMNS
from probekit.stimuli import Stimulus, StimulusSet
from probekit.tasks import ALARM, tasks_of

LAYERS = [0, 3, 7]
N_DRAWS, N_NULL = 200, 30


def toy(n=24):
    """Scenarios of three emotions in three arms, each arm in an order of its own."""
    order = {"keyword_free": range(n), "keyword_rich": range(n)[::-1], "neutral": range(n)}
    rows = [
        Stimulus(
            id=f"{i}-{arm}",
            text="text",
            arm=arm,
            scenario=f"s{i}",
            domain=("home", "work")[i // 3 % 2],
            emotion="neutral" if arm == "neutral" else ("joy", "fear", "rage")[i % 3],
        )
        for arm, scenarios in order.items()
        for i in scenarios
    ]
    return StimulusSet("toy", tuple(rows))


class Block:
    """One task with probes that learned something in layer 3, and two text baselines."""

    def __init__(self, name, source, n=24):
        (self.task,) = (t for t in tasks_of(toy(n), 4)[0] if (t.name, t.source) == (name, source))
        rng = np.random.default_rng(0)
        task, labels = self.task, self.task.label_numbers
        one_hot = np.eye(len(task.classes))[labels]
        x = rng.normal(size=(len(labels), 3, 8))
        x[:, 1, : one_hot.shape[1]] += 2 * one_hot
        words = rng.normal(size=(len(labels), 5))
        words[:, : one_hot.shape[1]] += 0.7 * one_hot
        self.folds = task.folds(4, 0)
        masks = {
            "train": task.mask(source),
            "tests": [task.mask(target) for target in task.targets],
        }
        self.probes = cross_validate(
            x, labels, self.folds, permuted=task.permuted(N_NULL, 0), cs=(0.01, 0.1), **masks
        )
        tables = {"bag_of_words": words, "surface": rng.normal(size=words.shape)}
        self.words = [
            {name: cross_validate(table, labels, self.folds, **masks)[i]
             for name, table in tables.items()}
            for i in range(len(task.targets))
        ]  # fmt: skip
        self.scorers = [Scorer(task, t, self.folds, N_DRAWS, 0) for t in task.targets]
        self.picked = [composite(words, reference(words)) for words in self.words]

    def rows(self, place=0):
        text = self.picked[place]
        return list(probe_rows(self.scorers[place], self.probes[place], LAYERS, text))


@cache
def reception():
    return Block("reception", "keyword_free")


@cache
def categories():
    return Block("categorisation", "keyword_free")


def only(rows, **cells):
    (found,) = [row for row in rows if all(row.get(k) == v for k, v in cells.items())]
    return found


BLOCKS = [(reception, 0), (categories, 0), (categories, 1)]


@pytest.mark.parametrize(("block", "place"), BLOCKS)
def test_rows_use_known_columns_and_intervals_hold_their_value(block, place):
    rows = block().rows(place)
    scorer = block().scorers[place]
    rows += baseline_rows(scorer, block().words[place], block().picked[place])
    for row in rows:
        assert set(row) <= set(COLUMNS)
        assert (row["task"], row["source"]) == (block().task.name, "keyword_free")
        assert row["target"] == block().task.targets[place]
        assert (row["n"], row["clusters"]) == (48 if block is reception else 24, 24)
        assert np.isfinite(row["value"])
        if "low" in row:
            assert row["low"] <= row["high"]
            assert row["condition"] == "null" or row["low"] <= row["value"] <= row["high"]
        for test in ("p", "q"):
            assert row.get(test) is None or 0 < row[test] <= 1


@pytest.mark.parametrize(("block", "place"), BLOCKS)
def test_every_layer_and_the_headline_have_the_same_metrics(block, place):
    rows = block().rows(place)
    metrics = ["auroc", "accuracy", "brier"]
    metrics += ["false_alarm", "forced_choice"] if block is reception else []
    for layer in ["", *LAYERS]:
        there = [r for r in rows if r.get("layer") == layer]
        assert [r["metric"] for r in there if r["condition"] == "probe"] == [
            *metrics,
            "auroc_above_text",
        ]
        assert [r["metric"] for r in there if r["condition"] == "null"] == ["auroc"]
    rest = {r["metric"] for r in rows if "layer" not in r}
    by_class = {"confusion", "auroc_of_class", "auroc_of_class_above_text"}
    assert rest == {"chosen_layer", "peak_layer"} | (set() if block is reception else by_class)


@pytest.mark.parametrize(("block", "place"), BLOCKS)
def test_the_peak_is_the_best_layer_and_classes_average_to_the_headline(block, place):
    rows = block().rows(place)
    curve = {n: only(rows, condition="probe", metric="auroc", layer=n)["value"] for n in LAYERS}
    peak = only(rows, metric="peak_layer")
    assert peak["value"] == max(curve, key=curve.__getitem__)
    assert peak["low"] in LAYERS
    assert peak["high"] in LAYERS
    if block is reception:
        return
    headline = only(rows, condition="probe", metric="auroc", layer="")["value"]
    each = [r["value"] for r in rows if r["metric"] == "auroc_of_class"]
    assert np.mean(each[::2]) == pytest.approx(headline)
    above = [r["value"] for r in rows if r["metric"] == "auroc_of_class_above_text"]
    assert np.subtract(each[::2], each[1::2]) == pytest.approx(above)


@pytest.mark.parametrize(("block", "place"), BLOCKS)
def test_figures_are_those_of_the_predictions(block, place):
    rows, scorer, result = block().rows(place), block().scorers[place], block().probes[place]
    here = block().task.mask(block().task.targets[place])
    labels, strata = block().task.label_numbers[here], block().folds[here]
    for layer, p in [("", result.nested), *zip(LAYERS, result.predictions, strict=True)]:
        row = only(rows, condition="probe", metric="auroc", layer=layer)
        assert row["value"] == pytest.approx(stats.macro_auroc(p, labels, strata)[0])
        predicted = (p[:, 0] > 0.5).astype(int) if p.shape[1] == 1 else p.argmax(1)
        row = only(rows, metric="accuracy", layer=layer)
        assert row["value"] == pytest.approx(accuracy_score(labels, predicted))
        row = only(rows, metric="brier", layer=layer)
        assert row["value"] == pytest.approx(stats.brier(p, labels).mean())
    if block is reception:
        pairs = scorer.task.units
        won = [
            result.nested[(pairs == u) & (labels == 1), 0]
            > result.nested[(pairs == u) & (labels == 0), 0]
            for u in set(pairs)
        ]
        assert only(rows, metric="forced_choice", layer="")["value"] == np.mean(won)


@pytest.mark.parametrize(("block", "place"), BLOCKS)
def test_above_text_is_the_paired_difference(block, place):
    rows, scorer = block().rows(place), block().scorers[place]
    result, text = block().probes[place], block().picked[place]
    words = list(baseline_rows(scorer, block().words[place], text))
    said = only(words, method="reference", metric="auroc")["value"]
    for layer, p in [("", result.nested), *zip(LAYERS, result.predictions, strict=True)]:
        above = only(rows, metric="auroc_above_text", layer=layer)
        probe = only(rows, condition="probe", metric="auroc", layer=layer)
        assert above["value"] == pytest.approx(probe["value"] - said)
        gap = scorer.primary(p) - scorer.primary(text)
        low, high = np.quantile(gap[1:], [0.025, 0.975])
        assert above["low"] == pytest.approx(min(low, gap[0]))
        assert above["high"] == pytest.approx(max(high, gap[0]))
        assert above["p"] == stats.Estimate.of(gap, against_zero=True).p


def test_a_probe_that_is_its_text_reference_is_not_above_it():
    block = reception()
    rows = list(probe_rows(block.scorers[0], block.probes[0], LAYERS, block.probes[0].nested))
    row = only(rows, metric="auroc_above_text", layer="")
    assert (row["value"], row["low"], row["high"], row["p"]) == (0, 0, 0, 1)


@pytest.mark.parametrize(("block", "place"), BLOCKS)
def test_p_values_come_from_the_null_and_are_adjusted_over_layers(block, place):
    rows, result = block().rows(place), block().probes[place]
    nulls = dict(zip(LAYERS, result.null.T, strict=True)) | {"": result.null_nested}
    for layer, null in nulls.items():
        row = only(rows, condition="probe", metric="auroc", layer=layer)
        assert row["p"] == pytest.approx((1 + (null >= row["value"]).sum()) / (1 + N_NULL))
        chance = only(rows, condition="null", layer=layer)
        assert (chance["method"], chance["k"]) == ("permutation", N_NULL)
        assert chance["value"] == pytest.approx(null.mean())
        assert [chance["low"], chance["high"]] == pytest.approx(np.quantile(null, [0.025, 0.975]))
    for metric in ("auroc", "auroc_above_text"):
        curve = [only(rows, condition="probe", metric=metric, layer=layer) for layer in LAYERS]
        want = stats.benjamini_hochberg([row["p"] for row in curve])
        assert [row["q"] for row in curve] == pytest.approx(want.tolist())
        assert only(rows, condition="probe", metric=metric, layer="")["q"] is None
    for metric in ("accuracy", "brier"):
        assert only(rows, metric=metric, layer="").get("p") is None


def test_the_planted_layer_is_reported_by_its_number():
    row = only(reception().rows(), metric="chosen_layer")
    assert (row["value"], row["low"], row["high"]) == (3, 3, 3)
    assert "layer" not in row


def test_without_permutations_there_is_no_null_and_no_p():
    block = reception()
    (result,) = cross_validate(
        np.random.default_rng(0).normal(size=(48, 3, 4)), block.task.label_numbers, block.folds
    )
    rows = list(probe_rows(block.scorers[0], result, LAYERS, block.picked[0]))
    assert not [row for row in rows if row["condition"] == "null"]
    assert only(rows, metric="auroc", layer=3)["p"] is None
    assert only(rows, metric="auroc_above_text", layer=3)["p"] > 0


@pytest.mark.parametrize("place", [0, 1])
def test_confusion_is_shares_of_the_true_class(place):
    block = categories()
    rows = [row for row in block.rows(place) if row["metric"] == "confusion"]
    predicted = block.probes[place].nested.argmax(1)
    want = confusion_matrix(block.scorers[place].labels, predicted, normalize="true")
    names = block.task.classes.tolist()
    assert names == ["fear", "joy", "rage"]
    assert [(row["emotion"], row["unit"]) for row in rows] == [(a, b) for a in names for b in names]
    np.testing.assert_allclose([row["value"] for row in rows], want.ravel())


def test_calibration_is_reported_from_two_hundred_items():
    assert not [row for row in reception().rows() if row["metric"] == "ece"]
    large = Block("reception", "keyword_free", n=100)
    row = only(large.rows(), metric="ece")
    want = stats.expected_calibration_error(large.probes[0].nested, large.scorers[0].labels)
    assert (row["n"], row["value"]) == (200, want)


# Baselines and controls


def test_baseline_rows_name_each_method_and_the_reference():
    block = reception()
    rows = list(baseline_rows(block.scorers[0], block.words[0], block.picked[0]))
    assert [row["metric"] for row in rows] == [
        "auroc",
        "accuracy",
        "brier",
        "false_alarm",
        "forced_choice",
    ] * 3
    assert list(dict.fromkeys(r["method"] for r in rows)) == [
        "bag_of_words",
        "surface",
        "reference",
    ]
    assert {row["condition"] for row in rows} == {"baseline"}
    for name, result in block.words[0].items():
        want = stats.macro_auroc(result.nested, block.scorers[0].labels, block.scorers[0].strata)
        assert only(rows, method=name, metric="auroc")["value"] == pytest.approx(want[0])


def made(inner, nested):
    nothing = np.zeros(0)
    return CrossValidated(
        rows=nothing,
        predictions=nothing,
        nested=np.array(nested)[:, None],
        layers=nothing,
        inner=np.array(inner),
        strata=np.array([1, 0, 2, 1]),
        null=nothing,
        null_nested=nothing,
    )


def test_the_reference_is_chosen_fold_by_fold_and_the_first_wins_a_tie():
    results = {
        "one": made([0.6, 0.5, 0.7], [1, 2, 3, 4.0]),
        "two": made([0.6, 0.9, 0.6], [10, 20, 30, 40.0]),
    }
    chosen = reference(results)
    assert chosen.tolist() == ["one", "two", "one"]
    picked = composite(results, chosen)
    assert picked[:, 0].tolist() == [10, 2, 3, 40]


def test_the_keyword_effect_is_paired_over_scenarios():
    free, rich = reception(), Block("reception", "keyword_rich")
    weights = [
        b.scorers[0].weights[:, np.unique(b.task.groups, return_index=True)[1]]
        for b in (free, rich)
    ]
    np.testing.assert_array_equal(*weights)  # A scenario is drawn equally often in both.
    one, two = (b.scorers[0].primary(b.probes[0].nested) for b in (rich, free))
    row = keyword_effect_row(rich.scorers[0], one, two)
    assert set(row) <= set(COLUMNS)
    assert (row["condition"], row["method"], row["metric"]) == (
        "control",
        "keyword_effect",
        "auroc_keyword_effect",
    )
    assert (row["task"], row["source"], row["target"]) == (
        "reception",
        "keyword_rich",
        "keyword_free",
    )
    assert row["value"] == pytest.approx(one[0] - two[0])
    assert row["low"] <= row["value"] <= row["high"]
    assert 0 < row["p"] <= 1


# Splits, false alarms, ratings, soft labels


def divided(n=24):
    """The toy with every second scenario held out, numbers, shares, and six vivid texts."""
    rng = np.random.default_rng(3)
    rows = [
        replace(
            row,
            split=("dev", "test")[int(row.scenario[1:]) % 2],
            extra={"arousal": rng.normal(), "shares": {"joy": (p := rng.random()), "fear": 1 - p}},
        )
        for row in toy(n).rows
    ]
    vivid = [Stimulus(f"v{i}", "vivid", arm=ALARM, emotion="neutral") for i in range(6)]
    return StimulusSet("divided", (*rows, *vivid))


def asked(name, source=""):
    tasks, _ = tasks_of(divided(), 3, ratings=["arousal"])
    return next(task for task in tasks if (task.name, task.source) == (name, source))


def scorer_of(task, target, split):
    return Scorer(task, target, task.folds(3, 0), N_DRAWS, 0, split)


@pytest.mark.parametrize("split", ["dev", "test"])
def test_a_split_is_scored_by_itself_and_says_which(split):
    task = asked("reception", "keyword_free")
    scorer = scorer_of(task, "keyword_free", split)
    stimuli = divided()
    here = [stimuli.rows[place] for place in task.rows[scorer.mask]]
    assert {row.split for row in here} == {split}
    assert {row.arm for row in here} == {"keyword_free", "neutral"}
    p = np.random.default_rng(0).random((len(here), 1))
    rows = list(scorer.figures(scorer.draws(p), condition="baseline", method="reference"))
    assert {(row["split"], row["n"], row["clusters"]) for row in rows} == {(split, 24, 12)}
    labels = np.array([row.arm == "keyword_free" for row in here])
    assert only(rows, metric="accuracy")["value"] == np.mean((p[:, 0] > 0.5) == labels)
    assert only(rows, metric="false_alarm")["value"] == np.mean(p[~labels, 0] > 0.5)


def test_false_alarms_are_the_share_of_vivid_texts_called_emotional():
    task = asked("reception", "keyword_free")
    assert task.targets == ("keyword_free", ALARM)
    scorer = scorer_of(task, ALARM, "test")
    p = np.array([0.9, 0.2, 0.6, 0.5, 0.1, 0.51])[:, None]
    (row,) = alarm_rows(scorer, p, method="words")
    cells = ("split", "target", "condition", "method", "metric", "value", "n", "clusters")
    assert [row[key] for key in cells] == [
        "test", ALARM, "control", "words", "false_alarm", 0.5, 6, 6,
    ]  # fmt: skip
    assert 0 <= row["low"] < 0.5 < row["high"] <= 1


@pytest.mark.parametrize("name", ["arousal", "soft_labels"])
def test_ratings_and_soft_labels_have_figures_of_their_own(name):
    task = asked(name)
    scorer = scorer_of(task, "", "test")
    rng, truth = np.random.default_rng(4), task.probe_target[scorer.mask]
    shape = (36, 1) if name == "arousal" else (36, 2)
    probe, words = rng.dirichlet(np.ones(2), (2, 36))[..., : shape[1]]
    draws = scorer.draws(probe)
    if name == "arousal":
        assert {key: values[0] for key, values in draws.items()} == {
            "spearman": pytest.approx(spearmanr(probe[:, 0], truth).statistic),
            "r2": pytest.approx(r2_score(truth, probe[:, 0])),
        }
    else:
        nats = sum(
            log_loss(np.full(36, k), probe, labels=[0, 1], sample_weight=truth[:, k])
            * truth[:, k].mean()
            for k in (0, 1)
        )
        assert {key: values[0] for key, values in draws.items()} == {
            "cross_entropy": pytest.approx(nats),
            "accuracy": np.mean(probe.argmax(1) == truth.argmax(1)),
        }
    # Above text is what the probe does better, whichever way its measure runs.
    gap = scorer.primary(probe) - scorer.primary(words)
    sign = 1 if name == "arousal" else -1
    np.testing.assert_array_equal(scorer.above(probe, words), sign * gap)


@pytest.mark.parametrize(
    ("name", "method", "metrics"),
    [
        ("arousal", "ridge", ["spearman", "r2", "spearman_above_text"]),
        ("soft_labels", "logistic", ["cross_entropy", "accuracy", "cross_entropy_above_text"]),
    ],
)
def test_probes_of_numbers_and_shares_stand_beside_null_and_words(name, method, metrics):
    task = asked(name)
    target, rng = task.probe_target, np.random.default_rng(5)
    column = target if target.ndim == 1 else target[:, 0]
    x = rng.normal(size=(len(target), 3, 4))
    x[:, 1, 0] += 4 * column
    permuted = task.permuted(19, 0)
    folds = task.folds(3, 0)
    scorer = scorer_of(task, "", "test")
    (result,) = cross_validate(
        x, target, folds, tests=[scorer.mask], held_out=task.held_out, permuted=permuted
    )
    words = result.predictions[0]  # A layer of noise.
    rows = list(probe_rows(scorer, result, LAYERS, words))
    for layer in ["", *LAYERS]:
        there = [row for row in rows if row.get("layer") == layer]
        probes = [row for row in there if row["condition"] == "probe"]
        assert [(row["metric"], row["method"]) for row in probes] == [(m, method) for m in metrics]
        assert [r["metric"] for r in there if r["condition"] == "null"] == metrics[:1]
    assert {row["split"] for row in rows} == {"test"}
    assert "confusion" not in {row["metric"] for row in rows}
    assert only(rows, metric="chosen_layer")["value"] == 3
    # Better than words and than every relabeling, whichever way its measure runs.
    above = only(rows, metric=metrics[2], layer="")
    assert 0 < above["low"] < above["value"]
    assert only(rows, metric=metrics[0], condition="probe", layer="")["p"] == 1 / 20
