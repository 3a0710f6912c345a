"""The pages of patching and ablation, from invented results to a page in a real browser."""

import random

import pytest
from test_report import ATTACK, Page, opened  # noqa: F401 - a fixture

from probekit.errors import UserError
from probekit.report import headline_table, write_report
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


# Patching: effects of 0.1 a layer, 5 at layers 6 and 7; controls of 0.01


def shift(source, layer):
    if source in ("neutral", "random", "shuffled"):
        return 0.01
    return 5.0 if layer >= 6 else 0.1 * (layer + 1)


def patch_rows(
    sources=("same", "other", "neutral", "random", "shuffled"), q=lambda _: 0.01, heads=True
):
    common = {"set": "vignettes", "split": "test", "target": "keyword_free"}
    base = {**common, "condition": "baseline"}
    yield {**base, "task": "category", "metric": "top1", "value": 0.31}
    yield {**base, "task": "category", "metric": "auroc", "method": "probe", "value": 0.78}
    yield {**base, "task": "category", "metric": "flip", "source": "none", "value": 0.07}
    for site in ("attn_out", "resid_post"):
        for layer in range(N_LAYERS):
            place = {**common, "site": site, "layer": layer, "position": "last"}
            yield from _sources(place, sources, layer, q)
    for layer in range(N_LAYERS if heads else 0):
        for head in range(HEADS):
            place = {**common, "site": "z", "layer": layer, "position": "last", "unit": head}
            for source, condition in (("other", "patch"), ("random", "control")):
                row = {**place, "source": source, "condition": condition, "task": "category"}
                yield {**row, "metric": "source_shift", **around(shift(source, layer) / 10)}


def _sources(place, sources, layer, q):
    for source in sources:
        control = source in ("neutral", "random", "shuffled")
        row = {**place, "source": source, "condition": "control" if control else "patch"}
        for metric in ("source_shift", "reception_shift", "flip"):
            own = {**row, "task": "reception" if "reception" in metric else "category"}
            yield {**own, "metric": metric, **around(shift(source, layer))}
            if not control and metric != "flip" and "random" in sources:
                above = {"method": "above_random", "p": 0.001, "q": q(layer)}
                yield {**own, "metric": metric, **above, **around(shift(source, layer) - 0.01)}


def neutral_rows(q=lambda _: 0.01):
    place = {"set": "vignettes", "split": "test", "target": "neutral", "position": "last"}
    for layer in range(N_LAYERS):
        at = {**place, "site": "resid_post", "layer": layer}
        yield from _sources(at, ("partner", "random", "shuffled"), layer, q)


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


def test_category_and_reception_are_said_separately_beside_controls(patched):
    text = text_of(patched)
    # The interval of layer 0 touches 0.
    counted = (
        "and more than a random vector does, at 7 of 8 layers (q < .05), 5 of them before the "
        "trivial bound; at 1 more it is above that vector, but not above 0."
    )
    asked = (
        "Category at resid_post: a text of another emotion raises the log-odds of its emotion, ",
        "Reception at resid_post: the emotional text of the same scenario raises the log-odds of "
        "“emotional”, ",
    )
    assert all(question + counted in text for question in asked)
    # Layers 6 and 7 are stronger, and count for nothing.
    assert (
        "Strongest before the trivial bound: layer 5, +.60 [+.50, +.70]; neutral +.01 "
        "[−.09, +.11]; random +.01 [−.09, +.11]; shuffled +.01 [−.09, +.11]; above random +.59 "
        "[+.49, +.69]."
    ) in text
    assert "So category transfers, at 5 layers before the trivial bound." in text
    assert "Layers 6 to 7 are the trivial bound" in text


def test_what_is_strong_within_the_trivial_bound_alone_is_no_transfer(tmp_path):
    late = lambda layer: 0.001 if layer >= 6 else 0.4  # noqa: E731
    rows = [*patch_rows(q=late), *neutral_rows(q=lambda _: 0.4)]
    text = text_of(write_run(tmp_path, "patch", rows))
    assert "Only within the trivial bound: no transfer of category is shown." in text
    assert "at 2 of 8 layers (q < .05), none of them before the trivial bound" in text
    assert "No transfer of reception is shown." in text
    assert "So category transfers" not in text


def test_a_layer_that_falls_short_of_the_control_is_no_transfer(tmp_path):
    rows = [
        {**row, **({key: -row[key] for key in ("value",)} | {"low": None, "high": None})}
        if row.get("method") == "above_random"
        else row
        for row in patch_rows()
    ]
    assert "No transfer of category is shown." in text_of(write_run(tmp_path, "patch", rows))


def test_a_random_vector_that_lowers_the_figure_makes_no_transfer_of_nothing(tmp_path):
    rows = [
        {**row, **around(0.0)} if row.get("source") == "other" and not row.get("method") else row
        for row in patch_rows()
    ]
    text = text_of(write_run(tmp_path, "patch", rows))
    assert "at 0 of 8 layers (q < .05); at 8 more it is above that vector" in text
    assert "No transfer of category is shown." in text


@pytest.mark.parametrize(("sign", "said"), [(-1, "is taken away, at 4 layers"), (1, "No transfer")])
def test_a_neutral_text_is_to_take_reception_away(tmp_path, sign, said):
    place = {"set": "vignettes", "split": "test", "target": "keyword_free", "position": "last"}
    place |= {"site": "resid_post", "task": "reception", "metric": "reception_shift"}
    rows = []
    for layer in range(N_LAYERS):
        for source in ("neutral", "random"):
            own = {**place, "layer": layer, "source": source, "condition": "control"}
            moved = 0.5 * sign if source == "neutral" and layer >= 2 else 0.0
            rows.append({**own, **around(moved)})
        above = {"method": "above_random", "source": "neutral", "condition": "control"}
        q = 0.01 if layer >= 2 else 0.9
        moved = 0.5 * sign if layer >= 2 else 0.0
        rows.append({**place, "layer": layer, **above, "p": q, "q": q, **around(moved)})
    text = text_of(write_run(tmp_path / "run", "patch", rows))
    assert "a neutral text lowers the log-odds of “emotional”" in text
    assert said in text


def test_the_difference_from_the_same_emotion_is_said_where_it_is_given(tmp_path):
    rows = list(patch_rows())
    rows += [
        {**row, "method": "above_same", **around(0.3)}
        for row in rows
        if (row.get("source"), row.get("method")) == ("other", "above_random")
    ]
    said = "; above a text of the same emotion +.30 [+.20, +.40]."
    assert said in text_of(write_run(tmp_path, "patch", rows))


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
    assert "Without the paired difference from a random vector, nothing is claimed." in text
    assert "controls not measured" in text
    assert "Missing: heads were not patched." in text
    assert "Missing: positions were not patched." in text
    assert "Missing: no example pairs." in text
    assert "So category transfers" not in text


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


def test_the_short_table_of_patching(patched):
    title, columns, rows = headline_table(patched)
    assert title == "Strongest effect in layers below 6 (from there on, patches win anyway)"
    assert columns == ("source", "texts", "layer", "effect", "random", "above random", "q")
    assert [row[0] for row in rows if len(row) == 1] == ["resid_post", "attn_out"]
    assert (
        *(" category, other", "keyword-free vignettes", "5"),
        *("+0.60 [+0.50, +0.70]", "+0.01 [-0.09, +0.11]", "+0.59 [+0.49, +0.69]", "0.010"),
    ) in rows
    assert any(row[:2] == (" reception, partner", "neutral vignettes") for row in rows)


# Ablation: head 1 of layer 2 matters on the test half, and was first on the dev half


def worth(layer, head):
    return -0.8 if (layer, head) == (2, 1) else 0.01 * head - 0.02


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
                    yield from _unit({**common, "split": split}, method, layer, head)
    own = {**common, "split": "test", "task": "category", "metric": "own_label", "position": "last"}
    for layer in range(N_LAYERS):
        for site in ("attn_out", "mlp_out"):
            place = {**own, "site": site, "layer": layer}
            for method in methods:
                row = {**place, "method": method, "condition": "ablation", "p": 0.01, "q": 0.2}
                yield {**row, **around(-0.1 * layer)}
            if control:
                yield {**place, "method": "random", "condition": "control", **around(-0.05)}
    if control:
        head = {**own, "site": "z", "layer": 2, "unit": 1, "method": "random"}
        yield {**head, "condition": "control", **around(-0.03)}
    for k in (1, 2, 4, 8) if together else ():
        row = {**own, "site": "z", "k": k}
        yield {**row, "method": "top", "condition": "ablation", **around(-0.2 * k)}
        if control:
            random_k = {"method": "random_k", "condition": "control"}
            yield {**row, **random_k, **around(-0.02 * k, 0.05)}


def _unit(common, method, layer, head):
    place = {**common, "site": "z", "layer": layer, "unit": head, "position": "last"}
    place |= {"method": method, "condition": "ablation"}
    tested = {"p": 0.002, "q": 0.01 if (layer, head) == (2, 1) else 0.6}
    tested = tested if common["split"] == "test" else {}
    value = worth(layer, head) * (1.5 if common["split"] == "dev" else 1.0)
    yield {**place, "task": "category", "metric": "own_label", **tested, **around(value)}
    felt = {"p": 0.5, "q": 0.9} if tested else {}
    yield {**place, "task": "reception", "metric": "reception_shift", **felt, **around(0.02)}
    yield {**place, "task": "category", "metric": "kl", **around(0.3)}


@pytest.fixture
def ablated(tmp_path):
    return write_run(tmp_path / "run", "ablate", ablate_rows())


def test_survivors_are_named_beside_what_could_survive(ablated):
    text = text_of(ablated)
    assert "1 of 24 heads survive q < .05 on the text’s own emotion (mean ablation)." in text
    assert (
        "Heads, mean, keyword-free vignettes: 1 of 24 survive q < .05 on the text’s own emotion: "
        "layer 2, head 1 (−.80 [−.90, −.70]); on reception, 0 of 24 do. First in rank "
        "on the dev half: layer 2, head 1, −.80 [−.90, −.70]; random "
        "control −.03 [−.13, +.07]."
    ) in text
    assert "one alone could survive." in text


def test_how_many_random_vectors_survive_is_said_beside_the_units(tmp_path):
    noise = [row for row in ablate_rows() if row.get("method") == "random" and "unit" in row]
    rows = [row for row in ablate_rows() if row not in noise]
    rows += [{**noise[0], "layer": n, "q": 0.01 if n < 3 else 0.9} for n in range(N_LAYERS)]
    text = text_of(write_run(tmp_path / "run", "ablate", rows))
    assert "(with a random vector in their place, 3 do)" in text


def test_a_floor_above_the_bound_is_said(tmp_path):
    text = text_of(write_run(tmp_path / "a", "ablate", ablate_rows(smallest=0.008)))
    assert (
        "The smallest possible p here is .0080, above the .0021 (.05 over the number of units) "
        "that a single one needs: none could survive alone, and 4 would have to reach that p "
        "together."
    ) in text
    text = text_of(write_run(tmp_path / "b", "ablate", ablate_rows(smallest=None)))
    assert "Whether a single one could survive is not given in this run." in text


def test_top_units_stand_beside_the_band_of_random_ones(ablated):
    text = text_of(ablated)
    said = "The top 8 heads together change the log-odds of the text’s own emotion by −1.60"
    assert f"{said} [−1.70, −1.50], 8 at random by −.16 [−.21, −.11]." in text
    assert "Outside the band of random units: these do more than as many others." in text
    assert "Outside the band at k = 1, 2, 4, 8." in text


def test_an_ablation_without_controls_says_so(tmp_path):
    text = text_of(write_run(tmp_path, "ablate", ablate_rows(control=False, dev=False)))
    assert "Controls are missing: a random vector and as many units at random." in text
    assert "without random ones beside them that is no finding" in text
    assert "Nothing is claimed without the band of random units." in text
    assert "random control not measured" in text
    assert "Missing: a random control." in text
    assert "First in rank on these very texts" in text
    assert "ranked by the effects that are shown, the first ones are too large" in text


def test_an_ablation_of_nothing_is_still_a_page(tmp_path):
    text = text_of(write_run(tmp_path, "ablate", []))
    assert "No unit was tested, so none is said to matter." in text
    assert "Missing: heads were not ablated." in text
    assert "Missing: units were not ablated together." in text
    assert headline_table(tmp_path)[2] == []


def test_the_method_is_headlined_that_ranked_the_dev_half_else_the_manifests_first(tmp_path):
    said = "survive q < .05 on the text’s own emotion ({} ablation)"
    for dev, method in ((True, "mean"), (False, "zero")):
        folder = write_run(tmp_path / method, "ablate", ablate_rows(dev=dev), methods=["zero"])
        assert said.format(method) in text_of(folder)


def test_the_short_table_of_ablation(ablated):
    _, columns, rows = headline_table(ablated)
    assert columns == ("unit", "effect", "random", "q")
    assert rows[0] == ("heads, mean, keyword-free vignettes",)
    assert rows[1] == (
        *(" layer 2, head 1", "-0.80 [-0.90, -0.70]", "-0.03 [-0.13, +0.07]", "0.010"),
    )
    assert len(rows) == 1 + 5 + 2
    assert rows[-1][1:3] == ("-1.60 [-1.70, -1.50]", "-0.16 [-0.21, -0.11]")


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
