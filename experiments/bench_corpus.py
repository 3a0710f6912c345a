"""Speed, memory and workers of `probekit capture` on large corpora.

    python experiments/bench_corpus.py [MODEL] [--parts capture,memory,workers] [--rounds 5]

- **capture**: every `resid_post` with `last` and `mean` of 1,500 texts, written to a store, against
  a bare forward pass of the decoder body on the same padded batches; the bare pass against itself.
- **memory**: peak resident memory and time of the command with a tiny random model on growing
  numbers of rows, in processes of their own; the largest is killed in the middle and resumed.
- **workers**: one against two workers that share the cores, with their start and without.

Rounds are interleaved (A B A B ...); each printed ratio is the median of the rounds' ratios, with
its quartiles. Texts are made here from a seed.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from bench_capture import compare, padded_batches, random_llama

from probekit import StimulusSet, capture, load_model
from probekit.activations import SHARD_ITEMS
from probekit.corpus import Items
from probekit.store import ActivationStore

SITES, POOLINGS = ["resid_post"], ["last", "mean"]
ROWS = (10_000, 50_000, 434_192)
PROBEKIT = [sys.executable, "-m", "probekit"]


def posts(count: int, words: int) -> list[str]:
    """Distinct texts: the first words of posts."""
    pool = [" ".join(t.split()[:words]) for t in StimulusSet.load("utterances").texts]
    return [f"{row}: {pool[row % len(pool)]}" for row in range(count)]


def generated(count: int) -> Iterator[dict[str, str]]:
    """Rows of three to eight random words: no two are near repeats."""
    rng = np.random.default_rng(0)
    for row in range(count):
        words = rng.integers(0, 50_000, int(rng.integers(3, 9)))
        yield {"id": f"row-{row}", "text": " ".join(f"w{n}" for n in words), "label": "ab"[row % 2]}


def bench_capture(asked: argparse.Namespace) -> None:
    """A corpus's windows against the bare body on the very batches that they make."""
    model, texts = load_model(asked.model, device="cpu"), posts(asked.texts, asked.words)
    stream = iter(texts)
    windows = iter(lambda: list(islice(stream, SHARD_ITEMS)), [])
    batches = [batch for window in windows for batch in padded_batches(model, window)]
    tokens = sum(int(batch.attention_mask.sum()) for batch in batches)
    print(f"{len(texts)} texts, {tokens} tokens in {len(batches)} batches, {model.dtype}")
    wall: dict[str, list[float]] = {"bare": [], "bare again": [], "capture": []}
    work: dict[str, list[float]] = {name: [] for name in wall}

    def timed(name: str, run: Callable[[], object]) -> None:
        start, worked = time.perf_counter(), time.process_time()
        run()
        wall[name].append(time.perf_counter() - start)
        work[name].append(time.process_time() - worked)

    def bare() -> None:
        for batch in batches:
            model.body(batch)

    def to_store() -> None:
        with tempfile.TemporaryDirectory() as folder:
            capture(model, texts, SITES, POOLINGS, store=Path(folder) / "store")

    runs: dict[str, Callable[[], object]] = {
        "bare": lambda: timed("bare", bare),
        "bare again": lambda: timed("bare again", bare),
        "capture": lambda: timed("capture", to_store),
    }
    compare("capture", runs, "bare", asked.rounds, warm_up=False)
    for name in wall:
        ratios = np.array(work[name]) / np.array(work["bare"])
        print(
            f"capture | {name:10} | {tokens / np.median(wall[name]):,.0f} tokens a second | ratio "
            f"of processor time to bare: {np.median(ratios):.3f}; load {os.getloadavg()[0]:.1f}",
            flush=True,
        )


def bench_memory(asked: argparse.Namespace) -> None:
    """The command on more and more rows; the largest is killed in the middle."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        model = random_llama((64, 2, 4, 2, 128), vocabulary=49152, dtype=torch.float32)
        model.hf.save_pretrained(home / "tiny")
        model.tokenizer.save_pretrained(home / "tiny")
        del model
        for count in asked.rows:
            corpus = home / f"{count}.jsonl"
            with corpus.open("w") as file:
                file.writelines(json.dumps(row) + "\n" for row in generated(count))
            if count == max(asked.rows):
                start_and_kill(home, corpus)
            done = {file: file.stat().st_mtime_ns for file in home.glob("store/*.safetensors")}
            seconds, memory = measured(command(home, corpus))
            kept = all(file.stat().st_mtime_ns == when for file, when in done.items())
            store, items = ActivationStore(home / "store"), Items(home / "store")
            print(
                f"memory | {count:,} rows, {len(done)} of {len(store.shards)} shards there before "
                f"(left alone: {kept}) | {seconds:.0f} s, {memory}, {len(store):,} items, whole: "
                f"{store.ids == tuple(items.column('id'))}; load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
            shutil.rmtree(home / "store")


def start_and_kill(home: Path, corpus: Path) -> None:
    """Run the command until half of the shards are there, and kill it."""
    half = home / "store" / f"{int(corpus.stem) // SHARD_ITEMS // 2:05d}.safetensors"
    start = time.perf_counter()
    process = subprocess.Popen(command(home, corpus), stderr=subprocess.DEVNULL)
    while not half.exists() and process.poll() is None:
        time.sleep(0.05)
    peak = megabytes(process.pid, "VmHWM")
    process.send_signal(signal.SIGKILL)
    process.wait()
    seconds = time.perf_counter() - start
    print(f"memory | killed at half after {seconds:.0f} s, peak {peak:.0f} MB", flush=True)


def command(home: Path, corpus: Path) -> list[str]:
    """The capture of a generated corpus with the tiny model, near repeats dropped."""
    words = ["capture", home / "tiny", corpus, "--out", home / "store", "--repeats", "near"]
    words += ["--device", "cpu"]
    return [*PROBEKIT, *map(str, words)]


def measured(words: list[str]) -> tuple[float, str]:
    """Wall time in seconds, and what is to be said of the memory, of a command."""
    start, resident = time.perf_counter(), [0.0]
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        resident.append(megabytes(process.pid, "VmRSS") or resident[-1])
        peak = megabytes(process.pid, "VmHWM") or max(resident)
        time.sleep(0.05)
    if process.returncode:
        raise RuntimeError(f"exit status {process.returncode}: {words}")
    middle, last = (np.median(resident[-len(resident) // n :]) for n in (2, 20))
    said = f"peak {peak:.0f} MB, resident {middle:.0f} MB in the second half, {last:.0f} at the end"
    return time.perf_counter() - start, said


def megabytes(process: int, name: str) -> float:
    """A figure of a process's memory; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def bench_workers(asked: argparse.Namespace) -> None:
    """The command with one and with two workers: all of it, and between first and last shard."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        corpus = home / "posts.jsonl"
        corpus.write_text(
            "".join(json.dumps({"text": t}) + "\n" for t in posts(asked.texts, asked.words))
        )
        for round_ in range(asked.pairs):
            for workers in (1, 2) if round_ % 2 == 0 else (2, 1):
                out = home / f"{round_}-{workers}"
                words = ["capture", asked.model, corpus, "--out", out, "--workers", workers]
                seconds, _ = measured([*PROBEKIT, *map(str, words), "--device", "cpu"])
                shards = sorted(file.stat().st_mtime for file in out.glob("*.safetensors"))
                print(
                    f"workers | {workers} | {seconds:.1f} s in all, {shards[-1] - shards[0]:.1f} s "
                    f"from the first of {len(shards)} shards to the last; "
                    f"load {os.getloadavg()[0]:.1f}",
                    flush=True,
                )


PARTS: dict[str, Callable[[argparse.Namespace], None]] = {
    "capture": bench_capture,
    "memory": bench_memory,
    "workers": bench_workers,
}


def main() -> None:
    """Parse the command line and run the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="smollm2-135m")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=3, help="rounds of part workers")
    parser.add_argument("--texts", type=int, default=1500, help="of parts capture and workers")
    parser.add_argument("--words", type=int, default=99, help="of each of these texts")
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS, help="of part memory")
    asked = parser.parse_args()
    names = ("torch", "transformers", "ray")
    print(
        ", ".join(f"{name} {version(name)}" for name in names),
        f"{torch.get_num_threads()} threads",
    )
    for part in asked.parts.split(","):
        PARTS[part](asked)


if __name__ == "__main__":
    main()
