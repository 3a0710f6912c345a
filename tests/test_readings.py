"""Blind readings: read, written and merged by the words that were read; and splits beside them."""

import math
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_stimuli import jsonl, refused, write

from probekit.stimuli import (
    Reading,
    Stimulus,
    StimulusSet,
    TestSplitWarning,
    read_readings,
    write_readings,
)
from probekit.stimuli.readings import CHOICES, COLUMNS, matrix, text_hash

TEXTS = {"a": "She put it down.", "b": "He left, and Bo stayed.", "c": "Hm."}
SET = StimulusSet("given", tuple(Stimulus(*row) for row in TEXTS.items()))
HEAD = "text_sha256,reader,emotion,second,valence,arousal,round\n"


def reading(row: str, reader: str, emotion: str, **given) -> Reading:
    return Reading(text_hash(TEXTS[row]), reader, given.pop("round", 1), emotion, **given)


def written(path: Path, *readings: Reading) -> Path:
    write_readings(path, readings)
    return path


def extras(stimuli: StimulusSet):
    return [dict(row.extra) for row in stimuli.rows]


# Files


def test_round_trip(tmp_path):
    whole = reading("a", "r1", "rage", id="a", round=2, kind="language_model", about="b")
    whole = replace(whole, second="grief", valence=2.5, arousal=8.0, note='"so",\nhe said')
    path = written(tmp_path / "readings.csv", whole, reading("c", "Zoë", "nothing_much"))
    first, second = read_readings(path)
    assert first == whole
    assert math.isnan(second.valence)
    assert math.isnan(second.arousal)
    unrated = {"valence": 0.0, "arousal": 0.0}
    assert replace(second, **unrated) == reading("c", "Zoë", "nothing_much", **unrated)
    head = path.read_text(encoding="utf-8").splitlines()[0]
    assert head == ",".join(COLUMNS)


def test_text_hash():
    assert text_hash("Zoë") == "c6a12698582f"  # printf Zoë | sha256sum


def test_only_three_columns_are_needed(tmp_path):
    path = write(tmp_path / "r.csv", "text_sha256,reader,emotion\n0123456789ab,r,other\n")
    (found,) = read_readings(path)
    assert (found.round, found.kind, found.about, found.note) == (1, "person", "", "")


@pytest.mark.parametrize(
    ("row", "parts"),
    [
        (",r,rage,,,,", ["no 'text_sha256'", "reader and emotion"]),
        ("x,,rage,,,,", ["no 'reader'"]),
        ("x,r,,,,,", ["no 'emotion'"]),
        ("x,r,joy,,,,", ["unknown emotion 'joy'", ", ".join(CHOICES)]),
        ("x,r,rage,joy,,,", ["unknown second 'joy'", "nothing_much"]),
        ("x,r,rage,,0.9,,", ["valence is 0.9", "1 to 9"]),
        ("x,r,rage,,,9.1,", ["arousal is 9.1", "1 to 9"]),
        ("x,r,rage,,low,,", ["'low'", "give numbers"]),
        ("x,r,rage,,,,one", ["'one'", "give numbers"]),
    ],
)
def test_refuses_readings(tmp_path, row, parts):
    path = write(tmp_path / "r.csv", f"{HEAD}y,r,rage,grief,1,9,3\n{row}\n")
    refused(lambda: read_readings(path), f"{path}, line 3", *parts)


def test_refuses_a_file_of_other_columns(tmp_path):
    path = write(tmp_path / "r.csv", "text,label\nShe left.,rage\n")
    refused(lambda: read_readings(path), f"{path}, line 2", "no 'text_sha256'")


def test_matrix():
    given = [reading("a", "r1", "grief", valence=2.0), reading("b", "r2", "rage", about="a")]
    items, labels = matrix(given, "emotion")
    assert items == [(text_hash(TEXTS["a"]), ""), (text_hash(TEXTS["b"]), "a")]
    grief, rage = CHOICES.index("grief"), CHOICES.index("rage")
    np.testing.assert_equal(labels, [[grief, np.nan], [np.nan, rage]])
    np.testing.assert_equal(matrix(given, "valence")[1], [[2, np.nan], [np.nan, np.nan]])


# Merging


def test_the_choice_of_most_and_means(tmp_path):
    path = written(
        tmp_path / "r.csv",
        reading("a", "r1", "rage", valence=2.0, arousal=8.0),
        reading("a", "r2", "grief", valence=3.0),
        reading("a", "r3", "grief"),
        reading("b", "r1", "relief", round=2),
        reading("b", "r2", "other"),
    )
    merged = SET.with_readings(path)
    assert extras(merged) == [
        {"read_emotion": "grief", "readers": 3, "read_valence": 2.5, "read_arousal": 8.0},
        {"read_emotion": "", "readers": 2},
        {},
    ]
    assert merged.column("read_emotion").tolist() == ["grief", "", ""]
    np.testing.assert_equal(merged.numbers("read_valence"), [2.5, np.nan, np.nan])
    assert (merged.name, merged.texts, merged.ids) == (SET.name, SET.texts, SET.ids)
    assert extras(SET) == [{}, {}, {}]


def test_files_are_merged_into_one_count(tmp_path):
    one = written(tmp_path / "1.csv", reading("a", "r1", "rage"), reading("a", "r2", "grief"))
    two = written(tmp_path / "2.csv", reading("a", "r3", "grief"))
    assert extras(SET.with_readings(one, two))[0] == {"read_emotion": "grief", "readers": 3}
    assert SET.with_readings().rows == SET.rows


def test_about_either_person(tmp_path):
    given = [reading("b", "r1", "rage", about="a", valence=2.0), reading("b", "r1", "relief")]
    given += [reading("b", r, e, about="b") for r, e in (("r1", "grief"), ("r2", "grief"))]
    merged = SET.with_readings(written(tmp_path / "r.csv", *given))
    assert extras(merged)[1] == {
        "read_emotion": "relief",
        "readers": 1,
        "read_emotion_a": "rage",
        "readers_a": 1,
        "read_valence_a": 2.0,
        "read_emotion_b": "grief",
        "readers_b": 2,
    }
    assert merged.sha256 == SET.sha256


def test_readings_belong_to_the_words_that_were_read(tmp_path):
    path = written(
        tmp_path / "r.csv", reading("a", "r1", "rage", id="b"), reading("b", "r", "other")
    )
    changed = StimulusSet("changed", (replace(SET.rows[0], text="She put it up."), *SET.rows[1:]))
    merged = changed.with_readings(path)
    assert extras(merged) == [{}, {"read_emotion": "other", "readers": 1}, {}]
    strange = StimulusSet("strange", (Stimulus("a", "Not read."),))
    refused(lambda: strange.with_readings(path), str(path), "no reading of a text of strange")
    own = written(tmp_path / "own.csv", Reading(text_hash("Not read."), "r", 1, "rage"))
    refused(lambda: strange.with_readings(own, path), str(path))


def test_the_hash_is_that_of_what_was_written(tmp_path):
    path = written(tmp_path / "r.csv", reading("a", "r", "rage", valence=2.0, arousal=3.0))
    rows = tuple(replace(row, extra={"score": 1}) for row in SET.rows)
    scored = StimulusSet("scored", rows)
    assert scored.with_readings(path).sha256 == scored.sha256 != SET.sha256
    assert extras(scored.with_readings(path))[0]["score"] == 1


def test_readings_beside_a_set_are_merged_at_load(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    path = jsonl(folder / "stimuli.jsonl", [{"id": i, "text": text} for i, text in TEXTS.items()])
    unread = StimulusSet.load(path)
    written(folder / "readings.csv", reading("c", "r1", "other"))
    for given in (folder, path):
        stimuli = StimulusSet.load(given)
        assert stimuli.column("read_emotion").tolist() == ["", "", "other"]
        assert (stimuli.name, stimuli.sha256) == ("mine", unread.sha256)
    written(folder / "readings.csv", Reading(text_hash("Not here."), "r", 1, "rage"))
    refused(lambda: StimulusSet.load(folder), str(folder / "readings.csv"), "no reading")
    assert len(StimulusSet.load(path.rename(folder / "other.jsonl"))) == 3


# Splits

PARTED = StimulusSet(
    "parted",
    tuple(
        Stimulus(i, i, split=split)
        for i, split in zip("abcd", ("dev", "test", "dev", ""), strict=True)
    ),
)


def test_splits():
    assert SET.splits == []
    assert PARTED.splits == ["dev", "test"]
    assert PARTED.select(split="dev").ids == ["a", "c"]
    assert PARTED.select(split="dev").splits == ["dev"]
    assert PARTED.select(split=["test", "dev"]).ids == ["a", "b", "c"]
    refused(lambda: PARTED.select(split="train"), "split='train'", "'dev', 'test'")


def test_choosing_on_test_rows_is_warned_of():
    def choose(stimuli: StimulusSet) -> None:
        stimuli.warn_if_test("the layer")

    with pytest.warns(TestSplitWarning, match="the layer of parted .* 1 rows of its test") as seen:
        choose(PARTED)
    assert [Path(warning.filename) for warning in seen] == [Path(__file__)]
    assert "select(split='dev')" in str(seen[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        choose(PARTED.select(split="dev"))
        choose(SET)
