"""Which questions a set can answer: the shipped sets, sets of one's own, refusals."""

from collections import Counter
from functools import cache

import numpy as np
import pytest

from probekit.errors import UserError
from probekit.stimuli import Stimulus, StimulusSet
from probekit.tasks import tasks_of

EIGHT = ["admiration", "amazement", "ecstasy", "grief", "loathing", "rage", "terror", "vigilance"]


@cache
def shipped(name, n_folds=5):
    tasks, notes = tasks_of(StimulusSet.load(name), n_folds)
    return {(task.name, task.source): task for task in tasks}, notes


def own(rows, **common):
    """A set of `(key=value)` rows with ids and texts filled in."""
    filled = [{"id": f"r{i}", "text": f"text {i}", **common, **row} for i, row in enumerate(rows)]
    return StimulusSet("own", tuple(Stimulus(**row) for row in filled))


def column(name, task, of):
    return StimulusSet.load(name).column(of)[task.rows]


# Shipped sets


def test_these_tasks_come():
    vignettes, notes = shipped("vignettes")
    arms = ("keyword_free", "keyword_rich")
    assert list(vignettes) == [
        (name, arm) for name in ("reception", "categorisation") for arm in arms
    ]
    assert vignettes["reception", "keyword_free"].targets == ("keyword_free",)
    assert vignettes["categorisation", "keyword_free"].targets == arms
    assert vignettes["categorisation", "keyword_rich"].targets == arms[::-1]
    pairs, _ = shipped("minimal_pairs")
    assert list(pairs) == [("reception", "keyword_free"), ("categorisation", "keyword_free")]
    assert list(shipped("crossed")[0]) == [("valence", "")]
    assert notes == []


@pytest.mark.parametrize(
    ("name", "key", "rows", "groups", "units", "scheme", "paired"),
    [
        ("vignettes", ("reception", "keyword_free"), 96, 48, 48, "within", True),
        ("vignettes", ("reception", "keyword_rich"), 96, 48, 48, "within", True),
        ("vignettes", ("categorisation", "keyword_free"), 96, 48, 48, "across", False),
        ("vignettes", ("categorisation", "keyword_rich"), 96, 48, 48, "across", False),
        ("minimal_pairs", ("reception", "keyword_free"), 80, 20, 40, "within", True),
        ("minimal_pairs", ("categorisation", "keyword_free"), 40, 20, 20, "across", False),
        ("crossed", ("valence", ""), 96, 24, 24, "flip", False),
    ],
)
def test_sizes_and_schemes(name, key, rows, groups, units, scheme, paired):
    task = shipped(name)[0][key]
    assert len(task.rows) == len(task.labels) == len(task.arms) == len(task.blocks) == rows
    assert len(set(task.groups)) == groups
    assert len(set(task.units)) == units
    assert (task.scheme, task.paired) == (scheme, paired)
    assert set(task.blocks) == {"family", "health", "work"}
    counts = set(Counter(task.labels.tolist()).values())
    assert counts == {rows // len(task.classes)}  # Classes are equally frequent.


def test_labels_are_what_the_rows_say():
    task = shipped("vignettes")[0]["reception", "keyword_rich"]
    assert task.classes.tolist() == ["neutral", "emotional"]  # Emotional counts as positive.
    arm = column("vignettes", task, "arm")
    assert set(arm) == {"keyword_rich", "neutral"}
    np.testing.assert_array_equal(task.label_numbers, arm == "keyword_rich")
    assert task.mask("keyword_rich").all()

    task = shipped("vignettes")[0]["categorisation", "keyword_free"]
    assert task.classes.tolist() == EIGHT
    np.testing.assert_array_equal(task.labels, column("vignettes", task, "emotion"))
    np.testing.assert_array_equal(task.classes[task.label_numbers], task.labels)
    for target in task.targets:
        np.testing.assert_array_equal(task.mask(target), column("vignettes", task, "arm") == target)
        assert task.mask(target).sum() == 48

    task = shipped("crossed")[0]["valence", ""]
    assert task.classes.tolist() == ["negative", "positive"]
    np.testing.assert_array_equal(
        task.label_numbers, column("crossed", task, "valence") == "positive"
    )
    assert task.mask("").all()


@pytest.mark.parametrize("name", ["vignettes", "minimal_pairs", "crossed"])
def test_permutations_keep_each_design(name):
    for task in shipped(name)[0].values():
        true, drawn = task.label_numbers, task.permuted(10, seed=0)
        assert drawn.shape == (10, len(true))
        assert (drawn != true).any()
        for draw in drawn:
            assert (np.bincount(draw) == np.bincount(true)).all()
            for block in set(task.blocks) if task.scheme == "across" else []:
                inside = task.blocks == block
                assert Counter(draw[inside]) == Counter(true[inside])
            for unit in set(task.units) if task.scheme != "across" else []:
                inside = task.units == unit
                assert Counter(draw[inside]) == Counter(true[inside])
        np.testing.assert_array_equal(drawn, task.permuted(10, seed=0))
    assert shipped("crossed")[0]["valence", ""].permuted(0, seed=0).shape == (0, 96)


def test_a_permuted_vignette_has_one_emotion_in_both_arms():
    task = shipped("vignettes")[0]["categorisation", "keyword_free"]
    for draw in task.permuted(5, seed=0):
        assert all(len(set(draw[task.groups == group])) == 1 for group in set(task.groups))


@pytest.mark.parametrize("name", ["vignettes", "minimal_pairs", "crossed"])
def test_folds_never_part_a_scenario_pair_or_quad(name):
    for task in shipped(name)[0].values():
        folds = task.folds(5, seed=0)
        for of in ("scenario", "pair", "quad"):
            members = column(name, task, of)
            assert all(len(set(folds[members == each])) == 1 for each in set(members) - {""})


def test_more_folds_than_scenarios_leave_a_task_out_and_say_so():
    tasks, notes = shipped("minimal_pairs", 6)
    assert list(tasks) == [("reception", "keyword_free")]
    assert len(notes) == 1
    assert "minimal_pairs: categorisation keyword_free left out" in notes[0]
    assert "label 'admiration' has 5 groups for 6 folds" in notes[0]


# Sets of one's own


def test_an_emotion_column_is_enough(tmp_path):
    path = tmp_path / "mine.csv"
    lines = [f"{i},text {i},{('joy', 'fear', 'anger', 'neutral')[i % 4]}" for i in range(24)]
    path.write_text("\n".join(["id,text,emotion", *lines]))
    (task,), notes = tasks_of(StimulusSet.load(path), 5)
    assert (task.name, task.source, task.targets, task.scheme) == (
        "categorisation",
        "",
        ("",),
        "across",
    )
    assert task.classes.tolist() == ["anger", "fear", "joy"]  # Neutral is no emotion.
    assert len(task.rows) == 18
    assert len(set(task.groups)) == 18  # Each row is its own group.
    assert task.mask("").all()
    assert notes == []
    assert (np.bincount(task.permuted(1, 0)[0]) == 6).all()


def test_a_valence_column_is_enough():
    (task,), _ = tasks_of(own([{"valence": v} for v in ["positive", "negative", "mixed"] * 6]), 5)
    assert (task.name, len(task.rows), task.scheme) == ("valence", 12, "across")


def test_pairs_without_scenarios_are_groups():
    arms = ("keyword_free", "neutral")
    rows = [{"pair": f"p{i}", "arm": arm} for i in range(8) for arm in arms]
    (task,), _ = tasks_of(own(rows), 4)
    assert (task.name, task.scheme, task.paired) == ("reception", "within", True)
    np.testing.assert_array_equal(task.groups, [row["pair"] for row in rows])
    folds = task.folds(4, seed=0)
    np.testing.assert_array_equal(folds[::2], folds[1::2])


@pytest.mark.parametrize(
    ("factor", "labels"), [("valence", ["positive", "negative"]), ("emotion", ["joy", "fear"])]
)
def test_labels_that_every_scenario_holds_alike_are_shuffled_inside_it(factor, labels):
    rows = [{"scenario": f"s{i}", factor: label} for i in range(8) for label in labels]
    (task,), _ = tasks_of(own(rows), 4)
    assert task.scheme == "within"
    drawn = task.permuted(50, seed=0)
    assert (drawn[:, ::2] + drawn[:, 1::2] == 1).all()
    np.testing.assert_allclose(drawn.mean(0), 0.5, atol=0.25)


def test_arms_without_neutral_ask_only_which_emotion():
    rows = [
        {"scenario": f"s{i}", "arm": arm, "emotion": ("joy", "fear")[i % 2]}
        for i in range(10)
        for arm in ("keyword_free", "keyword_rich")
    ]
    tasks, notes = tasks_of(own(rows), 4)
    assert notes == []
    assert [(task.name, task.source) for task in tasks] == [
        ("categorisation", "keyword_free"),
        ("categorisation", "keyword_rich"),
    ]


def test_reception_with_several_texts_an_arm_is_not_paired():
    arms = ("keyword_free", "keyword_free", "neutral", "neutral")
    rows = [{"scenario": f"s{i}", "arm": arm} for i in range(6) for arm in arms]
    (task,), _ = tasks_of(own(rows), 3)
    assert (task.paired, task.scheme) == (False, "within")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{}] * 6, "needs an `emotion` or `valence` column with two classes"),
        ([{"emotion": "joy"}] * 6, r"one class only \(joy\)"),
        ([{"emotion": e} for e in ["joy"] * 6 + ["fear"]], "label seen once: fear"),
        ([{"emotion": e} for e in ["joy"] * 6 + ["fear"] * 2], "'fear' has 2 groups for 3 folds"),
        ([{"arm": "neutral"}] * 6, "needs an `emotion`"),
    ],
)
def test_a_set_without_a_question_is_refused(rows, message):
    with pytest.raises(UserError, match=message) as caught:
        tasks_of(own(rows), 3)
    assert "stimuli 'own' allow no task" in str(caught.value)
    assert "\n" not in str(caught.value)
