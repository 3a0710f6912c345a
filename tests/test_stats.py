"""Figures against scikit-learn, scipy and hand calculation; intervals against simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control
from sklearn.metrics import brier_score_loss, roc_auc_score

from probekit import stats
from probekit.errors import UserError
from probekit.stats import Estimate


def ones(n):
    return np.zeros(n, np.int64)


# AUROC


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(4, 60), st.integers(1, 6))
def test_auroc_is_scikit_learns_with_ties(seed, n, values):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, values, n).astype(float)
    positive = rng.random(n) < 0.4
    positive[:2] = [True, False]
    got = stats.auroc(scores, positive, ones(n))
    assert got.shape == (1,)
    assert got[0] == pytest.approx(roc_auc_score(positive, scores))


def test_auroc_compares_within_strata_only():
    rng = np.random.default_rng(0)
    scores, positive, strata = rng.normal(size=90), rng.random(90) < 0.5, np.arange(90) % 3
    scores += 100 * strata  # Would decide everything between folds.
    pairs = [positive[strata == k].sum() * (~positive[strata == k]).sum() for k in range(3)]
    each = [roc_auc_score(positive[strata == k], scores[strata == k]) for k in range(3)]
    want = np.average(each, weights=pairs)
    assert stats.auroc(scores, positive, strata)[0] == pytest.approx(want)
    assert abs(want - roc_auc_score(positive, scores)) > 0.01


def test_integer_weights_are_repeated_rows():
    rng = np.random.default_rng(1)
    scores, positive = rng.integers(0, 5, 40).astype(float), rng.random(40) < 0.5
    strata, weights = np.arange(40) % 2, rng.integers(0, 4, (6, 40))
    got = stats.auroc(scores, positive, strata, weights.astype(float))
    for value, weight in zip(got, weights, strict=True):
        again = np.repeat(np.arange(40), weight)
        assert value == pytest.approx(stats.auroc(scores[again], positive[again], strata[again])[0])


def test_auroc_without_a_pair_is_missing():
    assert np.isnan(stats.auroc(np.arange(3.0), np.ones(3, bool), ones(3))[0])
    parted = stats.auroc(np.arange(2.0), np.array([True, False]), np.array([0, 1]))
    assert np.isnan(parted[0])


def test_macro_auroc_is_scikit_learns_one_vs_rest():
    rng = np.random.default_rng(2)
    labels = np.arange(60) % 4
    probabilities = rng.dirichlet(np.ones(4), 60)
    got = stats.macro_auroc(probabilities, labels, ones(60))[0]
    want = roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    assert got == pytest.approx(want)
    one = stats.macro_auroc(probabilities[:, 1:2], labels % 2, ones(60))[0]
    assert one == pytest.approx(roc_auc_score(labels % 2, probabilities[:, 1]))


def test_macro_auroc_leaves_out_a_class_that_was_not_drawn():
    labels, scores = np.array([0, 0, 1, 1]), np.eye(3)[[0, 1, 1, 1]]
    each = [stats.auroc(scores[:, k], labels == k, ones(4))[0] for k in (0, 1)]
    assert stats.macro_auroc(scores, labels, ones(4))[0] == pytest.approx(np.mean(each))


# Accuracy and calibration


def test_hits_and_brier():
    rng = np.random.default_rng(3)
    p, labels = rng.random((50, 1)), rng.integers(0, 2, 50)
    # scikit-learn scores one class of two; Brier's own sum over classes is twice that.
    assert stats.brier(p, labels).mean() == pytest.approx(2 * brier_score_loss(labels, p[:, 0]))
    np.testing.assert_array_equal(stats.hits(p, labels), (p[:, 0] > 0.5) == labels)
    three = np.array([[0.2, 0.5, 0.3], [1.0, 0, 0]])
    np.testing.assert_allclose(stats.brier(three, np.array([0, 1])), [0.64 + 0.25 + 0.09, 2])
    np.testing.assert_array_equal(stats.hits(three, np.array([1, 1])), [1, 0])
    np.testing.assert_allclose(stats.full_probabilities(np.array([[0.3]])), [[0.7, 0.3]])


def test_calibration_error_by_hand():
    # 150 items at confidence .85 of which 90 hit; 50 certain ones of which 40 hit.
    p = np.concatenate([np.full(150, 0.85), np.ones(50)])[:, None]
    labels = np.concatenate([np.ones(90), np.zeros(60), np.ones(40), np.zeros(10)]).astype(int)
    want = 0.75 * abs(0.85 - 0.6) + 0.25 * abs(1 - 0.8)
    assert stats.expected_calibration_error(p, labels) == pytest.approx(want)
    # The confidence of a denial is that of class 0.
    assert stats.expected_calibration_error(1 - p, 1 - labels) == pytest.approx(want)


def test_calibration_error_needs_two_hundred_items():
    p, labels = np.full((200, 1), 0.9), np.ones(200, int)
    assert stats.expected_calibration_error(p, labels) == pytest.approx(0.1)
    assert stats.expected_calibration_error(p[1:], labels[1:]) is None


def test_forced_choice_counts_a_tie_half():
    scores = np.array([2.0, 1.0, 5.0, 5.0, 0.0, 3.0, 9.0, 9.0, 9.0, 9.0])
    labels = np.array([1, 0, 0, 1, 1, 0, 1, 1, 0, 0])
    pairs = ["a", "a", "b", "b", "c", "c", "d", "d", "e", "d"]  # d and e are no pairs.
    values, rows = stats.forced_choice(scores, labels, pairs)
    np.testing.assert_array_equal(values, [1, 0.5, 0])
    np.testing.assert_array_equal(rows, [0, 3, 4])


# Resampling


def test_bootstrap_draws_whole_clusters():
    clusters = ["a", "b", "a", "c", "c", "a", "d"]
    weights = stats.bootstrap_weights(clusters, 500, seed=0)
    assert weights.shape == (501, 7)
    np.testing.assert_array_equal(weights[0], 1)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    np.testing.assert_array_equal(weights[:, 3], weights[:, 4])
    drawn = weights[1:, [0, 1, 3, 6]]
    np.testing.assert_array_equal(drawn.sum(1), 4)
    np.testing.assert_allclose(drawn.mean(0), 1, atol=0.15)
    np.testing.assert_array_equal(weights, stats.bootstrap_weights(clusters, 500, seed=0))
    assert (weights != stats.bootstrap_weights(clusters, 500, seed=1)).any()


def test_draws_are_paired_over_the_order_of_items():
    """Two arms of the same scenarios get the same draw for the same scenario."""
    here = stats.bootstrap_weights(["a", "b", "c"], 50, seed=4)
    there = stats.bootstrap_weights(["c", "a", "b", "a"], 50, seed=4)
    np.testing.assert_array_equal(here[:, [2, 0, 1, 0]], there)


@pytest.mark.parametrize("clusters", [None, []])
def test_an_interval_refuses_without_clusters(clusters):
    with pytest.raises(UserError, match="needs the cluster id of every item"):
        stats.bootstrap_weights(clusters, 10, seed=0)


def test_an_interval_refuses_one_cluster():
    with pytest.raises(UserError, match="at least two clusters"):
        stats.bootstrap_weights(["a", "a"], 10, seed=0)


def test_weighted_mean():
    weights = np.array([[1.0, 1, 1], [2, 0, 1], [0, 0, 0]])
    got = stats.weighted_mean(np.array([3.0, 6.0, 9.0]), weights)
    np.testing.assert_allclose(got, [6, 5, np.nan])


def test_estimate_is_the_sample_with_percentiles():
    draws = np.concatenate([[0.5], np.linspace(0, 1, 1001)])
    assert Estimate.of(draws) == Estimate(0.5, pytest.approx(0.025), pytest.approx(0.975))
    wide = Estimate.of(np.array([0.9, 0.1, 0.2, np.nan, 0.3]))
    assert (wide.value, wide.high) == (0.9, 0.9)
    assert wide.low == pytest.approx(np.quantile([0.1, 0.2, 0.3], 0.025))


def test_p_against_zero_is_two_sided():
    above = np.concatenate([[1.0], np.full(97, 1.0), np.full(2, -1.0)])
    assert Estimate.of(above, against_zero=True).p == pytest.approx(2 * 3 / 100)
    assert Estimate.of(-above, against_zero=True).p == pytest.approx(2 * 3 / 100)
    assert Estimate.of(np.zeros(20), against_zero=True).p == 1
    assert Estimate.of(above).p is None


def test_a_paired_difference_is_tighter_than_two_intervals():
    rng = np.random.default_rng(5)
    clusters = [str(i // 2) for i in range(120)]
    labels = np.arange(120) % 2
    shared = labels + rng.normal(size=120)
    better = shared + 0.3 * (labels - 0.5)
    weights = stats.bootstrap_weights(clusters, 400, seed=0)
    one, two = (stats.auroc(s, labels == 1, ones(120), weights) for s in (better, shared))
    gap = Estimate.of(one - two, against_zero=True)
    assert gap.value == pytest.approx(Estimate.of(one).value - Estimate.of(two).value)
    single = Estimate.of(two)
    assert gap.high - gap.low < 0.5 * (single.high - single.low)
    assert gap.p is not None
    assert gap.p < 0.02
    assert gap.low > 0


def test_cluster_bootstrap_covers_and_item_bootstrap_does_not():
    """Mean of clustered values: about 95 % of intervals hold the truth, 0."""
    rng = np.random.default_rng(6)
    held = {"clusters": 0, "items": 0}
    for trial in range(200):
        values = np.repeat(rng.normal(size=30), 6) + 0.3 * rng.normal(size=180)
        ids = {"clusters": [str(i // 6) for i in range(180)], "items": list(map(str, range(180)))}
        for kind, clusters in ids.items():
            weights = stats.bootstrap_weights(clusters, 200, seed=trial)
            interval = Estimate.of(stats.weighted_mean(values, weights))
            held[kind] += interval.low <= 0 <= interval.high
    assert 0.88 <= held["clusters"] / 200 <= 0.99
    assert held["items"] / 200 < 0.75


def test_permutation_p_counts_the_observed():
    assert stats.permutation_p(0.9, [0.1, 0.2, 0.3]) == pytest.approx(1 / 4)
    assert stats.permutation_p(0.2, [0.1, 0.2, 0.3]) == pytest.approx(3 / 4)
    assert stats.permutation_p(0.1 + 0.2, [0.3]) == 1  # Equal to rounding.
    assert np.isnan(stats.permutation_p(np.nan, [0.1, 0.2, 0.3]))  # No figure, no p.


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_benjamini_hochberg_is_scipys(p):
    np.testing.assert_allclose(stats.benjamini_hochberg(p), false_discovery_control(p))


def test_a_missing_p_is_left_out_of_the_adjustment_and_stays_missing():
    found = stats.adjusted([0.01, None, 0.04, float("nan"), 0.02])
    assert found[1] is None
    assert found[3] is None
    wanted = stats.benjamini_hochberg([0.01, 0.04, 0.02])
    np.testing.assert_allclose([found[n] for n in (0, 2, 4)], wanted)
    assert stats.adjusted([0.01, None]) == [None, None], "one alone was tested with no other"
