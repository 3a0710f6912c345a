# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Your own model
#
# Any decoder model of the Hugging Face Hub, or of a folder, in place of the bundled one: what it
# needs in memory and time, how it is loaded, what is refused, a probe of a slice of it, and the
# same weights in TransformerLens. By default this runs on the bundled model on a CPU.
#
# **To use yours, change `MODEL`** to a folder or a Hub id such as `"meta-llama/Llama-3.2-1B"` (for
# a gated one, log in with `hf auth login` first). On a machine with a GPU nothing else changes.

# %% tags=["parameters"]
REDUCED = False
MODEL = "smollm2-135m"
SEED = 0

# %%
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from IPython.display import HTML, display
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache, LlamaConfig

from probekit import StimulusSet, UserError, capture, cross_validate, grouped_folds, load_model
from probekit.baselines import word_baselines
from probekit.depth import headline_layer
from probekit.models import model_folder
from probekit.shown import card, grid, sized
from probekit.stats import macro_auroc
from probekit.sweep.trunk import bytes_of
from probekit.validation import TOLERANCE

# %% [markdown]
# ## Will it fit?
#
# A config of a few kilobytes is enough to know. The weights are counted on PyTorch's `meta` device,
# which makes a model's shapes without its numbers. Beside the weights:
#
# - **keys and values** of generation, per token: two vectors for every layer and key-value head;
# - **streams** of a `sweep`: one state per token for every layer that an edit enters;
# - **activations** that `capture` keeps: float32, one vector per text, layer, site and pooling. On
#   disk (`store=folder`) they do not count, as only a shard is in memory at a time.
#
# What is not in the plan: the intermediate values of one forward pass, of which `batch_tokens`
# decides, and the library's own needs; leave a fifth free.


# %%
def memory_plan(
    config: Any, dtype: torch.dtype, *, sites: int = 1, poolings: int = 2
) -> dict[str, int]:
    """Bytes that a model of a config needs: in all, per token, and per text."""
    text = config.get_text_config()
    with torch.device("meta"):
        shapes = AutoModelForCausalLM.from_config(config)
    layers, width = text.num_hidden_layers, text.hidden_size
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    head = getattr(text, "head_dim", None) or width // text.num_attention_heads
    return {
        "parameters": (count := sum(each.numel() for each in shapes.parameters())),
        "weights": count * dtype.itemsize,
        "keys and values, a token": 2 * layers * heads * head * dtype.itemsize,
        "streams of a sweep, a token": layers * width * dtype.itemsize,
        "activations, a text": layers * width * sites * poolings * 4,
    }


# For a Hub id `AutoConfig.from_pretrained(MODEL)` fetches the config alone.
config = AutoConfig.from_pretrained(model_folder(MODEL, print), trust_remote_code=False)
eight_billion = LlamaConfig(
    hidden_size=4096,
    intermediate_size=14336,
    num_hidden_layers=32,
    num_attention_heads=32,
    num_key_value_heads=8,
    vocab_size=128256,
)
plans = {
    f"{MODEL}, float32": memory_plan(config, torch.float32),
    f"{MODEL}, bfloat16": memory_plan(config, torch.bfloat16),
    "an 8B Llama, bfloat16": memory_plan(eight_billion, torch.bfloat16),
}


def said(name: str, count: int) -> str:
    """A row of the plan as a person reads it."""
    return f"{count / 1e6:,.0f} M" if name == "parameters" else sized(count)


rows = [
    (name, *(said(name, plan[name]) for plan in plans.values()))
    for name in plans[f"{MODEL}, float32"]
]
display(HTML(grid(("", *plans), rows)))

# %% [markdown]
# So an 8B model in bfloat16 wants a GPU of 24 GB, and keeps 1,000 texts' activations at every layer
# in about 1 GB. (A model with sliding windows keeps fewer keys than that; take it as a bound.)
#
# ## Loading
#
# | option | what it does |
# |---|---|
# | `device` | `"auto"` (CUDA, else MPS, else CPU), `"cpu"`, `"cuda"`, `"cuda:1"`, `"mps"` |
# | `dtype` | `"auto"` (CPU: float32, GPU: as stored), `"float32"`, `"bfloat16"`, `"float16"` |
# | `device_map` | `"auto"` spreads layers over GPUs and the CPU; `device` is then not used |
#
# ```python
# model = load_model("meta-llama/Llama-3.2-1B", device="cuda", dtype="bfloat16")
# model = load_model("Qwen/Qwen3-32B", device_map="auto")
# ```
#
# Half precision changes figures a little; a model of another dtype has another fingerprint, and its
# directions and caches are its own. The network is used only for what is not in the cache, and the
# reason is printed. On loading, every site is checked by an identity (such as *what comes in, plus
# attention, plus MLP, is what goes out*); a model that fails is refused, since its sites would be
# named wrongly.

# %%
began = time.perf_counter()
model = load_model(MODEL, say=print)
print(f"loaded and checked in {time.perf_counter() - began:.1f} s")
display(model)

# The plan against what is there: weights, a real cache's keys and values, the sweep's own estimate.
plan = memory_plan(config, model.dtype)
assert plan["weights"] == sum(each.nbytes for each in model.hf.parameters())
SENTENCE = "She read the letter twice, and then once more."
batch = model.collate(model.encode([SENTENCE]))
tokens = batch.input_ids.shape[1]
cache = DynamicCache()
with torch.no_grad():
    model.hf.base_model(**batch.inputs(), past_key_values=cache, use_cache=True)
kept = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
assert kept == tokens * plan["keys and values, a token"]
swept = plan["keys and values, a token"] + plan["streams of a sweep, a token"]
assert bytes_of(model, tokens, model.n_layers) == tokens * swept
print(f"as planned: {sized(plan['weights'])} of weights, {sized(kept)} of keys for {tokens} tokens")

# %% [markdown]
# ## What is refused
#
# Pickled checkpoints (they run code when opened), code from a model's own repository, encoders, and
# devices that are not there: each in one line that says what to do instead.


# %%
def refusal(name: str | Path, **options: Any) -> str:
    """The line with which `load_model` refuses."""
    try:
        load_model(name, **options)
    except UserError as error:
        return str(error).replace(f"{scratch.name}/", "").split(". ")[0]
    raise AssertionError(f"{name} was loaded")


scratch = TemporaryDirectory()
pickled, coded = (Path(scratch.name) / name for name in ("pickled", "with-code"))
for folder in (pickled, coded):
    folder.mkdir()
config.save_pretrained(pickled)
(pickled / "pytorch_model.bin").write_bytes(b"")
own = {"model_type": "my-own", "auto_map": {"AutoConfig": "configuration.MyConfig"}}
(coded / "config.json").write_text(json.dumps(own))
(coded / "model.safetensors").write_bytes(b"")
refused = {
    "a pickle": refusal(pickled),
    "remote code": refusal(coded),
    "an absent device": refusal(MODEL, device="cuda:99"),
    "a model of another kind": refusal("all-minilm-l6-v2"),
    "an unknown name": refusal("my-model"),
}
assert "safetensors" in refused["a pickle"]
assert all("\n" not in line for line in refused.values())
display(HTML(card("Refused", refused)))
scratch.cleanup()

# %% [markdown]
# ## A slice: three layers, one question
#
# Begin with a slice. The question is whether a text matters emotionally (against neutral texts of
# the same scenarios, no emotion word in either), at three layers, on the dev split, and always
# beside what words alone achieve. `capture` ends each pass at the deepest layer that is asked for.

# %%
stimuli = StimulusSet.load("vignettes").select(arm=["keyword_free", "neutral"], split="dev")
display(stimuli)
labels = (stimuli.column("arm") == "keyword_free").astype(int)
folds = grouped_folds(stimuli.column("scenario"), labels.astype(str), n_folds=6, seed=SEED)

top = headline_layer(model.n_layers)  # Two thirds of depth, a rule of the house.
layers = sorted({top // 3, 2 * top // 3, top})
began = time.perf_counter()
states = capture(model, stimuli, [f"resid_post.{layer}" for layer in layers], ["mean"])
seconds = time.perf_counter() - began
display(states)

found = {"probe": cross_validate(states.stack("resid_post", "mean"), labels, folds)[0]}
for words in word_baselines(stimuli.texts)[: 1 if REDUCED else None]:
    x, z = words.features, words.standardize
    found[words.name] = cross_validate(x, labels, folds, standardize=z)[0]
scores = {n: float(macro_auroc(each.nested, labels, folds)[0]) for n, each in found.items()}
table = [(name, f"{score:.2f}") for name, score in scores.items()]
display(HTML(grid(("read out by", "AUROC"), table)))

assert all(0 <= score <= 1 for score in scores.values())
assert len(scores) > 1  # Never a probe without words beside it.
assert states.nbytes == len(stimuli) * len(layers) * model.d_model * 4

# %% [markdown]
# Intervals, a permutation null and the test split come with the whole study:
# `probekit probe MODEL --stimuli vignettes`, or `run_probing`.
#
# ## How long will it take?
#
# A forward pass costs about two operations for each parameter and token. The slice above tells what
# this machine manages; from there the rest is arithmetic. It is a rule of thumb: attention over
# long texts, a half-empty GPU, and layers spread over devices all cost more.

# %%
read = sum(len(prompt) for prompt in model.encode(stimuli.texts))
depth = (layers[-1] + 1) / model.n_layers
rate = 2 * plan["parameters"] * depth * read / seconds
assert rate > 0
print(f"{read} tokens, {depth:.0%} of the layers, {seconds:.1f} s: {rate:.1e} operations a second")
for name, each in {MODEL: plan, "an 8B Llama": plans["an 8B Llama, bfloat16"]}.items():
    whole = 2 * each["parameters"] * read / rate
    print(f"{name}: {whole:,.0f} s for the same texts through every layer, on this machine")

# %% [markdown]
# ## In TransformerLens
#
# `model.bridge()` gives a `TransformerBridge` on the **same weights**, for its own tools; nothing
# is loaded twice, and the model is left as it is. Our `resid_post.3` is its
# `blocks.3.hook_resid_post`.

# %%
bridge = model.bridge()
_, cached = bridge.run_with_cache(batch.input_ids, names_filter=f"blocks.{top}.hook_resid_post")
theirs = cached[f"blocks.{top}.hook_resid_post"][0, -1].float().cpu().numpy()
ours = capture(model, [SENTENCE], [f"resid_post.{top}"], ["last"]).layer("resid_post", top, "last")
assert abs(theirs - ours[0]).max() <= TOLERANCE[model.dtype] * abs(theirs).max()
assert {p.data_ptr() for p in model.hf.parameters()} <= {p.data_ptr() for p in bridge.parameters()}
print(f"resid_post.{top} is the same in both, on {sized(plan['weights'])} of shared weights")

# %% [markdown]
# ## When it does not fit
#
# - `dtype="bfloat16"`, then `device_map="auto"`, then a smaller model of the family.
# - Out of memory, `capture` and `sweep` halve their batches by themselves; `batch_tokens=` sets the
#   size from the start.
# - `capture(..., store=folder)` keeps memory flat however many texts there are, and goes on where
#   it was stopped. `probekit capture MODEL texts.parquet --out store` is the same as a command.
