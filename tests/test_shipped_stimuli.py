"""The shipped sets are what their datasheets claim, down to what words alone achieve on them."""

import csv
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from difflib import SequenceMatcher
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.pipeline import make_pipeline

from probekit.stimuli import Stimulus, StimulusSet, shipped

HOME = Path(__file__).parent.parent / "stimuli"
SETS = ("crossed", "minimal_pairs", "vignettes")


def words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+(?:['’][^\W_]+)?", text.lower())


KEYWORDS = frozenset(
    words("""
    rage furious fury anger angry angrily outraged grief grieve grieving grieved sorrow sad sadly
    mourn mourning heartbroken despair misery weep wept terror terrified terrifying fear feared
    afraid scared scary fright frightened frightening panic horror horrified dread dreaded ecstasy
    ecstatic joy joyful happy happily happiness delight delighted thrilled elated overjoyed bliss
    glad loathing loathe loathed disgust disgusted disgusting revolted revolting repulsed hate hated
    hatred amazement amazed amazing astonished astonishing astonishment astounded surprise surprised
    surprising stunned wonder awe admiration admire admired admiring respect reverence proud pride
    vigilance vigilant alert wary watchful anxious anxiety worry worried nervous tense cry cried
    tears scream screamed sob laugh laughed smile smiled love loved feel feels feeling felt emotion
    """)
)


@cache
def load(name: str) -> StimulusSet:
    return StimulusSet.load(name)


@cache
def sheet(name: str) -> dict[str, Any]:
    """The machine-readable head of a datasheet."""
    head = (HOME / name / "README.md").read_text(encoding="utf-8").split("---\n")[1]
    return yaml.safe_load(head)


def groups(name: str, column: str) -> Iterator[list[Stimulus]]:
    for value in dict.fromkeys(load(name).column(column)):
        yield [row for row in load(name).rows if getattr(row, column) == value]


def by_arm(rows: list[Stimulus]) -> dict[str, list[str]]:
    """The words of each arm; of several rows in one arm, all."""
    arms: dict[str, list[str]] = {}
    for row in rows:
        arms.setdefault(row.arm, []).extend(words(row.text))
    return arms


# What holds for every set


def test_these_are_all():
    assert shipped() == sorted(SETS)
    licence = (HOME / "LICENSE").read_text(encoding="utf-8")
    assert "https://creativecommons.org/licenses/by/4.0/" in licence
    assert "the probekit authors" in licence


@pytest.mark.parametrize("name", SETS)
def test_datasheet_head(name):
    stimuli, head = load(name), sheet(name)
    assert (head["name"], head["version"]) == (name, "0.1.0")
    assert head["licence"] == "CC-BY-4.0"
    assert head["rows"] == len(stimuli)
    assert set(stimuli.column("set")) == {name}
    assert head["arms"] == sorted(set(stimuli.column("arm")) - {""})
    assert head["domains"] == sorted(set(stimuli.column("domain")))
    for line in (HOME / name / "stimuli.jsonl").read_text(encoding="utf-8").splitlines():
        keys = list(json.loads(line))
        assert keys == [column for column in head["columns"] if column in keys]


@pytest.mark.parametrize("name", SETS)
def test_datasheet_shows_a_real_row_and_its_sections(name):
    text = (HOME / name / "README.md").read_text(encoding="utf-8")
    example = text.split("```json\n")[1].split("```")[0]
    assert json.loads(example) in [
        json.loads(line)
        for line in (HOME / name / "stimuli.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert "## Blind readings" in text


def agreement(name: str, arm: str, shipped_only: bool) -> tuple[int, int]:
    """Texts of an arm read as intended, and texts read: in round 1, or as they ship."""
    rows = {row.id: row for row in StimulusSet.load(name).rows if row.arm == arm}
    with (HOME / name / "readings.csv").open(encoding="utf-8", newline="") as file:
        found = [reading for reading in csv.DictReader(file) if reading["id"] in rows]
    kept = [r for r in found if (r["shipped_text"] if shipped_only else r["round"]) == "1"]
    last = {reading["id"]: reading for reading in kept}
    if shipped_only:
        for id_, reading in last.items():
            assert (
                hashlib.sha256(rows[id_].text.encode()).hexdigest()[:12] == reading["text_sha256"]
            )
    right = [as_intended(rows[id_], reading) for id_, reading in last.items()]
    return sum(right), len(right)


def as_intended(row, reading: dict[str, str]) -> bool:
    """Whether a reader named the emotion (or, in the crossed set, the side of the valence)."""
    if row.quad:
        return (float(reading["valence"]) > 5) == (row.valence == "positive")
    return reading["emotion"] == ("nothing_much" if row.arm == "neutral" else row.emotion)


@pytest.mark.parametrize(
    ("name", "arm", "first", "now"),
    [
        ("vignettes", "keyword_free", "48 of 48", "48 of 48"),
        ("vignettes", "keyword_rich", "48 of 48", "48 of 48"),
        ("vignettes", "neutral", "25 of 48", "48 of 48"),
        ("minimal_pairs", "keyword_free", "40 of 40", "40 of 40"),
        ("minimal_pairs", "neutral", "11 of 40", "34 of 40"),
        ("crossed", "", "96 of 96", "96 of 96"),
    ],
)
def test_datasheet_reports_the_readings_as_they_were_made(name, arm, first, now):
    assert "{} of {}".format(*agreement(name, arm, shipped_only=False)) == first
    assert "{} of {}".format(*agreement(name, arm, shipped_only=True)) == now
    text = " ".join((HOME / name / "README.md").read_text(encoding="utf-8").split())
    assert first in text
    assert now in text
    for title in ("What it measures", "How it was made", "Known weaknesses", "Blind readings"):
        assert f"## {title}" in text


@pytest.mark.parametrize("name", SETS)
def test_no_keyword_where_none_belongs(name):
    for row in load(name).rows:
        if row.arm != "keyword_rich":
            assert not KEYWORDS & set(words(row.text)), row.id


@pytest.mark.parametrize("name", SETS)
def test_typography(name):
    for row in load(name).rows:
        assert row.text == " ".join(row.text.split()), row.id
        assert row.text.endswith((".", ".'")), row.id
        assert not re.search(r'[!"“”‘’]|\s[,.;:]', row.text), row.id


# Structure


def test_vignettes():
    claims, structure = sheet("vignettes")["claims"], sheet("vignettes")["structure"]
    scenarios = list(groups("vignettes", "scenario"))
    assert len(scenarios) == structure["scenarios"] == 48
    kinds = Counter((rows[0].emotion, rows[0].domain) for rows in scenarios)
    emotions, domains = structure["emotions"], sheet("vignettes")["domains"]
    assert kinds == {(emotion, domain): 2 for emotion in emotions for domain in domains}
    assert (len(emotions), len(domains)) == (8, 3)
    for rows in scenarios:
        free, rich, neutral = rows
        assert [row.arm for row in rows] == ["keyword_free", "keyword_rich", "neutral"]
        assert free.emotion == rich.emotion != neutral.emotion == neutral.valence == "neutral"
        assert (free.valence, free.intensity) == (rich.valence, rich.intensity)
        assert neutral.intensity == ""
        assert len({row.person for row in rows}) == 1
        lengths = [len(words(row.text)) for row in rows]
        assert max(lengths) <= claims["length_ratio_max"] * min(lengths), free.scenario
        kept = set(words(neutral.text)) & set(words(free.text))
        assert len(kept) >= claims["shared_words_min"] * len(set(words(neutral.text)))
        added = Counter(words(rich.text)) - Counter(words(free.text))
        assert KEYWORDS & set(added), rich.id


def test_minimal_pairs():
    head = sheet("minimal_pairs")
    pairs, couples = (list(groups("minimal_pairs", key)) for key in ("pair", "scenario"))
    assert (len(pairs), len(couples)) == (40, 20)
    assert head["structure"]["pairs"] == 40
    assert head["structure"]["couples"] == 20
    for rows in pairs:
        assert [row.arm for row in rows] == ["keyword_free", "neutral"]
        first, second = (words(row.text) for row in rows)
        blocks = SequenceMatcher(None, first, second, autojunk=False).get_matching_blocks()
        longer = max(len(first), len(second))
        changed = longer - sum(block.size for block in blocks)
        assert 0 < changed <= head["claims"]["changed_token_share_max"] * longer
    assert head["claims"]["changed_words_in_both_arms"]
    for rows in couples:
        arms = by_arm(rows)
        assert Counter(arms["keyword_free"]) == Counter(arms["neutral"]), rows[0].scenario
    emotions = Counter(rows[0].emotion for rows in pairs)
    assert emotions == dict.fromkeys(head["structure"]["emotions"], 5)


def test_crossed():
    head = sheet("crossed")
    quads = list(groups("crossed", "quad"))
    assert len(quads) == head["structure"]["quads"] == 24
    assert head["claims"]["crossed_exactly"]
    for rows in quads:
        assert len(rows) == 4
        assert all(row.text == f"{row.context} {row.outcome}" for row in rows)
        for phrase in ("context", "outcome"):
            told = Counter((getattr(row, phrase), row.valence) for row in rows)
            assert len(told) == 4
            assert set(told.values()) == {1}


# Words alone


def words_alone(rows: list[Stimulus], labels: list[str], folds: list[str]) -> float:
    """AUROC (macro one-vs-rest) of logistic regression on which words a text holds.

    Each value of `folds` is held out once; the scores of all folds are ranked together.
    """
    classifier = make_pipeline(CountVectorizer(binary=True), LogisticRegression(max_iter=2000))
    texts = [row.text for row in rows]
    scores = cross_val_predict(
        classifier, texts, labels, groups=folds, cv=LeaveOneGroupOut(), method="predict_proba"
    )
    classes, truth = np.unique(labels), np.array(labels)
    return float(
        np.mean([roc_auc_score(truth == name, scores[:, k]) for k, name in enumerate(classes)])
    )


def vignette_folds(rows: list[Stimulus]) -> list[str]:
    """Six folds of eight scenarios, one of each emotion: "family-1" to "work-2"."""
    return [row.scenario.split("-", 1)[1] for row in rows]


def fifths(rows: list[Stimulus]) -> list[str]:
    """Five folds of whole scenarios, dealt out in their order."""
    order = {name: str(k % 5) for k, name in enumerate(dict.fromkeys(r.scenario for r in rows))}
    return [order[row.scenario] for row in rows]


def measured(name: str, claim: str) -> float:
    rows = list(load(name).rows)
    if name == "crossed":
        return words_alone(rows, [row.valence for row in rows], fifths(rows))
    if claim.startswith("reception"):
        arm = claim.removeprefix("reception_")
        rows = [row for row in rows if row.arm in (arm, "neutral")]
        labels = ["neutral" if row.arm == "neutral" else "emotional" for row in rows]
    else:
        arm = claim.removeprefix("categorisation_")
        emotion = {row.scenario: row.emotion for row in rows if row.arm == "keyword_free"}
        rows = [row for row in rows if row.arm == arm]
        labels = [emotion[row.scenario] for row in rows]
    return words_alone(rows, labels, vignette_folds(rows) if name == "vignettes" else fifths(rows))


CLAIMS = [
    ("crossed", "valence"),
    ("minimal_pairs", "reception_keyword_free"),
    ("vignettes", "reception_keyword_free"),
    ("vignettes", "reception_keyword_rich"),
    ("vignettes", "categorisation_keyword_free"),
    ("vignettes", "categorisation_keyword_rich"),
    ("vignettes", "categorisation_neutral"),
]


@pytest.mark.parametrize(("name", "claim"), CLAIMS)
def test_words_alone(name, claim):
    stated = sheet(name)["claims"]["words_alone_auroc"][claim]
    assert stated["value"] == pytest.approx(measured(name, claim), abs=0.006)
    assert stated["low"] <= stated["value"] <= stated["high"]
