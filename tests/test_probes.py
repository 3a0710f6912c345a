"""`LayerProbes` against scikit-learn; `cross_validate` against slow loops and planted truth."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from probekit import logistic, probes, stats
from probekit.crossval import CS, NULL_C, cross_validate
from probekit.errors import UserError
from probekit.folds import grouped_folds, permute_labels
from probekit.probes import LayerProbes


def oracle(c, standardize=True):
    return make_pipeline(
        StandardScaler(with_std=standardize), LogisticRegression(C=c, tol=1e-8, max_iter=5000)
    )


def close(got, want):
    np.testing.assert_allclose(got, want, atol=1e-3 * np.abs(want).max())


def sample(n, d, classes, layers=3, seed=0):
    """Features with unequal scales and an offset, and labels that they partly tell."""
    rng = np.random.default_rng(seed)
    y = np.array(["ecstasy", "grief", "rage", "terror"])[np.arange(n) % classes]
    x = rng.normal(size=(n, layers, d)) * np.exp(rng.normal(size=d)) + 5
    x[:, 1, :4] += 2 * (y[:, None] == np.array(["ecstasy", "grief", "rage", "terror"]))
    return x, y


# LayerProbes


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize(("n", "d"), [(48, 120), (160, 12)])
@pytest.mark.parametrize("c", [1e-3, 1.0])
def test_every_layer_is_scikit_learns_fit(n, d, classes, standardize, c):
    x, y = sample(n, d, classes)
    new, _ = sample(20, d, classes, seed=1)
    got = LayerProbes(c, standardize=standardize).fit(x, y)
    outputs = 1 if classes == 2 else classes
    assert got.coef_.shape == (3, outputs, d)
    assert got.intercept_.shape == (3, outputs)
    assert got.n_features_in_ == d
    decided, probable, predicted = got.decision_function(new), got.predict_proba(new), got.predict
    assert decided.shape == ((20, 3) if classes == 2 else (20, 3, classes))
    assert probable.shape == (20, 3, classes)
    for layer in range(3):
        want = oracle(c, standardize).fit(x[:, layer], y)
        scale = want[0].scale_ if standardize else 1.0
        close(got.coef_[layer], want[1].coef_ / scale)
        close(decided[:, layer], want.decision_function(new[:, layer]))
        np.testing.assert_allclose(probable[:, layer], want.predict_proba(new[:, layer]), atol=1e-3)
        assert (predicted(new)[:, layer] == want.predict(new[:, layer])).all()
        assert got.score(x, y)[layer] == want.score(x[:, layer], y)
    assert list(got.classes_) == sorted(set(y))


@pytest.mark.parametrize("classes", [2, 3])
def test_two_dimensions_behave_as_one_layer_without_the_axis(classes):
    x, y = sample(60, 10, classes)
    flat, stacked = LayerProbes(0.1).fit(x[:, 1], y), LayerProbes(0.1).fit(x, y)
    assert flat.decision_function(x[:, 1]).shape == ((60,) if classes == 2 else (60, classes))
    assert flat.predict_proba(x[:, 1]).shape == (60, classes)
    assert flat.predict(x[:, 1]).shape == (60,)
    score = flat.score(x[:, 1], y)
    assert isinstance(score, float)
    assert stacked.predict(x).shape == (60, 3)
    assert stacked.score(x, y).shape == (3,)
    assert stacked.score(x, y)[1] == score
    close(flat.decision_function(x[:, 1]), stacked.decision_function(x)[:, 1])
    np.testing.assert_allclose(flat.predict_proba(x[:, 1]).sum(-1), 1)


def test_score_takes_weights():
    x, y = sample(40, 6, 2)
    probe, weights = LayerProbes().fit(x, y), np.arange(40)
    want = [np.average(probe.predict(x)[:, layer] == y, weights=weights) for layer in range(3)]
    np.testing.assert_allclose(probe.score(x, y, sample_weight=weights), want)


def test_the_estimator_contract():
    probe = LayerProbes(C=0.3, standardize=False)
    assert probe.get_params() == {"C": 0.3, "standardize": False}
    twin = clone(probe).set_params(C=0.7)
    assert (twin.C, twin.standardize, probe.C) == (0.7, False, 0.3)
    x, y = sample(30, 5, 2)
    assert probe.fit(x, y) is probe
    assert probe.get_params() == {"C": 0.3, "standardize": False}
    assert not hasattr(clone(probe), "coef_")


def test_scikit_learns_tools_accept_it():
    from sklearn.model_selection import cross_val_score

    x, y = sample(80, 6, 2)
    np.testing.assert_allclose(
        cross_val_score(LayerProbes(0.1), x[:, 1], y, cv=4),
        cross_val_score(oracle(0.1), x[:, 1], y, cv=4),
    )


def test_a_constant_feature_changes_nothing():
    x, y = sample(47, 8, 2)
    held = x.copy()
    held[:, :, 3] = 1e6 / 3  # Not a number that a mean gives back exactly.
    got, want = LayerProbes().fit(held, y), LayerProbes().fit(np.delete(x, 3, axis=2), y)
    np.testing.assert_allclose(got.coef_[..., 3], 0, atol=1e-6)
    close(np.delete(got.coef_, 3, axis=2), want.coef_)
    close(got.decision_function(held), want.decision_function(np.delete(x, 3, axis=2)))


def test_layers_may_come_in_chunks(monkeypatch):
    x, y = sample(30, 10, 3)
    whole = LayerProbes().fit(x, y)
    monkeypatch.setattr(probes, "CHUNK_BYTES", 1)
    np.testing.assert_allclose(LayerProbes().fit(x, y).coef_, whole.coef_, atol=1e-9)


def test_half_precision_features_are_fitted_in_double():
    x, y = sample(30, 10, 2)
    half = x.astype(np.float16)
    got, want = LayerProbes().fit(half, y), LayerProbes().fit(half.astype(np.float64), y)
    np.testing.assert_array_equal(got.coef_, want.coef_)
    far = LayerProbes().fit(x + 1e7, y)  # Single precision would lose all but one digit.
    close(far.coef_, LayerProbes().fit(x, y).coef_)


def test_bad_input_is_one_line():
    x, y = sample(20, 4, 2)
    holed = x.copy()
    holed[7, 2, 1] = np.nan
    with pytest.raises(UserError, match="NaN or infinity in the features of item 7, layer place 2"):
        LayerProbes().fit(holed, y)
    fitted = LayerProbes().fit(x, y)
    with pytest.raises(UserError, match="item 7, layer place 2"):
        fitted.predict(holed)
    with pytest.raises(UserError, match=r"one class only \(rage\): a probe needs two"):
        LayerProbes().fit(x, ["rage"] * 20)
    with pytest.raises(UserError, match="2 layers of 4, the probes were fitted on 3 layers of 4"):
        fitted.predict(x[:, :2])
    with pytest.raises(UserError, match="3 layers of 3, the probes were fitted on 3 layers of 4"):
        fitted.predict_proba(x[:, :, :3])
    with pytest.raises(UserError, match="20 rows of features for 19 labels"):
        LayerProbes().fit(x, y[1:])
    with pytest.raises(UserError, match=r"shape \(4,\): give \[item, d\] or \[item, layer, d\]"):
        LayerProbes().fit(x[0, 0], y)


def test_an_unfitted_probe_says_so():
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        LayerProbes().predict(np.zeros((2, 3)))


# cross_validate


def design(n_groups=24, classes=2, layers=4, d=10, seed=0, per_class=1):
    """Every group holds each class `per_class` times; features are noise."""
    groups = np.repeat([f"s{i:03}" for i in range(n_groups)], classes * per_class)
    labels = np.tile(np.repeat(np.arange(classes), per_class), n_groups)
    x = np.random.default_rng(seed).normal(size=(len(labels), layers, d))
    folds = grouped_folds(groups, np.array([f"c{k}" for k in labels]), 4, seed)
    return x, labels, groups, folds


def auc(scores, labels, strata):
    return stats.macro_auroc(scores, labels, strata)[0]


def plain_loop(x, labels, folds, cs, standardize=True):
    """Nested choice of C and layer, each fit alone, with scikit-learn.

    Returns probabilities `[layer, item, class]` at the C of each layer and fold, the nested ones,
    C `[layer, fold]` and the layer `[fold]`.
    """
    n_folds, n_layers, classes = folds.max() + 1, x.shape[1], labels.max() + 1
    by_layer = np.zeros((n_layers, len(labels), classes))
    nested = np.zeros((len(labels), classes))
    chosen_c, chosen_layer = np.zeros((n_layers, n_folds)), np.zeros(n_folds, int)

    def fitted(layer, c, train):
        return oracle(c, standardize).fit(x[train, layer], labels[train])

    def score(layer, c, k):
        found = []
        for j in set(range(n_folds)) - {k}:
            test, train = folds == j, ~np.isin(folds, [j, k])
            p = fitted(layer, c, train).predict_proba(x[test, layer])
            ovr = [roc_auc_score(labels[test] == i, p[:, i]) for i in range(classes)]
            found.append(np.mean(ovr))
        return np.mean(found)

    for k in range(n_folds):
        best = []
        for layer in range(n_layers):
            inner = [score(layer, c, k) for c in cs]
            chosen_c[layer, k] = cs[int(np.argmax(inner))]
            best.append(max(inner))
            out = fitted(layer, chosen_c[layer, k], folds != k)
            by_layer[layer, folds == k] = out.predict_proba(x[folds == k, layer])
        chosen_layer[k] = int(np.argmax(best))
        nested[folds == k] = by_layer[chosen_layer[k], folds == k]
    return by_layer, nested, chosen_c, chosen_layer


@pytest.mark.parametrize(
    ("classes", "standardize"), [(2, True), (3, True), (2, False)], ids=["binary", "three", "raw"]
)
def test_nested_choice_is_a_plain_loops(classes, standardize):
    x, labels, _, folds = design(20, classes, layers=3, d=8, seed=1)
    x[:, 1, 0] += 0.9 * labels
    x[:, 2, 1] += 1.2 * (labels == 1)
    x[:, :, 3] *= 4
    cs = (1e-3, 1e-1, 10.0)
    by_layer, nested, chosen_c, layers = plain_loop(x, labels, folds, cs, standardize)
    (got,) = cross_validate(x, labels, folds, cs=cs, standardize=standardize)
    assert len(np.unique(chosen_c)) > 1  # The choice is a choice.
    np.testing.assert_array_equal(got.layers, layers)
    np.testing.assert_array_equal(got.rows, np.arange(len(labels)))
    # Probabilities differ by far more than this from one C to the next.
    outputs = slice(1, 2) if classes == 2 else slice(None)
    np.testing.assert_allclose(got.predictions, by_layer[..., outputs], atol=5e-3)
    np.testing.assert_allclose(got.nested, nested[..., outputs], atol=5e-3)
    for mine, plain in [(got.nested, nested), *zip(got.predictions, by_layer, strict=True)]:
        assert abs(auc(mine, labels, folds) - auc(plain[..., outputs], labels, folds)) < 0.002


@pytest.mark.parametrize("classes", [2, 4])
def test_a_planted_signal_is_found_in_its_layer(classes):
    x, labels, _, folds = design(48, classes, layers=5, d=30, seed=2)
    x[:, 3, :classes] += 3.5 * np.eye(classes)[labels]
    seen = []
    (got,) = cross_validate(x, labels, folds, advance=seen.append)
    by_layer = [auc(p, labels, folds) for p in got.predictions]
    assert np.argmax(by_layer) == 3
    assert by_layer[3] > 0.9
    assert max(by_layer[:3] + by_layer[4:]) < 0.7
    np.testing.assert_array_equal(got.layers, 3)
    np.testing.assert_array_equal(got.nested, got.predictions[3])
    assert sum(seen) == pytest.approx(1)


def test_chunks_of_layers_change_nothing(monkeypatch):
    x, labels, groups, folds = design(16, 2, layers=4, seed=3)
    permuted = permute_labels(labels.astype(str), "within", groups, groups, 5, 0).astype(int)
    (whole,) = cross_validate(x, labels, folds, permuted=permuted)
    monkeypatch.setattr(probes, "CHUNK_BYTES", 1)
    (parts,) = cross_validate(x, labels, folds, permuted=permuted)
    np.testing.assert_allclose(parts.predictions, whole.predictions, atol=1e-9)
    np.testing.assert_array_equal(parts.layers, whole.layers)
    np.testing.assert_allclose(parts.null, whole.null, atol=1e-9)


def null_loop(x, permuted, folds):
    """AUROC within folds `[permutation, layer]` of a fit per fold at `NULL_C`."""
    out = np.zeros((len(permuted), x.shape[1]))
    for draw, labels in enumerate(permuted):
        for layer in range(x.shape[1]):
            scores = np.zeros(len(labels))
            for k in range(folds.max() + 1):
                fit = oracle(NULL_C).fit(x[folds != k, layer], labels[folds != k])
                scores[folds == k] = fit.decision_function(x[folds == k, layer])
            out[draw, layer] = auc(scores[:, None], labels, folds)
    return out


def test_the_null_is_the_chance_of_the_design():
    """Equal draw by draw to a plain loop, and in the mean to a loop over other draws."""
    x, labels, groups, folds = design(16, 2, layers=2, d=6, seed=4)
    x += np.random.default_rng(0).normal(size=(16, 1, 6)).repeat(2, 0)  # Pairs are alike.

    def draws(n, seed):
        return permute_labels(labels.astype(str), "within", groups, groups, n, seed).astype(int)

    (got,) = cross_validate(x, labels, folds, permuted=draws(80, 0))
    assert got.null.shape == (80, 2)
    assert got.null_nested.shape == (80,)
    same = null_loop(x, draws(80, 0)[:10], folds)
    np.testing.assert_allclose(got.null[:10], same, atol=0.016)  # One pair in 64 may turn.
    other = null_loop(x, draws(60, 1), folds)
    error = np.hypot(got.null.std(0) / 80**0.5, other.std(0) / 60**0.5)
    assert (np.abs(got.null.mean(0) - other.mean(0)) < 3 * error).all()


def test_folds_of_unequal_classes_do_not_shift_chance():
    """Pooled over folds, scores would follow the share of classes left in training."""
    n, folds = 18, np.repeat(np.arange(6), 3)
    x = np.random.default_rng(5).normal(size=(n, 1, 1)) * 1e-3
    x += 1
    units, names = np.array([f"s{i}" for i in range(n)]), np.array(["0", "1"] * (n // 2))
    permuted = permute_labels(names, "across", units, np.full(n, ""), 150, 0).astype(int)
    (got,) = cross_validate(x, np.arange(n) % 2, folds, permuted=permuted, standardize=False)
    assert abs(got.null.mean() - 0.5) < 3 * got.null.std() / 150**0.5
    pooled = []
    for labels in permuted:
        share = [labels[folds != k].mean() for k in range(6)]
        pooled.append(roc_auc_score(labels, np.array(share)[folds]))
    assert np.mean(pooled) < 0.4


def test_the_null_chooses_its_layer_by_its_own_labels():
    x, labels, groups, folds = design(20, 2, layers=3, d=6, seed=6)
    permuted = permute_labels(labels.astype(str), "within", groups, groups, 4, 0).astype(int)
    x[:, 2, 0] += 4 * permuted[1]  # One relabeling is what layer 2 holds.
    (got,) = cross_validate(x, labels, folds, permuted=permuted)
    assert got.null[1, 2] > 0.95
    assert got.null_nested[1] == pytest.approx(got.null[1, 2])
    assert np.delete(got.null, 1, 0).max() < 0.9


def test_duplicated_items_leak_between_rows_but_not_between_groups():
    """Random labels, every item four times over: only a leak can tell them."""
    rng = np.random.default_rng(7)
    labels = np.repeat(rng.permutation(np.arange(40) % 2), 4)
    groups = np.repeat([f"s{i}" for i in range(40)], 4)
    x = np.repeat(rng.normal(size=(40, 1, 200)), 4, axis=0) + 0.1 * rng.normal(size=(160, 1, 200))
    names = labels.astype(str)
    grouped = grouped_folds(groups, names, 4, 0)
    by_row = grouped_folds(np.array([str(i) for i in range(160)]), names, 4, 0)
    (honest,) = cross_validate(x, labels, grouped)
    (leaked,) = cross_validate(x, labels, by_row)
    assert auc(leaked.nested, labels, by_row) > 0.95
    assert auc(honest.nested, labels, grouped) < 0.65
    permuted = permute_labels(names, "across", groups, np.full(160, ""), 40, 0).astype(int)
    (null,) = cross_validate(x, labels, grouped, permuted=permuted)
    assert abs(null.null_nested.mean() - 0.5) < 0.08


def test_nothing_of_the_outer_fold_enters_its_fit_or_its_choice():
    x, labels, _, folds = design(20, 2, layers=3, d=8, seed=8)
    x[:, 1, 0] += labels
    cs = (1e-3, 1e-1, 10.0)
    (before,) = cross_validate(x, labels, folds, cs=cs)
    for k in range(4):
        turned = np.where(folds == k, 1 - labels, labels)
        (after,) = cross_validate(x, turned, folds, cs=cs)
        assert after.layers[k] == before.layers[k]
        assert after.inner[k] == pytest.approx(before.inner[k], abs=1e-12)
        # The same layer, C and fit give the same predictions, for every layer.
        inside = folds == k
        np.testing.assert_allclose(
            after.predictions[:, inside], before.predictions[:, inside], atol=1e-12
        )
        np.testing.assert_allclose(after.nested[inside], before.nested[inside], atol=1e-12)
        moved = x.copy()
        moved[inside] += 3 * np.random.default_rng(k).normal(size=moved[inside].shape)
        (after,) = cross_validate(moved, labels, folds, cs=cs)
        assert after.layers[k] == before.layers[k]
        assert after.inner[k] == pytest.approx(before.inner[k], abs=1e-12)
        assert not np.allclose(after.nested[inside], before.nested[inside], atol=1e-3)


# Transfer between arms


def two_arms(seed=9):
    """Scenarios told in two arms, nearly alike; labels are random over scenarios."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(rng.permutation(np.arange(40) % 2), 2)
    groups = np.repeat([f"s{i}" for i in range(40)], 2)
    arms = np.tile(["free", "rich"], 40)
    x = np.repeat(rng.normal(size=(40, 2, 60)), 2, axis=0) + 0.1 * rng.normal(size=(80, 2, 60))
    return x, labels, arms, grouped_folds(groups, labels.astype(str), 4, 0)


def test_transfer_learns_from_one_arm_and_never_from_the_tested_scenario():
    x, labels, arms, folds = two_arms()
    free, rich = arms == "free", arms == "rich"
    own, other = cross_validate(x, labels, folds, train=free, tests=[free, rich])
    np.testing.assert_array_equal(own.rows, np.flatnonzero(free))
    np.testing.assert_array_equal(other.rows, np.flatnonzero(rich))
    # Each scenario's other arm would tell its label.
    assert auc(other.nested, labels[rich], folds[rich]) < 0.7
    np.testing.assert_array_equal(own.layers, other.layers)
    for place, row in enumerate(other.rows[:3]):
        moved = x.copy()
        moved[row - 1] += 10  # The same scenario in the arm learned from.
        after = cross_validate(moved, labels, folds, train=free, tests=[rich])[0]
        # Inner choices of other folds may change; the fold of this scenario sees nothing of it.
        inside = folds[other.rows] == folds[row]
        assert inside[place]
        np.testing.assert_allclose(
            after.predictions[:, inside], other.predictions[:, inside], atol=1e-12
        )
    moved = x.copy()
    moved[rich] += 10 * np.random.default_rng(0).normal(size=moved[rich].shape)
    (after,) = cross_validate(moved, labels, folds, train=free, tests=[free])
    np.testing.assert_allclose(after.nested, own.nested, atol=1e-12)


def test_transfer_equals_plain_fits():
    x, labels, arms, folds = two_arms()
    free, rich = arms == "free", arms == "rich"
    (got,) = cross_validate(x, labels, folds, train=free, tests=[rich], cs=(0.01,))
    for k in range(4):
        fit = oracle(0.01).fit(x[free & (folds != k), 0], labels[free & (folds != k)])
        want = fit.predict_proba(x[rich & (folds == k), 0])[:, 1]
        inside = folds[got.rows] == k
        np.testing.assert_allclose(got.predictions[0, inside, 0], want, atol=1e-3)


def test_selection_may_be_made_on_another_arm():
    x, labels, arms, folds = two_arms()
    free, rich = arms == "free", arms == "rich"
    x[free, 0, :20] += 3 * labels[free, None]  # The arm learned from tells in both layers,
    x[free, 1, :20] += 2 * labels[free, None]
    x[rich, 1, :20] += 2 * labels[rich, None]  # the other arm in the second only.
    (by_own,) = cross_validate(x, labels, folds, train=free, tests=[rich])
    (by_other,) = cross_validate(x, labels, folds, train=free, tests=[rich], select=rich)
    np.testing.assert_array_equal(by_other.layers, 1)
    assert (by_own.layers == 0).any()


def test_two_folds_leave_nothing_to_choose_on():
    x, labels, _, folds = design()
    with pytest.raises(UserError, match="give three or more"):
        cross_validate(x, labels, folds % 2)


def test_cs_and_null_are_fixed_beforehand():
    assert sorted(CS)[len(CS) // 2] == NULL_C
    assert list(CS) == sorted(CS)  # argmax then takes the strongest penalty of equals.
    assert logistic.EXACT_TOLERANCE < logistic.GRADIENT_TOLERANCE
    assert torch.get_default_dtype() == torch.float32
