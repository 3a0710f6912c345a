"""Reading stimuli: every format, every refusal, structure, and laziness."""

import csv
import json
import tracemalloc
from itertools import islice
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probekit.errors import UserError
from probekit.stimuli import (
    Stimulus,
    StimulusSet,
    check_pairs,
    check_quads,
    check_triplets,
    shipped,
    stream_rows,
    stream_texts,
)

ROWS = [
    {"id": "a", "text": 'One, "quoted"\ntext.', "scenario": "s", "arm": "neutral", "note": "x"},
    {"id": "b", "text": "Zwei Äpfel 🍏", "scenario": "s", "arm": "keyword_free", "note": ""},
]


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def jsonl(path: Path, rows) -> Path:
    return write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def save(rows, folder: Path, kind: str) -> Path:
    """Write rows in one of the accepted formats."""
    path = folder / f"given.{kind}"
    if kind == "jsonl":
        return jsonl(path, rows)
    if kind == "csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
            writer.writeheader()
            writer.writerows(rows)
        return path
    if kind == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
        return path
    from datasets import Dataset

    path = folder / "given"
    Dataset.from_list(rows).save_to_disk(path)
    return path


KINDS = ("jsonl", "csv", "parquet", "datasets")


def refused(call, *parts: str) -> None:
    """The call raises a `UserError` of one line that holds every part."""
    with pytest.raises(UserError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message


# Formats


@pytest.mark.parametrize("kind", KINDS)
def test_formats_say_the_same(tmp_path, kind):
    loaded = StimulusSet.load(save(ROWS, tmp_path, kind))
    reference = StimulusSet.load(jsonl(tmp_path / "reference.jsonl", ROWS))
    assert loaded.rows == reference.rows
    assert loaded.sha256 == reference.sha256
    assert (loaded.name, reference.name) == ("given", "reference")
    assert loaded.rows[0].extra == {"note": "x"}
    assert loaded.rows[1].extra == {}
    assert loaded.rows[1].pair == ""


@pytest.mark.parametrize("kind", KINDS)
def test_ids_default_to_row_numbers(tmp_path, kind):
    path = save([{"text": "one"}, {"text": "two"}], tmp_path, kind)
    assert list(stream_texts(path)) == [("1", "one"), ("2", "two")]
    assert StimulusSet.load(path).ids == ["1", "2"]


def test_whole_number_ids_become_strings(tmp_path):
    path = jsonl(tmp_path / "n.jsonl", [{"id": 7, "text": "one"}, {"id": 9, "text": "two"}])
    assert StimulusSet.load(path).ids == ["7", "9"]


def test_windows_files_are_fine(tmp_path):
    table = write(tmp_path / "w.csv", '\ufeffid,text\r\n\r\na,"one\r\nline"\r\nb,two\r\n')
    assert list(stream_texts(table)) == [("a", "one\r\nline"), ("b", "two")]
    assert [number for number, _ in stream_rows(table)] == [3, 5]
    lines = write(tmp_path / "w.jsonl", '\ufeff{"text": "one"}\r\n\r\n \n{"text": "two"}\r\n')
    assert list(stream_texts(lines)) == [("1", "one"), ("2", "two")]
    assert [number for number, _ in stream_rows(lines)] == [1, 4]


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1).filter(
    lambda text: text.strip()
)


@given(st.lists(TEXTS, min_size=1, max_size=5), st.sampled_from(["jsonl", "csv", "parquet"]))
def test_any_text_survives(tmp_path_factory, texts, kind):
    folder = tmp_path_factory.mktemp("any")
    path = save([{"id": f"i{n}", "text": text} for n, text in enumerate(texts)], folder, kind)
    assert StimulusSet.load(path).texts == texts


@given(st.binary(max_size=60), st.sampled_from(["jsonl", "csv", "parquet"]))
def test_any_bytes_are_read_or_refused_in_one_line(tmp_path_factory, content, kind):
    path = write(tmp_path_factory.mktemp("bytes") / f"x.{kind}", content)
    try:
        outcome = StimulusSet.load(path).rows
    except UserError as error:
        outcome = str(error)
    assert outcome
    assert isinstance(outcome, tuple) or (str(path) in outcome and "\n" not in outcome)


# Refusals


def test_refuses_what_is_not_there(tmp_path):
    refused(
        lambda: StimulusSet.load("vignette"),
        "'vignette'",
        "crossed, expressions, minimal_pairs, perspective",
        ".jsonl",
        "save_to_disk",
    )
    refused(lambda: stream_texts(tmp_path / "no.csv"), "no.csv", "vignettes")


def test_refuses_unknown_extension_before_reading(tmp_path):
    path = write(tmp_path / "t.txt", b"\xff")
    refused(lambda: stream_rows(path), "t.txt", "'.txt'", ".jsonl, .csv, .tsv or .parquet")


@pytest.mark.parametrize(
    ("name", "content"), [("e.jsonl", ""), ("b.jsonl", "\n\n"), ("e.csv", ""), ("h.csv", "text\n")]
)
def test_refuses_empty_files(tmp_path, name, content):
    path = write(tmp_path / name, content)
    refused(lambda: list(stream_rows(path)), name, "no row", "'text'")


GOOD = '{"id": "a", "text": "one"}\n'


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (GOOD + '{"id": "b", "sentence": "x"}', ["line 2", "no column 'text'", "'sentence'"]),
        (GOOD + '{"id": "b", "text": " \\n"}', ["line 2", "'text' is empty", "write a text"]),
        (GOOD + '{"id": "b", "text": null}', ["line 2", "'text' is empty"]),
        (GOOD + '{"id": "b", "text": 3}', ["line 2", "'text' is 3 (int)", "quotes"]),
        (GOOD + "\n" + GOOD, ["line 3", "id 'a'", "in line 1", "its own"]),
        (GOOD + '{"text": "two"}', ["line 2", "no id", "every row an id, or none"]),
        ('{"text": "two"}\n' + GOOD, ["line 2", "an id", "every row an id, or none"]),
        ('{"id": true, "text": "one"}', ["line 1", "'id' is True (bool)", "whole number"]),
        (GOOD + '{"id": "b", "text"', ["line 2", "broken JSON", "one object a line"]),
        (GOOD + "[" * 100_000, ["line 2", "broken JSON"]),
        (GOOD + '{"text": "\\ud83d"}', ["line 2", "broken JSON", "surrogate"]),
        (GOOD + '["two"]', ["line 2", "list", "not an object", '{"text": "..."}']),
        (GOOD.encode() + b'{"text": "\xff"}', ["line 2", "not UTF-8", "byte 11", "offset 37"]),
        (GOOD.encode("utf-16"), ["line 1", "not UTF-8", "byte 1 ", "save the file as UTF-8"]),
        (
            '{"id": "a", "text": "one", "emotion": 4}',
            ["line 1", "'emotion' is 4 (int)", "labels are words"],
        ),
        (
            '{"id": "a", "text": "one", "arm": "neutrl"}',
            ["line 1", "unknown arm 'neutrl'", "keyword_free, keyword_rich, neutral", "empty"],
        ),
    ],
)
def test_refuses_bad_lines(tmp_path, content, parts):
    path = write(tmp_path / "x.jsonl", content)
    refused(lambda: StimulusSet.load(path), str(path), *parts)


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("id,sentence\na,one\n", ["line 2", "no column 'text'", "'id', 'sentence'"]),
        ('id,text\na,"one\ntwo"\nb,\n', ["line 4", "'text' is empty"]),
        ('id,text\na,"one\ntwo"\na,x\n', ["line 4", "id 'a'", "in line 2"]),
        ("id,text\na,one, two\n", ["line 2", "3 cells under 2 columns", "quote"]),
        ('id,text\na,"one\n', ["line 2", "broken CSV", "quote"]),
        ('id,text\na,"one" two\n', ["line 2", "broken CSV"]),
        ("text,text\none,two\n", ["two columns 'text'", "rename one"]),
        (b"id,text\na,\xe4\n", ["line 2", "not UTF-8", "byte 3", "offset 10"]),
        ("id,text,arm\na,one,rich\n", ["line 2", "unknown arm 'rich'"]),
    ],
)
def test_refuses_bad_tables(tmp_path, content, parts):
    path = write(tmp_path / "x.csv", content)
    refused(lambda: StimulusSet.load(path), str(path), *parts)


def test_refuses_bad_parquet(tmp_path):
    path = write(tmp_path / "x.parquet", b"PAR1 and no more")
    refused(lambda: list(stream_rows(path)), "x.parquet", "no readable Parquet", "row 0")
    doubled = save([{"id": "a", "text": "one"}, {"id": "a", "text": "two"}], tmp_path, "parquet")
    refused(lambda: list(stream_texts(doubled)), "row 2", "id 'a'", "in row 1")


def test_refuses_bad_folders(tmp_path):
    from datasets import Dataset, DatasetDict

    refused(lambda: list(stream_rows(tmp_path)), str(tmp_path), "without a dataset", ".jsonl")
    several = tmp_path / "several"
    DatasetDict({"train": Dataset.from_list(ROWS)}).save_to_disk(several)
    refused(lambda: list(stream_rows(several)), "several splits", str(several / "train"))
    assert len(StimulusSet.load(several / "train")) == 2
    write(several / "train" / "state.json", "{")
    refused(lambda: list(stream_rows(several / "train")), "broken dataset", "save it again")


def test_refuses_what_the_system_refuses(tmp_path):
    looped = tmp_path / "a.jsonl"
    looped.mkdir()
    refused(lambda: list(stream_rows(looped)), str(looped), "without a dataset")
    unreadable = Path("/proc/self/mem")
    link = tmp_path / "mem.jsonl"
    link.symlink_to(unreadable)
    if unreadable.exists():
        refused(lambda: list(stream_rows(link)), "cannot read", "mem.jsonl")


# Streaming


def test_streaming_is_lazy(tmp_path):
    path = write(tmp_path / "late.jsonl", GOOD + "no JSON\n")
    rows = stream_texts(path)
    assert next(rows) == ("a", "one")
    refused(lambda: next(rows), "line 2")


@pytest.mark.parametrize("kind", KINDS)
def test_memory_stays_flat(tmp_path, kind):
    """Twenty megabytes pass through a few: Python's, and Arrow's where it reads."""
    import pyarrow as pa

    noise = Random(0)  # what compresses well would hide a row group that is held whole
    rows = [{"text": noise.randbytes(500).hex()} for _ in range(20_000)]
    path = save(rows, tmp_path, kind)
    del rows
    list(islice(stream_texts(path), 1))  # imports are not counted
    arrow, tallest = pa.total_allocated_bytes(), 0
    tracemalloc.start()
    count = 0
    for count, _ in enumerate(stream_texts(path), start=1):
        if count % 500 == 0:
            tallest = max(tallest, pa.total_allocated_bytes() - arrow)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 20_000
    assert peak < 4e6
    assert tallest < 10e6


# The set


def small() -> StimulusSet:
    rows = (
        Stimulus("a", "one", arm="neutral", emotion="neutral", extra={"score": 1}),
        Stimulus("b", "two", arm="keyword_free", emotion="rage"),
        Stimulus("c", "three", arm="keyword_free", emotion="grief", extra={"score": 2}),
    )
    return StimulusSet("small", rows)


def test_columns():
    stimuli = small()
    assert len(stimuli) == 3
    assert stimuli.texts == ["one", "two", "three"]
    assert stimuli.column("emotion").tolist() == ["neutral", "rage", "grief"]
    assert stimuli.column("quad").tolist() == ["", "", ""]
    assert stimuli.column("score").tolist() == ["1", "", "2"]
    assert stimuli.column("emotion").dtype.kind == "U"
    refused(lambda: stimuli.column("emotin"), "'emotin'", "id, text", "did you mean 'emotion'?")
    refused(lambda: stimuli.column("zzz"), "unknown column 'zzz'", "score")


def test_select():
    stimuli = small()
    assert stimuli.select(arm="keyword_free").ids == ["b", "c"]
    assert stimuli.select(emotion=["neutral", "grief"]).ids == ["a", "c"]
    assert stimuli.select(emotion=np.array(["grief"]), arm="keyword_free").ids == ["c"]
    assert stimuli.select(score=1).ids == ["a"]
    assert stimuli.select(arm="neutral").name == "small"
    assert stimuli.select(arm="neutral").sha256 != stimuli.sha256
    refused(lambda: stimuli.select(emotion="joy"), "small", "emotion='joy'", "'grief', 'neutral'")
    refused(lambda: stimuli.select(arm="neutral", emotion="rage"), "emotion is 'neutral'")
    refused(lambda: stimuli.select(emotion=[]), "emotion=[]")
    refused(lambda: stimuli.select(sett="x"), "did you mean 'set'?")


FIELDS = [name for name in Stimulus.__dataclass_fields__ if name != "extra"]


@given(st.integers(0, 2), st.sampled_from(FIELDS), st.text(max_size=5))
def test_hash_follows_content(index, field, value):
    stimuli = small()
    row = stimuli.rows[index]
    changed = Stimulus(**{**vars(row), field: value})
    rows = tuple(changed if place == index else row for place, row in enumerate(stimuli.rows))
    same = getattr(row, field) == value
    assert (StimulusSet("other", rows).sha256 == stimuli.sha256) == same


def test_hash_follows_extra_columns_and_order():
    stimuli = small()
    first, *rest = stimuli.rows
    rescored = Stimulus(**{**vars(first), "extra": {"score": 3}})
    assert StimulusSet("small", (rescored, *rest)).sha256 != stimuli.sha256
    assert StimulusSet("small", stimuli.rows[::-1]).sha256 != stimuli.sha256


def test_hash_ignores_the_file(tmp_path):
    first = StimulusSet.load(jsonl(tmp_path / "one.jsonl", ROWS))
    turned = [dict(reversed(row.items())) for row in ROWS]
    assert StimulusSet.load(jsonl(tmp_path / "two.jsonl", turned)).sha256 == first.sha256


def test_hash_takes_dates(tmp_path):
    import datetime

    rows = [{"text": "one", "day": datetime.date(2024, 2, 29)}]
    stimuli = StimulusSet.load(save(rows, tmp_path, "parquet"))
    assert stimuli.column("day").tolist() == ["2024-02-29"]
    assert len(stimuli.sha256) == 64


# Structure


def quad(**changes) -> list[Stimulus]:
    """A whole quad, with `changes` made in its last row."""
    rows = [
        {
            "id": f"{context}{outcome}",
            "text": f"{context} {outcome}",
            "valence": "positive" if (context == "c1") == (outcome == "o1") else "negative",
            "quad": "q",
            "scenario": "q",
            "context": context,
            "outcome": outcome,
        }
        for context in ("c1", "c2")
        for outcome in ("o1", "o2")
    ]
    rows[-1] |= changes
    return [Stimulus(**row) for row in rows]


def test_quads():
    check_quads(quad())
    check_quads(small().rows)
    refused(lambda: check_quads(quad()[:3]), "quad 'q'", "3 rows (c1o1, c1o2, c2o1)")
    refused(lambda: check_quads(quad(context="c3", text="c3 o2")), "3 contexts and 2 outcomes")
    refused(lambda: check_quads(quad(context="c1", text="c1 o2")), "each combination once")
    refused(lambda: check_quads(quad(text="c2  o2")), "text of 'c2o2'", "exactly")
    refused(lambda: check_quads(quad(context="")), "text of 'c2o2'")
    refused(lambda: check_quads(quad(valence="negative")), "no interaction")
    refused(lambda: check_quads(quad(scenario="p")), "spans the scenarios ['p', 'q']")


@given(st.lists(st.sampled_from(["positive", "negative"]), min_size=4, max_size=4))
def test_only_the_interaction_passes(valences):
    rows = [
        Stimulus(**{**vars(row), "valence": valence})
        for row, valence in zip(quad(), valences, strict=True)
    ]
    first, second, third, fourth = valences
    if first == fourth != second == third:
        check_quads(rows)
    else:
        refused(lambda: check_quads(rows), "no interaction")


def pair(**changes) -> list[Stimulus]:
    second = {"arm": "neutral", "scenario": "s", "pair": "p"} | changes
    first = Stimulus("e", "x", arm="keyword_free", scenario="s", pair="p")
    return [first, Stimulus("n", "y", **second)]


def test_pairs():
    check_pairs(pair())
    check_pairs(small().rows)
    refused(lambda: check_pairs(pair(pair="q")), "pair 'p'", "1 rows (e)", "two rows")
    refused(lambda: check_pairs(pair(arm="keyword_free")), "one label twice", "e, n")
    refused(lambda: check_pairs(pair(scenario="t")), "spans the scenarios ['s', 't']")


def test_triplets():
    rows = [
        Stimulus(f"{scenario}{arm}", "x", arm=arm, scenario=scenario)
        for scenario in "st"
        for arm in ("keyword_free", "keyword_rich", "neutral")
    ]
    check_triplets(rows)
    check_triplets(small().rows)
    refused(lambda: check_triplets(rows[1:]), "scenario 's'", "0 keyword_free", "1 neutral")
    refused(lambda: check_triplets([*rows, rows[0]]), "scenario 's'", "2 keyword_free")
    check_triplets([*rows, rows[0], rows[3]])  # One arm more often than the others, everywhere.
    stray = Stimulus("stray", "x", arm="neutral")
    refused(lambda: check_triplets([*rows, stray]), "'stray'", "no scenario")


def test_load_checks_structure(tmp_path):
    columns = ("id", "text", "arm", "scenario", "pair", "quad", "context", "outcome", "valence")
    broken = {
        "pair": pair(arm="keyword_free"),
        "quad": quad(valence="negative"),
        "scenario": [pair()[0], pair(scenario="t", pair="")[1]][::-1],
    }
    broken["scenario"] = [Stimulus(**{**vars(row), "pair": ""}) for row in broken["scenario"]]
    for kind, rows in broken.items():
        records = [{name: getattr(row, name) for name in columns} for row in rows]
        path = jsonl(tmp_path / f"{kind}.jsonl", records)
        refused(lambda path=path: StimulusSet.load(path), str(path), f"{kind} '")
        assert len(list(stream_texts(path))) == len(rows)


def test_a_name_is_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "crossed").mkdir()
    assert shipped() == [
        "complex_neutral",
        "crossed",
        "expressions",
        "minimal_pairs",
        "perspective",
        "scenarios",
        "utterances",
        "vignettes",
    ]
    assert StimulusSet.load("crossed").name == "crossed"
    assert len(list(stream_texts("crossed"))) == 560
    refused(lambda: StimulusSet.load(Path("crossed")), "without a dataset")


def test_a_wheel_carries_its_own(tmp_path, monkeypatch):
    from probekit.stimuli import reading

    inside = tmp_path / "probekit" / "stimuli" / "reading.py"
    monkeypatch.setattr(reading, "__file__", str(inside))
    folder = tmp_path / "probekit" / "_stimuli" / "mine"
    folder.mkdir(parents=True)
    jsonl(folder / "stimuli.jsonl", ROWS)
    assert shipped() == ["mine"]
    assert StimulusSet.load("mine").ids == ["a", "b"]
