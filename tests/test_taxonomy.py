"""Taxonomies: labels and maps that agree with one another, and labels that are refused by them."""

import math
from itertools import pairwise

import pytest
from test_stimuli import jsonl, refused, write

from probekit.errors import UserError
from probekit.runs import read_json
from probekit.stimuli import TAXONOMIES, StimulusSet, Taxonomy, affect_norms, home
from probekit.stimuli.readings import CHOICES, offered

MAPS: dict[str, dict[str, str]] = read_json(home() / "taxonomies" / "maps.json")["maps"]
ROWS = [
    {"id": "a", "text": "She put it down.", "emotion": "grief"},
    {"id": "b", "text": "He went away.", "emotion": ""},
    {"id": "c", "text": "They came late.", "emotion": "neutral"},
]
OUTSIDE = {"id": "d", "text": "It was done.", "emotion": "greif"}


def mapped(source: str, target: str, label: str) -> str | None:
    try:
        return Taxonomy.load(source).to(target, label)
    except UserError:
        return None


# What is shipped


@pytest.mark.parametrize("name", TAXONOMIES)
def test_labels_are_one_tree(name):
    taxonomy = Taxonomy.load(name)
    labels = set(taxonomy.labels)
    assert taxonomy.name == name
    assert "(" in taxonomy.source or "authors" in taxonomy.source
    assert len(labels) == len(taxonomy.labels)
    assert all(label == label.strip().lower() != "" for label in labels)
    assert set(taxonomy.levels) == labels
    assert {*taxonomy.parents, *taxonomy.parents.values()} <= labels
    for label in labels:
        assert taxonomy.root(label) not in taxonomy.parents
        if label in taxonomy.parents:
            assert taxonomy.levels[label] != taxonomy.levels[taxonomy.parents[label]]


def test_what_was_published():
    counts = {name: len(Taxonomy.load(name).labels) for name in TAXONOMIES}
    assert counts | {"parrott": 0} == {
        "ekman": 7, "plutchik": 24, "goemotions": 28, "parrott": 0, "probekit": 12
    }  # fmt: skip
    parrott, plutchik = Taxonomy.load("parrott"), Taxonomy.load("plutchik")
    top = {label for label in parrott.labels if parrott.levels[label] == 1}
    assert top == {parrott.root(label) for label in parrott.labels}
    assert top == {"love", "joy", "surprise", "anger", "sadness", "fear"}
    basic = [label for label in plutchik.labels if plutchik.levels[label] == 2]
    assert len(basic) == 8
    for emotion in basic:
        branch = [label for label in plutchik.labels if plutchik.root(label) == emotion]
        assert sorted(plutchik.levels[label] for label in branch) == [1, 2, 3]


def test_readers_choose_from_the_labels_of_the_shipped_sets():
    own = {name: set(Taxonomy.load(name).labels) - {"neutral"} for name in ("probekit", "ekman")}
    assert set(CHOICES) == {*own["probekit"], *own["ekman"], "nothing_much", "other"}
    # Of rage and anger a reader is offered one.
    assert set(offered(["grief", "neutral"])) == own["probekit"] | {"nothing_much", "other"}
    assert set(offered(["anger", "neutral"])) == own["ekman"] | {"nothing_much", "other"}


@pytest.mark.parametrize("name", MAPS)
def test_maps_lead_from_labels_to_labels(name):
    source, target = name.split("->")
    assert source != target
    assert set(MAPS[name]) <= set(Taxonomy.load(source).labels)
    assert set(MAPS[name].values()) <= set(Taxonomy.load(target).labels)
    for label in Taxonomy.load(source).labels:
        assert mapped(source, target, label) == MAPS[name].get(label)


def test_maps_agree_with_one_another():
    """By every way of one map or two, a label comes to one emotion of Ekman's at most."""
    ends: dict[tuple[str, str], set[str | None]] = {}
    for source, target in (name.split("->") for name in MAPS):
        for label, between in MAPS[f"{source}->{target}"].items():
            ends.setdefault((source, label), set()).add(mapped(target, "ekman", between))
    found = {key: ways - {None} for key, ways in ends.items()}
    assert {key: ways for key, ways in found.items() if len(ways) > 1} == {}
    assert all(ways == {label} for (source, label), ways in found.items() if source == "ekman")


def test_intensities_of_one_emotion_map_to_one():
    plutchik = Taxonomy.load("plutchik")
    for label in MAPS["plutchik->ekman"]:
        assert plutchik.to("ekman", label) == plutchik.to("ekman", plutchik.root(label))


def test_affect_norms():
    norms = affect_norms()
    assert all(len(means) == 3 for means in norms.values())
    assert all(1 <= mean <= 9 for means in norms.values() for mean in means)
    assert {*Taxonomy.load("ekman").labels, *Taxonomy.load("probekit").labels} <= set(norms)
    assert not any(math.isnan(mean) for means in norms.values() for mean in means)
    orders = [
        (0, ["grief", "neutral", "relief", "joy"]),  # valence
        (0, ["rage", "neutral", "gratitude", "happiness"]),
        (1, ["boredom", "grief", "anger", "rage"]),  # arousal
        (1, ["serenity", "joy", "ecstasy"]),
        (2, ["terror", "rage", "admiration"]),  # dominance
    ]
    for scale, words in orders:
        for lower, higher in pairwise(words):
            assert norms[lower][scale] < norms[higher][scale], (scale, lower, higher)


# What is asked of them


def test_root():
    assert Taxonomy.load("plutchik").root("rage") == "anger"
    assert Taxonomy.load("parrott").root("bliss") == "joy"  # over two tiers
    assert Taxonomy.load("ekman").root("fear") == "fear"
    refused(lambda: Taxonomy.load("ekman").root("feer"), "'feer'", "nearest is 'fear'")


def test_to():
    assert Taxonomy.load("probekit").to("ekman", "rage") == "anger"
    assert Taxonomy.load("goemotions").to("ekman", "remorse") == "sadness"
    assert Taxonomy.load("parrott").to("parrott", "bliss") == "bliss"
    refused(lambda: Taxonomy.load("ekman").to("ekman", "rage"), "'rage'", "'ekman'")
    refused(lambda: Taxonomy.load("ekman").to("plutchik", "joyy"), "'joyy'", "nearest is")
    refused(lambda: Taxonomy.load("ekman").to("parrott", "fear"), "ekman->parrott", "there are")
    refused(
        lambda: Taxonomy.load("probekit").to("ekman", "vigilance"),
        "probekit->ekman has nothing for 'vigilance'",
        "leave such rows out",
    )
    for call in (
        lambda: Taxonomy.load("eckman"),
        lambda: Taxonomy.load("ekman").to("eckman", "fear"),
    ):
        refused(call, "unknown taxonomy 'eckman'", ", ".join(TAXONOMIES))


def test_check_names_the_nearest():
    taxonomy = Taxonomy.load("probekit")
    assert [taxonomy.check(label) for label in taxonomy.labels] == list(taxonomy.labels)
    for label, nearest in {"Rage": "rage", "greif": "grief", "amusment": "amusement"}.items():
        parts = [f"'{label}'", "taxonomy 'probekit'", f"nearest is '{nearest}'", "vigilance"]
        refused(lambda label=label: taxonomy.check(label), *parts)


# Sets are held against them


def test_load_with_a_taxonomy(tmp_path):
    path = jsonl(tmp_path / "given.jsonl", ROWS)
    assert len(StimulusSet.load(path, taxonomy="plutchik")) == 3  # neutral and none are no emotions
    path = jsonl(tmp_path / "x.jsonl", [*ROWS, OUTSIDE])
    assert len(StimulusSet.load(path)) == 4
    parts = [f"{path}, line 4", "'greif' is no label of the taxonomy 'probekit'", "is 'grief'"]
    refused(lambda: StimulusSet.load(path, taxonomy="probekit"), *parts)
    refused(lambda: StimulusSet.load(path, taxonomy="x"), "unknown taxonomy 'x'", "goemotions")


def test_classes_of_votes_are_held_against_it_too(tmp_path):
    path = write(tmp_path / "x.csv", "text,joy,anger,neutral\nAnn left.,0,1,0\n")
    assert len(StimulusSet.load(path, taxonomy="goemotions")) == 1
    refused(lambda: StimulusSet.load(path, taxonomy="ekman"), f"{path}, line 2", "'joy'", "ekman")


@pytest.mark.parametrize("said", ["labels: [grief, rage]", "taxonomy: probekit"])
def test_a_datasheet_declares_labels(tmp_path, said):
    folder = tmp_path / "mine"
    folder.mkdir()
    write(folder / "README.md", f"---\nname: mine\n{said}\n---\n\n# mine\n")
    jsonl(folder / "stimuli.jsonl", ROWS)
    assert StimulusSet.load(folder).name == "mine"
    # What is asked for wins over what is declared.
    refused(lambda: StimulusSet.load(folder, taxonomy="ekman"), "line 1", "'grief'", "'ekman'")
    path = jsonl(folder / "stimuli.jsonl", [*ROWS, OUTSIDE])
    for given in (folder, path):
        parts = [f"{path}, line 4", "'greif'", "the set's datasheet", "nearest is 'grief'"]
        refused(lambda given=given: StimulusSet.load(given), *parts)
    renamed = path.rename(folder / "other.jsonl")
    assert len(StimulusSet.load(renamed)) == 4  # the datasheet is of stimuli.jsonl alone


def test_a_datasheet_that_is_none(tmp_path):
    jsonl(tmp_path / "stimuli.jsonl", ROWS)
    sheet = tmp_path / "README.md"
    write(sheet, "---\n- mine\n---\n")
    refused(lambda: StimulusSet.load(tmp_path), str(sheet), "no mapping", "name:")
    write(sheet, "---\nname: [mine\n---\n")
    with pytest.raises(UserError, match="broken YAML") as caught:
        StimulusSet.load(tmp_path)
    assert str(sheet) in str(caught.value)
    sheet.unlink()
    assert len(StimulusSet.load(tmp_path)) == 3
