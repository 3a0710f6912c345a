"""Probes of a corpus in mini-batches: against exact fits, with planted signals, and end to end."""

import csv
import json
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from families import TEXTS, build
from test_cli import refused

from probekit import load_model, stats
from probekit.bundled import DEFAULT
from probekit.cli import run
from probekit.corpus import Corpus, Filters, capture_corpus, prepare
from probekit.errors import UserError
from probekit.minibatch import (
    Batches,
    Blocks,
    MiniBatchProbes,
    Options,
    Scorer,
    fit_together,
    run_probe_corpus,
    words,
)
from probekit.minibatch.parts import hashed, permuted
from probekit.minibatch.scoring import Ranked, aurocs, log_odds
from probekit.minibatch.study import Study
from probekit.probes import LayerProbes
from probekit.runs import write_json
from probekit.store import ActivationStore

MODEL = {"name": "tiny", "n_layers": 3, "d_model": 16, "dtype": "float32", "notes": []}
SMALL = Options(hidden=8, epochs=20, mlp_epochs=20, mlp_learning_rate=0.01, bootstraps=50)
pytestmark = pytest.mark.usefixtures("one_thread", "few_words")


@pytest.fixture(scope="module")
def few_words():
    """Text baselines see a tenth of the rows: what these tests plant is learned at once."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(words, "LEAST_ROWS", 2000)
        yield


def stored(folder, values, labels, texts=None, groups=None, rows=64):
    """A store of `[item, layer, d]` activations such as `capture_corpus` writes."""
    folder.mkdir(parents=True)
    corpus, size = folder.parent / f"{folder.name}.jsonl", len(labels)
    texts = texts or [f"some words number {n}" for n in range(size)]
    groups = groups or [str(n) for n in range(size)]
    told = zip(texts, labels, groups, strict=True)
    lines = [
        json.dumps({"id": f"t{n}", "text": text, "label": str(label), "scenario": group})
        for n, (text, label, group) in enumerate(told)
    ]
    corpus.write_text("\n".join(lines) + "\n", encoding="utf-8")
    items = prepare(Corpus(corpus, filters=Filters(0, repeats="keep")), folder, rows)
    layers = {"resid_post": tuple(range(values.shape[1]))}
    store = ActivationStore.create(folder, {"made": "by hand"}, layers, ["last"], rows)
    for number in range(items.windows):
        part = values[number * rows : (number + 1) * rows]
        arrays = {"resid_post/last": np.ascontiguousarray(np.moveaxis(part, 0, 1), np.float32)}
        store.write_shard(number, [item.id for item in items.window(number)], "", arrays)
    write_json(folder / "manifest.json", {"corpus": "planted", "model": MODEL})
    return store


def clouds(n=1200, layers=3, d=16, classes=3, strength=0.8, at=(1,), seed=0):
    """Noise of uneven means and sizes; some layers hold the class as well."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) // 2 % classes  # Neighbours share a group, and so a label.
    values = rng.normal(size=(n, layers, d))
    for layer in at:
        values[:, layer, :classes] += strength * np.eye(classes)[labels]
    scale, shift = np.exp(rng.normal(size=d)), 30 * rng.normal(size=d)
    return (values * scale + shift).astype(np.float32), labels


def planted(tmp_path, name="store", *, words=False, rows=64, **given):
    values, labels = clouds(**given)
    texts = [f"word{label if words else n % 7} number {n}" for n, label in enumerate(labels)]
    groups = [str(n // 2) for n in range(len(labels))]
    return stored(tmp_path / name, values, [f"c{k}" for k in labels], texts, groups, rows)


def rows_of(out):
    with (out / "results.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


# Probes


@pytest.mark.parametrize("classes", [2, 4])
def test_a_linear_probe_comes_near_the_exact_fit(tmp_path, classes):
    values, labels = clouds(1500, classes=classes, at=(0, 2))
    store, learned = stored(tmp_path / "s", values, labels), np.arange(1500) < 1000
    blocks = Blocks(store, "resid_post", "last")
    # A penalty that is felt.
    probes = MiniBatchProbes(C=0.01).fit(Batches(blocks, labels, learned.astype(int)))
    exact = LayerProbes(0.01).fit(values[learned], labels[learned])
    found = probes.decision(blocks, ~learned)
    wanted = exact.decision_function(values[~learned])
    if classes == 2:
        wanted = np.stack([-wanted / 2, wanted / 2], -1)
    for layer in range(3):
        own, best = (each[:, layer] - each[:, layer].mean(1, keepdims=True)
                     for each in (found, wanted))  # fmt: skip
        assert np.corrcoef(own.ravel(), best.ravel())[0, 1] > 0.99
        areas = [aurocs(log_odds(each), labels[~learned]).mean() for each in (own, best)]
        assert abs(areas[0] - areas[1]) < 0.01
        assert 0.9 < np.std(own) / np.std(best) < 1.1, "as large: the penalty is the same"
    direct = np.einsum("nld,lkd->nlk", values[~learned], probes.coef_) + probes.intercept_
    assert np.allclose(direct, found, atol=1e-3)


def test_a_hidden_layer_learns_what_no_linear_probe_can(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(1500, 2, 6)).astype(np.float32)
    labels = (values[:, 1, 0] > 0) ^ (values[:, 1, 1] > 0)
    blocks = Blocks(stored(tmp_path / "s", values, labels), "resid_post", "last")
    learned = np.arange(1500) < 1000
    batches = Batches(blocks, labels, learned.astype(int))
    areas = {}
    for hidden in (0, 32):
        probe = MiniBatchProbes(hidden, learning_rate=1e-2).fit(batches)
        said = probe.decision(blocks, ~learned)
        areas[hidden] = [aurocs(said[:, n], labels[~learned] * 1).mean() for n in range(2)]
    assert areas[32][1] > 0.95
    assert max(areas[0][0], areas[0][1], areas[32][0]) < 0.6
    with pytest.raises(AttributeError, match="hidden layer"):
        _ = probe.coef_


def test_the_same_seed_gives_the_same_and_shards_do_not_matter(tmp_path):
    said = {}
    for name, rows, buffer in (("a", 64, 10**9), ("b", 50, 10**9), ("c", 64, 40_000)):
        store = planted(tmp_path, name, rows=rows)
        blocks = Blocks(store, "resid_post", "last", buffer_bytes=buffer)
        labels = clouds()[1]
        for again in range(2):
            probe = MiniBatchProbes(seed=3).fit(Batches(blocks, labels, seed=3))
            said[name, again] = probe.decision(blocks, np.ones(1200, bool))
        assert np.array_equal(said[name, 0], said[name, 1])
    assert blocks._fitting == 3, "the last store does not fit its buffer"
    assert np.allclose(said["a", 0], said["b", 0], atol=1e-4), "one buffer: the very same order"
    for layer in range(3):
        own, other = (said[name, 0][:, layer].ravel() for name in "ac")
        assert np.corrcoef(own, other)[0, 1] > 0.99


def test_probes_fitted_together_are_those_fitted_alone(tmp_path):
    blocks, labels = Blocks(planted(tmp_path), "resid_post", "last"), clouds()[1]
    batches = [Batches(blocks, labels), Batches(blocks, labels[::-1])]
    together = [MiniBatchProbes(epochs=3), MiniBatchProbes(epochs=3)]
    fit_together(together, batches, batches[0].moments())
    for probe, own in zip(together, batches, strict=True):
        alone = MiniBatchProbes(epochs=3)
        fit_together([alone], [own], batches[0].moments())
        assert np.allclose(alone.coef_, probe.coef_)


def test_a_row_taken_twice_counts_as_two(tmp_path):
    values, labels = clouds(300)
    times = np.random.default_rng(1).integers(0, 4, 300)
    blocks = Blocks(stored(tmp_path / "s", values, labels), "resid_post", "last",
                    buffer_bytes=40_000)  # fmt: skip
    batches = Batches(blocks, labels, times, size=32)
    repeated = np.repeat(values, times, axis=0).astype(np.float64)
    found = batches.moments()
    assert np.allclose(found.mean[:, 0], repeated.mean(0), rtol=1e-12)
    assert np.allclose(found.deviation[:, 0], repeated.std(0), rtol=1e-9)
    seen = Counter()
    for epoch, block in blocks.epochs(2, times > 0, 0):
        for x, y in batches.of(block, epoch):
            assert x.shape == (3, len(y), 16)
            assert len(y) <= 32
            seen.update((float(row[0]), int(k)) for row, k in zip(x[0], y, strict=True))
    wanted = {(float(values[n, 0, 0]), int(labels[n])): 2 * t for n, t in enumerate(times) if t}
    assert seen == wanted
    # And a probe of such rows is that of a store in which they stand so often.
    alike = stored(tmp_path / "t", np.repeat(values, times, 0), np.repeat(labels, times))
    every = np.ones(300, bool)
    own = MiniBatchProbes().fit(batches)
    other = MiniBatchProbes().fit(Batches(Blocks(alike, "resid_post", "last"),
                                          np.repeat(labels, times)))  # fmt: skip
    other._scaling = own._scaling
    pair = (each.decision(blocks, every).ravel() for each in (own, other))
    assert np.corrcoef(*pair)[0, 1] > 0.99


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_what_the_processor_gives(tmp_path):
    store, labels = planted(tmp_path), clouds()[1]
    said = []
    for device in ("cpu", "cuda"):
        blocks = Blocks(store, "resid_post", "last", device=device)
        probe = MiniBatchProbes(8, epochs=3).fit(Batches(blocks, labels))
        said.append(probe.decision(blocks, np.ones(1200, bool)))
    assert np.allclose(*said, atol=1e-2)


MEASURE = """
import sys
from pathlib import Path
from probekit.minibatch import Options, run_probe_corpus
options = Options(hidden=4, epochs=1, mlp_epochs=1, bootstraps=10, buffer_bytes=4_000_000)
run_probe_corpus(Path(sys.argv[1]), Path(sys.argv[2]), options)
# Of this program alone: ru_maxrss holds what the process was before it, too.
status = Path("/proc/self/status").read_text()
print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_store(tmp_path):
    peaks, sizes = [], []
    for n in (1500, 15_000):
        rng = np.random.default_rng(0)
        values = rng.normal(size=(n, 4, 256)).astype(np.float32)
        store = stored(tmp_path / f"{n}", values, rng.integers(0, 2, n), rows=128)
        sizes.append(sum(shard.stat().st_size for shard in store.shards) // 1000)
        told = [sys.executable, "-c", MEASURE, str(store.folder), str(tmp_path / f"run {n}")]
        done = subprocess.run(told, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout))
    grown = peaks[1] - peaks[0]
    assert grown < (sizes[1] - sizes[0]) / 3, f"kB of memory: {peaks}, of the stores: {sizes}"


# Parts, controls, figures


def test_parts_keep_groups_whole_and_stay_where_they_are():
    names = [f"g{n}" for n in range(4000)]
    part = hashed(names, (80, 10, 10), 0)
    shares = np.bincount(part) / 4000
    assert np.allclose(shares, (0.8, 0.1, 0.1), atol=0.02)
    assert np.array_equal(hashed(names[:99:-1], (80, 10, 10), 0), part[:99:-1])
    assert (hashed(names, (80, 10, 10), 1) != part).mean() > 0.2


def test_permuted_labels_keep_groups_and_leave_other_parts_alone():
    groups = np.repeat(np.arange(200), 3)
    labels = np.array(["a", "b", "c", "d"])[groups % 4].astype(str)
    mixed = groups < 40
    labels[mixed] = np.resize(["x", "y", "z"], mixed.sum())
    inside = groups < 150
    found = permuted(labels, groups, inside, 0)
    assert np.array_equal(found[~inside], labels[~inside])
    assert (found[inside] != labels[inside]).mean() > 0.5
    whole = [set(found[groups == g]) for g in range(40, 150)]
    assert all(len(held) == 1 for held in whole)
    # Where all groups are of one size, so are the classes.
    assert Counter(permuted(labels, groups, ~mixed, 0)) == Counter(labels)


def test_areas_along_sorted_scores_are_those_of_all_pairs():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=200).round(1)
    positive, weights = rng.random(200) < 0.3, rng.integers(0, 4, (20, 200)).astype(float)
    pairs = stats.auroc(scores, positive, np.zeros(200, int), weights)
    assert np.allclose(Ranked(scores, positive).auroc(weights), pairs)
    logits = rng.normal(size=(50, 4)) * 40
    labels = rng.integers(0, 4, 50)
    assert np.array_equal(log_odds(logits).argmax(1), logits.argmax(1))
    small = logits / 40
    odds = np.log(p := torch.tensor(small).softmax(-1).numpy()) - np.log1p(-p)
    assert np.allclose(log_odds(small), odds)
    assert np.isfinite(log_odds(1000 * logits)).all()
    scorer = Scorer(labels, np.arange(50) // 2, 4, 30, 0)
    draws = scorer.draws({"m": log_odds(logits)})["m"]
    assert draws["auroc", None].shape == (31,)
    assert draws["auroc", None][0] == pytest.approx(aurocs(log_odds(logits), labels).mean())
    hit = logits.argmax(1) == labels
    recalls = [hit[labels == k].mean() for k in range(4)]
    assert draws["balanced_accuracy", None][0] == pytest.approx(np.mean(recalls))
    assert len(set(draws["auroc", 1])) > 20


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    store = planted(folder, n=3000, strength=1.2)
    return run_probe_corpus(store.folder, folder / "run", SMALL)


def picked(rows, **cells):
    return [row for row in rows if all(row[name] == value for name, value in cells.items())]


def test_a_signal_is_found_in_its_layer_and_nowhere_else(ran):
    rows, told = rows_of(ran), json.loads((ran / "manifest.json").read_text())
    assert told["chosen_layer"] == {"linear": 1, "mlp": 1}
    whole = picked(rows, metric="auroc", emotion="", split="test")
    for method in ("linear", "mlp"):
        value = {
            (row["condition"], row["layer"]): float(row["value"])
            for row in picked(whole, method=method)
        }
        assert value["probe", "1"] > 0.7
        assert value["above_text", "1"] > 0.15
        assert value["selectivity", "1"] > 0.15
        for layer in "012":
            assert 0.4 < value["null", layer] < 0.6
        assert max(value["probe", "0"], value["probe", "2"]) < 0.6
    for row in picked(whole, condition="above_text"):
        assert float(row["low"]) > 0
        assert float(row["q"]) < 0.1
    assert {row["condition"] for row in whole} == {
        "probe", "null", "baseline", "above_text", "selectivity", "above_linear"
    }  # fmt: skip
    # One permutation's own spread is not known.
    assert not any(row["p"] or row["q"] for row in picked(rows, condition="selectivity"))
    classes = {row["emotion"] for row in picked(rows, condition="probe", metric="recall")}
    assert classes == {"c0", "c1", "c2"}
    assert not picked(rows, value="")


def test_parts_are_balanced_as_asked_and_the_manifest_says_so(tmp_path):
    values, _ = clouds(900)
    labels = np.where(np.arange(900) % 10 < 7, "often", "rare")
    store = stored(tmp_path / "s", values, labels)
    for train, test in (("mean", "smallest"), ("keep", "keep")):
        options = Options(balance_train=train, balance_test=test, hidden=0, epochs=1)
        parts = Study(store.folder, options, tmp_path / "run").parts
        before, after = (
            {k: [own[name][n] for name in ("often", "rare")] for k, own in parts.counts.items()}
            for n in (0, 1)
        )
        assert sum(map(sum, before.values())) == 900
        if train == "keep":
            assert after == before
        else:
            assert after["train"] == [round(sum(before["train"]) / 2)] * 2
            assert after["test"] == [min(before["test"])] * 2
            assert parts.null_times.sum() == pytest.approx(parts.times.sum(), abs=1)
    run_probe_corpus(store.folder, tmp_path / "run", Options(hidden=0, epochs=1, bootstraps=9))
    told = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert told["counts"]["train"]["rare"][1] > told["counts"]["train"]["rare"][0]
    assert told["options"]["balance_train"] == "mean"
    assert "mlp" not in told["chosen_layer"]


def test_words_that_tell_the_class_are_found_by_words_alone(tmp_path):
    store = planted(tmp_path, words=True, n=1200)
    out = run_probe_corpus(store.folder, tmp_path / "run", SMALL)
    found = picked(rows_of(out), method="reference", metric="auroc", emotion="")
    assert float(found[0]["value"]) > 0.95
    above = picked(rows_of(out), condition="above_text", metric="auroc", emotion="")
    assert all(float(row["high"]) < 0 for row in above)


def test_a_store_with_input_embeddings_has_them_as_a_baseline(tmp_path):
    rows = [{"text": f"{TEXTS[n % 2]} {n}", "label": "ab"[n % 2]} for n in range(120)]
    path = tmp_path / "few.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    corpus = Corpus(path, filters=Filters(0, repeats="keep"))
    asked = (["resid_pre", "resid_post"], ["last", "mean"])
    capture_corpus(build("llama"), corpus, tmp_path / "store", *asked, shard_items=32)
    out = run_probe_corpus(tmp_path / "store", tmp_path / "run", SMALL)
    static = picked(rows_of(out), method="static_embedding", metric="auroc", split="test")
    assert float(picked(static, emotion="")[0]["value"]) > 0.9
    assert json.loads((out / "manifest.json").read_text())["model"]["name"] == "llama"


def test_a_study_that_was_killed_goes_on_where_it_was(tmp_path, monkeypatch):
    store, out = planted(tmp_path, n=600), tmp_path / "run"
    fit = Study._fit

    def killed(self, method):
        if method == "mlp":
            raise KeyboardInterrupt
        return fit(self, method)

    with monkeypatch.context() as patched:
        patched.setattr(Study, "_fit", killed)
        with pytest.raises(KeyboardInterrupt):
            run_probe_corpus(store.folder, out, SMALL)
    assert not (out / "results.csv").exists()
    made = {path.stem: path.stat().st_mtime_ns for path in (out / "stages").iterdir()}
    assert set(made) == {"scaling", "words", "linear"}
    run_probe_corpus(store.folder, out, SMALL)
    now = {path.stem: path.stat().st_mtime_ns for path in (out / "stages").iterdir()}
    assert set(now) == {*made, "mlp"}
    assert all(now[name] == when for name, when in made.items())
    before = (out / "results.csv").read_bytes()
    told = []
    run_probe_corpus(store.folder, out, SMALL, progress=lambda *given: told.append(given))
    assert (out / "results.csv").read_bytes() == before
    assert not told, "something was fitted again"
    fresh = run_probe_corpus(store.folder, tmp_path / "other", SMALL)
    assert (fresh / "results.csv").read_bytes() == before
    with pytest.raises(UserError, match="differs in options"):
        run_probe_corpus(store.folder, out, Options(hidden=0))


# Bad input


def test_the_command_refuses_what_cannot_be(tmp_path, capsys):
    def said(folder, *arguments):
        return refused(capsys, "probe-corpus", folder, "--out", tmp_path / "run", *arguments)

    good = planted(tmp_path, n=200, rows=64).folder
    assert "unknown way to balance the training part 'even'" in said(
        good, "--balance-train", "even"
    )
    assert "accepted are smallest, keep" in said(good, "--balance-test", "mean")
    assert "unknown or uncaptured site 'mlp_out'" in said(good, "--site", "mlp_out")
    assert "unknown or uncaptured pooling 'mean': accepted are last" in said(
        good, "--pooling", "mean"
    )
    assert "three shares above 0" in said(good, "--parts", "90,10")
    assert "epochs is 0: give 1 or more" in said(good, "--epochs", "0")
    assert "C is -1: give a number above 0" in said(good, "--C", "-1")
    assert "device 'tpu'" in said(good, "--device", "tpu")
    assert "holds no items.parquet" in said(tmp_path)
    values, _ = clouds(200)
    bare = stored(tmp_path / "bare", values, [""] * 200).folder
    assert "has no labels: capture it with --label COLUMN" in said(bare)
    alike = stored(tmp_path / "alike", values, ["joy"] * 200).folder
    assert "one class only (joy)" in said(alike)
    rare = stored(tmp_path / "rare", values, ["joy" if n else "awe" for n in range(200)]).folder
    assert "class 'awe' has no row in the " in said(rare)
    (good / "00002.safetensors").unlink()
    assert "is not whole: it has 3 of 4 shards; run the same `probekit capture` again" in said(good)
    assert not (tmp_path / "run").exists()


def test_a_store_without_its_manifest_or_of_other_items_is_refused(tmp_path):
    store = planted(tmp_path, n=200)
    store.write_shard(3, [f"x{n}" for n in range(8)], "",
                      {"resid_post/last": np.zeros((3, 8, 16), np.float32)})  # fmt: skip
    with pytest.raises(UserError, match="holds other items than its texts are"):
        run_probe_corpus(store.folder, tmp_path / "run", SMALL)
    other = planted(tmp_path, "other", n=200)
    (other.folder / "manifest.json").unlink()
    with pytest.raises(UserError, match=r"has no manifest\.json"):
        run_probe_corpus(other.folder, tmp_path / "run", SMALL)


def test_batches_refuse_what_does_not_match(tmp_path):
    store = planted(tmp_path, n=200)
    blocks = Blocks(store, "resid_post", "last")
    with pytest.raises(UserError, match="3 labels and 3 times for 200 items"):
        Batches(blocks, ["a", "b", "a"])
    with pytest.raises(UserError, match=r"one class only \(a\)"):
        Batches(blocks, ["a"] * 200)
    with pytest.raises(UserError, match="uncaptured layers"):
        Blocks(store, "resid_post", "last", (2, 3))
    own = [Batches(Blocks(store, "resid_post", "last"), clouds(200)[1]) for _ in range(2)]
    moments = own[0].moments()
    with pytest.raises(UserError, match="learn from one `Blocks`"):
        fit_together([MiniBatchProbes(), MiniBatchProbes()], own, moments)
    values = clouds(200)[0]
    values[7, 1, 3] = np.nan
    broken = Blocks(stored(tmp_path / "nan", values, clouds(200)[1]), "resid_post", "last")
    with pytest.raises(UserError, match="NaN or infinity"):
        MiniBatchProbes().fit(Batches(broken, clouds(200)[1]))


# The real model


@pytest.mark.slow
def test_the_command_on_the_default_model_end_to_end(tmp_path, capsys):
    store, out = tmp_path / "store", tmp_path / "run"
    corpus = Corpus("utterances", filters=Filters(0, repeats="keep"))
    sites = ["resid_pre.0", "resid_post.10", "resid_post.11"]
    capture_corpus(load_model(DEFAULT), corpus, store, sites, ["last", "mean"])
    code = run(["probe-corpus", str(store), "--out", str(out), "--parts", "60,20,20",
                "--hidden", "32", "--bootstraps", "200", "--device", "cpu"])  # fmt: skip
    assert code == 0
    assert "linear probe" in capsys.readouterr().out
    assert (out / "report.html").is_file()
    rows = picked(rows_of(out), metric="auroc", emotion="", split="test")
    chosen = json.loads((out / "manifest.json").read_text())["chosen_layer"]
    cells = {"method": "linear", "layer": str(chosen["linear"])}
    probe, null = (picked(rows, condition=c, **cells)[0] for c in ("probe", "null"))
    assert float(probe["low"]) > 0.6
    assert float(probe["value"]) > float(null["high"])
