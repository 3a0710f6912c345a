"""The page of a run of retention, from invented results to a page in a real browser."""

import pytest
from test_report import Page, opened  # noqa: F401 - a fixture
from test_report_causal import manifest_of

from probekit.persistence.passages import named, windows
from probekit.report import headline_table, write_report
from probekit.report.reading import read_folder
from probekit.report.retain import findings
from probekit.report.retain_rows import REMOVED, retained_of
from probekit.runs import MANIFEST, RESULTS, write_json, write_results

EMOTIONS, LAYERS, CUTS, TOKENS = ("anger", "fear", "neutral"), (4, 12), (0, 3), 15
WINDOWS = windows(TOKENS)


def around(value, half=0.05):
    return {"value": value, "low": value - half, "high": value + half, "n": 30, "clusters": 10}


def rows(beyond=0.2, q=0.01, lives=(6.0, None)):
    own = {"site": "resid_post", "condition": "probe", "method": "logistic"}
    words = {"metric": "auroc", "condition": "baseline", "method": "reference", "unit": "ngrams"}
    for emotion in ("", *EMOTIONS):
        yield {**words, "emotion": emotion, **around(0.8)}
    yield {**words, "target": "keyword_free", **around(0.7)}
    for layer in LAYERS:
        for place, window in enumerate(WINDOWS):
            at = {"layer": layer, "position": named(window)}
            value = around(0.9 - 0.05 * place)
            chosen = layer == LAYERS[1]
            kinds = [{"emotion": e} for e in ("", *(EMOTIONS if chosen else ()))]
            for cells in [*kinds, *([{"target": "keyword_free"}] if chosen else [])]:
                yield {"metric": "auroc", **own, **at, **cells, **value}
                if chosen:
                    null = {"condition": "null", "method": "permutation", **around(0.5)}
                    yield {"metric": "auroc", **own, **at, **cells, **null, "p": 0.01, "q": 0.02}
                    yield {"metric": "auroc_above_text", **own, **at, **cells, **around(0.1)}
    for offset in range(TOKENS + 1):
        at = {"layer": LAYERS[1], "position": str(offset)}
        yield {"metric": "auroc_at_offset", **own, **at, **around(0.9 - 0.02 * offset)}
    yield {"metric": "half_life", **own, "layer": LAYERS[1], **around(lives[0], 1)}
    yield {"metric": "half_life_at_least", **own, "layer": LAYERS[1], "emotion": "fear",
           "value": 9.0}  # fmt: skip
    for metric, value in (("half_life", 8.0), ("half_life_at_least", 5.0)):
        yield {"metric": metric, **own, "layer": LAYERS[1], "emotion": "neutral", "value": value}
    for cut in CUTS:
        for window in (each for each in WINDOWS if each.start > cut):
            at = {"site": "resid_post", "layer": LAYERS[1], "position": named(window), "k": cut,
                  "condition": "cut"}  # fmt: skip
            for removed in REMOVED:
                if removed.endswith("header") and not cut:
                    continue
                cells = {**at, "method": removed}
                yield {"metric": "auroc", **cells, **around(0.6), "p": 0.01, "q": q}
                yield {"metric": "auroc_lost", **cells, **around(0.2), "p": 0.01, "q": 0.02}
                yield {"metric": "kept", **cells, "value": None}
            beside = {"turn": beyond} | ({"header": -0.1} if cut else {})
            for removed, value in beside.items():
                lost = {**at, "method": removed, **around(value)}
                yield {"metric": "auroc_lost_beyond_controls", **lost}


def folder_of(tmp_path, **given):
    more = {"chosen_layer": LAYERS[1], "words": "ngrams", "scheme": "within", "permutations": 99}
    more["options"] = {"tested": 1, "learned": 2, "tokens": TOKENS}
    write_json(tmp_path / MANIFEST, {**manifest_of("retain"), **more})
    common = {"study": "retain", "model": "m", "set": "s", "split": "test", "task": "retention"}
    write_results(tmp_path / RESULTS, [{**common, **row} for row in rows(**given)])
    return tmp_path


def said_of(folder):
    return " ".join(Page(str(findings(retained_of(read_folder(folder))))).text.split())


def test_findings_hold_the_turn_against_its_controls(tmp_path):
    said = said_of(folder_of(tmp_path))
    assert "at offset 1 with AUROC .85" in said
    assert "words alone: .80" in said
    assert "all classes 6 [5, 7]; anger missing; fear not reached, at least 9" in said
    assert "neutral 8 [5, not reached]" in said
    assert "without emotion words .85" in said
    # All cuts are spoken of at one window, the first after the last of them.
    assert said.count("AUROC at 4-7, .75 [.70, .80] with nothing removed") == 2
    assert said.count("The turn was still being looked up") == 2
    assert said.count("carry without it is above chance") == 2
    # At offset 0 there is no header to remove.
    assert said.count("without the header by −.10") == 1


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        ({"beyond": 0.01}, "That the turn was still being looked up is not shown"),
        ({"beyond": -0.2}, "Removing the turn costs less than removing as much else"),
        ({"q": 0.3}, "without it is not shown to be above chance"),
    ],
)
def test_verdicts_claim_no_more_than_the_figures(tmp_path, given, verdict):
    assert verdict in said_of(folder_of(tmp_path, **given))


def test_the_page_says_what_it_cannot_say_and_holds_every_window(tmp_path):
    page = Page(write_report(folder_of(tmp_path)).read_text(encoding="utf-8"))
    said = " ".join(page.text.split())
    assert "they do not cover other continuations" in said
    assert "within scenarios, 99 times, so that no p falls below .01" in said
    _, columns, lines = headline_table(tmp_path)
    assert [line[0] for line in lines] == [named(window) for window in WINDOWS]
    assert columns[-2:] == ("cut 3: turn", "cut 3: neutral")
    assert lines[0][-1] == "-"


@pytest.mark.parametrize("width", [400, 1200])
def test_the_page_opens_offline_and_every_view_is_drawn(opened, tmp_path, width):  # noqa: F811
    page = opened(folder_of(tmp_path), viewport={"width": width, "height": 900})
    assert page.locator(".plot .main-svg:first-child").count() == 3
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for menu in page.locator("select").all():
        for option in range(menu.locator("option").count()):
            menu.select_option(index=option)
            page.wait_for_timeout(20)
