"""The study of directions: planted ones pass every measure, noise none; files; refusals."""

import csv
import itertools
from dataclasses import replace

import numpy as np
import pytest
from families import build

from probekit.cli import run
from probekit.depth import headline_layer
from probekit.directions import Directions
from probekit.errors import UserError
from probekit.quality import (
    DIRECTIONS,
    Extraction,
    heldout,
    run_directions,
    stability,
)
from probekit.quality.fits import Fits
from probekit.quality.pairs import Screens
from probekit.quality.sample import Sample
from probekit.questions import Material, Question
from probekit.runs import MANIFEST, RESULTS, read_json
from probekit.stimuli import Stimulus, StimulusSet
from probekit.tasks import tasks_of

FOUR = ("anger", "fear", "joy", "sadness")
DOMAINS = ("family", "work")
D, LAYERS = 48, 3
QUICK = Extraction(folds=3, permutations=19, peers=10, halves=6, bootstraps=50)


def stimuli_of(each=8, arms=("keyword_free", "keyword_rich", "neutral"), split=True, labels=FOUR):
    """`each` scenarios of every emotion in every domain, in some arms; half of them held out."""
    rows = [
        Stimulus(
            f"{label}-{domain}-{n}-{arm}",
            f"{label if arm == 'keyword_rich' else label[:2]} {'x' * (n + 1)} {domain} text {arm}",
            arm=arm,
            emotion="neutral" if arm == "neutral" else label,
            domain=domain,
            scenario=f"{label}-{domain}-{n}",
            split=("dev" if n % 2 else "test") if split else "",
        )
        for label, domain, n, arm in itertools.product(labels, DOMAINS, range(each), arms)
    ]
    return StimulusSet("planted", tuple(rows))


def questions(stimuli):
    tasks, _ = tasks_of(stimuli, QUICK.folds)
    asked = {(t.name, t.source): Question(t, QUICK.folds, QUICK.bootstraps, 0) for t in tasks}
    which = asked["categorisation", "keyword_free"]
    return which, asked.get(("reception", "keyword_free"))


def planted(sample, *, noise=0.3, layers=(1,), own=lambda _: True, by_domain=False, seed=0):
    """States with a vector for each emotion at some layers; scenarios add something of their own.

    `own` says of an item whether it carries its vector; by domain, each domain has other vectors.
    """
    draw = np.random.default_rng(seed)
    states = noise * draw.standard_normal((len(sample), LAYERS, D))
    scenario = {name: draw.standard_normal((LAYERS, D)) for name in np.unique(sample.group)}
    vectors = {
        (e, d): draw.standard_normal(D)
        for e in sample.emotions
        for d in (DOMAINS if by_domain else ("",))
    }
    for item in range(len(sample)):
        states[item] += scenario[sample.group[item]]
        emotion = sample.emotion[item]
        if emotion != "neutral" and own(item):
            domain = sample.domain[item] if by_domain else ""
            states[item, list(layers)] += vectors[emotion, domain]
    return states.astype(np.float32)


def fits_of(states, sample, estimator="grouped", options=QUICK):
    return Fits(sample, states, range(LAYERS), estimator, options)


@pytest.fixture(scope="module")
def both():
    """Questions of a set with two arms, neutral texts and a test split, and their sample."""
    asked = questions(stimuli_of())
    return asked, Sample.of(*asked)


def chosen(rows, **cells):
    return [row for row in rows if all(row.get(k, "") == v for k, v in cells.items())]


def words_of(question, value=0.5):
    """A text reference that knows nothing, for every target and split."""
    outputs = len(question.task.classes) if len(question.task.classes) > 2 else 1
    return {
        f"{target}/{split}": np.full((scorer.n, outputs), value).tolist()
        for (target, split), scorer in question.scorers.items()
    }


# The sample


def test_a_sample_holds_every_arm_and_the_neutral_texts_in_the_folds_of_their_scenarios(both):
    (which, _), sample = both
    assert len(sample) == 4 * 2 * 8 * 3
    assert set(sample.arm) == {"keyword_free", "keyword_rich", "neutral"}
    for group in np.unique(sample.group):
        inside = sample.group == group
        assert len(set(sample.fold[inside])) == 1
        assert len(set(sample.held_out[inside])) == 1
    assert (sample.of_scenario()[sample.emotion == "neutral"] != "").all()
    assert not (sample.learned & (sample.arm == "keyword_rich")).any()
    assert (which.folds[sample.held_out[: len(which.folds)]] == QUICK.folds).all()


def test_held_out_texts_change_no_direction_and_no_choice(both):
    _, sample = both
    states = planted(sample)
    other = states.copy()
    other[sample.held_out] = np.random.default_rng(5).standard_normal(other[sample.held_out].shape)
    one, two = fits_of(states, sample), fits_of(other, sample)
    assert np.array_equal(one.whole, two.whole)
    dev = heldout.Reader(both[0][0].scorers["keyword_free", "dev"], sample)
    curves = [heldout.curve(dev, fits.scores(fits.folds)) for fits in (one, two)]
    assert np.array_equal(*curves)
    assert heldout.best_layer(curves[0]) == 1


# Held-out projections


def test_planted_directions_tell_new_texts_and_stand_above_words_chance_and_random_ones(both):
    (which, whether), sample = both
    fits = fits_of(planted(sample), sample)
    for question in (which, whether):
        rows = list(heldout.rows(fits, question, words_of(question), 1))
        own = {"target": "keyword_free", "split": "test", "layer": "", "metric": "auroc"}
        (mean,) = chosen(rows, **own, emotion="", condition="direction")
        (null,) = chosen(rows, **own, emotion="", condition="null")
        (random,) = chosen(rows, **own, emotion="", condition="control")
        read = heldout.word_rows(question, sample, words_of(question))
        told = {"target": "keyword_free", "split": "test", "emotion": ""}
        (words,) = chosen(read, **told, condition="baseline")
        assert mean["value"] > 0.9
        assert mean["p"] == pytest.approx(1 / 20)
        assert abs(null["value"] - 0.5) < 0.12
        assert abs(random["value"] - 0.5) < 0.12
        assert words["value"] == 0.5
        above = chosen(rows, **{**own, "metric": "auroc_above_text"}, emotion="")[0]
        assert above["value"] == pytest.approx(mean["value"] - 0.5)
        assert above["p"] < 0.05
        assert len(chosen(rows, **own, condition="direction")) == 5  # The mean, four emotions.
        # At layers that hold nothing, nothing is found.
        (flat,) = chosen(rows, **{**own, "layer": 0}, emotion="", condition="direction")
        assert flat["value"] < 0.75


def test_the_other_arm_is_read_by_the_same_directions(both):
    (which, _), sample = both
    free_only = planted(sample, own=lambda item: sample.arm[item] == "keyword_free")
    rows = {
        name: list(heldout.rows(fits_of(states, sample), which, words_of(which), 1))
        for name, states in (("both", planted(sample)), ("free", free_only))
    }
    own = {"target": "keyword_rich", "layer": "", "emotion": "", "metric": "auroc"}
    own["condition"] = "direction"
    assert chosen(rows["both"], **own)[0]["value"] > 0.9
    assert chosen(rows["free"], **own)[0]["value"] < 0.75


def test_words_that_know_the_answer_leave_nothing_above_text(both):
    (which, _), sample = both
    knows = words_of(which)
    scorer = which.scorers["keyword_free", "test"]
    knows["keyword_free/test"] = np.eye(4)[scorer.labels].tolist()
    rows = list(heldout.rows(fits_of(planted(sample), sample), which, knows, 1))
    above = chosen(rows, metric="auroc_above_text", target="keyword_free", layer="", emotion="")
    assert above[0]["value"] <= 0


def test_figures_are_one_against_rest_within_the_question(both):
    (_, whether), sample = both
    scores = np.random.default_rng(1).standard_normal((len(sample), 4))
    reader = heldout.Reader(whether.scorers["keyword_free", "test"], sample)
    found = reader.figures(scores)[:, 0]
    for column, name in enumerate(sample.emotions):
        test = sample.held_out & (sample.of_scenario() == name)
        up = scores[test & (sample.arm == "keyword_free"), column]
        down = scores[test & (sample.arm == "neutral"), column]
        assert found[1 + column] == pytest.approx((up[:, None] > down).mean())
    assert found[0] == pytest.approx(found[1:].mean())


def test_chance_keeps_the_design(both):
    (which, whether), sample = both
    for drawn in heldout.shuffled(which, sample, 5, 0):
        neutral = sample.emotion == "neutral"
        assert (drawn[neutral] == "neutral").all()
        for mask in (sample.held_out, ~sample.held_out):
            inside = mask & (sample.arm == "keyword_free")
            assert sorted(drawn[inside]) == sorted(sample.emotion[inside])
    own = sample.arm != "keyword_rich"
    for drawn in heldout.shuffled(whether, sample, 5, 0):
        for group in np.unique(sample.group)[:10]:
            inside = own & (sample.group == group)
            assert sorted(drawn[inside]) == sorted(sample.emotion[inside])
    assert not np.array_equal(drawn, sample.emotion)


# Stability


def halves(states, sample, metric, unit="", estimator="grouped"):
    rows, notes = stability.rows(fits_of(states, sample, estimator))
    assert not notes
    return chosen(rows, metric=metric, unit=unit, emotion="", layer=1)[0]["value"]


def test_halves_agree_on_what_is_planted_and_on_nothing_else(both):
    _, sample = both
    planted_, noise = planted(sample), planted(sample, layers=())
    assert halves(planted_, sample, "cosine_halves") > 0.9
    assert halves(planted_, sample, "cosine_halves", stability.OTHERS) < 0
    assert abs(halves(noise, sample, "cosine_halves")) < 0.2


def test_a_direction_that_changes_with_the_domain_is_moved_by_leaving_one_out(both):
    _, sample = both
    everywhere, by_domain = planted(sample), planted(sample, by_domain=True)
    for states, dependent in ((everywhere, False), (by_domain, True)):
        left = halves(states, sample, "cosine_left_out")
        random = halves(states, sample, "cosine_left_out", stability.AT_RANDOM)
        assert (random - left > 0.1) == dependent


def test_arms_that_share_their_directions_have_a_disattenuated_cosine_of_one(both):
    asked = questions(stimuli_of())
    tasks, _ = tasks_of(stimuli_of(), QUICK.folds)
    rich = next(t for t in tasks if (t.name, t.source) == ("categorisation", "keyword_rich"))
    other = Sample.of(Question(rich, QUICK.folds, 50, 0), asked[1])
    sample = Sample.of(*asked)
    values = {}
    for name, own in (
        ("shared", lambda _: True),
        ("free", lambda i: sample.arm[i] != "keyword_rich"),
    ):
        states = planted(sample, noise=1.0, own=own)
        # Both samples hold the same rows in the same order; only what is learned from differs.
        assert np.array_equal(sample.rows, other.rows)
        rows = list(stability.between(fits_of(states, sample), fits_of(states, other)))
        found = chosen(rows, metric="cosine_disattenuated", layer=1)[0]
        values[name] = (found["value"], chosen(rows, metric="cosine_halves", layer=1)[0]["value"])
        assert (found["source"], found["target"]) == ("keyword_free", "keyword_rich")
    assert values["shared"][0] == pytest.approx(1, abs=0.1)
    assert abs(values["free"][1]) < 0.2


def test_too_few_scenarios_are_a_note_and_no_figure():
    asked = questions(stimuli_of(each=3, split=False))
    sample = Sample.of(*asked)
    kept = replace(QUICK, halves=2)
    few = replace_fold(sample)
    rows, notes = stability.rows(fits_of(planted(few), few, options=kept))
    assert not rows
    assert any("split halves are missing: an emotion has 3 scenarios" in note for note in notes)
    assert any("left-out domains are missing" in note for note in notes)


def replace_fold(sample):
    """Three scenarios of each emotion that may be learned from, all of one domain."""
    kept = np.isin(sample.domain, ["family"])
    columns = ("rows", "emotion", "arm", "group", "domain", "fold", "held_out")
    return replace(sample, **{name: getattr(sample, name)[kept] for name in columns})


# Single pairs, and the probe


def test_single_differences_point_along_what_is_planted(both):
    _, sample = both
    for layers, shown in (((1,), True), ((), False)):
        states = planted(sample, layers=layers, noise=0.1)
        screens = Screens(fits_of(states, sample))
        assert screens.against == "neutral text"
        rows = list(screens.rows())
        at = {"layer": 1, "emotion": "", "metric": "pair_cosine"}
        own = chosen(rows, **at, condition="direction")[0]
        above = chosen(rows, **{**at, "metric": "pair_cosine_above_others"})[0]
        random = chosen(rows, **at, unit=heldout.RANDOM)[0]
        assert (own["value"] > 0.6) == shown
        assert (above["value"] > 0.5) == shown
        assert abs(random["value"]) < 0.1
        assert own["n"] == 32


def test_differences_fall_back_on_other_emotions_and_on_the_mean():
    stimuli = stimuli_of(arms=("keyword_free",))
    sample = Sample.of(questions(stimuli)[0], None)
    assert Screens(fits_of(planted(sample), sample, "mean")).against == "mean of all emotions"


def test_the_probe_reads_what_the_direction_reads(both):
    _, sample = both
    rows = list(Screens(fits_of(planted(sample), sample)).rows())
    for metric in ("probe_cosine", "probe_spearman"):
        at = {"task": "probe", "metric": metric, "layer": 1, "emotion": "joy"}
        own = chosen(rows, **at, condition="direction")[0]["value"]
        random = chosen(rows, **at, unit=heldout.RANDOM)[0]
        assert own > 0.5
        assert own > random["high"]
    assert not chosen(
        list(Screens(fits_of(planted(sample), sample, "logistic")).rows()), task="probe"
    )


# Whole runs


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PROBEKIT_CACHE", str(tmp_path / "cache"))


def results(folder):
    with (folder / RESULTS).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_writes_directions_figures_and_a_manifest_and_repeats_itself(cache, tmp_path):
    model, stimuli = build("llama"), stimuli_of(each=4)
    options = replace(QUICK, estimators=("grouped", "mean"))
    out = run_directions(model, stimuli, tmp_path / "run", options, command="typed")
    rows, manifest = results(out), read_json(out / MANIFEST)
    assert {row["study"] for row in rows} == {"directions"}
    assert {row["task"] for row in rows} == {
        "categorisation", "reception", "stability", "steerability", "probe",
    }  # fmt: skip
    made = manifest["directions"]
    assert [each["estimator"] for each in made] == ["grouped", "grouped", "mean", "mean"]
    for each in made:
        loaded = Directions.load(out / each["file"], model)
        assert loaded.emotions == FOUR
        assert (loaded.estimator, loaded.arm) == (each["estimator"], each["source"])
        assert each["layer"] in loaded.layers
        assert set(each["top_tokens"]) == set(FOUR)
        assert len(each["random_tokens"]) == 10
    for row in chosen(rows, condition="direction", metric="auroc", split="test"):
        same = ("task", "source", "target", "layer", "emotion", "method", "metric", "split")
        key = {name: row[name] for name in same}
        assert len(chosen(rows, **key, condition="null")) == 1
        assert len(chosen(rows, **key, condition="control")) == 1
    keys = [
        tuple(v for k, v in r.items() if k not in ("value", "low", "high", "p", "q")) for r in rows
    ]
    assert len(set(keys)) == len(keys), "a figure is given twice"
    before = (out / RESULTS).read_bytes()
    stages = {path: path.stat().st_mtime_ns for path in (out / "stages").iterdir()}
    (out / RESULTS).unlink()
    run_directions(model, stimuli, out, options, command="typed")
    assert (out / RESULTS).read_bytes() == before
    assert {path: path.stat().st_mtime_ns for path in (out / "stages").iterdir()} == stages


def test_words_of_a_question_are_kept_and_made_anew_for_another_question(cache):
    """They take minutes, and serve every study of the model; other folds or labels are others."""
    model, stimuli = build("llama"), stimuli_of(each=4)
    asked = questions(stimuli)

    def material():
        return Material(model, stimuli, ["resid_post"], ["mean"], QUICK.template)

    first, again, other, seeded = (material() for _ in range(4))
    found = asked[0].words(first)
    assert asked[0].words(again) == found
    assert "text" not in vars(again), "the baselines were made again"
    asked[1].words(other)
    Question(asked[0].task, QUICK.folds, QUICK.bootstraps, 1).words(seeded)
    assert "text" in vars(other)
    assert "text" in vars(seeded)


def test_a_set_without_a_split_takes_the_layer_at_two_thirds(cache, tmp_path):
    stimuli = stimuli_of(each=4, split=False, arms=("keyword_free",))
    options = replace(QUICK, estimators=("mean",))
    out = run_directions(build("llama"), stimuli, tmp_path / "run", options)
    assert {row["split"] for row in results(out)} == {"all"}
    assert read_json(out / MANIFEST)["directions"][0]["layer"] == headline_layer(3) == 1
    assert not chosen(results(out), task="reception")


def test_two_emotions_are_enough(cache, tmp_path):
    stimuli = stimuli_of(each=4, labels=("joy", "sadness"))
    out = run_directions(build("llama"), stimuli, tmp_path / "run", QUICK)
    assert chosen(results(out), task="categorisation", condition="null", layer="", emotion="")


@pytest.mark.parametrize(
    ("options", "arms", "said"),
    [
        ({"estimators": ("means",)}, ("keyword_free",), "unknown estimator 'means'"),
        ({"estimators": ()}, ("keyword_free",), "no estimator"),
        ({"halves": 1}, ("keyword_free",), "halves is 1"),
        ({"estimators": ("control",)}, ("keyword_free",), "no item is neutral"),
        ({"estimators": ("grouped",)}, ("keyword_free",), "take 'mean'"),
        ({"neutral_components": 0.5, "estimators": ("mean",)}, ("keyword_free",), "add neutral"),
        ({}, ("neutral",), "directions need two or more emotions"),
        ({"sites": ("nowhere",)}, ("keyword_free", "neutral"), "nowhere"),
    ],
)
def test_what_cannot_be_estimated_is_refused_before_anything_is_written(
    cache, tmp_path, options, arms, said
):
    with pytest.raises(UserError, match=said):
        run_directions(
            build("llama"),
            stimuli_of(each=4, arms=arms),
            tmp_path / "run",
            replace(QUICK, **options),
        )
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_command_on_the_default_model_and_what_it_exports(tmp_path, capsys):
    """Where the text names the emotion, its direction tells new texts beyond chance."""
    stimuli = StimulusSet.load("vignettes").select(
        arm=["keyword_rich", "neutral"], domain=["family", "work"]
    )
    kept = {r.scenario for r in stimuli.rows if r.emotion in ("grief", "rage", "terror")}
    path = tmp_path / "some.csv"
    names = ("id", "text", "arm", "emotion", "domain", "scenario", "split")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows([getattr(r, n) for n in names] for r in stimuli.rows if r.scenario in kept)
    out = tmp_path / "run"
    command = ["directions", "smollm2-135m", "--stimuli", str(path), "--sites", "resid_post.20"]
    assert run([*command, "--permutations", "19", "--out", str(out)]) == 0
    rows = results(out)
    at = {"task": "categorisation", "layer": "20", "emotion": "", "split": "test"}
    (found,) = chosen(rows, **at, condition="direction", metric="auroc")
    (null,) = chosen(rows, **at, condition="null")
    assert float(found["value"]) > float(null["high"])
    assert (out / "report.html").exists()
    file = out / DIRECTIONS / "grouped.resid_post.mean.keyword_rich.safetensors"
    capsys.readouterr()
    assert run(["export", str(file), "grief", "--out", str(tmp_path / "grief.gguf")]) == 0
    assert "grief at layers 20 to 20" in capsys.readouterr().out
    for words, said in (
        (["greif", "--out", "x.gguf"], "unknown emotion 'greif'"),
        (["grief", "--out", "x.bin"], "ends in .gguf or .safetensors"),
        (["grief", "--out", "x.gguf", "--layers", "a"], "--layers a: give numbers"),
        (["grief", "--out", "x.gguf", "--layers", "3"], "unknown layer 3"),
    ):
        assert run(["export", str(file), *words]) == 2
        assert said in " ".join(capsys.readouterr().err.split())
