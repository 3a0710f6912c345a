"""Files of other studies as rows of our columns: what each becomes, and what is refused where."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from test_stimuli import jsonl, refused, save, write

from probekit.stimuli import SHARES, StimulusSet, Taxonomy, stream_texts

EMPTY = {"domain": None, "matched_control_id": None, "has_emotion_keyword": None}
AFFECT = [
    {"id": "A-rage-01", "text": "I was furious when he lied to me.", "emotion": "rage"}
    | {**EMPTY, "intensity": "high", "stimulus_set": "A_standard", "has_emotion_keyword": True},
    {"id": "A-neutral-01", "text": "The bus leaves at nine.", "emotion": "neutral"}
    | {**EMPTY, "intensity": "none", "stimulus_set": "A_standard"},
    {"id": "B-rage-d1-v1", "text": "The account was empty. His brother had signed.", "domain": 1}
    | {"emotion": "rage", "intensity": "peak", "domain_label": "Betrayal"}
    | {"stimulus_set": "B_clinical", "matched_control_id": "N-rage-d1-c1"},
    {"id": "N-rage-d1-c1", "text": "The account was in order. His brother had signed.", "domain": 1}
    | {"emotion": "neutral", "intensity": "none", "domain_label": "Money"}
    | {"stimulus_set": "neutral", "matched_control_id": "B-rage-d1-v1"},
]
SEV = {
    "theme": "work",
    "skeleton_id": "work-1",
    "scenario": "Ann waits for a letter.",
    "event": {"positive": "She got the job.", "neutral": "It is a bill.", "negative": "She lost."},
}
CROWD = [
    {"text_id": "7", "emotion": "joy", "pleasantness": "5"}
    | {"generated_text": "I felt joy, at last.", "hidden_emo_text": "I felt ..., at last."},
    {"text_id": "9", "emotion": "anger", "pleasantness": ""}
    | {"generated_text": 'I was angry: "no".', "hidden_emo_text": 'I was ...: "no".'},
]
RATED = "text,id,rater_id,joy,anger,neutral\n"
VOTES = "text,joy,anger\n"


def load(path: Path) -> StimulusSet:
    """The set, of which the stream must say the same."""
    stimuli = StimulusSet.load(path)
    assert list(stream_texts(path)) == list(zip(stimuli.ids, stimuli.texts, strict=True))
    return stimuli


def told(stimuli: StimulusSet, *columns: str) -> list[tuple[str, ...]]:
    return [tuple(getattr(row, name) for name in columns) for row in stimuli.rows]


def table(path: Path, rows, delimiter: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


# affect-reception


def test_affect_reception(tmp_path):
    stimuli = load(jsonl(tmp_path / "given.jsonl", AFFECT))
    assert told(stimuli, "id", "set", "arm", "emotion", "intensity") == [
        ("A-rage-01", "A_standard", "keyword_rich", "rage", "high"),
        ("A-neutral-01", "A_standard", "neutral", "neutral", "none"),
        ("B-rage-d1-v1", "clinical", "keyword_free", "rage", "peak"),
        ("N-rage-d1-c1", "clinical", "neutral", "neutral", "none"),
    ]
    own = ("B-rage-d1-v1", "B-rage-d1-v1", "1")
    assert told(stimuli, "pair", "scenario", "domain") == [("", "", ""), ("", "", ""), own, own]
    assert stimuli.texts == [row["text"] for row in AFFECT]
    assert [sorted(row.extra) for row in stimuli.rows] == [
        ["has_emotion_keyword"],
        [],
        ["domain_label", "matched_control_id"],
        ["domain_label", "matched_control_id"],
    ]


def test_affect_reception_keeps_domain_nought(tmp_path):
    rows = [*AFFECT[:2], *({**row, "domain": 0} for row in AFFECT[2:])]
    assert told(load(jsonl(tmp_path / "d.jsonl", rows)), "domain")[2:] == [("0",), ("0",)]


@pytest.mark.parametrize(
    ("rows", "parts"),
    [
        (AFFECT[:3], ["line 3", "'B-rage-d1-v1' has 1 rows", "a pair is two rows"]),
        (
            [*AFFECT[:3], {**AFFECT[3], "matched_control_id": "B-rage-d1-v2"}],
            ["line 3", "'B-rage-d1-v1' has 1 rows"],
        ),
        ([*AFFECT, {**AFFECT[3], "id": "N-2"}], ["line 3", "has 3 rows (B-rage-d1-v1, N-rage"]),
        ([*AFFECT[:3], {**AFFECT[3], "text": ""}], ["line 4", "'text' is empty"]),
        ([*AFFECT, AFFECT[0]], ["line 5", "id 'A-rage-01'", "in line 1"]),
    ],
)
def test_affect_reception_refuses(tmp_path, rows, parts):
    path = jsonl(tmp_path / "x.jsonl", rows)
    refused(lambda: StimulusSet.load(path), str(path), *parts)


# SEV


def test_sev(tmp_path):
    later = {**SEV, "skeleton_id": 2, "event": {"negative": "It is lost.", "positive": None}}
    bare = {"scenario": "Bo calls.", "event": {"neutral": "It rings."}, "source": "x"}
    stimuli = load(jsonl(tmp_path / "sev.jsonl", [SEV, later, bare]))
    assert told(stimuli, "id", "valence", "scenario", "domain", "outcome") == [
        ("work-1-positive", "positive", "work-1", "work", "She got the job."),
        ("work-1-neutral", "neutral", "work-1", "work", "It is a bill."),
        ("work-1-negative", "negative", "work-1", "work", "She lost."),
        ("work-2-negative", "negative", "work-2", "work", "It is lost."),
        ("3-neutral", "neutral", "3", "", "It rings."),
    ]
    assert [row.text for row in stimuli.rows] == [f"{r.context} {r.outcome}" for r in stimuli.rows]
    assert stimuli.rows[0].context == "Ann waits for a letter."
    assert stimuli.rows[0].extra == {"skeleton_id": "work-1"}
    assert stimuli.rows[4].extra == {"source": "x"}


@pytest.mark.parametrize(
    "change", [{"event": {"joyful": "x"}}, {"event": "x"}, {"event": {}}, {"scenario": None}]
)
def test_sev_refuses(tmp_path, change):
    path = jsonl(tmp_path / "x.jsonl", [SEV, {**SEV, "skeleton_id": "work-2", **change}])
    for call in (StimulusSet.load, lambda path: list(stream_texts(path))):
        parts = [str(path), "line 2", "`scenario`", "`event`", "positive, neutral, negative"]
        refused(lambda call=call: call(path), *parts)


def test_sev_refuses_a_scenario_twice(tmp_path):
    path = jsonl(tmp_path / "x.jsonl", [SEV, SEV])
    refused(lambda: StimulusSet.load(path), "line 2", "'work-1-positive'", "in line 1")


# crowd-enVENT


@pytest.mark.parametrize(("kind", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_crowd_envent(tmp_path, kind, delimiter):
    stimuli = load(table(tmp_path / f"crowd.{kind}", CROWD, delimiter))
    assert told(stimuli, "id", "text", "arm", "scenario", "emotion") == [
        ("7-keyword_rich", "I felt joy, at last.", "keyword_rich", "7", "joy"),
        ("7-keyword_free", "I felt ..., at last.", "keyword_free", "7", "joy"),
        ("9-keyword_rich", 'I was angry: "no".', "keyword_rich", "9", "anger"),
        ("9-keyword_free", 'I was ...: "no".', "keyword_free", "9", "anger"),
    ]
    np.testing.assert_equal(stimuli.numbers("pleasantness"), [5, 5, np.nan, np.nan])
    assert stimuli.rows[0].extra == {"text_id": "7", "pleasantness": "5"}


def test_crowd_envent_without_a_masked_text(tmp_path):
    """A text that stands alone has no arm, so that no scenario lacks one."""
    rows = [CROWD[0], {**CROWD[1], "hidden_emo_text": ""}]
    stimuli = load(table(tmp_path / "some.csv", rows))
    assert told(stimuli, "arm", "scenario")[2:] == [("", "9")]
    none = [{"id": 4, "generated_text": "I was glad."}, {"id": 5, "generated_text": "I left."}]
    stimuli = load(jsonl(tmp_path / "none.jsonl", none))
    assert told(stimuli, "arm", "scenario") == [("", "4"), ("", "5")]


def test_crowd_envent_refuses(tmp_path):
    path = table(tmp_path / "x.tsv", [*CROWD, CROWD[0]], "\t")
    refused(lambda: StimulusSet.load(path), str(path), "line 4", "'7-keyword_rich'", "in line 2")
    path = table(tmp_path / "s.csv", [CROWD[0], {**CROWD[1], "pleasantness": "high"}])
    stimuli = StimulusSet.load(path)
    refused(lambda: stimuli.numbers("pleasantness"), "'pleasantness' of s", "'high'", "numbers")


# Votes


def test_ratings_are_counted_by_text(tmp_path):
    rows = "Ann left.,1,r1,1,0,0\nBo came.,2,r1,0,1,0\nAnn left.,1,r2,1,1,0\nIt rained.,3,r1,0,0,0"
    stimuli = load(write(tmp_path / "rated.csv", RATED + rows + "\nOh.,4,r1,0,1,0\nOh.,4,r2,1,0,0"))
    assert told(stimuli, "id", "text", "emotion") == [
        ("1", "Ann left.", "joy"),
        ("2", "Bo came.", "anger"),
        ("3", "It rained.", ""),
        ("4", "Oh.", ""),
    ]
    classes, shares = stimuli.shares()
    assert classes == ["anger", "joy", "neutral"]
    none = [np.nan] * 3
    np.testing.assert_allclose(shares, [[1 / 3, 2 / 3, 0], [1, 0, 0], none, [0.5, 0.5, 0]])
    assert [set(row.extra) for row in stimuli.rows] == [{SHARES}, {SHARES}, set(), {SHARES}]


@pytest.mark.parametrize("rater", ["rater_id", "annotator", "annotator_id", "worker_id"])
def test_ratings_without_ids_go_by_the_text(tmp_path, rater):
    votes = [("Ann left.", "u"), ("Bo came.", "u"), ("Ann left.", "v")]
    rows = [{"text": t, rater: r, "joy": True, "anger": t == "Bo came."} for t, r in votes]
    stimuli = load(jsonl(tmp_path / "rated.jsonl", rows))
    assert stimuli.texts == ["Ann left.", "Bo came."]
    assert stimuli.shares()[1].tolist() == [[0, 1], [0.5, 0.5]]


def test_goemotions_raw(tmp_path):
    """Every label has its column; what is said about the text stays, in the words of the first."""
    labels = Taxonomy.load("goemotions").labels
    given = [("e1", 3, "relief"), ("e1", 4, "relief"), ("e1", 5, "joy"), ("e2", 3, "neutral")]
    rows = [
        {"text": f"Comment {key}.", "id": key, "author": f"by {key}", "rater_id": rater}
        | {label: int(label == chosen) for label in labels}
        for key, rater, chosen in given
    ]
    stimuli = load(table(tmp_path / "goemotions.csv", rows))
    classes, shares = stimuli.shares()
    assert classes == sorted(labels)
    assert dict(zip(classes, shares[0], strict=True))["relief"] == pytest.approx(2 / 3)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert told(stimuli, "id", "emotion") == [("e1", "relief"), ("e2", "neutral")]
    assert stimuli.column("author").tolist() == ["by e1", "by e2"]


def test_counts_by_text(tmp_path):
    rows = "Ann left.,3,1,x\nBo came.,0.5,0.5,\nIt rained.,0,,y\n"
    stimuli = load(write(tmp_path / "counts.csv", "text,joy,anger,note\n" + rows))
    assert told(stimuli, "id", "emotion") == [("1", "joy"), ("2", ""), ("3", "")]
    classes, shares = stimuli.shares()
    assert classes == ["anger", "joy"]
    np.testing.assert_array_equal(shares, [[0.25, 0.75], [0.5, 0.5], [np.nan, np.nan]])
    assert stimuli.column("note").tolist() == ["x", "", "y"]


def test_a_lone_label_column_and_words_of_no_taxonomy_are_no_votes(tmp_path):
    for columns in ("joy,note", "happy,sad"):
        path = write(tmp_path / "x.csv", f"text,{columns}\nAnn left.,3,1\n")
        stimuli = load(path)
        assert sorted(stimuli.rows[0].extra) == sorted(columns.split(","))
        refused(stimuli.shares, "x has no soft labels", "column of votes for each label")


def test_shares_of_rows_that_name_other_classes(tmp_path):
    given = [{"joy": 1}, {"anger": 0.25, "joy": 0.75}, None]
    rows = [{"text": f"Text {n}.", SHARES: shares} for n, shares in enumerate(given)]
    classes, shares = load(jsonl(tmp_path / "own.jsonl", rows)).shares()
    assert classes == ["anger", "joy"]
    np.testing.assert_array_equal(shares, [[0, 1], [0.25, 0.75], [np.nan, np.nan]])


@pytest.mark.parametrize("head", [RATED, VOTES])
@pytest.mark.parametrize(
    ("vote", "parts"),
    [("yes", ["'yes'", "holds numbers"]), ("-1", ["-1", "negative"]), ("nan", ["nan", "negative"])],
)
def test_votes_are_numbers(tmp_path, head, vote, parts):
    rated = head == RATED
    rows = ["Ann left.,1,r1,1,0,0", f"Bo came.,2,r1,{vote},0,0"]
    rows = rows if rated else ["Ann left.,1,0", f"Bo came.,{vote},0"]
    path = write(tmp_path / "x.csv", head + "\n".join(rows))
    refused(lambda: StimulusSet.load(path), str(path), "line 3", "'joy' is", *parts)


def test_a_rated_text_that_is_empty_is_named_by_its_first_line(tmp_path):
    path = write(tmp_path / "x.csv", RATED + "Ann left.,1,r1,1,0,0\n,2,r1,1,0,0\n,2,r2,1,0,0\n")
    refused(lambda: list(stream_texts(path)), str(path), "line 3", "'text' is empty")


# Text and label


@pytest.mark.parametrize(("kind", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_text_and_label(tmp_path, kind, delimiter):
    rows = [{"text": "One\tof, us", "label": "joy"}, {"text": "Zwei", "label": ""}]
    stimuli = load(table(tmp_path / f"plain.{kind}", rows, delimiter))
    assert told(stimuli, "id", "text", "emotion") == [
        ("1", "One\tof, us", "joy"),
        ("2", "Zwei", ""),
    ]
    assert all(row.extra == {} for row in stimuli.rows)


def test_a_label_beside_an_emotion_is_a_column_like_others(tmp_path):
    stimuli = load(jsonl(tmp_path / "x.jsonl", [{"text": "x", "label": "b", "emotion": "joy"}]))
    assert (stimuli.rows[0].emotion, stimuli.rows[0].extra) == ("joy", {"label": "b"})


def test_refuses_labels_and_tables_that_are_none(tmp_path):
    path = jsonl(tmp_path / "x.jsonl", [{"text": "x", "label": "a"}, {"text": "y", "label": 3}])
    refused(lambda: StimulusSet.load(path), str(path), "line 2", "is 3 (int)", "labels are words")
    path = write(tmp_path / "x.tsv", "text\tlabel\nx\tjoy\ny\tjoy\tmore\n")
    refused(lambda: StimulusSet.load(path), str(path), "line 3", "3 cells under 2 columns")


def test_datasets_name_their_classes(tmp_path):
    from datasets import ClassLabel, Dataset, Features, Value

    said = ClassLabel(names=["joy", "anger"])
    features = Features({"text": Value("string"), "label": said, "domain": ClassLabel(names=["w"])})
    columns = {"text": ["one", "two", "three"], "label": [1, 0, -1], "domain": [0, -1, 0]}
    Dataset.from_dict(columns, features=features).save_to_disk(tmp_path / "saved")
    stimuli = load(tmp_path / "saved")
    assert stimuli.name == "saved"
    assert told(stimuli, "emotion", "domain") == [("anger", "w"), ("joy", ""), ("", "w")]


def test_datasets_of_other_studies(tmp_path):
    path = save([{"text": "one", "joy": 3, "anger": 1}], tmp_path, "datasets")
    assert load(path).shares()[1].tolist() == [[0.25, 0.75]]
    other = tmp_path / "other"
    other.mkdir()
    path = save([{"text": "one", "joy": 3, "anger": -1}], other, "datasets")
    refused(lambda: StimulusSet.load(path), str(path), "row 1", "'anger' is -1")


# Streams and scales


@pytest.mark.parametrize("first", [SEV, CROWD[0], AFFECT[0], {"text": "x", "joy": 1, "anger": 0}])
def test_rows_come_before_the_file_is_read(tmp_path, first):
    path = write(tmp_path / "late.jsonl", json.dumps(first) + "\nno JSON\n")
    rows = stream_texts(path)
    assert next(rows)[1]
    refused(lambda: list(rows), str(path), "line 2", "broken JSON")


def test_numbers(tmp_path):
    given = [1, 2.5, "3e0", None, "", -4]
    rows = [{"text": f"Text {n}.", "score": value} for n, value in enumerate(given)]
    stimuli = load(jsonl(tmp_path / "scale.jsonl", rows))
    np.testing.assert_equal(stimuli.numbers("score"), [1, 2.5, 3, np.nan, np.nan, -4])
    assert stimuli.numbers("score").dtype == np.float64
    assert np.isnan(stimuli.numbers("intensity")).all()
    refused(lambda: stimuli.numbers("scor"), "unknown column 'scor'", "did you mean 'score'?")
    refused(lambda: stimuli.numbers("text"), "'text' of scale", "'Text 0.'", "numbers")
