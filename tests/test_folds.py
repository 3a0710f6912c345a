"""Folds never part a group and are alike in classes; permutations keep the design."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probekit.errors import UserError
from probekit.folds import grouped_folds, permute_labels, scheme_of


def counts(labels, rows):
    return Counter(np.asarray(labels)[rows].tolist())


@st.composite
def designs(draw):
    """Groups that hold one label, or both, in a shuffled order of rows."""
    n_folds = draw(st.integers(2, 5))
    kinds = st.sampled_from([("a",), ("b",), ("a", "b"), ("a", "a"), ("a", "b", "b")])
    held = [("a", "b")] * n_folds + draw(st.lists(kinds, max_size=25))
    rows = [(f"g{i}", label) for i, labels in enumerate(held) for label in labels]
    rows = draw(st.permutations(rows))
    return [group for group, _ in rows], np.array([label for _, label in rows]), n_folds


@settings(max_examples=100, deadline=None)
@given(designs(), st.integers(0, 1000))
def test_no_group_is_parted_and_alike_groups_are_dealt_evenly(design, seed):
    groups, labels, n_folds = design
    folds = grouped_folds(groups, labels, n_folds, seed)
    of_group: dict[str, set[int]] = {}
    held: dict[str, list[str]] = {}
    for group, label, fold in zip(groups, labels, folds, strict=True):
        of_group.setdefault(group, set()).add(int(fold))
        held.setdefault(group, []).append(str(label))
    assert all(len(found) == 1 for found in of_group.values())
    assert set(folds) <= set(range(n_folds))
    for kind in {tuple(sorted(labels)) for labels in held.values()}:
        alike = [g for g, labels in held.items() if tuple(sorted(labels)) == kind]
        dealt = Counter(next(iter(of_group[group])) for group in alike)
        sizes = [dealt[k] for k in range(n_folds)]
        assert max(sizes) - min(sizes) <= 1
    np.testing.assert_array_equal(folds, grouped_folds(groups, labels, n_folds, seed))


def test_pairs_give_every_fold_equal_classes():
    groups = np.repeat([f"s{i:02}" for i in range(24)], 2)
    labels = np.tile(["neutral", "emotional"], 24)
    folds = grouped_folds(groups, labels, 6, 0)
    for k in range(6):
        assert counts(labels, folds == k) == {"neutral": 4, "emotional": 4}
    assert (folds != grouped_folds(groups, labels, 6, 1)).any()


def test_scenarios_of_eight_emotions_give_every_fold_every_emotion():
    labels = np.array([f"e{i % 8}" for i in range(48)])
    folds = grouped_folds([f"s{i}" for i in range(48)], labels, 6, 0)
    for k in range(6):
        assert counts(labels, folds == k) == {f"e{i}": 1 for i in range(8)}


def test_refusals():
    groups = [f"g{i}" for i in range(6)]
    with pytest.raises(UserError, match=r"one class only \(a\)"):
        grouped_folds(groups, np.array(["a"] * 6), 3, 0)
    with pytest.raises(UserError, match="label seen once: b"):
        grouped_folds(groups, np.array([*"aaaaab"]), 3, 0)
    with pytest.raises(UserError, match="label 'b' has 2 groups for 3 folds"):
        grouped_folds(groups, np.array([*"aaaabb"]), 3, 0)
    # Many rows of one label in one group are one group still.
    with pytest.raises(UserError, match="label 'b' has 1 groups for 2 folds"):
        grouped_folds(["g", "g", "h", "i"], np.array([*"bbaa"]), 2, 0)


# Permutations


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=4), min_size=2), st.data())
def test_within_keeps_the_labels_of_every_unit(held, data):
    rows = data.draw(st.permutations([(f"u{i}", x) for i, unit in enumerate(held) for x in unit]))
    units, labels = np.array([u for u, _ in rows]), np.array([x for _, x in rows])
    drawn = permute_labels(labels, "within", units, units, 5, seed=0)
    assert drawn.shape == (5, len(labels))
    for draw in drawn:
        for unit in set(units):
            assert counts(draw, units == unit) == counts(labels, units == unit)


def test_within_turns_each_pair_about_half_the_time():
    units, labels = np.repeat(["p", "q"], 2), np.array([*"abab"])
    drawn = permute_labels(labels, "within", units, units, 1000, seed=0)
    turned = drawn[:, [0, 2]] == "b"
    np.testing.assert_allclose(turned.mean(0), 0.5, atol=0.06)
    assert abs(np.corrcoef(turned.T)[0, 1]) < 0.1


def test_a_scheme_shuffles_inside_only_what_all_groups_hold_alike():
    labels = np.array(["a", "b", "a", "b"])
    assert scheme_of(labels, ["s", "s", "t", "t"]) == "within"
    assert scheme_of(labels, ["s", "t", "u", "v"]) == "across", "each its own group"
    assert scheme_of(np.array(["a", "b", "a", "c"]), ["s", "s", "t", "t"]) == "across"
    assert scheme_of(np.array(["a", "a", "a", "a"]), ["s", "s", "t", "t"]) == "across"


def test_flip_turns_whole_quads_independently():
    units = np.repeat(["q1", "q2", "q3"], 4)
    labels = np.array([*"nppnpnnpnppn"])
    other = np.where(labels == "n", "p", "n")
    drawn = permute_labels(labels, "flip", units, units, 1000, seed=0)
    turned = []
    for unit in ("q1", "q2", "q3"):
        rows = units == unit
        flipped = (drawn[:, rows] == other[rows]).all(1)
        kept = (drawn[:, rows] == labels[rows]).all(1)
        assert (flipped ^ kept).all()
        turned.append(flipped)
    np.testing.assert_allclose(np.mean(turned, 1), 0.5, atol=0.06)
    assert np.abs(np.corrcoef(turned) - np.eye(3)).max() < 0.1


def test_across_keeps_one_label_a_scenario_and_the_labels_of_a_domain():
    units = np.array([f"s{i // 2}" for i in range(32)])
    blocks = np.where(np.arange(32) < 16, "family", "work")
    labels = np.array([f"e{i // 2 % 4}" for i in range(32)])
    labels[16:] = np.repeat([*"xxxyyyzz"], 2)
    drawn = permute_labels(labels, "across", units, blocks, 200, seed=0)
    for draw in drawn:
        assert all(len(set(draw[units == unit])) == 1 for unit in set(units))
        for block in ("family", "work"):
            assert counts(draw, blocks == block) == counts(labels, blocks == block)
    assert len({tuple(draw) for draw in drawn}) > 190


def test_across_keeps_class_counts_where_a_scenario_holds_several_labels():
    """Two texts of a couple may call for two emotions in two domains."""
    units = np.repeat([f"couple{i}" for i in range(8)], 2)
    blocks = np.tile(["family", "work"], 8)
    labels = np.array([f"e{i % 5}" for i in range(16)])
    for draw in permute_labels(labels, "across", units, blocks, 20, seed=0):
        for block in ("family", "work"):
            assert counts(draw, blocks == block) == counts(labels, blocks == block)


def test_permutations_are_repeatable_and_leave_the_labels_alone():
    labels, units = np.array([*"abab"]), np.repeat(["p", "q"], 2)
    one, two = (permute_labels(labels, "within", units, units, 9, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert "".join(labels) == "abab"
    assert permute_labels(labels, "within", units, units, 0, seed=0).shape == (0, 4)


def test_an_unknown_scheme_names_those_there_are():
    with pytest.raises(UserError, match="accepted are within, flip, across"):
        permute_labels(np.array(["a"]), "around", ["u"], ["b"], 1, 0)  # type: ignore[arg-type]
