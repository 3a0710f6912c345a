"""The page of a run of directions, from invented results to a page in a real browser."""

import pytest
from test_report import ATTACK, Page, opened  # noqa: F401 - a fixture
from test_report_causal import changed, text_of, write_run

from probekit.errors import UserError
from probekit.plots import Estimate
from probekit.report import directions, headline_table, write_report
from probekit.report.directions import visible
from probekit.report.learned import AUROC, HALVES, study_of
from probekit.report.reading import read_folder

LAYERS, CHOSEN = 4, 2
EMOTIONS = ("anger", "fear", "joy")
FREE, RICH = "keyword_free", "keyword_rich"
FIGURES = 5


def around(value, half=0.05):
    return {"value": value, "low": value - half, "high": value + half, "n": 24, "clusters": 12}


def each_place(cells, headline=True, emotions=EMOTIONS):
    """The cells at every layer, and at the chosen one without its number, of every emotion."""
    for layer in (*range(LAYERS), *([None] if headline else [])):
        for emotion in ("", *emotions):
            yield {**cells, "layer": layer, "emotion": emotion}


def held_out(task, source, target, auroc=0.8, words=0.7, split="test", **more):
    """Mean and single AUROCs with all their controls; `more` are cells of every row."""
    common = {"task": task, "source": source, "target": target, "split": split, **more}
    own = {**common, "condition": "direction", "metric": "auroc"}
    yield from ({**row, "p": 0.01, "q": 0.01, **around(auroc)} for row in each_place(own))
    above = {**own, "metric": "auroc_above_text"}
    for row in each_place(above):
        yield {**row, "p": 0.01, "q": 0.01, **around(auroc - words)}
    null = {**own, "condition": "null", "k": 100}
    yield from ({**row, **around(0.51)} for row in each_place(null))
    random = {**own, "condition": "control", "unit": "random", "k": 20}
    yield from ({**row, **around(0.5)} for row in each_place(random))
    baseline = {**common, "condition": "baseline", "method": "reference", "metric": "auroc"}
    baseline |= {"site": "", "pooling": ""}
    for emotion in ("", *EMOTIONS):
        yield {**baseline, "emotion": emotion, **around(words)}
    single = {**baseline, "method": "bag_of_words"}
    yield {**single, **around(words - 0.05)}


def alike(source, halves=0.6, **more):
    """Stability, single pairs and the probe of one arm."""
    common = {"source": source, "target": source, "condition": "direction", **more}
    split = {"split": "all" if more.get("split") == "all" else "dev"}
    stable = {**common, "task": "stability", **split}
    others = {"condition": "control", "unit": "other_emotions"}
    for metric, value, control in (
        ("cosine_halves", halves, {**others, "other": 0.02}),
        (
            "cosine_left_out",
            0.9,
            {"condition": "control", "unit": "as_many_at_random", "other": 0.9},
        ),
    ):
        beside = control.pop("other")
        own = {**stable, "metric": metric, "k": 50}
        for row in each_place(own, headline=False):
            count = {"clusters": 4 if row["emotion"] else 12}
            yield {**row, **around(value), **count}
            yield {**row, **control, **around(beside), **count}
    pairs = {**common, "task": "steerability", "split": more.get("split", "test")}
    random = {"condition": "control", "unit": "random", "k": 20}
    for row in each_place({**pairs, "metric": "pair_cosine"}, headline=False):
        count = {"clusters": 5 if row["emotion"] else 15}
        yield {**row, "p": 0.01, **around(0.3), **count}
        yield {**row, **others, **around(0.1), **count}
        yield {**row, **random, **around(0.0), **count}
        yield {**row, "metric": "pair_cosine_above_others", "p": 0.01, **around(0.2), **count}
    for metric, value in (("probe_cosine", 0.4), ("probe_spearman", 0.5)):
        for layer in range(LAYERS):
            for place, emotion in enumerate(EMOTIONS):
                row = {**pairs, "task": "probe", "metric": metric}
                row |= {"layer": layer, "emotion": emotion}
                yield {**row, **around(value + 0.1 * place)}
                yield {**row, **random, **around(0.0)}


def rows_of(site="resid_post", pooling="mean", method="grouped", **more):
    """Rows of two arms at one place."""
    common = {"set": "vignettes", "site": site, "pooling": pooling, "method": method}
    for source, other in ((FREE, RICH), (RICH, FREE)):
        dev = {**common, "task": "categorisation", "split": "dev", "condition": "direction"}
        dev |= {"source": source, "target": source}
        for row in each_place({**dev, "metric": "auroc"}, headline=False):
            yield {**row, **around(0.6 + 0.1 * (row["layer"] == CHOSEN))}
        yield {**dev, "metric": "chosen_layer", "value": CHOSEN}
        yield from held_out("categorisation", source, source, **common)
        yield from held_out("categorisation", source, other, auroc=0.75, **common)
        yield from held_out("reception", source, source, auroc=0.65, words=0.6, **common)
        yield from alike(source, **{**common, **more})
    across = {**common, "task": "stability", "split": "dev", "source": FREE, "target": RICH}
    across |= {"condition": "direction", "metric": "cosine_halves"}
    yield from ({**row, **around(0.55)} for row in each_place(across, headline=False))
    for layer in range(LAYERS):
        yield {**across, "metric": "cosine_disattenuated", "layer": layer, "value": 0.92}


def entries(places=(("resid_post", "mean", "grouped"),), sources=(FREE, RICH), tokens=None):
    for site, pooling, method in places:
        for source in sources:
            told = {"file": "x", "source": source, "site": site, "pooling": pooling}
            told |= {"estimator": method, "layer": CHOSEN, "emotions": list(EMOTIONS)}
            written = {name: [" glad", "\n", "x\u200by"] for name in EMOTIONS}
            yield {**told, "top_tokens": tokens or written, "random_tokens": ["zu", "\x07"]}


def write(folder, rows, **more):
    more.setdefault("directions", list(entries()))
    return write_run(folder, "directions", list(unique(rows)), **more)


def unique(rows):
    """Rows whose baselines without a place come once, however many places there are."""
    seen = set()
    for row in rows:
        key = tuple(
            (name, row.get(name))
            for name in ("task", "source", "target", "method", "split", "emotion")
        )
        bare = row.get("condition") == "baseline" and not row.get("site")
        if not bare or key not in seen:
            yield row
        seen.add(key if bare else None)


def without(rows, **cells):
    kept = [row for row in rows if not cells.items() <= row.items()]
    assert len(kept) < len(list(rows_of()))
    return kept


MEAN = {"task": "categorisation", "split": "test", "emotion": "", "source": FREE, "target": FREE}
OWN = {**MEAN, "metric": "auroc", "condition": "direction"}
HALF = {"metric": "cosine_halves", "condition": "direction", "source": FREE, "target": FREE}


@pytest.fixture
def run(tmp_path):
    return write(tmp_path / "run", rows_of())


def test_what_the_projection_tells_above_words_is_said(run):
    text = text_of(run)
    assert "probekit · what a direction tells of new texts" in text
    assert (
        "At resid_post, layer 2, the projection alone tells which emotion a text has on "
        "keyword-free vignettes that it was not learned from (mean AUROC .80 [.75, .85]), and more "
        "than words alone do (+.10 [+.05, +.15]). Two halves of the scenarios give directions with "
        "a cosine of .60 [.55, .65]: most of a direction of all scenarios is what both halves "
        "share."
    ) in text
    assert (
        "Categorisation, keyword-free vignettes: mean AUROC .80 [.75, .85] (p .010); words alone "
        ".70 [.65, .75]; above text +.10 [+.05, +.15] (p .010); chance .51 [.46, .56]; random "
        "directions .50 [.45, .55]."
    ) in text
    assert "Categorisation, keyword-free → keyword-rich vignettes: mean AUROC .75" in text
    assert "Reception, keyword-free vignettes: mean AUROC .65 [.60, .70] (p .010)" in text
    assert "The projection alone tells emotional texts from neutral ones, and more" in text
    assert "Controls are missing" not in text


def test_a_difference_from_words_is_only_called_above_if_it_is_positive_and_tested(tmp_path):
    above = {**OWN, "metric": "auroc_above_text"}
    said = {
        "absent": ({"p": 0.2}, "but nothing above words alone is shown (+.10 [+.05, +.15])."),
        "below": (around(-0.1), "but less than words alone do (−.10 [−.15, −.05])."),
        "untested": ({"p": None}, "; the difference from words alone was not tested."),
    }
    for name, (cells, sentence) in said.items():
        text = text_of(write(tmp_path / name, changed(rows_of(), above, **cells)))
        assert sentence in text
        assert "and more than words alone do (+.10" not in text.split("Reception")[0]


def test_a_projection_that_chance_or_random_directions_match_tells_nothing(tmp_path):
    text = text_of(write(tmp_path / "p", changed(rows_of(), OWN, p=0.2)))
    assert (
        "layer 2, it is not shown that the projection tells which emotion a text has on "
        "keyword-free vignettes that it was not learned from (mean AUROC .80 [.75, .85])."
    ) in text
    wide = {**MEAN, "unit": "random"}
    text = text_of(write(tmp_path / "r", changed(rows_of(), wide, **around(0.6, 0.25))))
    assert "since random directions do as well." in text
    # A figure below chance on the other side is no telling either.
    rows = changed(changed(rows_of(), OWN, **around(0.2)), wide, **around(0.5))
    assert "It is not shown that the projection tells which" in text_of(write(tmp_path / "b", rows))


def test_without_its_controls_nothing_is_claimed_of_the_projection(tmp_path):
    rows = without(rows_of(), unit="random", metric="auroc")
    text = text_of(write(tmp_path / "a", rows))
    assert "Nothing is claimed of the projection: random directions not measured." in text
    assert "Controls are missing: random directions. Without them no effect here" in text
    rows = [{**r, "p": None, "q": None} for r in rows if r["condition"] != "null"]
    text = text_of(write(tmp_path / "b", rows))
    assert "chance’s labels and random directions not measured." in text
    assert "chance not measured; random directions not measured." in text
    assert "No labels were permuted, so there is no p against chance." in text
    assert "no direction of one emotion was tested." in text
    words = without(rows_of(), method="reference")
    assert "words alone not measured" in text_of(write(tmp_path / "c", words))


def test_emotions_that_survive_are_named(tmp_path):
    rows = changed(rows_of(), {**OWN, "emotion": "fear"}, q=0.3)
    above = {**OWN, "metric": "auroc_above_text"}
    rows = changed(rows, {**above, "emotion": "joy"}, **around(-0.2))
    rows = changed(rows, {**above, "emotion": "fear"}, q=0.3)
    text = text_of(write(tmp_path / "a", rows))
    assert (
        "2 of 3 directions survive q < .05: anger (.80 [.75, .85]) and joy (.80 [.75, .85])."
        "Above words alone at q < .05: anger (+.10 [+.05, +.15]); below words alone at q < .05: "
        "joy (−.20 [−.25, −.15])."
    ) in text
    rows = changed(rows, {"unit": "random", "emotion": "joy"}, **around(0.6, 0.3))
    text = text_of(write(tmp_path / "b", rows))
    assert "anger (.80 [.75, .85]); of joy it is not shown that random directions do less." in text
    none = [{**row, "q": 0.4} if row.get("q") else row for row in rows_of()]
    none = [{**row, "k": 20} if row.get("k") == 100 else row for row in none]
    text = text_of(write(tmp_path / "c", none))
    assert "0 of 3 directions survive q < .05. With 20 permutations, a single one could" in text
    assert "No difference from words alone is shown for any of 3." in text
    assert "20 permutations: the smallest possible p is .048. Of 3 emotions, a single" in text


def test_directions_that_are_their_scenarios_are_said_to_be(tmp_path):
    text = text_of(write(tmp_path / "a", changed(rows_of(), HALF, **around(0.06))))
    little = (
        "they agree little, so most of what such a direction is comes from the very scenarios that "
        "it was learned from."
    )
    assert f"give directions with a cosine of .06 [.01, .11]: {little}" in text
    assert "They agree little" in text
    assert "That it is more than with other emotions’ directions is not shown." in text
    text = text_of(write(tmp_path / "b", changed(rows_of(), HALF, **around(0.33))))
    assert "whether most of a direction is what both halves share depends on the halving." in text
    assert "Over halvings of these scenarios, agreement is above that with other emotions." in text
    bare = changed(rows_of(), HALF, low=None, high=None)
    assert ".60: without the spread over halvings" in text_of(write(tmp_path / "c", bare))
    text = text_of(write(tmp_path / "d", without(rows_of(), metric="cosine_halves")))
    assert "Whether two halves of the scenarios give the same directions was not measured." in text
    assert "Halves of the scenarios, keyword-free vignettes: not measured." in text
    assert "Between arms, keyword-free and keyword-rich: not measured." in text


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.9, "That a domain matters more than as many scenarios at random is not shown."),
        (0.7, "Leaving out a domain changes the directions more than as many scenarios at"),
        (0.99, "Leaving out a domain changes the directions less than as many scenarios at"),
    ],
)
def test_a_domain_is_held_against_as_many_scenarios_at_random(tmp_path, value, said):
    own = {"metric": "cosine_left_out", "condition": "direction"}
    assert said in text_of(write(tmp_path, changed(rows_of(), own, **around(value, 0.005))))


def test_single_pairs_stand_beside_others_and_random_directions(run, tmp_path):
    text = text_of(run)
    assert (
        "cosine with their own emotion’s direction .30 [.25, .35] (p .010); with other emotions’ "
        ".10 [.05, .15]; with random directions .00 [−.05, .05]; own minus others +.20 [+.15, "
        "+.25] (p .010)."
    ) in text
    lean = "Single pairs lean towards their own emotion’s direction more"
    assert lean in text
    absent = "That single pairs lean towards their own emotion’s direction is not shown."
    above = {"metric": "pair_cosine_above_others"}
    for place, cells in enumerate(({"p": 0.2}, around(-0.2))):
        assert absent in text_of(write(tmp_path / f"{place}", changed(rows_of(), above, **cells)))
    wide = {"metric": "pair_cosine", "unit": "random"}
    rows = changed(rows_of(), wide, **around(0.2, 0.2))
    assert absent in text_of(write(tmp_path / "wide", rows))
    rows = without(rows_of(), **wide)
    text = text_of(write(tmp_path / "none", rows))
    assert "Without both controls nothing is claimed." in text
    assert lean not in text


def test_the_probe_and_the_other_arm_stand_beside_their_controls(run, tmp_path):
    text = text_of(run)
    assert (
        "cosine with its weights .40 (anger) to .60 (joy) (random directions −.05 to .05); rank "
        "correlation of scores .50 (anger) to .70 (joy) (random directions −.05 to .05).The cosine "
        "lies above the band of random directions for 3 of 3 emotions;"
    ) in text
    assert (
        "Between arms, keyword-free and keyword-rich: cosine of one half’s directions with the "
        "other half’s .55 [.50, .60]; within keyword-free .60 [.55, .65], within keyword-rich .60 "
        "[.55, .65]; divided by what noise leaves of the two .92.The ratio has no interval, so "
        "nothing is claimed of it."
    ) in text
    rows = [
        row
        for row in changed(rows_of(), HALF, **around(0.05))
        if row["task"] != "probe" and row["metric"] != "cosine_disattenuated"
    ]
    text = text_of(write(tmp_path, rows))
    assert "divided by what noise leaves of the two not measured." in text
    assert "the less as it divides one small cosine by another." in text
    assert "The probe, keyword-free vignettes: not measured." in text


def test_the_first_place_of_the_manifest_is_headlined_and_others_are_in_the_table(tmp_path):
    places = (("mlp_out", "last", "lda"), ("resid_post", "mean", "grouped"))
    rows = [row for place in places[::-1] for row in rows_of(*place)]
    rows = changed(rows, {**OWN, "site": "mlp_out"}, **around(0.9))
    folder = write(tmp_path, rows, directions=list(entries(places, (RICH, FREE))))
    text = text_of(folder)
    assert "At mlp_out, layer 2, the projection alone tells which emotion a text has on" in text
    assert "keyword-free vignettes that it was not learned from (mean AUROC .90" in text
    for place in ("mlp_out, last, lda", "resid_post, mean, grouped"):
        assert f"Categorisation, keyword-rich → keyword-free vignettes, {place}, layer 2" in text
        assert f"Keyword-rich vignettes, {place}, layer 2" in text
    views = [v for s in directions.page(read_folder(folder)) for f in s.figures for v in f.views]
    assert {view.group for view in views} == {"mlp_out, last, lda", "resid_post, mean, grouped"}
    assert sum(row[0].startswith("resid_post") for row in headline_table(folder)[2]) == 1


def test_a_set_without_arms_split_or_neutral_texts_has_a_page(tmp_path):
    common = {"set": "tales", "site": "resid_post", "pooling": "mean", "method": "grouped"}
    rows = [*held_out("categorisation", "", "", split="all", **common)]
    rows += alike("", **common, split="all")
    chosen = {**common, "task": "categorisation", "split": "all", "condition": "direction"}
    rows.append({**chosen, "metric": "chosen_layer", "value": CHOSEN})
    text = text_of(write(tmp_path, rows, directions=list(entries(sources=("",)))))
    assert "tells which emotion a text has on tales that it was not learned from" in text
    assert "Reception, tales: not measured." in text
    assert "layer 2 lies at two thirds of the depth, and figures are cross-validated." in text
    assert "Between arms," not in text
    assert "from 4 scenarios and tried on 5, each by directions that were learned without" in text
    assert "test split" not in text


def test_a_run_without_a_figure_is_still_a_page(tmp_path):
    text = text_of(write(tmp_path, [], directions=[]))
    assert "Missing: this run holds no figure of any direction." in text
    assert "Missing: no figures over layers." in text
    assert "Missing: no direction of this run has tokens" in text
    assert headline_table(tmp_path)[2] == []


def test_a_figure_that_comes_twice_is_refused(tmp_path):
    rows = list(rows_of())
    with pytest.raises(UserError, match="gives one figure twice"):
        write_report(write_run(tmp_path, "directions", [*rows, {**rows[30], "k": 7}]))


def test_dev_chooses_the_layer_and_is_never_shown_as_a_result(run):
    (first, _) = study_of(read_folder(run)).learned
    assert (first.source, first.layer, first.by_dev) == (FREE, CHOSEN, True)
    assert first.at(AUROC).value == 0.8
    assert first.over(AUROC)[CHOSEN].estimate.value == 0.8
    assert first.over(AUROC, dev=True)[CHOSEN].estimate.value == 0.7
    # Stability is measured on dev, and is shown.
    assert first.at(HALVES) == Estimate(0.6, 0.55, 0.65)
    assert "Layer 2 was chosen on dev, by mean AUROC there" in text_of(run)


def test_figures_have_words_chance_random_directions_and_the_chosen_layer(run):
    sections = {section.key: section for section in directions.page(read_folder(run))}
    view = sections["layers"].figures[0].views[0]
    assert [series.name for series in view.data.series] == ["projection", "random directions"]
    assert view.data.reference.value == 0.7
    assert view.data.null.estimates[0].value == 0.51
    assert view.data.chosen == CHOSEN
    drawn = sections["layers"].figures[0].drawings()[0]["figure"]["layout"]
    assert [(shape["type"], shape["x0"]) for shape in drawn["shapes"]] == [("line", CHOSEN)]
    assert drawn["annotations"][0]["text"] == "layer 2"
    assert "Words alone .70 [.65, .75]. The marked layer is 2 (chosen on dev)." in view.summary
    heat = sections["emotions"].figures[0].views[0]
    assert heat.data.rows == list(EMOTIONS)
    trace = sections["emotions"].figures[0].drawings()[0]["figure"]["data"][0]
    assert (trace["zmin"], trace["zmax"]) == (0, 1)
    assert trace["text"][0][0] == ".80"
    halves = sections["stability"].figures[0].views[0].data
    assert [s.name for s in halves.series][1] == "one half keyword-free, the other keyword-rich"
    assert halves.null_name == "with other emotions’ directions"
    rich = next(v for v in sections["stability"].figures[0].views if "keyword-rich v" in v.name)
    assert rich.data.series[1].estimates[0].value == 0.55
    pairs = sections["pairs"].figures[0].views[0].data
    assert [s.name for s in pairs.series][1] == "other emotions’ directions"
    assert pairs.null_name == "random directions"


def test_a_missing_layer_stays_a_gap(tmp_path):
    nothing = {"value": None, "low": None, "high": None}
    rows = changed(rows_of(), {**OWN, "emotion": "fear", "layer": 1}, **nothing)
    rows = [r for r in rows if not ({**OWN, "emotion": "joy", "layer": 1}.items() <= r.items())]
    sections = {s.key: s for s in directions.page(read_folder(write(tmp_path, rows)))}
    cells = sections["emotions"].figures[0].views[0].data.cells
    assert cells[1][1] == cells[2][1] == Estimate(None)


def test_tables_have_every_figure_beside_its_controls(run):
    text = text_of(run)
    head = ["AUROC", "p", "q", "Words alone", "Above text", "p above text", "q above text"]
    assert "".join([*head, "Chance", "Random directions", "Texts", "Clusters"]) in text
    first = ["fear", ".80 [.75, .85]", ".010", ".010", ".70 [.65, .75]", "+.10 [+.05, +.15]"]
    rest = [".010", ".010", ".51 [.46, .56]", ".50 [.45, .55]", "24", "12"]
    assert "".join([*first, *rest]) in text
    assert "bag of words.65 [.60, .70]2412" in text
    cosines = [".60 [.55, .65]", ".02 [−.03, .07]", ".90 [.85, .95]", ".90 [.85, .95]"]
    pairs = [".30 [.25, .35]", ".010", ".10 [.05, .15]", ".00 [−.05, .05]", "+.20 [+.15, +.25]"]
    probe = [".010", ".50 [.45, .55]", ".00 [−.05, .05]", ".60 [.55, .65]", ".00 [−.05, .05]"]
    assert "".join(["fear", *cosines, *pairs, *probe, "4", "5"]) in text


def test_tokens_come_as_they_are_with_what_cannot_be_seen_shown(run):
    assert [visible(t) for t in (" a", "\t", "\r", "x\u200by", "\ufe0f", "\u202e", "", "é")] == [
        *("␣a", "⇥", "␍", "x⟨200B⟩y", "⟨FE0F⟩", "⟨202E⟩", "⟨empty⟩", "é")
    ]
    text = text_of(run)
    assert "anger␣glad⏎x⟨200B⟩yfear" in text
    assert "a random directionzu⟨0007⟩" in text


def test_strings_of_a_run_never_become_markup(tmp_path):
    rows = [{**row, "set": ATTACK} for row in rows_of()]
    given = list(entries(tokens={ATTACK: [ATTACK]}))
    folder = write(tmp_path, rows, directions=given, notes=[ATTACK])
    page = Page(write_report(folder).read_text(encoding="utf-8"))
    # In a token the separator in the string, which cannot be seen, is shown by its number.
    assert visible(ATTACK) in page.text
    assert page.text.count(ATTACK) > 10
    assert [s.get("id") for s in page.named("script")] == ["figures", "dark", None, None]
    identifiers = [a["id"] for _, a in page.tags if "id" in a]
    assert len(set(identifiers)) == len(identifiers)


def test_the_short_table_fits_a_terminal(run):
    _, columns, rows = headline_table(run)
    assert columns == ("figure", "control", "direction", "difference", "its p", "chance")
    assert rows[:2] == [("resid_post, mean, grouped",), (" learned from free, layer 2",)]
    assert rows[2] == (
        *("  categorisation free", "0.70", "0.80 [0.75, 0.85]", "+0.10 [+0.05, +0.15]"),
        *("0.010", "0.51"),
    )
    assert [row[0].strip() for row in rows[3:7]] == [
        *("categorisation rich", "reception free", "cosine of halves", "cosine of pairs")
    ]
    assert rows[5][1:] == ("0.02", "0.60 [0.55, 0.65]", "-", "-", "-")
    full = [columns, *(row for row in rows if len(row) > 1)]
    assert sum(max(map(len, column)) + 2 for column in zip(*full, strict=True)) <= 100


@pytest.mark.parametrize("width", [400, 1200])
def test_every_figure_of_directions_is_drawn_and_nothing_scrolls_sideways(
    opened,  # noqa: F811
    run,
    width,
):
    page = opened(run, viewport={"width": width, "height": 900})
    drawn = page.locator(".plot .main-svg:first-child").count()
    assert page.locator(".plot").count() == drawn == FIGURES
    page.locator("#tokens summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for menu in page.locator("select").all():
        for option in range(menu.locator("option").count()):
            menu.select_option(index=option)


@pytest.mark.slow
def test_the_rows_of_a_real_run_are_those_that_the_page_asks_for(tmp_path):
    from probekit import load_model
    from probekit.quality import Extraction, run_directions
    from probekit.stimuli import StimulusSet

    model = load_model("smollm2-135m", device="cpu")
    # Two emotions, one arm: a few dozen texts.
    every = StimulusSet.load("vignettes").select(arm=(FREE, "neutral"))
    told = [row.scenario for row in every.rows if row.emotion in ("terror", "ecstasy")]
    stimuli = every.select(scenario=told)
    sizes = {"permutations": 2, "peers": 2, "halves": 4, "bootstraps": 20, "folds": 3}
    options = Extraction(sites=("resid_post.4", "resid_post.5"), **sizes)
    text = text_of(run_directions(model, stimuli, tmp_path, options))
    found = text.split("What was found")[1].split("What this run cannot say")[0]
    assert "mean AUROC" in found
    assert "Halves of the scenarios, keyword-free vignettes: cosine" in found
    assert "not measured" not in found
    assert "Controls are missing" not in text
    assert "a random direction" in text
