"""Attribution is exact where the model is linear in the edit, and says how well it agrees."""

import numpy as np
import pytest
import torch
from families import FAMILIES, TEXTS, build, hooks_on

from probekit.edits import Add, Edit, Set
from probekit.errors import UserError
from probekit.readouts import LabelLogits, Projection
from probekit.sites import Site
from probekit.sweep import sweep
from probekit.sweep.attribution import attribute


@pytest.mark.parametrize("family", FAMILIES)
def test_small_changes_are_attributed_exactly_at_every_site(family):
    model = build(family, torch.float64)
    prompts = model.encode(TEXTS[2:3])
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(1, model.d_model, generator=generator)
    readout = Projection("resid_post.2", direction, ["x"])
    for kind in model.sites.kinds:
        edits = [
            Edit(Site(kind, layer), -1, Add(1e-4 * torch.randn(size, generator=generator)))
            for layer in range(model.n_layers)
            for size in [model.sites.width(Site(kind, layer))] * 3
        ]
        found = attribute(model, prompts, edits, readout, "x")
        assert found.correlation > 0.999, kind
        assert np.abs(found.effects[list(found.sample)] - found.exact).max() < 0.05 * (
            np.abs(found.exact).max()
        )
    assert hooks_on(model) == 0


def test_a_readout_that_is_linear_in_the_edit_is_attributed_exactly():
    """Nothing lies between the last stream and a projection of it: any change is first order."""
    model = build("llama")
    prompts = model.encode(TEXTS)
    vectors = torch.randn(2, model.d_model, generator=torch.Generator().manual_seed(1))
    readout = Projection("resid_post.2", vectors, ["a", "b"])
    values = torch.randn(len(prompts), model.d_model, generator=torch.Generator().manual_seed(2))
    edits = [Edit("resid_post.2", -1, Set(5 * values)), Edit("mlp_out.2", -1, Set(values))]
    found = attribute(model, prompts, edits, readout, "b")
    exact = sweep(model, prompts, edits, {"r": readout}).effects("r")[..., 1]
    np.testing.assert_allclose(found.effects, exact, atol=2e-4)
    assert found.correlation > 0.99999


def test_large_changes_come_with_the_correlation_that_they_have():
    model = build("llama")
    prompts = model.encode(TEXTS)
    labels = LabelLogits(model, ["roof", "she"], first_token=True)
    generator = torch.Generator().manual_seed(3)
    values = 30 * torch.randn(9, model.d_model, generator=generator)
    edits = [Edit(f"resid_pre.{n % 3}", -1, Set(values[n])) for n in range(9)]
    found = attribute(model, prompts, edits, labels, "roof", sample=9)
    by_hand = np.corrcoef(found.effects.ravel(), found.exact.ravel())[0, 1]
    assert found.correlation == pytest.approx(by_hand)
    assert found.correlation < 0.9, "a change this large is not first order"


def test_a_figure_that_is_not_there_and_split_labels_are_refused():
    model = build("llama")
    prompts, edits = model.encode(TEXTS[:1]), [Edit("resid_pre.0", -1, Add(1.0))]
    labels = LabelLogits(model, ["roof", "letter came"])
    with pytest.raises(UserError, match=r"no figure 'x': the readout has roof, letter came"):
        attribute(model, prompts, edits, labels, "x")
    with pytest.raises(UserError, match=r"labels of one token: use first_token=True"):
        attribute(model, prompts, edits, labels, "roof")
