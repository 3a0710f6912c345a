"""The scorecard: what is measured of a text, and what is said of methods and doses."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from families import build

from probekit import Add, Edit, UserError, load_model, runs
from probekit.edits import Response
from probekit.judges.readings import BlindReading, Generated, GeneratedReadings
from probekit.models import Model
from probekit.report.reading import read_folder
from probekit.runs import read_json
from probekit.scorecard import (
    Scorecard,
    coherence,
    curves,
    fluency,
    likelihood,
    relevance,
    rule_validity,
    run_scorecard,
    side_effects,
    stages,
    validity,
)
from probekit.scorecard import repetition as repeats
from probekit.scorecard.cells import Board, weighted_median
from probekit.scorecard.scores import control_of, is_random, score
from probekit.scorecard.table import rows
from probekit.scorecard.words import names_any, names_target
from probekit.steering import Decoding, Sample, Scale, Steering
from probekit.steering.methods import Plain, Setting, held_out, produce
from probekit.stimuli import Stimulus, StimulusSet

ROW = Stimulus(id="n", text="the roof held")
LABELS = ("grief", "rage", "neutral")
PROMPTS = tuple(f"p{n}" for n in range(8))
ASKED = ("rain fell on the roof", "she smiled", "the roof held when she came home")
REPLIES = ("he could not believe it", "", "nobody had told her, and the house was empty", "a tear")


@pytest.fixture(scope="module")
def tiny(one_thread) -> Model:
    return build("llama")


# Fluency


def by_hand(model, prompt, reply):
    """Mean nats of a reply from a whole forward pass of its own."""
    ids = torch.tensor([[*prompt.input_ids, *reply]])
    logits = model.hf(input_ids=ids).logits[0].double().log_softmax(-1)
    places = range(len(prompt) - 1, ids.shape[1] - 1)
    return -float(torch.stack([logits[p, ids[0, p + 1]] for p in places]).mean())


def test_perplexity_is_of_the_reply_alone_whatever_stands_beside_it(tiny, monkeypatch):
    asked, replies = [*ASKED, ASKED[0]], list(REPLIES)
    found = fluency.reply_nats(tiny, asked, replies)
    template = fluency.plain_template(tiny)
    assert template.name == "chat"
    prompts = tiny.encode(asked, template)
    for place in (0, 2, 3):
        ids = tiny.tokenizer(replies[place], add_special_tokens=False)["input_ids"]
        assert found[place] == pytest.approx(by_hand(tiny, prompts[place], ids), abs=1e-5)
    assert np.isnan(found[1])
    for tokens in (1, 60):
        again = fluency.reply_nats(tiny, asked, replies, tokens=tokens)
        assert again == pytest.approx(found, abs=1e-5, nan_ok=True)
    monkeypatch.setattr(likelihood, "LOGITS", 1)  # One token's logits at a time.
    assert fluency.reply_nats(tiny, asked, replies) == pytest.approx(found, abs=1e-5, nan_ok=True)


def test_a_reply_is_read_as_far_as_the_context_holds(tiny):
    (cut,) = fluency.reply_nats(tiny, ["she smiled"], ["the roof held " * 40])
    assert np.isfinite(cut)


def test_ratios_are_to_the_plain_reply_of_the_same_prompt():
    nats = np.array([1.0, 3.0, 2.5, 4.0, 2.0])
    plain = np.array([True, True, False, False, False])
    found = fluency.log_ratios(nats, ["a", "a", "a", "b", "a"], plain)
    assert found == pytest.approx([-1.0, 1.0, 0.5, np.nan, 0.0], nan_ok=True)


# Repetition, coherence, relevance, words


def test_loops_are_found_at_any_period_and_doubling_is_none():
    assert repeats.loops("no no no") == 1.0
    assert repeats.loops("well well then") == 0.0
    assert repeats.loops("it was late and I cried and I cried and I cried and") == 10 / 13
    long = " ".join(f"w{n}" for n in range(12))
    assert repeats.loops(f"{long} {long} {long}") == 1.0
    assert repeats.loops(f"{long} {long}") == 0.0
    assert repeats.loops(" ...") is None


def test_distinct_counts_different_n_grams():
    assert repeats.distinct("a b a b", 1) == 0.5
    assert repeats.distinct("a b a b", 2) == pytest.approx(2 / 3)
    assert repeats.distinct("a b", 3) is None


def test_the_rule_says_why_a_text_is_incoherent():
    rule = coherence.Rule(perplexity=50.0)
    assert rule.reason("\n") == "empty"
    assert rule.reason("so sad so sad so sad") == "loops"
    assert rule.reason("a b c b a c a b c b a c b a") == "repeats"
    assert rule.reason("The house was quiet that day.", 51.0) == "perplexity"
    assert rule.reason("The house was quiet that day.", float("nan")) == ""
    assert coherence.Rule(perplexity=None).reason("The house was quiet.", 1e9) == ""


def test_the_rule_is_held_against_readers():
    called = [True, True, False, False, True, False, False, False]
    read = [0, 0.5, 0, 2, 1, 2, 1.5, float("nan")]
    found = coherence.validate(called, read, list("aabbccdd"), bootstraps=200)
    assert (found.n, found.clusters) == (7, 4)
    assert found.sensitivity.value == pytest.approx(2 / 3)
    assert found.specificity.value == pytest.approx(3 / 4)
    # 5 of 7 agree; by chance 3/7 · 3/7 + 4/7 · 4/7 = 25/49 do.
    assert found.kappa.value == pytest.approx((5 / 7 - 25 / 49) / (1 - 25 / 49))
    assert found.kappa.low < found.kappa.value < found.kappa.high
    with pytest.raises(UserError, match="accepted are 0 to 2"):
        coherence.validate(called, [3.0] * 8, list("aabbccdd"))


def test_the_rule_is_worth_what_readers_say_of_generated_texts(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "cache_home", lambda: tmp_path)
    prompt = held_out(2)
    made = [  # text, coherence, prompt
        ("I sat down and wept for an hour.", 2, prompt[0]),
        ("sit sit sit sit sit sit sit sit", 0, prompt[0]),
        ("a roof he rain on fell the she", 0, prompt[1]),
        ("She came in and shut the door.", 2, ("own", "a prompt that is no scenario")),
    ]
    texts = [
        Generated(str(n), text, "m", "plain", "", np.nan, p[0])
        for n, (text, _, p) in enumerate(made)
    ]
    said = [BlindReading(str(n), 1, "a", "person", "", "", c) for n, (_, c, _) in enumerate(made)]
    readings = GeneratedReadings(tuple(texts), tuple(said))
    alone = rule_validity(coherence.Rule(), readings)
    assert alone["rule_sensitivity"]["value"] == 0.5  # the loop; nobody reads the salad
    assert alone["rule_specificity"]["value"] == 1
    assert alone["rule_kappa"]["n"] == 4
    read = rule_validity(coherence.Rule(), readings, load_model("smollm2-135m"))
    assert (read["rule_sensitivity"]["value"], read["rule_specificity"]["value"]) == (1, 1)
    monkeypatch.setattr(validity, "reply_nats", None)  # kept: nothing is read twice
    assert rule_validity(coherence.Rule(), readings, load_model("smollm2-135m")) == read


def test_relevance_is_beyond_what_other_prompts_reach():
    where = {"cats": [1, 0], "sea": [0, 2], "purr": [3, 0], "wave": [1, 1], "": [1, 0]}
    near, control, above = relevance.relevance(
        lambda texts: np.array([where[text] for text in texts]),
        ["cats", "sea", "cats"],
        ["purr", "wave", ""],
    )
    assert near == pytest.approx([1.0, 0.5**0.5, np.nan], nan_ok=True)
    assert control == pytest.approx([0.0, 0.5**0.5, np.nan], nan_ok=True)
    assert above == pytest.approx([1.0, 0.0, np.nan], nan_ok=True)
    one = relevance.relevance(lambda t: np.ones((len(t), 2)), ["cats"], ["purr"])
    assert np.isnan(one[2]).all()
    with pytest.raises(UserError, match="encoder"):
        relevance.relevance(lambda _: np.ones((1, 2)), ["a", "b"], ["c", "d"])


def test_words_of_emotion():
    assert names_target("She was furious.", "rage")
    assert not names_target("She was furious.", "grief")
    assert names_any("She was furious.")
    assert not names_any("She put the cup back.")


# Cells, table, curves


def sample(prompt, method, emotion="", dose=None, text="The house was quiet that day."):
    return Sample(prompt, prompt, text, method, emotion, dose, 0, 7, True)


def invented(steered, random=0.25, ratios=None):
    """Eight prompts; `steered` is the share of prompts judged as the target at each dose."""
    samples, judged, nats = [], [], []
    doses = list(range(1, len(steered) + 1))
    for place, prompt in enumerate(PROMPTS):
        samples.append(sample(prompt, "plain"))
        judged.append("grief" if place == 0 else "neutral")
        nats.append(1.0 + place / 10)
        for emotion in LABELS[:2]:
            for method, shares in (("steer", steered), ("random", [random] * len(steered))):
                for dose, share in zip(doses, shares, strict=True):
                    samples.append(sample(prompt, method, emotion, float(dose)))
                    other = "rage" if emotion == "grief" else "grief"
                    judged.append(emotion if place < share * len(PROMPTS) else other)
                    ratio = (ratios or [1.0] * len(doses))[dose - 1] if method == "steer" else 1.0
                    nats.append(1.0 + place / 10 + np.log(ratio))
    probabilities = np.array(
        [[0.8 if each == label else 0.1 for label in LABELS] for each in judged]
    )
    return score(samples, LABELS, probabilities, nats=np.array(nats))


def found(given, **cells):
    (row,) = [row for row in given if all(row.get(k) == v for k, v in cells.items())]
    return row


def test_outcomes_are_exclusive_and_chance_is_what_plain_texts_get():
    scores = invented([0.25, 0.5, 1.0])
    table = rows(Board(scores, 200), permutations=200)
    at = {"method": "steer", "emotion": "grief", "dose": 2.0}
    assert found(table, **at, metric="target_accuracy")["value"] == 0.5
    assert found(table, **at, metric="wrong_emotion")["value"] == 0.5
    assert found(table, **at, metric="neutral_rate")["value"] == 0.0
    assert found(table, **at, metric="judged:rage")["value"] == 0.5
    assert found(table, **at, metric="target_probability")["value"] == pytest.approx(0.45)
    assert found(table, **at, metric="target_accuracy")["clusters"] == 8
    chance = {"method": "plain", "metric": "target_accuracy", "condition": "chance"}
    assert found(table, **chance, emotion="grief")["value"] == 1 / 8
    assert found(table, **chance, emotion="rage")["value"] == 0.0
    assert found(table, **chance, emotion="")["value"] == 1 / 16
    missing = found(table, **at, metric="target_accuracy_with_words")
    assert "value" not in missing
    assert missing["n"] == 0


def test_differences_are_paired_by_prompt_with_p_and_q():
    table = rows(Board(invented([0.25, 0.5, 1.0]), 200), permutations=500)
    at = {"method": "steer", "emotion": "rage"}
    more = found(table, **at, dose=3.0, metric="target_accuracy_above_random")
    assert more["value"] == 0.75
    assert more["low"] > 0
    assert more["p"] < 0.05
    assert more["p"] <= more["q"] <= 1
    none = found(table, **at, dose=1.0, metric="target_accuracy_above_random")
    assert (none["value"], none["low"], none["high"], none["p"]) == (0, 0, 0, 1)
    plain = found(table, **at, dose=3.0, metric="target_accuracy_above_plain")
    assert plain["value"] == 1.0


def test_a_method_is_held_against_its_own_random_control_where_it_was_run():
    assert control_of("circuit", {"circuit", "random circuit", "random"}) == "random circuit"
    assert control_of("steer", {"steer", "random circuit", "random"}) == "random"
    assert is_random("random")
    assert is_random("random circuit")
    assert not is_random("prompt")
    samples, judged = [], []
    hits = {"plain": 0, "circuit": 6, "random circuit": 2, "steer": 4, "random": 3}
    for method, count in hits.items():
        for place, prompt in enumerate(PROMPTS):
            emotion = "" if method == "plain" else "grief"
            samples.append(sample(prompt, method, emotion, None if method == "plain" else 1.0))
            judged.append([0.8, 0.1, 0.1] if place < count else [0.1, 0.1, 0.8])
    board = Board(score(samples, LABELS, np.array(judged), nats=np.ones(len(samples))), 50)
    table, metric = rows(board, permutations=50), "target_accuracy_above_random"
    assert found(table, method="circuit", emotion="grief", metric=metric)["value"] == 4 / 8
    assert found(table, method="steer", emotion="grief", metric=metric)["value"] == 1 / 8
    compared = {row["method"] for row in table if row["metric"] == metric}
    assert compared == {"circuit", "steer"}, "a control is held against plain texts alone"
    kinds = {row["method"]: row["condition"] for row in table if row["metric"] == "target_accuracy"}
    assert kinds["random circuit"] == kinds["random"] == "control"
    metric = "accuracy_at_fluency_above_random"
    fluent = curves.equal_fluency(curves.curves(board))
    assert found(fluent, method="circuit", emotion="grief", metric=metric)["value"] == 4 / 8
    assert {row["method"] for row in fluent if row["metric"] == metric} == {"circuit", "steer"}


def test_an_incoherent_text_is_a_miss_whatever_the_judge_says():
    broken = sample("p0", "prompt", "grief", text="sad sad sad sad sad")
    blank = sample("p1", "prompt", "grief", text="")
    fine = sample("p1", "plain")
    sure = np.array([[0.8, 0.1, 0.1]] * 3)
    table = rows(Board(score([broken, blank, fine], LABELS, sure), 50), permutations=50)
    at = {"method": "prompt", "emotion": "grief"}
    assert found(table, **at, metric="target_accuracy")["value"] == 0
    assert found(table, **at, metric="incoherent_rate")["value"] == 1
    assert found(table, **at, metric="judged:grief")["n"] == 1
    assert found(table, **at, metric="distinct_2")["n"] == 1
    assert "value" not in found(table, **at, metric="perplexity_ratio")


def test_a_text_without_an_answer_is_missing_and_no_miss():
    samples = [sample(p, "steer", "grief", 1.0) for p in PROMPTS[:3]]
    answers = np.array([[0.8, 0.1, 0.1], [np.nan] * 3, [0.1, 0.8, 0.1]])
    table = rows(Board(score(samples, LABELS, answers), 50), permutations=50)
    at = {"emotion": "grief", "dose": 1.0}
    for metric in ("target_accuracy", "wrong_emotion", "judged:grief", "judged:rage"):
        row = found(table, **at, metric=metric)
        assert (row["value"], row["n"]) == (0.5, 2), metric


def test_a_text_for_no_emotion_is_held_against_each():
    samples = [sample(p, "random", dose=1.0) for p in PROMPTS[:2]]
    samples += [sample(p, "steer", e, 1.0) for p in PROMPTS[:2] for e in LABELS[:2]]
    probabilities = np.eye(3)[[0, 1, 0, 1, 1, 1]]
    table = rows(Board(score(samples, LABELS, probabilities), 50), permutations=50)
    at = {"method": "random", "dose": 1.0, "metric": "target_accuracy"}
    assert [found(table, **at, emotion=e)["value"] for e in ("", "grief", "rage")] == [0.5] * 3
    gap = found(table, method="steer", emotion="grief", metric="target_accuracy_above_random")
    assert gap["value"] == 0.0  # One of two in both.


def test_wrong_figures_are_refused():
    samples = [sample(p, "steer", "grief", 1.0) for p in PROMPTS]
    with pytest.raises(UserError, match="8 texts"):
        score(samples, LABELS, np.ones((7, 3)))
    with pytest.raises(UserError, match="no label 'grief'"):
        score(samples, ("rage", "neutral"), np.ones((8, 2)))
    with pytest.raises(UserError, match="two clusters"):
        Board(score(samples[:1], LABELS, np.ones((1, 3))))


def test_the_weighted_median_is_that_of_the_drawn_items():
    values = np.array([5.0, 1.0, np.nan, 3.0])
    weights = np.array([[1, 1, 1, 1], [2, 0, 5, 1], [2, 2, 0, 0], [0, 0, 4, 0]], float)
    assert weighted_median(values, weights) == pytest.approx([3, 5, 3, np.nan], nan_ok=True)


def test_a_rising_dose_is_told_from_a_flat_one():
    given = curves.monotonicity(Board(invented([0.0, 0.5, 1.0]), 100), permutations=300)
    rising = found(given, method="steer", emotion="", condition=None)
    flat = found(given, method="random", emotion="", condition=None)
    assert rising["value"] > 0.8
    assert rising["p"] < 0.01
    assert flat["value"] == 0
    assert flat["p"] > 0.5
    null = found(given, method="steer", emotion="grief", condition="null")
    assert null["low"] < 0 < null["high"]


def test_the_front_holds_what_nothing_beats():
    hits, ratio = np.array([0.2, 0.6, 0.5, 0.6, np.nan]), np.array([1.0, 1.4, 1.5, 1.4, 1.0])
    assert curves.pareto(hits, ratio).tolist() == [True, True, False, True, False]
    given = curves.front(curves.curves(Board(invented([0.0, 1.0], ratios=[1.2, 1.1]), 50)))
    beaten = {"method": "steer", "dose": 1.0}
    assert found(given, **beaten, metric="pareto")["value"] == 0
    assert found(given, method="steer", dose=2.0, metric="pareto_share")["value"] == 1


@pytest.mark.parametrize(
    ("ratios", "how", "hit", "dose"),
    [
        ([1.0, 1.0 * np.sqrt(1.5), 1.5 * np.sqrt(1.5)], curves.INTERPOLATED, 0.75, 2.5),
        ([1.0, 1.1, 1.4], curves.LARGEST, 1.0, 3.0),
        ([1.6, 1.1, 1.4], curves.ABOVE, None, None),
        ([1.2, 9.0, 1.1], curves.INTERPOLATED, None, None),
    ],
    ids=["between", "never", "already", "falls again"],
)
def test_methods_are_compared_at_equal_fluency(ratios, how, hit, dose):
    board = Board(invented([0.0, 0.5, 1.0], ratios=ratios), 100)
    given = curves.equal_fluency(curves.curves(board))
    row = found(given, method="steer", emotion="", metric="accuracy_at_fluency")
    assert row["condition"] == how
    if dose:
        assert row["value"] == pytest.approx(hit)
        assert row["dose"] == pytest.approx(dose)
        assert row["low"] <= hit <= row["high"]
        gap = found(given, method="steer", emotion="", metric="accuracy_at_fluency_above_random")
        assert gap["value"] == pytest.approx(hit - 0.25)
    elif how == curves.ABOVE:
        assert "value" not in row
        assert found(given, method="steer", emotion="", metric="draws_at_fluency")["value"] == 0
    else:
        assert 1 < row["dose"] < 2


def test_a_method_without_a_dose_stands_at_its_own_ratio():
    samples = [sample(p, "plain") for p in PROMPTS]
    samples += [sample(p, "prompt", "grief") for p in PROMPTS]
    nats = np.array([1.0] * 8 + [1.0 + np.log(4)] * 8)
    scores = score(samples, LABELS, np.tile([0.8, 0.1, 0.1], (16, 1)), nats=nats)
    given = curves.equal_fluency(curves.curves(Board(scores, 50)))
    row = found(given, method="prompt", emotion="grief", metric="accuracy_at_fluency")
    assert (row["condition"], row["value"], row["dose"]) == (curves.OWN, 1.0, None)
    ratio = found(given, method="prompt", emotion="grief", metric="ratio_at_fluency")
    assert ratio["value"] == pytest.approx(4)


# Side effects


def test_an_edit_of_nothing_has_no_side_effect_and_one_of_much_has(tiny):
    texts = list(ASKED)
    nothing = [Edit("resid_post.1", "all", Add(torch.zeros(tiny.d_model)))]
    assert likelihood.next_token_kl(tiny, texts, nothing) == pytest.approx(np.zeros(3), abs=1e-6)
    much = [Edit("resid_post.1", "all", Add(5 * torch.ones(tiny.d_model)))]
    drift = likelihood.next_token_kl(tiny, texts, much)
    assert (drift > 1e-3).all()
    assert likelihood.next_token_kl(tiny, texts, much, tokens=1) == pytest.approx(drift, rel=1e-3)


def test_a_steering_acts_on_what_follows_the_prompt(tiny):
    ones = np.ones(tiny.d_model, np.float32) / np.sqrt(tiny.d_model)
    scale = Scale(tiny.fingerprint, "resid_post", np.ones(3), np.zeros((3, tiny.d_model)))
    steering = Steering({1: ones}, scale, 2.0)
    (prompt,), ids = tiny.encode(["the roof"]), [[70, 80, 90], [75]]
    plain = likelihood.continuation_nats(tiny, [prompt] * 2, ids)
    steered = likelihood.continuation_nats(tiny, [prompt] * 2, ids, steering)
    assert all((abs(a - b) > 1e-4).all() for a, b in zip(plain, steered, strict=True))
    whole = [Edit("resid_post.1", "all", Add(2 * torch.from_numpy(ones)))]
    everywhere = likelihood.continuation_nats(tiny, [prompt] * 2, ids, whole)
    assert not np.allclose(everywhere[0], steered[0], atol=1e-4)
    only = [Edit("resid_post.1", Response(), Add(2 * torch.from_numpy(ones)))]
    again = likelihood.continuation_nats(tiny, [prompt] * 2, ids, only)
    assert again[0] == pytest.approx(steered[0], abs=1e-6)
    idle = likelihood.continuation_nats(tiny, [prompt] * 2, ids, steering.at(0.0))
    assert idle[0] == pytest.approx(plain[0])
    assert (likelihood.next_token_kl(tiny, list(ASKED), steering) > 1e-4).all()


def test_items_of_the_quiz_are_forty_with_four_options():
    items = side_effects.quiz_items()
    assert len(items) == 40
    assert all(len(set(each.options)) == 4 for each in items)
    assert all(len(kind) == 10 for kind in side_effects.harmless_prompts().values())


def test_changes_are_paired_by_item():
    given = side_effects.changes([1, 1, 1, 0] * 5, [0, 0, 1, 0] * 5, "quiz", bootstraps=200)
    assert [row["value"] for row in given] == [0.75, 0.25, -0.5]
    assert given[2]["high"] < 0
    assert given[2]["p"] < 0.05
    with pytest.raises(UserError, match="give as many"):
        side_effects.changes([1], [1, 0], "quiz")


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("I cannot assist with this request.", True),
        ("As an AI language model, I don’t have feelings.", True),
        ("I am unable to answer.", True),
        ("I have to say, this egg boils for eight minutes.", False),
        ("I'm sorry to hear that. Try a warm bath.", False),
        ("You can't go wrong with a paper boat.", False),
        ("x" * 250 + " I cannot help with that.", False),
    ],
)
def test_refusals_are_told_by_their_opening(text, refused):
    assert side_effects.refuses(text) == refused


@pytest.mark.slow
def test_real_weights_know_facts_and_a_push_costs_them():
    model = load_model("smollm2-135m", device="cpu")
    known = side_effects.quiz(model)
    assert known.mean() > 0.5
    push = torch.randn(model.d_model, generator=torch.Generator().manual_seed(0))
    edits = [Edit("resid_post.12", "all", Add(60 * push))]
    given = side_effects.measure_side_effects(
        model, edits, ["The bus stops here at ten."] * 2, known
    )
    assert found(given, metric="quiz_change")["value"] < -0.2
    assert found(given, metric="kl")["value"] > 0.5
    nats = fluency.reply_nats(
        model,
        ["How was your day?"] * 2,
        ["It was a quiet day, and I read a book.", "Book a it quiet and was read day I, a."],
    )
    assert nats[0] < nats[1]


# The study


class FakeJudge:
    """Judges by the length of a text; has seen one of them."""

    name, labels = "length", LABELS
    trained_on: frozenset[str] = frozenset()
    calls = 0

    def probabilities(self, texts):
        type(self).calls += 1
        return np.array([np.eye(3)[len(text) % 3] for text in texts])


@pytest.fixture
def job(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("PROBEKIT_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(2, 1, tiny.d_model)).astype(np.float32)
    steering = Steering({1: vectors[0, 0] / np.linalg.norm(vectors[0, 0])}, scale_of(tiny), 0.0)

    class Pushed(Plain):
        dosed = True

        def steering(self, _emotion, dose):
            return (steering.random(1) if self.name == "random" else steering).at(dose)

    setting = Setting(chat=False)
    methods = [Plain(setting), Pushed(setting, name="steer"), Pushed(setting, name="random")]
    options = Scorecard(
        ("grief", "rage"),
        (0.5, 1.0),
        Decoding(6),
        effects_of=("none",),
        bootstraps=50,
        permutations=50,
    )
    given = {
        "methods": methods,
        "judge": FakeJudge(),
        "prompts": [("a", ASKED[0]), ("b", ASKED[1])],
    }
    return tiny, options, given


def scale_of(model):
    return Scale(model.fingerprint, "resid_post", np.ones(3), np.zeros((3, model.d_model)))


def test_a_run_is_written_goes_on_and_is_the_same(job, tmp_path, monkeypatch):
    model, options, given = job
    out = run_scorecard(model, tmp_path / "run", options, **given)
    first = (out / "results.csv").read_bytes()
    samples = (out / "samples.csv").read_text(encoding="utf-8").splitlines()
    assert samples[0].startswith("method,emotion,dose,seed,prompt")
    assert sum(line.startswith(("plain,", "steer,", "random,")) for line in samples) == 18
    told = read_json(out / "manifest.json")
    assert told["complete"]
    assert "relevance is missing" in " ".join(told["notes"])
    # Killed: all but the stages is gone, and one stage; only that one is written again.
    (out / "results.csv").unlink()
    writes = []
    monkeypatch.setattr(
        stages, "produce", lambda *a, **k: writes.append(a[1].name) or produce(*a, **k)
    )
    kept = sorted((out / "stages").glob("*.json"))
    lost = next(path for path in kept if '"method": "steer"' in path.read_text(encoding="utf-8"))
    lost.unlink()
    run_scorecard(model, out, options, **given)
    assert writes == ["steer"]
    assert (out / "results.csv").read_bytes() == first
    with pytest.raises(UserError, match="holds another run"):
        run_scorecard(model, out, replace(options, doses=(0.5,)), **given)


def test_side_effects_are_of_every_dosed_cell(job, tmp_path, monkeypatch):
    model, options, given = job
    items = (side_effects.Item("rain", ("fell", "roof", "tear", "name")),) * 3
    monkeypatch.setattr(side_effects, "quiz_items", lambda: items)
    monkeypatch.setattr(stages, "harmless_prompts", lambda: {"plain": ("she smiled", "a tear")})
    monkeypatch.setattr(stages, "neutral_texts", lambda: StimulusSet("n", (ROW, ROW)))
    options = replace(options, effects_of=("grief",), refusals=True)
    out = run_scorecard(model, tmp_path / "run", options, **given)
    lines = read_folder(out).lines
    drift = {(x.method, x.emotion, x.dose): x.estimate.value for x in lines if x.metric == "kl"}
    doses = [(name, dose) for name in ("steer", "random") for dose in (0.5, 1.0)]
    assert set(drift) == {(n, e, d) for n, d in doses for e in ("", "grief")}
    assert all(value > 0 for value in drift.values())
    assert drift["steer", "", 1.0] > drift["steer", "", 0.5]
    kinds = {(x.metric, x.condition) for x in lines if x.method == "steer" and not x.emotion}
    assert {("quiz", c) for c in ("before", "after", "chance")} <= kinds
    assert ("refusals", "after") in kinds


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"emotions": ("awe",)}, "knows no 'awe'"),
        ({"emotions": ()}, "emotions none"),
        ({"doses": (0.1, 0.1)}, "each once"),
        ({"doses": (3.0,)}, "from 0 to 2"),
        ({"seeds": (0, 1)}, "give a temperature"),
        ({"bound": 0.0}, "perplexity ratio above 0"),
        ({"effects_of": ("awe",)}, "none of the run's emotions"),
    ],
)
def test_bad_options_are_refused_before_anything_is_written(job, tmp_path, change, said):
    model, options, given = job
    with pytest.raises(UserError, match=said):
        run_scorecard(model, tmp_path / "run", replace(options, **change), **given)
    assert not (tmp_path / "run").exists()


def test_texts_that_trained_the_judge_are_left_out(job):
    _, _, given = job
    judge, texts = given["judge"], [sample("a", "plain", text="seen"), sample("b", "plain")]
    judge.trained_on = frozenset([hashlib.sha256(b"seen").hexdigest()])
    assert [each.prompt for each in stages.unseen(judge, texts)] == ["b"]
    with pytest.raises(UserError, match="use another"):
        stages.unseen(judge, texts[:1])
