"""Estimators of directions: planted ones come back, and what cannot be told is refused."""

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf_shrinkage

from probekit.directions import ESTIMATORS, Design, estimate
from probekit.directions.spread import Spread, leading, ledoit_wolf
from probekit.errors import UserError
from probekit.stimuli import StimulusSet

EMOTIONS = ("anger", "fear", "joy", "sadness")
PLANTED = sorted(set(ESTIMATORS) - {"random"})
OPTIONS = {"pca": {"components": 3}, "logistic": {"C": 10.0}}
VALENCES = ("negative", "neutral", "positive")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def crossed(n_scenarios: int, classes=EMOTIONS, valences=("",)) -> Design:
    """Every class in every group, once."""
    rows = [(c, f"s{n}", v) for n in range(n_scenarios) for v in valences for c in classes]
    return Design(*zip(*rows, strict=True))


def planted(
    design: Design,
    *,
    layers: int = 2,
    d: int = 24,
    noise: float = 0.1,
    groups: float = 2.0,
    seed: int = 0,
):
    """States, and the vectors `[class, layer, d]` of length 1 in them, with effects of groups.

    Vectors of emotions sum to zero, as any contrast of theirs does; neutral lies at zero.
    """
    draw = rng(seed)
    vectors = draw.standard_normal((len(design.emotions), layers, d))
    if len(vectors) == 4:  # Two up, two down in each dimension: all are equally wide.
        pairs = np.array([[1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]])
        kind, sign = draw.integers(0, 3, (layers, d)), draw.choice([-1, 1], (layers, d))
        vectors = np.moveaxis(pairs[kind] * sign[..., None], -1, 0) / np.sqrt(d)
    if len(vectors) > 1:
        vectors = vectors - vectors.mean(0)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    full = np.concatenate([vectors, np.zeros((1, layers, d))])[: len(design.classes)]
    added = groups * draw.standard_normal((len(design.groups[0]), layers, d))
    offset = 30 * draw.standard_normal((layers, d))
    states = offset + added[design.groups[1]] + full[design.of_class]
    states += noise * draw.standard_normal(states.shape)
    return states.astype(np.float32), vectors


def cosines(left, right) -> np.ndarray:
    left, right = (a / np.linalg.norm(a, axis=-1, keepdims=True) for a in (left, right))
    return (left * right).sum(-1)


def refused(act, *parts: str) -> None:
    with pytest.raises(UserError) as refusal:
        act()
    said = str(refusal.value)
    assert "\n" not in said
    for part in parts:
        assert part in said, said


# Planted truth


@pytest.mark.parametrize("name", PLANTED)
@pytest.mark.parametrize(("n_scenarios", "d"), [(60, 24), (40, 1000)])
def test_planted_directions_come_back(name, n_scenarios, d):
    """Also in far more dimensions than there are items: 200 items in 1,000."""
    design = crossed(n_scenarios, (*EMOTIONS, "neutral"))
    # Readers turn away from what scenarios add, wherever it lies: there it is left out.
    groups = 0.0 if name in ("lda", "logistic") else 2.0
    states, vectors = planted(design, d=d, noise=0.01, groups=groups)
    found = estimate(states, design, name, **OPTIONS.get(name, {}))
    assert found.emotions == EMOTIONS
    assert found.vectors.shape == (4, 2, d)
    assert np.allclose(np.linalg.norm(found.vectors, axis=-1), 1)
    assert cosines(found.vectors, vectors).min() > 0.99
    if name in ("mean", "grouped", "control", "pca"):
        assert np.allclose(found.norms, 1, atol=0.02), "a distance in the units of the states"


def test_two_components_find_directions_that_lie_in_a_plane():
    """Emotions around a circle in two of 24 dimensions, and noise in all others."""
    design = crossed(250)
    angles = np.array([0.3, 2.0, 3.4, 5.1])
    plane = np.linalg.qr(rng().standard_normal((24, 2)))[0].T
    vectors = np.stack([np.cos(angles), np.sin(angles)], 1) @ plane
    states = vectors[design.of_class][:, None] + 0.5 * rng(1).standard_normal((1000, 1, 24))
    found = estimate(states, design, "pca")
    truth = (vectors - vectors.mean(0))[:, None]
    assert cosines(found.vectors, truth).min() > 0.99
    mean = estimate(states, design, "mean")
    assert cosines(mean.vectors, truth).mean() < cosines(found.vectors, truth).mean()
    assert np.linalg.matrix_rank(found.vectors[:, 0], tol=1e-6) == 2


def test_all_components_give_the_means_back():
    design = crossed(9)
    states, _ = planted(design)
    found, mean = estimate(states, design, "pca", components=3), estimate(states, design, "mean")
    assert np.allclose(found.vectors * found.norms[..., None], mean.vectors * mean.norms[..., None])


def test_one_emotion_against_neutral_comes_back_by_all_that_have_a_reference():
    design = crossed(100, ("joy", "neutral"))
    vector = rng(3).choice([-1.0, 1.0], 24)
    joy = (design.emotion == "joy")[:, None, None]
    states = (5 + joy * vector + 0.05 * rng().standard_normal((200, 2, 24))).astype(np.float32)
    for name in ("grouped", "control", "lda", "logistic"):
        found = estimate(states, design, name, **OPTIONS.get(name, {}))
        assert cosines(found.vectors, vector).min() > 0.99, name
    refused(lambda: estimate(states, design, "mean"), "1 emotion (joy)", "take 'control'")


def test_random_peers_are_drawn_by_their_seed_and_look_at_no_state():
    design = crossed(4)
    states, _ = planted(design, d=300)
    one, again = (estimate(states, design, "random", seed=3) for _ in range(2))
    other = estimate(states * 2, design, "random", seed=4)
    assert np.array_equal(one.vectors, again.vectors)
    assert np.abs(cosines(one.vectors, other.vectors)).max() < 0.3
    assert np.array_equal(one.vectors, estimate(-states, design, "random", seed=3).vectors)


# The second study's formula


def by_hand(states, design: Design) -> np.ndarray:
    """Centre each group over its emotions, average over groups, subtract the mean over emotions."""
    centred: dict[str, list[np.ndarray]] = {name: [] for name in design.classes}
    for scenario, valence in sorted({*zip(design.scenario, design.valence, strict=True)}):
        inside = (design.scenario == scenario) & (design.valence == valence)
        cells = {n: states[inside & (design.emotion == n)] for n in design.classes}
        assert all(len(cell) == 1 for cell in cells.values())
        middle = np.mean([cell[0] for cell in cells.values()], axis=0, dtype=np.float64)
        for name, cell in cells.items():
            centred[name].append(cell[0] - middle)
    means = {name: np.mean(rows, axis=0) for name, rows in centred.items()}
    grand = np.mean(list(means.values()), axis=0)
    return np.stack([means[name] - grand for name in design.emotions])


def dense(states, design: Design) -> np.ndarray:
    """Least squares of cell means on dummies of groups and classes; effects sum to zero."""
    groups, classes = sorted({*zip(design.scenario, design.valence, strict=True)}), design.classes
    rows, values = [], []
    for g, (scenario, valence) in enumerate(groups):
        for c, name in enumerate(classes):
            cell = (design.scenario == scenario) & (design.valence == valence)
            cell &= design.emotion == name
            if cell.any():
                dummies = np.zeros(len(groups) + len(classes))
                dummies[g] = dummies[len(groups) + c] = 1
                rows.append(dummies)
                values.append(states[cell].mean(0, dtype=np.float64).ravel())
    fitted = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)[0][len(groups) :]
    fitted = (fitted - fitted.mean(0)).reshape(len(classes), *states.shape[1:])
    return fitted[: len(design.emotions)]


@pytest.mark.parametrize("classes", [EMOTIONS, (*EMOTIONS, "neutral")])
@pytest.mark.parametrize("valences", [("",), VALENCES])
def test_complete_groups_give_the_second_studys_formula(classes, valences):
    design = crossed(7, classes, valences)
    states = rng().standard_normal((len(design), 3, 10)).astype(np.float32)
    found = estimate(states, design, "grouped")
    assert np.allclose(found.vectors * found.norms[..., None], by_hand(states, design), atol=1e-12)
    assert np.allclose(by_hand(states, design), dense(states, design), atol=1e-12)


def test_valences_of_a_scenario_are_groups_of_their_own():
    """What each (scenario, valence) adds is taken out; keyed by scenario alone, it would stay."""
    whole = crossed(8, valences=VALENCES)
    keep = rng(1).random(len(whole)) < 0.7
    design = Design(whole.emotion[keep], whole.scenario[keep], whole.valence[keep])
    states, vectors = planted(design, noise=0)
    found = estimate(states, design, "grouped")
    truth = vectors  # They sum to zero, and are of length one.
    assert cosines(found.vectors, truth - truth.mean(0)).min() > 0.9999
    merged = estimate(states, Design(design.emotion, design.scenario), "grouped")
    assert cosines(merged.vectors, truth - truth.mean(0)).min() < 0.9


@pytest.mark.parametrize("seed", range(4))
def test_incomplete_groups_give_a_dense_least_squares(seed):
    """Cells missing at random, some of several items: each cell counts once."""
    draw = rng(seed)
    whole = crossed(9, (*EMOTIONS, "neutral"), VALENCES[:2])
    keep = np.repeat(np.arange(len(whole)), draw.integers(0, 4, len(whole)))
    design = Design(whole.emotion[keep], whole.scenario[keep], whole.valence[keep])
    states = draw.standard_normal((len(design), 2, 6)).astype(np.float32)
    found = estimate(states, design, "grouped")
    assert np.allclose(found.vectors * found.norms[..., None], dense(states, design), atol=1e-11)


def test_emotions_joined_through_neutral_alone_are_estimable():
    """One emotion a scenario, with its control, as in the vignettes."""
    names = np.repeat(EMOTIONS, 12)
    scenario = np.array([f"{name}-{n % 6}" for n, name in enumerate(names)])
    emotion = np.where(np.arange(48) % 12 < 6, names, "neutral")
    design = Design(emotion, scenario)
    states, vectors = planted(design, noise=0.001)
    found = estimate(states, design, "grouped")
    assert np.allclose(found.vectors * found.norms[..., None], dense(states, design), atol=1e-9)
    assert cosines(found.vectors, vectors).min() > 0.99
    without = emotion != "neutral"
    refused(
        lambda: estimate(states[without], Design(names[without], scenario[without]), "grouped"),
        "anger and fear and joy",
        "neutral texts in each",
    )


def test_the_control_is_that_of_the_same_group():
    """Scenarios differ far more than emotions do, and hold them unevenly."""
    draw = rng(2)
    rows = [(c, f"{e}{n}") for e in EMOTIONS for n in range(5) for c in (e, "neutral")]
    design = Design(*zip(*rows, strict=True))
    states, vectors = planted(design, noise=0)
    found = estimate(states, design, "control")
    assert cosines(found.vectors, vectors).min() > 0.9999
    assert cosines(estimate(states, design, "mean").vectors, vectors).min() < 0.9
    order = draw.permutation(len(design))
    shuffled = Design(design.emotion[order], design.scenario[order])
    assert np.allclose(estimate(states[order], shuffled, "control").vectors, found.vectors)


def test_the_grand_mean_is_of_classes_not_of_items():
    design = Design([*EMOTIONS[:2]] * 3 + ["fear"] * 20, [f"s{n}" for n in range(26)])
    states = np.where(design.emotion == "fear", 1.0, -1.0)[:, None, None] * np.ones((26, 1, 3))
    found = estimate(states + 1e-3 * rng().standard_normal((26, 1, 3)), design, "mean")
    assert np.allclose(found.norms[0], found.norms[1])
    assert np.allclose(found.norms, np.sqrt(3), atol=0.01)


# Spread


@pytest.mark.parametrize(("n", "d"), [(40, 7), (12, 90), (30, 30)])
def test_shrinkage_is_scikit_learns(n, d):
    z = rng(n).standard_normal((n, d)) * rng(d).random(d) * 3
    share, level = ledoit_wolf(z)
    assert share == pytest.approx(ledoit_wolf_shrinkage(z, assume_centered=True), rel=1e-9)
    assert level == pytest.approx((z**2).mean())


@pytest.mark.parametrize(("n", "d"), [(40, 7), (12, 60), (30, 30)])
def test_solving_and_whitening_are_those_of_the_covariance_written_out(n, d):
    residuals = rng(n).standard_normal((n, d)) * np.geomspace(0.1, 100, d)
    spread = Spread.of(residuals - residuals.mean(0))
    inner = (1 - spread.shrinkage) * spread.z.T @ spread.z / n
    inner += spread.shrinkage * spread.level * np.eye(d)
    covariance = inner * np.outer(spread.scale, spread.scale)
    vectors = rng(1).standard_normal((3, d))
    solved = spread.solve(vectors)
    assert np.allclose(solved @ covariance, vectors, atol=1e-8)
    root = spread.whiten(np.eye(d))  # Rows are images of unit vectors.
    assert np.allclose(root.T @ covariance @ root, np.eye(d), atol=1e-8)
    states = rng(2).standard_normal((5, d))
    assert np.allclose(states @ spread.unwhiten(vectors).T, spread.whiten(states) @ vectors.T)


def test_a_discriminant_turns_away_from_noise_and_a_mean_does_not():
    design = crossed(2000)
    states, vectors = planted(design, noise=0)
    states = np.zeros(states.shape) + vectors[design.of_class]
    loud = np.linalg.qr(rng(8).standard_normal((24, 2)))[0].T
    noise = 2 * rng(9).standard_normal((len(design), 2, 2)) @ loud
    states = states + noise + 0.5 * rng(7).standard_normal(states.shape)
    quiet = np.eye(24) - loud.T @ loud
    for options in ({"estimator": "lda"}, {"estimator": "mean", "whiten": True}):
        found = estimate(states, design, **options)
        assert np.abs(found.vectors @ loud.T).max() < 0.05
        assert cosines(found.vectors, vectors @ quiet).min() > 0.99
    assert np.abs(estimate(states, design, "mean").vectors @ loud.T).max() > 0.2


@pytest.mark.parametrize(("n_scenarios", "d"), [(30, 12), (6, 80)])
def test_the_mean_of_whitened_states_is_the_discriminant(n_scenarios, d):
    design = crossed(n_scenarios)
    states, _ = planted(design, d=d)
    white, lda = estimate(states, design, "mean", whiten=True), estimate(states, design, "lda")
    assert np.allclose(white.vectors, lda.vectors, atol=1e-8)
    assert np.allclose(white.norms, lda.norms)


# Neutral components


def nuisance(strength: float):
    """Neutral and emotional texts vary along two directions, unevenly over emotions."""
    design = crossed(40, (*EMOTIONS, "neutral"))
    states, vectors = planted(design, d=40, noise=0.05, seed=4)
    draw = rng(6)
    full = np.concatenate([vectors, np.zeros((1, 2, 40))])
    states = full[design.of_class] + 0.05 * draw.standard_normal(states.shape)
    away = np.linalg.qr(draw.standard_normal((40, 2)))[0].T
    amount = strength * draw.standard_normal((len(design), 2))
    # Long texts happen to be angry: what varies in neutral texts too leans one emotion's mean.
    amount += strength * (design.emotion == "anger")[:, None]
    return states + (amount @ away)[:, None], design, vectors, away


def test_removing_neutral_components_helps_where_a_nuisance_is_planted_and_only_there():
    gain = {}
    for strength in (0.0, 3.0):
        states, design, vectors, away = nuisance(strength)
        plain = estimate(states, design, "mean")
        cleaned = estimate(states, design, "mean", neutral_components=0.9)
        gain[strength] = cosines(cleaned.vectors, vectors) - cosines(plain.vectors, vectors)
        if strength:
            quiet = np.eye(40) - away.T @ away
            assert cosines(cleaned.vectors, vectors @ quiet).min() > 0.99
            assert np.abs(cleaned.vectors @ away.T).max() < 0.01
    assert gain[3.0].min() > 0.2
    assert gain[0.0].max() < 0


@pytest.mark.parametrize("name", PLANTED)
@pytest.mark.parametrize("whiten", [False, True])
def test_no_vector_keeps_a_part_in_the_removed_components(name, whiten):
    states, design, _, _ = nuisance(2.0)
    found = estimate(
        states, design, name, neutral_components=0.6, whiten=whiten, **OPTIONS.get(name, {})
    )
    for layer in range(2):
        basis = leading(states[design.neutral, layer].astype(np.float64), 0.6)
        assert len(basis) in (1, 2)
        assert np.abs(found.vectors[:, layer] @ basis.T).max() < 1e-10


@pytest.mark.parametrize("name", ["lda", "logistic"])
def test_readers_are_fitted_on_states_without_the_components(name):
    """Fitted on all of the states and projected afterwards, a reader is another one."""
    states, design, _, _ = nuisance(2.0)
    outside = states.copy()
    bases = [leading(states[design.neutral, n], 0.6) for n in range(2)]
    for layer, basis in enumerate(bases):
        outside[:, layer] -= (states[:, layer] @ basis.T) @ basis
    found = estimate(states, design, name, neutral_components=0.6)
    fitted, late = estimate(outside, design, name), estimate(states, design, name)
    for layer, basis in enumerate(bases):
        quiet = np.eye(40) - basis.T @ basis
        close = cosines(found.vectors[:, layer], fitted.vectors[:, layer] @ quiet)
        assert close.min() > 1 - 1e-6
        assert cosines(found.vectors[:, layer], late.vectors[:, layer] @ quiet).min() < 1 - 1e-4


def test_leading_components_are_the_fewest_that_hold_the_share():
    variances = np.array([5.0, 3.0, 1.5, 0.5])
    axes = np.linalg.qr(rng().standard_normal((9, 4)))[0].T
    codes = np.linalg.qr(rng(1).standard_normal((50, 5)) - 0)[0]
    codes = np.linalg.qr(codes - codes.mean(0))[0][:, :4]  # Uncorrelated, of mean zero.
    rows = 7 + (codes * np.sqrt(50 * variances)) @ axes
    for share, count in [(0.1, 1), (0.5, 1), (0.51, 2), (0.8, 2), (0.9, 3), (0.96, 4)]:
        basis = leading(rows, share)
        assert len(basis) == count, share
        assert np.allclose(np.abs(basis @ axes[:count].T), np.eye(count), atol=1e-6)


# Invariances


@pytest.mark.parametrize("name", [*PLANTED, "random"])
@pytest.mark.parametrize("extra", [{}, {"whiten": True, "neutral_components": 0.5}])
def test_order_of_items_changes_nothing(name, extra):
    design = crossed(8, (*EMOTIONS, "neutral"))
    states, _ = planted(design, layers=3, d=50)
    order = rng(9).permutation(len(design))
    shuffled = Design(design.emotion[order], design.scenario[order], design.valence[order])
    options = {**OPTIONS.get(name, {}), **extra}
    one = estimate(states, design, name, **options)
    other = estimate(states[order], shuffled, name, **options)
    assert np.allclose(one.vectors, other.vectors, atol=1e-6)
    assert np.allclose(one.norms, other.norms, rtol=1e-6)


@pytest.mark.parametrize("name", PLANTED)
@pytest.mark.parametrize("extra", [{}, {"whiten": True, "neutral_components": 0.5}])
def test_a_layer_alone_is_what_it_is_among_others(name, extra):
    design = crossed(8, (*EMOTIONS, "neutral"))
    states, _ = planted(design, layers=5, d=50)
    options = {**OPTIONS.get(name, {}), **extra}
    together = estimate(states, design, name, **options)
    for layer in range(5):
        alone = estimate(states[:, [layer]], design, name, **options)
        assert np.allclose(alone.vectors[:, 0], together.vectors[:, layer], atol=1e-6)
        assert np.allclose(alone.norms[:, 0], together.norms[:, layer], rtol=1e-6)


def test_float32_states_far_from_zero_lose_nothing_in_the_means():
    design = crossed(500)
    states, _ = planted(design, d=8)
    wide = (states + np.float32(1000)).astype(np.float32)
    exact = by_hand(wide.astype(np.float64), design)
    found = estimate(wide, design, "grouped")
    assert np.allclose(found.vectors * found.norms[..., None], exact, atol=1e-11)


# Designs


def test_a_design_of_a_set_knows_its_groups():
    stimuli = StimulusSet.load("vignettes").select(arm=["keyword_free", "neutral"], split="dev")
    design = Design.of(stimuli)
    assert design.classes[-1] == "neutral"
    assert len(design.emotions) == 8
    assert len(design.groups[0]) == len(set(stimuli.column("scenario")))
    assert int(design.neutral.sum()) == len(design.groups[0])
    design.check_matched("control")
    design.check_estimable("grouped")
    with_valence = Design.of(stimuli, by_valence=True)
    assert len(with_valence.groups[0]) > len(design.groups[0])
    refused(lambda: with_valence.check_matched("control"), "unmatched arms")
    pairs = StimulusSet.load("minimal_pairs")
    assert len(Design.of(pairs).groups[0]) == len(set(pairs.column("scenario")))
    refused(
        lambda: Design.of(StimulusSet.load("scenarios")),
        "the row 'work_01-positive' of scenarios has no emotion",
    )


def two(emotions, scenarios):
    design = Design(emotions, scenarios)
    return planted(design, d=8)[0], design


REFUSED = [
    ("mean", ["fear", "fear", "joy"], "abc", {}, ["mean: joy has 1 item in 1 groups"]),
    ("mean", ["fear", "fear", "joy", "joy"], "abcc", {}, ["joy has 2 items in 1 groups"]),
    ("lda", ["fear"] * 4, "abcd", {}, ["lda: one class only (fear): it needs two"]),
    ("logistic", ["fear"] * 4, "abcd", {}, ["logistic: one class only (fear)"]),
    ("grouped", ["fear", "joy"] * 2, "abcd", {}, ["joins fear and joy", "take 'mean'"]),
    (
        "grouped",
        ["fear", "joy", "fear", "joy"],
        "aabc",
        {},
        ["fear has 2 items in 1 groups"],
    ),
    ("control", ["fear", "joy"] * 2, "aabb", {}, ["no item is neutral"]),
    (
        "control",
        ["fear", "neutral", "fear", "neutral", "fear"],
        "aabbc",
        {},
        ["unmatched arms: the group 'c' holds fear and not a neutral text (1 of 3"],
    ),
    (
        "control",
        ["fear", "neutral", "fear", "neutral", "neutral"],
        "aabbc",
        {},
        ["the group 'c' holds neutral and not an emotional text"],
    ),
    ("pca", ["fear", "joy"] * 2, "aabb", {}, ["2 components of 2 emotions' means: give 1 to 1"]),
    ("mean", ["fear", "joy"] * 2, "aabb", {"C": 1}, ["unknown option 'C' of mean: it has none"]),
    ("pca", ["fear", "joy"] * 2, "aabb", {"seed": 1}, ["option 'seed' of pca: it has components"]),
    ("means", ["fear", "joy"] * 2, "aabb", {}, ["unknown estimator 'means'", "grouped, mean"]),
    (
        "mean",
        ["fear", "joy"] * 2,
        "aabb",
        {"neutral_components": 0.5},
        ["no item is neutral: add neutral texts"],
    ),
    (
        "grouped",
        ["fear", "neutral"] * 2,
        "aabb",
        {"neutral_components": 0.5},
        ["neutral components of 2 neutral items: give three or more"],
    ),
    (
        "grouped",
        ["fear", "neutral"] * 3,
        "aabbcc",
        {"neutral_components": 1.5},
        ["up to a share of 1.5: give one between 0 and 1"],
    ),
]


@pytest.mark.parametrize(("name", "emotions", "scenarios", "options", "parts"), REFUSED)
def test_what_cannot_be_estimated_is_refused(name, emotions, scenarios, options, parts):
    states, design = two(emotions, list(scenarios))
    refused(lambda: estimate(states, design, name, **options), *parts)


def test_states_that_are_no_states_are_refused():
    design = crossed(4)
    states, _ = planted(design)
    broken = states.copy()
    broken[5, 1, 7] = np.nan
    said = "NaN or infinity in the states of item 5, layer 21, dimension 7"
    refused(lambda: estimate(broken, design, "mean", layers=[20, 21]), said)
    refused(lambda: estimate(states[1:], design, "mean"), "(15, 2, 24) for 16 items and 2 layers")
    refused(lambda: estimate(states[:, 0], design, "mean", layers=[0]), "give [item, layer, d]")
    same = states.copy()
    same[:, 1] = same[0, 1]
    refused(lambda: estimate(same, design, "lda", layers=[3, 9]), "layer 9: the states of all")
    refused(lambda: Design(["joy", ""], ["a", "b"]), "item 1 has no emotion")
    refused(lambda: Design(["joy", "joy"], ["a", ""]), "item 1 has no scenario")
    refused(lambda: Design(["joy", "joy"], ["a"]), "labels of shapes (2,), (1,)")


def test_a_direction_of_length_zero_is_refused_by_name():
    design = crossed(6)
    states = rng().standard_normal((len(design), 2, 8))
    place = {name: design.emotion == name for name in EMOTIONS}
    # Sadness is the mean of the others at the second layer, exactly.
    states[place["sadness"], 1] = sum(states[place[n], 1] for n in EMOTIONS[:3]) / 3
    says = "the direction of sadness at layer 8 has length zero"
    for name in ("mean", "grouped", "lda"):
        refused(lambda name=name: estimate(states, design, name, layers=[4, 8]), says)
