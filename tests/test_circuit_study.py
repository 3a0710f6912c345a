"""A whole study of circuits on the real default model, cut short; and what it refuses."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from families import build
from test_cli import refused

from probekit import load_model
from probekit.bundled import DEFAULT
from probekit.circuits import Circuit, Circuits, Graph, Study, run_circuits
from probekit.circuits.influence import Influence
from probekit.circuits.options import STAGES
from probekit.circuits.texts import (
    EVENTS,
    NEEDED,
    Expression,
    check_enough,
    contexts,
    expressed,
    rates,
)
from probekit.cli import run
from probekit.errors import UserError
from probekit.judges import Judge, LexiconJudge
from probekit.runs import COLUMNS
from probekit.steering import Decoding, Setting

EMOTIONS = ("grief", "terror")
SMALL = Circuits(
    EMOTIONS,
    "reading",
    scenarios=3,
    held_out=2,
    chat=False,
    decoding=Decoding(6),
    k=35,
    ks=(35,),
    head_texts=2,
    injected=4,
    draws=1,
    edges=3,
    prompts=1,
    scales=(1.0,),
    bootstraps=50,
    permutations=50,
)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A finished run, the model, and what was said."""
    out, model, said = tmp_path_factory.mktemp("circuit") / "run", load_model(DEFAULT), []
    run_circuits(model, out, SMALL, judge=LexiconJudge(), command="circuit", say=said.append)
    return out, model, said


def rows_of(out):
    with (out / "results.csv").open(encoding="utf-8") as file:
        reader = csv.DictReader(file)
        assert tuple(reader.fieldnames or ()) == COLUMNS
        return list(reader)


@pytest.mark.slow
def test_a_study_writes_every_figure_beside_its_control(ran):
    out, _, said = ran
    rows = rows_of(out)
    by_metric = {row["metric"] for row in rows}
    assert by_metric >= {
        "accepted", "reliability", "ablation_against_write", "influence", "linearity", "jaccard",
        "nats_added", "own_label", "reception_shift", "target_accuracy", "target_accuracy_by_event",
        "accuracy_at_fluency",
    }  # fmt: skip
    for metric in ("influence", "jaccard"):
        own = [row for row in rows if row["metric"] == metric]
        assert {row["condition"] for row in own} == {"", "null"}
    for metric in ("nats_added", "own_label", "reception_shift"):
        own = [row for row in rows if row["metric"] == metric]
        assert {row["condition"] for row in own} == {"circuit", "random"}
    methods = {row["method"] for row in rows if row["metric"] == "target_accuracy"}
    assert methods == {
        "plain", "prompt", "prompt ablated", "random prompt ablated", "steer", "random", "circuit",
        "random circuit",
    }  # fmt: skip
    events = {row["source"] for row in rows if row["metric"] == "target_accuracy_by_event"}
    assert events == set(EVENTS)
    first = [row for row in rows if row["metric"] == "linearity" and row["dose"] == "0.05"]
    assert {row["value"] for row in first} == {"1"}
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["complete"]
    assert any("no effect on expression of" in note for note in manifest["notes"])
    assert any("weights" in line and "MB" in line for line in said), "the memory plan"


class Reader(Judge):
    """Takes half of all texts for either emotion: the default model hardly expresses any."""

    name = "reader"
    identity = ("reader",)

    def read(self, texts):
        found = np.full((len(texts), len(self.labels)), 0.01)
        for row, text in enumerate(texts):
            found[row, self.labels.index(EMOTIONS[len(text) % 2])] = 1.0
        return found / found.sum(1, keepdims=True)


@pytest.mark.slow
def test_a_study_of_what_the_model_writes_gets_as_far_as_its_graphs(ran, tmp_path):
    """Its scores are of expressions, its graphs and its cosines of vignettes too."""
    _, model, _ = ran
    options = replace(SMALL, source="expressing", scenarios=14, edges=2)
    stages = STAGES[: STAGES.index("edges") + 1]
    found = run_circuits(model, tmp_path, options, judge=Reader(), stages=stages)
    assert found is None, "a stage is left to make"
    kept = {path.stem for path in (tmp_path / "stages").glob("*.safetensors")}
    assert kept >= {*stages, "vignettes"}
    circuit = Circuit.load(tmp_path / "circuits" / "grief-influence-35.json", model)
    assert circuit.source == "expressing"
    assert all(node.texts for node in Graph.load(tmp_path / "graphs" / "grief.json").nodes)


@pytest.mark.slow
def test_circuits_and_graphs_lie_in_files(ran):
    out, model, _ = ran
    for emotion in EMOTIONS:
        for allocation in ("influence", "global"):
            circuit = Circuit.load(out / "circuits" / f"{emotion}-{allocation}-35.json", model)
            assert (circuit.emotion, len(circuit), circuit.source) == (emotion, 35, "reading")
        graph = Graph.load(out / "graphs" / f"{emotion}.json")
        names = {node.name for node in graph.nodes}
        assert {edge.source for edge in graph.edges} <= names
        assert all(node.tokens and node.texts for node in graph.nodes)


@pytest.mark.slow
def test_a_finished_study_is_read_from_its_files_and_gives_the_same_results(ran):
    out, model, _ = ran
    before = (out / "results.csv").read_bytes()
    said = []
    run_circuits(model, out, SMALL, judge=LexiconJudge(), say=said.append)
    assert (out / "results.csv").read_bytes() == before
    assert not any("made anew" in line for line in said)


@pytest.mark.slow
def test_a_change_makes_what_depends_on_it_anew_and_says_so(ran):
    out, model, _ = ran
    said = []
    study = Study(model, LexiconJudge(), replace(SMALL, seed=1), out, say=said.append)
    stage = out / "stages" / "scores.safetensors"
    kept = stage.read_bytes()
    _ = study.material, study.scores
    assert said == ["scores is made anew: seed changed"]
    stage.write_bytes(kept)
    late = Study(
        model, LexiconJudge(), replace(SMALL, emotions=("grief", "rage")), out, ("scores",)
    )
    with pytest.raises(
        UserError, match=r"stage activity was made with other .*stimuli.* add it to"
    ):
        _ = late.material
    stage.unlink()
    only = Study(model, LexiconJudge(), SMALL, out, ("circuits",))
    _ = only.material
    with pytest.raises(UserError, match=r"stage scores has not been made in .*, and what you ask"):
        _ = only.circuits
    stage.write_bytes(kept)


def test_contexts_take_events_in_turn_and_scenarios_from_all_themes():
    rows = contexts(8, "dev")
    assert [row.valence for row in rows[:3]] == list(EVENTS)
    assert len({row.domain for row in rows}) == 8
    every = contexts(2, "test", every_event=True)
    assert len(every) == 6
    assert {row.valence for row in every} == set(EVENTS)
    assert not {r.scenario for r in contexts(160, "dev")} & {
        r.scenario for r in contexts(80, "test")
    }
    with pytest.raises(UserError, match="161 scenarios of the dev split: give 1 to 160"):
        contexts(161, "dev")


def expression(emotion, number, text="It was late.", judged=None):
    return Expression(
        emotion, f"c{number}", f"s{number}", "positive", "work", "dev", 0,
        "The day began.", text, emotion if judged is None else judged,
    )  # fmt: skip


def test_emotions_with_too_few_accepted_texts_are_all_named():
    found = ["grief"] * NEEDED + ["rage"]
    with pytest.raises(
        UserError, match=rf"1 of rage, 0 of terror; {NEEDED} of each emotion are needed"
    ):
        check_enough(found, ("grief", "rage", "terror"))


def test_accepted_is_what_the_judge_took_for_the_emotion_and_plain_texts_always():
    texts = [
        expression("grief", 0),
        expression("grief", 1, judged="rage"),
        expression("grief", 2, text=" "),
        expression("neutral", 3, judged="joy"),
    ]
    assert [each.accepted for each in texts] == [True, False, False, True]
    assert rates(texts) == {"grief": 1 / 3}


def test_no_token_of_an_emotion_word_is_read():
    model = build("llama")
    words = [expression("neutral", 9, judged="", text=" it rained")]
    for emotion in EMOTIONS:
        words += [expression(emotion, n, text=" she felt so sad, and left") for n in range(4)]
    stimuli, where = expressed(model, words, Setting(False), EMOTIONS)
    assert len(stimuli) == 9
    prompt, tokens = where[1].prompt, where[1].tokens
    told = "".join(model.tokenizer.decode([prompt.input_ids[t]]) for t in tokens)
    assert "sad" not in told
    assert "left" in told
    assert "began" not in told, "nothing of the prompt"


def test_influence_is_a_slope_where_the_response_is_linear():
    alphas = np.array([0.05, 0.1, 0.2, 0.4])
    response = np.where(alphas < 0.3, alphas, 0.2) * 3.0
    given = np.broadcast_to(response[:, None], (1, 2, 4, 4, 5)).copy()
    null = np.zeros((2, 1, 2, 4, 5))
    found = Influence(("joy",), {"labels": given}, {"labels": null}, ("a",) * 5)
    np.testing.assert_allclose(found.linearity(), [1, 1, 1, 0.5])
    assert found.linear() == (0.05, 0.1, 0.2)
    np.testing.assert_allclose(found.slopes(), 3.0)
    np.testing.assert_allclose(found.of("joy")["z"], 3.0)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--emotions", "rage"], "give two or more"),
        (["--source", "writing"], "unknown source 'writing': accepted are expressing, reading"),
        (["--allocation", "best"], "unknown allocation 'best'"),
        (["--ks", "1,many"], "--ks 1,many: give numbers"),
        (["--seeds", "0,0"], "seeds 0, 0: give one or more, each once"),
        (["--prompts", "0"], "prompts is 0: give 1 or more"),
    ],
)
def test_the_command_refuses_bad_input_before_a_model_is_loaded(capsys, options, says):
    assert says in refused(capsys, "circuit", "no-such-model", *options)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            ["--k", "46351"],
            "K 46351: smollm2-135m has 270 heads and 46080 neurons; give 1 to 46350",
        ),
        (["--stages", "circuits"], "stage texts has not been made in"),
        (["--stages", "scoring"], "unknown stage 'scoring'"),
        (["--scenarios", "200"], "200 scenarios of the dev split: give 1 to 160"),
    ],
)
def test_the_command_refuses_what_the_model_or_run_does_not_allow(capsys, options, says, tmp_path):
    common = ["--source", "reading", "--other-model", "none", "--out", str(tmp_path / "run")]
    judge = [] if "--judge" in options else ["--judge", "lexicon"]
    assert says in refused(capsys, "circuit", DEFAULT, *common, *judge, *options)


@pytest.mark.slow
def test_the_command_refuses_a_judge_below_its_floor(capsys):
    assert run(["circuit", "no-such-model", "--judge", "embedding"]) == 2
    (line,) = [each for each in capsys.readouterr().err.splitlines() if each.startswith("error")]
    assert "kappa 0.35" in line
    assert "--force" in line
