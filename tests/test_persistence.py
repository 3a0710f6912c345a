"""Reading on: offsets are real tokens, one pass equals many, a cut equals a mask."""

import pytest
import torch
from families import FAMILIES, TEXTS, WINDOW, build

from probekit.errors import UserError
from probekit.persistence import Cut, follow
from probekit.prompts import Encoded
from probekit.sites import Site

pytestmark = pytest.mark.usefixtures("one_thread")
CONTINUATION = tuple(range(210, 222))
SITES = [Site("resid_post", layer) for layer in (0, 2)]


def read(model, prompts, cuts=(), continuation=CONTINUATION, **options):
    """Values `[row, offset, d]` of every site, by the name of the cut ("" for none)."""
    out = {}

    def receive(passage, site, value):
        name = passage.cut.name if passage.cut else ""
        first = passage.cut.at + 1 if passage.cut else 0
        shape = (len(prompts), len(continuation) + 1 - first, value.shape[2])
        table = out.setdefault((name, site), torch.full(shape, torch.nan, dtype=value.dtype))
        begin = passage.offsets.start - first
        end = begin + len(passage.offsets)
        assert table[passage.rows.start : passage.rows.stop, begin:end].isnan().all(), "read twice"
        table[passage.rows.start : passage.rows.stop, begin:end] = value

    follow(model, prompts, continuation, SITES, receive, cuts, **options)
    assert not any(value.isnan().any() for value in out.values()), "an offset was left out"
    return out


@torch.no_grad()
def by_mask(model, prompt, cut, continuation=CONTINUATION):
    """Site -> `[token, d]` of one prompt and its continuation, with attention masked by hand."""
    ids = torch.tensor([(*prompt.input_ids, *continuation)])
    size, after = ids.shape[1], len(prompt) + cut.at if cut else ids.shape[1]
    removed = set(cut.removed[0]) if cut else set()
    mask = {}
    for kind in ("full_attention", "sliding_attention"):
        table = torch.full((1, 1, size, size), torch.finfo(model.dtype).min, dtype=model.dtype)
        for query in range(size):
            for key in range(query + 1):
                near = kind == "full_attention" or query - key < WINDOW
                if near and not (query >= after and key in removed):
                    table[0, 0, query, key] = 0
        mask[kind] = table
    kinds = set(getattr(model.config, "layer_types", None) or [])
    if len(kinds) < 2:
        slides = getattr(model.config, "sliding_window", None)
        mask = mask["sliding_attention" if slides else "full_attention"]
    found = {}
    handles = [
        model.sites.block(site.layer).register_forward_hook(
            lambda _, __, out, site=site: found.__setitem__(
                site, (out[0] if isinstance(out, tuple) else out)[0]
            )
        )
        for site in SITES
    ]
    model.hf.base_model(input_ids=ids, attention_mask=mask, use_cache=False)
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_one_pass_reads_what_prefix_after_prefix_would(family):
    """Every offset, of prompts of different lengths, in chunks that end anywhere."""
    model = build(family, torch.float64)
    prompts = model.encode(TEXTS[:4])
    found = read(model, prompts, chunk=5)
    for row, prompt in enumerate(prompts):
        for offset in range(0, len(CONTINUATION) + 1, 3):
            ids = torch.tensor([(*prompt.input_ids, *CONTINUATION[:offset])])
            for site in SITES:
                kept = []
                hook = model.sites.block(site.layer).register_forward_hook(
                    lambda _, __, out, kept=kept: kept.append(
                        out[0] if isinstance(out, tuple) else out
                    )
                )
                with torch.no_grad():
                    model.hf.base_model(input_ids=ids, use_cache=False)
                hook.remove()
                alone = kept[0][0, -1]
                assert torch.allclose(found["", site][row, offset], alone, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("at", [0, 5])
def test_removing_keys_and_values_is_masking_attention(family, at):
    model = build(family, torch.float64)
    prompts = model.encode([TEXTS[0], TEXTS[2], TEXTS[5]])
    # Far away and near: a sliding window sees the last ones alone.
    ends = [len(prompt) + at for prompt in prompts]
    removed = ((1, ends[0] - 1), (2, 3, 5, ends[1] - 2), (*range(3, 20), ends[2] - 2, ends[2] - 1))
    cut = Cut("turn", at, removed)
    found = read(model, prompts, [cut], chunk=7)
    for row, prompt in enumerate(prompts):
        own = by_mask(model, prompt, Cut("turn", at, (removed[row],)))
        whole = by_mask(model, prompt, None)
        for site in SITES:
            start = len(prompt) + at
            assert torch.allclose(found["turn", site][row], own[site][start:], atol=1e-6)
            assert torch.allclose(found["", site][row], whole[site][len(prompt) - 1 :], atol=1e-6)
            assert not torch.allclose(own[site][start:], whole[site][start:], atol=1e-3)


def test_a_row_alone_is_the_row_in_any_batch():
    model = build("gemma3", torch.float64)
    prompts = model.encode(TEXTS)
    removed = tuple((1, 2) if len(prompt) > 3 else (1,) for prompt in prompts)
    together = read(model, prompts, [Cut("c", 2, removed)], batch_tokens=70)
    for row, prompt in enumerate(prompts):
        alone = read(model, [prompt], [Cut("c", 2, removed[row : row + 1])])
        for key, value in alone.items():
            assert torch.allclose(together[key][row], value[0], atol=1e-9)


def test_several_cuts_do_not_meet():
    """A cut after another reads what it reads by itself."""
    model = build("llama", torch.float64)
    prompts = model.encode(TEXTS[2:4])
    cuts = [Cut("a", 0, ((1, 2), (1, 2))), Cut("b", 4, ((3,), (4,)))]
    both = read(model, prompts, cuts)
    for cut in cuts:
        alone = read(model, prompts, [cut])
        for site in SITES:
            assert torch.equal(both[cut.name, site], alone[cut.name, site])


@pytest.mark.parametrize(
    ("cut", "said"),
    [
        (Cut("x", 12, ((1,),)), "cut at offset 12: the continuation has 12 tokens"),
        (Cut("x", 0, ((99,),)), "by then; name some of them"),
        (Cut("x", 0, ((1,), (1,))), "names tokens of 2 prompts of 1"),
    ],
)
def test_cuts_that_cannot_be(cut, said):
    model = build("llama")
    with pytest.raises(UserError, match=said):
        read(model, model.encode(TEXTS[:1]), [cut])


def test_a_continuation_that_the_context_does_not_hold():
    model = build("llama")
    with pytest.raises(UserError, match="the context holds 64"):
        read(model, model.encode(TEXTS[:1]), continuation=(210,) * 60)


HUB, MARK, FIRST = 206, 200, 0
"""Tokens of the planted models: one that gathers, the emotional ones (200 and 201), the sink."""


def planted(carries: bool):
    """A model whose last block reads an emotion from the turn itself, or from a token after it.

    Dimensions 0 and 1 hold the emotion at its token, 3 and 4 at the hub (where it is carried), 5
    and 6 at every token that reads it. 10 to 13 mark the hub, every token, the emotional token
    and the sink. All else is zero. Heads match on a plane that rotary embedding hardly turns.
    """
    model = build("llama", torch.float64)
    with torch.no_grad():
        for parameter in model.hf.parameters():
            parameter.fill_(1.0 if parameter.dim() == 1 else 0.0)
        embedding = model.hf.model.embed_tokens.weight
        embedding[:, 11] = 1.0
        embedding[HUB, 10] = embedding[FIRST, 13] = 1.0
        for place in range(2):
            embedding[MARK + place, place] = embedding[MARK + place, 12] = 1.0
        gather, look = (model.hf.model.layers[layer].self_attn for layer in (0, 2))
        # The hub sees the emotional token; every other token, where it may not leak, the sink.
        gather.q_proj.weight[3, 11], gather.k_proj.weight[3, 13] = 3.0, 3.0
        gather.q_proj.weight[7, 10], gather.k_proj.weight[7, 12] = 6.0, 6.0
        look.q_proj.weight[3, 11] = 6.0
        look.k_proj.weight[3, 10 if carries else 12] = 6.0
        for place in range(2):
            gather.v_proj.weight[place, place] = gather.o_proj.weight[3 + place, place] = 1.0
            look.v_proj.weight[place, (3 if carries else 0) + place] = 1.0
            look.o_proj.weight[5 + place, place] = 1.0
    return model


@pytest.mark.parametrize(("carries", "kept"), [(True, 1.0), (False, 0.0)])
def test_a_state_that_is_carried_outlives_its_turn_and_one_that_is_looked_up_does_not(
    carries, kept
):
    model = planted(carries)
    prompts = [
        Encoded(name, (0, 250, MARK + place, 251, HUB), (False,) * 5, ((0, 0),) * 5, 0, 0)
        for place, name in enumerate(("one", "two"))
    ]
    cuts = [
        Cut("turn", 3, ((2,), (2,))),
        Cut("other", 3, ((1,), (1,))),
        Cut("hub", 3, ((4,), (4,))),
    ]
    found = read(model, prompts, cuts)
    top = {name: value for (name, site), value in found.items() if site.layer == 2}

    def told(values):
        """How far the two prompts are apart along the emotion."""
        return (values[0, :, 5] - values[1, :, 5]).abs()

    whole = told(top[""])[4:]
    assert (whole > 0.5).all()
    assert torch.allclose(told(top["turn"]) / whole, torch.tensor(kept).double(), atol=0.02)
    assert torch.allclose(told(top["other"]) / whole, torch.tensor(1.0).double(), atol=0.02)
    of_hub = 0.0 if carries else 1.0
    assert torch.allclose(told(top["hub"]) / whole, torch.tensor(of_hub).double(), atol=0.02)
