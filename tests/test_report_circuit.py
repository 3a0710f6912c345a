"""The page of a run of circuits, from invented results to a page in a real browser."""

import pytest
from test_report import ATTACK, Page, opened  # noqa: F401 - a fixture
from test_report_causal import manifest_of

from probekit.circuits import Edge, Graph, Node
from probekit.report import circuit, headline_table, write_report
from probekit.report.circuit_modulation import ORDER
from probekit.report.circuit_rows import circuits_of
from probekit.report.reading import read_folder
from probekit.runs import GRAPHS, MANIFEST, RESULTS, write_json, write_results

EMOTIONS, K, KS, LAYERS = ("rage", "grief", "terror"), 16, (4, 16), 4
SILENT = "terror"
"""The emotion without accepted held-out replies."""
SAYS = {"plain": 0.1, "prompt": 0.4, "prompt ablated": 0.2, "steer": 0.6, "circuit": 0.9}
OWN = {"condition": "circuit", "method": "influence"}


def around(value, half=0.05):
    return {"value": value, "low": value - half, "high": value + half, "n": 12, "clusters": 12}


def expression_rows(beyond=-0.2, q=0.01):
    """Replies accepted, lifts of .5, a tenth of which is left without the circuit."""
    for emotion in EMOTIONS:
        for split in ("dev", "test"):
            row = {"metric": "accepted", "split": split, "emotion": emotion}
            share = 0.0 if emotion == SILENT else 0.8
            yield {**row, "method": "prompt", **around(share)}
            yield {**row, "method": "plain", "condition": "chance", **around(0.02)}
        if emotion == SILENT:
            continue
        common = {"task": "expression", "emotion": emotion}
        yield {**common, "metric": "lift", "condition": "nothing", **around(0.5), "p": 0.001}
        left = {"circuit": 0.1, "random": 0.9, "complement": 0.7, "random complement": 0.3}
        for k in KS:
            for condition, share in {**left, "other emotion's": 0.8}.items():
                row = {**common, "condition": condition, "method": "influence", "k": k}
                yield {**row, "metric": "lift", **around(share / 2)}
                yield {**row, "metric": "lift_share", **around(share)}
                if not condition.startswith("random"):
                    gap = beyond if condition != "complement" else 0.2
                    told = {"p": q, "q": q, **around(gap)}
                    yield {**row, "metric": "lift_above_random", **told}
        yield {**common, **OWN, "metric": "lift_share", "method": "global", "k": K, **around(0.2)}
        yield {**common, **OWN, "metric": "lift", "method": "global", "k": K, **around(0.1)}


def other_rows():
    """What is read, language, stability, scores and influence."""
    for emotion in EMOTIONS:
        for condition, size in (("circuit", -1.0), ("random", 0.0)):
            row = {"emotion": emotion, "condition": condition, "method": "influence", "k": K}
            cost = around(0.3 if condition == "circuit" else 0.1)
            yield {**row, "task": "language", "metric": "nats_added", **cost}
            for metric in ("own_label", "reception_shift"):
                for target in ("own", "others"):
                    figure = around(size * (target == "own"))
                    yield {**row, "metric": metric, "target": target, "q": 0.01, **figure}
        for way in ("halves", "themes", "allocations"):
            row = {"metric": "jaccard", "method": way, "emotion": emotion, "k": K}
            yield {**row, "value": 0.4 if way != "themes" else 0.1}
            yield {**row, "condition": "null", **around(0.1), "n": 20}
        for metric in ("reliability", "effect_against_mean"):
            for place, site in enumerate(("z", "mlp_post")):
                yield {"metric": metric, "site": site, "emotion": emotion, "value": 0.8 - place / 2}
        written = {"metric": "ablation_against_write", "site": "z", "value": 0.61, "n": 12}
        yield {**written, "emotion": emotion}
    row = {"metric": "jaccard", "method": "emotions", "emotion": "rage", "target": "grief", "k": K}
    yield {**row, "value": 0.25}
    yield {**row, "condition": "null", **around(0.1), "n": 20}
    for emotion in ("", *EMOTIONS):
        row = {"emotion": emotion, "condition": "circuit", "method": "influence", "k": K}
        row |= {"p": 0.01, "q": 0.01}
        yield {**row, "task": "language", "metric": "nats_added_above_random", **around(0.2)}
        for metric, size in (("own_label", -1.0), ("reception_shift", -0.5)):
            for target, share in (("own", 1), ("others", 0)):
                told = {"metric": f"{metric}_above_random", "target": target}
                yield {**row, **told, **around(size * share), "q": 0.01 if share else 0.9}
    for target in ("labels", "category"):
        for site in ("attn_out", "mlp_out"):
            for layer in range(LAYERS):
                row = {"metric": "influence", "target": target, "site": site, "layer": layer}
                yield {**row, "condition": "null", "dose": 0.1, **around(0.0, 0.5), "n": 6}
                for emotion in EMOTIONS:
                    yield {**row, "emotion": emotion, "q": 0.01, **around(1.0 * layer, 0.1)}
        for alpha, share, used in ((0.05, 1.0, "used"), (0.1, 0.99, "used"), (0.4, 0.5, "")):
            row = {"metric": "linearity", "target": target, "dose": alpha, "value": share}
            yield {**row, "condition": used}


def modulation_rows(says=SAYS):
    """Accuracies of each method; random components and directions are at chance."""
    random = {"random prompt ablated": 0.4, "random": 0.1, "random circuit": 0.1}
    doses = {"steer": 0.08, "random": 0.08, "circuit": 1.0, "random circuit": 1.0}
    for method, share in {**says, **random}.items():
        common = {"task": "modulation", "method": method, "dose": doses.get(method)}
        common |= {"judge": "a judge"}
        control = "chance" if method == "plain" else "control" if "random" in method else ""
        for emotion in ("", *EMOTIONS):
            row = {**common, "emotion": emotion}
            yield {**row, "metric": "target_accuracy", "condition": control, **around(share)}
            yield {**row, "metric": "perplexity_ratio", "condition": control, **around(1.2)}
            yield {**row, "metric": "incoherent_rate", "condition": control, **around(0.05)}
            if method == "plain":
                continue
            where = "largest dose" if method in doses else "own ratio"
            yield {**row, "metric": "accuracy_at_fluency", "condition": where, **around(share)}
            yield {**row, "metric": "ratio_at_fluency", "condition": where, **around(1.2)}
            if not control:
                apart = share - random.get(f"random {method}", 0.1)
                told = {"p": 0.01, "q": 0.01, **around(apart)}
                yield {**row, "metric": "target_accuracy_above_random", **told}
                name = "accuracy_at_fluency_above_random"
                yield {**row, "metric": name, "condition": where, **told}
        for event in ("positive", "neutral", "negative"):
            row = {**common, "metric": "target_accuracy_by_event", "source": event}
            yield {**row, **around(share)}


def graph_of(emotion):
    """A head that feeds two neurons, one of them within chance."""
    nodes = (
        Node("z.1.0", "z", 1, 0, 0.5, ("\n", ATTACK), ((0.4, "rage", f"{ATTACK} {'word ' * 40}"),)),
        Node("mlp_post.1.7", "mlp_post", 1, 7, 0.4, (" hate",), ((0.2, "neutral", "A text."),)),
        Node("mlp_post.3.2", "mlp_post", 3, 2, 0.3, (), ()),
    )
    edges = (
        Edge("z.1.0", "mlp_post.1.7", -0.6, -0.8, -0.4),
        Edge("z.1.0", "mlp_post.3.2", 0.05, 0.01, 0.09),
    )
    return Graph(emotion, "tiny", nodes, edges, 0.1, 8)


def write_run(folder, rows, graphs=EMOTIONS, **options):
    folder.mkdir(parents=True, exist_ok=True)
    told = {"emotions": list(EMOTIONS), "k": K, "allocation": "influence", "draws": 2, **options}
    more = {"options": told, "judge": f"a judge {ATTACK}"}
    write_json(folder / MANIFEST, manifest_of("circuit", **more))
    write_results(folder / RESULTS, [{"study": "circuit", **row} for row in rows])
    for emotion in graphs:
        graph_of(emotion).save(folder / GRAPHS / f"{emotion}.json")
    return folder


def text_of(folder):
    return Page(write_report(folder).read_text(encoding="utf-8")).text


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    rows = [*expression_rows(), *other_rows(), *modulation_rows()]
    return write_run(tmp_path_factory.mktemp("circuit") / "run", rows)


def test_what_is_needed_is_said_beside_random_components_and_what_is_missing(studied):
    text = text_of(studied)
    assert (
        "Ablating an emotion’s circuit of 16 heads and neurons is shown to lower the lift of rage "
        "and grief more than random ones do; has no figure for terror."
    ) in text
    assert "Left of it without the circuit: .10 [.05, .15]; without random components: .90" in text
    assert "Difference from random ones −.20 [−.25, −.15] nats (q .010): less is left." in text
    assert "With the circuit alone, everything else ablated: .70 [.65, .75]" in text
    assert "Expression of terror: missing. Fewer than 4 accepted replies" in text
    assert "terror .00 [−.05, .05] (plain .02 [−.03, .07], not shown to differ)" in text
    assert "is shown at: rage k = 4, 16; grief k = 4, 16." in text


def test_no_more_is_claimed_than_is_shown(tmp_path):
    for name, rows in (
        ("q", expression_rows(q=0.2)),
        ("interval", expression_rows(beyond=-0.01)),
        ("more", expression_rows(beyond=0.2)),
    ):
        text = text_of(write_run(tmp_path / name, rows))
        assert "is shown to lower" not in text
        assert "16 heads and neurons is not shown to lower the lift of rage and grief" in text
    assert "more is left" in text


def test_reading_language_and_stability_stand_beside_chance(studied):
    text = text_of(studied)
    for who in ("All circuits together", "Rage"):
        assert f"{who}: texts of its own emotion −1.00 [−1.05, −.95] (q .010), of others" in text
    assert "(q .900: not shown to differ)." in text
    assert "than without random components. Rage +.20 [+.15, +.25] (q .010)." in text
    assert "Over two halves of the scenarios: .40, chance .10; 3 of 3 above" in text
    assert "Over two halves of the themes: .10, chance .10; 0 of 3 above" in text
    assert "Over two seeds of sampling: missing." in text
    assert "correlate at .80 (heads), .30 (neurons)" in text
    assert "correlation over 12 heads, rage .61; grief .61; terror .61" in text


def test_influence_is_told_with_its_null_and_the_doses_that_count(studied):
    text = text_of(studied)
    assert "Of 24 pairs of a sublayer and an emotion, 18 move" in text
    assert "attention of layer 3 for rage, +3.00 [+2.90, +3.10] nats per σ (q .010)" in text
    assert "1.00 at .05, .99 at .1, .50 at .4; used for the slope: .05, .1." in text


ORDERS = {
    "The order holds: circuit above steer is shown; steer above prompt is shown": SAYS,
    "The order does not hold: circuit above steer is not so, the reverse is shown; steer above "
    "prompt is shown": {**SAYS, "circuit": 0.5, "steer": 0.8},
    "The order is not shown: circuit above steer is not shown; steer above prompt is shown": {
        **SAYS,
        "circuit": 0.65,
    },
    "Whether the order holds cannot be said: circuit above steer cannot be said, a figure is "
    "missing": {name: share for name, share in SAYS.items() if name != "steer"},
}


@pytest.mark.parametrize(("sentence", "says"), ORDERS.items())
def test_the_papers_order_is_claimed_only_where_it_is_shown(tmp_path, sentence, says):
    text = text_of(write_run(tmp_path / "run", modulation_rows(says)))
    assert ORDER == ("circuit", "steer", "prompt")
    assert text.count(sentence) == 2  # At equal fluency, and at the most accurate doses.


def test_every_method_stands_beside_its_own_control(studied):
    text = text_of(studied)
    assert "Difference +.80 [+.75, +.85] (q .010): more than random components." in text
    assert "more than random directions" in text
    assert "less than prompt with random components ablated" in text
    assert "Circuit (dose 1): positive .90 [.85, .95], neutral .90" in text


def test_the_graph_tells_paths_beyond_chance_from_those_within(studied):
    text = text_of(studied)
    assert "Rage: 1 of 2 paths are beyond 95 % of random heads’" in text
    assert "first z.1.0 → mlp_post.1.7 −.60 [−.80, −.40]." in text


def test_every_text_is_escaped(studied):
    page = write_report(studied).read_text(encoding="utf-8")
    assert ATTACK not in page
    assert f"a judge {ATTACK}" in Page(page).text


def test_a_run_of_nothing_is_a_page_that_says_so(tmp_path):
    folder = write_run(tmp_path / "empty", [], graphs=())
    text = text_of(folder)
    assert "Missing: the run has no figures." in text
    for absent in ("no lift that an ablation could lower", "no graphs", "nothing was ablated"):
        assert absent in text
    assert [row[1:] for row in headline_table(folder)[2]] == [("-",) * 10] * 3


def test_the_short_table_has_a_line_an_emotion_and_fits_a_terminal(studied):
    title, columns, rows = headline_table(studied)
    assert len(title) <= 120
    assert [row[0] for row in rows] == list(EMOTIONS)
    assert rows[0][1:] == (
        *("0.80", "0.50", "0.10", "0.90", "0.40", "0.10"),
        *("0.40", "0.60", "0.90", "0.10"),
    )
    assert rows[2][2:5] == ("-", "-", "-")
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    assert sum(widths) + 3 * len(widths) <= 120


def test_the_table_has_ablations_with_their_controls(studied):
    body = Page(str(circuit.tables(circuits_of(read_folder(studied))))).text
    for name in ("k = 16, random components ablated", "k = 16, circuit ablated (global)"):
        assert name in body
    assert "nothing ablated" in body


@pytest.mark.parametrize("width", [400, 1200])
def test_the_page_opens_offline_and_every_view_is_drawn(opened, studied, width):  # noqa: F811
    page = opened(studied, viewport={"width": width, "height": 900})
    assert page.locator(".plot").count() == 8
    assert page.locator(".plot .main-svg:first-child").count() == 8
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for menu in page.locator("select").all():
        for option in range(menu.locator("option").count()):
            menu.select_option(index=option)
