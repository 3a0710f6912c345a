"""The study of retention: its parts by hand, and a small study on the real default model."""

import csv
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from families import build
from test_cli import refused

from probekit import load_model
from probekit.bundled import DEFAULT
from probekit.errors import UserError
from probekit.persistence import Cut, Retention, run_retention, turns
from probekit.persistence.following import Passage
from probekit.persistence.measures import Measures, half_life, kept, lived, sampled
from probekit.persistence.passages import Pooled, Projected, named, windows
from probekit.persistence.probe import fit_probe
from probekit.persistence.retention import spread
from probekit.persistence.turns import continuations, removals
from probekit.report import headline_table, write_report
from probekit.runs import COLUMNS
from probekit.sites import Site
from probekit.stimuli import StimulusSet

SMALL = Retention(
    tokens=20, cuts=(0, 3), learned=1, layers=(6, 20), bootstraps=60, permutations=60, chat=True
)


def few(scenarios: int = 12) -> StimulusSet:
    """Whole scenarios of the shipped set, as many of either split."""
    whole = StimulusSet.load("utterances")
    names = list(dict.fromkeys(row.scenario for row in whole.rows))[:scenarios]
    return StimulusSet("few", tuple(row for row in whole.rows if row.scenario in names))


@pytest.mark.parametrize("tokens", [1, 7, 20, 512])
def test_windows_hold_every_offset_once(tokens):
    offsets = [offset for window in windows(tokens) for offset in window]
    assert offsets == list(range(tokens + 1))
    assert [named(window) for window in windows(6)] == ["0", "1", "2-3", "4-6"]


def test_what_is_kept_of_passages_does_not_depend_on_how_they_are_cut():
    among, sites = windows(9), [Site("resid_post", 0), Site("resid_post", 2)]
    rng = np.random.default_rng(0)
    states = rng.normal(size=(2, 3, 10, 4)).astype(np.float32)  # site, row, offset, d
    weights = rng.normal(size=(2, 2, 4))
    pooled, said = Pooled(3, among, sites, 4), Projected(3, 10, sites, weights)
    passages = ((range(3), range(3)), (range(1), range(3, 10)), (range(1, 3), range(3, 10)))
    for site, place in enumerate(sites):
        for rows, offsets in passages:
            own = states[site][rows.start : rows.stop, offsets.start : offsets.stop]
            for reader in (pooled, said):
                reader.receive(Passage(None, rows, offsets), place, torch.tensor(own))
    means = np.stack([states[:, :, w.start : w.stop].mean(2) for w in among], 2)
    assert np.allclose(pooled.states, means.transpose(1, 2, 0, 3), atol=1e-6)
    direct = np.einsum("srod,skd->rosk", states, weights)
    assert np.allclose(said.said["whole"], direct, atol=1e-5)


def test_a_cut_is_kept_from_the_offset_after_it_and_others_are_passed_over():
    sites, weights = [Site("resid_post", 0)], np.ones((1, 2, 4))
    said = Projected(2, 6, sites, weights, ["turn"])
    value = torch.ones(2, 3, 4)
    said.receive(Passage(None, range(2), range(3)), sites[0], value)
    said.receive(Passage(Cut("turn", 2, ((1,), (1,))), range(2), range(3, 6)), sites[0], value)
    said.receive(Passage(Cut("other", 2, ((1,), (1,))), range(2), range(3, 6)), sites[0], 9 * value)
    assert np.isnan(said.said["turn"][:, :3]).all()
    assert (said.said["turn"][:, 3:] == 4).all()


def test_offsets_that_stand_for_a_window():
    assert sampled(range(1)) == [0]
    assert sampled(range(4, 8)) == [4, 5, 6, 7]
    assert sampled(range(256, 512)) == [256, 307, 358, 409, 460, 511]


def test_a_half_life_is_where_half_of_the_largest_is_left():
    middles = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    falling = 0.5 + np.array([0.4, 0.4, 0.3, 0.1, 0.0])
    staying, nothing = np.full(5, 0.9), np.full(5, 0.5)
    found = half_life(middles, np.stack([falling, staying, nothing], 1))
    assert found[0] == pytest.approx(np.exp((np.log(4) + np.log(8)) / 2))  # .2 lies midway.
    assert np.isinf(found[1])
    assert np.isnan(found[2])


def test_chance_permutes_across_scenarios_that_hold_one_emotion_each():
    # Two of one emotion and a neutral one: inside a scenario only the neutral one would move.
    emotions = np.array(["fear", "neutral", "rage"])
    labels = np.array([0, 0, 1, 2, 2, 1] * 4)
    groups = np.array([f"s{n // 3}" for n in range(24)])
    study = SimpleNamespace(options=replace(SMALL, permutations=200), emotions=emotions)
    study.labels, study.groups, study.test = labels, groups, np.ones(24, bool)
    measures = Measures(study)
    assert measures.scheme == "across"
    assert (measures.permuted == labels).mean() < 0.45
    study.labels = np.array([0, 1, 2] * 8)
    assert Measures(study).scheme == "within"
    # Some rows of the design are permuted as the whole is.
    assert Measures(study, study.labels > 0).scheme == "within"


def test_a_half_life_that_many_draws_do_not_reach_has_no_upper_end():
    lives = np.array([20.0, *[10.0] * 90, *[40.0] * 10])
    assert lived(lives, 64) == ({"value": 20, "low": 10, "high": 40}, None)
    lives[-2:] = np.inf
    assert lived(lives, 64) == ({"value": 20, "low": 10, "high": 40}, None)
    lives[-3:] = np.inf
    assert lived(lives, 64) == ({"value": 20}, 10)
    lives[0] = np.inf
    assert lived(lives, 64) == ({}, 10)


def test_what_is_kept_needs_something_to_keep():
    left = kept(np.array([0.7, 0.9, 0.5]), np.array([0.9, 0.51, 0.9]))
    assert left[0] == pytest.approx(0.5)
    assert np.isnan(left[1])
    assert left[2] == pytest.approx(0.0)
    assert np.isnan(kept(np.array([0.7, 0.7]), np.array([0.515, 0.9]))).all()


def test_the_probe_finds_the_layer_that_tells_and_ignores_what_the_tokens_are():
    rng = np.random.default_rng(0)
    labels = np.tile(np.arange(3), 12)
    scenarios = np.repeat([f"s{n}" for n in range(12)], 3)
    states = rng.normal(size=(2, 36, 3, 2, 5)).astype(np.float32)
    states[..., 1, :3] += 3 * np.eye(3, dtype=np.float32)[labels][None, :, None]
    found = fit_probe(states, labels, scenarios, 3, 0)
    assert found.place == 1
    assert found.inner[1] > 0.9
    assert 0.3 < found.inner[0] < 0.7
    assert found.coefficients.shape == (2, 3, 5)
    assert (found.coefficients[1, :, :3].argmax(1) == np.arange(3)).all()
    # Tokens that move all rows of a place alike change nothing.
    moved = states + 5 * rng.normal(size=(2, 1, 3, 2, 5)).astype(np.float32)
    again = fit_probe(moved, labels, scenarios, 3, 0)
    assert np.allclose(again.coefficients, found.coefficients, atol=1e-4)
    assert np.allclose(again.inner, found.inner, atol=1e-6)


def test_a_probe_of_two_classes_has_a_column_for_each():
    rng = np.random.default_rng(0)
    labels, scenarios = np.tile([0, 1], 10), np.repeat([f"s{n}" for n in range(10)], 2)
    states = rng.normal(size=(1, 20, 2, 1, 4)).astype(np.float32)
    states[..., 0] += 2 * labels[None, :, None, None]
    found = fit_probe(states, labels, scenarios, 2, 0).coefficients
    assert found.shape == (1, 2, 4)
    assert np.allclose(found[:, 0], -found[:, 1])
    assert found[0, 1, 0] > 0


def test_layers_are_spread_from_the_first_to_the_last():
    assert spread(30) == (0, 4, 7, 11, 14, 18, 22, 25, 29)
    assert spread(3) == (0, 1, 2)


@pytest.fixture(scope="module")
def model():
    return load_model(DEFAULT)


@pytest.mark.slow
def test_turns_say_which_tokens_are_whose(model):
    stimuli = few(4)
    for chat in (True, False):
        for turn, row in zip(turns(model, stimuli, chat=chat), stimuli.rows, strict=True):
            ids = turn.prompt.input_ids
            said = model.tokenizer.decode([ids[token] for token in turn.own]).strip()
            assert said == row.text.strip()
            assert len(turn.filler) == len(turn.own)
            assert not set(turn.filler) & set(turn.own)
            assert turn.after[-1] == len(turn.prompt) - 1
            assert turn.own[-1] + 1 == turn.after[0]
            for at in (0, 7):
                parts = {name: each[0] for name, each in removals([turn], at, 0).items()}
                assert (parts.get("header") == turn.after) == bool(at)
                assert ("turn_and_header" in parts) == bool(at)
                assert not set(parts["random"]) & (set(turn.own) | {0})
                assert len(parts["random"]) == len(set(parts["random"])) == len(turn.own)
                assert max(parts["random"]) < len(ids) + at
                beside = set(parts.get("random_header", ()))
                assert len(beside) == (len(turn.after) if at else 0)
                assert not beside & {0, *turn.own, *turn.after}


@pytest.mark.slow
def test_turns_of_a_scenario_differ_in_their_text_alone(model):
    first, second, *_ = turns(model, few(2), chat=True)
    assert first.prompt.input_ids[: first.own[0]] == second.prompt.input_ids[: second.own[0]]
    after = [[t.prompt.input_ids[token] for token in t.after] for t in (first, second)]
    assert after[0] == after[1]


@pytest.mark.slow
def test_continuations_share_no_text(model):
    found = continuations(model, 4, 300, 0)
    assert [len(each) for each in found] == [300] * 4
    texts = [set(model.tokenizer.decode(each).split("\n\n")[:-1]) for each in found]
    assert not any(a & b for n, a in enumerate(texts) for b in texts[:n])
    assert continuations(model, 4, 300, 1) != found
    first = set(model.tokenizer.decode(found[0]).split("\n\n")[:-1])
    without = continuations(model, 4, 300, 0, studied=first)
    assert not any(text in model.tokenizer.decode(each) for each in without for text in first)
    with pytest.raises(UserError, match="ask for fewer or shorter"):
        continuations(model, 50, 2000, 0)


@pytest.fixture(scope="module")
def ran(model, tmp_path_factory):
    out = tmp_path_factory.mktemp("retain") / "run"
    run_retention(model, few(), out, SMALL, command="retain")
    return out


def rows_of(out):
    with (out / "results.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_a_study_gives_every_figure_its_control(ran):
    rows = rows_of(ran)
    assert set(rows[0]) == set(COLUMNS)
    whole = [r for r in rows if r["metric"] == "auroc" and r["condition"] == "probe"]
    assert {r["layer"] for r in whole} == {"6", "20"}
    chosen = str(json.loads((ran / "manifest.json").read_text())["chosen_layer"])
    headline = [r for r in whole if r["layer"] == chosen]
    assert {r["position"] for r in headline} == {"0", "1", "2-3", "4-7", "8-15", "16-20"}
    arms = {r["target"] for r in headline}
    assert arms == {"", "keyword_free", "keyword_rich"}
    for row in headline:
        same = {k: row[k] for k in ("layer", "position", "emotion", "target")}
        beside = [r for r in rows if all(r[k] == v for k, v in same.items())]
        assert next(r for r in beside if r["condition"] == "null")["p"]
        assert [r for r in beside if r["metric"] == "auroc_above_text"]
    words = [r for r in rows if r["condition"] == "baseline"]
    assert {r["unit"] for r in words} == {json.loads((ran / "manifest.json").read_text())["words"]}
    for row in (r for r in rows if r["condition"] == "cut"):
        assert int(row["position"].split("-")[0]) > int(row["k"])
    beyond = [r for r in rows if r["metric"] == "auroc_lost_beyond_controls"]
    assert {r["k"] for r in beyond} == {"0", "3"}
    assert {(r["method"], r["k"]) for r in beyond} == {
        ("turn", "0"),
        ("turn", "3"),
        ("header", "3"),
    }
    assert len([r for r in rows if r["metric"] == "auroc_at_offset"]) == SMALL.tokens + 1
    assert {r["metric"] for r in rows if r["split"] == "dev"} == {"inner_auroc"}
    # Right after a turn of a plain case, even a small model tells what it was.
    top = [r for r in headline if not r["emotion"] and not r["target"]]
    first = next(r for r in top if r["position"] == "0")
    assert float(first["value"]) > 0.6


@pytest.mark.slow
def test_removing_the_turn_costs_more_than_removing_as_much_else(ran):
    lost = {
        (r["method"], r["k"], r["position"]): float(r["value"])
        for r in rows_of(ran)
        if r["metric"] == "auroc_lost" and not r["emotion"]
    }
    for position in ("4-7", "8-15"):
        assert lost["turn", "0", position] > lost["neutral_text", "0", position]


@pytest.mark.slow
def test_the_page_of_a_study_and_its_short_table(ran):
    page = write_report(ran).read_text(encoding="utf-8")
    assert "Carried, or looked up again?" in page
    _, columns, rows = headline_table(ran)
    assert columns[:4] == ("offset", "AUROC", "chance", "above text")
    assert [row[0] for row in rows] == ["0", "1", "2-3", "4-7", "8-15", "16-20"]


@pytest.mark.slow
def test_a_study_again_is_read_from_its_stages_and_says_the_same(ran, model):
    before = (ran / "results.csv").read_bytes()
    said = []
    run_retention(model, few(), ran, SMALL, command="retain", progress=lambda *a: said.append(a))
    assert (ran / "results.csv").read_bytes() == before
    assert not said, "something was read again"
    kept = {path.stem for path in (ran / "stages").glob("*.safetensors")}
    assert kept == {"words", "states 0", "probe", "passage 0", "passage 0 cut 0", "passage 0 cut 3"}
    with pytest.raises(UserError, match="differs in options"):
        run_retention(model, few(), ran, replace(SMALL, tokens=21), command="retain")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cuts": (256,)}, "of 511 tokens the last window begins at 256; cut at 0 to 255"),
        ({"permutations": 0}, "permutations is 0: give 1 or more"),
        ({"cuts": (1, 1)}, "give each once"),
        ({"learned": 0}, "learned is 0: give 1 or more"),
        ({"folds": 1}, "give two or more"),
    ],
)
def test_options_that_cannot_be(options, said):
    with pytest.raises(UserError, match=said):
        Retention(**options).check()


def test_texts_without_a_test_split_are_refused(tmp_path):
    rows = tuple(replace(row, split="dev") for row in few(4).rows)
    with pytest.raises(UserError, match="give rows with `emotion`, `scenario` and `split`"):
        run_retention(build("llama"), StimulusSet("x", rows), tmp_path / "x", SMALL)


def test_texts_without_an_emotion_are_refused(tmp_path):
    rows = tuple(replace(row, emotion="") for row in few(4).rows)
    with pytest.raises(UserError, match="28 rows, 'ut-work-1-01' first, have no emotion"):
        run_retention(build("llama"), StimulusSet("x", rows), tmp_path / "x", SMALL)
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_what_cannot_be_is_said_before_anything_is_written(model, tmp_path):
    for options, said in (
        (replace(SMALL, layers=(99,)), "layers 0 to 29"),
        (replace(SMALL, tokens=8100), "ask for fewer or shorter"),
    ):
        with pytest.raises(UserError, match=said):
            run_retention(model, few(4), tmp_path / "x", options)
        assert not (tmp_path / "x").exists()


def test_the_command_refuses_what_cannot_be(capsys):
    assert "give numbers" in refused(capsys, "retain", DEFAULT, "--cuts", "x")
    assert "cut at offset 9" in refused(capsys, "retain", DEFAULT, "--cuts", "9", "--tokens", "9")
