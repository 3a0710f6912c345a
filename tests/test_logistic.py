"""The batched solver: one batch equals separate fits, and every fit is an optimum."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from probekit import logistic

EXACT = logistic.EXACT_TOLERANCE
CS = torch.tensor([1e-3, 1e-1, 1.0, 10.0], dtype=torch.float64)


def features(*shape, seed=0):
    return torch.as_tensor(np.random.default_rng(seed).normal(size=shape) + 2)


def one_hot(labels, k):
    return torch.nn.functional.one_hot(torch.as_tensor(labels), k).double()


def raw(design, fit):
    """Coefficients and intercept `[design, problem, output(, d)]` on raw features."""
    w = torch.einsum("ldr,lrpo->lpod", design.basis, fit.w) / design.scale[:, :, None]
    return w, fit.b - torch.einsum("lpod,ld->lpo", w, design.mean[:, 0])


def test_basis_keeps_distances():
    """Coordinates are a rotation: every product of standardised rows is kept."""
    for n, d in ((30, 8), (8, 30)):
        x = features(2, n, d)
        design = logistic.make_design(x, torch.ones(2, n).double(), standardize=True)
        z = (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True, correction=0)
        torch.testing.assert_close(design.z @ design.z.mT, z @ z.mT)
        torch.testing.assert_close(design.project(x), design.z)
        gram = torch.diag_embed(design.spectrum)
        torch.testing.assert_close(design.z.mT @ design.z, gram, atol=1e-9, rtol=1e-9)
        assert design.z.shape[-1] == min(n, d)


@pytest.mark.parametrize(("n", "d"), [(60, 12), (24, 50)])
@pytest.mark.parametrize("classes", [2, 3])
def test_columns_and_padded_rows_equal_separate_fits(n, d, classes):
    rng = np.random.default_rng(1)
    x = features(3, n, d)
    labels = rng.integers(0, classes, (n, 4))
    one = torch.as_tensor(labels)[..., None].double()
    target = (one if classes == 2 else one_hot(labels, classes)).expand(3, -1, -1, -1)
    weight = torch.ones(3, n, dtype=torch.float64)
    weight[1, -5:] = 0
    weight[2, -1:] = 0
    x[1, -5:] = 1e6  # Whatever stands in padding is not seen.
    design = logistic.make_design(x, weight, standardize=True)
    fit = logistic.fit(design, target, CS, EXACT)
    assert fit.converged
    coefficients, intercepts = raw(design, fit)
    for place in range(3):
        real = weight[place] > 0
        z = x[place, real].numpy()
        mean, scale = z.mean(0), z.std(0)
        for column, c in enumerate(CS.tolist()):
            oracle = LogisticRegression(C=c, tol=1e-10, max_iter=5000)
            oracle.fit((z - mean) / scale, labels[real, column])
            want = oracle.coef_ / scale
            got = coefficients[place, column].numpy()
            np.testing.assert_allclose(got, want, atol=1e-4 * np.abs(want).max())
            shift = oracle.intercept_ - want @ mean
            np.testing.assert_allclose(
                intercepts[place, column].numpy(), shift, atol=1e-4 * np.abs(shift).max()
            )


def test_the_default_tolerance_is_scikit_learns():
    """Largest gradient component of the mean loss, as LogisticRegression(tol=1e-4) measures it."""
    x, labels = features(1, 50, 80), np.arange(50) % 2
    design = logistic.make_design(x, torch.ones(1, 50).double(), standardize=True)
    target = torch.as_tensor(labels)[None, :, None, None].double().expand(-1, -1, 4, -1)
    fit = logistic.fit(design, target, CS)
    residual = fit.logits(design.z).sigmoid() - target
    slope = torch.einsum("lnr,lnpo->lrpo", design.z, residual) + fit.w / CS[None, None, :, None]
    assert slope.abs().max() <= 1e-4 * 50
    assert residual.sum(1).abs().max() <= 1e-4 * 50


@pytest.mark.parametrize("classes", [2, 3])
def test_soft_labels_reach_the_optimum_of_their_cross_entropy(classes):
    rng = np.random.default_rng(2)
    x, soft = features(1, 40, 5), rng.dirichlet(np.ones(classes), 40)
    design = logistic.make_design(x, torch.ones(1, 40).double(), standardize=False)
    columns = torch.as_tensor(soft if classes > 2 else soft[:, 1:])
    c = torch.tensor([0.5], dtype=torch.float64)
    fit = logistic.fit(design, columns[None, :, None], c, EXACT)
    got, intercept = (part[0, 0].numpy() for part in raw(design, fit))
    z, outputs = x[0].numpy(), columns.shape[1]

    def objective(flat):
        w, b = flat[:-outputs].reshape(outputs, 5), flat[-outputs:]
        logits = z @ w.T + b
        if outputs == 1:
            logits = np.hstack([np.zeros_like(logits), logits])
        return -0.5 * (soft * log_softmax(logits, 1)).sum() + 0.5 * (w**2).sum()

    start = np.zeros(outputs * 6)
    best = minimize(objective, start, method="BFGS", options={"gtol": 1e-6})
    np.testing.assert_allclose(got.ravel(), best.x[:-outputs], atol=1e-5)
    shift = best.x[-outputs:]
    differences = intercept - intercept[-1], shift - shift[-1]  # Softmax leaves one free.
    if outputs == 1:
        differences = intercept, shift
    np.testing.assert_allclose(*differences, atol=1e-5)


def test_hard_labels_are_soft_labels_of_certainty():
    x, labels = features(1, 30, 4), np.arange(30) % 3
    design = logistic.make_design(x, torch.ones(1, 30).double(), standardize=True)
    c = torch.tensor([1.0], dtype=torch.float64)
    two = torch.as_tensor(labels > 0).double()[None, :, None, None]
    sigmoid = logistic.fit(design, two, c, EXACT).logits(design.z)
    assert logistic.probabilities(sigmoid).shape == (1, 30, 1, 1)
    three = logistic.fit(design, one_hot(labels, 3)[None, :, None], c, EXACT).logits(design.z)
    torch.testing.assert_close(logistic.probabilities(three).sum(-1), torch.ones(1, 30, 1).double())


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6 / 3, -3e7 / 7])
def test_a_feature_constant_in_training_gets_no_weight(constant):
    x, labels = features(1, 47, 6), torch.arange(47) % 2
    x[..., 2] = constant
    design = logistic.make_design(x, torch.ones(1, 47).double(), standardize=True)
    fit = logistic.fit(design, labels[None, :, None, None].double(), CS, EXACT)
    coefficients, _ = raw(design, fit)
    assert coefficients[..., 2].abs().max() < 1e-6
    assert coefficients.isfinite().all()
    moved = x.clone()
    moved[..., 2] += 1  # A row of the test fold may differ where training rows do not.
    torch.testing.assert_close(
        fit.logits(design.project(moved)), fit.logits(design.z), atol=1e-5, rtol=0
    )


def test_features_that_never_vary_give_the_base_rate():
    design = logistic.make_design(
        torch.ones(1, 8, 3).double(), torch.ones(1, 8).double(), standardize=True
    )
    target = torch.tensor([1.0, 0, 0, 0, 0, 0, 0, 1]).double()[None, :, None, None]
    fit = logistic.fit(design, target, torch.ones(1).double(), EXACT)
    torch.testing.assert_close(
        fit.logits(design.z).sigmoid(), torch.full((1, 8, 1, 1), 0.25).double()
    )


def test_separable_labels_with_a_weak_penalty_converge():
    x = features(1, 40, 60)
    design = logistic.make_design(x, torch.ones(1, 40).double(), standardize=True)
    target = (torch.arange(40) % 2)[None, :, None, None].double()
    fit = logistic.fit(design, target, torch.tensor([1e4]).double(), EXACT)
    assert fit.converged
    assert ((fit.logits(design.z) > 0) == (target > 0)).all()
