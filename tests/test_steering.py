"""Steering: rows keep to themselves, doses mean what they say, and nothing is left behind."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from families import FAMILIES, TEXTS, WIDTH, build, hooks_on

from probekit.edits import Add, Edit, Gate, Level, Response, Zero, applied
from probekit.errors import UserError
from probekit.hooks import reading
from probekit.models import load_model
from probekit.sites import Site
from probekit.steering import Decoding, Scale, Steering, edits_of, generate, residual_scale
from probekit.steering.generation import _Draw
from probekit.steering.scale import Scale as _Scale

pytestmark = pytest.mark.usefixtures("one_thread")
SHORT = Decoding(max_new_tokens=6)
PROMPTS = TEXTS[:5]


def vector(seed: int, width: int = WIDTH) -> np.ndarray:
    made = np.random.default_rng(seed).standard_normal(width)
    return (made / np.linalg.norm(made)).astype(np.float32)


def scale_of(model) -> Scale:
    """Invented: every layer's states are 4 long, so that a dose moves a tiny model."""
    means = np.zeros((model.n_layers, model.d_model), np.float32)
    return _Scale(model.fingerprint, "resid_post", np.full(model.n_layers, 4.0), means)


def steer(model, seed=0, dose=1.0, layers=(1,), **how) -> Steering:
    vectors = {layer: vector(seed + 10 * layer) for layer in layers}
    return Steering(vectors, scale_of(model), dose, **how)


def variety(model) -> list[Steering | None]:
    """A steering for each of five rows; no two alike."""
    return [
        None,
        steer(model, 1, 1.0, (0, 2)),
        steer(model, 2, 2.0, how="clamp", positions="all"),
        steer(model, 3, how="project_out"),
        steer(model, 4, 1.5, positions=Response(1, 0.5)),
    ]


def encoded(model, texts=PROMPTS):
    return model.encode(texts)


def states(model, prompts, edits=(), lengths=None, kind="resid_post", layer=1) -> torch.Tensor:
    """`[row, token, d]` at a site in one pass over whole texts."""
    found = []
    batch = model.collate(prompts)
    with (
        applied(model, edits, lengths=lengths, beyond=lengths is not None),
        reading(model.sites, [Site(kind, layer)], lambda _, value: found.append(value.clone())),
        torch.no_grad(),
    ):
        model.hf(**batch.inputs(), use_cache=False)
    return found[0]


# A row gets what it would get alone


@pytest.mark.parametrize("family", FAMILIES)
def test_a_row_of_a_mixed_batch_is_what_it_is_alone(family):
    # Gemma 2's masks overflow in float64 where a row has pads on its left.
    model = build(family, torch.float32 if family == "gemma2" else torch.float64)
    prompts, steerings = encoded(model), variety(model)
    together = generate(model, prompts, steerings, SHORT)
    for row, (prompt, steering) in enumerate(zip(prompts, steerings, strict=True)):
        alone = generate(model, [prompt], steering, SHORT)[0]
        assert alone == together[row]
    plain = generate(model, prompts, None, SHORT)
    moved = [a.ids != b.ids for a, b in zip(plain, together, strict=True)]
    assert not moved[0], "the row without steering is plain"
    assert any(moved[1:]), "doses this large change what is written"


@pytest.mark.parametrize("family", ["llama", "gemma3", "gpt2"])
def test_the_cache_changes_nothing(family):
    model = build(family, torch.float64)
    prompts, steerings = encoded(model), variety(model)
    cached = generate(model, prompts, steerings, SHORT)
    assert generate(model, prompts, steerings, SHORT, use_cache=False) == cached
    assert generate(model, prompts, steerings, SHORT, batch_size=2) == cached


def test_what_is_written_is_the_argmax_of_whole_edited_passes():
    """Naive reference: after each token the whole text runs again, edited, on its own."""
    model = build("llama", torch.float64)
    for text, steering in zip(PROMPTS, variety(model), strict=True):
        prompt = model.encode([text])[0]
        edits, ids = edits_of(model, [steering]), list(prompt.input_ids)
        for _ in range(SHORT.max_new_tokens):
            with applied(model, edits, lengths=[len(prompt)], beyond=True), torch.no_grad():
                logits = model.hf(torch.tensor([ids]), use_cache=False).logits[0, -1]
            ids.append(int(logits.argmax()))
            if ids[-1] == model.tokenizer.eos_token_id:
                ids.pop()
                break
        reply = generate(model, [prompt], steering, SHORT)[0]
        assert list(reply.ids) == ids[len(prompt) :]


def test_one_edit_serves_many_vectors():
    model = build("llama")
    rows = [steer(model, seed, dose=0.1 * seed) for seed in range(1, 9)]
    assert len(edits_of(model, rows)) == 1
    mixed = [*rows, steer(model, 3, how="project_out"), steer(model, 5, how="clamp")]
    assert len(edits_of(model, mixed)) == 2, "projecting out is clamping to 0"


# Doses


def test_dose_zero_is_the_plain_model_bit_for_bit():
    model = build("llama")
    prompts = encoded(model)
    nothing = [steer(model, 1, 0.0, how=how) for how in ("add", "clamp", "replace", "add", "add")]
    assert edits_of(model, nothing) == []
    assert generate(model, prompts, nothing, SHORT) == generate(model, prompts, None, SHORT)
    one_of_two = edits_of(model, [nothing[0], steer(model, 2)])
    before, after = (states(model, prompts[:2], edits) for edits in ([], one_of_two))
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[1], after[1])


def test_a_dose_is_added_length_over_the_residual_norm():
    model = build("llama", torch.float64)
    prompt = encoded(model)[2]
    steering = steer(model, 1, 0.25, positions="all")
    moved = states(model, [prompt], edits_of(model, [steering])) - states(model, [prompt])
    torch.testing.assert_close(
        moved[0].norm(dim=-1), torch.full((len(prompt),), 0.25 * 4.0, dtype=torch.float64)
    )
    assert steer(model, 1, 0.25, layers=(0, 1, 2)).total == pytest.approx(0.75)


def test_clamp_holds_the_coordinate_and_project_out_leaves_none():
    model = build("llama", torch.float64)
    prompt, v = encoded(model)[2], torch.from_numpy(vector(11)).double()
    mean = np.zeros((3, WIDTH), np.float32)
    mean[1] = 3 * vector(11)
    held = replace(
        steer(model, 1, 0.5, how="clamp", positions="all"),
        scale=replace(scale_of(model), means=mean),
    )
    found = states(model, [prompt], edits_of(model, [held]))[0] @ v
    torch.testing.assert_close(found, torch.full_like(found, 3 + 0.5 * 4), atol=1e-5, rtol=0)
    out = steer(model, 1, how="project_out", positions="all")
    edited = states(model, [prompt], edits_of(model, [out]))[0]
    assert float((edited @ v).abs().max()) < 1e-6
    rest = states(model, [prompt])[0]
    torch.testing.assert_close(edited, rest - (rest @ v)[:, None] * v, atol=1e-5, rtol=1e-5)


def test_replace_sets_the_whole_state():
    model = build("llama", torch.float64)
    steering = steer(model, 1, 0.5, how="replace", positions="all")
    found = states(model, encoded(model)[2:3], edits_of(model, [steering]))[0]
    wanted = 2.0 * torch.from_numpy(vector(11)).double()
    torch.testing.assert_close(found, wanted.expand_as(found), atol=1e-6, rtol=0)


def test_random_directions_are_as_long_and_elsewhere():
    model = build("llama")
    steering = steer(model, 1, 0.5, layers=(0, 1))
    one, again, other = steering.random(0), steering.random(0), steering.random(1)
    for layer in (0, 1):
        assert np.linalg.norm(one.vectors[layer]) == pytest.approx(1, abs=1e-5)
        assert (one.vectors[layer] == again.vectors[layer]).all()
        assert (one.vectors[layer] != other.vectors[layer]).any()
    assert (one.vectors[0] != one.vectors[1]).any()
    assert one.dose == steering.dose


# Phases, decay, gates


def test_prompt_response_and_start_reach_their_tokens():
    model = build("llama")
    prompt = encoded(model)[2]
    n, length = len(prompt), len(prompt) - 4
    plain = states(model, [prompt])

    def reached(positions) -> list[int]:
        edit = Edit("resid_post.1", positions, Add(torch.ones(WIDTH)))
        moved = states(model, [prompt], [edit], lengths=[length])
        return (moved != plain).any(-1)[0].nonzero().flatten().tolist()

    assert reached("all") == list(range(n))
    assert reached("prompt") == list(range(length))
    assert reached("response") == list(range(length - 1, n))
    assert reached(Response(start=2)) == list(range(length + 1, n))


def test_decay_fades_with_each_token():
    model = build("llama", torch.float64)
    prompt = encoded(model)[2]
    length = len(prompt) - 4
    edit = Edit("resid_post.1", Response(1, 0.5), Add(torch.ones(WIDTH)))
    moved = states(model, [prompt], [edit], lengths=[length]) - states(model, [prompt])
    found = moved[0, length - 1 :, 0].tolist()
    assert found == pytest.approx([0, 1, 0.5, 0.25, 0.125])


@pytest.mark.parametrize("site", ["resid_post.0", "resid_post.1"])
def test_a_gate_opens_where_its_probe_reads_above_the_threshold(site):
    model = build("llama", torch.float64)
    prompts = encoded(model)[:3]
    read = Site.parse(site)[0]
    seen = states(model, prompts, kind=read.kind, layer=read.layer)
    real = torch.zeros(seen.shape[:2], dtype=torch.bool)
    for row, prompt in enumerate(prompts):
        real[row, : len(prompt)] = True
    weights = torch.from_numpy(vector(5))
    scores = seen.float() @ weights
    threshold = float(scores[real].median()) + 1e-4
    edit = Edit("resid_post.1", "all", Zero(), gate=Gate(site, weights, threshold))
    before, after = states(model, prompts), states(model, prompts, [edit])
    zeroed = (after == 0).all(-1)
    assert torch.equal(zeroed[real], (scores > threshold)[real])
    assert 0 < int(zeroed[real].sum()) < int(real.sum())
    assert torch.equal(after[real & ~zeroed], before[real & ~zeroed])


def test_gated_steering_writes_the_same_alone_and_in_a_batch():
    model = build("llama", torch.float64)
    gate = Gate("resid_post.0", vector(5), 0.0)
    steerings = [steer(model, seed, 2.0, gate=gate) for seed in range(5)]
    together = generate(model, encoded(model), steerings, SHORT)
    alone = [
        generate(model, [prompt], steering, SHORT)[0]
        for prompt, steering in zip(encoded(model), steerings, strict=True)
    ]
    assert alone == together
    never = replace(steerings[0], gate=Gate("resid_post.0", vector(5), 1e9))
    assert generate(model, encoded(model), never, SHORT) == generate(
        model, encoded(model), None, SHORT
    )


# Sampling


def test_seeds_reproduce_samples_whatever_the_batch():
    model = build("llama", torch.float64)
    prompts, warm = encoded(model), Decoding(6, temperature=1.5, top_p=0.9)
    seeds = [3, 4, 5, 6, 7]
    one = generate(model, prompts, None, warm, seed=seeds)
    assert generate(model, prompts, None, warm, seed=seeds, batch_size=2) == one
    assert generate(model, prompts[1:2], None, warm, seed=4)[0] == one[1]
    assert generate(model, prompts, None, warm, seed=[s + 1 for s in seeds]) != one


def test_draws_follow_the_distribution():
    probabilities = torch.tensor([0.5, 0.3, 0.15, 0.05])
    scores = (2.0 * probabilities.log()).expand(20_000, -1)
    draw = _Draw(Decoding(temperature=2.0, top_p=0.9), list(range(20_000)))
    counts = torch.bincount(draw(torch.empty(0), scores).argmax(-1), minlength=4)
    kept = probabilities[:3] / probabilities[:3].sum()
    assert int(counts[3]) == 0, "the first three hold .95, the first two .8"
    deviation = (kept * (1 - kept) / 20_000).sqrt()
    assert bool(((counts[:3] / 20_000 - kept).abs() < 4 * deviation).all())


def test_the_share_is_found_among_few_or_all_tokens(monkeypatch):
    scores = torch.randn(4, 300, generator=torch.Generator().manual_seed(0))
    few = _Draw(Decoding(temperature=1.0, top_p=0.9), [0, 1, 2, 3])(torch.empty(0), scores)
    monkeypatch.setattr("probekit.steering.generation.HEAD", 5)
    again = _Draw(Decoding(temperature=1.0, top_p=0.9), [0, 1, 2, 3])(torch.empty(0), scores)
    assert torch.equal(few, again)
    for row in range(4):
        order = scores[row].softmax(-1).sort(descending=True)
        held = int((order.values.cumsum(-1) < 0.9).sum()) + 1
        assert set(few[row].isfinite().nonzero().flatten().tolist()) == set(
            order.indices[:held].tolist()
        )


# Streaming, and what is left behind


def test_streams_whole_characters_of_every_row():
    model = build("llama")
    heard: dict[int, str] = {}

    def listen(row: int, piece: str) -> None:
        heard[row] = heard.get(row, "") + piece

    prompts = encoded(model)
    replies = generate(model, prompts, variety(model), SHORT, stream=listen)
    for row, reply in enumerate(replies):
        assert heard.get(row, "") == reply.text


def test_hooks_are_gone_after_ctrl_c_in_the_middle_of_streaming():
    model = build("llama")

    def interrupt(row: int, piece: str) -> None:
        raise KeyboardInterrupt

    before = hooks_on(model)
    with pytest.raises(KeyboardInterrupt):
        generate(model, encoded(model), variety(model), SHORT, stream=interrupt)
    assert hooks_on(model) == before
    assert generate(model, encoded(model), None, SHORT)


# The scale


def test_scale_is_the_median_over_text_tokens_without_the_first(tmp_path, monkeypatch):
    monkeypatch.setenv("PROBEKIT_CACHE", str(tmp_path))
    from probekit.directions.sources import neutral_texts

    model = build("llama", torch.float64)
    short = neutral_texts()
    rows = tuple(replace(row, text=row.text[:40]) for row in short.rows[:5])
    monkeypatch.setattr("probekit.steering.scale.neutral_texts", lambda: replace(short, rows=rows))
    scale = residual_scale(model)
    found = []
    for prompt in model.encode([row.text for row in rows]):
        found.append(states(model, [prompt])[0, 1:])
    every = torch.cat(found)
    assert scale.norm(1) == pytest.approx(float(every.norm(dim=-1).median()), rel=1e-5)
    np.testing.assert_allclose(scale.means[1], every.mean(0), atol=1e-5)
    monkeypatch.setattr("probekit.steering.scale._measured", None)
    assert residual_scale(model).norm(1) == scale.norm(1), "kept in the cache"


# Bad input


@pytest.mark.parametrize("dose", ["strong", -0.1, 2.5, float("nan"), None])
def test_refuses_a_dose_that_means_nothing(dose):
    model = build("llama")
    with pytest.raises(UserError, match="give a number from 0 to 2"):
        steer(model, dose=dose)


def test_refuses_what_does_not_fit():
    model, other = build("llama"), build("gpt2")
    prompts = encoded(model)
    with pytest.raises(UserError, match="another model"):
        generate(model, prompts, steer(other), SHORT)
    with pytest.raises(UserError, match="the context holds"):
        generate(model, prompts, None, Decoding(max_new_tokens=60))
    with pytest.raises(UserError, match="2 steerings for 5 prompts"):
        generate(model, prompts, [None, None], SHORT)
    with pytest.raises(UserError, match="unknown layer"):
        steer(model, layers=(7,))
    with pytest.raises(UserError, match="way of steering"):
        steer(model, how="push")
    for wrong in ({"max_new_tokens": 0}, {"temperature": -1}, {"top_p": 0}):
        with pytest.raises(UserError, match="give"):
            Decoding(**wrong)
    with pytest.raises(UserError, match="lower layer"):
        Edit("resid_post.0", "all", Zero(), gate=Gate("resid_post.1", vector(1), 0)).check(
            model.sites
        )
    with pytest.raises(UserError, match="cannot be swept"):
        Edit("resid_post.1", "all", Zero(), gate=Gate("resid_post.0", vector(1), 0)).check(
            model.sites, gated=False
        )
    with pytest.raises(UserError, match="none of them zero"):
        Level(torch.zeros(4))
    for wrong in ({"start": -1}, {"decay": 0.0}, {"decay": 1.5}):
        with pytest.raises(UserError, match="give"):
            Response(**wrong)


@pytest.mark.slow
def test_on_the_default_model_rows_keep_to_themselves():
    model = load_model("smollm2-135m")
    scale = residual_scale(model)
    assert 50 < scale.norm(15) < 500, "the first token's state is a hundred times as long"
    texts = ["My week at work was", "When the letter came, she", "The soup"]
    prompts = model.encode(texts)
    rows = [
        Steering({10: vector(1, 576)}, scale, 0.3),
        None,
        Steering({10: vector(2, 576), 20: vector(3, 576)}, scale, 0.2, how="clamp"),
    ]
    brief = Decoding(max_new_tokens=8)
    together = generate(model, prompts, rows, brief)
    plain = generate(model, prompts, None, brief)
    assert together[1] == plain[1]
    for prompt, row, reply in zip(prompts, rows, together, strict=True):
        assert generate(model, [prompt], row, brief)[0] == reply
