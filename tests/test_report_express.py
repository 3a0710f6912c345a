"""The page of a run of expression, from invented results to a page in a real browser."""

import pytest
from test_report import Page, opened  # noqa: F401 - a fixture
from test_report_causal import manifest_of

from probekit.report import headline_table, write_report
from probekit.report.express_findings import findings
from probekit.report.express_rows import (
    CHANGES,
    CONTROL,
    JUDGED,
    KINDS,
    NONE,
    SHIFTS,
    UNRELATED,
    expressed_of,
)
from probekit.report.reading import read_folder
from probekit.runs import MANIFEST, RESULTS, write_json, write_results

EMOTIONS = ("anger", "neutral")


def around(value, half=0.05):
    return {"value": value, "low": value - half, "high": value + half, "n": 30, "clusters": 10}


def adjusted(value, q=0.02):
    return {**around(value), "p": 0.01, "q": q}


def asking():
    tellers = {"logistic": "probe", "reference": "baseline", "likelihood": "asking"}
    for value, (method, condition) in zip((0.8, 0.7, 0.3), tellers.items(), strict=True):
        for metric in ("accuracy", "auroc"):
            own = {"condition": condition, "method": method}
            yield {"metric": metric, **own, **around(value)}
    own = {"condition": "asking", "method": "generation"}
    yield {"metric": "accuracy", **own, **around(0.2)}
    yield {"metric": "coverage", **own, **around(0.6)}
    yield {"metric": "accuracy", "condition": "null", "method": "permutation", **around(0.14)}
    for target, value in (("reference", 0.01), ("likelihood", 0.5), ("generation", 0.6)):
        own = {"condition": "probe", "method": "logistic", "target": target}
        yield {"metric": "accuracy_above", **own, **adjusted(value)}


def malleable(shift, q):
    for position, method, metric in SHIFTS:
        for kind in (NONE, UNRELATED, *KINDS):
            own = {"position": position, "method": method, "condition": kind}
            yield {"metric": metric, **own, **around(0.4)}
            if kind != UNRELATED:
                yield {"metric": f"{metric}_shift", **own, **adjusted(shift, q)}
            if kind == "emotional":
                yield {"metric": f"{metric}_less_calm", **own, **adjusted(-shift, q)}


def expressed(beyond, total):
    for emotion in ("", *EMOTIONS):
        own = {"condition": NONE, "method": JUDGED, "emotion": emotion}
        yield {"metric": "agreement", **own, **around(0.3)}
    yield {"metric": "agreement", "condition": "null", "method": "permutation", **around(0.14)}
    for source in ("", "same_label"):
        for of in ("read", "words", "given"):
            own = {"condition": "probe", "source": source}
            yield {"metric": f"correlation_{of}", **own, **adjusted(0.2)}
        null = {"condition": "null", "source": source}
        yield {"metric": "correlation_given", **null, **around(0)}
    for name in CHANGES:
        for condition in (name, name + CONTROL):
            for method in (JUDGED, "read_out"):
                own = {"condition": condition, "method": method}
                yield {"metric": "target_probability", **own, **around(0.3)}
                yield {"metric": "target_probability_change", **own, **adjusted(0.1)}
            yield {"metric": "agreement", "condition": condition, "method": JUDGED, **around(0.3)}
            yield {"metric": "unchanged", "condition": condition, "method": "text", **around(0.1)}
        own = {"condition": name, "method": JUDGED}
        yield {"metric": "target_probability_change_beyond_control", **own, **adjusted(beyond)}
    yield {"metric": "total_effect", "method": JUDGED, **adjusted(total)}
    for name in ("given", "taken"):
        own = {"method": JUDGED, "condition": name}
        yield {"metric": "indirect_effect", **own, **adjusted(0.1)}
        share = around(0.5) if total > 0.05 else {"value": None}
        yield {"metric": "share_mediated", **own, **share}


def folder_of(
    tmp_path, parts=("asking", "malleable", "expressed"), shift=0.2, beyond=0.2, total=0.2, q=0.02
):
    more = {"options": {"parts": list(parts)}, "judge_reads_with_the_model": False}
    example = {"post": "<b>A post</b>", "label": "anger", "none": "Oh.", "calm": "</script>"}
    more["examples"] = [example]
    write_json(tmp_path / MANIFEST, {**manifest_of("express"), **more})
    made = {
        "asking": asking(), "malleable": malleable(shift, q), "expressed": expressed(beyond, total)
    }  # fmt: skip
    common = {"study": "express", "model": "m", "set": "s", "split": "test"}
    rows = [{**common, "task": part, **row} for part in parts for row in made[part]]
    write_results(tmp_path / RESULTS, rows)
    return tmp_path


def said_of(folder):
    return " ".join(Page(str(findings(expressed_of(read_folder(folder))))).text.split())


def test_findings_hold_every_figure_against_its_control(tmp_path):
    said = said_of(folder_of(tmp_path))
    assert "of the post’s own label in .30 [.25, .35] of posts; chance .14" in said
    assert "accuracy probe .80 [.75, .85]; words alone .70" in said
    assert "The probe is better than: asked, by likelihood, asked, in its own words." in said
    assert "Of its own words .60 [.55, .65] name one label" in said
    assert "Emotionality of the reply rises; agreement with the post rises." in said
    assert "From calm to emotional, emotionality of the reply falls" in said
    assert said.count("The reply moves towards the label.") == 4
    assert "a share of .50 [.45, .55]" in said
    assert "among posts of one label" in said


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        ({"shift": 0.01}, "is not shown to change; agreement with the post is not shown to change"),
        ({"shift": -0.3}, "Emotionality of the reply falls"),
        ({"shift": 0.2, "q": 0.1}, "Emotionality of the reply is not shown to change"),
        ({"beyond": 0.0}, "That the reply follows is not shown."),
        ({"beyond": 0.0}, "Neither goes beyond its control"),
        ({"beyond": 0.2}, "Beyond its control: given."),
        ({"beyond": -0.2}, "Beyond its control: taken."),
        ({"beyond": -0.3}, "The reply moves away from the label."),
        ({"total": 0.0}, "Without a total effect a share of it means nothing."),
    ],
)
def test_verdicts_claim_no_more_than_the_figures(tmp_path, given, verdict):
    assert verdict in said_of(folder_of(tmp_path, **given))


@pytest.mark.parametrize("parts", [("asking",), ("malleable",), ("expressed",)])
def test_a_page_of_one_part_says_what_was_not_run(tmp_path, parts):
    page = Page(write_report(folder_of(tmp_path, parts)).read_text(encoding="utf-8"))
    said = " ".join(page.text.split())
    assert ("the part “malleable” was not run" in said) == (parts != ("malleable",))
    assert ("the part “expressed” was not run" in said) == (parts != ("expressed",))
    assert headline_table(tmp_path)[2]


def test_replies_are_shown_as_they_are_and_nothing_of_them_runs(tmp_path):
    text = write_report(folder_of(tmp_path)).read_text(encoding="utf-8")
    assert "Anger: <b>A post</b>" in " ".join(Page(text).text.split())
    assert "<b>A post" not in text


@pytest.mark.parametrize("width", [400, 1200])
def test_the_page_opens_offline_and_every_view_is_drawn(opened, tmp_path, width):  # noqa: F811
    page = opened(folder_of(tmp_path), viewport={"width": width, "height": 900})
    assert page.locator(".plot .main-svg:first-child").count() == 2
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for menu in page.locator("select").all():
        for option in range(menu.locator("option").count()):
            menu.select_option(index=option)
            page.wait_for_timeout(20)
