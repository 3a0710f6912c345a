"""The whole study on a tiny model: which rows come, and what may change which of them."""

import csv
import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from families import build

from probekit.probing import Options, run_probing
from probekit.report import headline_table, write_report
from probekit.report.results import read_run
from probekit.runs import MANIFEST, RESULTS
from probekit.stimuli import SHARES, Stimulus, StimulusSet, TestSplitWarning
from probekit.tasks import ALARM

QUICK = Options(
    sites=("resid_post",),
    positions=("last",),
    folds=3,
    permutations=3,
    bootstraps=20,
    truncate=True,  # The tiny model reads 64 tokens.
)
FIGURES = ("value", "low", "high", "p", "q")


def some(*arms):
    """Scenarios of two emotions in these arms, 12 of each split; their emotions are not asked."""
    stimuli = StimulusSet.load("vignettes")
    scenarios = {row.scenario for row in stimuli.rows if row.emotion in ("grief", "ecstasy")}
    rows = stimuli.select(scenario=scenarios, arm=arms).rows
    return StimulusSet("some", tuple(replace(row, emotion="") for row in rows))


def votes():
    """Texts with shares of three emotions, which is all that can be asked of them."""
    rows = []
    for n, row in enumerate(some("keyword_free").rows):
        shares = {"joy": n % 4 / 4, "fear": 0.25, "awe": (3 - n % 4) / 4}
        rows.append(replace(row, arm="", valence="", extra={SHARES: shares}))
    return StimulusSet("votes", tuple(rows))


@pytest.fixture(scope="module")
def probed(tmp_path_factory):
    """Runs a set; gives the folder and its rows. The cache of all runs is one of their own."""
    home, model, threads = (
        tmp_path_factory.mktemp("probing"),
        build("llama"),
        torch.get_num_threads(),
    )

    def probe(name, stimuli, **options):
        folder = run_probing(model, [stimuli], home / name, replace(QUICK, **options))
        with (folder / RESULTS).open(newline="", encoding="utf-8") as file:
            return folder, list(csv.DictReader(file))

    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROBEKIT_CACHE", str(home / "cache"))
        yield probe
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def arms(probed):
    """A run of three arms, with false alarms."""
    return probed("arms", some("keyword_free", "keyword_rich", "neutral"))


@pytest.fixture(scope="module")
def rated(probed):
    """A run of two arms and a rating, without false alarms."""
    stimuli = some("keyword_free", "neutral")
    return probed("rated", stimuli, alarms=False, ratings=("read_arousal",))


@pytest.fixture(scope="module")
def voted(probed):
    """A run of soft labels that holds nothing out, though there is a test split."""
    with pytest.warns(TestSplitWarning, match="layer and penalty of votes .* 12 rows of its test"):
        return probed("voted", votes(), hold_out=False)


def those(rows, **cells):
    found = [row for row in rows if all(row[name] == value for name, value in cells.items())]
    assert found, cells
    return found


def without_figures(row):
    return tuple(value for name, value in row.items() if name not in FIGURES)


def figures(rows):
    return np.array([[float(row[name] or "nan") for name in FIGURES] for row in rows])


# Splits


def test_every_figure_comes_for_dev_and_for_test(arms):
    _, rows = arms
    own = [row for row in rows if row["target"] != ALARM]
    assert {row["condition"] for row in own} == {"probe", "baseline", "null", "control"}
    kinds = {
        split: Counter(without_figures({**row, "split": ""}) for row in those(own, split=split))
        for split in ("dev", "test")
    }
    assert kinds["dev"] == kinds["test"]
    assert set(kinds["dev"].values()) == {1}
    assert {(row["n"], row["clusters"]) for row in own} == {("24", "12")}
    effects = those(rows, metric="auroc_keyword_effect")
    assert [(row["split"], row["source"]) for row in effects] == [
        ("dev", "keyword_rich"),
        ("test", "keyword_rich"),
    ]
    for effect in effects:
        rich, free = (
            those(
                rows, source=arm, target=arm, metric="auroc", condition="probe", layer="",
                split=effect["split"],
            )[0]["value"]
            for arm in ("keyword_rich", "keyword_free")
        )  # fmt: skip
        assert float(effect["value"]) == pytest.approx(float(rich) - float(free), abs=1e-5)


@pytest.fixture(scope="module")
def changed(probed):
    """The rated run with another text and rating in one row of the test split."""
    rows = list(some("keyword_free", "neutral").rows)
    place = next(n for n, row in enumerate(rows) if row.split == "test")
    extra = {**rows[place].extra, "read_arousal": 9.0}
    text = "Quite another text it is, with a xylophone."
    rows[place] = replace(rows[place], text=text, extra=extra)
    stimuli = StimulusSet("some", tuple(rows))
    return probed("changed", stimuli, alarms=False, ratings=("read_arousal",))


def test_nothing_of_a_test_row_is_in_a_figure_of_dev(rated, changed):
    before, after = (rows for _, rows in (rated, changed))
    assert list(map(without_figures, after)) == list(map(without_figures, before))
    assert those(after, split="test") != those(before, split="test")
    here, there = (figures(those(rows, split="dev")) for rows in (after, before))
    np.testing.assert_allclose(here, there, atol=1e-5)  # Batches differ: float32 agrees so far.


def test_without_holding_out_every_row_is_scored_and_a_warning_says_so(voted):
    _, rows = voted
    assert {(row["split"], row["n"], row["clusters"]) for row in rows} == {("all", "24", "24")}


def test_an_arm_without_test_rows_has_no_figures_of_test(probed):
    kept = [
        row
        for row in StimulusSet.load("vignettes").rows
        if row.emotion in ("grief", "ecstasy") and (row.arm, row.split) != ("keyword_rich", "test")
    ]
    _, rows = probed("lame", StimulusSet("lame", tuple(kept)), alarms=False)
    splits = {
        (source, target): {row["split"] for row in those(rows, source=source, target=target)}
        for source in ("keyword_free", "keyword_rich")
        for target in ("keyword_free", "keyword_rich")
    }
    assert splits == {
        ("keyword_free", "keyword_free"): {"dev", "test"},
        ("keyword_free", "keyword_rich"): {"dev"},
        ("keyword_rich", "keyword_free"): {"all"},  # Nothing of what it learns is held out.
        ("keyword_rich", "keyword_rich"): {"all"},
    }


def test_the_manifest_names_the_set_that_was_given(arms):
    folder, _ = arms
    given = some("keyword_free", "keyword_rich", "neutral")
    (told,) = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["stimuli"]
    assert (told["rows"], told["sha256"]) == (len(given), given.sha256)


# Figures that are missing


def small(text, **factors):
    """Fifteen rows, four of them the test split; factors give each row its own by number."""
    rows = [
        Stimulus(f"r{n}", text.format(n), split="test" if n > 10 else "dev",
                 **{name: of(n) for name, of in factors.items()})
        for n in range(15)
    ]  # fmt: skip
    return StimulusSet("small", tuple(rows))


def test_draws_without_a_class_do_not_end_the_run(probed):
    stimuli = small("She lost it on day {}.", emotion=lambda n: ("rage", "grief")[n % 2])
    _, rows = probed("draws", stimuli, alarms=False, bootstraps=200)
    assert np.isfinite(figures(those(rows, condition="probe", split="test", layer=""))[:, 0]).all()


def test_a_baseline_without_a_figure_does_not_end_the_run(probed):
    stimuli = small("r{} wall", extra=lambda n: {"score": n % 5})
    _, rows = probed("constant", stimuli, ratings=("score",))
    (words,) = those(rows, method="lexicon", metric="spearman", split="test")
    assert words["value"] == ""  # No word of these has a valence.


# False alarms


def test_vivid_neutral_texts_are_read_by_words_and_by_every_reception_probe(arms):
    _, rows = arms
    alarms = those(rows, target=ALARM)
    cells = ("task", "source", "condition", "method", "metric", "split", "layer", "n", "site")
    assert [tuple(row[name] for name in cells) for row in alarms] == [
        ("reception", arm, "control", method, "false_alarm", "test", "", "48", site)
        for arm in ("keyword_free", "keyword_rich")
        for method, site in (("words", ""), ("probe", "resid_post"))
    ]
    for row in alarms:
        low, value, high = (float(row[name]) for name in ("low", "value", "high"))
        assert 0 <= low <= value <= high <= 1
        assert (48 * value) == pytest.approx(round(48 * value), abs=1e-3)


def test_false_alarms_can_be_left_out_and_change_no_other_probe(arms, rated):
    _, rows = rated
    assert not [row for row in rows if row["target"] == ALARM]
    same = {"source": "keyword_free", "target": "keyword_free", "condition": "probe"}
    with_alarms = those(arms[1], task="reception", **same)
    # Texts are read in batches that differ: figures agree as far as float32 does.
    for one, other in zip(with_alarms, those(rows, task="reception", **same), strict=True):
        assert one["metric"] == other["metric"]
        assert float(one["value"]) == pytest.approx(float(other["value"]), abs=1e-4)


# Ratings and soft labels


def test_vivid_texts_are_no_part_of_a_rating_which_may_be_of_dev_alone(probed):
    own = [
        row if row.split == "dev" else replace(row, extra={})
        for row in some("keyword_free", "neutral").rows
    ]
    stimuli = StimulusSet("devonly", tuple(own))
    folder, rows = probed("devonly", stimuli, ratings=("read_arousal",))
    assert {(r["split"], r["n"]) for r in those(rows, task="read_arousal")} == {("all", "24")}
    assert "read_arousal" in {question.task for question in read_run(folder).questions}


@pytest.mark.parametrize("split", ["dev", "test"])
def test_a_rating_has_rank_correlation_beside_words_and_null(rated, split):
    rows = those(rated[1], task="read_arousal", split=split)
    assert {(row["source"], row["target"], row["n"]) for row in rows} == {("", "", "24")}
    probes = those(rows, condition="probe")
    assert {row["method"] for row in probes} == {"ridge"}
    for layer in ("", "0", "1", "2"):
        metrics = [r["metric"] for r in those(probes, layer=layer)]
        metrics = [each for each in metrics if each not in ("chosen_layer", "peak_layer")]
        assert metrics == ["spearman", "r2", "spearman_above_text"]
        (null,) = those(rows, condition="null", layer=layer)
        assert (null["metric"], null["method"], null["k"]) == ("spearman", "permutation", "3")
    words = those(rows, condition="baseline", metric="spearman")
    assert len(words) == 9
    assert words[-1]["method"] == "reference"
    probe, above = (
        those(probes, layer="", metric=m)[0]["value"] for m in ("spearman", "spearman_above_text")
    )
    gap = float(probe) - float(words[-1]["value"])
    assert float(above) == pytest.approx(gap, abs=1e-5)


def test_soft_labels_have_cross_entropy_beside_words_and_null(voted):
    _, rows = voted
    assert {row["task"] for row in rows} == {"soft_labels"}
    probes = those(rows, condition="probe", layer="")
    assert [row["metric"] for row in probes] == [
        "cross_entropy",
        "accuracy",
        "cross_entropy_above_text",
        "peak_layer",
        "chosen_layer",
    ]
    assert {row["metric"] for row in those(rows, condition="null")} == {"cross_entropy"}
    (words,) = those(rows, method="reference", metric="cross_entropy")
    saved = float(words["value"]) - float(probes[0]["value"])  # Smaller is better.
    assert float(probes[2]["value"]) == pytest.approx(saved, abs=1e-5)


# Their pages


def test_the_page_of_a_held_out_run_shows_test_and_the_false_alarms(arms):
    folder, _ = arms
    run = read_run(folder)
    assert run.held_out == ("some",)
    assert {row.split for row in run.rows} == {"test"}
    text = write_report(folder).read_text(encoding="utf-8")
    assert "Figures of some are those of the test split" in text
    assert "Intervals rest on 12 clusters" in text  # Those of the vivid texts are not counted.
    assert text.count("of 48 vivid neutral texts, words alone call") == 2
    assert headline_table(folder)[0].endswith("chosen on dev, figures of test")


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ("rated", "Read arousal on some, rank correlation"),
        ("voted", "Soft labels on votes, cross-entropy"),
    ],
)
def test_the_page_names_what_stands_in_for_auroc(run, said, request):
    folder, _ = request.getfixturevalue(run)
    assert said in write_report(folder).read_text(encoding="utf-8")
    title, _, rows = headline_table(folder)
    assert ("figures of test" in title) is (run == "rated")
    assert any(said.rpartition(", ")[2] in row[0] for row in rows)
