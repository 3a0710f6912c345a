"""Probes of all layers in mini-batches, beside scikit-learn's, layer by layer, from one store.

    python experiments/bench_minibatch.py [ITEMS]

A synthetic store of float32 activations (31 layers, width 576, seven classes planted at different
strengths), written to a temporary folder. One epoch of each, two times in turn:
`MiniBatchProbes` on all layers, and for every layer `SGDClassifier(loss="log_loss").partial_fit`
shard by shard, on features that are standardised by the same moments. Each is timed in a process
of its own, which says how much memory it took.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from sklearn.linear_model import SGDClassifier

from probekit.minibatch import Batches, Blocks, MiniBatchProbes, decide_together, fit_together
from probekit.store import ActivationStore

ITEMS, SHARD, LAYERS, WIDTH, CLASSES, EPOCHS, ROUNDS = 100_000, 256, 31, 576, 7, 1, 2


def classes_of(items: int) -> np.ndarray:
    """`[item]`, numbers of classes."""
    return np.random.default_rng(1).integers(0, CLASSES, items)


def held_out(items: int) -> np.ndarray:
    """`[item]`, a tenth that is not learned from."""
    return np.arange(items) % 10 == 0


def write(folder: Path, items: int) -> None:
    """A store in which layers hold the class ever more strongly, in noise of uneven sizes."""
    rng, labels = np.random.default_rng(0), classes_of(items)
    layers = {"resid_post": range(LAYERS)}
    store = ActivationStore.create(folder, {"made": "by hand"}, layers, ["last"], SHARD)
    means = rng.normal(size=(LAYERS, CLASSES, WIDTH)).astype(np.float32)
    means *= np.linspace(0, 0.1, LAYERS, dtype=np.float32)[:, None, None]
    sizes = np.exp(rng.normal(size=WIDTH)).astype(np.float32)
    for number, start in enumerate(range(0, items, SHARD)):
        own = labels[start : start + SHARD]
        noise = rng.standard_normal((LAYERS, len(own), WIDTH), dtype=np.float32)
        ids = [str(n) for n in range(start, start + len(own))]
        store.write_shard(number, ids, "", {"resid_post/last": (noise + means[:, own]) * sizes})


def minibatch(blocks: Blocks, labels: np.ndarray, out: np.ndarray) -> dict:
    """Seconds for the moments and for an epoch, and the accuracy of every layer."""
    batches, probe = Batches(blocks, labels, ~out * 1), MiniBatchProbes(epochs=EPOCHS)
    start = time.perf_counter()
    scaling = batches.moments()
    between, spent = time.perf_counter(), time.process_time()
    fit_together([probe], [batches], scaling)
    done, spent = time.perf_counter(), time.process_time() - spent
    said = decide_together([probe], blocks, out)[0]
    hits = (said.argmax(-1) == labels[out][:, None]).mean(0)
    told = {"moments": between - start, "epoch": done - between, "processor": spent}
    return {**told, "accuracy": hits.tolist()}


def layer_by_layer(blocks: Blocks, labels: np.ndarray, out: np.ndarray) -> dict:
    """The same with scikit-learn: for every layer in turn, one pass over its part of each shard."""
    batches = Batches(blocks, labels, ~out * 1)
    start = time.perf_counter()
    scaling = batches.moments()
    between, spent = time.perf_counter(), time.process_time()
    mean, deviation = (each[:, 0].numpy().astype(np.float32) for each in scaling)
    store, parts = ActivationStore(blocks._shards[0].parent), blocks.starts
    fits, order = [], np.random.default_rng(0)
    for layer in range(LAYERS):
        fit = SGDClassifier(loss="log_loss", random_state=0)
        one = Blocks(store, "resid_post", "last", (layer,))
        for shard in order.permutation(len(parts) - 1):
            rows = np.flatnonzero(~out[parts[shard] : parts[shard + 1]])
            x = (one._read(int(shard), rows)[0].numpy() - mean[layer]) / deviation[layer]
            fit.partial_fit(x, labels[parts[shard] + rows], classes=np.arange(CLASSES))
        fits.append(fit)
    done, spent = time.perf_counter(), time.process_time() - spent
    hits = np.zeros(LAYERS)
    for block in blocks.in_order(out, scaling):
        for layer, fit in enumerate(fits):
            hits[layer] += (fit.predict(block.values[layer].numpy()) == labels[block.rows]).sum()
    told = {"moments": between - start, "epoch": done - between, "processor": spent}
    return {**told, "accuracy": (hits / out.sum()).tolist()}


WAYS = {"minibatch": minibatch, "layer_by_layer": layer_by_layer}


def measured(way: str, folder: Path) -> None:
    """Run one way, and print what it took as JSON."""
    blocks = Blocks(ActivationStore(folder), "resid_post", "last")
    labels, out = classes_of(len(blocks)), held_out(len(blocks))
    found = WAYS[way](blocks, labels, out)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps({**found, "peak_gb": peak}))


def main(items: int) -> None:
    """Write the store, run both ways in turn, print times, accuracies and memory."""
    folder = Path(tempfile.mkdtemp())
    need, free = 4 * items * LAYERS * WIDTH, shutil.disk_usage(folder).free
    print(f"{items} items: {need / 1e9:.1f} GB to write, {free / 1e9:.0f} GB free", flush=True)
    try:
        write(folder / "store", items)
        epochs: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(ROUNDS):
            for way in WAYS:
                asked = [sys.executable, __file__, way, str(folder / "store")]
                done = subprocess.run(asked, capture_output=True, text=True, check=True)
                told = json.loads(done.stdout)
                epochs[way].append(told["epoch"])
                accuracy = told["accuracy"]
                print(
                    f"{way:15} moments {told['moments']:.1f} s, epoch {told['epoch']:.1f} s "
                    f"({told['processor']:.1f} s of processor), "
                    f"accuracy {np.mean(accuracy):.3f} (mean), {accuracy[-1]:.3f} (last layer), "
                    f"peak {told['peak_gb']:.2f} GB, load {os.getloadavg()[0]:.1f}",
                    flush=True,
                )
        pairs = zip(epochs["layer_by_layer"], epochs["minibatch"], strict=True)
        print("ratio of epochs:", ", ".join(f"{a / b:.1f}" for a, b in pairs))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        measured(sys.argv[1], Path(sys.argv[2]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else ITEMS)
