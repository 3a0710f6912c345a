"""The shipped sets are what their datasheets claim, down to what words alone achieve on them."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from probekit.lint import Design, Finding, lint
from probekit.lint.agreement import alphas, as_intended
from probekit.stimuli import (
    Reading,
    Stimulus,
    StimulusSet,
    lexicon,
    read_datasheet,
    read_readings,
    shipped,
    stream_rows,
    words,
)
from probekit.stimuli.readings import text_hash

HOME = Path(__file__).parent.parent / "stimuli"
SETS = (
    "complex_neutral",
    "crossed",
    "expressions",
    "minimal_pairs",
    "perspective",
    "scenarios",
    "utterances",
    "vignettes",
)
BASIC = ["anger", "disgust", "fear", "happiness", "sadness", "surprise"]
EIGHT = ["rage", "grief", "terror", "ecstasy", "loathing", "amazement", "admiration", "vigilance"]
QUICK = Design(permutations=0, bootstraps=50)


@cache
def load(name: str) -> StimulusSet:
    return StimulusSet.load(name)


@cache
def sheet(name: str) -> dict[str, Any]:
    """The machine-readable head of a datasheet."""
    return read_datasheet(HOME / name / "stimuli.jsonl")


@cache
def readings(name: str) -> tuple[Reading, ...]:
    return tuple(read_readings(HOME / name / "readings.csv"))


def prose(name: str) -> str:
    return " ".join((HOME / name / "README.md").read_text(encoding="utf-8").split())


def groups(name: str, column: str) -> Iterator[list[Stimulus]]:
    values = load(name).column(column)
    for value in dict.fromkeys(values):
        yield [row for row in load(name).rows if getattr(row, column) == value]


# What holds for every set


def test_these_are_all():
    assert shipped() == sorted(SETS)
    licence = (HOME / "LICENSE").read_text(encoding="utf-8")
    assert "https://creativecommons.org/licenses/by/4.0/" in licence
    assert "the probekit authors" in licence


@pytest.mark.parametrize("name", SETS)
def test_datasheet_head(name):
    stimuli, head = load(name), sheet(name)
    version = "0.3.0" if name in ("expressions", "utterances") else "0.2.0"
    assert (head["name"], head["version"]) == (name, version)
    assert head["licence"] == "CC-BY-4.0"
    assert head["rows"] == len(stimuli)
    assert set(stimuli.column("set")) == {name}
    assert head["arms"] == sorted(set(stimuli.column("arm")) - {""})
    assert head["domains"] == sorted(set(stimuli.column("domain")))
    assert head["splits"] == dict(Counter(stimuli.column("split").tolist()))


@pytest.mark.parametrize("name", SETS)
def test_datasheet_shows_a_real_row_and_its_sections(name):
    text = (HOME / name / "README.md").read_text(encoding="utf-8")
    example = json.loads(text.split("```json\n")[1].split("```")[0])
    assert example in [row for _, row in stream_rows(HOME / name / "stimuli.jsonl")]
    for title in ("What it measures", "How it was made", "Known weaknesses", "Blind readings"):
        assert f"## {title}" in text


@cache
def findings(name: str) -> list[Finding]:
    return lint(name, design=QUICK)


@pytest.mark.parametrize("name", SETS)
def test_every_claim_holds(name):
    failed = [f"{f.name}: {f.said}, {f.claim}" for f in findings(name) if f.passed is False]
    assert failed == []
    assert sum(finding.passed is True for finding in findings(name)) >= 2


@pytest.mark.parametrize("name", [name for name in SETS if name != "complex_neutral"])
def test_words_alone_achieve_what_the_datasheet_says(name):
    found = {finding.name: finding.value for finding in findings(name)}
    assert len(sheet(name)["measured"]) >= 6
    for stated in sheet(name)["measured"]:
        arm = f" {stated['source']}" if "source" in stated else ""
        held = f", {stated['folds']}s held out" if "folds" in stated else ""
        key = f"{stated['task']}{arm}{held}: {stated['method']}, {stated['metric']}"
        assert stated["value"] == pytest.approx(found[key], abs=0.02), key
        assert f"{stated['value']:.2f}".removeprefix("0") in prose(name), key


@pytest.mark.parametrize("name", SETS)
def test_a_split_never_parts_a_scenario(name):
    for rows in groups(name, "scenario"):
        assert len({row.split for row in rows}) == 1, rows[0].scenario


@pytest.mark.parametrize("name", SETS)
def test_typography(name):
    # Generated texts shout, so those that stand for them may.
    loud = name == "expressions"
    endings = (".", ".'", "?", "!", "!'", "?'") if loud else (".", ".'", "?")
    marks = r'["“”‘’]|\s[,.;:!]' if loud else r'[!"“”‘’]|\s[,.;:]'
    for row in load(name).rows:
        assert row.text == " ".join(row.text.split()), row.id
        # Posts end as posts do.
        assert name == "utterances" or row.text.endswith(endings), row.id
        assert not re.search(marks, row.text), row.id


@pytest.mark.parametrize("name", SETS)
def test_ids_do_not_tell_the_label(name):
    if name == "vignettes":
        return  # Ids name the arm there; no model and no reader sees them.
    endings: dict[str, Counter[str]] = {}
    for row in load(name).rows:
        if row.pair or row.quad:
            label = row.arm or row.emotion or row.valence
            endings.setdefault(row.id[-1], Counter())[label] += 1
    for ending, labels in endings.items():
        assert max(labels.values()) < 0.7 * sum(labels.values()), (ending, labels)


# Structure


def test_vignettes():
    scenarios = list(groups("vignettes", "scenario"))
    assert len(scenarios) == 96
    kinds = Counter((rows[0].emotion, rows[0].domain) for rows in scenarios)
    assert kinds == {(e, d): 4 for e in EIGHT for d in ("family", "work", "health")}
    crossed = Counter((rows[0].person, rows[0].intensity) for rows in scenarios)
    assert crossed == {(p, i): 24 for p in ("first", "third") for i in ("strong", "moderate")}
    for part in ("dev", "test"):
        inside = [rows[0] for rows in scenarios if rows[0].split == part]
        assert Counter((row.emotion, row.domain) for row in inside) == dict.fromkeys(kinds, 2)
    listed = lexicon()
    for rows in scenarios:
        free, rich, neutral = rows
        assert [row.arm for row in rows] == ["keyword_free", "keyword_rich", "neutral"]
        assert free.emotion == rich.emotion != neutral.emotion == neutral.valence == "neutral"
        assert (free.valence, free.intensity) == (rich.valence, rich.intensity)
        assert neutral.intensity == ""
        assert len({row.person for row in rows}) == 1
        assert all(40 <= len(words(row.text)) <= 91 for row in rows), free.scenario
        kept = set(words(neutral.text)) & set(words(free.text))
        assert len(kept) >= 0.55 * len(set(words(neutral.text))), free.scenario
        added = Counter(words(rich.text)) - Counter(words(free.text))
        assert added.total() <= 12, rich.id
        assert set(listed) & set(added), rich.id


def test_minimal_pairs():
    pairs, couples = (list(groups("minimal_pairs", key)) for key in ("pair", "scenario"))
    assert (len(pairs), len(couples)) == (160, 80)
    emotional = [row for row in load("minimal_pairs").rows if row.arm == "keyword_free"]
    assert Counter(row.emotion for row in emotional) == dict.fromkeys(EIGHT, 20)
    for rows in pairs:
        assert {row.arm for row in rows} == {"keyword_free", "neutral"}
        assert rows[0].text != rows[1].text
    for rows in couples:
        arms = {"keyword_free": Counter(), "neutral": Counter()}
        for row in rows:
            arms[row.arm].update(words(row.text))
        assert arms["keyword_free"] == arms["neutral"], rows[0].scenario


def test_crossed():
    quads = list(groups("crossed", "quad"))
    flips = [rows for rows in quads if rows[0].emotion]
    assert (len(quads), len(flips)) == (140, 40)
    kinds = Counter(tuple(sorted({row.emotion for row in rows})) for rows in flips)
    assert kinds == {
        ("grief", "relief"): 8,
        ("amusement", "terror"): 8,
        ("gratitude", "rage"): 8,
        ("admiration", "loathing"): 8,
        ("grief", "rage"): 8,
    }
    for rows in quads:
        assert len(rows) == 4
        for phrase in ("context", "outcome"):
            told = Counter((getattr(row, phrase), row.emotion or row.valence) for row in rows)
            assert len(told) == 4
            assert set(told.values()) == {1}


def test_scenarios():
    rows = [row for _, row in stream_rows(HOME / "scenarios" / "stimuli.jsonl")]
    themes = Counter((row["theme"], row["split"]) for row in rows)
    assert len(themes) == 16
    assert {count for (_, split), count in themes.items() if split == "dev"} == {20}
    assert {count for (_, split), count in themes.items() if split == "test"} == {10}
    for row in rows:
        assert list(row["event"]) == ["positive", "neutral", "negative"]
    assert Counter(load("scenarios").column("valence").tolist()) == {
        "positive": 240,
        "neutral": 240,
        "negative": 240,
    }


def test_perspective():
    for one, other in groups("perspective", "scenario"):
        a, b = one.extra, other.extra
        assert (a["emotion_a"], a["emotion_b"]) == (b["emotion_b"], b["emotion_a"]), one.id
        assert {a["favours"], b["favours"]} == {"a", "b"}
        assert (a["holder_a"], a["holder_b"]) == (b["holder_a"], b["holder_b"])
        for row in (one, other):
            for holder in ("holder_a", "holder_b"):
                assert row.extra[holder].lower() in row.text.lower(), row.id
    assert len(load("perspective")) == 60


def test_complex_neutral():
    rows = load("complex_neutral").rows
    assert len(rows) == 48
    assert {row.arm for row in rows} == {"neutral"}
    assert Counter(row.domain for row in rows) == {"family": 16, "work": 16, "health": 16}


def test_expressions():
    scenarios = list(groups("expressions", "scenario"))
    assert len(scenarios) == 40
    domains = sheet("expressions")["domains"]
    assert Counter(rows[0].domain for rows in scenarios) == dict.fromkeys(domains, 5)
    for rows in scenarios:
        count = Counter(row.emotion for row in rows)
        assert count == {**dict.fromkeys(EIGHT, 1), "neutral": 4}, rows[0].scenario
        assert all((row.arm == "neutral") == (row.emotion == "neutral") for row in rows)
    cells = Counter((r.emotion, r.arm, r.split) for r in load("expressions").rows)
    arms = ("keyword_free", "keyword_rich")
    expected = {(e, arm, part): 10 for e in EIGHT for arm in arms for part in ("dev", "test")}
    assert cells == expected | {("neutral", "neutral", part): 80 for part in ("dev", "test")}
    per_domain = Counter((r.emotion, r.arm, r.domain) for r in load("expressions").rows)
    assert {n for (e, *_), n in per_domain.items() if e != "neutral"} == {2, 3}
    listed = lexicon()
    for row in load("expressions").rows:
        said = words(row.text)
        assert 12 <= len(said) <= 55, row.id
        if row.arm == "keyword_rich":
            assert row.emotion in {listed.get(word) for word in said}, row.id


def test_expressions_do_not_repeat_one_another_or_other_sets():
    def runs(row: Stimulus) -> set[tuple[str, ...]]:
        said = words(row.text)
        return {tuple(said[i : i + 5]) for i in range(len(said) - 4)}

    others = {
        run
        for name in SETS
        if name != "expressions"
        for row in load(name).rows
        for run in runs(row)
    }
    seen: dict[tuple[str, ...], set[str]] = {}
    for row in load("expressions").rows:
        assert len(runs(row) & others) < 2, row.id
        for run in runs(row):
            seen.setdefault(run, set()).add(row.id)
    shared = Counter(pair for ids in seen.values() for pair in combinations(sorted(ids), 2))
    assert not [pair for pair, count in shared.items() if count > 2]
    openings = Counter(" ".join(words(r.text)[:3]) for r in load("expressions").rows)
    assert max(openings.values()) <= 4


def test_utterances():
    scenarios = list(groups("utterances", "scenario"))
    assert len(scenarios) == 60
    domains = sheet("utterances")["domains"]
    places = Counter((rows[0].domain, rows[0].split) for rows in scenarios)
    assert places == {(domain, part): 3 for domain in domains for part in ("dev", "test")}
    divisions = Counter()
    for rows in scenarios:
        assert sorted(row.emotion for row in rows) == sorted([*BASIC, "neutral"]), rows[0].scenario
        assert all((row.arm == "neutral") == (row.emotion == "neutral") for row in rows)
        rich = sorted(row.emotion for row in rows if row.arm == "keyword_rich")
        divisions[tuple(rich)] += 1
        for column in ("topic", "voice", "writer"):
            assert len({row.extra[column] for row in rows}) == 1
    assert divisions == dict.fromkeys(combinations(BASIC, 3), 3)
    topics = {rows[0].extra["topic"] for rows in scenarios}
    assert len(topics) == 60
    listed = lexicon()
    for row in load("utterances").rows:
        said = words(row.text)
        assert 10 <= len(said) <= 48, row.id
        if row.arm == "keyword_rich":
            assert set(said) & set(listed), row.id
    # The place of a post in its scenario says nothing of its emotion.
    places = Counter((row.id[-2:], row.emotion) for row in load("utterances").rows)
    assert max(places.values()) <= 18


# Readers


@pytest.mark.parametrize("name", SETS)
def test_every_text_was_read_blind_as_it_stands(name):
    asked = ("a", "b") if name == "perspective" else ("",)
    told = {(reading.text_sha256, reading.about, reading.reader) for reading in readings(name)}
    assert len(told) == len(readings(name))  # Nobody reads a text twice.
    count = Counter((sha, about) for sha, about, _ in told)
    for row in load(name).rows:
        for about in asked:
            assert count[text_hash(row.text), about] >= 2, row.id


@pytest.mark.parametrize("name", SETS)
def test_datasheet_reports_agreement_as_it_was(name):
    current = {text_hash(row.text) for row in load(name).rows}
    rounds = {
        "first": [reading for reading in readings(name) if reading.round == 1],
        "now": [reading for reading in readings(name) if reading.text_sha256 in current],
    }
    for when, stated in sheet(name)["agreement"].items():
        found = {
            column: (alpha, count) for column, alpha, count in alphas(load(name), rounds[when])
        }
        assert set(found) == set(stated)
        for column, (alpha, count) in found.items():
            figures = stated[column]
            assert figures["alpha"] == pytest.approx(alpha.value, abs=0.006)
            assert figures["low"] == pytest.approx(alpha.low, abs=0.006)
            assert figures["high"] == pytest.approx(alpha.high, abs=0.006)
            assert figures["texts"] == count
    for group, right, total in as_intended(load(name), rounds["now"]):
        assert f"{right} of {total}" in prose(name), group


@pytest.mark.parametrize("name", SETS)
def test_readers_are_named_for_what_they_are(name):
    assert {reading.kind for reading in readings(name)} == {"language_model"}
    assert "one rater repeated" in prose(name)
