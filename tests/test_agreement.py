"""Agreement and figures of numbers, against krippendorff, scipy, scikit-learn, closed forms."""

from dataclasses import replace

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from sklearn.metrics import log_loss, r2_score

from probekit import stats
from probekit.lint import agreement
from probekit.stats import Estimate
from probekit.stimuli import Reading, Stimulus, StimulusSet
from probekit.stimuli.readings import matrix, text_hash


def ratings(seed, n_raters=4, n_items=20, n_values=5, missing=0.3):
    """`[rater, item]` that agree in part, with gaps; some items have one value or none."""
    rng = np.random.default_rng(seed)
    true = rng.integers(1, n_values + 1, n_items)
    noise = rng.integers(1, n_values + 1, (n_raters, n_items))
    table = np.where(rng.random((n_raters, n_items)) < 0.6, true, noise).astype(float)
    table[rng.random(table.shape) < missing] = np.nan
    table[:, :2] = [[1, 2]] * n_raters  # Never all alike.
    return table


# Krippendorff's alpha


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 5), st.sampled_from([0.0, 0.3, 0.7]))
@pytest.mark.parametrize("level", ["nominal", "interval"])
def test_alpha_is_the_packages(level, seed, n_raters, missing):
    table = ratings(seed, n_raters, missing=missing)
    want = krippendorff.alpha(reliability_data=table, level_of_measurement=level)
    got = stats.krippendorff_alpha(table, level)
    assert got.shape == (1,)
    assert got[0] == pytest.approx(want)


def test_alpha_of_a_published_table():
    """Krippendorff 2011, section C: four observers, twelve units, gaps."""
    told = [
        "1 2 3 3 2 1 4 1 2 * * *",
        "1 2 3 3 2 2 4 1 2 5 * 3",
        "* 3 3 3 2 3 4 2 2 5 1 *",
        "1 2 3 3 2 4 4 1 2 5 1 *",
    ]
    table = np.array([[np.nan if v == "*" else float(v) for v in row.split()] for row in told])
    assert stats.krippendorff_alpha(table, "nominal")[0] == pytest.approx(0.743, abs=5e-4)
    assert stats.krippendorff_alpha(table, "interval")[0] == pytest.approx(0.849, abs=5e-4)


@pytest.mark.parametrize("level", ["nominal", "interval"])
def test_alphas_weights_are_repeated_items(level):
    table = ratings(1)
    weights = np.random.default_rng(0).integers(0, 4, (8, table.shape[1]))
    got = stats.krippendorff_alpha(table, level, weights.astype(float))
    for value, weight in zip(got, weights, strict=True):
        again = np.repeat(table, weight, axis=1)
        want = krippendorff.alpha(reliability_data=again, level_of_measurement=level)
        assert value == pytest.approx(want)


@pytest.mark.parametrize("level", ["nominal", "interval"])
def test_alpha_of_full_agreement_of_chance_and_of_nothing(level):
    row = np.random.default_rng(2).integers(0, 6, 3000).astype(float)
    assert stats.krippendorff_alpha(np.tile(row[:9], (3, 1)), level)[0] == 1
    apart = np.stack([row, np.random.default_rng(3).permutation(row)])
    assert stats.krippendorff_alpha(apart, level)[0] == pytest.approx(0, abs=0.06)
    assert np.isnan(stats.krippendorff_alpha(np.full((2, 5), 3.0), level)[0])


# Numbers and shares


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(5, 40), st.integers(3, 20))
def test_spearman_of_one_stratum_is_scipys_with_ties(seed, n, values):
    rng = np.random.default_rng(seed)
    a = rng.integers(0, values, n).astype(float)
    b = a + rng.integers(0, values, n)
    a[:2], b[:2] = [0, 1], [0, 2]
    got = stats.spearman(a, b, np.zeros(n, int))
    assert got.shape == (1,)
    assert got[0] == pytest.approx(scipy_stats.spearmanr(a, b).statistic)


def test_spearman_ranks_within_strata_only():
    rng = np.random.default_rng(0)
    a, strata = rng.normal(size=90), np.arange(90) % 3
    b = a + rng.normal(size=90)
    want = np.mean([scipy_stats.spearmanr(a[strata == k], b[strata == k])[0] for k in range(3)])
    got = stats.spearman(a, b, strata)[0]
    assert got == pytest.approx(want)  # Strata of one size count alike.
    moved = stats.spearman(a + 100 * strata, b - 50 * strata, strata)[0]
    assert moved == pytest.approx(got)
    assert scipy_stats.spearmanr(a + 100 * strata, b - 50 * strata)[0] < -0.5


def test_spearmans_draws_reweight_the_ranks_of_the_sample():
    rng = np.random.default_rng(1)
    a, weights = rng.normal(size=30), rng.integers(0, 4, (6, 30))
    b = a + rng.normal(size=30)
    got = stats.spearman(a, b, np.zeros(30, int), weights.astype(float))
    ranks = [scipy_stats.rankdata(values) for values in (a, b)]
    for value, weight in zip(got, weights, strict=True):
        again = np.repeat(ranks, weight, axis=1)
        assert value == pytest.approx(scipy_stats.pearsonr(*again).statistic)


def test_a_correlation_with_a_constant_is_missing():
    strata = np.zeros(8, int)
    assert np.isnan(stats.spearman(np.ones(8), np.arange(8.0), strata)[0])
    assert np.isnan(stats.spearman(np.arange(8.0), np.ones(8), strata)[0])


def test_r_squared_is_scikit_learns():
    rng = np.random.default_rng(0)
    true, weights = 3 + 2 * rng.normal(size=50), rng.integers(0, 4, (5, 50)).astype(float)
    for predicted in (true + rng.normal(size=50), rng.normal(size=50)):
        assert stats.r_squared(predicted, true)[0] == pytest.approx(r2_score(true, predicted))
        got = stats.r_squared(predicted, true, weights)
        want = [r2_score(true, predicted, sample_weight=weight) for weight in weights]
        np.testing.assert_allclose(got, want)
    assert stats.r_squared(np.full(50, true.mean()), true)[0] == pytest.approx(0)
    assert stats.r_squared(rng.normal(size=50), true)[0] < 0
    assert np.isnan(stats.r_squared(true, np.ones(50))[0])


@pytest.mark.parametrize(("unit", "offset"), [(1, 1e9), (1e-7, 0), (1e6, -1e9)])
def test_r_squared_knows_no_unit_and_no_origin(unit, offset):
    true = np.random.default_rng(1).integers(0, 2, 60)
    got = stats.r_squared(offset + unit * (true + 0.5), offset + unit * true)
    assert got[0] == pytest.approx(1 - 0.25 / true.var())
    assert np.isnan(stats.r_squared(offset + unit * true, np.full(60, offset + unit))[0])


def test_cross_entropy_is_entropy_and_divergence():
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.ones(4), 30), rng.dirichlet(np.ones(4), 30)
    got = stats.cross_entropy(q, p)
    divergence = scipy_stats.entropy(p, q, axis=1)
    np.testing.assert_allclose(got, scipy_stats.entropy(p, axis=1) + divergence)
    labels = rng.integers(0, 4, 30)
    hard = stats.cross_entropy(q, np.eye(4)[labels])
    assert hard.mean() == pytest.approx(log_loss(labels, q, labels=range(4)))
    never = stats.cross_entropy(np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]]))
    assert 20 < never[0] < np.inf


@pytest.mark.parametrize(("power", "alpha"), [(0.8, 0.05), (0.5, 0.05), (0.9, 0.01)])
def test_the_smallest_effect_is_found_with_its_power(power, alpha):
    null = 0.5 + 0.07 * np.random.default_rng(0).normal(size=40)
    sd, normal = np.std(null, ddof=1), scipy_stats.norm
    effect = stats.smallest_effect(null, power, alpha)
    assert effect == pytest.approx(sd * (normal.ppf(power) + normal.ppf(1 - alpha / 2)))
    assert normal.sf(normal.ppf(1 - alpha / 2) - effect / sd) == pytest.approx(power)
    assert stats.smallest_effect(10 * null, power, alpha) == pytest.approx(10 * effect)
    if (power, alpha) == (0.8, 0.05):
        assert stats.smallest_effect(list(null)) == effect


# Readers


def made():
    """Two vignettes of two arms, two texts of valence only, and a scene of two people."""
    vignettes = [
        Stimulus(f"{s}-{arm}", f"{s} in {arm}", arm=arm, scenario=s, emotion=emotion)
        for s, own in (("v1", "grief"), ("v2", "rage"))
        for arm, emotion in (("keyword_free", own), ("neutral", "neutral"))
    ]
    others = [
        Stimulus("good", "A good text.", valence="positive", scenario="w1"),
        Stimulus("even", "An even text.", valence="neutral", scenario="w2"),
        Stimulus("poor", "A poor text.", valence="negative", scenario="w2"),
        Stimulus("plain", "A plain text.", emotion="relief"),
        Stimulus("two", "Two people.", extra={"emotion_a": "relief", "emotion_b": "grief"}),
    ]
    return StimulusSet("made", (*vignettes, *others))


def reading(row, reader, emotion, valence=np.nan, about="", text=None):
    sha = text_hash(text or row.text)
    return Reading(sha, reader, 1, emotion, about=about, valence=valence, id=row.id)


def test_readings_are_held_against_the_labels_by_group():
    rows = {row.id: row for row in made().rows}
    given = [
        reading(rows["v1-keyword_free"], "A", "grief"),
        reading(rows["v1-keyword_free"], "B", "nothing_much"),
        reading(rows["v2-keyword_free"], "A", "rage"),
        reading(rows["v1-neutral"], "A", "nothing_much"),
        reading(rows["v2-neutral"], "A", "other"),
        reading(rows["good"], "A", "other", 6.0),
        reading(rows["good"], "B", "other", 5.9),
        reading(rows["even"], "A", "other", 4.1),
        reading(rows["even"], "B", "other", 4.0),
        reading(rows["good"], "C", "other"),  # Says nothing of valence: no misreading.
        reading(rows["poor"], "A", "other", 4.0),
        reading(rows["poor"], "B", "other", 4.1),
        reading(rows["plain"], "A", "relief"),
        reading(rows["plain"], "B", "gratitude"),
        reading(rows["two"], "A", "relief", about="a"),
        reading(rows["two"], "A", "relief", about="b"),
        reading(rows["two"], "B", "grief", about="b"),
        # Rewritten since: the label is that of the row with its id, if there is one.
        reading(rows["good"], "A", "other", 1.0, text="What no text says any more."),
        replace(reading(rows["good"], "A", "other", 1.0, text="Whose?"), id=""),
    ]
    assert list(agreement.as_intended(made(), given)) == [
        ("emotion", 1, 2),
        ("keyword_free", 2, 3),
        ("neutral", 1, 2),
        ("valence negative", 1, 2),
        ("valence neutral", 1, 2),
        ("valence positive", 1, 3),
        ("whose feeling", 2, 3),
    ]


def panel(stimuli, seed=0):
    """Three readers of every text, who agree in part; no one rates arousal."""
    rng = np.random.default_rng(seed)
    return [
        reading(row, reader, rng.choice(["grief", "rage", own]), float(rng.integers(1, 10)))
        for row in stimuli.rows
        for own in [row.emotion if row.emotion not in ("", "neutral") else "other"]
        for reader in "ABC"
        if (row.id, reader) != ("plain", "C")
    ]


def test_alphas_come_with_an_interval_over_scenarios():
    stimuli = made()
    given = panel(stimuli)
    alone = reading(stimuli.rows[-1], "A", "grief", about="b")  # One reading: no agreement.
    found = {column: rest for column, *rest in agreement.alphas(stimuli, [*given, alone], 200)}
    assert list(found) == ["emotion", "valence"]
    scenarios = ["v1", "v1", "v2", "v2", "w1", "w2", "w2", "plain", "two", "two"]
    weights = stats.bootstrap_weights(scenarios, 200, 0)
    for column, level in (("emotion", "nominal"), ("valence", "interval")):
        estimate, count = found[column]
        _, table = matrix([*given, alone], column)
        want = krippendorff.alpha(reliability_data=table, level_of_measurement=level)
        assert estimate.value == pytest.approx(want)
        assert count == 9
        assert estimate == Estimate.of(stats.krippendorff_alpha(table, level, weights))
        assert estimate.low < estimate.value < estimate.high


def test_readings_without_ids_are_clustered_by_scenario_too():
    stimuli = made()
    named = panel(stimuli)
    bare = [replace(each, id="") for each in named]
    assert list(agreement.alphas(stimuli, bare, 100)) == list(agreement.alphas(stimuli, named, 100))


def test_one_scenario_has_no_interval_and_no_alpha():
    stimuli = made()
    rows = [row for row in stimuli.rows if row.scenario == "v1"]
    given = [
        reading(row, *said) for row in rows for said in (("A", "grief", 2.0), ("B", "rage", 3.0))
    ]
    assert list(agreement.alphas(stimuli, given, 20)) == []


def test_rounds_are_told_apart():
    """The first round was of texts that were changed since."""
    stimuli = made()
    both = [(row, reader) for row in stimuli.rows for reader in "AB"]
    first = [reading(row, r, "grief", 2.0, text=f"Old {row.id}") for row, r in both]
    first[0] = replace(first[0], emotion="rage", valence=9.0)
    second = [replace(each, round=2) for each in panel(stimuli, 1)]
    told = dict(agreement.lines(stimuli, [*first, *second]))
    alphas = {name: said for name, said in told.items() if "alpha" in name}
    assert list(alphas) == [
        "first round: Krippendorff's alpha, emotion",
        "first round: Krippendorff's alpha, valence",
        "texts as they stand: Krippendorff's alpha, emotion",
        "texts as they stand: Krippendorff's alpha, valence",
    ]
    assert all(said.endswith("9 texts") and "[" in said for said in alphas.values())
    groups = [
        (f"{when}: {group} read as intended", f"{right} of {total}")
        for when, own in (("first round", first), ("texts as they stand", second))
        for group, right, total in agreement.as_intended(stimuli, own)
    ]
    assert len(groups) == 14
    assert groups == [pair for pair in told.items() if pair[0] not in alphas]


def test_readings_that_are_all_alike_have_no_alpha():
    stimuli = made()
    given = [reading(row, reader, "grief", 5.0) for row in stimuli.rows for reader in "AB"]
    assert list(agreement.alphas(stimuli, given, 20)) == []
    other = [replace(given[0], valence=6.0), *given[1:]]
    assert [column for column, *_ in agreement.alphas(stimuli, other, 20)] == ["valence"]


def test_without_readings_nothing_is_said():
    assert list(agreement.lines(made(), [])) == []
