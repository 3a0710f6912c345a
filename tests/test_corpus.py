"""Corpora: what filters leave, what counts as a repeat, labels from one taxonomy to another."""

import contextlib
import json
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from families import TEXTS, build, network, tokenizer
from test_cli import refused

from probekit import load_model
from probekit.activations import capture
from probekit.bundled import DEFAULT
from probekit.cli import run
from probekit.corpus import (
    Corpus,
    Filters,
    Items,
    Repeats,
    capture_corpus,
    resampled,
    to_mean,
    to_smallest,
)
from probekit.corpus.repeats import Remembered
from probekit.errors import UserError
from probekit.store import ActivationStore


def written(path, rows):
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")
    return path


def sentence(rng, words=20):
    return " ".join(f"w{n}" for n in rng.integers(0, 5000, words))


def test_what_came_before_is_known_and_what_did_not_is_not():
    seen = Remembered(1 << 20)
    first = [seen.add(f"{n}".encode()) for n in range(5000)]
    assert sum(first) <= 1
    assert all(seen.add(f"{n}".encode()) for n in range(5000))
    assert sum(seen.add(f"x{n}".encode()) for n in range(5000)) <= 1


def test_repeats_exact_near_and_neither():
    repeats = Repeats()
    assert repeats.kind("The train was late again, by an hour!") == ""
    assert repeats.kind("the train was late  again by an hour") == "exact"
    long = " ".join(f"word{n}" for n in range(60))
    assert repeats.kind(long) == ""
    assert repeats.kind(long + " and") == "near"
    assert repeats.kind("An entirely different text of its own, about rain on the roof.") == ""
    assert Repeats(near=False).kind(long) == ""


def test_near_repeats_are_found_as_often_as_the_formula_says():
    told = Counter()
    for n in range(120):
        repeats = Repeats()
        words = [f"{n}w{k}" for k in range(60)]
        repeats.kind(" ".join(words))
        for share, cut in ((0.9, 3), (0.5, 20)):
            changed = words[: 60 - cut] + [f"{n}{share}x{k}" for k in range(cut)]
            told[share] += repeats.kind(" ".join(changed)) == "near"
    # Runs shared over all runs: 55 of 61, and 38 of 78.
    assert told[0.9] > 110
    assert told[0.5] < 20


def test_filters_drop_and_count(tmp_path):
    rows = [
        {"text": "I missed the last bus home and walked for two hours.", "emotion": "sadness"},
        {"text": "I missed the last bus home, and walked for two hours!", "emotion": "sadness"},
        {"text": "Ach so.", "emotion": "joy"},
        {"text": "Ich habe gestern den Zug verpasst und bin dann nach Hause gelaufen.",
         "emotion": "anger"},
        {"text": "Nobody told me that the shop would be closed on Monday.", "emotion": "anger"},
        {"text": "We are so grateful for the soup that you brought us.", "emotion": "gratitude"},
    ]  # fmt: skip
    corpus = Corpus(written(tmp_path / "x.jsonl", rows), filters=Filters(language="en"))
    kept = list(corpus)
    assert [item.id for item in kept] == ["1", "5", "6"]
    assert corpus.counts == {
        "read": 6, "kept": 3, "exact repeat": 1, "too short": 1, "another language": 1
    }  # fmt: skip
    assert list(corpus) == kept, "a second pass gives the same"
    assert len({item.group for item in kept}) == 3, "each its own, without a scenario"
    whole = list(Corpus(tmp_path / "x.jsonl", filters=Filters(repeats="keep")))
    assert whole[0].group == whole[1].group, "repeats that are kept are never parted"
    assert len({item.group for item in whole}) == len(whole) - 1
    named = Filters(labels=("anger",))
    assert [i.label for i in Corpus(tmp_path / "x.jsonl", filters=named)] == ["anger", "anger"]


def test_labels_go_from_one_taxonomy_to_another(tmp_path):
    rows = [
        {"id": "a", "text": "one two three four", "label": "joy"},
        {"id": "b", "text": "five six seven eight", "label": "desire"},
        {"id": "c", "text": "nine ten eleven twelve", "label": "grief"},
    ]
    path = written(tmp_path / "x.jsonl", rows)
    corpus = Corpus(path, taxonomy="goemotions", to="ekman")
    labels = {item.id: item.label for item in corpus}
    assert labels["a"] == "happiness"
    assert labels["c"] == "sadness"
    plain = Corpus(path, taxonomy="goemotions")
    assert [item.label for item in plain] == ["joy", "desire", "grief"]
    with pytest.raises(UserError, match=r"line 1: .*ekman"):
        list(Corpus(path, taxonomy="ekman"))


@pytest.mark.parametrize(
    ("corpus", "said"),
    [
        ({"text": "body"}, "no column 'body'"),
        ({"label": "mood"}, "no column 'mood'"),
        ({"filters": Filters(fewest_words=99)}, "no text is left after the filters"),
    ],
)
def test_what_is_missing_is_said(tmp_path, corpus, said):
    path = written(tmp_path / "x.jsonl", [{"id": "a", "text": "one two three", "label": "joy"}])
    with pytest.raises(UserError, match=said):
        list(Corpus(path, **corpus))


def test_labels_and_scenarios_that_are_numbers_are_words_zero_too(tmp_path):
    rows = [{"text": f"one two three {n}", "label": n % 2, "scenario": n // 2} for n in range(4)]
    items = list(Corpus(written(tmp_path / "x.jsonl", rows)))
    assert [item.label for item in items] == ["0", "1", "0", "1"]
    assert [item.group for item in items] == ["0", "0", "1", "1"]


def test_a_corpus_without_labels_streams(tmp_path):
    path = written(tmp_path / "x.jsonl", [{"text": "one two three"}])
    assert [item.label for item in Corpus(path)] == [""]


def test_classes_are_made_equally_large():
    labels = ["a"] * 50 + ["b"] * 10 + ["c"] * 30
    for rows, size in ((to_smallest(labels, 0), 10), (to_mean(labels, 0), 30)):
        assert Counter(labels[row] for row in rows) == dict.fromkeys("abc", size)
        assert list(rows) == sorted(rows)
    twice = resampled(labels, 25, 1)
    assert min(Counter(row for row in twice if labels[row] == "b").values()) == 2
    assert len({row for row in twice if labels[row] == "a"}) == 25
    with pytest.raises(UserError, match="no label"):
        to_mean(["a", ""], 0)
    with pytest.raises(UserError, match="0 rows a class"):
        resampled(labels, 0, 0)


MEASURE = """
import resource, sys
from probekit.corpus import Corpus
kept = sum(1 for _ in Corpus(sys.argv[1]))
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_corpus(tmp_path):
    rng = np.random.default_rng(0)
    peaks = []
    for count in (500, 8000):
        path = written(tmp_path / f"{count}.jsonl", [{"text": sentence(rng)} for _ in range(count)])
        told = subprocess.run(
            [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True
        ).stdout.split()
        assert int(told[0]) == count
        peaks.append(int(told[1]))
    assert peaks[1] < peaks[0] + 20_000, f"kB at 500 and 8,000 texts: {peaks}"


# Into a store


def few(tmp_path):
    rows = [{"id": f"t{n}", "text": f"{TEXTS[2]} {n}", "label": "ab"[n % 2]} for n in range(9)]
    return written(tmp_path / "few.jsonl", [*rows, {"id": "t9", "text": "short", "label": "a"}])


def test_a_store_of_a_corpus_is_the_store_of_its_texts_with_labels_beside(tmp_path):
    model, path = build("llama"), few(tmp_path)
    corpus = Corpus(path, filters=Filters(repeats="exact"))
    store = capture_corpus(model, corpus, tmp_path / "store", ["resid_post.1"], ["last"])
    texts = [(f"t{n}", f"{TEXTS[2]} {n}") for n in range(9)]
    alone = capture(model, texts, ["resid_post.1"], ["last"])
    assert store.ids == alone.ids
    found = store.layer("resid_post", 1, "last")
    assert np.array_equal(found, alone.layer("resid_post", 1, "last"))
    items = Items(tmp_path / "store")
    assert items.column("label") == ["ab"[n % 2] for n in range(9)]
    assert list(items.texts()) == texts
    manifest = json.loads((tmp_path / "store" / "manifest.json").read_text())
    assert manifest["counts"] == {"read": 10, "kept": 9, "too short": 1}
    assert str(tmp_path) not in json.dumps(manifest)


def test_a_corpus_that_breaks_off_leaves_whole_shards_and_goes_on(tmp_path, monkeypatch):
    import probekit.activations as activations

    model, path = build("llama"), few(tmp_path)
    read, calls = activations.Job.run, []

    def breaking(self, *args):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return read(self, *args)

    monkeypatch.setattr(activations.Job, "run", breaking)
    corpus = Corpus(path, filters=Filters(repeats="exact"))
    asked = (tmp_path / "store", ["resid_post.1"], ["last"])
    with pytest.raises(KeyboardInterrupt):
        capture_corpus(model, corpus, *asked, shard_items=4)
    assert len(ActivationStore(tmp_path / "store")) == 4
    store = capture_corpus(model, corpus, *asked, shard_items=4)
    assert len(store) == 9
    assert len(calls) == 4, "a finished shard is not read again"


def test_a_store_takes_one_corpus_filtered_in_one_way(tmp_path):
    model, path = build("llama"), few(tmp_path)
    asked = (tmp_path / "store", ["resid_post.1"], ["last"])
    capture_corpus(model, Corpus(path, filters=Filters(repeats="exact")), *asked, shard_items=4)
    items = Items(tmp_path / "store")
    assert (len(items), items.windows, len(items.window(2))) == (9, 3, 1)
    with pytest.raises(UserError, match=r"another corpus \(it differs in filters\)"):
        capture_corpus(model, Corpus(path), *asked, shard_items=4)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"id": "u", "text": "one more text", "label": "a"}) + "\n")
    again = Corpus(path, filters=Filters(repeats="exact"))
    with pytest.raises(UserError, match="differs in source"):
        capture_corpus(model, again, *asked, shard_items=4)
    with pytest.raises(UserError, match=r"holds no items\.parquet"):
        Items(tmp_path)


@pytest.mark.slow
def test_the_command_reads_a_shipped_set_into_a_store(tmp_path, capsys):
    out = tmp_path / "store"
    code = run(
        ["capture", DEFAULT, "perspective", "--out", str(out), "--sites", "resid_post.20",
         "--pooling", "last", "--repeats", "exact"]
    )  # fmt: skip
    assert code == 0
    assert "60 items in" in " ".join(capsys.readouterr().out.split())
    store = ActivationStore(out)
    assert store.layer("resid_post", 20, "last").shape == (60, 576)
    model = load_model(DEFAULT)
    assert store.header["key"]["model"] == model.fingerprint


def test_the_command_refuses_what_cannot_be(tmp_path, capsys):
    out = ["--out", tmp_path / "store"]
    assert "no stimulus set and no file" in refused(capsys, "capture", DEFAULT, "nosuch", *out)
    path = few(tmp_path)
    asked = ("capture", DEFAULT, path, *out)
    assert "unknown way with repeats" in refused(capsys, *asked, "--repeats", "some")
    assert "say which taxonomy" in refused(capsys, *asked, "--to", "ekman")
    assert "moods" in refused(capsys, *asked, "--taxonomy", "moods")


def test_the_command_takes_texts_without_labels_and_refuses_what_it_finds(tmp_path, capsys):
    network("llama").save_pretrained(tmp_path / "tiny")
    tokenizer().save_pretrained(tmp_path / "tiny")
    plain = written(tmp_path / "plain.jsonl", [{"text": "rain fell"}, {"text": "she smiled"}])

    def asked(path):
        return [str(word) for word in ("capture", tmp_path / "tiny", path, "--out", path.stem)]

    with contextlib.chdir(tmp_path):
        assert run(asked(plain)) == 0
        assert Items(tmp_path / "plain").column("label") == ["", ""]
        capsys.readouterr()
        empty = tmp_path / "empty.jsonl"
        empty.touch()
        assert "empty.jsonl holds no row" in refused(capsys, *asked(empty))
        odd = written(tmp_path / "odd.jsonl", [{"text": "rain fell", "label": "joyous"}])
        said = refused(capsys, *asked(odd), "--taxonomy", "goemotions")
        assert "odd.jsonl, line 1: 'joyous' is no label of the taxonomy 'goemotions'" in said
        assert "the nearest is 'joy'" in said
        plain.rename(short := tmp_path / "short.jsonl")
        said = refused(capsys, *asked(short), "--fewest-words", "9")
        assert "no text is left after the filters (2 too short)" in said
    assert not list((tmp_path / "odd").glob("*")), "what was refused leaves nothing"
