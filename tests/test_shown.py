"""Objects in a notebook: what they say of themselves, in the page's own colours."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from probekit import (
    Activations,
    Directions,
    LayerProbes,
    LayerRegression,
    Model,
    Run,
    StimulusSet,
    UserError,
    capture,
    extract,
    load_model,
    write_report,
)
from probekit.circuits import Circuit, Component, Edge, Graph, Node
from probekit.directions.identity import Identity
from probekit.runs import MANIFEST, RESULTS, write_json, write_results
from probekit.shown import ROWS, card, counted, grid, numbered, short, sized
from probekit.stimuli import Stimulus

ATTACK = '"><script>alert(1)</script>&lt;'
COLOURS = re.compile(r"(background|(?<![-\w])color\s*:|#[0-9a-f]{3,8}\b|rgba?\(|hsla?\()", re.I)
"""Anything that would fix a colour; `currentColor` and `color-mix(` of it fix none."""


class Cells(HTMLParser):
    """The tags of a piece of HTML, its text, and its facts by their names."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags, self.rows, self.text = [], [], ""
        self.feed(markup)
        self.facts = {row[0]: row[1] for row in self.rows if len(row) == 2}

    def handle_starttag(self, tag, attrs):  # noqa: ARG002 - its name is HTMLParser's
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_data(self, data):
        self.text += data
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data


def shown(thing) -> Cells:
    """What a notebook shows of it, which holds no script and fixes no colour."""
    markup = str(thing._repr_html_())
    cells = Cells(markup)
    assert set(cells.tags) <= {"div", "table", "thead", "tbody", "tr", "th", "td", "a"}
    assert not COLOURS.search(re.sub(r">[^<]*<", "><", markup))
    assert "\n" not in repr(thing)
    assert len(repr(thing)) < 160
    return cells


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("smollm2-135m", device="cpu")


@pytest.fixture(scope="module")
def texts() -> StimulusSet:
    return StimulusSet.load("vignettes").select(arm=["keyword_free", "neutral"], split="dev")


@pytest.fixture(scope="module")
def states(model, texts) -> Activations:
    return capture(model, texts, ["resid_post", "z.3"], ["mean", "last"])


@pytest.fixture(scope="module")
def directions(model, texts, states) -> Directions:
    return extract(model, texts, states)


# Each class


@pytest.mark.slow
def test_a_model_shows_its_shape_and_what_its_weights_are(model):
    fresh = replace(model)
    facts = shown(fresh).facts
    assert facts["architecture"] == "LlamaForCausalLM"
    assert (facts["layers"], facts["d_model"]) == ("30", "576")
    assert facts["heads"] == "9, 3 with keys of their own"
    assert facts["weights"] == "float32 on cpu"
    assert "de-quantised" in facts["notes"]
    assert repr(model) == "Model('smollm2-135m', 30 layers of 576, torch.float32, cpu)"
    assert "fingerprint" not in vars(fresh), "a look at a model must not read its weights"


@pytest.mark.slow
def test_a_model_says_which_sites_it_refuses_and_no_path(model, tmp_path, monkeypatch):
    named = replace(model, name=str(tmp_path), notes=(ATTACK,))
    monkeypatch.setitem(named.sites.refused, "resid_mid", ATTACK)
    cells = shown(named)
    assert cells.facts["no resid_mid"] == cells.facts["notes"] == ATTACK
    assert str(tmp_path.parent) not in cells.text + repr(named)


def test_a_set_shows_its_size_its_rows_by_emotion_and_arm_and_two_texts(texts):
    cells = shown(texts)
    assert cells.facts["rows"] == "96"
    assert ["rows", "keyword_free", "neutral"] in cells.rows
    assert ["grief", "6", ""] in cells.rows
    assert ["neutral", "", "48"] in cells.rows
    assert cells.text.count("text vig-") == 2
    assert repr(texts) == "StimulusSet('vignettes', 96 rows)"


def test_a_set_of_hostile_rows_shows_them_as_text():
    row = Stimulus(id=ATTACK, text=ATTACK * 40, arm=ATTACK, emotion=ATTACK, split=ATTACK)
    cells = shown(StimulusSet("hostile" + ATTACK[:9], (row,)))
    assert cells.facts["splits"] == ATTACK
    assert [ATTACK, "1"] in cells.rows
    assert cells.facts[f"text {ATTACK}"] == short(ATTACK * 40)


def test_a_set_without_a_row_or_a_label_is_shown(texts):
    assert shown(StimulusSet("none", ())).facts["rows"] == "0"
    cells = shown(StimulusSet("bare", (Stimulus(id="a", text="Rain."),)))
    assert ["rows", "no arm"] in cells.rows
    assert ["no emotion", "1"] in cells.rows


@pytest.mark.slow
def test_activations_show_sites_poolings_layers_and_bytes(states):
    facts = shown(states).facts
    assert facts["items"] == "96"
    assert facts["resid_post"] == "mean, last; layers 30: 0 to 29"
    assert facts["z"] == "mean, last; layers 1: 3"
    assert facts["memory"] == "13.7 MB"
    assert states.nbytes == 2 * 31 * 96 * 576 * 4
    assert "array" not in repr(states)


@pytest.mark.slow
def test_probes_are_shown_before_and_after_they_are_fitted(texts, states):
    probes = LayerProbes(C=0.01)
    assert shown(probes).facts == {"C": "0.01", "standardize": "True", "fitted": "not yet"}
    probes.fit(states.stack("z", "mean"), texts.column("arm"))
    facts = shown(probes).facts
    assert (facts["fitted"], facts["layers"], facts["features"]) == ("yes", "1", "576")
    assert facts["classes"] == "2: keyword_free, neutral"
    assert probes._repr_mimebundle_()["text/html"] == probes._repr_html_()


def test_a_regression_has_no_classes_and_hostile_ones_are_text():
    x = np.random.default_rng(0).standard_normal((8, 2, 3))
    assert "classes" not in shown(LayerRegression().fit(x, np.arange(8.0))).facts
    probes = LayerProbes().fit(x, [ATTACK, "calm"] * 4)
    assert shown(probes).facts["classes"] == f"2: {ATTACK}, calm"


@pytest.mark.slow
def test_directions_show_what_they_are_of(directions):
    facts = shown(directions).facts
    assert facts["emotions"].startswith("8: admiration, amazement")
    assert facts["layers"] == "30: 0 to 29"
    assert facts["site"] == "resid_post, mean"
    assert facts["source"] == "reading, keyword_free, vignettes"
    assert float(facts["mean raw norm"].split()[0]) == pytest.approx(
        directions.norms.mean(), rel=0.01
    )
    assert facts["model"].startswith("smollm2-135m (float32, fingerprint ")
    assert repr(directions) == (
        "Directions(8 emotions, 30 layers of resid_post, grouped, smollm2-135m)"
    )
    hostile = replace(directions, emotions=(ATTACK, *directions.emotions[1:]), norm="none")
    assert ATTACK in shown(hostile).facts["emotions"]
    assert "mean raw norm" not in shown(hostile).facts


# Runs


def finished(folder, model="smollm2-135m", **more):
    """A run folder with one figure."""
    told = {"study": "probe", "complete": True, "seed": 3, "model": {"name": model}}
    write_json(folder / MANIFEST, {**told, "stimuli": [{"name": "vignettes"}], **more})
    question = {"study": "probe", "set": "vignettes", "task": "reception", "source": "keyword_free"}
    figure = {
        "target": "keyword_free",
        "site": "resid_post",
        "pooling": "last",
        "method": "logistic",
    }
    row = {**question, **figure, "condition": "probe", "metric": "auroc", "value": 0.694, "n": 96}
    write_results(folder / RESULTS, [row])
    return folder


def test_a_run_shows_its_headline_and_leads_to_its_page(tmp_path, monkeypatch):
    run = Run.open(finished(tmp_path / "my run"))
    cells = shown(run)
    assert (cells.facts["model"], cells.facts["seed"]) == ("smollm2-135m", "3")
    assert [" reception free", "last", "-", "0.69", "-", "-"] in cells.rows
    assert cells.facts["page"].startswith("none yet")
    assert "a" not in cells.tags
    write_report(run.folder)
    monkeypatch.chdir(tmp_path)
    assert 'href="my%20run/report.html"' in run._repr_html_()
    assert shown(run).facts["page"] == "report.html"


def test_a_runs_results_are_a_table_with_empty_text_and_nan(tmp_path):
    results = Run.open(finished(tmp_path)).results
    assert len(results) == 1
    assert results.value[0] == 0.694
    assert results.unit[0] == ""
    assert np.isnan(results.layer[0])


def test_a_hostile_run_is_text(tmp_path):
    cells = shown(Run.open(finished(tmp_path, model=ATTACK, seed=ATTACK)))
    assert cells.facts["model"] == cells.facts["seed"] == ATTACK


def test_what_is_no_finished_run_is_refused_in_one_line(tmp_path):
    def refusal(folder):
        with pytest.raises(UserError) as error:
            Run.open(folder)
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "has no manifest.json" in refusal(tmp_path / "absent")
    assert "not finished" in refusal(finished(tmp_path, complete=False))
    (tmp_path / RESULTS).unlink()
    assert "has no results.csv" in refusal(tmp_path)


# The parts


def test_a_card_leaves_out_what_is_missing_and_keeps_zero():
    facts = Cells(card("a", {"none": None, "empty": "", "zero": 0, "no": False})).facts
    assert facts == {"zero": "0", "no": "False"}


def test_a_long_table_is_cut_and_says_so():
    rows = [[str(n), n] for n in range(ROWS + 1)]
    found = Cells(grid(["a", "b"], rows)).rows
    assert len(found) == ROWS + 2
    assert found[-1] == [f"… the first {ROWS} of {ROWS + 1} rows"]


def test_numbers_names_and_sizes_are_said_shortly():
    assert numbered([3, 4, 5]) == "3: 3 to 5"
    assert numbered([3, 5]) == "2: 3, 5"
    assert counted(list("abc"), most=2) == "3: a, b, …"
    assert [sized(n) for n in (0, 999, 6_220_800, 999_600)] == [
        "0 bytes",
        "999 bytes",
        "6.22 MB",
        "1 MB",
    ]
    assert short("a\n b") == "a b"
    assert len(short("word " * 100)) == 240


# Circuits


def test_a_circuit_says_how_many_heads_and_neurons_it_has_and_the_first():
    components = (Component("z", 3, 5), *[Component("mlp_post", 9, n) for n in range(40)])
    identity = Identity(ATTACK, "0" * 64, "", "float32", 32, 12, "LlamaForCausalLM", "llama")
    stimuli = {"name": "vignettes", "rows": 66}
    scores = (0.5,) * len(components)
    circuit = Circuit("rage", components, scores, "global", "reading", identity, stimuli, {})
    cells = shown(circuit)
    assert cells.text.startswith("circuit of rage")
    assert cells.facts["components"] == "1 heads, 40 neurons (spread by: global)"
    assert cells.facts["learned from"] == "reading: 66 texts"
    assert cells.facts["first"].startswith("head 3.5, neuron 9.0, ")
    assert repr(circuit).startswith("Circuit('rage', 1 heads, 40 neurons (global, reading)")


def test_a_graph_shows_its_paths_beyond_chance_and_draws_itself():
    nodes = (
        Node("z.3.5", "z", 3, 5, 0.5, ("\n", ATTACK), ((0.1, "rage", ATTACK),)),
        Node("mlp_post.9.0", "mlp_post", 9, 0, 0.4, (), ()),
        Node("mlp_post.9.1", "mlp_post", 9, 1, 0.4, (), ()),
    )
    # An interval of few draws may not hold its weight.
    edges = (
        Edge("z.3.5", "mlp_post.9.0", 0.6, 0.7, 0.8),
        Edge("z.3.5", "mlp_post.9.1", 0.1, 0.0, 0.2),
    )
    graph = Graph("rage", ATTACK, nodes, edges, 0.2, 8)
    cells = shown(graph)
    assert cells.facts["paths"] == "2, 1 beyond chance"
    assert ["z.3.5", "mlp_post.9.0", "+.60 [+.60, +.80]"] in cells.rows
    assert repr(graph).startswith("Graph('rage', 1 heads, 2 neurons, 2 paths, 1 beyond chance")
    drawn = str(graph.figure().to_dict())
    assert "<script" not in drawn
    assert "makes likelier: ↵" in drawn
    alone = replace(graph, edges=(), null=None)
    assert "chance" not in shown(alone).facts
    assert len(alone.figure().data) < len(graph.figure().data)
