"""Speed and memory of `capture` and `LayerProbes`, beside the limit and the peers.

    python experiments/bench_capture.py [MODEL] [--rounds 15] [--parts capture,peers,memory,probes]

- **capture**: all `resid_post` with `last` and `mean`, written to a store, against a bare forward
  pass of the decoder body on the same padded batches; and that bare pass against itself (A/A).
- **peers**: the same batches through TransformerLens `run_with_cache` and an nnsight trace.
- **memory**: peak resident memory of `capture` on 1,000 and on 10,000 texts, in processes of
  their own, with a tiny random model so that texts, not weights, are what grows.
- **probes**: `LayerProbes`' nested cross-validation against the same job as a scikit-learn loop.

Rounds are interleaved (A B A B ...); each printed ratio is the median of the rounds' ratios, with
its quartiles. MODEL may be `random:llama-1b` or `random:llama-8b`: random weights in the shape of
Llama-3.2-1B or 3.1-8B, in bfloat16 on an accelerator.
"""

import argparse
import gc
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from probekit import StimulusSet, capture, load_model
from probekit.activations.job import batches
from probekit.models import Model, from_parts

SHAPES = {
    "random:llama-1b": (2048, 16, 32, 8, 8192),
    "random:llama-8b": (4096, 32, 32, 8, 14336),
}


SIZES = ((192, 31, 576), (2000, 32, 4096))


def random_llama(shape, vocabulary=128256, dtype=torch.bfloat16) -> Model:
    """A Llama with random weights; its tokenizer is the default model's."""
    from transformers import LlamaConfig, LlamaForCausalLM

    d_model, layers, heads, kv_heads, d_mlp = shape
    config = LlamaConfig(
        hidden_size=d_model,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        intermediate_size=d_mlp,
        vocab_size=vocabulary,
        max_position_embeddings=8192,
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    with torch.device(device):
        hf = LlamaForCausalLM(config).to(dtype).eval().requires_grad_(False)
    return from_parts(hf, load_model("smollm2-135m", device="cpu").tokenizer, "random")


def synchronise() -> None:
    """Wait for the accelerator, so that a clock reads finished work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds(run: Callable[[], object]) -> float:
    """Wall time of one call."""
    gc.collect()
    synchronise()
    start = time.perf_counter()
    run()
    synchronise()
    return time.perf_counter() - start


def compare(
    name: str,
    runs: dict[str, Callable[[], object]],
    limit: str,
    rounds: int,
    *,
    warm_up: bool = True,
) -> None:
    """Time all runs in turn and print the ratio of each to `limit`, round by round."""
    for run in runs.values() if warm_up else ():
        run()
    times: dict[str, list[float]] = {each: [] for each in runs}
    for round_ in range(rounds):
        order = list(runs) if round_ % 2 == 0 else list(runs)[::-1]
        for each in order:
            times[each].append(seconds(runs[each]))
    for each, found in times.items():
        ratios = [a / b for a, b in zip(found, times[limit], strict=True)]
        low, middle, high = statistics.quantiles(ratios * 2 if rounds == 1 else ratios, n=4)
        print(
            f"{name} | {each:34} | median {statistics.median(found):8.3f} s | "
            f"ratio to {limit}: {middle:.3f} [{low:.3f}, {high:.3f}] over {rounds} rounds",
            flush=True,
        )


def texts_of(count: int) -> list[str]:
    """`count` texts of mixed length, from the shipped sets."""
    pool = [text for name in ("vignettes", "crossed") for text in StimulusSet.load(name).texts]
    return [pool[i % len(pool)] for i in range(count)]


def padded_batches(model: Model, texts: list[str]):
    """The batches that `capture` makes of one window of texts."""
    prompts = sorted(model.encode(texts), key=len)
    budget = 16384 if model.device.type == "cuda" else 2048
    rows = batches([len(prompt) for prompt in prompts], budget)
    return [model.collate([prompts[row] for row in part]) for part in rows]


def bench_capture(model: Model, rounds: int, count: int, peers: bool) -> None:
    """`capture` (and peers) against the bare decoder body, twice named for the A/A ratio."""
    texts = texts_of(count)
    batches = padded_batches(model, texts)
    tokens = sum(int(batch.attention_mask.sum()) for batch in batches)
    folder = Path(tempfile.mkdtemp())

    def to_store() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        capture(model, texts, ["resid_post"], ["last", "mean"], store=folder, shard_items=count)

    def bare() -> None:
        for batch in batches:
            model.body(batch)

    runs: dict[str, Callable[[], object]] = {"bare": bare, "bare again": bare, "capture": to_store}
    if peers:
        runs |= peer_runs(model, batches)
    print(f"{count} texts, {tokens} tokens in {len(batches)} batches, {model.dtype}")
    compare("capture", runs, "bare", rounds)
    shutil.rmtree(folder, ignore_errors=True)


def peer_runs(model: Model, batches) -> dict[str, Callable[[], object]]:
    """The same residuals, pooled the same way in memory, by TransformerLens and nnsight."""
    bridge = model.bridge()
    wanted = [f"blocks.{layer}.hook_resid_post" for layer in range(model.n_layers)]

    def pool(states, mask):
        weights = mask / mask.sum(1, keepdim=True)
        last = mask.sum(1).long() - 1
        return [
            (torch.bmm(weights[:, None].float(), h.float()), h[range(len(h)), last]) for h in states
        ]

    @torch.no_grad()
    def transformer_lens() -> None:
        for batch in batches:
            _, cache = bridge.run_with_cache(
                batch.input_ids, attention_mask=batch.attention_mask, names_filter=wanted
            )
            pool([cache[name] for name in wanted], batch.attention_mask)

    runs: dict[str, Callable[[], object]] = {"transformer-lens run_with_cache": transformer_lens}
    try:
        from nnsight import NNsight
    except ImportError:
        print("nnsight is not installed: pip install -e '.[bench]'")
        return runs
    traced = NNsight(model.hf)

    @torch.no_grad()
    def nnsight() -> None:
        for batch in batches:
            with traced.trace(**batch.inputs(), use_cache=False):
                saved = list().save()  # noqa: C408 - nnsight wraps the call, not the literal
                for layer in traced.model.layers:
                    saved.append(layer.output)
            pool([h[0] if isinstance(h, tuple) else h for h in saved], batch.attention_mask)

    return runs | {"nnsight trace": nnsight}


def bench_memory() -> None:
    """Peak memory against the number of texts, each in a process of its own."""
    for count in (1000, 10000):
        subprocess.run([sys.executable, __file__, "--parts", f"memory-{count}"], check=True)


def measure_memory(count: int) -> None:
    """Capture `count` texts with a tiny model and print this process's peak memory."""
    model = random_llama((64, 4, 4, 2, 128), vocabulary=49152, dtype=torch.float32)
    folder = Path(tempfile.mkdtemp())
    stream = ((str(i), f"{i} {text}") for i, text in enumerate(texts_of(count)))
    capture(model, iter([next(stream)]), ["resid_post"], store=folder / "warm")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    capture(model, stream, ["resid_post"], store=folder / "store")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size = sum(f.stat().st_size for f in (folder / "store").iterdir()) / 1e6
    print(
        f"memory | {count} texts | before {before:.0f} MiB, peak {peak:.0f} MiB | "
        f"{size:.0f} MB written"
    )
    shutil.rmtree(folder)


def bench_probes(rounds: int, layers: int | None) -> None:
    """Nested cross-validation of 31 layers: one batch against a scikit-learn loop."""
    from probekit.crossval import CS, cross_validate
    from probekit.stats import macro_auroc

    n, d, folds = 192, 576, np.arange(192) % 5
    for classes in (2, 8):
        rng = np.random.default_rng(0)
        labels = rng.integers(0, classes, n)
        x = rng.normal(size=(n, layers or 31, d))
        x[:, :, :classes] += 1.2 * np.eye(classes)[labels][:, None]
        results: dict[str, np.ndarray] = {}

        def ours(x=x, labels=labels, results=results) -> None:
            results["ours"] = cross_validate(x, labels, folds)[0].predictions

        def loop(x=x, labels=labels, results=results, classes=classes) -> None:
            results["loop"] = sklearn_loop(x, labels, folds, classes, CS)

        once = {"LayerProbes": ours, "scikit-learn loop": loop}
        compare(f"probes {classes} classes, nested", once, "LayerProbes", rounds, warm_up=False)
        pairs = zip(results["ours"], results["loop"], strict=True)
        gaps = [macro_auroc(a, labels, folds) - macro_auroc(b, labels, folds) for a, b in pairs]
        print(f"largest AUROC difference over layers: {np.abs(gaps).max():.4f}")
    fixed_c(layers)


def sklearn_loop(x, labels, folds, classes, cs):
    """The same nested choice of C by the same inner folds, one fit at a time."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from probekit.stats import macro_auroc

    def probabilities(train, test, layer, c):
        pipe = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000))
        found = pipe.fit(x[train, layer], labels[train]).predict_proba(x[test, layer])
        return found[:, 1:] if classes == 2 else found

    out = np.empty((x.shape[1], len(labels), 1 if classes == 2 else classes))
    for layer in range(x.shape[1]):
        for k in np.unique(folds):
            scores = []
            for c in cs:
                inner = []
                for j in np.unique(folds[folds != k]):
                    train, test = (folds != k) & (folds != j), folds == j
                    p = probabilities(train, test, layer, c)
                    inner.append(macro_auroc(p, labels[test], folds[test])[0])
                scores.append(np.mean(inner))
            best = cs[int(np.argmax(scores))]
            out[layer, folds == k] = probabilities(folds != k, folds == k, layer, best)
    return out


def fixed_c(fewer: int | None) -> None:
    """One fit of all layers at C = 1, without inner folds: small and wide, then large."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    from probekit import LayerProbes

    for n, full, d in SIZES:
        layers = min(full, fewer) if fewer and n > 1000 else full
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 2, n)
        x = rng.normal(size=(n, layers, d)).astype(np.float32)
        x[:, :, 0] += labels[:, None]

        def ours(x=x, labels=labels) -> None:
            LayerProbes().fit(x, labels)

        def loop(x=x, labels=labels) -> None:
            for layer in range(x.shape[1]):
                table = StandardScaler().fit_transform(x[:, layer].astype(np.float64))
                LogisticRegression(max_iter=1000).fit(table, labels)

        name = f"one fit, C = 1, n={n}, d={d}, {layers} layers"
        both = {"LayerProbes": ours, "scikit-learn loop": loop}
        compare(name, both, "LayerProbes", 5 if n < 1000 else 1, warm_up=n < 1000)


def main() -> None:
    """Parse the command line and run the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="smollm2-135m")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--texts", type=int, default=24)
    parser.add_argument("--layers", type=int, help="fewer layers in part probes, to save time")
    parser.add_argument("--parts", default="capture,peers,memory,probes")
    asked = parser.parse_args()
    if asked.parts.startswith("memory-"):
        return measure_memory(int(asked.parts.removeprefix("memory-")))
    names = ("torch", "transformers", "transformer-lens", "scikit-learn")
    print(
        ", ".join(f"{name} {version(name)}" for name in names), f"{torch.get_num_threads()} threads"
    )
    parts = asked.parts.split(",")
    if "capture" in parts or "peers" in parts:
        shape = SHAPES.get(asked.model)
        model = random_llama(shape) if shape else load_model(asked.model)
        bench_capture(model, asked.rounds, asked.texts, "peers" in parts)
    if "memory" in parts:
        bench_memory()
    if "probes" in parts:
        bench_probes(min(asked.rounds, 3), asked.layers)
    return None


if __name__ == "__main__":
    main()
