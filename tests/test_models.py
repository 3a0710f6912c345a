"""Loading: what comes in is checked, what is refused is refused in one line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from families import FAMILIES, LAYERS, REFUSED, TEXTS, build, network, tokenizer

from probekit.activations import capture
from probekit.errors import UserError
from probekit.models import from_parts, load_model

SENTENCE = "She opened the letter, read it twice, and could not stop smiling all evening."


@pytest.fixture
def folder(tmp_path) -> Path:
    """A tiny Llama as Hugging Face saves it."""
    network("llama").save_pretrained(tmp_path / "tiny")
    tokenizer().save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


def refusal(*arguments, **options) -> str:
    with pytest.raises(UserError) as error:
        load_model(*arguments, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


# What is loaded


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_saved_model_is_loaded_as_it_was(tmp_path, family):
    network(family).save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    loaded, built = load_model(tmp_path, device="cpu"), build(family)
    assert (loaded.n_layers, loaded.d_model, loaded.n_ctx) == (LAYERS, 32, 64)
    assert loaded.dtype == torch.float32
    assert not loaded.hf.training
    assert not any(p.requires_grad for p in loaded.hf.parameters())
    ours, theirs = (m.hf.state_dict() for m in (loaded, built))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert loaded.encode(TEXTS) == built.encode(TEXTS)


def test_loaded_twice_has_one_fingerprint(folder):
    first, second = load_model(folder, device="cpu"), load_model(folder, device="cpu")
    first.encode(TEXTS)
    assert first.fingerprint == second.fingerprint
    assert load_model(folder, device="cpu", dtype="bfloat16").fingerprint != first.fingerprint


def test_any_changed_weight_or_tokenizer_changes_the_fingerprint():
    built = build("llama")
    prints = {built.fingerprint, build("gpt2").fingerprint, build("llama", bos=False).fingerprint}
    # The embedding is larger than the sample that is read of it, and its word 17 is not in there.
    for name in ("model.embed_tokens.weight", "model.layers.1.mlp.up_proj.weight"):
        changed = build("llama")
        changed.hf.state_dict()[name].view(-1)[17] += 1e-6
        prints.add(changed.fingerprint)
    assert len(prints) == 5
    assert build("llama").fingerprint == built.fingerprint


def test_description_is_json_without_a_path_of_this_machine(folder):
    said = load_model(folder, device="cpu").describe()
    assert said["name"] == "tiny"
    assert str(folder.parent) not in json.dumps(said)
    assert (
        said
        | {
            "architecture": "LlamaForCausalLM",
            "n_layers": 3,
            "n_heads": 4,
            "n_kv_heads": 2,
            "n_ctx": 64,
            "dtype": "float32",
            "device": "cpu",
            "sites_refused": {},
        }
        == said
    )


def test_refused_sites_are_described():
    assert set(build("neox-parallel").describe()["sites_refused"]) == {"resid_mid"}


@pytest.mark.parametrize("side", ["left", "right"])
def test_batch_holds_masks_and_positions_of_real_tokens(side):
    model = build("llama")
    prompts = model.encode(TEXTS)
    batch = model.collate(prompts, side=side)
    for row, prompt in enumerate(prompts):
        real = batch.attention_mask[row].bool()
        assert tuple(batch.input_ids[row, real].tolist()) == prompt.input_ids
        assert batch.position_ids[row, real].tolist() == list(range(len(prompt)))
        assert bool(real[-1] if side == "left" else real[0])
    part = batch[1:3]
    assert torch.equal(part.input_ids, batch.input_ids[1:3])


@pytest.mark.parametrize("family", FAMILIES)
def test_body_does_not_run_the_head(family):
    model = build(family)
    model.hf.get_output_embeddings().register_forward_pre_hook(lambda *_: pytest.fail("head"))
    out = model.body(model.collate(model.encode(TEXTS)))
    assert out.shape[-1] == model.d_model


# What is refused


def test_unknown_name_says_what_is_known():
    said = refusal("smollm3")
    assert said.startswith("unknown model 'smollm3': accepted are ")
    assert "smollm2-135m" in said
    assert "Hub id" in said


def test_folder_without_config(tmp_path):
    assert "is no model folder: it holds no config.json" in refusal(tmp_path)


def test_broken_config(folder):
    (folder / "config.json").write_text("{")
    assert "config.json is not readable JSON" in refusal(folder)


def test_config_of_an_unknown_architecture(folder):
    (folder / "config.json").write_text('{"model_type": "babbage", "architectures": ["Engine"]}')
    assert "cannot be loaded: " in (said := refusal(folder))
    assert "babbage" in said


def test_code_that_comes_with_a_model_is_refused_unrun(folder, tmp_path):
    (folder / "engine.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')\n")
    config = {"model_type": "babbage", "auto_map": {"AutoConfig": "engine.EngineConfig"}}
    (folder / "config.json").write_text(json.dumps(config))
    assert "cannot be loaded: " in refusal(folder)
    assert not (tmp_path / "sprung").exists()


def test_folder_without_tokenizer(folder):
    for path in folder.glob("*token*"):
        path.unlink()
    assert "has no tokenizer that can be loaded" in refusal(folder)


def test_encoder_only_model(tmp_path):
    config = transformers.BertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        vocab_size=300,
    )  # fmt: skip
    transformers.BertForMaskedLM(config).save_pretrained(tmp_path)
    assert "is not a decoder-only language model (model type 'bert')" in refusal(tmp_path)


def test_encoder_decoder_model(tmp_path):
    config = transformers.T5Config(
        d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, vocab_size=300
    )
    transformers.T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    assert "is not a decoder-only language model (model type 't5')" in refusal(tmp_path)


SAYS = {
    "mamba": "adapter finds no attn in block 0 of MambaForCausalLM .* use a decoder family such as",
    "lfm2": "adapter finds no attn in block 1 of Lfm2ForCausalLM .* use a decoder family such as",
    "llama4": "tiny: Llama4ForCausalLM has no decoder body apart from its head; use a decoder",
    "opt": r"tiny: resid_mid\.0 holds \(14, 32\), not \[row, token, d\] = \(2, 7, 32\); use a",
    "openai-gpt": r"tiny: resid_post\.0 holds no tensor, not \[row, token, d\]",
    "gemma-heads": "num_attention_heads 4, which is no multiple of num_key_value_heads 16, so",
    "stablelm-heads": "num_attention_heads 4, which is no multiple of num_key_value_heads 32, so",
}


@pytest.mark.parametrize("family", REFUSED)
def test_a_family_whose_sites_cannot_be_told_is_refused(family):
    with pytest.raises(UserError, match=SAYS[family]) as error:
        from_parts(network(family), tokenizer(), "tiny")
    assert "\n" not in str(error.value)


def test_encoders_in_memory():
    sizes = {"vocab_size": 300, "num_hidden_layers": 1, "num_attention_heads": 2}
    bert = transformers.BertConfig(**sizes, hidden_size=16, intermediate_size=16)
    with pytest.raises(UserError, match="tiny is not causal"):
        from_parts(transformers.BertForMaskedLM(bert).eval(), tokenizer(), "tiny")
    t5 = transformers.T5Config(**sizes, d_model=16, d_kv=8, d_ff=16)
    with pytest.raises(UserError, match="T5ForConditionalGeneration is no single stack of decoder"):
        from_parts(transformers.T5ForConditionalGeneration(t5).eval(), tokenizer(), "tiny")


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_pickled_checkpoint_is_refused_unopened(folder, tmp_path):
    (folder / "model.safetensors").unlink()
    weights = {**network("llama").state_dict(), "trap": Trap(tmp_path / "sprung")}
    torch.save(weights, folder / "pytorch_model.bin")
    said = refusal(folder)
    assert "holds no safetensors weights" in said
    assert "save_pretrained(folder)" in said
    assert not (tmp_path / "sprung").exists()
    torch.load(folder / "pytorch_model.bin", weights_only=False)
    assert (tmp_path / "sprung").exists(), "the trap works"


def test_unknown_dtype_and_device(folder):
    assert "unknown dtype 'float8': accepted are auto, float32" in refusal(folder, dtype="float8")
    for device in ("tpu", "cuda:97"):
        said = refusal(folder, device=device)
        assert f"unknown or absent device '{device}': accepted are auto, cpu" in said


def test_slow_tokenizer_is_refused():
    slow = transformers.ByT5Tokenizer()
    with pytest.raises(UserError, match="gives no character offsets; save a fast tokenizer"):
        from_parts(network("llama"), slow, "tiny")


def test_hub_id_without_network_ends_quickly_in_one_line(tmp_path):
    code = (
        "from probekit.models import load_model\nfrom probekit.errors import UserError\n"
        "try: load_model('nobody/nothing', say=print)\nexcept UserError as error: print(error)\n"
    )
    paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    told, said = run.stdout.splitlines()
    assert told == ("fetching nobody/nothing from the Hugging Face Hub: it is not in the cache")
    assert said.startswith("model 'nobody/nothing' is not in the cache and the Hub could not be")
    assert "give a local folder, or use one of smollm2-135m" in said


# What validation finds


def test_a_model_that_is_not_causal_is_refused():
    leaky = network("llama")
    block = leaky.model.layers[1]
    block.register_forward_hook(lambda _, __, out: out + out.mean(1, keepdim=True))
    with pytest.raises(UserError, match="tiny is not causal: its last token changes earlier ones"):
        from_parts(leaky, tokenizer(), "tiny")


def add_to_output(block) -> None:
    """What is added to the stream is no longer what attention and MLP give."""
    block.register_forward_hook(lambda _, __, out: out * 1.01)


def shift_mlp_norm(block) -> None:
    """What is read before the MLP is no longer the stream."""
    norm = block.post_attention_layernorm
    block.post_attention_layernorm = torch.nn.Sequential(norm)
    block.post_attention_layernorm.register_forward_pre_hook(lambda _, args: (args[0] + 0.1,))


@pytest.mark.parametrize(
    ("break_", "identity"),
    [
        (add_to_output, r"resid_pre \+ attn_out \+ mlp_out = resid_post"),
        (shift_mlp_norm, r"resid_pre \+ attn_out = resid_mid"),
    ],
)
def test_a_site_that_fails_its_identity_is_refused_by_layer(break_, identity):
    odd = network("llama")
    break_(odd.model.layers[1])
    with pytest.raises(UserError, match=f"tiny: layer 1 fails {identity} .*not supported"):
        from_parts(odd, tokenizer(), "tiny")


# The real default model


@pytest.fixture(scope="module")
def real():
    return load_model("smollm2-135m", device="cpu")


@pytest.mark.slow
def test_real_sites_keep_their_identities(real):
    from test_sites import assert_identities

    assert_identities(real, 1e-5)


@pytest.mark.slow
def test_real_sites_agree_with_the_bridge(real):
    from test_sites import BRIDGE_NAMES, read_all

    ids = real.collate(real.encode([SENTENCE])).input_ids
    ours = read_all(real, {"input_ids": ids})
    wanted = {f"blocks.{s.layer}.{BRIDGE_NAMES[s.kind]}" for s in ours}
    _, theirs = real.bridge().run_with_cache(ids, names_filter=list(wanted))
    for site, value in ours.items():
        reference = theirs[f"blocks.{site.layer}.{BRIDGE_NAMES[site.kind]}"]
        reference = reference.reshape(value.shape)
        assert float((value - reference).abs().max()) < 1e-4 * float(reference.abs().max()), site


@pytest.mark.slow
def test_real_capture_equals_hidden_states_below_the_last_layer(real):
    batch = real.collate(real.encode([SENTENCE]))
    states = real.hf.base_model(**batch.inputs(), output_hidden_states=True).hidden_states
    got = capture(real, [SENTENCE], ["resid_post"], ["last", "mean", 3])
    start = 1  # The first token is left out of a mean.
    for layer in range(real.n_layers - 1):
        state = states[layer + 1][0]
        for pooling, expected in [
            ("last", state[-1]), ("mean", state[start:].mean(0)), ("3", state[3])
        ]:  # fmt: skip
            value = torch.tensor(got.layer("resid_post", layer, pooling)[0])
            torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-3)
    top = torch.tensor(got.layer("resid_post", real.n_layers - 1, "last")[0])
    assert not torch.allclose(top, states[-1][0, -1], rtol=0.1, atol=0.1), "it is after the norm"
    torch.testing.assert_close(
        real.hf.base_model.norm(top), states[-1][0, -1], rtol=1e-4, atol=1e-3
    )


def test_a_model_whose_stream_ignores_what_is_written_is_refused():
    """A block that keeps a copy of its stream would make every edit of resid_mid a no-op."""
    hf = network("llama")
    norm = hf.model.layers[0].post_attention_layernorm
    norm.register_forward_pre_hook(lambda _, args: (args[0].clone(), *args[1:]), prepend=True)
    with pytest.raises(UserError, match=r"resid_mid \+ mlp_out = resid_post"):
        from_parts(hf, tokenizer(), "copying")
