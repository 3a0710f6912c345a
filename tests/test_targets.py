"""Numbers and soft labels against scikit-learn; held-out rows and `compare` against slow loops."""

from functools import cache

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from probekit import crossval, logistic, probes, stats
from probekit.crossval import NULL_C, cross_validate
from probekit.errors import UserError
from probekit.folds import deal, permute_places
from probekit.probes import LayerProbes, LayerRegression
from probekit.targets import Target

KINDS = ["classes", "shares", "numbers"]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Problems this small only wait for one another's threads where the machine is busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def ridge(c, standardize=True):
    return make_pipeline(StandardScaler(with_std=standardize), Ridge(alpha=1 / c))


def soft(c, x, shares):
    """scikit-learn on every item once for each class, weighted by its share."""
    n, classes = shares.shape
    logistic = LogisticRegression(C=c, tol=1e-7, solver="newton-cg")
    fit = make_pipeline(StandardScaler(), logistic)
    each = np.tile(np.arange(classes), n)
    weights = {"logisticregression__sample_weight": shares.ravel()}
    return fit.fit(np.repeat(x, classes, axis=0), each, **weights)


def learned(kind, c, x, y):
    """What scikit-learn predicts of other rows, `[item, output]`."""
    if kind == "numbers":
        fit = ridge(c).fit(x, y)
        return lambda new: fit.predict(new)[:, None]
    return soft(c, x, y if kind == "shares" else np.eye(3)[y]).predict_proba


def score(kind, predicted, true):
    """The inner score, higher is better."""
    match kind:
        case "classes":
            return np.mean([roc_auc_score(true == k, predicted[:, k]) for k in range(3)])
        case "shares":
            return -np.mean(-(true * np.log(predicted)).sum(1))
        case _:
            return -np.mean((predicted[:, 0] - true) ** 2)


def sample(n=45, d=8, seed=0):
    """Features `[item, layer, d]` with unequal scales and an offset, and numbers they tell."""
    rng = np.random.default_rng(seed)
    y = 5 + 3 * rng.normal(size=n)
    x = rng.normal(size=(n, 3, d)) * np.exp(rng.normal(size=d)) + 5
    x[:, 1, 0] += y
    return x, y


def problem(kind, n=72, n_layers=3, d=6, seed=0, strength=2.0):
    """Features, targets, and folds that keep couples of rows whole; layer 1 tells the target."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, n_layers, d)) * np.exp(0.3 * rng.normal(size=d))
    groups = np.repeat([f"s{i:02}" for i in range(n // 2)], 2)
    folds = deal(groups, np.full(n, ""), 4, seed)
    logits = rng.normal(size=(n, 3))
    x[:, 1, :3] += strength * logits
    match kind:
        case "classes":
            return x, logits.argmax(1), folds, groups
        case "shares":
            shares = np.exp(2 * logits)
            return x, shares / shares.sum(1, keepdims=True), folds, groups
        case _:
            return x, logits[:, 0] * 4 + 10, folds, groups


# LayerRegression


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize(("n", "d"), [(30, 80), (90, 6)])
@pytest.mark.parametrize("c", [1e-3, 1.0])
def test_every_layer_is_scikit_learns_ridge(n, d, c, standardize):
    x, y = sample(n, d)
    new, _ = sample(11, d, seed=1)
    got = LayerRegression(c, standardize=standardize).fit(x, y)
    assert got.coef_.shape == (3, 1, d)
    assert got.intercept_.shape == (3, 1)
    assert got.predict(new).shape == (11, 3)
    weights = np.arange(n)
    for layer in range(3):
        want = ridge(c, standardize).fit(x[:, layer], y)
        scale = want[0].scale_ if standardize else 1.0
        np.testing.assert_allclose(got.coef_[layer, 0], want[1].coef_ / scale, atol=1e-7)
        np.testing.assert_allclose(got.predict(new)[:, layer], want.predict(new[:, layer]))
        np.testing.assert_allclose(got.score(x, y)[layer], want.score(x[:, layer], y))
        weighted = r2_score(y, want.predict(x[:, layer]), sample_weight=weights)
        np.testing.assert_allclose(got.score(x, y, sample_weight=weights)[layer], weighted)


def test_a_regression_of_two_dimensions_has_no_layer_axis():
    x, y = sample()
    flat, stacked = LayerRegression(0.1).fit(x[:, 1], y), LayerRegression(0.1).fit(x, y)
    np.testing.assert_allclose(flat.predict(x[:, 1]), stacked.predict(x)[:, 1])
    assert isinstance(flat.score(x[:, 1], y), float)
    assert flat.score(x[:, 1], y) == pytest.approx(stacked.score(x, y)[1])
    np.testing.assert_allclose(
        cross_val_score(LayerRegression(0.1), x[:, 1], y, cv=3),
        cross_val_score(ridge(0.1), x[:, 1], y, cv=3),
    )


def test_a_regression_keeps_the_estimator_contract():
    x, y = sample()
    probe = LayerRegression(C=0.3, standardize=False)
    twin = clone(probe).set_params(C=0.7)
    assert (twin.C, twin.standardize, probe.C) == (0.7, False, 0.3)
    assert probe.fit(x, y) is probe
    assert not hasattr(clone(probe), "coef_")


def test_whole_numbers_are_numbers_for_a_regression():
    x, y = sample()
    levels = y.round().astype(int)
    got, want = LayerRegression().fit(x, levels), LayerRegression().fit(x, levels.astype(float))
    np.testing.assert_array_equal(got.coef_, want.coef_)


# Soft labels


@pytest.mark.parametrize("c", [1e-2, 1.0])
@pytest.mark.parametrize("classes", [3, 4])
def test_soft_labels_are_items_repeated_by_their_shares(classes, c):
    x, _ = sample(60, 6)
    shares = np.random.default_rng(2).dirichlet(np.full(classes, 0.5), size=60)
    got = LayerProbes(c).fit(x, shares)
    assert got.predict_proba(x).shape == (60, 3, classes)
    assert got.decision_function(x).shape == (60, 3, classes)
    for layer in range(3):
        want = soft(c, x[:, layer], shares)
        np.testing.assert_allclose(
            got.predict_proba(x)[:, layer], want.predict_proba(x[:, layer]), atol=1e-4
        )
        np.testing.assert_allclose(
            got.coef_[layer], want[1].coef_ / want[0].scale_, atol=1e-3 * abs(got.coef_).max()
        )


def test_shares_that_are_certain_are_classes():
    x, labels, _, _ = problem("classes")
    got, want = LayerProbes(0.1).fit(x, np.eye(3)[labels]), LayerProbes(0.1).fit(x, labels)
    np.testing.assert_allclose(got.predict_proba(x), want.predict_proba(x), atol=1e-6)
    np.testing.assert_array_equal(got.classes_, [0, 1, 2])
    np.testing.assert_array_equal(got.score(x, np.eye(3)[labels]), want.score(x, labels))


def test_the_score_of_soft_labels_is_how_often_the_largest_share_is_predicted():
    x, shares, _, _ = problem("shares")
    probe, weights = LayerProbes(0.1).fit(x, shares), np.arange(len(shares))
    hit = probe.predict(x) == shares.argmax(1)[:, None]
    np.testing.assert_allclose(probe.score(x, shares), hit.mean(0))
    weighted = np.average(hit, axis=0, weights=weights)
    np.testing.assert_allclose(probe.score(x, shares, sample_weight=weights), weighted)


# cross_validate


def plain_loop(kind, x, y, folds, cs, dev):
    """Nested choice, each fit alone; rows that are not `dev` are one more fold, the last.

    Returns predictions `[layer, item, output]` at the C of each layer and fold, nested ones, the
    layer `[fold]`, the score that chose it `[fold]`, and C `[layer, fold]`.
    """
    n_folds, n_layers = folds[dev].max() + 1, x.shape[1]
    own = np.where(dev, folds, n_folds)
    n_outer, outputs = own.max() + 1, 1 if kind == "numbers" else 3
    by_layer, nested = np.zeros((n_layers, len(y), outputs)), np.zeros((len(y), outputs))
    layers, best = np.zeros(n_outer, int), np.zeros(n_outer)
    chosen = np.zeros((n_layers, n_outer))

    @cache
    def without(out, layer, c):
        train = dev & ~np.isin(own, list(out))
        return learned(kind, c, x[train, layer], y[train])

    for k in range(n_outer):
        inner = np.zeros((n_layers, len(cs)))
        others = [j for j in range(n_folds) if j != k]
        for layer in range(n_layers):
            for place, c in enumerate(cs):
                for j in others:
                    found = without(frozenset((j, k)), layer, c)(x[own == j, layer])
                    inner[layer, place] += score(kind, found, y[own == j]) / len(others)
            chosen[layer, k] = cs[inner[layer].argmax()]
            predict = without(frozenset((k,)), layer, chosen[layer, k])
            by_layer[layer, own == k] = predict(x[own == k, layer])
        layers[k], best[k] = inner.max(1).argmax(), inner.max()
        nested[own == k] = by_layer[layers[k], own == k]
    return by_layer, nested, layers, best, chosen


def drawn(kind, groups, blocks, n, seed=0):
    """Permutations in the form that each kind of target takes."""
    places = permute_places(groups, blocks, n, seed)
    return (lambda y: y[places]) if kind == "classes" else (lambda _: places)


@pytest.mark.parametrize("kind", KINDS)
def test_nested_choice_and_held_out_rows_are_a_plain_loops(kind, monkeypatch):
    monkeypatch.setattr(logistic, "GRADIENT_TOLERANCE", 1e-8)
    x, y, folds, groups = problem(kind, 48, strength=0.5, seed=11)
    rng = np.random.default_rng(11)
    x[:, 2] = x[:, 1] + 0.7 * rng.normal(size=x[:, 2].shape)  # Nearly as good: a choice.
    held = np.arange(48) >= 36
    cs = (1e-3, 1e-1)
    by_layer, nested, layers, best, chosen = plain_loop(kind, x, y, folds, cs, ~held)
    assert len(np.unique(chosen)) > 1
    assert len(np.unique(layers)) > 1
    permuted = drawn(kind, groups, held.astype(str), 2)(y)
    (got,) = cross_validate(x, y, folds, held_out=held, cs=cs, permuted=permuted)
    np.testing.assert_array_equal(got.layers, layers)
    np.testing.assert_array_equal(got.strata, np.where(held, 4, folds))
    np.testing.assert_allclose(got.inner, best, atol=1e-4)
    np.testing.assert_allclose(got.predictions, by_layer, atol=1e-4)
    np.testing.assert_allclose(got.nested, nested, atol=1e-4)


def corrupted(kind, y, rows):
    """Other targets at these rows."""
    out = y.copy()
    match kind:
        case "classes":
            out[rows] = (y[rows] + 1) % 3
        case "shares":
            out[rows] = np.roll(y[rows], 1, axis=1)
        case _:
            out[rows] = -9 * y[rows]
    return out


@pytest.mark.parametrize("kind", KINDS)
def test_held_out_rows_are_in_no_fit_and_no_choice(kind):
    x, y, folds, groups = problem(kind)
    held, cs = np.arange(len(y)) >= 52, (1e-3, 1e-1)
    permuted = drawn(kind, groups, held.astype(str), 4)(y)
    options = {"held_out": held, "tests": [~held, held], "cs": cs}
    dev, test = cross_validate(x, y, folds, permuted=permuted, **options)
    assert len(dev.layers) == 5
    np.testing.assert_array_equal(dev.rows, np.flatnonzero(~held))
    np.testing.assert_array_equal(test.rows, np.flatnonzero(held))

    # Their features, targets and folds are nothing to the others.
    moved, other, turned = x.copy(), folds.copy(), corrupted(kind, y, held)
    moved[held] = 50 * np.random.default_rng(0).normal(size=moved[held].shape)
    other[held] = -7
    after, far = cross_validate(moved, turned, other, permuted=permuted, **options)
    for name in ("predictions", "nested", "layers", "inner", "null", "null_nested"):
        np.testing.assert_allclose(getattr(after, name), getattr(dev, name), atol=1e-12)
    assert not np.allclose(far.nested, test.nested)
    own = permuted[:, ~held]
    (alone,) = cross_validate(x[~held], y[~held], folds[~held], cs=cs, permuted=own)
    np.testing.assert_allclose(alone.nested, dev.nested, atol=1e-9)
    np.testing.assert_array_equal(alone.layers, dev.layers[:4])

    # Their targets, and other held-out rows, are nothing to their predictions.
    moved = x.copy()
    moved[52] += 50
    _, near = cross_validate(moved, turned, folds, permuted=permuted, **options)
    np.testing.assert_allclose(near.nested[1:], test.nested[1:], atol=1e-12)
    assert not np.allclose(near.nested[0], test.nested[0])
    # Every fold of the others is something to them.
    for k in range(4):
        turned = corrupted(kind, y, ~held & (folds == k))
        _, near = cross_validate(x, turned, folds, permuted=permuted, **options)
        assert not np.allclose(near.nested, test.nested, atol=1e-3)


def test_a_planted_number_is_found_in_its_layer():
    x, y, folds, groups = problem("numbers", n=120, n_layers=4, d=20, seed=2)
    permuted = permute_places(groups, np.full(len(y), ""), 60, 0)
    (got,) = cross_validate(x, y, folds, permuted=permuted)
    assert got.predictions.shape == (4, 120, 1)
    fit = [stats.r_squared(p[:, 0], y)[0] for p in got.predictions]
    rank = [stats.spearman(p[:, 0], y, folds)[0] for p in got.predictions]
    np.testing.assert_array_equal(got.layers, 1)
    np.testing.assert_array_equal(got.nested, got.predictions[1])
    assert 0.6 < fit[1] < 0.95
    assert 0.75 < rank[1] < 0.99
    assert max(np.delete(fit, 1)) < 0.1
    assert max(np.delete(rank, 1)) < 0.35
    assert got.null.shape == (60, 4)
    assert (abs(got.null.mean(0)) < 4 * got.null.std(0) / 60**0.5 + 0.02).all()
    assert abs(got.null_nested.mean()) < 0.1
    assert got.null_nested.max() < rank[1]


def test_planted_shares_are_found_in_their_layer():
    x, shares, folds, groups = problem("shares", n=120, n_layers=4, d=20, seed=3)
    permuted = permute_places(groups, np.full(len(shares), ""), 20, 0)
    (got,) = cross_validate(x, shares, folds, permuted=permuted)
    assert got.predictions.shape == (4, 120, 3)
    np.testing.assert_allclose(got.predictions.sum(-1), 1)
    nats = [stats.cross_entropy(p, shares).mean() for p in got.predictions]
    floor = -(shares * np.log(shares)).sum(1).mean()
    np.testing.assert_array_equal(got.layers, 1)
    assert floor < nats[1] < np.log(3) - 0.2
    assert min(np.delete(nats, 1)) > np.log(3) - 0.1
    assert got.null_nested.min() > nats[1] + 0.1
    assert got.null.mean() == pytest.approx(np.log(3), abs=0.15)


@pytest.mark.parametrize("kind", ["shares", "numbers"])
def test_the_null_learns_the_values_of_other_places(kind):
    x, y, folds, groups = problem(kind, n=48, seed=4)
    permuted = permute_places(groups, np.full(len(y), ""), 3, 0)
    (got,) = cross_validate(x, y, folds, permuted=permuted, cs=(0.1,))
    for draw, places in enumerate(permuted):
        moved = y[places]
        for layer in range(3):
            out = np.zeros((len(y), 1 if kind == "numbers" else 3))
            for k in range(4):
                predict = learned(kind, NULL_C, x[folds != k, layer], moved[folds != k])
                out[folds == k] = predict(x[folds == k, layer])
            want = (
                stats.spearman(out[:, 0], moved, folds)[0]
                if kind == "numbers"
                else stats.cross_entropy(out, moved).mean()
            )
            assert got.null[draw, layer] == pytest.approx(want, abs=0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_without_permutations_the_null_is_empty(kind):
    x, y, folds, _ = problem(kind, 24)
    (got,) = cross_validate(x, y, folds)
    assert got.null.shape == (0, 3)
    assert got.null_nested.shape == (0,)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fold_without_rows_leaves_scores_and_choices_finite(kind, monkeypatch):
    monkeypatch.setattr(logistic, "GRADIENT_TOLERANCE", 1e-8)
    x, y, folds, _ = problem(kind, 48)
    gap = np.where(folds >= 2, folds + 1, folds)
    (got,), (want,) = cross_validate(x, y, gap), cross_validate(x, y, folds)
    assert got.inner.shape == (5,)
    assert np.isfinite(got.inner).all()
    np.testing.assert_allclose(got.nested, want.nested, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_of_layers_change_nothing(kind, monkeypatch):
    x, y, folds, groups = problem(kind, 40)
    held = np.arange(40) >= 32
    options = {"held_out": held, "permuted": drawn(kind, groups, held.astype(str), 2)(y)}
    (whole,) = cross_validate(x, y, folds, **options)
    monkeypatch.setattr(probes, "CHUNK_BYTES", 1)
    (parts,) = cross_validate(x, y, folds, **options)
    np.testing.assert_allclose(parts.predictions, whole.predictions, atol=1e-9)
    np.testing.assert_array_equal(parts.layers, whole.layers)


# compare


def test_inner_scores_rank_only_inside_groups():
    rng = np.random.default_rng(5)
    labels, groups = rng.integers(0, 3, 40), rng.integers(0, 5, 40)
    predicted = rng.integers(0, 6, (2, 40, 1, 3)) / 6 + groups[:, None, None]
    target = Target.of(labels, None, 1)
    got = target.inner(torch.as_tensor(predicted), np.arange(40), groups).numpy()
    for layer in range(2):
        each = []
        for k in range(3):
            won, pairs = 0.0, 0
            for group in range(5):
                up, inside = labels == k, groups == group
                count = (up & inside).sum() * (~up & inside).sum()
                if count:
                    area = roc_auc_score(up[inside], predicted[layer, inside, 0, k])
                    won, pairs = won + area * count, pairs + count
            each.append(won / pairs)
        assert got[layer, 0] == pytest.approx(np.mean(each))


def grouped(n_groups=32, seed=6):
    """In layer 0 groups lie far apart and labels differ inside them; layer 1 is a plain signal."""
    rng = np.random.default_rng(seed)
    groups, labels = np.repeat(np.arange(n_groups), 2), np.tile([0, 1], n_groups)
    x = np.zeros((2 * n_groups, 2, 1))
    x[:, 0, 0] = np.repeat(5 * rng.normal(size=n_groups), 2) + labels
    x[:, 1, 0] = rng.normal(size=2 * n_groups) + 1.5 * labels
    return x, labels, groups, groups % 4


def test_compare_chooses_by_what_is_ranked_inside_groups():
    x, labels, groups, folds = grouped()
    (pooled,) = cross_validate(x, labels, folds)
    (inside,) = cross_validate(x, labels, folds, compare=groups)
    np.testing.assert_array_equal(pooled.layers, 1)
    np.testing.assert_array_equal(inside.layers, 0)
    np.testing.assert_allclose(inside.inner, 1)
    np.testing.assert_allclose(inside.predictions, pooled.predictions)  # The fits are the same.


def test_compare_ranks_the_null_inside_groups(monkeypatch):
    monkeypatch.setattr(crossval, "NULL_TOLERANCE", 1e-6)
    x, labels, groups, folds = grouped()
    rng = np.random.default_rng(0)
    permuted = np.repeat(rng.integers(0, 2, (12, 32)), 2, axis=1) ^ labels
    (got,) = cross_validate(x, labels, folds, compare=groups, permuted=permuted)
    apart = 0
    for draw, turned in enumerate(permuted):
        for layer in range(2):
            out = np.zeros(len(labels))
            for k in range(4):
                train = folds != k
                fit = make_pipeline(StandardScaler(), LogisticRegression(C=NULL_C, tol=1e-8))
                fit.fit(x[train, layer], turned[train])
                out[~train] = fit.decision_function(x[~train, layer])
            want = stats.auroc(out, turned == 1, groups)[0]
            assert got.null[draw, layer] == pytest.approx(want)
            apart += abs(want - stats.auroc(out, turned == 1, folds)[0]) > 0.01
    assert apart > 12


# Refusals


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (np.array(["rage", "grief", "rage"]), r"shape \(3,\) and type <U5: give \[item\] integers"),
        (np.ones((3, 2), int), r"shape \(3, 2\) and type int64"),
        (np.ones((3, 2, 1)), r"shape \(3, 2, 1\)"),
        (np.array([1.0, np.nan, 2.0]), "target of item 1 is missing or infinite"),
        (np.array([[0.5, 0.5], [1.0, 0.0], [np.inf, 0]]), "target of item 2 is missing"),
        (np.array([[0.5, 0.5], [3.0, 1.0], [1.0, 0.0]]), "shares of item 1 are .* divide"),
        (np.array([[0.5, 0.5], [1.5, -0.5], [1.0, 0.0]]), "the shares of item 1 are"),
        (np.array([1, -1, 1]), "numbered from 0, not -1"),
    ],
)
def test_bad_targets_are_one_line(values, says):
    with pytest.raises(UserError, match=says):
        Target.of(values, None, 1)
    with pytest.raises(UserError, match=says):
        cross_validate(np.zeros((3, 1, 2)), values, np.arange(3))


def test_bad_input_of_a_regression_is_one_line():
    x, y = sample()
    with pytest.raises(UserError, match=r"type <U4, shape \(45,\): give \[item\] numbers"):
        LayerRegression().fit(x, np.full(45, "rage"))
    with pytest.raises(UserError, match=r"shape \(45, 1\): give \[item\] numbers"):
        LayerRegression().fit(x, y[:, None])
    with pytest.raises(UserError, match="45 rows of features for 44 labels"):
        LayerRegression().fit(x, y[1:])
    y[3] = np.nan
    with pytest.raises(UserError, match="the target of item 3 is missing"):
        LayerRegression().fit(x, y)
    with pytest.raises(UserError, match="shares of item 0 are"):
        LayerProbes().fit(x, np.ones((45, 2)))


def test_folds_that_leave_nothing_to_learn_from_are_refused():
    x, y, folds, _ = problem("numbers", 24)
    for train in (folds == 2, folds > 1):  # In one fold, in two.
        with pytest.raises(UserError, match="nothing is left to learn from without fold 2"):
            cross_validate(x, y, folds, train=train)


def test_labels_and_folds_are_as_many_as_rows():
    x, y, folds, _ = problem("numbers", 24)
    with pytest.raises(UserError, match="23 labels for 24 rows of features"):
        cross_validate(x, y[1:], folds)
    with pytest.raises(UserError, match="23 folds for 24 rows of features"):
        cross_validate(x, y, folds[1:])


def test_without_rows_to_choose_on_nothing_is_chosen():
    x, y, folds, _ = problem("numbers", 24)
    with pytest.raises(UserError, match="give three or more"):
        cross_validate(x, y, folds, held_out=np.ones(24, bool))
    with pytest.raises(UserError, match="give three or more"):
        cross_validate(x, y, folds, held_out=folds > 1)
