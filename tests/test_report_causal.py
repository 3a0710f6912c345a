"""The pages of patching and ablation, from invented results to a page in a real browser."""

import random

import pytest
from test_report import ATTACK, Page, opened  # noqa: F401 - a fixture

from probekit.errors import UserError
from probekit.patching.last_token import COMPARED
from probekit.plots import Estimate
from probekit.report import ablate, headline_table, patch, write_report
from probekit.report.causal import effects_of
from probekit.report.patch_figures import readable
from probekit.report.reading import read_folder
from probekit.runs import MANIFEST, RESULTS, write_json, write_results

N_LAYERS, HEADS = 8, 3
TOKENS = ["She", " got", " the", " the", " news", "</script><b>", "\n"]


def manifest_of(study, **more):
    shape = {"architecture": "LlamaForCausalLM", "n_layers": N_LAYERS, "d_model": 48}
    return {
        "study": study,
        "seed": 0,
        "model": {"name": "tiny", "dtype": "float32", **shape},
        "stimuli": [{"name": "vignettes", "sha256": "0" * 64, "rows": 160}],
        "notes": ["A note of the study."],
        **more,
    }


def write_run(folder, study, rows, **more):
    write_json(folder / MANIFEST, manifest_of(study, **more))
    write_results(folder / RESULTS, rows)
    return folder


def around(value, half=0.1):
    return {"value": value, "low": value - half, "high": value + half, "n": 80, "clusters": 40}


def text_of(folder):
    return Page(write_report(folder).read_text(encoding="utf-8")).text


# Patching: effects of 0.1 a layer, 5 at layers 6 and 7; the placebo 0.02, other controls 0.01

CONTROLS = ("neutral", "random", "shuffled")
READOUTS = ("source_shift", "source_shift_probe", "reception_shift", "flip")


def shift(source, layer):
    if source in (*CONTROLS, "same"):
        return 0.02 if source == "same" else 0.01
    return 5.0 if layer >= 6 else 0.1 * (layer + 1)


def patch_rows(
    sources=("same", "other", *CONTROLS), q=lambda _: 0.01, heads=True, compared=COMPARED
):
    common = {"set": "vignettes", "split": "test", "target": "keyword_free"}
    base = {**common, "condition": "baseline"}
    yield {**base, "task": "category", "metric": "top1", "value": 0.31}
    yield {**base, "task": "category", "metric": "auroc", "method": "probe", "value": 0.78}
    yield {**base, "task": "category", "metric": "flip", "source": "none", "value": 0.07}
    for site in ("attn_out", "resid_post"):
        for layer in range(N_LAYERS):
            place = {**common, "site": site, "layer": layer, "position": "last"}
            yield from _sources(place, sources, layer, q, compared)
    for layer in range(N_LAYERS if heads else 0):
        for head in range(HEADS):
            place = {**common, "site": "z", "layer": layer, "position": "last", "unit": head}
            for source, condition in (("other", "patch"), ("random", "control")):
                row = {**place, "source": source, "condition": condition, "task": "category"}
                yield {**row, "metric": "source_shift", **around(shift(source, layer) / 10)}


def _sources(place, sources, layer, q, compared):
    """Effects of all sources, and their differences from the controls that a run compares with.

    Those from a random vector are always at q = .01: they decide nothing.
    """
    for source in sources:
        row = {**place, "source": source, "condition": "control" if source in CONTROLS else "patch"}
        for metric in READOUTS:
            own = {**row, "task": "reception" if "reception" in metric else "category"}
            yield {**own, "metric": metric, **around(shift(source, layer))}
            for control, those in compared.items() if metric != "flip" else ():
                if source in those and control in sources:
                    tested = {"p": 0.001, "q": 0.01 if control == "random" else q(layer)}
                    more = around(shift(source, layer) - shift(control, layer))
                    yield {**own, "metric": metric, "method": f"above_{control}", **tested, **more}


def neutral_rows(q=lambda _: 0.01, compared=COMPARED):
    place = {"set": "vignettes", "split": "test", "target": "neutral", "position": "last"}
    for layer in range(N_LAYERS):
        at = {**place, "site": "resid_post", "layer": layer}
        yield from _sources(at, ("partner", *CONTROLS), layer, q, compared)


def pair_rows():
    rng = random.Random(0)
    place = {"set": "minimal_pairs", "split": "all", "site": "resid_pre", "target": "neutral"}
    place |= {"task": "reception", "metric": "reception_shift"}
    for layer in range(N_LAYERS):
        for position in ("changed", "after", "readout"):
            for source, condition in (("partner", "patch"), ("random", "control")):
                row = {**place, "layer": layer, "position": position, "source": source}
                yield {**row, "condition": condition, **around(rng.uniform(0, 1))}
        for number, token in enumerate(TOKENS):
            row = {**place, "layer": layer, "position": number, "target": "pair-1"}
            value = 2.0 if (layer, number) == (2, 4) else rng.uniform(-1, 1)
            yield {**row, "unit": token, "source": "partner", "condition": "patch", "value": value}


@pytest.fixture
def patched(tmp_path):
    return write_run(tmp_path / "run", "patch", [*patch_rows(), *neutral_rows(), *pair_rows()])


def test_the_pages_say_which_study_they_are_of(patched, tmp_path):
    ablated = write_run(tmp_path / "ablated", "ablate", ablate_rows())
    pages = [Page(write_report(f).read_text(encoding="utf-8")).text for f in (patched, ablated)]
    assert "probekit · what moves when a state of another text is put in" in pages[0]
    assert "probekit · what is lost when a unit is taken out" in pages[1]
    assert all("A note of the study." in page and '"study": ' in page for page in pages)


def test_category_and_reception_are_said_separately_above_their_placebos(patched):
    text = text_of(patched)
    # The interval of layer 0 touches 0.
    counted = (
        "at 7 of 8 layers (q < .05), 5 of them before the trivial bound; at 1 more it is above the "
        "placebo, but not above 0."
    )
    asked = (
        "Category at resid_post: in the model’s own words, a text of another emotion raises the "
        "log-odds of its emotion, and more than a text of the same emotion does, ",
        "By a probe’s reading, it does ",
        "Reception at resid_post: by a probe’s reading, the emotional text of the same scenario "
        "raises the log-odds of “emotional”, and more than another neutral text does, ",
    )
    assert all(question + counted in text for question in asked)
    # Layers 6 and 7 are stronger, and count for nothing.
    strongest = (
        "Strongest before the trivial bound: layer 5, +.60 [+.50, +.70]; above {} [{}] (q .010); "
        "{}neutral +.01 [−.09, +.11]; random +.01 [−.09, +.11]; shuffled +.01 [−.09, +.11]; above "
        "random +.59 [+.49, +.69]."
    )
    same = ("a text of the same emotion +.58", "+.48, +.68", "same +.02 [−.08, +.12]; ")
    assert strongest.format(*same) in text
    assert strongest.format("another neutral text +.59", "+.49, +.69", "") in text
    assert (
        "In the model’s own words, category transfers at 5 layers before the trivial bound; by a "
        "probe’s reading, category transfers at 5 layers before the trivial bound."
    ) in text
    assert "By a probe’s reading, reception transfers at 5 layers before" in text
    assert "Layers 6 to 7 are the trivial bound" in text
    assert "The placebo is missing" not in text
    assert "Controls are missing" not in text


def test_a_random_vector_decides_nothing(tmp_path):
    far = [*patch_rows(q=lambda _: 0.4), *neutral_rows(q=lambda _: 0.4)]
    text = text_of(write_run(tmp_path / "far", "patch", far))
    assert "and more than a text of the same emotion does, at 0 of 8 layers (q < .05)." in text
    assert (
        "In the model’s own words, no transfer of category is shown; by a probe’s reading, no "
        "transfer of category is shown."
    ) in text
    assert "By a probe’s reading, no transfer of reception is shown." in text
    assert "transfers at" not in text
    near = changed(patch_rows(), {"method": "above_random"}, q=0.9, **around(-5.0))
    text = text_of(write_run(tmp_path / "near", "patch", near))
    assert "In the model’s own words, category transfers at 5 layers before" in text
    assert "above random −5.00 [−5.10, −4.90]." in text


def test_the_models_words_and_a_probes_reading_can_differ(tmp_path):
    words = {"metric": "source_shift", "method": "above_same"}
    text = text_of(write_run(tmp_path / "a", "patch", changed(patch_rows(), words, q=0.4)))
    assert (
        "than a text of the same emotion does, at 0 of 8 layers (q < .05). By a probe’s reading, "
        "it does at 7 of 8 layers (q < .05), 5 of them before the trivial bound"
    ) in text
    assert (
        "In the model’s own words, no transfer of category is shown; by a probe’s reading, "
        "category transfers at 5 layers before the trivial bound."
    ) in text
    alone = [row for row in patch_rows() if row["metric"] != "source_shift_probe"]
    text = text_of(write_run(tmp_path / "b", "patch", alone))
    assert "In the model’s own words, category transfers at 5 layers before the trivial bound." in (
        text
    )


def test_what_is_strong_within_the_trivial_bound_alone_is_no_transfer(tmp_path):
    late = lambda layer: 0.001 if layer >= 6 else 0.4  # noqa: E731
    rows = [*patch_rows(q=late), *neutral_rows(q=lambda _: 0.4)]
    text = text_of(write_run(tmp_path, "patch", rows))
    assert "no transfer of category is shown (it moves only within the trivial bound)" in text
    assert "at 2 of 8 layers (q < .05), none of them before the trivial bound" in text
    assert "no transfer of reception is shown." in text
    assert "transfers at" not in text


def test_a_layer_that_falls_short_of_the_placebo_is_no_transfer(tmp_path):
    rows = changed(patch_rows(), {"method": "above_same"}, **around(-0.5))
    text = text_of(write_run(tmp_path, "patch", rows))
    assert "In the model’s own words, no transfer of category is shown;" in text


def test_a_placebo_that_lowers_the_figure_makes_no_transfer_of_nothing(tmp_path):
    rows = [
        {**row, **around(0.0)} if row.get("source") == "other" and not row.get("method") else row
        for row in patch_rows()
    ]
    text = text_of(write_run(tmp_path, "patch", rows))
    assert "at 0 of 8 layers (q < .05); at 8 more it is above the placebo, but not above 0" in text
    assert "no transfer of category is shown" in text
    assert "transfers at" not in text


def taken_away(sign, control):
    """A neutral text put into emotional ones; from layer 2 on it moves reception to this side."""
    place = {"set": "vignettes", "split": "test", "target": "keyword_free", "position": "last"}
    place |= {"site": "resid_post", "task": "reception", "metric": "reception_shift"}
    for layer in range(N_LAYERS):
        moved, q = (0.5 * sign, 0.01) if layer >= 2 else (0.0, 0.9)
        own = {**place, "layer": layer, "source": "neutral", "condition": "control"}
        yield {**own, **around(moved)}
        yield {**own, "method": f"above_{control}", "p": q, "q": q, **around(moved)}
        condition = "control" if control in CONTROLS else "patch"
        yield {**own, "source": control, "condition": condition, **around(0.0)}


@pytest.mark.parametrize(
    ("sign", "said"),
    [(-1, "reception is taken away at 4 layers before"), (1, "no loss of reception is shown")],
)
def test_a_neutral_text_is_to_take_reception_away(tmp_path, sign, said):
    text = text_of(write_run(tmp_path / "run", "patch", taken_away(sign, "same")))
    assert (
        "by a probe’s reading, a neutral text lowers the log-odds of “emotional”, and more than a "
        "text of the same emotion does, at "
    ) in text
    assert f"By a probe’s reading, {said}" in text


def test_what_a_random_vector_alone_was_compared_with_is_counted_but_not_claimed(tmp_path):
    alone = text_of(write_run(tmp_path / "a", "patch", taken_away(-1, "random")))
    counted = (
        "Reception at resid_post{}: by a probe’s reading, a neutral text was compared with a "
        "random vector alone, so nothing is claimed; it lowers the log-odds of “emotional”, and "
        "more than that vector does, at 6 of 8 layers (q < .05), 4 of them before the trivial bound"
    )
    assert counted.format("") in alone
    assert counted.format(", keyword-free vignettes") in alone
    assert "above random −.50 [−.60, −.40].Nothing is claimed.Base rates" in alone
    assert "The placebo is missing throughout, so nothing is claimed." in alone
    assert "taken away" not in alone
    # Beside what has a placebo, the sentence on top speaks of that.
    rows = [row for row in neutral_rows() if row["metric"] == "reception_shift"]
    both = text_of(write_run(tmp_path / "b", "patch", [*taken_away(-1, "random"), *rows]))
    assert "Reception at resid_post: by a probe’s reading, the emotional text of" in both
    assert counted.format(", keyword-free vignettes") in both
    assert (
        "The placebo is missing for reception by a probe’s reading (a neutral text into "
        "keyword-free vignettes): there, nothing is claimed."
    ) in both


def test_an_older_run_without_placebos_is_still_a_page(tmp_path):
    old = {"random": COMPARED["random"]}
    rows = [*patch_rows(compared=old), *neutral_rows(compared=old)]
    folder = write_run(tmp_path, "patch", rows)
    text = text_of(folder)
    alone = "a text of another emotion was compared with a random vector alone, so nothing is"
    assert f"Category at resid_post: in the model’s own words, {alone} claimed; it raises" in text
    assert f"By a probe’s reading, {alone} claimed; it raises" in text
    assert "The placebo is missing throughout, so nothing is claimed." in text
    assert "transfers at" not in text
    assert (" keyword-free vignettes", "", "", "not measured", "") in headline_table(folder)[2]


def test_a_placebo_without_a_q_or_a_figure_is_no_ground_for_a_claim(tmp_path):
    words = {"metric": "source_shift", "method": "above_same"}
    text = text_of(write_run(tmp_path / "q", "patch", changed(patch_rows(), words, q=None)))
    assert "was compared with a text of the same emotion, but without a q, so nothing is" in text
    assert "In the model’s own words, nothing is claimed; by a probe’s reading, category" in text
    nothing = {"value": None, "low": None, "high": None}
    rows = changed(patch_rows(), {**words, "layer": 5}, q=None, p=None, **nothing)
    text = text_of(write_run(tmp_path / "figure", "patch", rows))
    assert "; above a text of the same emotion not measured; same +.02" in text
    assert "at 6 of 7 layers (q < .05), 4 of them before the trivial bound" in text


def test_base_rates_stand_beside_the_findings(patched):
    assert (
        "Base rates, unedited: the top label is the text’s own emotion in a share of .31 "
        "(keyword-free vignettes); a category probe reaches AUROC .78 (keyword-free vignettes); "
        "reception probe not measured."
    ) in text_of(patched)


def test_without_controls_nothing_is_claimed(tmp_path):
    text = text_of(write_run(tmp_path, "patch", patch_rows(("other",), heads=False)))
    assert "Controls are missing: neutral, random and shuffled." in text
    assert "Category: nothing can be said, because no patch stands beside a control." in text
    assert "a text of another emotion was compared with no placebo, so nothing is claimed." in text
    assert "controls not measured" in text
    assert "Missing: heads were not patched." in text
    assert "Missing: positions were not patched." in text
    assert "Missing: no example pairs." in text
    assert "transfers at" not in text


def test_figures_that_were_not_measured_are_gaps(tmp_path):
    rows = [row for row in patch_rows() if row.get("metric") != "reception_shift"]
    for row in rows:
        if row.get("layer") == 5 and row.get("source") == "other":
            for name in ("value", "low", "high"):
                row.pop(name, None)
    text = text_of(write_run(tmp_path, "patch", rows))
    assert "Strongest before the trivial bound: layer 4, +.50" in text
    assert "Reception: nothing can be said" in text


def test_tokens_are_readable_and_never_become_markup(tmp_path):
    rows = list(pair_rows())
    for row in rows:
        row["target"] = row["target"].replace("pair-1", ATTACK)
    page = Page(
        write_report(write_run(tmp_path, "patch", [*patch_rows(), *rows])).read_text("utf-8")
    )
    assert f"Tokens of minimal_pairs {ATTACK}: She got the the news </script><b> ⏎." in page.text
    assert "Strongest before the last token: layer 2 at “news”, +2.00." in page.text
    assert [s.get("id") for s in page.named("script")] == ["figures", "dark", None, None]
    assert [readable(t) for t in ("Ġthe", "▁the", "ĊĊ", " ", "a b")] == [
        *("the", "the", "⏎⏎", "␣", "a b")
    ]


def test_the_test_half_stands_for_all_texts_and_a_figure_comes_once(tmp_path):
    rows = list(patch_rows(heads=False))
    doubled = [*rows, *({**row, "split": "all", "value": None} for row in rows if "low" not in row)]
    effects = effects_of(read_folder(write_run(tmp_path / "a", "patch", doubled)))
    assert len(effects.lines) == len(rows)
    with pytest.raises(UserError, match="gives one figure twice"):
        write_report(write_run(tmp_path / "b", "patch", [*rows, rows[-1]]))


def test_the_table_of_patches_has_the_difference_from_the_placebo(patched):
    text = text_of(patched)
    head = ["Layer", "Effect", "Above placebo", "p above placebo", "q above placebo", "Same"]
    head += ["Neutral", "Random", "Shuffled", "No patch", "Above random", "Texts", "Clusters"]
    assert "".join(head) in text
    controls = ["+.01 [−.09, +.11]"] * 3
    end = [*controls, "–", "+.59 [+.49, +.69]", "80", "40"]
    own = ["5", "+.60 [+.50, +.70]", "+.58 [+.48, +.68]", ".001", ".010", "+.02 [−.08, +.12]"]
    other = "".join(["other: log-odds of the source’s emotion", *own, *end])
    assert f"resid_post, keyword-free vignettes (placebo: a text of the same emotion){other}" in (
        text
    )
    # A text of the same emotion is the placebo, and has none.
    same = ["0", "+.02 [−.08, +.12]", "–", "–", "–", "+.02 [−.08, +.12]", *controls]
    assert "".join(["same: log-odds of the source’s emotion", *same]) in text
    assert "(placebo: another neutral text)partner: log-odds of the source’s emotion5" in text


def test_curves_above_the_placebo_stand_beside_those_above_random(patched):
    found = patch.page(read_folder(patched))
    views = [v for s in found if s.key == "layers" for v in s.figures[0].views]
    own = [v for v in views if v.group == "Log-odds of the source’s emotion"]
    names = ["keyword-free vignettes", "neutral vignettes"]
    above = ["above placebo", "above random"]
    assert [v.name for v in own] == [
        name for texts in names for name in (texts, *(f"{texts}, {more}" for more in above))
    ]
    assert own[1].data.series[0].name == "other minus same"
    assert [series.name for series in own[4].data.series] == ["partner minus neutral"]
    assert own[1].data.series[0].estimates[5].value == pytest.approx(0.58)
    assert own[1].summary.endswith(
        "The placebo is a text of the same emotion. The trivial bound begins at layer 6."
    )


def test_the_short_table_of_patching(patched):
    title, columns, rows = headline_table(patched)
    assert title == "Strongest effect in layers below 6 (from there on, patches win anyway)"
    assert columns == ("source", "layer", "effect", "above placebo", "q")
    assert [row[0] for row in rows if len(row) == 1] == ["resid_post", "attn_out"]
    figures = ("5", "+0.60 [+0.50, +0.70]", "+0.58 [+0.48, +0.68]", "0.010")
    assert rows[1:4] == [
        (" keyword-free vignettes", "", "", "a text of the same emotion", ""),
        ("  category, other", *figures),
        ("  category by probe, other", *figures),
    ]
    names = [row[0] for row in rows]
    assert names[4:6] == ["  reception, neutral", " neutral vignettes"]
    assert names[6:10] == [
        *("  category, partner", "  category by probe, partner", "  reception, partner"),
        "attn_out",
    ]
    widths = [max(len(cell) for cell in column) + 2 for column in zip(*rows[1:9], strict=True)]
    assert sum(widths) <= 100


# Ablation: head 1 of layer 2 matters on the test half, and was first on the dev half


def worth(layer, head):
    return -0.8 if (layer, head) == (2, 1) else 0.01 * head - 0.02


PLACEBO, DIFFERENCE = ("control", "random"), ("difference", "random")


def ablate_rows(methods=("zero", "mean"), control=True, together=True, dev=True, smallest=0.002):
    common = {"set": "vignettes", "target": "keyword_free"}
    base = {**common, "condition": "baseline", "split": "test"}
    yield {**base, "task": "category", "metric": "top1", "value": 0.31}
    if smallest:
        bounds = {**base, "source": "heads"}
        yield {**bounds, "metric": "smallest_p", "value": smallest}
        yield {**bounds, "metric": "fdr_bound", "value": 0.05 / (N_LAYERS * HEADS)}
    for split in ("dev", "test") if dev else ("test",):
        # The dev half ranks by one method alone.
        for method in methods[-1:] if split == "dev" else methods:
            for layer in range(N_LAYERS):
                for head in range(HEADS):
                    own = {**common, "split": split, "method": method, "layer": layer}
                    yield from _unit({**own, "unit": head}, control)
    own = {**common, "split": "test", "task": "category", "metric": "own_label", "position": "last"}
    for layer in range(N_LAYERS):
        for site in ("attn_out", "mlp_out"):
            for method in methods:
                place = {**own, "site": site, "layer": layer, "method": method}
                yield from _beside(place, -0.1 * layer, -0.05, control)
    for k in (1, 2, 4, 8) if together else ():
        row = {**own, "site": "z", "k": k}
        yield {**row, "method": "top", "condition": "ablation", **around(-0.2 * k)}
        if control:
            random_k = {"method": "random_k", "condition": "control"}
            yield {**row, **random_k, **around(-0.02 * k, 0.05)}


def _unit(common, control):
    place = {**common, "site": "z", "position": "last"}
    layer, head, test = place["layer"], place["unit"], place["split"] == "test"
    value = worth(layer, head) * (1.0 if test else 1.5)
    own = {**place, "task": "category", "metric": "own_label"}
    tested = 0.01 if (layer, head) == (2, 1) else 0.6
    yield from _beside(own, value, -0.03, control and test, q=tested if test else None)
    felt = {**place, "task": "reception", "metric": "reception_shift"}
    if test:
        yield from _beside(felt, 0.02, 0.01, control, q=0.9)
    kl = {**place, "task": "category", "metric": "kl"}
    yield {**kl, "condition": "ablation", **around(0.3)}


def _beside(place, value, placebo, control, q=0.2):
    """An effect; where it has a control, its placebo and their difference too."""
    tested = {} if q is None else {"p": q / 5, "q": q}
    yield {**place, "condition": "ablation", **tested, **around(value)}
    if control:
        row = {**place, "source": "random"}
        yield {**row, "condition": "control", "p": 0.5, "q": 0.9, **around(placebo)}
        yield {**row, "condition": "difference", **tested, **around(value - placebo)}


def neuron_rows(r=0.83):
    common = {"set": "vignettes", "target": "keyword_free", "split": "test"}
    if r is not None:
        row = {**common, "condition": "baseline", "source": "neurons", "metric": "attribution_r"}
        yield {**row, "split": "dev", "value": r, "n": 64}
    for unit in range(4):
        place = {**common, "site": "mlp_post", "layer": 1, "unit": unit, "position": "last"}
        place |= {"task": "category", "metric": "own_label", "method": "mean"}
        yield from _beside(place, -0.1 - 0.1 * unit, 0.0, False, q=0.01)


def changed(rows, cells, **new):
    """The rows, those with these cells changed; there must be some."""
    rows = list(rows)
    hit = [row for row in rows if all(row.get(name) == cell for name, cell in cells.items())]
    assert hit
    return [{**row, **new} if row in hit else row for row in rows]


def heads_of(pair, **more):
    """Cells of heads by the mean, on the text's own emotion: placebos or differences."""
    cells = {"site": "z", "method": "mean", "metric": "own_label", "split": "test", "k": None}
    return {**cells, "condition": pair[0], **({"source": pair[1]} if pair[1] else {}), **more}


@pytest.fixture
def ablated(tmp_path):
    return write_run(tmp_path / "run", "ablate", ablate_rows())


def test_units_that_survive_and_differ_from_their_placebo_are_named(ablated):
    text = text_of(ablated)
    assert (
        "1 of 24 heads survive q < .05 on the text’s own emotion (mean ablation); 1 of them also "
        "differs from a change as long in a random direction. The top 8 heads together"
    ) in text
    assert (
        "Heads, mean, keyword-free vignettes: 1 of 24 survive q < .05 on the text’s own emotion "
        "(with a change as long in a random direction, 0 do); 1 of them also differs from that "
        "change at q < .05: layer 2, head 1 (−.80 [−.90, −.70]). On reception, 0 of 24 survive "
        "(with such a change, 0 do). First in rank on the dev half: layer 2, head 1, −.80 "
        "[−.90, −.70]; placebo −.03 [−.13, +.07]; difference −.77 [−.87, −.67]."
    ) in text
    assert (
        "Other methods: zero, 1 of 24 survive (placebos: 0), 1 of them beyond the placebo" in text
    )
    assert "Other methods: zero, 0 of 8 survive (placebos: 0)." in text
    assert "one alone could survive." in text


def test_a_unit_that_does_not_differ_from_its_placebo_is_not_said_to_matter(tmp_path):
    rows = changed(ablate_rows(), heads_of(DIFFERENCE), q=0.3)
    rows = changed(rows, heads_of(PLACEBO, layer=3), q=0.01)
    text = text_of(write_run(tmp_path, "ablate", rows))
    assert (
        "1 of 24 survive q < .05 on the text’s own emotion (with a change as long in a random "
        "direction, 3 do); none of them does more than that change at q < .05, so none is said to "
        "matter. On"
    ) in text
    assert "(mean ablation); none of them does more than a change as long in a random" in text
    # Each method has a placebo of its own, and the other one's figures are what they were.
    assert "zero, 1 of 24 survive (placebos: 0), 1 of them beyond the placebo" in text


def test_a_unit_whose_placebo_does_more_differs_and_does_not_matter(tmp_path):
    rows = changed(ablate_rows(), heads_of(("ablation", "")), q=0.01)
    rows = changed(rows, heads_of(DIFFERENCE, layer=4, unit=0), q=0.01, **around(0.9))
    by_zero = heads_of(DIFFERENCE, layer=2, unit=1, method="zero")
    rows = changed(rows, by_zero, q=0.01, **around(0.9))
    text = text_of(write_run(tmp_path, "ablate", rows))
    assert "24 of 24 survive q < .05" in text
    assert "1 of them also differs from that change at q < .05: layer 2, head 1 (−.80" in text
    assert "[−.90, −.70]); 1 does less than that. On reception" in text
    assert "zero, 1 of 24 survive (placebos: 0), 0 of them beyond the placebo" in text


def test_reception_is_counted_beside_its_placebo_too(tmp_path):
    felt = {"site": "z", "method": "mean", "metric": "reception_shift", "layer": 5}
    rows = changed(ablate_rows(), {**felt, "condition": "ablation"}, q=0.01)
    rows = changed(rows, {**felt, "condition": "control", "unit": 0}, q=0.01)
    rows = changed(rows, {**felt, "condition": "difference"}, q=0.02)
    rows = changed(rows, {**felt, "condition": "difference", "unit": 2}, q=0.2)
    assert (
        "On reception, 3 of 24 survive (with such a change, 1 do); 2 of them also differ from the "
        "placebo."
    ) in text_of(write_run(tmp_path, "ablate", rows))


def test_many_units_that_matter_are_not_all_named(tmp_path):
    rows = changed(ablate_rows(), heads_of(("ablation", "")), q=0.01, **around(-0.5))
    rows = changed(rows, heads_of(DIFFERENCE), q=0.01, **around(-0.4))
    text = text_of(write_run(tmp_path, "ablate", rows))
    assert "24 of them also differ from that change at q < .05: layer 0, head 0 (−.50" in text
    assert "layer 1, head 1 (−.50 [−.60, −.40]), and 19 more. On reception" in text


def test_a_survivor_without_a_tested_difference_is_not_named(tmp_path):
    rows = [row for row in ablate_rows() if row["condition"] != "difference"]
    text = text_of(write_run(tmp_path, "ablate", rows))
    said = "none was compared with {}, so none is said to matter."
    assert said.format("that change") in text
    assert said.format("a change as long in a random direction") in text
    assert "Controls are missing: differences from matched placebos." in text
    assert "placebo −.03 [−.13, +.07]; difference not measured." in text


def test_a_floor_above_the_bound_is_said(tmp_path):
    text = text_of(write_run(tmp_path / "a", "ablate", ablate_rows(smallest=0.008)))
    assert (
        "The smallest possible p here is .0080, above the .0021 (.05 over the number of units) "
        "that a single one needs: none could survive alone, and 4 would have to reach that p "
        "together."
    ) in text
    text = text_of(write_run(tmp_path / "b", "ablate", ablate_rows(smallest=None)))
    assert "Whether a single one could survive is not given in this run." in text


def test_single_neurons_have_no_control_and_nothing_is_claimed_of_them(tmp_path):
    text = text_of(write_run(tmp_path / "a", "ablate", [*ablate_rows(), *neuron_rows()]))
    assert (
        "Neurons, mean, keyword-free vignettes: 4 of 4 survive q < .05 on the text’s own emotion. "
        "First in rank on these very texts: layer 1, neuron 3, −.40 [−.50, −.30]."
    ) in text
    assert "Single neurons have no control of their own" in text
    assert "nothing is claimed of any of them" in text
    assert (
        "Picked on the dev half by a first-order estimate (gradient times change), whose "
        "correlation with exact effects over 64 neurons drawn at random is r = .83."
    ) in text
    assert "Controls are missing" not in text
    alone = text_of(write_run(tmp_path / "b", "ablate", neuron_rows(r=None)))
    assert (
        "4 of 4 neurons survive q < .05 on the text’s own emotion (mean ablation); single ones "
        "have no control of their own, so none is said to matter."
    ) in alone
    assert "first-order estimate" not in alone


def test_a_correlation_that_could_not_be_computed_is_no_zero(tmp_path):
    rows = changed(neuron_rows(), {"metric": "attribution_r"}, value=float("nan"))
    assert "64 neurons drawn at random is r = –." in text_of(write_run(tmp_path, "ablate", rows))


def test_top_units_stand_beside_the_band_of_random_ones(ablated):
    text = text_of(ablated)
    said = "The top 8 heads together change the log-odds of the text’s own emotion by −1.60"
    assert f"{said} [−1.70, −1.50], 8 at random by −.16 [−.21, −.11]." in text
    assert "Outside the band of random units: these do more than as many others." in text
    assert "Outside the band at k = 1, 2, 4, 8." in text


def test_an_ablation_without_controls_says_so(tmp_path):
    text = text_of(write_run(tmp_path, "ablate", ablate_rows(control=False, dev=False)))
    assert "Controls are missing: matched placebos and as many units at random." in text
    assert "without random ones beside them that is no finding" in text
    assert "Nothing is claimed without the band of random units." in text
    assert "placebo not measured; difference not measured." in text
    assert "Missing: a matched placebo." in text
    assert "First in rank on these very texts" in text
    assert "ranked by the effects that are shown, the first ones are too large" in text


def test_a_placebo_that_is_missing_for_some_units_is_said_of_those(tmp_path):
    rows = [
        row
        for row in ablate_rows()
        if (row.get("source"), row.get("site"), row.get("method")) != ("random", "mlp_out", "zero")
    ]
    text = text_of(write_run(tmp_path, "ablate", rows))
    assert "Controls are missing: matched placebos (MLP sublayers by zero)." in text


def test_an_ablation_of_nothing_is_still_a_page(tmp_path):
    text = text_of(write_run(tmp_path, "ablate", []))
    assert "No unit was tested, so none is said to matter." in text
    assert "Missing: heads were not ablated." in text
    assert "Missing: units were not ablated together." in text
    assert headline_table(tmp_path)[2] == []


def test_a_vector_put_in_a_units_place_is_no_placebo(tmp_path):
    rows = list(ablate_rows(control=False))
    place = {**heads_of(("ablation", "")), "set": "vignettes", "target": "keyword_free"}
    place |= {"position": "last", "task": "category", "layer": 2, "unit": 1, "method": "random"}
    old = [*rows, {**place, "condition": "control", **around(-0.03)}]
    text = text_of(write_run(tmp_path / "old", "ablate", old))
    assert "Controls are missing: matched placebos and" in text
    assert "placebo not measured" in text
    assert "placebo of" not in text
    new = ablate_rows(methods=("random", "mean"))
    text = text_of(write_run(tmp_path / "new", "ablate", new))
    assert "Other methods: random, 1 of 24 survive (placebos: 0)" in text
    assert "placebo of random (control), position last, keyword-free vignettes" in text


def test_maps_and_curves_of_each_method_have_the_placebo_of_that_method(tmp_path):
    rows = changed(ablate_rows(), heads_of(PLACEBO, method="zero"), **around(-0.3))
    sublayers = {"site": "attn_out", "method": "zero", "condition": "control"}
    folder = write_run(tmp_path, "ablate", changed(rows, sublayers, **around(-0.4)))
    own = "Log-odds of the text’s own emotion"
    heads = [v for v in views_of(folder, "heads") if v.group == own]
    assert [(v.name.split(",")[0], round(v.data.cells[2][1].value, 2)) for v in heads] == [
        *(("mean", -0.8), ("placebo of mean (control)", -0.03), ("mean minus its placebo", -0.77)),
        *(("zero", -0.8), ("placebo of zero (control)", -0.3), ("zero minus its placebo", -0.77)),
    ]
    kinds = [v.data.unit.split(" in ")[0] for v in heads]
    assert kinds == ["change", "change", "difference"] * 2
    curves = views_of(folder, "sublayers")
    nulls = [(v.name.split(",")[0], v.data.null.estimates[0].value) for v in curves]
    assert nulls == [("mean", -0.05), ("zero", -0.4)]
    assert curves[0].summary == (
        "mean: from .00 [−.10, +.10] at layer 0 to −.70 [−.80, −.60] at layer 7. Matched placebo: "
        "from −.05 [−.15, +.05] at layer 0 to −.05 [−.15, +.05] at layer 7."
    )


def views_of(folder, key):
    """The views of the first figure of a section."""
    sections = {section.key: section for section in ablate.page(read_folder(folder))}
    return sections[key].figures[0].views


def test_placebos_that_are_missing_at_a_layer_stay_gaps(tmp_path):
    cells = {"site": "attn_out", "layer": 3, "condition": "control", "method": "mean"}
    nothing = {"value": None, "low": None, "high": None}
    rows = changed(ablate_rows(), cells, **nothing)
    rows = changed(rows, heads_of(DIFFERENCE, layer=2, unit=1), **nothing)
    gone = {"layer": 2, "condition": "control"}
    rows = [
        row for row in rows if not (gone.items() <= row.items() and row.get("unit") in (1, None))
    ]
    folder = write_run(tmp_path, "ablate", rows)
    null = views_of(folder, "sublayers")[0].data.null
    assert 2 not in dict(null.by_layer)
    assert dict(null.by_layer)[3] == Estimate(None)
    placebos = views_of(folder, "heads")[1].data.cells
    assert placebos[2][1] == Estimate(None)
    assert placebos[2][0].value == -0.03
    assert "placebo not measured; difference not measured." in text_of(folder)


def test_the_method_is_headlined_that_ranked_the_dev_half_else_the_manifests_first(tmp_path):
    said = "survive q < .05 on the text’s own emotion ({} ablation)"
    for dev, method in ((True, "mean"), (False, "zero")):
        folder = write_run(tmp_path / method, "ablate", ablate_rows(dev=dev), methods=["zero"])
        assert said.format(method) in text_of(folder)


def test_the_table_has_the_placebo_the_difference_and_its_q(ablated):
    text = text_of(ablated)
    head = ["Own emotion", "p", "q", "Control", "Difference", "q of difference", "Reception"]
    assert "".join(head) in text
    first = ["−.80 [−.90, −.70]", ".002", ".010", "−.03 [−.13, +.07]", "−.77 [−.87, −.67]", ".010"]
    assert "".join(["layer 2, head 1", *first, "+.02"]) in text
    assert (
        "".join(["top 8", "−1.60 [−1.70, −1.50]––", "−.16 [−.21, −.11]––", "–––", "8040"]) in text
    )


def test_the_short_table_of_ablation(ablated):
    _, columns, rows = headline_table(ablated)
    assert columns == ("unit", "effect", "q", "control", "difference", "its q")
    assert rows[0] == ("heads, mean, keyword-free vignettes",)
    assert rows[1] == (
        *(" layer 2, head 1", "-0.80 [-0.90, -0.70]", "0.010"),
        *("-0.03 [-0.13, +0.07]", "-0.77 [-0.87, -0.67]", "0.010"),
    )
    assert len(rows) == 1 + 5 + 2
    assert rows[-1][1:] == ("-1.60 [-1.70, -1.50]", "-", "-0.16 [-0.21, -0.11]", "-", "-")


# Both

FIGURES = {"patch": 5, "ablate": 4}


def test_every_figure_has_its_words_and_no_two_elements_share_an_id(patched, tmp_path):
    ablated = write_run(tmp_path / "ablated", "ablate", ablate_rows())
    for study, folder in (("patch", patched), ("ablate", ablated)):
        page = Page(write_report(folder).read_text(encoding="utf-8"))
        identifiers = [a["id"] for _, a in page.tags if "id" in a]
        assert len(set(identifiers)) == len(identifiers)
        plots = [a for a in page.named("div") if a.get("class") == "plot"]
        assert len(plots) == FIGURES[study]
        assert {p["aria-describedby"] for p in plots} <= set(identifiers)
        assert all(p["aria-label"] for p in plots)


@pytest.mark.parametrize("width", [400, 1200])
def test_every_causal_figure_is_drawn_and_nothing_scrolls_sideways(opened, tmp_path, width):  # noqa: F811
    rows = {"patch": [*patch_rows(), *neutral_rows(), *pair_rows()], "ablate": ablate_rows()}
    for study, own in rows.items():
        folder = write_run(tmp_path / study, study, own)
        page = opened(folder, viewport={"width": width, "height": 900})
        drawn = page.locator(".plot .main-svg:first-child").count()
        assert page.locator(".plot").count() == drawn == FIGURES[study]
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for menu in page.locator("select").all():
            for option in range(menu.locator("option").count()):
                menu.select_option(index=option)
