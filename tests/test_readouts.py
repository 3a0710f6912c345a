"""Readouts: their figures are those that the plain model's logits and states give."""

import numpy as np
import plain
import pytest
import torch
from families import FAMILIES, LAYERS, TEXTS, VOCABULARY, WIDTH, build, hooks_on
from test_sites import read_all

from probekit.edits import Add, Edit, Scale, Zero
from probekit.errors import UserError
from probekit.probes import LayerProbes
from probekit.readouts import (
    Head,
    LabelLogits,
    LabelLogOdds,
    NextTokenKL,
    Projection,
    Seen,
    Top1,
    probe_score,
)
from probekit.sites import Site
from probekit.sweep import sweep

pytestmark = pytest.mark.usefixtures("one_thread")
SINGLE, SPLIT = ["the", "on", "roof"], ["the", "rain", "she", "smiled", "shelf", "rainy"]
"""Labels of one token; and of one to seven, some of which begin alike."""
EDITS = [Edit("resid_post.1", "all", Scale(0.5)), Edit("z.2.1", -1, Zero())]
CHANGES = [
    ("resid_post", 1, lambda length: range(length), lambda old: old * 0.5),
    ("z", 2, lambda length: [length - 1], plain.on_columns(range(8, 16), torch.zeros_like)),
]
"""The same twice: as edits, and as a plain run makes them."""


def tokens_of(model, label: str, before: str = " ") -> list[int]:
    return model.tokenizer(before + label, add_special_tokens=False)["input_ids"]


def logits_with(model, number, prompt, more=()):
    """Of the prompt and what follows it, where only the prompt's own tokens are changed."""
    ids = [*prompt.input_ids, *more]
    if number is None:
        return plain.logits(model, ids).double()
    kind, layer, tokens, change = CHANGES[number]
    with plain.changed(model, kind, layer, tokens(len(prompt)), change):
        return plain.logits(model, ids).double()


def log_probability(model, number, prompt, tokens) -> float:
    """Of a continuation, by one plain pass over the prompt and all of it."""
    after = logits_with(model, number, prompt, tokens).log_softmax(-1)
    begin = len(prompt) - 1
    return float(sum(after[begin + n, token] for n, token in enumerate(tokens)))


def assert_close(left, right, tolerance: float = 1e-4) -> None:
    left, right = np.asarray(left), np.asarray(right)
    assert left.shape == right.shape
    assert np.abs(left - right).max() <= tolerance * np.abs(right).max()


def figures(model, prompts, readout, **options):
    """Edited `[edit, item, column]` and unedited, from the shared run."""
    swept = sweep(model, prompts, EDITS, {"it": readout}, **options)
    assert swept.shared
    return swept.values["it"], swept.clean["it"]


# Labels


@pytest.mark.parametrize("family", FAMILIES)
def test_labels_of_one_token_are_the_models_own_logits(family):
    model = build(family)
    prompts = model.encode(TEXTS)
    ids = [tokens_of(model, label)[0] for label in SINGLE]
    readout = LabelLogits(model, SINGLE)
    assert readout.columns == tuple(SINGLE)
    assert readout.branches == readout.notes == ()
    edited, clean = figures(model, prompts, readout)
    for number, got in [(None, clean), (0, edited[0]), (1, edited[1])]:
        expected = [logits_with(model, number, prompt)[-1, ids].numpy() for prompt in prompts]
        assert_close(got, expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_differences_of_split_labels_are_log_odds_of_the_plain_model(family):
    model = build(family)
    prompts = model.encode(TEXTS)
    split = [tokens_of(model, label) for label in SPLIT]
    assert sorted({len(tokens) for tokens in split})[:2] == [1, 2]
    assert split[SPLIT.index("she")] == split[SPLIT.index("shelf")][:2], "they begin alike"
    readout = LabelLogits(model, SPLIT)
    assert readout.notes == ("split by the tokenizer: rain, she, smiled, shelf, rainy",)
    edited, clean = figures(model, prompts, readout)
    for number, got in [(None, clean), (0, edited[0]), (1, edited[1])]:
        expected = np.array(
            [[log_probability(model, number, p, tokens) for tokens in split] for p in prompts]
        )
        assert_close(got - got[:, :1], expected - expected[:, :1])
        first = [logits_with(model, number, p)[-1, split[0][0]] for p in prompts]
        assert_close(got[:, 0], first)


@pytest.mark.parametrize("labels", [["roof", "home", "was"], SPLIT])
def test_log_odds_are_each_label_against_all_the_others(labels):
    model = build("llama")
    prompts = model.encode(TEXTS)
    edited, clean = figures(model, prompts, LabelLogOdds(model, labels))
    plain, unedited = figures(model, prompts, LabelLogits(model, labels))
    for got, scores in ((edited[0], plain[0]), (clean, unedited)):
        chance = np.exp(scores - scores.max(1, keepdims=True))
        chance /= chance.sum(1, keepdims=True)
        assert_close(got, np.log(chance / (1 - chance)))


def test_first_token_alone_is_read_when_asked_and_named_in_a_note():
    model = build("llama")
    prompts = model.encode(TEXTS)
    byte = tokens_of(model, "Zz", "")[0]
    labels = ["the", "on", "Zz"]
    readout = LabelLogits(model, labels, before="", first_token=True)
    assert readout.branches == ()
    assert readout.notes == ("first token only of the, Zz",)
    _, clean = figures(model, prompts, readout)
    expected = [logits_with(model, None, prompt)[-1, byte] for prompt in prompts]
    assert_close(clean[:, 2], expected)
    assert LabelLogits(model, SINGLE, first_token=True).notes == ()


def test_what_stands_before_a_label_belongs_to_it():
    model = build("llama")
    prompts = model.encode(TEXTS[:2])
    _, clean = figures(model, prompts, LabelLogits(model, ["roof", "on"], before=" the "))
    expected = [
        log_probability(model, None, p, tokens_of(model, "roof", " the "))
        - log_probability(model, None, p, tokens_of(model, "on", " the "))
        for p in prompts
    ]
    assert_close(clean[:, 0] - clean[:, 1], expected)


@pytest.mark.parametrize(
    ("labels", "options", "says"),
    [
        (["the"], {}, "labels the: give two or more different ones"),
        ([], {}, "give two or more"),
        (["the", "on", "the"], {}, "give two or more different ones"),
        (["rain", "she", "on"], {"first_token": True}, "labels rain, she begin with the same"),
        (["", "on"], {"before": ""}, "label '' has no token"),
    ],
)
def test_labels_that_cannot_be_told_apart_are_refused_in_one_line(labels, options, says):
    with pytest.raises(UserError, match=says) as refusal:
        LabelLogits(build("llama"), labels, **options)
    assert "\n" not in str(refusal.value)


def test_several_label_readouts_share_their_branches_and_keep_their_figures():
    model = build("gemma3")
    prompts = model.encode(TEXTS)
    some, others = ["she", "smiled", "rain"], ["rain", "the", "shelf"]
    readouts = {"some": LabelLogits(model, some), "others": LabelLogits(model, others)}
    together = sweep(model, prompts, EDITS, readouts)
    for name, readout in readouts.items():
        apart = sweep(model, prompts, EDITS, {"it": readout})
        assert_close(together.values[name], apart.values["it"])
        assert_close(together.clean[name], apart.clean["it"])
        assert together.columns[name] == readout.columns
    assert together.notes == tuple(readout.notes[0] for readout in readouts.values())


# The head


@pytest.mark.parametrize("family", FAMILIES)
def test_head_gives_the_models_own_logits(family):
    model = build(family)
    prompt = model.encode(TEXTS[2:3])[0]
    states, head = model.body(model.collate([prompt]))[0], Head(model)
    expected = plain.logits(model, prompt.input_ids)
    assert head(states).shape == (len(prompt), VOCABULARY)
    assert_close(head(states), expected)
    some = torch.tensor([5, 270, 17])
    assert_close(head(states, some), expected[:, some])


@pytest.mark.parametrize(
    ("family", "key", "value"),
    [
        ("granite", "logits_scaling", 8.0),
        ("gemma2", "final_logit_softcapping", 0.5),
    ],
)
def test_head_scales_and_caps_as_the_family_does(family, key, value):
    model = build(family)
    before = plain.logits(model, [5, 6, 7])
    setattr(model.hf.config, key, value)
    after = plain.logits(model, [5, 6, 7])
    assert not torch.allclose(before, after, rtol=0.01), "it matters"
    states = model.body(model.collate(model.encode(["she smiled"])))
    expected = plain.logits(model, model.encode(["she smiled"])[0].input_ids)
    assert_close(Head(model)(states)[0], expected)


@pytest.mark.parametrize("readout", [NextTokenKL, lambda m: LabelLogits(m, SINGLE), Head])
def test_a_model_whose_logits_are_not_its_unembeddings_is_refused(readout):
    model = build("llama")
    altered = model.hf.lm_head.register_forward_hook(lambda _, __, logits: logits * 1.01)
    with pytest.raises(UserError, match=r"llama: its logits are not those.*read a projection") as e:
        readout(model)
    assert "\n" not in str(e.value)
    altered.remove()
    readout(model)
    assert hooks_on(model) == 0
    model.hf.lm_head.register_forward_hook(lambda _, __, logits: logits * torch.nan)
    with pytest.raises(UserError, match="are not those of its unembedding"):
        readout(model)


# KL


@pytest.mark.parametrize("family", FAMILIES)
def test_kl_is_that_of_the_plain_models_next_token(family):
    model = build(family)
    prompts = model.encode(TEXTS)
    edited, clean = figures(model, prompts, NextTokenKL(model))
    assert np.abs(clean).max() == 0
    for number, got in enumerate(edited):
        expected = []
        for prompt in prompts:
            was = logits_with(model, None, prompt)[-1].log_softmax(-1)
            now = logits_with(model, number, prompt)[-1].log_softmax(-1)
            expected.append([float((was.exp() * (was - now)).sum())])
        assert min(min(expected)) >= 0
        assert max(max(expected)) > 1e-3
        assert_close(got, expected)


def test_kl_of_half_precision_is_taken_in_float32():
    model = build("llama", torch.bfloat16)
    states = torch.randn(3, 1, WIDTH).bfloat16()
    kl = NextTokenKL(model).read(Seen(states, states))
    assert kl.dtype == torch.float32
    assert float(kl.abs().max()) == 0


# Projections and probes


def test_projection_is_the_stream_times_its_vectors_plus_their_offsets():
    model = build("gemma2")
    prompts = model.encode(TEXTS)
    vectors, offsets = torch.randn(2, WIDTH), [0.5, -2.0]
    inputs = [model.collate([prompt]).inputs() for prompt in prompts]
    for kind in ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out"):
        for layer in (0, LAYERS - 1):
            site = Site(kind, layer)
            readout = Projection(str(site), vectors, ["up", "down"], offsets)
            assert readout.columns == ("up", "down")
            clean = sweep(model, prompts, EDITS, {"it": readout}).clean["it"]
            expected = [
                (read_all(model, row)[site][0, -1] @ vectors.T + torch.tensor(offsets)).numpy()
                for row in inputs
            ]
            assert_close(clean, expected)


def test_projection_moves_by_what_is_added_along_it():
    model = build("llama")
    vector = torch.randn(WIDTH)
    swept = sweep(
        model,
        model.encode(TEXTS),
        [Edit("resid_post.1", -1, Add(vector)), Edit("resid_post.1", 0, Add(vector))],
        {"at": Projection("resid_post.1", vector, ["v"])},
    )
    assert swept.shared
    assert_close(swept.effects("at")[0, :, 0], [float(vector @ vector)] * len(TEXTS))
    assert np.abs(swept.effects("at")[1]).max() < 1e-4, "another token of that very site"


def test_several_sites_are_read_at_once():
    model = build("qwen2")
    prompts = model.encode(TEXTS)
    vector = torch.randn(WIDTH)
    sites = [f"{kind}.{layer}" for kind in ("resid_pre", "resid_post") for layer in range(LAYERS)]
    readouts = {site: Projection(site, vector, ["v"]) for site in sites}
    edits = [Edit(f"resid_post.{n}", (-2, -1), Scale(0.2)) for n in range(LAYERS)]
    together = sweep(model, prompts, edits, {**readouts, "kl": NextTokenKL(model)})
    whole = sweep(model, prompts, edits, readouts, share=False)
    assert together.shared
    for site in sites:
        assert_close(together.values[site], whole.values[site])
    for layer in range(LAYERS):
        effect = together.effects(f"resid_post.{layer}")[:, :, 0]
        assert np.abs(effect[layer + 1 :]).max(initial=0) < 1e-4, "nothing acts downwards"
        assert (np.abs(effect[: layer + 1]).max(1) > 1e-2).all()


def test_names_and_vectors_must_be_as_many():
    with pytest.raises(UserError, match="2 vectors and 1 names"):
        Projection("resid_post.1", torch.randn(2, WIDTH), ["one"])
    with pytest.raises(UserError, match=r"unknown site 'stream\.1'"):
        Projection("stream.1", torch.randn(WIDTH), ["one"])


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2", "neox-parallel"])
@pytest.mark.parametrize("kind", ["z", "mlp_post"])
def test_heads_and_neurons_can_be_read_and_the_shared_run_equals_the_naive_one(kind, family):
    model = build(family)
    width = model.sites.width(Site(kind, 1))
    readout = Projection(f"{kind}.1", torch.eye(width), [str(n) for n in range(width)])
    prompts, edits = model.encode(TEXTS), [Edit(f"resid_pre.{n}", -1, Zero()) for n in range(3)]
    shared, naive = (sweep(model, prompts, edits, {"it": readout}, share=s) for s in (True, False))
    assert shared.shared
    np.testing.assert_allclose(shared.values["it"], naive.values["it"], atol=2e-5)
    assert np.abs(shared.effects("it")[:2]).max() > 1e-2
    assert np.abs(shared.effects("it")[2]).max() < 1e-4, "what happens above is not read"


@pytest.mark.parametrize("classes", [["calm", "tense"], ["calm", "sad", "tense"]])
def test_probe_score_is_the_probes_decision_function(classes):
    model = build("llama")
    prompts = model.encode(TEXTS)
    site, inputs = Site("resid_post", 1), [model.collate([p]).inputs() for p in prompts]
    states = np.stack([read_all(model, row)[site][0, -1].double().numpy() for row in inputs])
    labels = [classes[n % len(classes)] for n in range(len(TEXTS))]
    # The site is the second of the probe's layers.
    probe = LayerProbes(C=0.1).fit(np.stack([states**2, states], 1), labels)
    readout = probe_score(model, probe, site, place=1, fingerprint=model.fingerprint)
    edited, clean = figures(model, prompts, readout)
    assert readout.columns == (("tense",) if len(classes) == 2 else tuple(classes))

    def scores(states):
        told = probe.decision_function(np.stack([states**2, states], 1))[:, 1]
        return told[:, None] if len(classes) == 2 else told

    assert_close(clean, scores(states))
    # The first edit halves that very state.
    assert_close(edited[0], scores(states * 0.5))


def test_probe_of_another_model_or_width_is_refused():
    model, other = build("llama"), build("mistral")
    values = np.random.default_rng(0).normal(size=(8, 1, WIDTH))
    labels = ["a", "b"] * 4
    probe = LayerProbes().fit(values, labels)
    with pytest.raises(UserError, match="fitted on another model than llama: fit it on this"):
        probe_score(model, probe, "resid_post.1", fingerprint=other.fingerprint)
    narrow = LayerProbes().fit(values[..., :8], labels)
    with pytest.raises(UserError, match="the probe reads 8 values, llama has 32"):
        probe_score(model, narrow, "resid_post.1", fingerprint=model.fingerprint)
    altered = build("llama")
    altered.hf.lm_head.weight[3, 5] += 1.0
    with pytest.raises(UserError, match="another model"):
        probe_score(altered, probe, "resid_post.1", fingerprint=model.fingerprint)


# The first of a vocabulary


def test_top1_is_the_label_of_the_highest_probability():
    model = build("llama")
    prompts = model.encode(TEXTS)
    labels = LabelLogits(model, SPLIT)
    readout = Top1(labels)
    assert readout.columns == ("top1",)
    assert readout.notes == labels.notes
    edited, clean = figures(model, prompts, readout)
    split = [tokens_of(model, label) for label in SPLIT]
    for number, got in [(None, clean), (0, edited[0]), (1, edited[1])]:
        expected = [
            [np.argmax([log_probability(model, number, p, tokens) for tokens in split])]
            for p in prompts
        ]
        np.testing.assert_array_equal(got, expected)
    ours = LabelLogits(model, SINGLE)
    _, clean = figures(model, prompts, Top1(ours))
    _, logits = figures(model, prompts, ours)
    np.testing.assert_array_equal(clean[:, 0], logits.argmax(1))
    assert len(set(clean[:, 0])) > 1, "not always the same"
