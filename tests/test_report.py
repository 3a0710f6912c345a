"""The report, from generated results to a page in a real browser."""

import json
import random
import re
from html.parser import HTMLParser

import pytest

from probekit.errors import UserError
from probekit.plots import Estimate
from probekit.report import headline_table, sections, write_report
from probekit.report.markup import Html, json_script, tag
from probekit.report.results import PROBE, Block, Question, read_run
from probekit.report.words import listed
from probekit.runs import MANIFEST, REPORT, RESULTS, write_json, write_results

ATTACK = "</script><script>alert(1)</script><!--\u2028<b>&amp;"
EMOTIONS = [
    "rage",
    "grief",
    "terror",
    "ecstasy",
    "loathing",
    "amazement",
    "admiration",
    "vigilance",
]
SITES, POOLINGS, LAYERS = ["attn_out", "resid_post"], ["mean", "last"], [0, 6, 12, 18, 24]
ARMS = ["keyword_free", "keyword_rich"]
BASELINES = ["bag_of_words", "ngrams", "stop_words", "surface", "lexicon", "static_embedding"]
STUDIED = [
    *[
        ("vignettes", task, s, t)
        for task in ("reception", "categorisation")
        for s in ARMS
        for t in ARMS
    ],
    ("crossed", "valence", "", ""),
]


def interval(value, half):
    return {"value": value, "low": max(value - half, -1.0), "high": min(value + half, 1.0)}


def block_rows(rng, question, site, pooling, words):
    """Every figure of a probe at one site and pooling."""
    common = {**question, "site": site, "pooling": pooling, "n": 160, "clusters": 40}
    probe = {**common, "condition": "probe", "method": "logistic"}
    null = {**common, "condition": "null", "method": "permutation", "metric": "auroc", "k": 200}
    rich = 0.06 * (question["target"] == "keyword_rich")
    for place, layer in enumerate([*LAYERS, ""]):
        auroc = min(0.58 + rich + 0.055 * min(place, 4) + rng.uniform(-0.02, 0.02), 0.99)
        figure = interval(auroc, rng.uniform(0.05, 0.09))
        yield {**probe, "layer": layer, "metric": "auroc", "p": 1 / 201, "q": 0.01, **figure}
        above = interval(auroc - words, rng.uniform(0.08, 0.16))
        yield {**probe, "layer": layer, "metric": "auroc_above_text", "p": 0.01, **above}
        yield {**null, "layer": layer, **interval(0.49 + rng.uniform(-0.01, 0.01), 0.05)}
    for metric in ("accuracy", "brier", "forced_choice"):
        yield {**probe, "layer": "", "metric": metric, **interval(rng.uniform(0.2, 0.8), 0.05)}
    chosen = {"value": 18.0, "low": 12.0, "high": 24.0}
    yield {**probe, "layer": "", "metric": "chosen_layer", **chosen}
    if question["task"] == "categorisation":
        for true in EMOTIONS:
            weights = [rng.random() + 5 * (true == taken) for taken in EMOTIONS]
            for taken, weight in zip(EMOTIONS, weights, strict=True):
                share = {"emotion": true, "unit": taken, "value": weight / sum(weights)}
                yield {**probe, "layer": "", "metric": "confusion", **share}


def result_rows(
    studied=STUDIED, sites=SITES, poolings=POOLINGS, baselines=BASELINES, set_name=None
):
    """Rows such as `probekit probe` writes, drawn with a fixed seed."""
    rng = random.Random(0)
    for name, task, source, target in studied:
        question = {"study": "probe", "set": set_name or name, "task": task}
        question |= {"source": source, "target": target}
        words = 0.55 if task == "reception" else 0.71
        for method in [*baselines, "reference"] if baselines else []:
            baseline = {**question, "condition": "baseline", "method": method}
            value = words if method == "reference" else rng.uniform(0.48, words)
            for metric in ("auroc", "accuracy", "brier", "forced_choice"):
                yield {
                    **baseline,
                    "metric": metric,
                    "n": 160,
                    "clusters": 40,
                    **interval(value, 0.07),
                }
        for site in sites:
            for pooling in poolings:
                rows = block_rows(rng, question, site, pooling, words)
                yield from (r for r in rows if baselines or r["metric"] != "auroc_above_text")
                if (source, target) == ("keyword_rich", "keyword_free"):
                    effect = {**question, "condition": "control", "method": "keyword_effect"}
                    effect |= {"site": site, "pooling": pooling, "metric": "auroc_keyword_effect"}
                    yield {**effect, **interval(0.06, 0.05)}


def manifest_of(model="SmolLM2-135M", stimuli="vignettes", sites=SITES, poolings=POOLINGS):
    shape = {"architecture": "LlamaForCausalLM", "n_layers": 30, "d_model": 576, "dtype": "float32"}
    return {
        "study": "probe",
        "created_with": {"probekit": "0.1.0"},
        "seed": 0,
        "model": {"name": model, **shape, "quantisation_note": "from 8-bit weights"},
        "sites": sites,
        "poolings": poolings,
        "stimuli": [{"name": stimuli, "sha256": "0" * 64, "rows": 160}],
        "notes": ["The first token is left out of every pooling."],
    }


def write_run(folder, rows=None, manifest=None):
    write_json(folder / MANIFEST, manifest or manifest_of())
    write_results(folder / RESULTS, result_rows() if rows is None else rows)
    return folder


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run")


class Page(HTMLParser):
    """Elements of a page and the text outside scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self._open = [], "", ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open = tag

    def handle_endtag(self, tag):  # noqa: ARG002 - its name is HTMLParser's
        self._open = ""

    def handle_data(self, data):
        if self._open not in ("script", "style"):
            self.text += data

    def named(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def page_of(folder):
    return Page(write_report(folder).read_text(encoding="utf-8"))


# Markup


def test_text_is_escaped_and_markup_is_not():
    assert tag("p", "a<b", tag("b", "&")) == "<p>a&lt;b<b>&amp;</b></p>"
    assert tag("th", "x", scope="row", class_='"', hidden=True, id=None) == (
        '<th scope="row" class="&quot;" hidden>x</th>'
    )


def test_json_in_a_script_survives_whatever_it_holds():
    script = json_script("data", {"name": ATTACK})
    inside = script.split(">", 1)[1].rsplit("<", 1)[0]
    assert not set("<>\u2028\u2029") & set(inside)
    assert json.loads(inside) == {"name": ATTACK}
    assert isinstance(script, Html)


def test_lists_read_as_sentences():
    assert [listed(list(word)) for word in ("", "a", "ab", "abc")] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]


# Results


def test_the_primary_block_is_named_beforehand(run):
    assert read_run(run).primary == Block("resid_post", "last")
    assert read_run(run).blocks[0] == Block("resid_post", "last")


def test_without_resid_post_the_manifest_decides_not_the_figures(tmp_path):
    manifest = manifest_of(sites=["mlp_out", "attn_out"], poolings=["mean", "span"])
    rows = result_rows(sites=["attn_out", "mlp_out"], poolings=["span", "mean"])
    assert read_run(write_run(tmp_path, rows, manifest)).primary == Block("mlp_out", "mean")


def test_the_keyword_free_arm_is_the_headline(run):
    assert read_run(run).headlines == (
        Question("vignettes", "reception", "keyword_free", "keyword_free"),
        Question("vignettes", "categorisation", "keyword_free", "keyword_free"),
        Question("crossed", "valence", "", ""),
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (MANIFEST, None, "no manifest.json"),
        (RESULTS, None, "no results.csv"),
        (MANIFEST, "[]", "not a JSON object"),
        (MANIFEST, "{", "not readable JSON"),
        (MANIFEST, '{"study": "astrology"}', "unknown study 'astrology': accepted are probe"),
        (RESULTS, "study,model\n", "lacks the columns set"),
    ],
)
def test_a_broken_run_is_refused_by_name(run, name, content, message):
    (run / name).unlink() if content is None else (run / name).write_text(content)
    with pytest.raises(UserError, match=re.escape(message)):
        write_report(run)
    assert not (run / REPORT).exists()


def test_a_bad_figure_names_its_line(run):
    lines = (run / RESULTS).read_text().splitlines()
    head = lines[0].split(",")
    cells = lines[2].split(",")
    cells[head.index("value")] = "nan"
    (run / RESULTS).write_text("\n".join([*lines[:2], ",".join(cells)]) + "\n")
    with pytest.raises(UserError, match=r"results\.csv, line 3: value is nan"):
        write_report(run)


def test_a_figure_given_twice_is_refused(tmp_path):
    rows = list(result_rows())
    with pytest.raises(UserError, match="gives one figure twice"):
        write_report(write_run(tmp_path, [*rows, rows[0]]))


# What the page says


def test_the_findings_carry_the_headline_figures(tmp_path):
    question = {"set": "s", "task": "reception", "source": "keyword_free", "target": "keyword_free"}
    block = {**question, "site": "resid_post", "pooling": "last"}
    probe = {**block, "condition": "probe", "method": "logistic", "n": 80, "clusters": 40}
    null = {**block, "condition": "null", "method": "permutation", "metric": "auroc", "k": 200}
    words = {**question, "condition": "baseline", "method": "reference", "metric": "auroc"}
    rows = [
        {**probe, "metric": "auroc", "value": 0.78, "low": 0.70, "high": 0.86, "p": 1 / 201},
        {**probe, "metric": "auroc_above_text", "value": 0.23, "low": 0.10, "high": 0.35},
        {**null, "value": 0.49, "low": 0.42, "high": 0.57},
        {**words, "value": 0.55},
    ]
    text = page_of(write_run(tmp_path, rows)).text
    assert (
        "the probe reads more than words alone in reception on keyword-free s (+.23 [+.10, +.35])"
        in text
    )
    assert "AUROC .78 [.70, .86]; words alone .55; above text +.23 [+.10, +.35]; chance .49" in text
    assert "The interval excludes zero" in text
    assert "40 clusters" in text
    assert "200 permutations: the smallest possible p is .005." in text


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.1, 0.3, "excludes zero"), (-0.1, 0.3, "includes zero"), (-0.3, -0.1, "below zero")],
)
def test_the_verdict_follows_the_interval(low, high, said):
    assert said in sections.verdict(Estimate((low + high) / 2, low, high))
    assert "nothing is claimed" in sections.verdict(Estimate(0.2))


def test_every_baseline_and_block_has_its_line(run):
    text = page_of(run).text
    for line in ("bag of words", "1–2-grams", "valence lexicon", "words alone (reference)"):
        assert text.count(line) >= len(STUDIED), line
    for site in SITES:
        for pooling in POOLINGS:
            assert text.count(f"probe, {site}, {pooling}") == len(STUDIED)
    assert "8-class categorisation at this size is a pipeline, not a claim." in text
    assert "The first token is left out of every pooling." in text


def test_the_table_can_be_navigated(run):
    page = page_of(run)
    assert len(page.named("caption")) == 1
    assert {cell["scope"] for cell in page.named("th")} == {"col", "row", "rowgroup"}
    assert any(a.get("class") == "scroll" and a["tabindex"] == "0" for a in page.named("div"))


def test_every_figure_is_named_and_described(run):
    page = page_of(run)
    plots = [attributes for attributes in page.named("div") if attributes.get("class") == "plot"]
    identifiers = {attributes.get("id") for _, attributes in page.tags}
    assert len(plots) == 1 + 3 + 2 + 1 + 1
    assert all(p["role"] == "img" and p["aria-label"] for p in plots)
    assert {p["aria-describedby"] for p in plots} <= identifiers
    assert {menu["id"] for menu in page.named("select")} == {m["for"] for m in page.named("label")}


def test_no_two_elements_share_an_id(run):
    identifiers = [attributes["id"] for _, attributes in page_of(run).tags if "id" in attributes]
    assert len(set(identifiers)) == len(identifiers)


def test_text_from_data_never_becomes_markup(tmp_path):
    rows = result_rows(set_name=ATTACK, studied=STUDIED[:8])
    page = page_of(write_run(tmp_path, rows, manifest_of(ATTACK, ATTACK)))
    assert f"Emotion in {ATTACK}" in page.text
    assert page.text.count(ATTACK) > 10
    assert [s.get("id") for s in page.named("script")] == ["figures", "dark", None, None]
    assert not [name for name, _ in page.tags if name == "b" and "&amp;" in name]


def test_the_page_holds_plotly_once_and_points_nowhere(run):
    page = page_of(run)
    text = (run / REPORT).read_text(encoding="utf-8")
    assert text.count("plotly.js v") == 1
    linked = [v for _, a in page.tags for k, v in a.items() if k in ("src", "href")]
    assert all(link.startswith("#") for link in linked)


def test_the_same_run_gives_the_same_page_and_nothing_else(run):
    first = write_report(run).read_bytes()
    assert write_report(run).read_bytes() == first
    assert sorted(path.name for path in run.iterdir()) == [MANIFEST, REPORT, RESULTS]


# Held-out rows, false alarms, ratings


def divided_rows():
    """Vignettes with a test split whose figures are .10 lower, and quads without one."""
    for row in result_rows():
        if row["set"] == "crossed":
            yield {**row, "split": "all"}
            continue
        yield {**row, "split": "dev"}
        moved = {key: row[key] - 0.1 for key in ("value", "low", "high") if "low" in row}
        yield {**row, **moved, "split": "test"}


def test_of_a_set_with_a_test_split_only_its_rows_are_read(tmp_path):
    run = read_run(write_run(tmp_path, divided_rows()))
    splits = {row.question.set: set() for row in run.rows}
    for row in run.rows:
        splits[row.question.set].add(row.split)
    assert splits == {"vignettes": {"test"}, "crossed": {"all"}}
    assert run.held_out == ("vignettes",)
    whole = read_run(write_run(tmp_path / "whole"))
    assert len(run.rows) == len(whole.rows)
    assert whole.held_out == ()
    question = whole.headlines[0]
    gap = run.row(question, run.primary, PROBE), whole.row(question, whole.primary, PROBE)
    assert gap[0].estimate.value == pytest.approx(gap[1].estimate.value - 0.1, abs=1e-5)


def test_a_task_without_a_test_split_stays_beside_one_that_has_it(tmp_path):
    rows = list(result_rows(STUDIED[:1]))
    rows = [{**r, "split": "test"} for r in rows] + [{**r, "task": "rated"} for r in rows]
    assert {q.task for q in read_run(write_run(tmp_path, rows)).questions} == {"reception", "rated"}


def test_a_held_out_set_is_named_and_others_are_not(tmp_path, run):
    text = page_of(write_run(tmp_path / "divided", divided_rows())).text
    assert "Figures of vignettes are those of the test split: learned and chosen on dev" in text
    assert "test split" not in page_of(run).text
    # In the terminal too.
    site = "AUROC at resid_post; layer and C chosen"
    assert headline_table(tmp_path / "divided")[0] == f"{site} on dev, figures of test"
    assert headline_table(run)[0] == f"{site} in inner folds"


ALARMS = [
    {"site": "", "pooling": "", "method": "words", "value": 0.25, "low": 0.1, "high": 0.4},
    *[
        {"site": site, "pooling": "last", "method": "probe", "value": value}
        for site, value in (("resid_post", 0.5), ("attn_out", 0.99))
    ],
]


def alarm_rows(**cells):
    question = {"set": "vignettes", "task": "reception", "source": "keyword_free"}
    control = {"condition": "control", "metric": "false_alarm", "target": "complex_neutral"}
    counts = {"split": "test", "n": 48, "clusters": 48}
    return [{**question, **control, **counts, **row, **cells} for row in ALARMS]


def test_false_alarms_of_words_and_of_the_primary_probe_stand_together(tmp_path):
    own = {"set": "vignettes", "task": "reception", "source": "keyword_free"}
    own |= {"target": "keyword_free", "condition": "probe", "method": "logistic"}
    own |= {"site": "resid_post", "pooling": "last", "metric": "false_alarm", "value": 0.125}
    folder = write_run(tmp_path, [*result_rows(), own, *alarm_rows()])
    run = read_run(folder)
    # Test rows of alarms hide no other row, and ask no question of their own.
    assert run.held_out == ()
    assert run.questions == read_run(write_run(tmp_path / "without")).questions
    text = page_of(folder).text
    assert (
        "Reception on keyword-free vignettes: of 48 vivid neutral texts, words alone call "
        ".25 [.10, .40] emotional, the probe .50; of the set’s own neutral texts, the probe .12."
    ) in text
    assert ".99" not in text.partition("of 48 vivid")[2].partition("own neutral texts")[0]
    assert (
        "Missing: no reception probe was run, or without these."
        in page_of(tmp_path / "without").text
    )


def test_false_alarms_without_a_primary_probe_are_not_made_up(tmp_path):
    text = page_of(write_run(tmp_path, [*result_rows(sites=["attn_out"]), *alarm_rows()[:1]])).text
    assert "emotional, the probe not measured; of the set’s own neutral texts, the probe –" in text


def rated_rows(measure="spearman"):
    """The rows of the quads as those of a rating, or of soft labels."""
    method = {"spearman": "ridge", "cross_entropy": "logistic"}[measure]
    for row in result_rows(STUDIED[-1:]):
        metric = row["metric"].replace("auroc", measure)
        own = {"task": "arousal", "metric": metric}
        own |= {"method": method} if row["condition"] == "probe" else {}
        yield {**row, **own}


@pytest.mark.parametrize(
    ("measure", "said"),
    [("spearman", "rank correlation"), ("cross_entropy", "cross-entropy")],
)
def test_what_stands_in_for_auroc_is_named_everywhere(tmp_path, measure, said):
    folder = write_run(tmp_path, [*result_rows(STUDIED[:1]), *rated_rows(measure)])
    run = read_run(folder)
    rated = Question("crossed", "arousal", "", "", measure)
    assert run.questions == (Question(*STUDIED[0]), rated)
    assert run.row(rated, run.primary, PROBE) is not None
    assert run.over_layers(rated, run.primary, PROBE).keys() == set(LAYERS)
    text = page_of(folder).text
    assert f"Arousal on crossed quads, {said}: {said} ." in text
    assert "Reception on keyword-free vignettes: AUROC ." in text
    assert f"Arousal on crossed quads: {said} over layers" in text
    page = (folder / REPORT).read_text(encoding="utf-8")
    assert f"{said} above text" in page
    assert "AUROC above text" in page
    lines = [row[0] for row in headline_table(folder)[2]]
    assert f" arousal, {said}" in lines
    assert " reception free" in lines


# What is missing is said


def test_only_crossed_quads(tmp_path):
    text = page_of(write_run(tmp_path, result_rows(STUDIED[-1:]))).text
    assert "Missing: transfer needs two arms" in text
    assert "Missing: categorisation was not run." in text
    assert "Missing: the keyword effect needs both arms." in text
    assert "Valence on crossed quads: AUROC" in text
    assert "not a claim" not in text


def test_without_baselines_nothing_is_claimed(tmp_path):
    text = page_of(write_run(tmp_path, result_rows(baselines=[]))).text
    assert "nothing can be said above text" in text
    assert "words alone not measured" in text
    assert "Missing: no text baseline was run" in text
    assert "There is no text baseline." in text


def test_without_the_primary_block_no_other_takes_its_place(tmp_path):
    rows = result_rows(sites=["attn_out"])
    text = page_of(write_run(tmp_path, rows)).text
    assert "no probe at resid_post, last in this run." in text
    assert "Reception on keyword-free vignettes: AUROC" not in text


def test_without_null_there_is_no_p(tmp_path):
    rows = [row for row in result_rows() if row["condition"] != "null"]
    text = page_of(write_run(tmp_path, rows)).text
    assert "No permutation null was run" in text
    assert "chance not measured" in text


def test_a_run_without_rows_is_still_a_page(tmp_path):
    text = page_of(write_run(tmp_path, [], {"study": "probe"})).text
    assert "nothing can be said above text" in text


# In a browser


@pytest.fixture
def opened(browser, tmp_path):
    """Opens a page offline; whatever it complains of or asks the network for fails the test."""
    complaints, contexts = [], []

    def open_page(folder, **options):
        context = browser.new_context(offline=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda m: complaints.append(m.text) if m.type != "log" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda d: (complaints.append(f"dialog {d.message}"), d.dismiss()))
        page.on(
            "request",
            lambda r: (
                complaints.append(r.url) if not r.url.startswith(("file:", "data:")) else None
            ),
        )
        page.goto(write_report(folder).as_uri())
        page.wait_for_selector(".plot .main-svg")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def shows(page, colours):
    """Wait until the page's ground and the ink of a figure are these, or fail."""
    page.wait_for_function(
        """colours => {
          const ground = getComputedStyle(document.body).backgroundColor;
          const ink = getComputedStyle(document.querySelector('#above .xtitle')).fill;
          return ground === colours[0] && ink === colours[1];
        }""",
        arg=colours,
    )


LIGHT_COLOURS = ["rgb(253, 252, 250)", "rgb(31, 35, 40)"]
DARK_COLOURS = ["rgb(20, 22, 26)", "rgb(232, 230, 225)"]


def test_every_figure_is_drawn(opened, run):
    page = opened(run, viewport={"width": 1200, "height": 900})
    assert page.locator(".plot").count() == page.locator(".plot .main-svg:first-child").count() == 8
    assert page.get_by_role("heading", level=1).inner_text() == "Emotion in SmolLM2-135M"
    assert (
        "the probe reads more than words alone in reception" in page.locator(".lead").inner_text()
    )
    assert page.locator("#above .errorbar").count() == len(STUDIED)
    assert page.locator("#confusion-0 .heatmap-label").count() == 64


def test_the_page_follows_the_system_until_it_is_told(opened, run):
    page = opened(run, color_scheme="dark")
    shows(page, DARK_COLOURS)
    assert page.locator("#theme").get_attribute("aria-pressed") == "true"
    page.emulate_media(color_scheme="light")
    shows(page, LIGHT_COLOURS)
    page.get_by_role("button", name="Dark").click()
    shows(page, DARK_COLOURS)
    page.emulate_media(color_scheme="dark")
    page.get_by_role("button", name="Dark").click()
    shows(page, LIGHT_COLOURS)


def test_a_menu_changes_the_figure_and_its_words(opened, run):
    page = opened(run)
    menu, text = page.locator("#layers-0-view"), page.locator("#layers-0-summary")
    assert text.inner_text().startswith("resid_post, last: from ")
    menu.select_option(label="every site, last")
    assert "attn_out, last: from" in text.inner_text()
    names = page.locator("#layers-0 .legendtext").all_text_contents()
    assert names == ["words alone (text baseline)", "resid_post, last", "attn_out, last"]


def test_the_keyboard_reaches_every_control(opened, run):
    page = opened(run)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["x"] >= 0
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.className"))
        outlined = "getComputedStyle(document.activeElement).outlineStyle !== 'none'"
        assert page.evaluate(f"document.activeElement === document.body || {outlined}")
    menus = set(page.eval_on_selector_all("select", "menus => menus.map(menu => menu.id)"))
    assert menus | {"theme", "scroll"} <= reached


@pytest.mark.parametrize("width", [320, 400, 1200])
def test_nothing_scrolls_sideways(opened, tmp_path, width):
    long = "an-organisation/with-a-very-long-model-name-" + "x" * 60
    folder = write_run(tmp_path / "run", manifest=manifest_of(long))
    page = opened(folder, viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_an_attack_in_the_data_does_nothing_in_a_browser(opened, tmp_path):
    rows = result_rows(set_name=ATTACK, studied=STUDIED[:8])
    page = opened(write_run(tmp_path / "run", rows, manifest_of(ATTACK, ATTACK)))
    assert "</script><script>alert(1)</script>" in page.locator("h1").inner_text()
    assert page.locator("script").count() == 4


def test_paper_is_white_even_from_a_dark_screen(opened, run):
    page = opened(run, color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    shows(page, ["rgb(255, 255, 255)", LIGHT_COLOURS[1]])
    assert page.locator("#theme").is_hidden()
    page.set_viewport_size({"width": 720, "height": 900})
    page.wait_for_timeout(2000)  # plotly redraws some time after a change of width
    for figure in page.locator(".plot .main-svg:first-child").all():
        assert figure.bounding_box()["width"] == 660
        assert figure.bounding_box()["height"] > 200
