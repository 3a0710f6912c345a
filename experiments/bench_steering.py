"""What steering costs while a model writes: `generate` against plain Hugging Face and two peers.

    python experiments/bench_steering.py --model smollm2-135m --tokens 32 --rounds 5
    python experiments/bench_steering.py --device cuda --batches 1 4 16 64

Rounds are interleaved; every run writes exactly as many tokens after the same random prompts, with
the end marker switched off. *A/A* is plain `generate` against itself, the noise of the machine. A
ratio is the median of the rounds' ratios to the first plain run of the same round, with quartiles.
*one vector* steers every row along one direction at the middle third of depth; *a vector a row*
gives each row its own. The peers add the same one vector: TransformerLens's bridge with a hook at
each layer, nnsight with an intervention at each token.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from probekit import load_model
from probekit.depth import middle_third
from probekit.models import Model
from probekit.prompts import Encoded
from probekit.steering import Decoding, Steering, generate, residual_scale

Run = Callable[[], Any]
DOSE = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--prompt", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", nargs="*", default=["transformer-lens", "nnsight"])
    options = parser.parse_args()
    model = load_model(options.model, device=options.device)
    model.hf.generation_config.eos_token_id = None
    model.tokenizer.eos_token = None
    model.config.eos_token_id = None
    packages = ("torch", "transformers", "transformer-lens", "nnsight")
    print(platform.platform(), torch.get_num_threads(), "threads", model.device, model.dtype)
    print(", ".join(f"{name} {version(name)}" for name in packages))
    for rows in options.batches:
        prompts = random_prompts(rows, options.prompt)
        runs = runs_of(model, prompts, options.tokens) | peers_of(
            model, prompts, options.tokens, options.peers
        )
        report(rows, measured(runs, options.rounds))


def random_prompts(rows: int, length: int) -> list[Encoded]:
    """Random tokens, all prompts as long."""
    drawn = np.random.default_rng(0).integers(1000, 20000, (rows, length))
    nothing = (False,) * length, ((0, 1),) * length
    return [Encoded(str(n), tuple(map(int, ids)), *nothing, 0, 1) for n, ids in enumerate(drawn)]


def runs_of(model: Model, prompts: list[Encoded], tokens: int) -> dict[str, Run]:
    """Plain Hugging Face twice, and ours."""
    batch = model.collate(prompts, side="left")
    plain = {"max_new_tokens": tokens, "do_sample": False, "pad_token_id": 0}
    layers, scale = middle_third(model.n_layers), residual_scale(model)

    def steering(seed: int) -> Steering:
        made = np.random.default_rng(seed).standard_normal(model.d_model)
        vector = (made / np.linalg.norm(made)).astype(np.float32)
        return Steering(dict.fromkeys(layers, vector), scale, DOSE)

    def hugging_face() -> Any:
        return model.hf.generate(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask, **plain
        )

    def ours(each: Any) -> Run:
        decoding = Decoding(max_new_tokens=tokens)
        return lambda: generate(model, prompts, each, decoding, batch_size=len(prompts))

    return {
        "plain": hugging_face,
        "A/A": hugging_face,
        "generate, no steering": ours(None),
        "one vector": ours(steering(0)),
        "a vector a row": ours([steering(row) for row in range(len(prompts))]),
    }


def peers_of(
    model: Model, prompts: list[Encoded], tokens: int, wanted: list[str]
) -> dict[str, Run]:
    """The same vector added at the same layers by other tools."""
    batch, layers = model.collate(prompts, side="left"), middle_third(model.n_layers)
    vector = torch.ones(model.d_model, dtype=model.dtype, device=model.device)
    found: dict[str, Run] = {}
    if "transformer-lens" in wanted:
        bridge = model.bridge()

        def add(value: torch.Tensor, hook: Any) -> torch.Tensor:
            del hook
            return value + vector

        hooks = [(f"blocks.{layer}.hook_out", add) for layer in layers]

        def transformer_lens() -> Any:
            with bridge.hooks(fwd_hooks=hooks):
                return bridge.generate(
                    batch.input_ids,
                    max_new_tokens=tokens,
                    do_sample=False,
                    stop_at_eos=False,
                    verbose=False,
                    return_type="tokens",
                )

        found["transformer-lens bridge"] = transformer_lens
    if "nnsight" in wanted:
        from nnsight.modeling.transformers import TransformersModel

        traced = TransformersModel(model.hf, tokenizer=model.tokenizer, task="text-generation")

        def nnsight() -> Any:
            inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
            with traced.generate(inputs, max_new_tokens=tokens, do_sample=False) as tracer:
                for _ in tracer.iter[:]:
                    for layer in layers:
                        traced.model.layers[layer].output[:] = (
                            traced.model.layers[layer].output + vector
                        )

        found["nnsight"] = nnsight
    return found


def measured(runs: dict[str, Run], rounds: int) -> dict[str, list[float]]:
    """Seconds of each run in each round, interleaved, after one round that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for count in range(rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if count:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def report(rows: int, seconds: dict[str, list[float]]) -> None:
    for name, values in seconds.items():
        ratios = sorted(a / b for a, b in zip(values, seconds["plain"], strict=True))
        low, middle, high = (float(np.quantile(ratios, q)) for q in (0.25, 0.5, 0.75))
        print(
            f"batch {rows:3} | {name:24} | {statistics.median(values):7.3f} s | "
            f"ratio {middle:.3f} [{low:.3f}, {high:.3f}]",
            flush=True,
        )


if __name__ == "__main__":
    main()
