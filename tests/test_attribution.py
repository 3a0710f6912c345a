"""Attribution is exact where the model is linear in the edit, and says how well it agrees."""

import numpy as np
import pytest
import torch
from families import FAMILIES, TEXTS, build, hooks_on

from probekit.edits import Add, Edit, Set, Zero
from probekit.errors import UserError
from probekit.readouts import LabelLogits, LabelLogOdds, Projection
from probekit.sites import Site
from probekit.sweep import sweep
from probekit.sweep.attribution import attribute, attribute_units


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
        assert np.abs(found.effects[[n for (n,) in found.sample]] - found.exact).max() < 0.05 * (
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


@pytest.mark.parametrize("kind", ["z", "mlp_post"])
@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_units_of_a_whole_edit_are_those_of_edits_of_one_unit(family, kind, monkeypatch):
    model = build(family)
    prompts = model.encode(TEXTS)
    labels = LabelLogOdds(model, ["roof", "home", "was"], first_token=True)
    own = [labels.columns[n % 3] for n in range(len(prompts))]
    values = torch.randn(len(prompts), model.sites.width(Site(kind, 0)))
    whole = [Edit(Site(kind, layer), "all", Set(values)) for layer in range(model.n_layers)]
    found = attribute_units(model, prompts, whole, labels, own, sample=12, seed=1)
    units = model.sites.units(kind)
    assert found.effects.shape == (model.n_layers, len(prompts), units)
    single = [Edit(Site(kind, 1), "all", Set(values), units=[unit]) for unit in range(units)]
    alone = attribute(model, prompts, single, labels, own, sample=3)
    np.testing.assert_allclose(found.effects[1].T, alone.effects, atol=1e-5)
    layer, unit = found.sample[7]
    edit = Edit(Site(kind, layer), "all", Set(values), units=[unit])
    exact = sweep(model, prompts, [edit], {"r": labels}).effects("r")[0]
    items = np.arange(len(prompts))
    np.testing.assert_allclose(found.exact[7], exact[items, items % 3], atol=1e-5)
    monkeypatch.setattr("probekit.sweep.attribution.TOGETHER", 2)
    again = attribute_units(model, prompts, whole, labels, own, sample=1)
    np.testing.assert_allclose(again.effects, found.effects, atol=1e-5)


def test_attribution_by_unit_wants_whole_sites_of_one_kind():
    model = build("llama")
    prompts, labels = model.encode(TEXTS[:1]), LabelLogits(model, ["roof", "she"], first_token=True)
    for edits in (
        [Edit("z.1.0", -1, Zero())],
        [Edit("z.1", -1, Zero(), direction=torch.ones(32))],
        [Edit("z.1", -1, Zero()), Edit("mlp_post.1", -1, Zero())],
    ):
        with pytest.raises(UserError, match="give edits of whole sites, all of one kind"):
            attribute_units(model, prompts, edits, labels, "roof")
    with pytest.raises(UserError, match="site resid_post has no heads or neurons"):
        attribute_units(model, prompts, [Edit("resid_post.1", -1, Zero())], labels, "roof")
    with pytest.raises(UserError, match="2 figures for 1 prompts: give one, or one for each"):
        attribute(model, prompts, [Edit("z.1", -1, Zero())], labels, ["roof", "she"])


def test_a_figure_that_is_not_there_and_split_labels_are_refused():
    model = build("llama")
    prompts, edits = model.encode(TEXTS[:1]), [Edit("resid_pre.0", -1, Add(1.0))]
    labels = LabelLogits(model, ["roof", "letter came"])
    with pytest.raises(UserError, match=r"no figure 'x': the readout has roof, letter came"):
        attribute(model, prompts, edits, labels, "x")
    with pytest.raises(UserError, match=r"labels of one token: use first_token=True"):
        attribute(model, prompts, edits, labels, "roof")
