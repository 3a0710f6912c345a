"""The study of expression: its parts by hand, and a small study on the real default model."""

import csv
import json
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from families import TEXTS, build
from test_cli import refused
from test_retention import few

from probekit import load_model
from probekit.bundled import DEFAULT
from probekit.edits import Add, Edit, Response
from probekit.errors import UserError
from probekit.expression import SYSTEMS, Expression, Study, run_expression
from probekit.expression.asking import named
from probekit.expression.changing import CHANGES, CONTROL, Changing, Moved
from probekit.expression.measures import (
    centred,
    crossed,
    crossed_p,
    related,
    resampled_versions,
    swapped,
)
from probekit.expression.readers import fit_reader, intercepts, probabilities
from probekit.expression.reading import read
from probekit.expression.rows.part import Part
from probekit.expression.texts import Posts, judged
from probekit.judges import LexiconJudge
from probekit.report import headline_table, write_report
from probekit.runs import COLUMNS
from probekit.sites import Site
from probekit.stimuli import StimulusSet

SMALL = Expression(tokens=6, posts=2, paraphrases=2, bootstraps=60, permutations=60, chat=True)
NAMES = ["anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"]


# Prompts and answers


def test_system_prompts_of_one_number_are_as_long_and_none_comes_twice():
    lengths = {kind: [len(text.split()) for text in texts] for kind, texts in SYSTEMS.items()}
    assert all(one == other for one, other in pairwise(lengths.values()))
    assert SYSTEMS["emotional"][0] == "You are very emotional."
    texts = [text for texts in SYSTEMS.values() for text in texts]
    assert len(set(texts)) == len(texts) == 30


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Sadness.", "sadness"),
        ("The writer is **angry** about it", "anger"),
        ("neutral", "neutral"),
        ("anger, disgust, or fear", ""),
        ("I am sorry to hear that", ""),
        ("", ""),
        ("unhappy", ""),
    ],
)
def test_an_answer_counts_where_it_names_one_label(text, name):
    place = named(text, NAMES)
    assert (NAMES[place] if place >= 0 else "") == name


def test_a_judges_labels_become_the_posts_and_the_rest_is_apart():
    texts = ["I was furious, in a rage.", "I felt grief and sorrow.", "I admire her.", "A shed."]
    own, judge = judged(LexiconJudge(), texts, NAMES), LexiconJudge()
    assert own.sum(1) == pytest.approx(np.ones(4))
    said = dict(zip(judge.labels, judge.probabilities(texts).T, strict=True))
    assert own[:, NAMES.index("anger")] == pytest.approx(said["rage"])
    assert own[:, NAMES.index("neutral")] == pytest.approx(said["neutral"])
    assert own[:, -1] == pytest.approx(said["admiration"] + said["vigilance"])
    assert list(own.argmax(1)) == [0, 5, 7, 4]
    assert np.isnan(judged(judge, [" "], NAMES)).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda row: replace(row, emotion="envy"), "has the label 'envy'; accepted are anger"),
        (lambda row: replace(row, split="dev"), "the test split lacks labels"),
    ],
)
def test_posts_that_do_not_fit_are_refused(change, said):
    whole = few(4)
    with pytest.raises(UserError, match=said):
        Posts(StimulusSet("few", tuple(change(row) for row in whole.rows)))


# Reading


def test_a_prompt_and_its_reply_are_read_as_one_text_says():
    model = build("llama")
    prompts = model.encode([TEXTS[0], TEXTS[1][:20], TEXTS[2]])
    replies = [(5, 9, 11, 3), (), (7,)]
    sites = [Site("resid_post", 0), Site("resid_post", 1)]
    found = read(model, prompts, replies, sites)
    for row, (prompt, ids) in enumerate(zip(prompts, replies, strict=True)):
        whole = torch.tensor([(*prompt.input_ids, *ids)])
        with torch.no_grad():
            states = model.hf.base_model(whole, output_hidden_states=True).hidden_states
        # The last layer's state is normed there; the first is not.
        own = states[1][0].numpy()
        assert found[row, 0, 0] == pytest.approx(own[len(prompt) - 1], abs=1e-4)
        if ids:
            assert found[row, 1, 0] == pytest.approx(own[len(prompt) :].mean(0), abs=1e-4)
        else:
            assert np.isnan(found[row, 1]).all()


def test_what_is_read_under_a_change_is_what_it_leaves():
    model = build("llama")
    prompts, site = model.encode([TEXTS[0], TEXTS[2]]), [Site("resid_post", 0)]
    vector = np.linspace(-1, 1, model.d_model).astype(np.float32)
    plain = read(model, prompts, [(5, 9), (3,)], site)
    drives = [Moved(model.fingerprint, 0, vector), None]
    moved = read(model, prompts, [(5, 9), (3,)], site, drives)
    assert moved[0, :, 0] - plain[0, :, 0] == pytest.approx(np.stack([vector] * 2), abs=1e-5)
    assert np.allclose(moved[1], plain[1], atol=1e-6)
    edits = [Edit("resid_post.0", Response(), Add(vector))]
    every = read(model, prompts, [(5, 9), (3,)], site, edits=edits)
    assert every - plain == pytest.approx(np.broadcast_to(vector, every.shape), abs=1e-5)


def test_a_reader_finds_what_is_planted_and_leaves_rows_without_a_reply_out():
    rng = np.random.default_rng(0)
    labels, groups = np.tile(np.arange(3), 20), np.repeat([f"g{n}" for n in range(20)], 3)
    states = rng.normal(size=(60, 4, 12)).astype(np.float32)
    states[:, 2, :3] += 3 * np.eye(3)[labels]
    states[5] = np.nan
    found = fit_reader(states, labels, groups, 3, 0)
    assert found.place == 2
    known = np.arange(60) != 5
    assert (found.logits(states)[known].argmax(1) == labels[known]).mean() > 0.9
    assert np.isnan(probabilities(found.logits(states))[5]).all()
    basis = found.subspace(states[known], labels[known])
    assert basis @ basis.T == pytest.approx(np.eye(len(basis)))
    assert len(basis) == 2
    assert (basis[:, :3] ** 2).sum() > 1.5


# Changes


@pytest.fixture(scope="module")
def changing():
    model, posts = build("llama"), Posts(few(8))
    # Room for the neutral texts by which doses are measured.
    model.config.max_position_embeddings = 1024
    rng = np.random.default_rng(1)
    states = rng.normal(size=(len(posts.labels), model.n_layers, model.d_model))
    states[:, :, :7] += 2 * np.eye(7)[posts.labels][:, None]
    states = states.astype(np.float32)
    dev = ~posts.test
    reader = fit_reader(states[dev], posts.labels[dev], posts.groups[dev], 2, 0)
    return Changing(model, posts, states, reader, dose=0.1, seed=0)


def test_changes_are_of_test_posts_and_their_controls_are_as_large(changing):
    posts = changing.posts
    emotional = posts.test & (posts.labels != posts.neutral)
    for name in CHANGES:
        own, control = changing.of(name), changing.of(name + CONTROL)
        assert posts.test[own.rows].all()
        assert list(own.rows) == list(control.rows)
        assert list(own.target) == list(control.target)
        assert (own.target != posts.neutral).all()
        assert len(own.rows) == emotional.sum()
        sizes = [
            [[abs(p.number) * float(np.linalg.norm(p.vector)) for p in d.parts()] for d in c.drives]
            for c in (own, control)
            if c.drives is not None
        ]
        if sizes:
            assert np.allclose(*sizes, rtol=1e-5)
            ours = np.stack([next(iter(d.parts())).vector for d in own.drives])
            others = np.stack([next(iter(d.parts())).vector for d in control.drives])
            assert not np.allclose(ours, others, atol=0.1)


def test_what_is_given_is_taken_and_lies_in_the_subspace(changing):
    given, taken = changing.of("given"), changing.of("taken")
    posts, place = changing.posts, changing.reader.place
    assert list(posts.groups[given.rows]) == list(posts.groups[taken.rows])
    assert set(posts.labels[given.rows]) == {posts.neutral}
    assert list(posts.labels[taken.rows]) == list(given.target)
    dev = ~posts.test
    basis = changing.reader.subspace(changing.states[dev], posts.labels[dev])
    gap = changing.states[taken.rows, place] - changing.states[given.rows, place]
    for one, other, difference in zip(given.drives, taken.drives, gap, strict=True):
        assert one.vector == pytest.approx(-other.vector, abs=1e-5)
        assert one.vector @ basis.T == pytest.approx(difference @ basis.T, abs=1e-4)
        assert one.vector == pytest.approx(one.vector @ basis.T @ basis, abs=1e-4)


def test_erasing_makes_class_means_equal_and_its_control_moves_as_far_elsewhere(changing):
    posts, dev = changing.posts, ~changing.posts.test
    spreads, moved = [], []
    for name in ("erased", "erased" + CONTROL):
        edit = changing.of(name).edits[0]
        states = torch.tensor(changing.states[dev][:, edit.site.layer])
        left = edit.operation(states).numpy()
        means = np.stack([left[posts.labels[dev] == k].mean(0) for k in range(7)])
        spreads.append(np.abs(means - means.mean(0)).max())
        moved.append(np.linalg.norm(left - states.numpy(), axis=1))
    assert spreads[0] < 1e-3 < 0.5 < spreads[1]
    assert np.allclose(*moved, rtol=1e-3)
    assert min(moved[0]) > 0.1


# Measures


def test_partial_correlation_is_that_of_residuals():
    rng = np.random.default_rng(0)
    read_, words = rng.normal(size=(2, 30, 4))
    said = 0.6 * read_ + 0.5 * words + rng.normal(size=(30, 4))
    tables = [centred(table) for table in (said, read_ + words, words)]
    found = related(*tables, np.ones((1, 30)))
    flat = [table.ravel() for table in tables]
    assert found.read[0] == pytest.approx(np.corrcoef(flat[0], flat[1])[0, 1])
    rest = [side - flat[2] * (side @ flat[2]) / (flat[2] @ flat[2]) for side in flat[:2]]
    assert found.given[0] == pytest.approx(np.corrcoef(*rest)[0, 1])
    twice = np.vstack([np.ones(30), 2 * np.ones(30)])
    assert np.ptp(related(*tables, twice).given) == pytest.approx(0, abs=1e-12)


def test_centring_leaves_no_row_and_no_column_mean_of_a_label():
    table, labels = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 4
    own = centred(table, labels)
    assert own.mean(1) == pytest.approx(np.zeros(20))
    assert all(own[labels == k].mean(0) == pytest.approx(np.zeros(3)) for k in range(4))


def test_orders_of_the_null_keep_scenarios_whole():
    labels, groups = np.tile(np.arange(4), 5), np.repeat([f"g{n}" for n in range(5)], 4)
    for order in swapped(labels, groups, 5, 0, within=True):
        assert sorted(order) == list(range(20))
        assert list(labels[order]) == list(labels)
        partners = groups[order].reshape(5, 4)
        assert (partners == partners[:, :1]).all(), "one scenario's texts go together"
    for order in swapped(labels, groups, 5, 0, within=False):
        assert sorted(order) == list(range(20))
        assert list(groups[order]) == list(groups)
        assert list(labels[order]) != list(labels)
    lacking = swapped(labels[:-1], groups[:-1], 9, 0, within=True)
    assert all(list(labels[order]) == list(labels[:-1]) for order in lacking)


@pytest.mark.parametrize("within", [True, False])
def test_orders_take_every_row_once_whatever_a_scenario_lacks_or_holds_twice(within):
    labels = np.array([0, 1, 0, 1, 0, 0, 0, 0, 1])
    groups = np.array(["a", "a", "b", "b", "c", "d", "d", "e", "e"])
    orders = swapped(labels, groups, 40, 0, within=within)
    assert all(sorted(order) == list(range(9)) for order in orders)
    moved = np.mean([order != np.arange(9) for order in orders], 0)
    if within:
        assert all(list(labels[order]) == list(labels) for order in orders)
        # a, b and e hold the same labels; c and d have no like.
        assert ((moved > 0) == [True] * 4 + [False] * 3 + [True] * 2).all()


def test_chance_of_posts_that_are_their_own_scenario_is_not_the_figure_itself():
    labels = np.arange(20) % 2
    posts = SimpleNamespace(labels=labels, groups=np.array([f"p{n}" for n in range(20)]))
    study = SimpleNamespace(posts=posts, test=np.arange(20), options=SMALL)
    drawn = Part(study).shuffled(np.arange(20))
    assert 0.3 < (drawn == labels).mean() < 0.7


def test_a_difference_is_to_hold_for_other_scenarios_and_other_wordings():
    scenarios = [f"s{n // 2}" for n in range(12)]
    rising = np.ones((10, 12)) + np.random.default_rng(0).normal(0, 0.1, (10, 12))
    rising[3, 4] = np.nan
    # Six scenarios: 2 of 64 flips are as far from 0.
    assert crossed_p(rising, scenarios, 4000, 0) == pytest.approx(2 / 64, abs=0.01)
    many = [f"s{n}" for n in range(12)]
    assert crossed_p(rising, many, 4000, 0) < 0.005
    assert crossed_p(rising[:1], many, 4000, 0) == 1, "of one wording nothing is known"
    one = np.zeros((10, 12))
    one[0] = 10
    assert crossed_p(one, many, 4000, 0) == 1, "one wording alone"


def test_a_study_says_first_what_its_scenarios_lack(tmp_path):
    one = next(row.scenario for row in few(4).rows if row.split == "test")
    rows = [row for row in few(4).rows if row.split == "dev" or row.scenario == one]
    model, out = build("llama"), tmp_path / "run"
    options = replace(SMALL, parts=("asking",), chat=False, folds=2)
    for kept, said in ((rows, "fewer groups than folds"), (few(12).rows, "")):
        own = [r for r in kept if r.split == "dev" or r.scenario == one] if not said else kept
        with pytest.raises(UserError, match=said or "one test scenario alone"):
            Study(model, StimulusSet("few", tuple(own)), LexiconJudge(), options, out)
    assert not out.exists()


def test_posts_that_nothing_is_replied_to_are_named():
    posts = Posts(few(12))
    study = object.__new__(Study)
    study.posts, study.options = posts, SMALL
    study.model = SimpleNamespace(public_name="mute")
    study.states = np.zeros((len(posts.labels), 2, 1, 3), np.float32)
    study._check_read("reply", 1)
    study.states[posts.labels == 0, 1] = np.nan
    with pytest.raises(UserError, match="mute replies nothing to 6 of 42 development posts"):
        study._check_read("reply", 1)


def test_intercepts_are_those_of_the_fit():
    rng = np.random.default_rng(0)
    labels = rng.choice(3, 300, p=[0.6, 0.3, 0.1])
    logits = rng.normal(size=(300, 3)) + np.eye(3)[labels]
    found = intercepts(logits, labels)
    shares = probabilities(logits + found).mean(0)
    assert shares == pytest.approx(np.bincount(labels) / 300, abs=1e-6)
    gone = np.vstack([logits, np.full((1, 3), np.nan)])
    assert intercepts(gone, np.append(labels, 0)) == pytest.approx(found)


def test_a_crossed_bootstrap_resamples_posts_and_wordings():
    values = np.arange(6.0).reshape(2, 3)
    values[0, 1] = np.nan
    assert crossed(values, np.ones((1, 3)), np.ones((1, 2)))[0] == pytest.approx(14 / 5)
    only = crossed(values, np.array([[1.0, 0, 0]]), np.array([[0.0, 2]]))
    assert only[0] == 3
    drawn = resampled_versions(5, 40, 0)
    assert drawn.shape == (41, 5)
    assert Counter(drawn.sum(1)) == {5.0: 41}
    assert drawn[1:].std() > 0


# Whole


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--parts", "asking,feeling"), "unknown part 'feeling'"),
        (("--parts", ""), "no part"),
        (("--paraphrases", "11"), "there are 10"),
        (("--dose", "9"), "dose 9"),
        (("--tokens", "0"), "tokens is 0"),
        (("--posts", "1"), "posts is 1: give 2 or more"),
    ],
)
def test_the_command_refuses_what_cannot_be(capsys, options, said):
    assert said in refused(capsys, "express", DEFAULT, *options)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A small study of the default model, killed in the middle, and gone on with."""
    out = tmp_path_factory.mktemp("express") / "run"
    model, told = load_model(DEFAULT), []

    def dies(stage: str, *_: float) -> None:
        told.append(stage)
        if stage == "judging: taken":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_expression(model, few(6), out, SMALL, judge=LexiconJudge(), progress=dies)
    before = {path.name: path.stat().st_mtime_ns for path in (out / "stages").iterdir()}
    assert not (out / "results.csv").exists()
    run_expression(model, few(6), out, SMALL, judge=LexiconJudge(), say=told.append)
    after = {path.name: path.stat().st_mtime_ns for path in (out / "stages").iterdir()}
    assert {name: after[name] for name in before} == before, "a finished stage is not made again"
    return out, told


@pytest.mark.slow
def test_the_default_model_answers_replies_and_is_changed(run):
    out, told = run
    with (out / "results.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert set(rows[0]) == set(COLUMNS)
    assert {row["task"] for row in rows} == {"asking", "malleable", "expressed"}
    assert any("about" in line and "replies" in line for line in told)

    def only(**cells):
        (row,) = [r for r in rows if all(r[name] == each for name, each in cells.items())]
        return {name: float(row[name]) for name in ("value", "low", "high")}

    accuracy = {"task": "asking", "metric": "accuracy"}
    null = only(**accuracy, condition="null")
    assert only(**accuracy, method="logistic")["value"] > null["value"]
    # Every change reaches what is read, beyond a control that is as large.
    beyond = {"metric": "target_probability_change_beyond_control", "method": "read_out"}
    for name in ("added", "given"):
        assert only(**beyond, condition=name)["low"] > 0, name
    for name in ("erased", "taken"):
        assert only(**beyond, condition=name)["high"] < 0, name
    shift = {"task": "malleable", "metric": "agreement_shift", "condition": "emotional"}
    assert -1 <= only(**shift, position="reply", method="judge")["value"] <= 1
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["judge"] == "lexicon"
    examples = manifest["examples"]
    assert len({each["label"] for each in examples}) == len(examples) == 7
    rows = {row.text: row for row in StimulusSet.load("utterances").rows}
    assert all(rows[each["post"]].emotion == each["label"] for each in examples)
    assert len({rows[each["post"]].scenario for each in examples}) > 1
    assert str(out) not in json.dumps(manifest)


@pytest.mark.slow
def test_the_study_has_a_page_and_a_table(run):
    out, _ = run
    page = write_report(out).read_text(encoding="utf-8")
    assert "Told to be emotional" in page
    title, _, lines = headline_table(out)
    assert "Replies agree with the post" in title
    assert any("asked, by likelihood" in line[0] for line in lines)


@pytest.mark.slow
def test_what_a_part_needs_is_said_before_anything_is_written(tmp_path):
    model, whole = load_model(DEFAULT), few(6)
    alone = tuple(replace(row, scenario=row.id) for row in whole.rows)
    with pytest.raises(UserError, match="fewer than two test scenarios"):
        run_expression(model, StimulusSet("few", alone), tmp_path / "x", SMALL,
                       judge=LexiconJudge())  # fmt: skip
    felt = tuple(row for row in whole.rows if row.emotion != "neutral")
    with pytest.raises(UserError, match="no text is neutral"):
        run_expression(model, StimulusSet("few", felt), tmp_path / "x", SMALL,
                       judge=LexiconJudge())  # fmt: skip
    assert not (tmp_path / "x").exists()
    own = model.tokenizer.chat_template
    try:
        model.tokenizer.chat_template = "{% if messages[0].role == 'system' %}" + (
            "{{ raise_exception('no system role') }}{% endif %}{{ messages[0].content }}"
        )
        with pytest.raises(UserError, match="takes no such turns"):
            run_expression(model, whole, tmp_path / "x", SMALL, judge=LexiconJudge())
    finally:
        model.tokenizer.chat_template = own


@pytest.mark.slow
def test_a_study_without_room_or_template_is_refused():
    model = load_model(DEFAULT)
    with pytest.raises(UserError, match="the context holds"):
        Study(model, few(6), LexiconJudge(), replace(SMALL, tokens=10_000), None)
