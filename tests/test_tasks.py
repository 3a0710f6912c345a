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
    assert list(shipped("crossed")[0]) == [("valence", ""), ("categorisation", "")]
    assert list(shipped("scenarios")[0]) == [("valence", "")]
    assert list(shipped("perspective")[0]) == [("perspective", "")]
    assert notes == []  # Of the vignettes.
    with pytest.raises(UserError, match="allow no task"):
        shipped("complex_neutral")


@pytest.mark.parametrize(
    ("name", "key", "rows", "groups", "units", "scheme", "paired"),
    [
        ("vignettes", ("reception", "keyword_free"), 192, 96, 96, "within", True),
        ("vignettes", ("reception", "keyword_rich"), 192, 96, 96, "within", True),
        ("vignettes", ("categorisation", "keyword_free"), 192, 96, 96, "across", False),
        ("vignettes", ("categorisation", "keyword_rich"), 192, 96, 96, "across", False),
        ("minimal_pairs", ("reception", "keyword_free"), 320, 80, 160, "within", True),
        ("minimal_pairs", ("categorisation", "keyword_free"), 160, 80, 80, "across", False),
        ("crossed", ("valence", ""), 400, 100, 100, "flip", False),
        ("perspective", ("perspective", ""), 60, 30, 30, "within", False),
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
    # Half of every design is held out, whole scenarios at a time.
    assert task.held_out.sum() == rows // 2
    assert not set(task.groups[task.held_out]) & set(task.groups[~task.held_out])


def test_quads_whose_emotion_flips_are_compared_inside_the_quad():
    task = shipped("crossed")[0]["categorisation", ""]
    assert (len(task.rows), len(set(task.units)), task.scheme) == (160, 40, "flip")
    assert task.within_units
    assert len(task.classes) == 8
    for unit in set(task.units):
        inside = task.units == unit
        assert set(Counter(task.labels[inside]).values()) == {2}
        assert len(set(task.compare[inside])) == 1
    assert len(set(task.compare)) == 40


def test_every_row_is_learned_from_when_nothing_is_held_out():
    tasks, _ = tasks_of(StimulusSet.load("vignettes"), 5, hold_out=False)
    assert all(not task.held_out.any() for task in tasks)
    tested = StimulusSet.load("vignettes").select(split="test")
    assert all(not task.held_out.any() for task in tasks_of(tested, 5)[0])


def test_held_out_rows_are_a_fold_of_their_own():
    task = shipped("vignettes")[0]["reception", "keyword_free"]
    folds = task.folds(5, seed=0)
    assert set(folds[task.held_out]) == {5}
    assert set(folds[~task.held_out]) == set(range(5))
    drawn = task.permuted(20, seed=0)
    for part in (task.held_out, ~task.held_out):
        assert (drawn[:, part].sum(1) == task.label_numbers[part].sum()).all()


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
        assert task.mask(target).sum() == 96

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
    assert shipped("crossed")[0]["valence", ""].permuted(0, seed=0).shape == (0, 400)


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


def test_a_task_whose_rarest_class_fills_fewer_folds_takes_fewer_and_says_so():
    tasks, notes = shipped("crossed", 6)
    assert notes == ["crossed: categorisation in 4 folds, not 6: a class has no more groups"]
    folds = tasks["categorisation", ""].folds(6, seed=0)
    assert set(folds) == set(range(5))  # Four to learn from, and the held-out rows.
    assert set(tasks["valence", ""].folds(6, seed=0)) == set(range(7))


def test_too_few_groups_leave_a_task_out_and_say_so():
    rows = [
        {"emotion": e, "valence": v} for e, v in [("joy", "positive"), ("fear", "negative")] * 3
    ]
    rows += [{"emotion": "awe", "valence": "positive"}] * 2
    tasks, notes = tasks_of(own(rows), 3)
    assert [task.name for task in tasks] == ["valence"]
    assert notes[0].startswith("own: categorisation left out: fewer groups than folds")


def test_a_rating_is_a_task_of_numbers():
    stimuli = own([{"extra": {"arousal": i % 5}, "domain": "d"} for i in range(20)], emotion="joy")
    tasks, _ = tasks_of(stimuli, 4, ratings=["arousal"])
    (task,) = [task for task in tasks if task.name == "arousal"]
    assert (task.metric, task.scheme) == ("spearman", "across")
    np.testing.assert_array_equal(task.probe_target, np.arange(20) % 5)
    drawn = task.permuted(7, seed=0)
    assert (np.sort(drawn, 1) == np.arange(20)).all()
    assert sorted(Counter(task.folds(4, 0).tolist()).values()) == [5] * 4
    with pytest.raises(UserError, match="unknown column"):
        tasks_of(stimuli, 4, ratings=["dominance"])


def test_soft_labels_are_a_task_of_shares():
    rows = [{"extra": {"shares": {"joy": i / 19, "fear": 1 - i / 19}}} for i in range(20)]
    (task,) = tasks_of(own(rows), 4)[0]
    assert (task.name, task.metric) == ("soft_labels", "cross_entropy")
    assert task.classes.tolist() == ["fear", "joy"]
    np.testing.assert_allclose(task.probe_target[:, 1], np.arange(20) / 19)


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


def test_classes_are_one_question_of_all_labels_whatever_the_arm():
    (task,), _ = tasks_of(StimulusSet.load("utterances"), 5, classes=True)
    assert (task.name, task.source, task.targets, len(task.rows)) == ("classes", "", ("",), 420)
    assert "neutral" in task.classes
    assert len(task.classes) == 7
    assert task.mask("").all()
    assert (task.held_out.sum(), task.scheme) == (210, "within")
    with pytest.raises(UserError, match="allow no task"):
        tasks_of(own([{"arm": "neutral"}]), 5, classes=True)


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
