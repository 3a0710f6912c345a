"""Directions as artefacts: whose they are, arithmetic, files, words, what they do in a model."""

import json
from dataclasses import fields, replace

import gguf
import numpy as np
import plain
import pytest
import torch
from families import FAMILIES, LAYERS, TEXTS, VOCABULARY, WIDTH, build, hooks_on
from gguf.constants import MODEL_ARCH_NAMES
from safetensors import safe_open
from safetensors.numpy import save_file
from test_directions import refused
from test_sites import read_all

from probekit.activations import capture
from probekit.directions import (
    Directions,
    Identity,
    extract,
    score_tokens,
    top_tokens,
    write_gguf,
    write_tensors,
)
from probekit.directions.export import ARCHITECTURES
from probekit.edits import Add, Edit, Set
from probekit.head import Head
from probekit.prompts import TEMPLATES
from probekit.sites import Site
from probekit.stimuli import Stimulus, StimulusSet

pytestmark = pytest.mark.usefixtures("one_thread")
WORDS = {"fear": ["the house was dark", "nobody came"], "joy": ["she smiled", "his name was on it"]}
STIMULI = StimulusSet(
    "tiny",
    tuple(
        Stimulus(
            f"{scenario}-{emotion}",
            f"{text} {scenario}",
            emotion=emotion,
            scenario=scenario,
            arm="neutral" if emotion == "neutral" else "keyword_free",
        )
        for scenario in ("roof", "rain", "letter", "tear")
        for emotion, texts in {**WORDS, "neutral": ["the roof held", "rain fell"]}.items()
        for text in texts[:1]
    ),
)


def made(model=None, *, seed: int = 0, kind: str = "resid_post", **changes) -> Directions:
    """Random directions of two emotions at layers 1 and 2 (by number, not by place)."""
    model = model or build("llama")
    draw = np.random.default_rng(seed)
    vectors = draw.standard_normal((2, 2, WIDTH))
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    whole = Directions(
        vectors=vectors.astype(np.float32),
        norms=1 + draw.random((2, 2)),
        emotions=("fear", "joy"),
        layers=(1, 2),
        kind=kind,
        pooling="last",
        source="reading",
        arm="keyword_free",
        estimator="grouped",
        options={"by_valence": False},
        norm="distance",
        model=Identity.of(model),
        template={"name": "none", "pattern": "{text}"},
        stimuli={"name": "tiny", "sha256": "0", "rows": 8},
    )
    return replace(whole, **changes)


def same(left: Directions, right: Directions) -> bool:
    for field in fields(Directions):
        mine, theirs = getattr(left, field.name), getattr(right, field.name)
        if isinstance(mine, np.ndarray):
            if mine.dtype != theirs.dtype or not np.array_equal(mine, theirs):
                return False
        elif mine != theirs or type(mine) is not type(theirs):
            return False
    return True


# From a model


@pytest.mark.parametrize("where", ["memory", "disk"])
def test_extraction_takes_the_rows_of_the_set_and_says_what_it_did(tmp_path, where):
    model = build("gemma3")
    extra = StimulusSet("more", (Stimulus("x", "quite another text"), *STIMULI.rows[::-1]))
    store = None if where == "memory" else tmp_path / "store"
    acts = capture(
        model,
        extra,
        ["resid_post.2", "resid_post.1"],
        ["last"],
        template=TEMPLATES["feeling"],
        store=store,
    )
    found = extract(
        model,
        STIMULI,
        acts,
        pooling="last",
        template=TEMPLATES["feeling"],
        estimator="control",
        neutral_components=0.5,
    )
    assert found.emotions == ("fear", "joy")
    assert found.layers == (2, 1)
    assert found.vectors.shape == (2, 2, WIDTH)
    assert (found.arm, found.source, found.norm) == ("keyword_free", "reading", "distance")
    assert found.options == {"by_valence": False, "neutral_components": 0.5, "whiten": False}
    assert found.template == TEMPLATES["feeling"].describe()
    assert found.stimuli == STIMULI.describe()
    assert found.model.model_type == "gemma3_text"
    assert found.model.fingerprint == model.fingerprint

    plainly = extract(
        model, STIMULI, acts, pooling="last", template=TEMPLATES["feeling"], estimator="control"
    )
    rows = {id_: place for place, id_ in enumerate(STIMULI.ids)}
    prompts = model.encode(STIMULI.texts, TEMPLATES["feeling"])
    states = [read_all(model, model.collate([p]).inputs())[Site("resid_post", 1)] for p in prompts]
    last = torch.stack([s[0, -1] for s in states]).double().numpy()
    scenarios = ("roof", "rain", "letter", "tear")
    by_hand = np.mean(
        [last[rows[f"{s}-joy"]] - last[rows[f"{s}-neutral"]] for s in scenarios], axis=0
    )
    row, place = plainly.place("joy", 1)
    assert plainly.norms[row, place] == pytest.approx(np.linalg.norm(by_hand), rel=1e-4)
    assert np.allclose(plainly.raw[row, place], by_hand, atol=1e-5)
    assert np.array_equal(plainly.of("joy", 1), plainly.vectors[row, place])


def test_extraction_refuses_what_does_not_belong(tmp_path):
    model, other = build("llama"), build("gpt2")
    acts = capture(model, STIMULI, ["resid_post"], ["last"], store=tmp_path / "a")
    go = {"pooling": "last", "estimator": "control"}
    refused(lambda: extract(other, STIMULI, acts, **go), "activations of another model than gpt2")
    refused(
        lambda: extract(model, STIMULI, acts, template=TEMPLATES["feeling"], **go),
        "was captured with the template 'none', not 'feeling'",
    )
    more = StimulusSet("more", (*STIMULI.rows, Stimulus("new", "x", emotion="joy", scenario="s")))
    refused(lambda: extract(model, more, acts, **go), "no activations of the row 'new' of more (1")
    refused(lambda: extract(model, STIMULI, acts), "'resid_post/mean'")
    units = capture(model, STIMULI, ["mlp_post"], ["last"])
    refused(lambda: extract(model, STIMULI, units, kind="resid_post", **go), "'resid_post/last'")
    wide = extract(model, STIMULI, units, kind="mlp_post", **go)
    assert wide.vectors.shape[2] == 48


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_added_at_a_site_moves_its_projection_by_the_dose(family):
    """Read at a site, added at that site, after post-norms and multipliers too."""
    model = build(family)
    text, token, dose = TEXTS[2], 5, 3.0
    inputs = model.collate(model.encode([text])).inputs()
    before = read_all(model, inputs)
    for kind in model.sites.kinds:
        acts = capture(model, STIMULI, [kind], ["mean"])
        found = extract(model, STIMULI, acts, kind=kind, estimator="control")
        assert found.layers == tuple(range(LAYERS))
        site, unit = Site(kind, 1), found.of("joy", 1)
        with model.edited([Edit(site, token, Add(dose * unit))]):
            after = read_all(model, inputs)[site]
        moved = (after - before[site])[0].double().numpy() @ unit.astype(np.float64)
        assert moved[token] == pytest.approx(dose, rel=1e-4)
        assert np.abs(np.delete(moved, token)).max() == 0
        whole = np.stack([before[Site(kind, n)][0].numpy() for n in found.layers], 1)
        scores = found.project(whole)
        assert scores[token, 1, 1] == pytest.approx(float(whole[token, 1] @ unit), rel=1e-4)


def test_directions_belong_to_one_model():
    model = build("llama")
    directions = made(model)
    assert directions.for_model(model) is directions
    refused(lambda: directions.for_model(build("qwen2")), "directions of llama", "those of qwen2")
    refused(
        lambda: directions.for_model(build("llama", torch.bfloat16)), "float32", "bfloat16", "dtype"
    )
    with torch.no_grad():
        next(model.hf.parameters())[3, 3] += 0.5
    model.__dict__.pop("fingerprint", None)
    refused(lambda: directions.for_model(model), "extract them on this model")


# Labels and arithmetic


def test_layers_and_emotions_are_named_not_counted():
    directions = made()
    assert np.array_equal(directions.of("joy", 2), directions.vectors[1, 1])
    refused(lambda: directions.of("joy", 0), "unknown layer 0: accepted are 1, 2")
    refused(lambda: directions.of("rage", 1), "unknown emotion 'rage': accepted are fear, joy")


def test_arithmetic_is_that_of_raw_vectors():
    a, b = made(seed=1), made(seed=2)
    for found, raw in (
        (a + b, a.raw + b.raw),
        (a - b, a.raw - b.raw),
        (2.5 * a, 2.5 * a.raw),
        (a * -2, -2 * a.raw),
        (-a, -a.raw),
        (0.5 * a + b - 2 * a, b.raw - 1.5 * a.raw),
    ):
        assert np.allclose(found.raw, raw, atol=1e-6)
        assert np.allclose(np.linalg.norm(found.vectors, axis=-1), 1, atol=1e-6)
        assert (found.norms > 0).all()
        assert found.vectors.dtype == np.float32
    assert (a + b).estimator == "sum"
    assert [part["estimator"] for part in (a - b).options["of"]] == ["grouped", "grouped"]
    other = replace(b, pooling="mean", source="stories", template={"name": "chat", "pattern": None})
    mixed = a + other
    assert (mixed.pooling, mixed.source) == ("last | mean", "reading | stories")
    assert mixed.template == {"name": "none | chat", "pattern": None}


def test_a_blend_is_the_sum_of_shares():
    a = made()
    found = a.blend({"joy": 0.7, "fear": -0.3})
    assert found.emotions == ("0.7 joy + -0.3 fear",)
    assert np.allclose(found.raw[0], 0.7 * a.raw[1] - 0.3 * a.raw[0], atol=1e-6)
    assert found.options["shares"] == {"joy": 0.7, "fear": -0.3}
    refused(lambda: a.blend({}), "a blend of nothing: give shares of fear, joy")
    refused(lambda: a.blend({"rage": 1}), "unknown emotion 'rage'")
    refused(lambda: a.blend({"joy": 0.0}), "layer 1 has length zero")


def test_cosines_are_between_all_emotions_at_each_layer():
    a, b = made(seed=1), made(seed=2)
    found = a.cosine(b)
    assert found.shape == (2, 2, 2)
    assert found[0, 1, 1] == pytest.approx(float(a.of("fear", 2) @ b.of("joy", 2)), abs=1e-6)
    assert np.allclose([a.cosine(a)[n, n] for n in range(2)], 1, atol=1e-6)
    assert a.cosine(b.blend({"joy": 1.0})).shape == (2, 1, 2)


COMBINED = [
    (lambda _: made(build("qwen2")), "different models (llama"),
    (lambda a: replace(a, kind="resid_mid"), "different sites (resid_post; resid_mid)"),
    (lambda a: replace(a, layers=(0, 2)), "different layers (1, 2; 0, 2)"),
    (lambda a: replace(a, emotions=("fear", "rage")), "different emotions (fear, joy; fear, rage)"),
    (lambda a: replace(a, norm="weights"), "norms of different kinds, distance and weights"),
]


@pytest.mark.parametrize(("other", "says"), COMBINED)
def test_directions_that_do_not_belong_together_are_not_combined(other, says):
    a = made()
    b = other(a)
    refused(lambda: a + b, says)
    refused(lambda: b - a, says.split(" (")[0].split(",")[0])
    if "emotions" not in says and "kinds" not in says:
        refused(lambda: a.cosine(b), says)


def test_results_without_length_are_refused():
    a = made()
    refused(lambda: a - a, "the result for fear at layer 1 has length zero")
    refused(lambda: a + (a * -1.0), "the vectors cancel")
    refused(lambda: a * 0, "times 0: give a number that is not zero")
    refused(lambda: a * float("nan"), "times nan")
    refused(lambda: replace(a, vectors=a.vectors * 2), "vectors of length one")
    refused(lambda: replace(a, layers=(1,)), "2 emotions and 1 layers")
    refused(lambda: replace(a, kind="logits"), "unknown site 'logits'")


def test_a_peer_has_the_norms_and_nothing_else():
    a = made()
    peer, again = a.peer(3), a.peer(3)
    assert same(peer, again)
    assert np.array_equal(peer.norms, a.norms)
    assert peer.estimator == "random"
    assert np.abs(np.diagonal(a.cosine(peer)[..., 0])).max() < 0.7
    alone = replace(a, vectors=a.vectors[:, 1:], norms=a.norms[:, 1:], layers=(2,)).peer(3)
    assert np.array_equal(alone.vectors[:, 0], peer.vectors[:, 1])
    assert not np.allclose(a.peer(4).vectors, peer.vectors)
    assert not np.allclose(peer.vectors[:, 0], peer.vectors[:, 1])


def test_captured_states_are_projected_by_the_numbers_of_their_layers(tmp_path):
    model = build("llama")
    directions = made(model)
    kept = capture(model, TEXTS, ["resid_post"], ["last", "mean"], store=tmp_path / "s")
    acts = capture(model, TEXTS, ["resid_post"], ["last", "mean"])
    for pooling in (None, "mean"):
        found = directions.project(acts, pooling=pooling)
        assert found.shape == (len(TEXTS), 2, 2)
        states = acts.layer("resid_post", 2, pooling or "last").astype(np.float64)
        assert np.allclose(found[:, 1, 1], states @ directions.of("joy", 2), atol=1e-6)
        assert np.allclose(directions.project(kept, pooling=pooling), found)
    refused(lambda: directions.project(acts.stack("resid_post", "last")), "2 layers, 32]")
    strange = capture(build("qwen2"), TEXTS, ["resid_post"], ["last"], store=tmp_path / "q")
    refused(lambda: directions.project(strange), "activations of another model than llama")
    few = capture(model, TEXTS, ["resid_post.1"], ["last"])
    refused(lambda: directions.project(few), "uncaptured layer of resid_post 2")


# Files


def test_a_file_gives_the_very_same_back(tmp_path):
    model = build("olmo2")
    whole = made(model, options={"C": 0.1, "seed": None, "nested": {"é": [1, 2.5]}})
    for number, directions in enumerate((whole, whole + whole, whole.blend({"joy": 1 / 3}))):
        path = tmp_path / f"{number}.safetensors"
        directions.save(path)
        assert same(Directions.load(path), directions)
        assert same(Directions.load(path, model), directions)
        again = tmp_path / "again"
        Directions.load(path).save(again)
        assert path.read_bytes() == again.read_bytes()
    assert not list(tmp_path.glob(".*")), "nothing half-written is left"
    refused(lambda: Directions.load(tmp_path / "0.safetensors", build("llama")), "are not those of")


def test_files_that_hold_no_directions_are_refused(tmp_path):
    path = tmp_path / "d.safetensors"
    refused(lambda: Directions.load(path), "is no file")
    path.write_bytes(b"not this")
    refused(lambda: Directions.load(path), "holds no directions")
    save_file({"x": np.zeros(2)}, path)
    refused(lambda: Directions.load(path), "holds no directions")
    save_file({"vectors": np.zeros(2)}, path, metadata={"directions": json.dumps({"format": "x"})})
    refused(lambda: Directions.load(path), "holds no directions")
    both = {"vectors": np.zeros(2), "norms": np.zeros(2)}
    save_file(both, path, metadata={"directions": json.dumps({"format": "x-2"})})
    refused(lambda: Directions.load(path), "has the format 'x-2', this version reads")


# Words


def along(model, layer: int, vector: torch.Tensor) -> Directions:
    """Directions whose joy at a layer is this vector."""
    whole = made(model)
    vectors = whole.vectors.copy()
    vectors[whole.place("joy", layer)] = (vector / vector.norm()).float().numpy()
    return replace(whole, vectors=vectors)


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_of_tokens_are_logits_of_a_state_along_the_direction(family):
    """Set in the last block's place, and the logits of the zero state taken off."""
    model = build(family)
    model.hf.config.final_logit_softcapping = None
    if family == "granite":
        model.hf.config.logits_scaling = 4.0
    head = Head(model)
    prompt, site = model.encode(TEXTS[:1])[0], Site("resid_post", LAYERS - 1)
    vector = torch.randn(WIDTH, generator=torch.Generator().manual_seed(4))
    logits = []
    for value in (1e3 * vector, torch.zeros(WIDTH)):
        with model.edited([Edit(site, -1, Set(value))]):
            logits.append(plain.logits(model, prompt.input_ids)[-1])
    expected = logits[0] - logits[1]
    found = head.lens(vector)
    assert found.shape == (VOCABULARY,)
    assert torch.allclose(found, expected, atol=1e-3 * float(expected.abs().max()))
    assert torch.allclose(head.lens(7 * vector), found, atol=1e-4), "length plays no part"
    words = top_tokens(model, along(model, 2, vector), "joy", 2, 5)
    order = expected[: len(model.tokenizer)].argsort(descending=True)[:5]
    assert [word.token for word in words] == order.tolist()
    assert words[0].score == pytest.approx(float(expected[order[0]]), rel=1e-2)
    assert words[0].text == model.tokenizer.decode([int(order[0])])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tokens_own_row_of_the_unembedding_gives_that_token_first(family):
    model = build(family)
    rows = model.hf.get_output_embeddings().weight
    loud = rows[: len(model.tokenizer)].norm(dim=1).topk(4).indices.tolist()
    for token in loud:
        words = top_tokens(model, along(model, 2, rows[token]), "joy", 2, 3)
        assert words[0].token == token
        low = top_tokens(model, -along(model, 2, rows[token]), "joy", 2, 300)
        assert low[-1].token == token
        assert low[-1].score == pytest.approx(-words[0].score, rel=1e-4)


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])
def test_every_token_of_a_text_is_scored_at_every_layer(family):
    model = build(family)
    directions = made(model)
    found = score_tokens(model, directions, TEXTS[2], TEMPLATES["feeling"])
    prompt = model.encode([TEXTS[2]], TEMPLATES["feeling"])[0]
    states = read_all(model, model.collate([prompt]).inputs())
    assert found.values.shape == (len(prompt), 2, 2)
    assert (found.emotions, found.layers) == (("fear", "joy"), (1, 2))
    for layer in (1, 2):
        own = states[Site("resid_post", layer)][0].numpy() @ directions.of("joy", layer)
        assert np.allclose(found.values[:, 1, layer - 1], own, atol=1e-4)
    assert "".join(found.tokens[1:]).endswith("The feeling here is")
    assert found.special[0]
    assert not any(found.special[1:])
    assert hooks_on(model) == 0


def test_words_refuse_what_is_not_theirs():
    model = build("llama")
    refused(lambda: top_tokens(build("gpt2"), made(model), "joy", 1), "are not those of gpt2")
    refused(lambda: score_tokens(build("gpt2"), made(model), "x"), "are not those of gpt2")
    refused(lambda: top_tokens(model, made(model), "joy", 0), "unknown layer 0")
    refused(lambda: top_tokens(model, made(model), "joy", 1, 0), "0 tokens: give one or more")
    refused(lambda: top_tokens(model, made(model, kind="z"), "joy", 1), "site z is not of the str")


# Export


def read_back(path) -> tuple[dict[int, np.ndarray], dict[str, object]]:
    reader = gguf.GGUFReader(path)
    told = {name: field.contents() for name, field in reader.fields.items()}
    assert all(t.tensor_type == gguf.GGMLQuantizationType.F32 for t in reader.tensors)
    tensors = {t.name: np.array(t.data) for t in reader.tensors}
    assert all(name.startswith("direction.") for name in tensors)
    return {int(name.split(".")[1]): value for name, value in tensors.items()}, told


@pytest.mark.parametrize(
    ("family", "hint"),
    [("llama", "llama"), ("gemma3", "gemma3"), ("neox-parallel", "gptneox"), ("mistral", "llama")],
)
def test_a_control_vector_is_what_llama_cpp_reads(tmp_path, family, hint):
    directions, path = made(build(family)), tmp_path / "joy.gguf"
    assert write_gguf(directions, "joy", path) == (1, 2)
    tensors, told = read_back(path)
    assert told["general.architecture"] == "controlvector"
    assert told["controlvector.model_hint"] == hint
    assert told["controlvector.layer_count"] == 2
    assert json.loads(told["probekit.directions"])["exported"] == "joy"
    assert sorted(tensors) == [1, 2]
    for layer, tensor in tensors.items():
        assert tensor.shape == (WIDTH,)
        row, place = directions.place("joy", layer)
        assert np.array_equal(tensor, directions.raw[row, place].astype(np.float32))
    assert not list(tmp_path.glob(".*"))


def test_a_tensor_is_added_to_the_block_of_its_number(tmp_path):
    """As llama.cpp adds it: `direction.N` to the output of block N, which is `resid_post.N`."""
    model = build("llama")
    directions, path = made(model), tmp_path / "joy.gguf"
    write_gguf(directions, "joy", path, layers=[2], scale=4.0)
    tensors, _ = read_back(path)
    prompt = model.encode(TEXTS[2:3])[0]
    block = plain.block(model, 2)
    handle = block.register_forward_hook(lambda _, __, out: out + torch.tensor(tensors[2]))
    added = plain.logits(model, prompt.input_ids)
    handle.remove()
    with model.edited([Edit("resid_post.2", "all", Add(4.0 * directions.of("joy", 2)))]):
        edited = plain.logits(model, prompt.input_ids)
    assert torch.allclose(added, edited, atol=1e-5)
    assert not torch.allclose(edited, plain.logits(model, prompt.input_ids), atol=1e-2)


def test_block_zero_cannot_be_written_and_is_left_out(tmp_path):
    whole, path = made(layers=(0, 2)), tmp_path / "x.gguf"
    assert write_gguf(whole, "joy", path) == (2,)
    assert list(read_back(path)[0]) == [2]
    refused(lambda: write_gguf(whole, "joy", path, layers=[0, 2]), "cannot write to block 0")
    first = replace(whole, vectors=whole.vectors[:, :1], norms=whole.norms[:, :1], layers=(0,))
    refused(lambda: write_gguf(first, "joy", path), "give layers from 1 on")


def test_exports_refuse_what_the_format_cannot_carry(tmp_path):
    directions, path = made(), tmp_path / "x.gguf"
    refused(lambda: write_gguf(made(kind="mlp_out"), "joy", path), "directions at mlp_out")
    strange = replace(directions, model=replace(directions.model, model_type="mamba"))
    refused(lambda: write_gguf(strange, "joy", path), "architecture 'mamba' has no control vectors")
    refused(lambda: write_gguf(directions, "joy", path, layers=[5]), "unknown layer 5")
    refused(lambda: write_gguf(directions, "rage", path), "unknown emotion 'rage'")
    for write in (write_gguf, write_tensors):
        weights = replace(directions, norm="weights", estimator="lda")
        refused(lambda w=write, d=weights: w(d, "joy", path), "norms of lda directions", "`scale`")
        refused(lambda w=write: w(directions, "joy", path, scale=0.0), "scale 0.0: give a length")
        assert write(weights, "joy", path, scale=2.0) == (1, 2)


def test_the_architectures_are_names_that_gguf_knows():
    assert set(ARCHITECTURES.values()) <= set(MODEL_ARCH_NAMES.values())
    for family in FAMILIES:
        assert build(family).config.model_type in ARCHITECTURES, family


def test_plain_tensors_have_one_vector_a_layer(tmp_path):
    directions, path = made(kind="resid_mid"), tmp_path / "x.safetensors"
    assert write_tensors(directions, "fear", path, layers=[2, 1]) == (1, 2)
    with safe_open(path, framework="numpy") as file:
        assert sorted(file.keys()) == ["layers.1", "layers.2"]
        told = json.loads(file.metadata()["directions"])
        for layer in (1, 2):
            row, place = directions.place("fear", layer)
            expected = directions.raw[row, place].astype(np.float32)
            assert np.array_equal(file.get_tensor(f"layers.{layer}"), expected)
    assert (told["kind"], told["exported"], told["scale"]) == ("resid_mid", "fear", None)
    write_tensors(directions, "fear", path, scale=-3.0)
    with safe_open(path, framework="numpy") as file:
        assert np.allclose(file.get_tensor("layers.2"), -3 * directions.of("fear", 2))
