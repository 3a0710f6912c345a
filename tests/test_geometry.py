"""The geometry against planted structure, slow loops and chance; the study on tiny models."""

import csv
import itertools
from dataclasses import replace

import numpy as np
import pytest
from families import build
from scipy.stats import spearmanr
from sklearn.metrics import silhouette_score

from probekit import stats
from probekit.errors import UserError
from probekit.geometry import Geometry, align, axes, centroids, cka, grams, rsa, run_geometry
from probekit.geometry.clusters import silhouettes
from probekit.geometry.design import MOST_ITEMS, design_of
from probekit.geometry.measures import Measures
from probekit.geometry.stack import Stack
from probekit.geometry.study import WORDS
from probekit.geometry.theories import (
    THEORIES,
    arousal,
    circumplex,
    norms,
    opposites,
    valence,
    wheel,
)
from probekit.runs import COORDINATES, MANIFEST, RESULTS, STAGES, read_json
from probekit.stimuli import Stimulus, StimulusSet, Taxonomy
from probekit.store import Activations

EIGHT = ("rage", "grief", "terror", "ecstasy", "loathing", "amazement", "admiration", "vigilance")
DOMAINS = ("family", "work", "health")
QUICK = Geometry(permutations=99, bootstraps=50, splits=20)
D = 40


def stimuli_of(labels=EIGHT, arms=("keyword_free",), each=4, domains=DOMAINS, rating=None):
    """`each` scenarios of every emotion in every domain, told in some arms; half of them dev."""
    rows = [
        Stimulus(
            f"{label}-{domain}-{n}-{arm}",
            f"text {'x' * (n + len(domain))} of {domain} number {n}",
            arm=arm,
            emotion=label,
            domain=domain,
            scenario=f"{label}-{domain}-{n}",
            split="dev" if n % 2 else "test",
            extra={} if rating is None else {"read_valence": rating(label, n)},
        )
        for label, domain, n, arm in itertools.product(labels, domains, range(each), arms)
    ]
    return StimulusSet("planted", tuple(rows))


def figures(design, layers, options=QUICK, words=()):
    """Figures of states `[layer][item, d]`, by task, source and so on."""
    states = np.stack([*layers, *words], 1)
    whole = grams.grams(states, design.learned)
    stack = Stack(design, whole, range(len(layers), states.shape[1]), options)
    cells = ("task", "source", "target", "unit", "judge", "metric")
    return {
        tuple(figure.cells.get(name, "") for name in cells if figure.cells.get(name, "")): figure
        for figure in Measures(stack).figures()
    }


def noise(seed, *shape, size=1.0):
    return size * np.random.default_rng(seed).standard_normal(shape)


# Inner products


def test_standardised_features_weigh_alike_and_a_constant_one_nothing():
    x = noise(0, 20, 1, 5) * np.array([1, 1e4, 1, 1, 0]) + 7
    learned = np.arange(20) < 12
    gram = grams.grams(x, learned)[0]
    z = (x[:, 0, :4] - x[learned, 0, :4].mean(0)) / x[learned, 0, :4].std(0)
    np.testing.assert_allclose(gram, z @ z.T, atol=1e-9)
    plain = grams.grams(x, learned, standardize=False)[0]
    assert np.corrcoef(plain.ravel(), np.outer(z[:, 1], z[:, 1]).ravel())[0, 1] > 0.999


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_state_that_is_not_finite_is_refused_by_place(bad):
    x = noise(0, 4, 3, 2)
    x[2, 1, 0] = bad
    with pytest.raises(UserError, match="item 2 at layer place 1"):
        grams.grams(x, np.ones(4, bool))


def test_principal_components_are_those_of_the_items():
    x = noise(1, 30, 2, 6) * np.array([9, 5, 3, 1, 1, 1])
    places, shares = grams.principal(grams.grams(x, np.ones(30, bool), standardize=False), 3)
    for layer in range(2):
        centred = x[:, layer] - x[:, layer].mean(0)
        left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
        np.testing.assert_allclose(abs(places[layer]), abs(left * sizes)[:, :3], atol=1e-9)
        np.testing.assert_allclose(shares[layer], (sizes**2 / (sizes**2).sum())[:3])
    largest = np.take_along_axis(places, abs(places).argmax(1, keepdims=True), 1)
    assert (largest > 0).all()


@pytest.mark.parametrize("k", [1, 3, 6])
def test_participation_ratio_counts_planted_dimensions(k):
    drawn = noise(2, 50, k)
    points = np.linalg.svd(drawn - drawn.mean(0), full_matrices=False)[0]
    turned = points @ np.linalg.qr(noise(3, 20, 20))[0][:k]
    assert grams.participation_ratio(turned @ turned.T) == pytest.approx(k)


def test_within_takes_the_means_of_classes_away():
    x, classes = noise(4, 12, 5), np.arange(12) % 3
    left = x - np.stack([x[classes == c].mean(0) for c in range(3)])[classes]
    np.testing.assert_allclose(grams.within(x @ x.T, classes), left @ left.T, atol=1e-12)


# Centroids


def test_distances_are_the_mean_over_all_ways_to_part_the_scenarios():
    x, classes = noise(5, 8, 6) + 3, np.repeat([0, 1], 4)
    scenario = np.array(list("aabccdee"))
    members = centroids.memberships(classes, np.ones((1, 8)), 2)
    inner = centroids.products(x @ x.T, members, mask=centroids.apart(scenario))
    found = centroids.distances(inner)[0, 0]

    def product(a, b):
        pairs = [
            x[i] @ x[j]
            for i in np.flatnonzero(classes == a)
            for j in np.flatnonzero(classes == b)
            if scenario[i] != scenario[j]
        ]
        return np.mean(pairs)

    assert found == pytest.approx(product(0, 0) + product(1, 1) - 2 * product(0, 1))


def test_noise_adds_nothing_to_cross_validated_distances_and_much_to_others():
    design = design_of(stimuli_of(), 1, 0)
    members = centroids.memberships(design.emotion, np.ones((1, 96)), 8)
    ours, naive = [], []
    for seed in range(20):
        x = noise(seed, 96, D)
        mask = centroids.apart(design.scenario)
        ours.append(centroids.distances(centroids.products(x @ x.T, members, mask=mask)))
        naive.append(centroids.distances(centroids.products(x @ x.T, members)))
    assert np.mean(naive) == pytest.approx(2 * D / 12, rel=0.1)
    assert abs(np.mean(ours)) < 0.05 * np.mean(naive)


def test_cosines_of_unrelated_emotions_are_about_minus_one_seventh():
    inner = np.eye(8)
    found = centroids.cosines(inner)
    np.testing.assert_allclose(found[np.triu_indices(8, 1)], -1 / 7)
    np.testing.assert_allclose(found.diagonal(), 1)


def test_a_cosine_with_itself_is_1_without_noise_and_0_with_noise_alone():
    design = design_of(stimuli_of(), 1, 0)
    halves = [
        centroids.memberships(design.emotion, half, 8)
        for half in centroids.halves(design.scenario, design.cell, 30, 0)
    ]
    assert all((half.sum(2) == 6).all() for half in halves)
    means = noise(6, 8, D)
    for size, low, high in ((0, 1 - 1e-9, 1 + 1e-9), (0.5, 0.9, 0.999), (100, 0, 0.5)):
        x = means[design.emotion] + noise(7, 96, D, size=size)
        found = centroids.split_half_cosines(x @ x.T, *halves).mean()
        assert low <= found <= high, size


# Theories


def test_the_wheel_has_its_neighbours_and_opposites():
    basic = ("joy", "trust", "fear", "surprise", "sadness", "disgust", "anger", "anticipation")
    degrees = wheel(basic)
    assert {(a, b) for a, b in itertools.combinations(basic, 2)
            if degrees[basic.index(a), basic.index(b)] == 180} == {
        ("joy", "sadness"), ("trust", "disgust"), ("fear", "anger"), ("surprise", "anticipation"),
    }  # fmt: skip
    assert [degrees[n, (n + 1) % 8] for n in range(8)] == [45] * 8
    assert wheel(["ecstasy", "joy", "relief", "happiness"])[0].tolist() == [0] * 4
    assert opposites(EIGHT).sum() == 8
    assert set(wheel(Taxonomy.load("plutchik").labels).ravel()) == {0, 45, 90, 135, 180}


def test_the_circumplex_is_distance_in_published_norms():
    found = circumplex(["joy", "grief"])[0, 1]
    assert found == pytest.approx(np.hypot(8.21 - 2.33, 5.55 - 4.95))
    assert valence(["joy", "grief"])[0, 1] == pytest.approx(8.21 - 2.33)
    assert arousal(["joy", "grief"])[0, 1] == pytest.approx(5.55 - 4.95)


@pytest.mark.parametrize(
    ("theory", "labels", "said"),
    [
        ("circumplex", ("joy", "flumness"), "no published valence and arousal for 'flumness'"),
        ("wheel", ("joy", "gratitude"), "'gratitude' has no place on Plutchik's wheel"),
        ("opposites", ("joy", "trust"), "no two are opposite"),
    ],
)
def test_a_label_that_a_theory_does_not_know_is_refused(theory, labels, said):
    with pytest.raises(UserError, match=said):
        THEORIES[theory](labels)


# Correlations


def test_rho_and_tau_are_those_of_slow_loops():
    theory = wheel(EIGHT)
    pairs = np.triu_indices(8, 1)
    given = noise(8, 3, 2, 28).round(1)
    orders = rsa.relabelings(8, 0, 0)
    assert len(orders) == 40319
    values, null = rsa.rho(given, theory, orders)
    taus, tau_null = rsa.tau(rsa.signs(rsa.ranks(given)), theory, orders)

    def slow_tau(a, b):
        couples = itertools.combinations(range(28), 2)
        return np.mean([np.sign(a[i] - a[j]) * np.sign(b[i] - b[j]) for i, j in couples])

    for layer, draw in itertools.product(range(3), range(2)):
        own = given[layer, draw]
        wanted = spearmanr(own, theory[pairs]).statistic
        assert values[layer, draw] == pytest.approx(wanted)
        assert taus[layer, draw] == pytest.approx(slow_tau(own, theory[pairs]), abs=1e-6)
    for place in (0, 77, 40318):
        turned = theory[np.ix_(orders[place], orders[place])][pairs]
        assert null[1, place] == pytest.approx(spearmanr(given[1, 0], turned).statistic)
        assert tau_null[1, place] == pytest.approx(slow_tau(given[1, 0], turned), abs=1e-6)


def test_a_partial_rho_correlates_what_the_nuisances_leave():
    theory, nuisances, given = wheel(EIGHT), noise(9, 2, 28), noise(10, 1, 28)
    model = theory[np.triu_indices(8, 1)]
    given += 2 * nuisances[0]
    design = np.column_stack([np.ones(28), *map(rsa.ranks, nuisances)])

    def left(values):
        ranked = rsa.ranks(values)
        return ranked - design @ np.linalg.lstsq(design, ranked, rcond=None)[0]

    wanted = np.corrcoef(left(given[0]), left(model))[0, 1]
    values, null = rsa.rho(given, theory, rsa.relabelings(8, 0, 0), nuisances)
    assert values[0] == pytest.approx(wanted)
    assert abs(null.mean()) < 0.01
    constant = np.vstack([nuisances, np.ones((1, 28)), np.full((1, 28), np.nan)])
    again, _ = rsa.rho(given, theory, np.arange(8)[None], constant)
    assert again[0] == pytest.approx(wanted), "what is constant explains nothing"


@pytest.mark.parametrize("shared", [None, 0.0, 0.5])
def test_p_is_uniform_where_the_theory_says_nothing(shared):
    """Alone, and beside a nuisance that explains the distances and shares something with it."""
    theory, pairs = circumplex(EIGHT[:5]), np.triu_indices(5, 1)
    said = (theory[pairs] - theory[pairs].mean()) / theory[pairs].std()
    orders = rsa.relabelings(5, 0, 0)
    found = []
    for seed in range(400):
        given, nuisances = noise([seed, 2], 1, 10), None
        if shared is not None:
            nuisances = shared * said + noise([seed, 1], 1, 10)
            given = given + nuisances
        values, null = rsa.rho(given, theory, orders, nuisances)
        found.append(stats.permutation_p(values[0], null))
    for level in (0.1, 0.5, 0.9):
        spread = np.sqrt(level * (1 - level) / 400)
        assert abs(np.mean(np.array(found) <= level) - level) < 4 * spread, level


def test_too_few_pairs_give_no_partial_figure():
    labels = EIGHT[:4]
    values, _ = rsa.rho(noise(0, 1, 6), wheel(labels), np.arange(4)[None], noise(1, 4, 6))
    assert np.isnan(values[0])


def test_weighted_correlations_of_all_draws_are_those_of_the_sample_at_equal_weights():
    x = noise(11, 12, 4)
    pairs = np.triu_indices(12, 1)
    values = np.vstack([noise(12, 2, 66), ((x[:, None] - x[None]) ** 2).sum(-1)[pairs]])
    values = np.vstack([values, values[0] + noise(13, 1, 66)])
    spread = rsa.spreads(values, pairs, np.ones((1, 12)))
    found, _ = rsa.item_rho(values[:2], values[2], values[3:], pairs, np.arange(12)[None])
    np.testing.assert_allclose(rsa.partial(spread, 2, [3], 2)[:, 0], found)
    # A scenario that is drawn twice counts as two.
    twice = np.array([2.0, 0] + [1] * 10)
    both = twice[pairs[0]] * twice[pairs[1]]
    ranked = rsa.ranks(values)
    wanted = np.cov(ranked[0], ranked[2], aweights=both)
    draws = rsa.partial(rsa.spreads(values, pairs, twice[None]), 2, [], 2)
    assert draws[0, 0] == pytest.approx(wanted[0, 1] / np.sqrt(wanted[0, 0] * wanted[1, 1]))


# Silhouettes


def test_silhouettes_are_those_of_scikit_learn():
    x, classes = noise(14, 30, 5) + np.repeat(np.eye(3, 5), 10, 0), np.repeat(range(3), 10)
    x -= x.mean(0)
    table = grams.cosine_distances(x @ x.T)
    found = silhouettes(table, classes, centroids.apart(np.arange(30)), np.ones((1, 30)))
    distance = table.copy()
    np.fill_diagonal(distance, 0)
    wanted = silhouette_score(distance, classes, metric="precomputed")
    assert found[0] == pytest.approx(wanted)
    kept = np.r_[0:8, 10:18, 20:28]
    weights = np.isin(np.arange(30), kept).astype(float)[None]
    part = silhouettes(table, classes, centroids.apart(np.arange(30)), weights)
    wanted = silhouette_score(distance[np.ix_(kept, kept)], classes[kept], metric="precomputed")
    assert part[0] == pytest.approx(wanted)


def test_silhouettes_do_not_compare_texts_of_one_scenario():
    x = noise(15, 10, 6)
    scenario = np.repeat(np.arange(5), 2)
    classes = np.tile([0, 1], 5)
    table = grams.cosine_distances(x @ x.T)
    changed = table + 100 * (1 - centroids.apart(scenario))
    ones = np.ones((1, 10))
    found = [silhouettes(t, classes, centroids.apart(scenario), ones)[0] for t in (table, changed)]
    assert found[0] == found[1]


# Planted structure


@pytest.fixture(scope="module")
def circular():
    """A circumplex, nothing, and a wheel of no use, in layers of their own; domains in all."""
    design = design_of(stimuli_of(arms=("keyword_free", "keyword_rich")), 99, 0)
    place = norms(design.labels) @ np.linalg.qr(noise(16, D, 2))[0].T * 6
    domain = np.unique(design.domain, return_inverse=True)[1]
    background = noise(17, 3, D)[domain]
    layers = [
        place[design.emotion] + background + noise(18, 192, D),
        background + noise(19, 192, D),
    ]
    return design, figures(design, layers, words=[noise(20, 192, D), noise(21, 192, D)])


def test_a_planted_circumplex_is_found_beyond_domain_length_and_words(circular):
    _, found = circular
    for metric in ("spearman", "spearman_partial", "spearman_beyond_words", "kendall"):
        figure = found["rsa", "circumplex", "keyword_free", metric]
        assert figure.draws[0, 0] > (0.6 if metric == "kendall" else 0.85), metric
        assert figure.p(0) < 0.001
        assert figure.p(1) > 0.01
        assert figure.null.shape == (4, 40319)
        assert abs(figure.draws[1, 0]) < 0.5
    wheel_ = found["rsa", "wheel", "keyword_free", "spearman"]
    assert wheel_.draws[0, 0] < found["rsa", "circumplex", "keyword_free", "spearman"].draws[0, 0]


def test_the_noise_ceiling_holds_what_a_true_theory_reaches(circular):
    _, found = circular
    lower = found["rsa", "keyword_free", "ceiling_lower"].draws[:2, 0]
    upper = found["rsa", "keyword_free", "ceiling_upper"].draws[:2, 0]
    reached = found["rsa", "circumplex", "keyword_free", "spearman"].draws[:2, 0]
    assert 0.5 < lower[0] < upper[0] <= 1
    assert reached[0] <= upper[0] + 0.02
    assert lower[1] < 0.3


def test_planted_emotions_and_domains_show_in_items_and_clusters(circular):
    _, found = circular
    for task in ("rsa_items", "silhouette"):
        metric = "spearman" if task == "rsa_items" else "silhouette"
        where = () if task == "rsa_items" else ("keyword_free",)
        emotion, domain = (found[task, f, *where, metric] for f in ("emotion", "domain"))
        assert emotion.p(0) == pytest.approx(0.01)
        assert emotion.p(1) > 0.05
        assert domain.p(0) == domain.p(1) == pytest.approx(0.01)
    assert found["rsa_items", "arm", "spearman"].p(0) > 0.01
    assert found["silhouette", "arm", "silhouette"].p(0) > 0.01
    within, between = (found["dimensions", "keyword_free", unit, "participation_ratio"]
                       for unit in ("within", "centroids"))  # fmt: skip
    assert between.draws[0, 0] < 2 < 5 < between.draws[1, 0] < 7
    assert between.null[0].mean() < between.null[1].mean()
    assert within.draws[0, 0] > 5


def test_a_domain_alone_gives_emotions_nothing_once_it_is_partialled_out():
    """Pleasant emotions mostly at work: distances of domains look like those of valence."""
    pleasant = dict(zip(EIGHT, norms(EIGHT)[:, 0] > 5, strict=True))
    kept = [
        row for row in stimuli_of(each=6).rows
        if int(row.scenario[-1]) < (5 if pleasant[row.emotion] == (row.domain == "work") else 2)
    ]  # fmt: skip
    design = design_of(StimulusSet("nested", tuple(kept)), 99, 0)
    domain = np.unique(design.domain, return_inverse=True)[1]
    layers = [
        4 * noise([22, seed], 3, D)[domain] + noise([23, seed], len(domain), D) for seed in range(8)
    ]
    found = figures(design, layers)

    def mean(*key):
        return found[key].draws[:, 0].mean()

    assert mean("rsa", "valence", "keyword_free", "spearman") > 0.5
    assert found["rsa", "valence", "keyword_free", "spearman"].p(0) < 0.05
    assert abs(mean("rsa", "valence", "keyword_free", "spearman_partial")) < 0.2
    assert mean("rsa_items", "circumplex", "spearman") > 0.03
    assert abs(mean("rsa_items", "circumplex", "spearman_partial")) < 0.02
    assert mean("rsa_items", "domain", "spearman_partial") > 0.5


def test_p_of_the_designs_own_permutations_is_uniform_under_the_null():
    design = design_of(stimuli_of(EIGHT[:4], each=3), 99, 0)
    found = []
    for seed in range(150):
        x = (
            noise([seed, 3], 36, 10)
            + noise([seed, 4], 3, 10)[np.unique(design.domain, return_inverse=True)[1]]
        )
        table = grams.cosine_distances(x @ x.T)
        mask, ones = centroids.apart(design.scenario), np.ones((1, 36))
        own, null = (
            silhouettes(table, each, mask, ones) for each in (design.emotion, design.relabeled)
        )
        found.append(stats.permutation_p(own[0], null))
    for level in (0.1, 0.5, 0.9):
        spread = np.sqrt(level * (1 - level) / 150)
        assert abs(np.mean(np.array(found) <= level) - level) < 4 * spread, level


def test_the_order_of_the_texts_changes_nothing():
    stimuli = stimuli_of(EIGHT[:4], arms=("keyword_free", "keyword_rich"), each=3)
    order = np.random.default_rng(0).permutation(len(stimuli))
    mixed = StimulusSet("planted", tuple(stimuli.rows[n] for n in order))
    states = dict(zip(stimuli.ids, noise(24, len(stimuli), D), strict=True))
    found = []
    for each in (stimuli, mixed):
        design = design_of(each, 99, 0)
        layer = np.array([states[each.ids[row]] for row in design.rows])
        found.append(figures(design, [layer]))
    assert found[0].keys() == found[1].keys()
    for key, one in found[0].items():
        other = found[1][key]
        np.testing.assert_allclose(one.draws, other.draws, atol=1e-9, err_msg=str(key))
        if one.null is not None:
            np.testing.assert_allclose(one.null, other.null, atol=1e-9, err_msg=str(key))


# Axes


def rated(label, n):
    """Published valence with a grade of its own; the second scenario has no rating."""
    return "" if n == 2 else norms([label])[0, 0] + 0.2 * n


def test_a_planted_axis_orders_ratings_of_texts_it_was_not_learned_from():
    design = design_of(stimuli_of(rating=rated), 99, 0)
    assert set(design.ratings) == {"read_valence"}
    place = norms(design.labels) @ np.linalg.qr(noise(25, D, 2))[0].T * 3
    found = figures(design, [place[design.emotion] + noise(26, 96, D), noise(27, 96, D)])
    where = "axis", "keyword_free", "keyword_free", "valence", "read_valence"
    figure, unseen = found[*where, "spearman"], found[*where, "spearman_unseen_emotion"]
    assert figure.draws[0, 0] > 0.8
    assert figure.p(0) < 0.05
    assert unseen.draws[0, 0] > 0.8
    assert unseen.p(0) < 0.1, "of eight labels many other orders are as good as this one"
    assert abs(figure.draws[1, 0]) < 0.4
    assert figure.cells["n"] == 24, "the texts of the test half that have a rating"
    assert figure.cells["split"] == "test"
    # Ratings within an emotion are all alike here: nothing can be correlated.
    within = [key for key in found if "spearman_within_emotion" in key]
    assert all(np.isnan(found[key].draws[:, 0]).all() for key in within)


def test_emotions_that_are_merely_apart_have_no_axis_for_an_unseen_one():
    """Any order of eight points in many dimensions can be learned; it says nothing of a ninth."""
    design = design_of(stimuli_of(rating=rated), 99, 0)
    layers = [
        6 * noise([34, seed], 8, D)[design.emotion] + noise([35, seed], 96, D) for seed in range(8)
    ]
    found = figures(design, layers)
    where = "axis", "keyword_free", "keyword_free", "valence", "read_valence"
    assert (found[*where, "spearman"].draws[:, 0] > 0.7).all()
    unseen = found[*where, "spearman_unseen_emotion"]
    assert unseen.draws[:, 0].mean() < 0.3
    assert sum(unseen.p(layer) < 0.05 for layer in range(8)) <= 2


def test_axes_do_not_see_the_half_they_are_tried_on():
    design = design_of(stimuli_of(rating=rated), 1, 0)
    x = noise(28, 96, D)
    members = centroids.memberships(design.emotion, design.learned[None].astype(float), 8)
    changed = x.copy()
    changed[~design.learned] = noise(29, (~design.learned).sum(), D)
    one, other = (
        axes.projections(grams.grams(each[:, None], design.learned), members,
                         norms(design.labels))[0, 0]
        for each in (x, changed)
    )  # fmt: skip
    np.testing.assert_allclose(one[:, design.learned], other[:, design.learned])
    assert abs(one - other).max() > 0.1


def test_projections_are_slopes_of_the_means_on_both_norms():
    x, classes, given = noise(30, 24, 6), np.arange(24) % 4, norms(EIGHT[:4])
    members = centroids.memberships(classes, np.ones((1, 24)), 4)
    means = np.stack([x[classes == c].mean(0) for c in range(4)])
    design = np.column_stack([np.ones(4), given])
    slopes = np.linalg.lstsq(design, means, rcond=None)[0][1:]
    wanted = slopes / np.linalg.norm(slopes, axis=1, keepdims=True) @ (x - means.mean(0)).T
    np.testing.assert_allclose(
        axes.projections((x @ x.T)[None], members, given)[0, 0], wanted, atol=1e-9
    )
    without = classes != 2
    part = centroids.memberships(np.where(without, classes, -1), np.ones((1, 24)), 4)[:, [0, 1, 3]]
    found = axes.unseen((x @ x.T)[None], members[0], classes, given[None])[0, 0]
    wanted = axes.projections((x @ x.T)[None], part, given[[0, 1, 3]])[0, 0]
    np.testing.assert_allclose(found[:, ~without], wanted[:, ~without])


def test_rank_correlation_of_many_is_that_of_stats():
    many, ratings, strata = noise(31, 5, 20), noise(32, 20).round(1), np.arange(20) % 3
    for inside in (strata, np.zeros(20, int)):
        found = axes.rank_correlation(many, ratings, inside)
        wanted = [stats.spearman(one, ratings, inside)[0] for one in many]
        np.testing.assert_allclose(found, wanted)


# Two models


def test_cka_is_1_under_rotation_and_scale_and_0_for_unrelated_states():
    x = noise(33, 40, 2, 200)
    turned = 3 * x @ np.linalg.qr(noise(34, 200, 200))[0] + 5
    np.testing.assert_allclose(cka(x, turned).diagonal(), 1)
    assert abs(cka(x, noise(35, 40, 3, 300))).max() < 0.1, "the biased estimator gives about 0.9"
    assert cka(x, noise(35, 40, 3, 300)).shape == (2, 3)


def test_cka_is_the_published_estimator():
    x, y, n = noise(36, 9, 1, 4), noise(37, 9, 1, 5), 9
    y[:, 0, :4] += x[:, 0]

    def hsic(k, m):
        k, m = k - np.diag(k.diagonal()), m - np.diag(m.diagonal())
        middle = k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (k @ m).sum()
        return (np.trace(k @ m) + middle) / (n * (n - 3))

    k, m = x[:, 0] @ x[:, 0].T, y[:, 0] @ y[:, 0].T
    assert cka(x, y)[0, 0] == pytest.approx(hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m)))


def activations(ids, values):
    arrays = {"resid_post/mean": np.moveaxis(values, 0, 1).astype(np.float32)}
    return Activations(tuple(ids), {"resid_post": (3, 7)}, arrays)


def test_two_models_are_aligned_by_the_ids_of_their_items():
    x = noise(38, 30, 2, 20)
    ids = [f"i{n}" for n in range(30)]
    order = np.random.default_rng(0).permutation(30)
    one, other = activations(ids, x), activations(np.array(ids)[order], x[order])
    found = align(one, other, "resid_post", "mean", scenarios=np.repeat(range(10), 3).astype(str))
    np.testing.assert_allclose(found.values.diagonal(), 1, atol=1e-6)
    assert found.layers == ((3, 7), (3, 7))
    np.testing.assert_allclose(found.p.diagonal(), 1 / 201)
    assert abs(found.null).max() < 0.1
    assert found.p[0, 1] > 0.01


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda x: cka(x, x[:-1]), "same items: 6 and 5"),
        (lambda x: cka(x[:3], x[:3]), "at least 4 items: 3"),
        (lambda x: align(activations("abcdef", x), activations("abcdeg", x), "resid_post", "mean"),
         "'f' is in one alone"),
        (lambda x: align(activations("abcdef", x), activations("abcdef", x), "resid_post", "mean",
                         scenarios=["a"]), "1 scenarios for 6 items"),
        (lambda x: cka(x * np.nan, x), "NaN"),
    ],
)  # fmt: skip
def test_cka_refuses_other_items(call, said):
    with pytest.raises(UserError, match=said):
        call(noise(39, 6, 2, 4))


# Designs


def test_places_keep_what_is_not_asked_about():
    design = design_of(stimuli_of(arms=("keyword_free", "keyword_rich")), 50, 0)
    for factor, kept in (
        ("emotion", (design.domain, design.arm)),
        ("domain", (design.emotion, design.arm)),
        ("length", (design.domain, design.emotion, design.arm)),
        ("arm", (design.scenario,)),
    ):
        moves = design.places(factor, 20, 0)
        assert (np.sort(moves, axis=1) == np.arange(192)).all()
        assert (moves != np.arange(192)).mean() > 0.4, factor
        for values in kept:
            assert (values[moves] == values).all(), factor
    for name in np.unique(design.domain):
        inside = design.domain == name
        same = np.sort(design.emotion[inside])
        assert (np.sort(design.relabeled[:, inside], axis=1) == same).all()


def test_of_a_large_set_whole_scenarios_are_drawn_evenly():
    stimuli = stimuli_of(arms=("keyword_free", "keyword_rich"), each=10)
    design = design_of(stimuli, 1, 0)
    assert len(stimuli) > MOST_ITEMS >= len(design.rows)
    assert set(np.bincount(design.emotion)) == {30}
    assert set(np.unique(design.scenario, return_counts=True)[1]) == {2}
    assert "one scenario in 2 was drawn" in design.notes[0]


def test_intensity_is_a_grade_and_a_set_without_a_test_split_is_halved():
    own = [replace(row, split="", intensity=("strong", "moderate", "")[n % 3])
           for n, row in enumerate(stimuli_of().rows)]  # fmt: skip
    design = design_of(StimulusSet("own", tuple(own)), 1, 0)
    assert design.held_out == "held_out"
    assert design.learned.sum() == 48
    grade = {row.id: row.intensity for row in own}
    given = [grade[own[row].id] for row in design.rows]
    wanted = [{"strong": 1.0, "moderate": 0.0}.get(name, np.nan) for name in given]
    np.testing.assert_array_equal(design.ratings["intensity"], wanted)


@pytest.mark.parametrize("name", ["crossed", "minimal_pairs"])
def test_shipped_sets_of_other_designs_have_every_figure(name):
    """Quads whose emotion flips, with labels of no norms or petal; couples of two pairs."""
    design = design_of(StimulusSet.load(name), 19, 0)
    x = noise(40, len(design.rows), 12)
    options = replace(QUICK, permutations=19, bootstraps=10, splits=5)
    found = figures(design, [x], options, words=[noise(41, len(x), 6) @ np.eye(6, 12)])
    tasks = {key[0] for key in found}
    assert tasks >= {"centroids", "silhouette", "dimensions", "rsa", "rsa_items", "axis"}
    theories = {key[1] for key in found if key[0] == "rsa" and len(key) > 2}
    assert ("wheel" in theories) == (name == "minimal_pairs"), "gratitude has no petal"
    for key, figure in found.items():
        if "spearman_within_emotion" not in key:
            assert np.isfinite(figure.draws[0, 0]), key
    for moves in design.places("emotion", 5, 0):
        for scenario in np.unique(design.scenario):
            inside = design.scenario == scenario
            assert len(set(design.scenario[moves][inside])) == 1, "whole scenarios change places"
    assert len(design.rows) == 160


def test_a_set_of_one_emotion_is_refused():
    for labels in (("rage",), ("",)):
        with pytest.raises(UserError, match="planted: geometry needs two or more emotions"):
            design_of(stimuli_of(labels), 1, 0)


# The study


def results(folder):
    with (folder / RESULTS).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def chosen(rows, **wanted):
    return [row for row in rows if all(row[name] == str(v) for name, v in wanted.items())]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory, one_thread):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROBEKIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def some():
    """Four emotions in three arms."""
    stimuli = StimulusSet.load("vignettes")
    scenarios = {row.scenario for row in stimuli.rows if row.emotion in EIGHT[:4]}
    rows = [replace(row, text=row.text[:60]) for row in stimuli.select(scenario=scenarios).rows]
    return StimulusSet("some", tuple(rows))


TINY = replace(QUICK, positions=("last",), permutations=19, bootstraps=20, truncate=True)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("geometry") / "run"
    model = build("llama")
    run_geometry(model, some(), folder, TINY, command="typed")
    return model, folder


def test_every_figure_of_the_states_stands_beside_its_words_and_its_null(ran):
    rows = results(ran[1])
    names = ("task", "source", "target", "emotion", "unit", "judge", "metric", "k")
    key = lambda row: tuple(row[name] for name in names[:-1])  # noqa: E731
    by = {
        c: {key(row) for row in chosen(rows, condition=c)} for c in ("states", "baseline", "null")
    }
    answers = {k for k in by["states"] if not k[-1].endswith(("_above_text", "_beyond_words"))}
    assert answers == by["baseline"]
    tested = {key(row) for row in chosen(rows, condition="states") if row["p"]}
    assert {k for k in tested if not k[-1].endswith("_above_text")} <= by["null"]
    assert {row["task"] for row in rows} == {
        "centroids", "silhouette", "components", "rsa", "rsa_items", "axis", "dimensions",
    }  # fmt: skip
    for row in chosen(rows, condition="states"):
        assert row["layer"] in "012"
        assert (row["site"], row["pooling"], row["set"]) == ("resid_post", "last", "some")
        if row["low"]:
            assert float(row["low"]) <= float(row["value"]) <= float(row["high"])
        assert not row["q"] or float(row["q"]) >= float(row["p"]) - 1e-9
    words = chosen(rows, condition="baseline", metric="silhouette", source="emotion")
    assert {row["method"] for row in words} == set(WORDS)


def test_a_figure_above_text_is_the_difference_from_the_better_words(ran):
    rows = results(ran[1])
    cells = {"task": "silhouette", "source": "emotion", "target": "keyword_rich"}
    words = chosen(rows, **cells, condition="baseline")
    best = max(words, key=lambda row: float(row["value"]))
    for layer in range(3):
        (own,) = chosen(rows, **cells, condition="states", metric="silhouette", layer=layer)
        (above,) = chosen(rows, **cells, metric="silhouette_above_text", layer=layer)
        assert above["method"] == best["method"]
        gap = float(own["value"]) - float(best["value"])
        assert float(above["value"]) == pytest.approx(gap, abs=1e-5)


def test_the_smallest_p_of_each_theory_is_told(ran):
    rows = chosen(results(ran[1]), metric="smallest_p")
    assert {row["source"] for row in rows} == set(THEORIES)
    smallest = {row["source"]: float(row["value"]) for row in rows}
    assert smallest["circumplex"] == pytest.approx(1 / 24, rel=1e-5)
    assert smallest["wheel"] >= smallest["circumplex"]


def test_axes_are_tried_on_the_test_split_and_all_else_on_all_texts(ran):
    rows = results(ran[1])
    assert {r["split"] for r in rows if r["task"] == "axis"} == {"test"}
    assert {r["split"] for r in rows if r["task"] != "axis"} == {"all"}
    assert {r["judge"] for r in rows if r["task"] == "axis"} == {
        "read_valence", "read_arousal", "intensity",
    }  # fmt: skip
    pairs = {(r["source"], r["target"]) for r in rows if r["task"] == "axis"}
    assert len(pairs) == 4


def test_coordinates_hold_every_text_of_every_layer(ran):
    with (ran[1] / COORDINATES).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 144
    assert {row["arm"] for row in rows} == {"keyword_free", "keyword_rich", "neutral"}
    first = np.array([float(row["pc1"]) for row in rows if row["layer"] == "1"])
    second = np.array([float(row["pc2"]) for row in rows if row["layer"] == "1"])
    assert abs(first.mean()) < 1e-3
    assert first.var() >= second.var()
    assert abs(np.corrcoef(first, second)[0, 1]) < 1e-3


def test_a_run_goes_on_where_it_was_and_another_is_refused(ran):
    model, folder = ran
    before, manifest = (folder / RESULTS).read_bytes(), read_json(folder / MANIFEST)
    assert manifest["complete"]
    assert manifest["command"] == "typed"
    assert manifest["theories"] == list(THEORIES)
    stages = sorted((folder / STAGES).iterdir())
    assert len(stages) == 2
    times = [path.stat().st_mtime_ns for path in stages[:1]]
    (folder / RESULTS).unlink()
    stages[1].unlink()
    run_geometry(model, some(), folder, TINY, command="typed")
    assert (folder / RESULTS).read_bytes() == before
    assert [path.stat().st_mtime_ns for path in stages[:1]] == times
    with pytest.raises(UserError, match=r"another run .*permutations"):
        run_geometry(model, some(), folder, replace(TINY, permutations=20))


def test_labels_without_norms_leave_theories_out_and_say_so(tmp_path):
    names = dict(zip(EIGHT[:4], ("flumness", "joy", "anger", "gratitude"), strict=True))
    kept = [replace(row, emotion=names.get(row.emotion, row.emotion)) for row in some().rows]
    stimuli = StimulusSet("named", tuple(kept))
    run_geometry(build("llama"), stimuli, tmp_path / "run", TINY)
    rows = results(tmp_path / "run")
    assert not chosen(rows, task="axis")
    assert {r["source"] for r in rows if r["task"] == "rsa"} == {""}
    assert chosen(rows, task="silhouette", source="emotion")
    notes = " ".join(read_json(tmp_path / "run" / MANIFEST)["notes"])
    assert "no figures of the circumplex: no published valence" in notes
    assert "no figures of the wheel: 'flumness' has no place" in notes


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"permutations": 0}, "permutations is 0"),
        ({"positions": ("middle",)}, "unknown pooling"),
        ({"sites": ("nowhere",)}, "nowhere"),
    ],
)
def test_bad_options_are_refused_before_anything_is_written(tmp_path, options, said):
    with pytest.raises(UserError, match=said):
        run_geometry(build("llama"), some(), tmp_path / "run", replace(TINY, **options))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_emotions_that_are_named_lie_together_in_the_real_model(tmp_path, monkeypatch):
    """Where the text says it, the default model's middle layer shows it."""
    monkeypatch.delenv("PROBEKIT_CACHE")
    from probekit import load_model

    model = load_model("smollm2-135m", device="cpu")
    stimuli = StimulusSet.load("vignettes").select(
        arm="keyword_rich", emotion=EIGHT[:4], domain=("family", "work")
    )
    options = replace(QUICK, sites=("resid_post.10",), positions=("last",))
    rows = results(run_geometry(model, stimuli, tmp_path / "run", options))
    for task, metric in (("silhouette", "silhouette"), ("rsa_items", "spearman_beyond_words")):
        (row,) = chosen(rows, task=task, source="emotion", metric=metric, condition="states")
        (null,) = chosen(rows, task=task, source="emotion", metric=metric, condition="null")
        assert float(row["p"]) <= 0.02, task
        assert float(row["value"]) > float(null["high"])
