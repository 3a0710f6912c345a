"""How much cheaper exact edits are: `sweep` against TransformerLens and a Hugging Face loop.

    python experiments/bench_sweep.py heads --model smollm2-135m --tokens 128 --rounds 5
    python experiments/bench_sweep.py positions --model smollm2-135m --tokens 128
    python experiments/bench_sweep.py suffix            # cost against suffix length and edits
    python experiments/bench_sweep.py heads --shape llama-1b --device cuda   # random weights

*heads*: every head of every layer set to zero at the last token, label readout; seconds for one
edit of one prompt. A round runs the three one after the other, on the same random tokens, prefix
and cache forking included; the peers run a sample of the edits (each costs them the same), the
sweep all of them. The loop asks the model for the last token's logits alone; TransformerLens makes
all of them. Medians of the rounds, and the largest difference of a label's logit.

*positions*: a random stream at every position of some layers. A naive run costs T tokens
x L layers an edit, an exact one the (T - p) x (L - l) that can change: the ceiling is the ratio of
the sums, and the share reached is what is reported.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import plotly.graph_objects as go
import torch

from probekit import load_model
from probekit.edits import Edit, Set, Zero
from probekit.models import Batch, Model, from_parts
from probekit.prompts import Encoded
from probekit.readouts import LabelLogits
from probekit.sites import Site
from probekit.sweep import sweep

LABELS = ("anger", "fear", "joy", "sadness")
SHAPES = {
    "llama-1b": {
        "hidden_size": 2048,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "intermediate_size": 8192,
        "vocab_size": 128256,
    },
    "llama-8b": {
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "intermediate_size": 14336,
        "vocab_size": 128256,
    },
}
"""True shapes of larger models, for random weights where no weights can be had."""


def main() -> None:
    """Run one of the benchmarks and print its lines."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("part", choices=("heads", "positions", "suffix"))
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--shape", choices=SHAPES)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sample", type=int, default=2, help="edits that the peers run a round")
    parser.add_argument("--layers", type=int, default=6, help="layers of the positions part")
    parser.add_argument("--picture", help="HTML file for the plot of the suffix part")
    parser.add_argument("--no-bridge", action="store_true", help="leave TransformerLens out")
    given = parser.parse_args()
    model = _model(given)
    names = ("torch", "transformers", "transformer-lens")
    print(
        f"{given.model if not given.shape else given.shape} {given.dtype} on {model.device}, "
        f"{torch.get_num_threads()} threads, {platform.machine()}, "
        + ", ".join(f"{name} {version(name)}" for name in names)
    )
    prompts = random_prompts(model, given.prompts, given.tokens)
    with torch.no_grad():
        {"heads": heads, "positions": positions, "suffix": suffix}[given.part](
            model, prompts, given
        )


def _model(given: argparse.Namespace) -> Model:
    if not given.shape:
        return load_model(given.model, device=given.device, dtype=given.dtype)
    from transformers import AutoModelForCausalLM, LlamaConfig

    tokenizer = load_model("smollm2-135m", device="cpu").tokenizer
    torch.manual_seed(0)
    dtype = getattr(torch, given.dtype)
    with torch.device(given.device):
        config = LlamaConfig(**SHAPES[given.shape], max_position_embeddings=4096)
        hf = AutoModelForCausalLM.from_config(config, dtype=dtype).eval().requires_grad_(False)
    return from_parts(hf, tokenizer, given.shape)


def random_prompts(model: Model, count: int, tokens: int) -> list[Encoded]:
    """Prompts of random tokens, all of one length."""
    torch.manual_seed(0)
    high = min(int(model.config.vocab_size), len(model.tokenizer))
    ids = torch.randint(100, high, (count, tokens)).tolist()
    spans = tuple((n, n + 1) for n in range(tokens))
    return [
        Encoded(str(n), tuple(row), (False,) * tokens, spans, 0, tokens)
        for n, row in enumerate(ids)
    ]


def timed(model: Model, run: Callable[..., Any], *given: Any) -> tuple[float, Any]:
    """Seconds of one call, the device's queue emptied, and what it returned."""
    wait = torch.cuda.synchronize if model.device.type == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    out = run(*given)
    wait()
    return time.perf_counter() - start, out


def heads(model: Model, prompts: list[Encoded], given: argparse.Namespace) -> None:
    """All heads of all layers, last-token zero ablation."""
    layers, count = range(model.n_layers), model.sites.units("z")
    places = [(layer, head) for layer in layers for head in range(count)]
    edits = [Edit(f"z.{layer}.{head}", -1, Zero()) for layer, head in places]
    labels = LabelLogits(model, LABELS, first_token=True)
    batch, rows = model.collate(prompts), labels.first.to(model.device)
    bridge = None if given.no_bridge else model.bridge()
    step = max(1, len(places) // given.sample)
    seconds: dict[str, list[float]] = {"sweep": [], "hf": [], "tl": []}
    gaps = {"hf": 0.0, "tl": 0.0}
    for number in range(given.rounds):
        took, swept = timed(model, sweep, model, prompts, edits, {"l": labels})
        seconds["sweep"].append(took / len(edits) / len(prompts))
        for place in [(number * 7 + k * step) % len(places) for k in range(given.sample)]:
            layer, head = places[place]
            ours = torch.tensor(swept.values["l"][place])
            took, logits = timed(model, hf_loop, model, batch, layer, head, count)
            seconds["hf"].append(took / len(prompts))
            gaps["hf"] = max(gaps["hf"], float((logits[:, rows].cpu() - ours).abs().max()))
            if bridge is None:
                continue
            took, logits = timed(model, tl_hooks, bridge, batch.input_ids, layer, head)
            seconds["tl"].append(took / len(prompts))
            gaps["tl"] = max(gaps["tl"], float((logits[:, rows].cpu() - ours).abs().max()))
    mine = statistics.median(seconds["sweep"])
    print(
        f"T={given.tokens}, {len(prompts)} prompts, {len(edits)} edits, {given.rounds} rounds; "
        f"shared: {swept.shared}"
    )
    print(f"  sweep                      {mine * 1e3:9.3f} ms an edit and prompt")
    for key, name in (("hf", "Hugging Face, batched"), ("tl", "TransformerLens, batched")):
        if seconds[key]:
            other = statistics.median(seconds[key])
            print(
                f"  {name:26} {other * 1e3:9.3f} ms, {other / mine:7.1f} x, "
                f"largest logit difference {gaps[key]:.1e}"
            )


def hf_loop(model: Model, batch: Batch, layer: int, head: int, count: int) -> torch.Tensor:
    """One edit by running the whole Hugging Face model on all prompts: logits `[prompt, token]`."""
    module = model.sites.tap(Site("z", layer)).module
    each = model.sites.width(Site("z", layer)) // count

    def cut(_: Any, args: tuple) -> tuple:
        value = args[0].clone()
        value[:, -1, head * each : (head + 1) * each] = 0
        return (value, *args[1:])

    handle = module.register_forward_pre_hook(cut)
    try:
        return model.hf(**batch.inputs(), use_cache=False, logits_to_keep=1).logits[:, -1]
    finally:
        handle.remove()


def tl_hooks(bridge: Any, ids: torch.Tensor, layer: int, head: int) -> torch.Tensor:
    """The same edit of all prompts by TransformerLens's `run_with_hooks`: `[prompt, token]`."""
    n_heads = bridge.cfg.n_heads

    def cut(value: torch.Tensor, hook: Any) -> torch.Tensor:  # noqa: ARG001
        split = value if value.dim() == 4 else value.unflatten(-1, (n_heads, -1))
        split[:, -1, head] = 0
        return value

    name = f"blocks.{layer}.attn.hook_z"
    return bridge.run_with_hooks(ids, fwd_hooks=[(name, cut)])[:, -1]


def positions(model: Model, prompts: list[Encoded], given: argparse.Namespace) -> None:
    """A random stream at every position of some layers, against the arithmetic ceiling."""
    length, depth = given.tokens, model.n_layers
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(len(prompts), model.d_model, generator=generator)
    layers = list(range(0, depth, max(1, depth // given.layers)))
    places = [(layer, token) for layer in layers for token in range(length)]
    edits = [Edit(Site("resid_pre", layer), token, Set(values)) for layer, token in places]
    labels = LabelLogits(model, LABELS, first_token=True)
    batch, rows = model.collate(prompts), labels.first.to(model.device)

    def whole(edit: Edit) -> torch.Tensor:
        with model.edited([edit]):
            out = model.hf(**batch.inputs(), use_cache=False, logits_to_keep=1)
            return out.logits[:, -1][:, rows]

    ours, naive, gap = [], [], 0.0
    for number in range(given.rounds):
        took, swept = timed(model, sweep, model, prompts, edits, {"l": labels})
        ours.append(took / len(edits))
        for k in range(given.sample):
            place = (number * 31 + k * len(edits) // given.sample) % len(edits)
            took, logits = timed(model, whole, edits[place])
            naive.append(took)
            found = torch.tensor(swept.values["l"][place])
            gap = max(gap, float((logits.cpu() - found).abs().max()))
    # The pass that all edits share is part of the price: T x L once.
    exact = length * depth + sum((depth - layer) * (length - token) for layer, token in places)
    ceiling = len(edits) * length * depth / exact
    ratio = statistics.median(naive) / statistics.median(ours)
    print(
        f"T={length}, {len(prompts)} prompts, {len(edits)} edits ({len(layers)} layers x {length} "
        f"positions): {ratio:.2f} x a naive run; ceiling {ceiling:.2f} x; share "
        f"{ratio / ceiling:.0%}; largest logit difference {gap:.1e}"
    )


def suffix(model: Model, prompts: list[Encoded], given: argparse.Namespace) -> None:
    """Cost of an edit by suffix length and number of edits, at middle depth; `--picture` draws."""
    layer, length = model.n_layers // 2, given.tokens
    labels = LabelLogits(model, LABELS, first_token=True)
    tails = sorted({tail for tail in (1, 4, 16, 64, length) if tail <= length})
    figure = go.Figure()
    for count in (1, 8, 64):
        each = []
        for tail in tails:
            some = [Edit(Site("attn_out", layer), length - tail, Zero()) for _ in range(count)]
            args = (model, sweep, model, prompts, some, {"l": labels})
            took = statistics.median(timed(*args)[0] for _ in range(given.rounds))
            each.append(took / count / len(prompts) * 1e3)
            print(f"edits={count:3d} suffix={tail:4d}: {each[-1]:8.3f} ms an edit and prompt")
        figure.add_scatter(x=tails, y=each, name=f"{count} edits", mode="lines+markers")
    figure.update_xaxes(type="log", title="tokens from the edit to the end")
    figure.update_yaxes(type="log", title="ms an edit and prompt")
    if given.picture:
        figure.update_layout(title=f"{model.name}, {length} tokens, layer {layer}")
        figure.write_html(given.picture)


if __name__ == "__main__":
    main()
