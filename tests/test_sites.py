"""Sites keep their identities and TransformerBridge's values in every family."""

from typing import Any

import pytest
import torch
from families import FAMILIES, HEADS, LAYERS, NORMS, TEXTS, build, hooks_on
from torch import Tensor

from probekit.activations import capture
from probekit.errors import UserError
from probekit.hooks import reading, stopping_after
from probekit.models import Model
from probekit.sites import KINDS, Site

BRIDGE_NAMES = {
    "resid_pre": "hook_resid_pre",
    "resid_mid": "hook_resid_mid",
    "resid_post": "hook_resid_post",
    "attn_out": "hook_attn_out",
    "mlp_out": "hook_mlp_out",
    "z": "attn.hook_z",
    # The input of the MLP's output projection, also in a gated MLP (where the older
    # HookedTransformer kept "post" for the same product).
    "mlp_post": "mlp.hook_post",
}


def read_all(model: Model, inputs: dict[str, Any]) -> dict[Site, Tensor]:
    """Every site of a model in one pass."""
    values: dict[Site, Tensor] = {}
    sites = model.sites.expand(model.sites.kinds)
    with (
        torch.no_grad(),
        reading(model.sites, sites, lambda s, v: values.update({s: v.clone()})),
    ):
        model.hf.base_model(**inputs, use_cache=False)
    return values


def inputs_of(model: Model) -> dict[str, Tensor]:
    return model.collate(model.encode(TEXTS)).inputs()


def assert_identities(model: Model, tolerance: float) -> None:
    """What a block adds to the stream is what its sites say, relative to the token's values.

    Not to the largest of all: the first token of a real model would hide any error elsewhere.
    """
    # One row without pads: eager attention in float64 gives NaN at a pad that sees no token.
    values = read_all(model, model.collate(model.encode(TEXTS[2:3])).inputs())

    def same(left: Tensor, right: Tensor) -> bool:
        difference = (left - right).abs().amax(-1) / right.abs().amax(-1)
        return float(difference.max()) < tolerance

    for layer in range(model.n_layers):
        at = {kind: values[Site(kind, layer)] for kind in model.sites.kinds}
        middle = at["resid_pre"] + at["attn_out"]
        for part in ("attn_out", "mlp_out"):  # Each is large enough to be missed.
            share = at[part].abs().amax(-1) / middle.abs().amax(-1)
            assert float(share.max()) > 100 * tolerance
        assert same(middle + at["mlp_out"], at["resid_post"])
        if "resid_mid" in at:
            assert same(middle, at["resid_mid"])
        if layer:
            assert torch.equal(at["resid_pre"], values[Site("resid_post", layer - 1)])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
def test_parts_sum_to_the_stream_in_every_layer(family, dtype, tolerance):
    assert_identities(build(family, dtype), tolerance)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_site_agrees_with_the_bridge(family):
    model = build(family)
    ids = inputs_of(model)["input_ids"][2:3]  # One row: the bridge is given no mask.
    ours = read_all(model, {"input_ids": ids})
    _, theirs = model.bridge().run_with_cache(ids)
    for site, value in ours.items():
        reference = theirs[f"blocks.{site.layer}.{BRIDGE_NAMES[site.kind]}"]
        if site.kind == "z":  # Heads lie side by side in ours.
            assert reference.shape[2] == HEADS
            reference = reference.flatten(2)
        assert value.shape == reference.shape, site
        assert float((value - reference).abs().max()) < 1e-4 * float(reference.abs().max()), site
    assert len(ours) == LAYERS * len(model.sites.kinds)


@pytest.mark.parametrize("family", FAMILIES)
def test_bridge_leaves_the_model_as_it_was(family):
    model = build(family)
    inputs = inputs_of(model)
    implementation = model.config._attn_implementation
    modules = {name: id(module) for name, module in model.hf.named_modules()}
    before = model.hf(**inputs).logits
    bridge = model.bridge()
    bridge.run_with_cache(inputs["input_ids"])
    assert torch.equal(model.hf(**inputs).logits, before)
    assert {name: id(module) for name, module in model.hf.named_modules()} == modules
    assert model.config._attn_implementation == implementation
    assert hooks_on(model) == 0
    shared = {p.data_ptr() for p in model.hf.parameters()}
    assert shared <= {p.data_ptr() for p in bridge.parameters()}


@pytest.mark.parametrize("family", FAMILIES)
def test_last_resid_post_is_before_the_final_norm(family):
    model = build(family)
    batch = model.collate(model.encode(TEXTS[2:3]))
    top = read_all(model, batch.inputs())[Site("resid_post", LAYERS - 1)]
    after = model.body(batch)
    assert not torch.allclose(top, after, atol=0.1)
    norm = model.hf.base_model.get_submodule(NORMS.get(family, "norm"))
    assert torch.equal(norm(top), after)


def test_parallel_blocks_refuse_resid_mid_by_name():
    model = build("neox-parallel")
    assert model.sites.parallel
    assert model.sites.kinds == tuple(kind for kind in KINDS if kind != "resid_mid")
    for wanted in ("resid_mid", "resid_mid.1", Site("resid_mid", 1)):
        with pytest.raises(UserError, match=r"resid_mid.*parallel.*use resid_pre or resid_post"):
            model.sites.expand([wanted])


@pytest.mark.parametrize("family", [name for name in FAMILIES if "parallel" not in name])
def test_sequential_blocks_refuse_nothing(family):
    model = build(family)
    assert not model.sites.parallel
    assert model.sites.kinds == KINDS
    assert model.sites.refused == {}


def test_sites_from_kinds_strings_and_sites():
    sites = build("llama").sites
    assert sites.expand(["z.1", Site("z", 1), "resid_post"]) == (
        Site("z", 1),
        *(Site("resid_post", layer) for layer in range(LAYERS)),
    )
    assert str(Site("attn_out", 2)) == "attn_out.2"


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (["hidden"], "unknown site 'hidden'.*resid_pre, .*mlp_post"),
        (["resid_post.x"], r"unknown site 'resid_post.x'.*resid_post\.3"),
        (["resid_post.--1"], "unknown site 'resid_post.--1'"),
        (["resid_post.3"], r"resid_post\.3: this model has layers 0 to 2"),
        (["z.-1"], r"z\.-1: this model has layers 0 to 2"),
        ([Site("z", 7)], r"z\.7: this model has layers 0 to 2"),
        ([], "no site given: choose from resid_pre"),
    ],
)
def test_wrong_sites_are_refused_in_one_line(wanted, says):
    with pytest.raises(UserError, match=says) as refusal:
        build("llama").sites.expand(wanted)
    assert "\n" not in str(refusal.value)


def test_architecture_without_adapter_is_refused():
    import transformers

    from probekit.sites import SiteMap

    network = transformers.CTRLLMHeadModel(
        transformers.CTRLConfig(vocab_size=9, n_embd=8, dff=8, n_layer=1, n_head=2)
    )
    with pytest.raises(UserError, match="CTRLLMHeadModel has no TransformerLens adapter"):
        SiteMap(network)


# Hooks


class Planted(Exception):
    pass


@pytest.mark.parametrize("where", ["receive", "forward"])
def test_hooks_are_gone_after_an_exception(where):
    model = build("llama")
    inputs = inputs_of(model)
    before = model.hf(**inputs).logits

    def receive(site: Site, _: Tensor) -> None:
        if where == "receive" and site.layer == 1:
            raise Planted

    def broken(*_: Any) -> None:
        raise Planted

    block = model.sites.tap(Site("resid_post", 1)).module
    handle = block.register_forward_pre_hook(broken) if where == "forward" else None
    with (
        pytest.raises(Planted),
        reading(model.sites, model.sites.expand(KINDS), receive),
        stopping_after(model.sites, 2),
    ):
        model.hf(**inputs)
    if handle:
        handle.remove()
    assert hooks_on(model) == 0
    assert torch.equal(model.hf(**inputs).logits, before)


def test_hooks_are_gone_when_a_later_site_is_wrong():
    model = build("llama")
    with (
        pytest.raises(UserError),
        reading(model.sites, [Site("z", 0), Site("z", 9)], lambda *_: None),
    ):
        pass
    assert hooks_on(model) == 0


def test_capture_leaves_no_hook_and_equal_logits():
    model = build("gemma2")
    inputs = inputs_of(model)
    before = model.hf(**inputs).logits
    capture(model, TEXTS, KINDS)
    assert hooks_on(model) == 0
    assert torch.equal(model.hf(**inputs).logits, before)


def test_nothing_above_the_deepest_site_is_computed():
    model = build("llama")
    ran: list[int] = []
    for layer in range(LAYERS):
        module = model.sites.tap(Site("resid_post", layer)).module
        module.register_forward_pre_hook(lambda *_, layer=layer: ran.append(layer))
    with stopping_after(model.sites, 1):
        model.hf(**inputs_of(model))
        pytest.fail("the pass went on")
    assert ran == [0, 1]
