"""The study of erasure: concepts of a set, planted states, run folders, files, the command line."""

import csv
import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from families import CONTEXT, build

from probekit import stats
from probekit.activations import capture
from probekit.depth import headline_layer, nearest
from probekit.edits import Edit
from probekit.erasure import LEACE, Eraser, Erasers, Erasure, run_erasure
from probekit.erasure import stages as study_stages
from probekit.erasure.options import chosen
from probekit.erasure.questions import cramers_v, questions_of
from probekit.erasure.run import over_layers
from probekit.errors import UserError
from probekit.report import headline_table, write_report
from probekit.runs import MANIFEST, RESULTS, STAGES, read_json
from probekit.stimuli import Stimulus, StimulusSet

pytestmark = pytest.mark.usefixtures("one_thread")
EMOTIONS = ("anger", "grief", "joy")
DOMAINS = ("family", "work")
TINY = Erasure(folds=4, permutations=19, bootstraps=60)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROBEKIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def some(each=6, arms=("keyword_free", "neutral"), splits=("dev", "test"), **more):
    """`each` scenarios of every emotion and domain, each told in these arms."""
    rows = [
        Stimulus(
            f"{emotion}-{domain}-{n}-{arm}",
            f"rain fell on the {domain} roof, row {n} {'!' * len(emotion)}",
            arm=arm,
            emotion=emotion if arm != "neutral" else "neutral",
            valence=("positive" if emotion == "joy" else "negative") if arm != "neutral" else "",
            domain=domain,
            scenario=f"{emotion}-{domain}-{n}",
            split=splits[n % len(splits)],
        )
        for emotion, domain, n, arm in itertools.product(EMOTIONS, DOMAINS, range(each), arms)
    ]
    return StimulusSet("some", tuple(replace(row, **more) for row in rows))


def real(cut, count=2):
    """Vignettes: `count` dev and test scenarios of four emotions in two domains, two arms."""
    whole = StimulusSet.load("vignettes").select(
        arm=["keyword_rich", "neutral"], domain=["family", "work"]
    )
    names = ("rage", "grief", "ecstasy", "admiration")
    seen: dict[tuple[str, ...], set[str]] = {}
    for row in whole.rows:
        emotion = row.scenario.split("-")[0]
        found = seen.setdefault((emotion, row.domain, row.split), set())
        if emotion in names and len(found) < count:
            found.add(row.scenario)
    kept = set().union(*seen.values())
    rows = tuple(replace(r, text=r.text[cut]) for r in whole.rows if r.scenario in kept)
    return StimulusSet("vignettes", rows)


def results(folder):
    with (folder / RESULTS).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def picked(rows, **cells):
    return [row for row in rows if all(row[name] == str(value) for name, value in cells.items())]


def only(rows, **cells):
    (row,) = picked(rows, **cells)
    return row


# Concepts


def test_each_task_is_erased_and_the_others_of_its_arm_are_read():
    questions, notes = questions_of(StimulusSet.load("vignettes"), (), 6, 0)
    kept = {q.name: [concept.name for concept in q.kept] for q in questions}
    assert kept == {
        f"{task}/{arm}": [f"{other}/{arm}", "domain", "person"]
        for arm in ("keyword_free", "keyword_rich")
        for task, other in (("reception", "categorisation"), ("categorisation", "reception"))
    }
    # Valence goes with the emotion, and is "neutral" where a text is.
    assert len(notes) == 4
    assert all("valence is not read beside" in note and "go together" in note for note in notes)


def test_rows_and_labels_are_those_of_the_tasks():
    stimuli = StimulusSet.load("vignettes")
    questions, _ = questions_of(stimuli, ["categorisation/keyword_free"], 6, 0)
    (question,) = questions
    arm, emotion = (stimuli.column(name)[question.rows] for name in ("arm", "emotion"))
    assert set(arm) == {"keyword_free", "neutral"}
    free = arm == "keyword_free"
    assert (question.erased.labels[free] == emotion[free]).all()
    assert (question.erased.labels[~free] == "").all()
    assert (question.held_out == (stimuli.column("split")[question.rows] == "test")).all()
    assert question.fitted.sum() == 48
    for group in np.unique(question.groups):
        assert len(set(question.folds[question.groups == group])) == 1
    by = {concept.name: concept for concept in question.kept}
    assert set(by["reception/keyword_free"].labels) == {"emotional", "neutral"}
    assert (by["domain"].labels[~free] == "").all()
    # Chance moves a domain between scenarios of one emotion and split.
    drawn = by["domain"].drawn(question.groups, 5, 0)
    assert (drawn[1:] != drawn[0]).any()
    for part in itertools.product(np.unique(emotion[free]), (True, False)):
        inside = free & (emotion == part[0]) & (question.held_out == part[1])
        assert (np.sort(drawn[:, inside], 1) == np.sort(drawn[0, inside])).all()


def test_association_of_labels():
    a = np.array(["x", "y"] * 30)
    assert cramers_v(a, a) == pytest.approx(1)
    assert cramers_v(a, np.array(["p", "p", "q", "q"] * 15)) == 0
    assert cramers_v(a, np.array(["p"] * 60)) == 0
    rng = np.random.default_rng(0)
    drawn = [cramers_v(rng.choice(list("abcdefgh"), 48), rng.choice(list("xyz"), 48)) for _ in "ab"]
    assert max(drawn) < 0.3


def test_layers_are_picked_by_rule():
    assert [headline_layer(n) for n in (1, 3, 12, 30)] == [0, 1, 7, 19]
    assert nearest([2, 6], 4) == 2
    layers = list(range(30))
    assert chosen("every:9", layers, 19) == [1, 10, 19, 28]
    assert chosen("4,2", layers, 19) == [2, 4]
    assert chosen("none", layers, 19) == []
    assert 19 in chosen("every:4", layers, 19)


def test_q_is_over_the_layers_of_each_figure():
    p = {("a", 0): 0.01, ("a", 1): 0.04, ("a", 2): None, ("b", 0): 0.03, ("b", 1): 0.02}
    rows = [{"metric": m, "layer": n, "value": n, "k": n, "p": v} for (m, n), v in p.items()]
    found = {(row["metric"], row["layer"]): row["q"] for row in over_layers(rows)}
    wanted = stats.benjamini_hochberg([0.01, 0.04])
    assert [found["a", 0], found["a", 1], found["a", 2]] == [*wanted, None]
    assert [found["b", 0], found["b", 1]] == [0.03, 0.03]


# Runs on a tiny model


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    model, folder = build("llama"), tmp_path_factory.mktemp("erase") / "run"
    stimuli = real(slice(60))
    run_erasure(model, stimuli, folder, replace(TINY, truncate=True), command="typed")
    return model, stimuli, folder


def test_every_figure_stands_with_its_controls(ran):
    rows = results(ran[2])
    assert {r["source"] for r in rows} == {"reception/keyword_rich", "categorisation/keyword_rich"}
    assert {r["split"] for r in rows} == {"test"}
    for source in ("reception/keyword_rich", "categorisation/keyword_rich"):
        own = picked(rows, source=source, target=source, metric="auroc")
        figures = {(r["method"], r["condition"], r["layer"]) for r in own}
        conditions = {"none": "baseline", "leace": "erasure", "projection": "erasure"}
        for method, layer in itertools.product((*conditions, "random"), "012"):
            assert (method, conditions.get(method, "control"), layer) in figures
            assert (method, "null", layer) in figures
        assert {r["target"] for r in picked(rows, source=source, metric="auroc_change")} >= {
            "domain",
            source,
        }
        for layer in range(3):
            at = {"source": source, "layer": layer, "metric": "nats_per_token"}
            methods = {r["method"] for r in picked(rows, **at)}
            assert methods == {"none", "erased", "random", "placebo"}
            same = picked(rows, source=source, target=source, metric="auroc_same_rows", layer=layer)
            (leace,) = picked(same, method="leace", condition="erasure")
            assert float(leace["value"]) == 0.5
    p = [row for row in rows if row["p"]]
    assert p
    assert all(row["q"] and float(row["q"]) >= float(row["p"]) - 1e-9 for row in p)


def test_differences_are_those_of_the_figures(ran):
    rows = results(ran[2])
    at = {"source": "reception/keyword_rich", "layer": 1, "pooling": "mean"}
    own = {**at, "target": "reception/keyword_rich"}
    value = {
        m: float(only(rows, **own, metric="auroc", method=m, condition=c)["value"])
        for m, c in (("none", "baseline"), ("leace", "erasure"), ("random", "control"))
    }
    for metric, other in (("auroc_change", "none"), ("auroc_above_random", "random")):
        found = float(only(rows, **own, metric=metric, method="leace")["value"])
        assert found == pytest.approx(value["leace"] - value[other], abs=1e-5)
    nats = {r["method"]: float(r["value"]) for r in picked(rows, **at, metric="nats_per_token")}
    for control in ("random", "placebo"):
        row = only(rows, **at, metric=f"nats_per_token_above_{control}")
        assert float(row["value"]) == pytest.approx(nats["erased"] - nats[control], abs=1e-4)


def test_a_run_goes_on_where_it_was_and_another_is_refused(ran, monkeypatch):
    model, stimuli, folder = ran
    options, before = replace(TINY, truncate=True), (folder / RESULTS).read_bytes()
    manifest = read_json(folder / MANIFEST)
    assert manifest["complete"]
    assert manifest["command"] == "typed"
    assert manifest["headline_layer"] == {"resid_post": 1}
    stages = sorted((folder / STAGES).iterdir())
    # Two concepts at three layers, as many losses, and that of the unedited model.
    assert len(stages) == 2 * 3 + 2 * 3 + 1
    stages[0].unlink()
    stages[7].unlink()
    times = {path: path.stat().st_mtime_ns for path in stages if path.exists()}
    made = []
    for name in ("evaluate_erasure", "language_loss", "unedited_nats"):
        whole = getattr(study_stages, name)

        def counted(*given, whole=whole, **more):
            made.append(whole)
            return whole(*given, **more)

        monkeypatch.setattr(study_stages, name, counted)
    monkeypatch.setattr(study_stages, "fit", None)  # Erasers are read, not fitted again.
    run_erasure(model, stimuli, folder, options, command="typed")
    assert len(made) == 2
    assert (folder / RESULTS).read_bytes() == before
    assert {path: path.stat().st_mtime_ns for path in times} == times
    with pytest.raises(UserError, match=r"another run .*permutations"):
        run_erasure(model, stimuli, folder, replace(options, permutations=20))


def test_the_erasers_are_those_of_leace_and_serve_inside_the_model(ran):
    model, stimuli, folder = ran
    path = folder / "erasers" / "reception-keyword_rich.safetensors"
    erasers = Erasers.load(path, model)
    assert erasers.concept == "reception/keyword_rich"
    assert set(erasers.erasers) == {f"resid_post.{n}/mean" for n in range(3)}
    dev = stimuli.select(split="dev")
    states = capture(model, dev, ["resid_post"], ["mean"], truncate=True)
    states = states.stack("resid_post", "mean")
    (wanted,) = LEACE().update(states[:, 1], dev.column("arm")).erasers
    eraser = erasers.of("resid_post.1")
    some = states[:5, 1].astype(np.float64)
    np.testing.assert_allclose(eraser(some), wanted(some), atol=1e-6 * np.abs(some).max())
    assert erasers.rows == len(states)
    with model.edited([Edit("resid_post.1", "all", eraser.operation())]):
        edited = capture(model, dev, ["resid_post.1"], ["mean"], truncate=True)
    after = edited.stack("resid_post", "mean")[:, 0].astype(np.float64)
    means = [after[dev.column("arm") == arm].mean(0) for arm in ("keyword_rich", "neutral")]
    np.testing.assert_allclose(*means, atol=1e-4 * np.abs(after).max())


def test_a_file_of_erasers_gives_back_what_was_saved_and_refuses_others(ran, tmp_path):
    folder = ran[2]
    path = folder / "erasers" / "categorisation-keyword_rich.safetensors"
    erasers = Erasers.load(path)
    erasers.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == path.read_bytes()
    assert erasers.of("resid_post.2", "mean").rank == 3
    for given in (("resid_post.9",), ("resid_post.2", "last")):
        with pytest.raises(UserError, match="unknown site and pooling"):
            erasers.of(*given)
    with pytest.raises(UserError, match=r"erasers of llama .* are not those of gpt2"):
        Erasers.load(path, build("gpt2"))
    for name, text in (("none", None), ("text", "no erasers")):
        if text:
            (tmp_path / name).write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match=r"Erasers\.save wrote"):
            Erasers.load(tmp_path / name)


def test_a_site_with_two_poolings_needs_one_named():
    eraser = Eraser(np.zeros((0, 4)), np.zeros((0, 4)), np.zeros(4))
    places = {f"resid_post.1/{pooling}": eraser for pooling in ("last", "mean")}
    erasers = Erasers(places, "x", "leace", None, {}, {}, 1)
    with pytest.raises(UserError, match="unknown site and pooling"):
        erasers.of("resid_post.1")
    assert erasers.of("resid_post.1", "last") is eraser


def planted(states, stimuli, strength, layer):
    """The states with reception planted at one layer, and the domain at every one."""
    rng = np.random.default_rng(0)
    n, layers, d = states.shape
    out = rng.standard_normal((n, layers, d))
    domain = (stimuli.column("domain") == DOMAINS[0]).astype(float)
    out += 4 * domain[:, None, None] * np.eye(d)[0]
    felt = (stimuli.column("arm") == "keyword_free").astype(float)
    out[:, layer] += strength * felt[:, None] * np.eye(d)[1]
    return out


def test_a_planted_concept_is_shown_before_and_gone_after(tmp_path, monkeypatch):
    model, stimuli = build("llama"), some(each=80)
    states = planted(np.zeros((len(stimuli), 3, 6)), stimuli, 2.5, 2)

    class Store:
        @staticmethod
        def layer(_kind, layer, _pooling):
            return states[:, layer].astype(np.float32)

    monkeypatch.setattr(study_stages.Study, "store", Store())
    options = replace(TINY, concepts=("reception",), layers="0,2", loss_layers="none")
    run_erasure(model, stimuli, tmp_path / "run", options)
    rows = results(tmp_path / "run")
    own = {"source": "reception/keyword_free", "target": "reception/keyword_free"}
    at = {**own, "metric": "auroc"}
    before = only(rows, **at, layer=2, method="none", condition="baseline")
    assert float(before["value"]) > 0.9
    assert float(before["p"]) == pytest.approx(0.05)
    after = only(rows, **at, layer=2, method="leace", condition="erasure")
    assert abs(float(after["value"]) - 0.5) < 0.1
    assert float(only(rows, **at, layer=2, method="random", condition="control")["value"]) > 0.8
    beyond = only(rows, **own, layer=2, method="leace", metric="auroc_above_random")
    assert float(beyond["high"]) < -0.3
    # Where nothing is planted, there is nothing to read.
    nothing = only(rows, **at, layer=0, method="none", condition="baseline")
    assert abs(float(nothing["value"]) - 0.5) < 0.1
    for layer in (0, 2):
        kept = picked(rows, target="domain", metric="auroc", layer=layer, method="leace")
        assert float(picked(kept, condition="erasure")[0]["value"]) > 0.9
    assert not picked(rows, task="language_loss")
    manifest = read_json(tmp_path / "run" / MANIFEST)
    assert manifest["loss_layers"] == {"resid_post": []}
    assert manifest["headline_layer"] == {"resid_post": 0}, "the nearest to layer 1, the lower"


def test_a_set_without_neutral_texts_or_split_says_what_is_missing(tmp_path):
    bare = some(each=4, arms=("keyword_free",), splits=("",), arm="")
    run_erasure(build("llama"), bare, tmp_path / "run", replace(TINY, layers="1"))
    rows, manifest = results(tmp_path / "run"), read_json(tmp_path / "run" / MANIFEST)
    assert {r["source"] for r in rows} == {"categorisation"}
    assert {r["split"] for r in rows} == {"all"}
    assert any("no two neutral texts" in note for note in manifest["notes"])
    whole = some(each=4, splits=("",))
    run_erasure(build("llama"), whole, tmp_path / "all", replace(TINY, layers="1"))
    notes = read_json(tmp_path / "all" / MANIFEST)["notes"]
    assert any("texts that erasers may have seen" in note for note in notes)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"layers": "third"}, "layers 'third': give all, every:3"),
        ({"layers": "every:0"}, "layers 'every:0'"),
        ({"layers": "none"}, "layers 'none'"),
        ({"layers": "7"}, "layer 7 is none of 0, 1, 2"),
        ({"layers": "1", "loss_layers": "2"}, "layer 2 is none of 1"),
        ({"folds": 2}, "folds is 2: give 3"),
        ({"permutations": 0}, "permutations is 0"),
        ({"batch": 0}, "batch is 0"),
        ({"sites": ("resid_middle",)}, "unknown site"),
        ({"concepts": ("arousal",)}, "unknown concept 'arousal': accepted are reception, categ"),
        ({"concepts": ("reception/keyword_rich",)}, "unknown concept 'reception/keyword_rich'"),
    ],
)
def test_bad_options_are_refused_in_one_line_before_anything_is_written(tmp_path, options, says):
    with pytest.raises(UserError, match=says) as refusal:
        run_erasure(build("llama"), some(), tmp_path / "run", replace(TINY, **options))
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "run").exists()


def test_sets_that_allow_nothing_or_do_not_fit_are_refused(tmp_path):
    model, long = build("llama"), "x " * CONTEXT
    for stimuli, says in (
        (StimulusSet("bare", (Stimulus("a", "one"), Stimulus("b", "two"))), "allow no task"),
        (some(text=long), "token"),
    ):
        with pytest.raises(UserError, match=says):
            run_erasure(model, stimuli, tmp_path / "run", TINY)
        assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match="neither reception nor categorisation"):
        questions_of(StimulusSet.load("scenarios"), (), 6, 0)


def test_the_page_of_a_real_run_is_written(ran):
    folder = ran[2]
    assert "Reception, keyword-rich" in write_report(folder).read_text(encoding="utf-8")
    _, columns, rows = headline_table(folder)
    assert {len(row) for row in rows} == {1, len(columns)}


# The real default model


@pytest.mark.slow
def test_erase_on_the_real_model_through_the_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("PROBEKIT_CACHE")
    from probekit.bundled import DEFAULT
    from probekit.cli import run

    path = tmp_path / "some.jsonl"
    fields = ("id", "text", "arm", "emotion", "domain", "scenario", "split")
    rows = [{name: getattr(row, name) for name in fields} for row in real(slice(-160, None)).rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    command = ["erase", DEFAULT, "--stimuli", str(path), "--concepts", "reception"]
    command += ["--sites", "resid_post.6", "--permutations", "9", "--device", "cpu"]
    command += ["--out", str(tmp_path / "run")]
    assert run(command) == 0
    shown = capsys.readouterr().out
    assert "report:" in shown
    assert "reception rich" in shown
    found = results(tmp_path / "run")
    own = {"target": "reception/keyword_rich", "layer": 6}
    same = {**own, "metric": "auroc_same_rows"}
    assert float(only(found, **same, method="none", condition="baseline")["value"]) > 0.6
    assert float(only(found, **same, method="leace", condition="erasure")["value"]) == 0.5
    assert 2 < float(only(found, metric="nats_per_token", method="none")["value"]) < 7
    before = (tmp_path / "run" / RESULTS).read_bytes()
    assert run(command) == 0
    assert (tmp_path / "run" / RESULTS).read_bytes() == before
