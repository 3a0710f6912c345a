"""The page of probes of a corpus, from invented results to a page in a real browser."""

import pytest
from test_report import Page, opened  # noqa: F401 - a fixture
from test_report_causal import manifest_of

from probekit.report import headline_table, write_report
from probekit.report.corpus import findings
from probekit.report.corpus_rows import probed_of
from probekit.report.reading import read_folder
from probekit.runs import MANIFEST, RESULTS, write_json, write_results

CLASSES, LAYERS = ("anger", "fear", "joy"), (0, 5, 9)
CHOSEN = {"linear": 5, "mlp": 9}


def around(value, half=0.02, clusters=40):
    return {"value": value, "low": value - half, "high": value + half, "n": 90,
            "clusters": clusters}  # fmt: skip


def rows(above, selective, more, clusters):
    words = {"condition": "baseline", "metric": "auroc"}
    for name, value in (("hashed_words", 0.7), ("hashed_ngrams", 0.72), ("reference", 0.72)):
        yield {**words, "method": name, **around(value)}
        if name != "reference":
            yield {**words, "method": name, "split": "validation", "value": value}
    yield {**words, "metric": "balanced_accuracy", "method": "reference", **around(0.5)}
    for emotion in CLASSES:
        yield {**words, "method": "reference", "emotion": emotion, **around(0.7)}
    for method, chosen in CHOSEN.items():
        cells = {"site": "resid_post", "method": method, "metric": "auroc"}
        for layer in LAYERS:
            own = {**cells, "layer": layer, "condition": "probe"}
            yield {**own, "split": "validation", "value": 0.8}
            if layer != chosen:
                yield {**own, "value": 0.75}
                yield {**own, "condition": "null", "value": 0.5}
        cells["layer"] = chosen
        for emotion in ("", *CLASSES):
            own = {**cells, "emotion": emotion}
            yield {**own, "condition": "probe", **around(0.85, clusters=clusters)}
            yield {**own, "condition": "null", **around(0.51)}
            yield {**own, "condition": "above_text", **around(above), "p": 0.01, "q": 0.02}
            yield {**own, "condition": "selectivity", **around(selective), "p": 0.01, "q": 0.02}
            recall = "recall" if emotion else "balanced_accuracy"
            yield {**own, "condition": "probe", "metric": recall, **around(0.6)}
    yield {**cells, "condition": "above_linear", **around(more), "p": 0.5, "q": 0.5}


def folder_of(tmp_path, above=0.13, selective=0.34, more=0.0, clusters=40):
    counts = {part: dict.fromkeys(CLASSES, (100, 90)) for part in ("train", "validation", "test")}
    more_ = {"chosen_layer": CHOSEN, "classes": CLASSES, "reference": "hashed_ngrams",
             "counts": counts, "epochs": {"linear": 2, "mlp": 1},
             "options": {"balance_train": "mean", "balance_test": "smallest"}}  # fmt: skip
    write_json(tmp_path / MANIFEST, {**manifest_of("probe-corpus"), **more_})
    common = {"study": "probe-corpus", "model": "m", "set": "s", "split": "test",
              "task": "categorisation"}  # fmt: skip
    table = [{**common, **row} for row in rows(above, selective, more, clusters)]
    write_results(tmp_path / RESULTS, table)
    return tmp_path


def said_of(folder):
    return " ".join(Page(str(findings(probed_of(read_folder(folder))))).text.split())


def test_findings_hold_each_probe_against_its_controls(tmp_path):
    said = said_of(folder_of(tmp_path))
    assert "At layer 5 a linear probe tells 3 classes with AUROC .85 [.83, .87]" in said
    assert "words alone (1–2-grams, hashed): .72 [.70, .74]" in said
    assert "with permuted labels: .51" in said
    assert "MLP, layer 9" in said
    assert said.count("the activations tell more than these baselines of words") == 2
    assert "selectivity +.34 [+.32, +.36] and +.34" in said
    assert "That the MLP tells more is not shown" in said


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        ({"above": 0.01}, "no more than words tell is shown"),
        ({"above": -0.2}, "words alone tell more"),
        ({"selective": 0.01}, "Permuted labels do as well: nothing is shown"),
        ({"more": 0.1}, "The MLP tells more: some of it is not linear"),
        ({"more": -0.1}, "The MLP tells less, as it was trained here"),
        ({"clusters": 4}, "The test part has 4 groups: an interval over fewer than 10"),
    ],
)
def test_verdicts_claim_no_more_than_the_figures(tmp_path, given, verdict):
    said = said_of(folder_of(tmp_path, **given))
    assert verdict in said
    if "clusters" in given:
        assert "tell more than" not in said


def test_the_page_holds_every_class_and_says_what_it_cannot_say(tmp_path):
    page = Page(write_report(folder_of(tmp_path)).read_text(encoding="utf-8"))
    said = " ".join(page.text.split())
    assert "The null is one permutation across groups" in said
    assert "Passes over the training rows: linear probe 2 and MLP 1" in said
    assert "Classes in training: mean, in test: smallest" in said
    assert "Figures rest on 90 test items of 40 groups" in said
    _, columns, lines = headline_table(tmp_path)
    assert columns[:4] == ("probe", "layer", "AUROC", "null")
    assert [line[:2] for line in lines] == [("linear probe", "5"), ("MLP", "9")]
    assert lines[0][5] == "+.13 [+.11, +.15]"


@pytest.mark.parametrize("width", [400, 1200])
def test_the_page_opens_offline_and_every_view_is_drawn(opened, tmp_path, width):  # noqa: F811
    page = opened(folder_of(tmp_path), viewport={"width": width, "height": 900})
    assert page.locator(".plot .main-svg:first-child").count() == 2
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for menu in page.locator("select").all():
        for option in range(menu.locator("option").count()):
            menu.select_option(index=option)
            page.wait_for_timeout(20)
