"""The page of a geometry run, from invented results to a page in a real browser."""

import csv

import pytest
from test_report import ATTACK, Page, opened  # noqa: F401 - a fixture

from probekit.errors import UserError
from probekit.plots import HUES
from probekit.report import geometry, headline_table, write_report
from probekit.report.reading import PLACED, read_folder
from probekit.runs import COORDINATES, MANIFEST, RESULTS, write_json, write_results

N_LAYERS, FIXED = 6, 3
LABELS = ("grief", "rage", "ecstasy", "terror")
ARMS, POOLINGS, WORDS = ("keyword_free", "keyword_rich"), ("last", "mean"), ("bag", "static")
THEORIES = ("circumplex", "wheel")
FOUND, LOST = {"p": 0.001, "q": 0.002}, {"p": 0.6, "q": 0.8}


def manifest_of(**more):
    shape = {"architecture": "LlamaForCausalLM", "n_layers": N_LAYERS, "d_model": 48}
    return {
        "study": "geometry",
        "seed": 0,
        "model": {"name": "tiny", "dtype": "float32", **shape},
        "stimuli": [{"name": "vignettes", "sha256": "0" * 64, "rows": 160}],
        "sites": ["resid_post"],
        "poolings": list(POOLINGS),
        "notes": ["A note of the study."],
        **more,
    }


def around(value, half=0.1):
    return {"value": value, "low": value - half, "high": value + half}


def figure(cells, value, tested, chance=0.0, words=0.05, poolings=POOLINGS):
    """A figure at every layer, its null, and the words' own; 0.3 is added at the last layer."""
    common = {"set": "vignettes", "split": "all", "n": 64, "clusters": 32, **cells}
    for pooling in poolings:
        for layer in range(N_LAYERS):
            place = {**common, "site": "resid_post", "pooling": pooling, "layer": layer}
            more = 0.3 if layer == N_LAYERS - 1 else 0.0
            yield {**place, "condition": "states", "method": "x", **around(value + more), **tested}
            if chance is not None:
                null = {"condition": "null", "method": "permutation", "k": 99}
                yield {**place, **null, **around(chance)}
    for number, name in enumerate(WORDS if words is not None else ()):
        yield {**common, "condition": "baseline", "method": name, **around(words - 0.01 * number)}


def above(cells, value, tested):
    cells = {**cells, "metric": f"{cells['metric']}_above_text"}
    return figure(cells, value, tested, chance=None, words=None)


def of_arm(arm, value, tested):
    cells = {"task": "centroids", "target": arm}
    for place, one in enumerate(LABELS):
        for other in LABELS[place + 1 :]:
            pair = {**cells, "emotion": one, "unit": other, "metric": "cosine"}
            yield from figure(pair, -0.2 + 0.1 * place, tested, chance=-0.33)
        same = {**cells, "emotion": one, "unit": one, "metric": "cosine_ceiling"}
        yield from figure(same, 0.6, {}, chance=None)
    for factor in ("emotion", "domain"):
        cells = {"task": "silhouette", "target": arm, "source": factor, "metric": "silhouette"}
        yield from figure(cells, value, tested, chance=-0.05)
        yield from above(cells, value - 0.05, tested)
    for unit, size in (("centroids", 2.5 if value else 3.0), ("within", 20.0)):
        cells = {"task": "dimensions", "target": arm, "unit": unit}
        cells |= {"metric": "participation_ratio"}
        between = unit == "centroids"
        yield from figure(cells, size, tested if between else {}, 3.0 if between else None, 2.8)
    for theory in THEORIES:
        cells = {"task": "rsa", "target": arm, "source": theory}
        for metric in ("spearman", "spearman_partial", "spearman_beyond_words", "kendall"):
            words = None if "beyond" in metric else 0.1
            yield from figure({**cells, "metric": metric}, value, tested, words=words)
        yield from above({**cells, "metric": "spearman"}, value - 0.1, tested)
    for metric, bound in (("ceiling_lower", 0.5), ("ceiling_upper", 0.8)):
        cells = {"task": "rsa", "target": arm, "metric": metric}
        bare = {"low": None, "high": None}
        yield from ({**row, **bare} for row in figure(cells, bound, {}, chance=None, words=0.4))


def axes(value, tested, arms=ARMS):
    for source in arms:
        for target in arms:
            for unit, judge in (("valence", "read_valence"), ("arousal", "read_arousal")):
                cells = {"task": "axis", "source": source, "target": target, "unit": unit}
                for kind in ("", "_within_emotion", "_unseen_emotion"):
                    own = {**cells, "judge": judge, "metric": f"spearman{kind}", "split": "test"}
                    yield from figure(own, value, tested)
                    yield from above(own, value - 0.05, tested)


def geometry_rows(value=0.4, tested=FOUND, arms=ARMS, smallest=0.0001):
    for name in ("emotion", "arm", "domain", "length"):
        cells = {"task": "rsa_items", "source": name}
        for metric in ("spearman", "spearman_partial", "spearman_beyond_words"):
            words = None if "beyond" in metric else 0.05
            yield from figure({**cells, "metric": metric}, value, tested, words=words)
        yield from above({**cells, "metric": "spearman"}, value - 0.05, tested)
    cells = {"task": "silhouette", "source": "arm", "metric": "silhouette"}
    yield from figure(cells, 0.01, tested)
    for k in (1, 2, 3):
        cells = {"task": "components", "metric": "explained_variance", "k": k}
        yield from figure(cells, 0.3 / k, {}, chance=None)
    for arm in arms:
        yield from of_arm(arm, value, tested)
    yield from axes(value, tested, arms)
    for theory in THEORIES:
        row = {"task": "rsa", "source": theory, "condition": "control", "metric": "smallest_p"}
        yield {**row, "value": smallest, "k": 23}


def coordinates(labels=LABELS, arms=(*ARMS, "neutral")):
    for pooling in POOLINGS:
        for layer in range(N_LAYERS):
            for arm in arms:
                for number, label in enumerate(labels):
                    emotion = "neutral" if arm == "neutral" else label
                    told = ["resid_post", pooling, layer, f"{label}-{arm}", arm, emotion, "work"]
                    yield [*told, 0.1 * number + layer, -0.2 * number]


def write_run(folder, rows, places=True, **more):
    write_json(folder / MANIFEST, manifest_of(**more))
    write_results(folder / RESULTS, [{"study": "geometry", **row} for row in rows])
    if places:
        with (folder / COORDINATES).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([PLACED, *(coordinates() if places is True else places)])
    return folder


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run", geometry_rows())


def text_of(folder):
    return Page(write_report(folder).read_text(encoding="utf-8")).text


def figures_of(folder):
    sections = geometry.page(read_folder(folder))
    return {section.key: section.figures for section in sections}


def changed(rows, cells, **new):
    """The rows, those with these cells changed; there must be some."""
    rows = list(rows)
    hit = [all(row.get(name) == cell for name, cell in cells.items()) for row in rows]
    assert any(hit)
    return [{**row, **new} if found else row for row, found in zip(rows, hit, strict=True)]


# Findings


def test_a_run_that_shows_an_effect_says_so(run):
    text = text_of(run)
    assert "probekit · how emotions lie to one another" in text
    assert (
        "At resid_post, mean: texts of one emotion lie closer together than bag and static account "
        "for, at 6 of 6 layers; the emotions of keyword-free texts lie as the circumplex (at 6 "
        "layers) and Plutchik’s wheel (at 6 layers) orders them, given the words; the valence axis "
        "of keyword-free texts follows the readers’ valence within an emotion at 6 of 6 layers "
        "(above the words’ own at 6 of 6 layers) and on unseen emotions at 6 of 6 layers (above "
        "the words’ own at 6 of 6 layers); the arousal axis of"
    ) in text
    assert "two thirds of the depth, fixed beforehand" in text
    assert "not shown" not in text
    assert (
        "correlate at +.40 [+.30, +.50] (q .002; words +.05 [−.05, +.15]; chance .00 [−.10, +.10])"
        "; above the words’ own +.35 [+.25, +.45] (q .002)."
    ) in text
    assert "The means spread over fewer dimensions than relabeled ones at 6 of 6 layers" in text
    assert "Above 0 (the interval) at 6 of 6 layers: there, a text is nearer to its own" in text
    assert "noise ceiling .50 to .80" in text
    assert "A note of the study." in text


def test_a_run_that_shows_nothing_says_so(tmp_path):
    text = text_of(write_run(tmp_path, geometry_rows(0.0, LOST)))
    assert (
        "At resid_post, mean: texts of one emotion are not shown to lie closer together than bag "
        "and static account for; none of 2 theories is shown to order the emotions of keyword-free "
        "texts; no axis of valence or arousal of keyword-free texts is shown to follow ratings, "
        "within an emotion or on unseen ones."
    ) in text
    assert "That the means spread over fewer or more dimensions than relabeled ones is not" in text
    assert "None of 2 theories is shown to order the emotions of keyword-rich texts, at any" in text
    assert "lie as" not in text
    assert "follows" not in text


def test_what_is_significant_in_the_wrong_direction_is_no_effect(tmp_path):
    text = text_of(write_run(tmp_path, geometry_rows(-0.5, FOUND)))
    assert "texts of one emotion are not shown to lie closer together" in text
    assert "none of 2 theories is shown" in text
    assert "no axis of valence or arousal" in text
    assert "Above relabeled emotions at 0 of 6 layers" in text
    assert "Within an emotion, above 0 at 0 of 6 layers (q < .05) (the interval below 0 at 6)" in (
        text
    )


def test_closeness_that_one_figure_alone_shows_is_not_claimed(tmp_path):
    cells = {"task": "rsa_items", "source": "emotion"}
    for metric in ("spearman_beyond_words", "spearman_above_text"):
        rows = changed(geometry_rows(), {**cells, "metric": metric}, q=0.3)
        text = text_of(write_run(tmp_path / metric, rows))
        assert "texts of one emotion are not shown to lie closer together than bag and" in text
        assert "account for: one of the two figures alone shows it" in text


def test_both_figures_must_hold_at_the_same_layer(tmp_path):
    cells = {"task": "rsa_items", "source": "emotion"}
    rows = list(geometry_rows())
    for metric, layers in (
        ("spearman_beyond_words", (0, 1, 2)),
        ("spearman_above_text", (3, 4, 5)),
    ):
        for layer in layers:
            rows = changed(rows, {**cells, "metric": metric, "layer": layer}, q=0.3)
    text = text_of(write_run(tmp_path, rows))
    assert (
        "above 0 at 3 of 6 layers; above the words’ own figure at 3 of 6 layers; both at 0" in text
    )
    assert "account for: one of the two figures alone" in text


def test_a_theory_must_pass_the_level_divided_by_the_theories(tmp_path):
    rows = changed(geometry_rows(), {"task": "rsa", "source": "wheel"}, q=0.03)
    text = text_of(write_run(tmp_path / "one", rows))
    assert "lie as the circumplex (at 6 layers) orders them, given the words;" in text
    assert "q < .025, that is .05 over 2 theories" in text
    rows = changed(geometry_rows(), {"metric": "spearman_beyond_words", "task": "rsa"}, q=0.3)
    text = text_of(write_run(tmp_path / "words", rows))
    assert "orders them, which is not shown beyond the words" in text


def test_a_theory_that_no_figure_could_show_is_named(tmp_path):
    text = text_of(write_run(tmp_path / "a", geometry_rows(0.0, LOST, smallest=0.04)))
    assert (
        "That of the circumplex (smallest possible p .040) and Plutchik’s wheel (smallest possible "
        "p .040) could not have been shown."
    ) in text
    text = text_of(write_run(tmp_path / "b", geometry_rows(0.0, LOST, smallest=0.01)))
    assert "The smallest p there is could show the circumplex at no fewer than 3 layers" in text


def test_the_layer_is_fixed_by_depth_and_by_no_figure(run, tmp_path):
    title, columns, rows = headline_table(run)
    assert title == f"Geometry at resid_post, mean, layer {FIXED}"
    assert columns == ("figure", "states", "words", "chance", "q", "q < .05")
    assert rows[:2] == [
        ("texts of one emotion",),
        (" Emotion", "+0.40", "+0.05", "+0.00", "0.002", "6 of 6"),
    ]
    # In 80 columns every figure is seen: six of them, with a space on either side.
    wide = [max(len(row[place]) for row in rows if len(row) > place) for place in range(6)]
    assert sum(wide) + 12 <= 80
    # The last layer is larger, and would have been the one to pick.
    cells = {"task": "rsa_items", "source": "emotion", "metric": "spearman"}
    largest = max(
        (r for r in geometry_rows() if cells.items() <= r.items()), key=lambda r: r["value"]
    )
    assert largest["layer"] == N_LAYERS - 1
    alone = [row for row in geometry_rows() if row.get("layer") in (None, 1)]
    folder = write_run(tmp_path / "alone", alone)
    assert headline_table(folder)[0].endswith("layer 1")


def test_one_layer_alone_is_judged_by_its_p(tmp_path):
    rows = [{**row, "q": None} for row in geometry_rows() if row.get("layer") in (None, 1)]
    text = text_of(write_run(tmp_path, rows))
    assert "lie closer together than bag and static account for, at 1 of 1 layer;" in text
    assert "(p .001; words" in text


# What is missing


def test_missing_controls_are_said(tmp_path):
    kept = [r for r in geometry_rows() if r.get("condition") != "null"]
    text = text_of(write_run(tmp_path / "null", kept))
    assert "Controls are missing: relabeled emotions." in text
    assert "chance not measured" in text
    kept = [
        r
        for r in geometry_rows()
        if r["condition"] != "baseline" and "_above" not in r["metric"] + r["metric"][-6:]
    ]
    kept = [r for r in kept if not r["metric"].endswith(("_above_text", "_beyond_words"))]
    text = text_of(write_run(tmp_path / "words", kept))
    assert "Controls are missing: the words’ own geometry." in text
    assert "words not measured" in text
    assert "texts of one emotion are not shown to lie closer together" in text


def test_without_coordinates_the_picture_is_missing_and_says_why(tmp_path):
    folder = write_run(tmp_path / "a", geometry_rows(), places=False)
    assert "Missing: the run folder has no coordinates.csv." in text_of(folder)
    folder = write_run(tmp_path / "b", geometry_rows(), places=[["other", "mean", *[0] * 7]])
    assert "Missing: coordinates.csv has no texts of these layers." in text_of(folder)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("resid_post,mean,1,x,a,rage,work,0.5\n", r"coordinates.csv, line 2: "),
        ("resid_post,mean,1,x,a,rage,work,0.5,nan\n", "line 2: a coordinate is not finite"),
        ("resid_post,mean,one,x,a,rage,work,0.5,1\n", "line 2: invalid literal"),
        ("resid_post,mean\n", "line 2: the line is incomplete"),
    ],
)
def test_broken_coordinates_are_refused_by_line(run, line, said):
    (run / COORDINATES).write_text(",".join(PLACED) + "\n" + line, encoding="utf-8")
    with pytest.raises(UserError, match=said):
        write_report(run)
    (run / COORDINATES).write_text("site,pooling\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"coordinates.csv lacks the columns layer, id"):
        write_report(run)


def test_what_was_not_measured_is_missing_and_not_zero(tmp_path):
    rows = [row for row in geometry_rows() if row["task"] == "silhouette"]
    text = text_of(write_run(tmp_path / "few", rows, places=False))
    assert "Nothing can be said: this run has no figures of texts, theories or axes." in text
    for said in ("theories need four emotions", "no distances of texts", "axes need four"):
        assert f"Missing: {said}" in text
    nothing = {"value": None, "low": None, "high": None, "p": None, "q": None}
    cells = {"task": "rsa_items", "source": "emotion", "metric": "spearman", "layer": FIXED}
    gap = changed(geometry_rows(), {**cells, "condition": "states"}, **nothing)
    folder = write_run(tmp_path / "gap", gap)
    assert "of two emotions correlate at not measured" in text_of(folder)
    curve = figures_of(folder)["texts"][0].views[0].data.series[0]
    assert dict(curve.by_layer)[FIXED].value is None


def test_a_run_without_rows_is_still_a_page(tmp_path):
    text = text_of(write_run(tmp_path, [], places=False))
    assert "Nothing can be said" in text
    assert headline_table(tmp_path)[2] == []


def test_a_figure_given_twice_is_refused(tmp_path):
    rows = list(geometry_rows())
    with pytest.raises(UserError, match=r"gives one figure twice .*rsa_items"):
        write_report(write_run(tmp_path, [*rows, rows[0]]))


def test_ratings_of_one_axis_are_told_apart(tmp_path):
    more = [{**row, "judge": "intensity"} for row in axes(0.0, LOST) if row["unit"] == "arousal"]
    text = text_of(write_run(tmp_path, [*geometry_rows(), *more]))
    assert "Arousal axis and the intended intensity, keyword-free texts" in text
    assert "no other axis of valence or arousal" in text


# Figures and table


def test_maps_stand_beside_those_of_the_words_in_the_order_of_valence(run):
    maps = figures_of(run)["emotions"]
    assert [view.name for view in maps[0].views] == [
        *("resid_post, mean", "resid_post, last", "words alone: bag", "words alone: static"),
    ]
    data = maps[0].views[0].data
    assert list(data.rows) == ["grief", "rage", "terror", "ecstasy"]
    assert [round(row[place].value, 2) for place, row in enumerate(data.cells)] == [0.6] * 4
    assert data.cells[0][1].value == data.cells[1][0].value == pytest.approx(-0.2)
    assert "Relabeled texts: −.33 in the mean." in maps[0].views[0].summary


def test_curves_have_chance_words_and_a_ceiling(run):
    view = figures_of(run)["theories"][0].views[0]
    assert (view.group, view.name) == ("resid_post, mean", "The circumplex")
    assert view.data.reference.value == pytest.approx(0.1)
    assert view.data.reference_name == "words alone (bag)"
    assert view.data.null.estimates[0].value == 0
    low, high = view.data.ceiling.estimates[0].low, view.data.ceiling.estimates[0].high
    assert (low, high) == (0.5, 0.8)
    given = figures_of(run)["theories"][0].views[1]
    assert given.data.ceiling is None
    assert figures_of(run)["dimensions"][0].views[0].data.signed is False


def test_the_picture_has_emotions_by_colour_and_arms_by_marker(run):
    views = figures_of(run)["picture"][0].views
    assert [view.name for view in views[:2]] == ["Every emotion", "Grief and the rest"]
    data = views[0].data
    assert set(data.colours) == set(LABELS)
    assert set(data.markers) == {"keyword-free", "keyword-rich", "neutral"}
    assert {each.marker for each in data.points if not each.colour} == {"neutral"}
    assert all(x == pytest.approx(FIXED, abs=0.31) for each in data.points for x in each.x)
    assert data.x_axis == "component 1, .30 of the variance"


def test_more_emotions_than_colours_are_shown_one_at_a_time(tmp_path):
    names = [f"e{number}" for number in range(HUES + 1)]
    cells = {"task": "centroids", "metric": "cosine", "target": "a"}
    rows = [
        row
        for place, name in enumerate(names[1:])
        for row in figure({**cells, "emotion": names[place], "unit": name}, 0.1, FOUND)
    ]
    folder = write_run(tmp_path, rows, places=coordinates(names, ("a",)))
    views = figures_of(folder)["picture"][0].views
    assert views[0].name == "E0 and the rest"
    assert views[0].data.colours == ["e0"]


def test_the_table_holds_every_figure_beside_its_controls(run):
    text = text_of(run)
    columns = ["Layer", "States", "p", "q", "Chance", "Bag", "Static"]
    assert "".join([*columns, "Above the words’ own", "q above", "Ceiling", "Texts"]) in text
    line = ["The circumplex", str(FIXED), "+.40 [+.30, +.50]", ".001", ".002", ".00 [−.10, +.10]"]
    line += ["+.10 [.00, +.20]", "+.09 [−.01, +.19]", "+.30 [+.20, +.40]", ".002"]
    assert "".join([*line, ".50 to .80", "64", "32"]) in text
    assert "Grief and rage" in text
    assert "Valence axis and the readers’ valence, on unseen emotions, keyword-free → " in text


# In a browser


def test_every_figure_has_its_words_and_no_two_elements_share_an_id(run):
    page = Page(write_report(run).read_text(encoding="utf-8"))
    identifiers = [a["id"] for _, a in page.tags if "id" in a]
    assert len(set(identifiers)) == len(identifiers)
    plots = [a for a in page.named("div") if a.get("class") == "plot"]
    assert len(plots) == 10
    assert {p["aria-describedby"] for p in plots} <= set(identifiers)


@pytest.mark.parametrize("width", [400, 1200])
def test_every_figure_is_drawn_and_nothing_scrolls_sideways(opened, run, width):  # noqa: F811
    page = opened(run, viewport={"width": width, "height": 900})
    drawn = page.locator(".plot .main-svg:first-child").count()
    assert page.locator(".plot").count() == drawn == 10
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#picture-0 .points path").count() == 3 * len(LABELS)
    for menu in page.locator("select").all():
        count = menu.locator("option").count()
        for option in {0, 1, count // 2, count - 1}:
            menu.select_option(index=min(option, count - 1))


def test_an_attack_in_the_data_does_nothing(opened, tmp_path):  # noqa: F811
    rows = [
        {name: f"{ATTACK}{cell}" if name in hostile else cell for name, cell in row.items()}
        for row in geometry_rows(arms=ARMS[:1])
        for hostile in [("emotion", "unit", "target", "judge") if row["task"] != "rsa" else ()]
    ]
    places = [
        [ATTACK if place in (3, 6) else cell for place, cell in enumerate(p)] for p in coordinates()
    ]
    page = opened(write_run(tmp_path / "run", rows, places=places, notes=[ATTACK]))
    assert "</script><script>alert(1)</script>" in page.locator("#limits").inner_text()
    assert page.locator("script").count() == 4
