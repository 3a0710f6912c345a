"""The page of erasure, from invented results to a page in a real browser."""

import pytest
from test_report import ATTACK, Page, opened  # noqa: F401 - a fixture
from test_report_causal import changed, manifest_of

from probekit.errors import UserError
from probekit.report import erase, headline_table, write_report
from probekit.report.reading import read_folder
from probekit.runs import MANIFEST, RESULTS, write_json, write_results

LAYERS, HEADLINE = (1, 3, 5), 5
CONCEPT, OTHER = "reception/keyword_free", "categorisation/keyword_free"
AFTER = {"none": 0.85, "leace": 0.65, "projection": 0.66, "random": 0.84}
CONDITION = {"none": "baseline", "leace": "erasure", "projection": "erasure", "random": "control"}
NATS = {"none": 3.2, "erased": 3.3, "random": 3.22, "placebo": 3.26}


def around(value, half=0.05):
    return {"value": value, "low": value - half, "high": value + half, "n": 96, "clusters": 48}


def read_rows(source=CONCEPT, target=CONCEPT, after=AFTER, p=0.01, q=0.02, difference=0.02):
    """A reading at every layer by every method; `q` by method, or one for all."""
    place = {"set": "vignettes", "split": "test", "task": "erasure", "site": "resid_post"}
    place |= {"pooling": "mean", "source": source, "target": target}
    for layer in LAYERS:
        for method, value in after.items():
            row = {**place, "layer": layer, "method": method, "k": int(method != "none")}
            own = q.get(method, 0.02) if isinstance(q, dict) else q
            figure = {**row, "condition": CONDITION[method]}
            yield {**figure, "metric": "auroc", "p": p, "q": own, **around(value)}
            yield {**row, "condition": "null", "metric": "auroc", **around(0.5)}
            same = 0.5 if method in ("leace", "projection") else value
            yield {**figure, "metric": "auroc_same_rows", **around(same, 0.0)}
            yield {**row, "condition": "null", "metric": "auroc_same_rows", **around(0.5)}
            for metric, base in (("auroc_change", "none"), ("auroc_above_random", "random")):
                if method not in ("none", base):
                    less = around(value - after[base], 0.03)
                    yield {**figure, "metric": metric, "p": difference, "q": difference, **less}
            if source == target:
                yield {**figure, "metric": "moved", **around(0.1, 0.01)}


def loss_rows(source=CONCEPT, layers=LAYERS, nats=NATS, placebo=0.01):
    place = {"set": "vignettes", "split": "test", "task": "language_loss", "site": "resid_post"}
    place |= {"pooling": "mean", "source": source}
    for layer in layers:
        for method, value in nats.items():
            row = {**place, "layer": layer, "method": method, "condition": "control"}
            yield {**row, "metric": "nats_per_token", **around(value, 0.1)}
            if method != "none":
                change = around(value - nats["none"], 0.01)
                yield {**row, "metric": "nats_per_token_change", "p": 0.01, "q": 0.01, **change}
        for control in ("random", "placebo"):
            row = {**place, "layer": layer, "method": "erased", "condition": "erasure"}
            q = placebo if control == "placebo" else 0.01
            more = around(nats["erased"] - nats[control], 0.01)
            yield {**row, "metric": f"nats_per_token_above_{control}", "p": q, "q": q, **more}


def kept_rows(leace=0.70, random=0.76, **more):
    after = {"none": 0.77, "leace": leace, "projection": leace, "random": random}
    return read_rows(CONCEPT, OTHER, after, **more)


def every():
    return [*read_rows(), *kept_rows(), *loss_rows()]


def write_run(folder, rows, **more):
    given = {
        "sites": ["resid_post"],
        "poolings": ["mean"],
        "permutations": 99,
        "headline_layer": {"resid_post": HEADLINE},
        "concepts": {CONCEPT: {"fitted_rows": 96}, OTHER: {"fitted_rows": 48}},
    }
    write_json(folder / MANIFEST, manifest_of("erase", **{**given, **more}))
    write_results(folder / RESULTS, rows)
    return folder


def text_of(folder):
    return Page(write_report(folder).read_text(encoding="utf-8")).text


@pytest.fixture
def erased(tmp_path):
    return write_run(tmp_path / "run", every())


def test_the_page_says_what_is_left_on_new_texts_beside_its_controls(erased):
    text = text_of(erased)
    assert (
        "At resid_post, layer 5 (pooling mean), fixed beforehand: after LEACE, a newly trained "
        "probe still reads reception (keyword-free) from new texts."
    ) in text
    assert (
        "Reception, keyword-free: a newly trained probe reads new texts at AUROC .85 [.80, .90] "
        "before (q .020), after LEACE .65 [.60, .70] (q .020), after projection .66 [.61, .71] "
        "(q .020), after random directions .84 [.79, .89] (q .020); chance, the eraser refitted to "
        "permuted labels, .50 [.45, .55]. LEACE changes it by −.20 [−.23, −.17] (q .020)"
    ) in text
    assert (
        "LEACE takes some of it, more than random directions do, and what is left is above chance: "
        "on new texts the concept is not erased."
    ) in text
    assert "A note of the study." in text


def test_chance_on_the_same_texts_is_said_to_be_so_by_construction(erased):
    text = text_of(erased)
    assert ".85 [.85, .85] before, .50 [.50, .50] after LEACE. Chance is reached there by" in text
    assert "that is no finding" in text


@pytest.mark.parametrize(
    ("rows", "lead", "said"),
    [
        (
            read_rows(after={**AFTER, "leace": 0.52}, p=0.2, q={"leace": 0.4}),
            "is no longer shown to read reception (keyword-free) from new texts, which is no proof",
            "is not shown to be above chance (the interval reaches .57). That is no proof that",
        ),
        (
            read_rows(after={**AFTER, "leace": 0.83}, difference=0.4),
            "still reads reception (keyword-free) from new texts",
            "No loss beyond that of random directions is shown, and it is still above chance",
        ),
        (
            # Less than before, but no less than after random directions.
            changed(read_rows(), {"metric": "auroc_above_random"}, q=0.3),
            "still reads reception (keyword-free) from new texts",
            "No loss beyond that of random directions is shown, and it is still above chance",
        ),
        (
            # More is left than before: no loss, however sure.
            read_rows(after={**AFTER, "leace": 0.95}),
            "still reads reception (keyword-free) from new texts",
            "No loss beyond that of random directions is shown, and it is still above chance",
        ),
        (
            read_rows(p=0.2, q={"leace": 0.4}, difference=0.4),
            "is no longer shown to read",
            "nor is a loss beyond that of random directions: nothing is claimed.",
        ),
        (
            read_rows(p=0.2, q=0.4),
            "reception (keyword-free) was not shown to be read before either, so nothing is",
            "Not shown to be read before erasing, so nothing is said of erasing it.",
        ),
        (
            read_rows(p=None, q=None),
            "nothing is claimed of reception (keyword-free): no figure beside chance",
            "Nothing is claimed without chance beside both figures.",
        ),
        (
            # The smallest p of 99 permutations, and yet no q below .05.
            read_rows(after={**AFTER, "leace": 0.75}, p=0.01, q={"leace": 0.06}),
            "of reception (keyword-free), nothing can be said with so few permutations",
            "Nothing is claimed: p is the smallest that the permutations allow",
        ),
        (
            # One layer: there is no q, and p decides.
            read_rows(p=0.4, q=None),
            "was not shown to be read before",
            "Not shown to be read before erasing",
        ),
    ],
    ids=[
        *(
            "gone",
            "no loss",
            "not beyond random",
            "more",
            "neither",
            "unread",
            "untested",
            "few",
            "p",
        ),
    ],
)
def test_no_more_is_said_than_the_figures_allow(tmp_path, rows, lead, said):
    text = text_of(write_run(tmp_path, list(rows)))
    assert lead in text
    assert said in text


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (kept_rows(), "It falls, and more than with random directions."),
        (kept_rows(leace=0.80), "It rises, and more than with random directions."),
        (kept_rows(difference=0.2), "No change is shown."),
        (kept_rows(difference=None), "Not tested, so nothing is claimed."),
        (kept_rows(p=0.3, q=0.5), "It was not shown to be read before, so nothing is said of it."),
        (kept_rows(random=0.65), "It falls, but no difference from random directions is shown."),
    ],
    ids=["falls", "rises", "none", "untested", "unread", "random falls more"],
)
def test_what_else_changes_is_held_against_random_directions(tmp_path, rows, said):
    text = text_of(write_run(tmp_path, [*read_rows(), *rows]))
    assert "Also read, categorisation, keyword-free: .77 [.72, .82] before, " in text
    assert said in text


def test_the_cost_stands_beside_random_directions_and_the_placebo(erased, tmp_path):
    assert (
        "Cost at layer 5, on 96 neutral texts, whose loss is 3.20 [3.10, 3.30] nats per token: "
        "LEACE +.100 [+.090, +.110] (q .010); random directions +.020 [+.010, +.030] (q .010); "
        "placebo +.060 [+.050, +.070] (q .010). What LEACE adds is more than random directions "
        "(+.080 [+.070, +.090]) and more than the placebo (+.040 [+.030, +.050])."
    ) in text_of(erased)
    rows = [*read_rows(), *loss_rows(placebo=0.3, layers=(1, 3))]
    text = text_of(write_run(tmp_path / "thin", rows))
    assert "Cost at layer 3, " in text
    assert "and not shown to differ from the placebo (" in text
    text = text_of(write_run(tmp_path / "none", list(read_rows())))
    assert "Cost: the model’s own loss was not measured here." in text
    assert "Missing: the loss was not measured." in text
    assert "Missing: no other label of this set could be read." in text


def test_the_limits_are_said(erased):
    text = text_of(erased)
    assert "The findings are those of layer 5" in text
    assert "No figure chose it." in text
    assert "fitted on 48 to 96 texts" in text
    assert "in states of 48 numbers" in text
    assert "Chance is of 99 permutations, so that p against it cannot fall below .010." in text
    assert "Intervals rest on 48 clusters" in text


def test_the_headline_follows_the_manifest_and_no_figure(tmp_path):
    cells = {"layer": 3, "method": "leace", "metric": "auroc", "condition": "erasure"}
    rows = changed(every(), {**cells, "target": CONCEPT}, **around(0.64))
    folder = write_run(tmp_path, rows, headline_layer={"resid_post": 3})
    assert "layer 3 (pooling mean), fixed beforehand" in text_of(folder)
    assert "after LEACE .64" in text_of(folder)
    bare = write_run(tmp_path / "bare", every(), headline_layer={})
    assert "No layer was fixed beforehand, so no figure is headlined." in text_of(bare)


def test_the_table_and_the_short_table(erased):
    text = text_of(erased)
    head = ["Figure", "p", "q", "Chance", "Change", "q of change", "Beyond random", "its q"]
    assert "".join(head) in text
    leace = [".65 [.60, .70]", ".010", ".020", ".50 [.45, .55]", "−.20 [−.23, −.17]", ".020"]
    leace += ["−.19 [−.22, −.16]", ".020", "–", ".50 [.50, .50]", ".10 [.09, .11]", "1", "96", "48"]
    assert "".join(["reception, keyword-free: LEACE", *leace]) in text
    assert "nats per token, layer 5: placebo3.26 [3.16, 3.36]" in text
    _, columns, rows = headline_table(erased)
    assert rows[0] == ("resid_post.5 mean",)
    assert len(columns) == len(rows[1]) == len(rows[2])
    assert rows[1] == (
        *("reception free", "0.85", "0.65", "-0.20 [-0.23, -0.17]", "0.84", "0.50"),
        "+0.100",
    )
    assert rows[2][0] == "  categorisation"
    assert rows[2][-1] == "-"


def test_curves_have_chance_and_missing_layers_stay_gaps(tmp_path):
    nothing = {"value": None, "low": None, "high": None, "p": None, "q": None}
    at = {"layer": 3, "method": "leace", "metric": "auroc", "condition": "erasure"}
    folder = write_run(tmp_path, changed(every(), {**at, "target": CONCEPT}, **nothing))
    sections = {section.key: section for section in erase.page(read_folder(folder))}
    (view,) = sections["layers"].figures[0].views
    assert [series.name for series in view.data.series] == [
        *("before", "LEACE", "projection", "random directions"),
    ]
    assert dict(view.data.series[1].by_layer)[3].value is None
    assert [e.value for _, e in view.data.null.by_layer] == [0.5] * 3
    (kept,) = sections["kept"].figures[0].views
    assert kept.name == "Categorisation, keyword-free"
    assert kept.data.signed
    assert len(sections["cost"].figures[0].views[0].data.series) == 3


def test_a_figure_given_twice_is_refused_and_a_run_of_nothing_is_a_page(tmp_path):
    with pytest.raises(UserError, match="twice"):
        write_report(write_run(tmp_path / "twice", [*read_rows(), *read_rows()]))
    folder = write_run(tmp_path / "none", [])
    assert "Missing: nothing was erased in this run." in text_of(folder)
    assert headline_table(folder)[2] == []


@pytest.mark.parametrize("width", [400, 1200])
def test_the_page_opens_offline_and_every_figure_is_drawn(opened, tmp_path, width):  # noqa: F811
    rows = [*every(), *({**row, "target": ATTACK} for row in kept_rows())]
    page = opened(write_run(tmp_path, rows), viewport={"width": width, "height": 900})
    assert page.locator(".plot").count() == 4
    assert page.locator(".plot .main-svg:first-child").count() == 4
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for menu in page.locator("select").all():
        for option in range(menu.locator("option").count()):
            menu.select_option(index=option)
