"""Plot data refuses what cannot be drawn honestly; figures show what the data say."""

import math
import re
from itertools import pairwise

import pytest

from probekit.errors import UserError
from probekit.plots import (
    DARK,
    HUES,
    LIGHT,
    Confusion,
    Estimate,
    Forest,
    Heatmap,
    LayerCurves,
    Link,
    Network,
    Points,
    Scatter,
    Series,
    TransferMatrix,
    Vertex,
    draw,
    number,
)
from probekit.plots.network import layout

FULL, BARE, NOTHING = Estimate(0.7, 0.6, 0.8), Estimate(0.7), Estimate(None)
CURVE = Series("resid_post", [12, 0, 6], [FULL, Estimate(0.5, 0.4, 0.6), NOTHING])
CURVES = LayerCurves([CURVE], "AUROC", reference=Estimate(0.55, 0.5, 0.6), null=CURVE)
FOREST = Forest(
    ["a", "b", "c"], [Estimate(0.2, 0.1, 0.3), Estimate(0.1, -0.1, 0.2), NOTHING], "gain"
)
TRANSFER = TransferMatrix(
    ["free", "rich"], ["free", "rich"], [[FULL, BARE], [NOTHING, FULL]], "AUROC"
)
CONFUSION = Confusion(["rage", "grief"], [[0.75, 0.25], [None, 0.5]])
HEATMAP = Heatmap(
    ["0", "1", "2"],
    ["the", "the"],
    [[Estimate(-0.4), Estimate(0.1)], [NOTHING, Estimate(0.2, 0.1, 0.3)], [BARE, NOTHING]],
    "change",
    "layer",
    "token",
    bound=2,
)
LARGE = Heatmap(
    [str(n) for n in range(10)],
    [str(n) for n in range(9)],
    [[NOTHING if row == column else Estimate(0.1) for column in range(9)] for row in range(10)],
    "change",
    "layer",
    "head",
)
SCATTER = Scatter(
    [
        Points("rage", "free", ["a", "b"], [1.0, 2.0], [0.0, -1.0]),
        Points("grief", "rich", ["c"], [0.5], [1.0]),
        Points("", "neutral", ["d"], [0.0], [0.0]),
    ],
    "first",
    "second",
)
CEILED = LayerCurves([CURVE], "rho", null=CURVE, ceiling=Series("c", [20], [Estimate(0.9)]))
SHADED = LayerCurves([CURVE], "change", signed=True, bound=6)
KINDS = ["head", "neuron"]
VERTICES = [
    Vertex("z.2.0", "head", 2, ["word " * 30], "0"),
    Vertex("z.2.1", "head", 2),
    Vertex("mlp_post.2.9", "neuron", 2, label="9"),
    Vertex("mlp_post.5.4", "neuron", 5, label="4"),
]
NETWORK = Network(
    VERTICES,
    [
        Link("z.2.0", "mlp_post.2.9", Estimate(-0.8, -0.9, -0.7), True),
        Link("z.2.1", "mlp_post.2.9", Estimate(0.4, -0.1, 0.9), False),
        Link("z.2.1", "mlp_post.5.4", Estimate(0.2), True),
    ],
    KINDS,
    "units",
)


# Numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *[(0.784, ".78"), (1.0, "1.00"), (0.999, "1.00"), (-0.05, "−.05"), (12.345, "12.35")],
        *[
            (0.0, ".00"),
            (-0.0, ".00"),
            (1.6e-17, ".00"),
            (0.0049, ".005"),
            (0.0012, ".001"),
            (-0.004, "−.004"),
        ],
        (None, "–"),
    ],
)
def test_numbers_read_as_the_field_prints_them(value, text):
    assert number(value) == text


def test_a_signed_number_shows_its_plus():
    assert [number(v, signed=True) for v in (0.2, -0.2, 0.0)] == ["+.20", "−.20", ".00"]


def test_an_estimate_reads_with_its_interval():
    assert FULL.text() == ".70 [.60, .80]"
    assert BARE.text() == ".70"
    assert NOTHING.text(signed=True) == "–"


# Data


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        ((math.nan,), "value is nan: give a finite number, or None"),
        ((0.5, math.nan, 0.6), "low is nan"),
        ((0.5, 0.4, math.inf), "high is inf"),
        ((0.5, 0.4, None), "has one end: give both or none"),
        ((0.5, None, 0.6), "has one end: give both or none"),
        ((0.5, 0.6, 0.7), "must hold its value 0.5"),
        ((0.8, 0.6, 0.7), "must hold its value 0.8"),
        ((None, 0.6, 0.7), "must hold its value None"),
    ],
)
def test_an_estimate_refuses(figures, message):
    with pytest.raises(UserError, match=re.escape(message)):
        Estimate(*figures)


@pytest.mark.parametrize(
    ("low", "value", "high", "side"),
    [(0.1, 0.2, 0.3, 1), (-0.1, 0.2, 0.3, 0), (0.0, 0.2, 0.3, 0), (-0.3, -0.2, -0.1, -1)],
)
def test_the_side_of_zero_is_that_of_the_whole_interval(low, value, high, side):
    assert Estimate(value, low, high).side == side
    assert Estimate(value).side is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Series("s", [1, 2], [FULL]), "series 's': 2 layers, 1 estimates"),
        (lambda: Series("s", [1, 1], [FULL, FULL]), "names a layer twice"),
        (lambda: Series("s", [1.5], [FULL]), "whole numbers, not 1.5"),
        (lambda: LayerCurves([], "AUROC"), "nothing to draw"),
        (lambda: LayerCurves([CURVE, CURVE], "AUROC"), "two series have one name"),
        (lambda: Forest(["a"], [], "AUROC"), "forest: 1 labels, 0 estimates"),
        (lambda: Forest([], [], "AUROC"), "nothing to draw"),
        (lambda: TransferMatrix(["a"], ["a"], [[FULL, FULL]], "AUROC"), "row 'a'"),
        (lambda: TransferMatrix(["a"], ["a"], [], "AUROC"), "1 rows, 0 cells"),
        (lambda: TransferMatrix(["a"], ["a"], [[FULL]], "AUROC", (1.0, 1.0)), "must rise"),
        (lambda: LayerCurves([CURVE], "AUROC", log=True), "layer 0 has no place on a log axis"),
        (lambda: Heatmap([], [], [], "u", "r", "c"), "nothing to draw"),
        (lambda: Heatmap(["a"], ["b"], [[FULL, FULL]], "u", "r", "c"), "row 'a' of the heatmap"),
        (lambda: Heatmap(["a"], ["b"], [[FULL]], "u", "r", "c", 1), "bound 1 is none of 1 rows"),
        (lambda: Confusion(["a", "b"], [[1.0, 0.0]]), "2 rows, 1 cells"),
        (lambda: Scatter([], "x", "y"), "nothing to draw"),
        (lambda: Points("rage", "a", ["n"], [1.0, 2.0], [1.0]), "'rage': 1 names, 2 x, 1 y"),
        (lambda: Points("rage", "a", ["n"], [math.inf], [1.0]), "a coordinate is inf"),
        (
            lambda: Scatter([Points(str(n), "a", [], [], []) for n in range(HUES + 1)], "", ""),
            "9 colours cannot be told apart: give 8 or fewer",
        ),
        (lambda: Network([], [], KINDS, "u"), "nothing to draw"),
        (lambda: Network([VERTICES[0]] * 2, [], KINDS, "u"), "names a vertex twice"),
        (lambda: Network(VERTICES, [], ["head"], "u"), "kind 'neuron', which is none of"),
        (
            lambda: Network(VERTICES, [Link("z.2.0", "z.9.9", FULL, True)], KINDS, "u"),
            "an end 'z.9.9' that is no vertex",
        ),
        (
            lambda: Network(VERTICES, [Link("z.2.0", "z.2.1", NOTHING, True)], KINDS, "u"),
            "a link without a weight",
        ),
        (lambda: Confusion(["a"], [[1.2]]), "outside 0 to 1"),
        (lambda: Confusion(["a"], [[math.nan]]), "outside 0 to 1"),
        (
            lambda: Confusion(["a", "b"], [[0.5, 0.4], [0.5, 0.5]]),
            "row 'a' of the confusion sums to 0.9",
        ),
    ],
)
def test_data_that_cannot_be_drawn_is_refused(make, message):
    with pytest.raises(UserError, match=re.escape(message)):
        make()


# Figures


def trace(figure, name):
    """The trace that the legend calls `name`."""
    return next(t for t in figure.data if t.name == name and t.showlegend is not False)


def test_layers_stand_at_their_numbers_and_a_missing_figure_is_a_gap():
    line = trace(draw(CURVES), "resid_post")
    assert line.x == (0, 6, 12)
    assert line.y == (0.5, None, 0.7)
    assert line.hovertext == (".50 [.40, .60]", "–", ".70 [.60, .80]")


def test_a_band_is_closed_and_broken_where_an_interval_is_missing():
    band = next(t for t in draw(CURVES).data if t.legendgroup == "resid_post" and t.fill)
    assert band.x == (0, 0, None, 12, 12, None)
    assert band.y == (0.6, 0.4, None, 0.8, 0.6, None)


def test_probe_words_and_chance_differ_in_more_than_colour():
    lines = [t for t in draw(CURVES).data if t.showlegend is not False]
    assert [t.name for t in lines] == [
        "chance (permutation null)",
        "words alone (text baseline)",
        "resid_post",
    ]
    assert len({t.line.dash for t in lines}) == len({t.line.color for t in lines}) == 3


def test_seven_sites_differ_in_colour_dash_and_marker():
    sites = [Series(str(n), [0, 1], [FULL, FULL]) for n in range(7)]
    lines = draw(LayerCurves(sites, "AUROC")).data
    for look in ("line.color", "line.dash", "marker.symbol"):
        assert len({line[look] for line in lines}) == 7


def test_one_layer_can_be_drawn():
    figure = draw(LayerCurves([Series("s", [3], [FULL])], "AUROC", reference=BARE))
    assert trace(figure, "words alone (text baseline)").x == (2.5, 3.5)


def test_a_forest_tells_what_excludes_zero():
    figure = draw(FOREST)
    clear, unclear = trace(figure, "interval excludes 0"), figure.data[1]
    assert (clear.x, clear.y, clear.marker.symbol) == ((0.2,), (0,), "circle")
    assert (unclear.x, unclear.y, unclear.marker.symbol) == ((0.1, None), (1, 2), "circle-open")
    assert clear.error_x.array == pytest.approx((0.1,))
    assert unclear.error_x.arrayminus[0] == pytest.approx(0.2)
    assert unclear.error_x.arrayminus[1] is None
    assert figure.layout.xaxis.zeroline
    low, high = figure.layout.xaxis.range
    assert low < -0.1 < 0.3 < high


def test_ticks_are_round_and_few():
    for top in (0.02, 0.3, 1.0, 40.0):
        axis = draw(Forest(["a"], [Estimate(top / 2, 0.0, top)], "gain")).layout.xaxis
        assert 1 <= len(axis.tickvals) <= 7
        assert "0" in axis.ticktext


def test_matrices_hold_rows_of_what_is_true_or_trained_on():
    heat = draw(TRANSFER).data[0]
    assert [list(row) for row in heat.z] == [[0.7, 0.7], [None, 0.7]]
    assert heat.text[0][0] == ".70<br>[.60, .80]"
    low, high = draw(TRANSFER).layout.yaxis.range
    assert low > high  # the first row stands on top
    assert draw(CONFUSION).data[0].text[1] == ["–", ".50"]


def test_a_heatmap_is_symmetric_about_zero_and_keeps_columns_of_one_name_apart():
    heat = draw(HEATMAP).data[0]
    assert (heat.zmin, heat.zmax) == (-0.7, 0.7)
    assert heat.colorscale[2] == (0.5, LIGHT.diverging[2])
    assert heat.x == (0, 1)
    assert draw(HEATMAP).layout.xaxis.ticktext == ("the", "the")
    assert heat.text[1] == ["–", "+.20"]
    assert heat.hovertext[1][1] == "layer 1, token the: +.20 [+.10, +.30]"
    assert heat.colorbar.ticktext == ("−.70", "0", "+.70")


def test_a_heatmap_sets_the_trivial_rows_off_by_a_named_line():
    figure = draw(HEATMAP)
    heat = figure.data[0]
    assert [list(row) for row in heat.z] == [[-0.4, 0.1], [None, 0.2], [None, None], [0.7, None]]
    assert figure.layout.yaxis.tickvals == (0, 1, 3)
    assert figure.layout.yaxis.ticktext == ("0", "1", "2")
    assert figure.layout.shapes[0].y0 == figure.layout.annotations[0].y == 2
    assert "trivial bound" in figure.layout.annotations[0].text
    assert not draw(LARGE).layout.shapes


def test_a_large_heatmap_marks_what_is_missing_instead_of_writing_figures():
    heat, crosses = draw(LARGE).data
    assert {text for row in heat.text for text in row} == {""}
    assert crosses.x == crosses.y == tuple(range(9))
    assert crosses.hovertext[3] == "layer 3, head 3: –"
    assert len(draw(HEATMAP).data) == 1


def test_a_heatmap_of_nothing_known_still_has_a_scale():
    assert Heatmap(["a"], ["b"], [[NOTHING]], "u", "r", "c").reach == 1.0


def test_counts_stand_on_a_log_axis_at_ticks_of_their_own():
    top, random = Series("top", [1, 2, 8], [FULL, FULL, FULL]), Series("random", [4], [FULL])
    figure = draw(LayerCurves([top], "change", null=random, axis="units ablated", log=True))
    axis = figure.layout.xaxis
    assert (axis.type, axis.title.text, axis.tickvals) == ("log", "units ablated", (1, 2, 4, 8))
    assert trace(figure, "chance (permutation null)").x == (4,)


def test_differences_show_zero_and_the_layers_of_a_trivial_bound_are_shaded():
    layout = draw(SHADED).layout
    assert layout.yaxis.zeroline
    assert layout.yaxis.range[0] < 0
    assert (layout.shapes[0].x0, layout.shapes[0].x1) == (5.5, 12.5)
    assert layout.annotations[0].text == "trivial bound"
    assert trace(draw(SHADED), "resid_post").hovertext[0] == "+.50 [+.40, +.60]"
    beyond = LayerCurves([CURVE], "change", bound=13)
    assert not draw(beyond).layout.shapes


def test_levels_take_the_names_they_are_given():
    figure = draw(
        LayerCurves(
            [CURVE],
            "share",
            reference=BARE,
            null=CURVE,
            reference_name="no patch",
            null_name="drawn",
        )
    )
    assert {t.name for t in figure.data if t.name} == {"no patch", "drawn", "resid_post"}


def test_a_ceiling_is_drawn_and_makes_room_for_itself():
    figure = draw(CEILED)
    ceiling = trace(figure, "noise ceiling, lower to upper")
    assert (ceiling.x, ceiling.y) == ((20,), (0.9,))
    assert ceiling.line.color != trace(figure, "resid_post").line.color
    assert figure.layout.yaxis.range[1] > 0.9
    assert CEILED.places == [0, 6, 12, 20]


def test_a_scatter_tells_emotions_by_colour_and_arms_by_marker():
    assert len(LIGHT.series) + 1 >= HUES
    figure = draw(SCATTER)
    items = [t for t in figure.data if t.hovertext]
    # What is grey lies under the rest.
    assert [t.hovertext for t in items] == [("d",), ("a", "b"), ("c",)]
    assert items[0].marker.color == LIGHT.muted
    assert len({t.marker.color for t in items}) == len({t.marker.symbol for t in items}) == 3
    named = {t.name: t.marker for t in figure.data if t.name}
    assert set(named) == {"rage", "grief", "free", "rich", "neutral"}
    assert named["rage"].color == items[1].marker.color
    assert named["free"].symbol == items[1].marker.symbol
    assert figure.layout.yaxis.scaleanchor == "x"


def test_a_network_stands_in_layers_and_later_kinds_above_earlier_ones():
    figure = draw(NETWORK)
    heads, neurons = trace(figure, "head"), trace(figure, "neuron")
    assert (heads.y, neurons.y) == ((2, 2), (2.5, 5.5))
    assert heads.marker.symbol != neurons.marker.symbol
    assert figure.layout.yaxis.tickvals == (2, 5)
    assert heads.hovertext[0].startswith("<b>z.2.0</b><br>word")
    assert heads.hovertext[0].count("<br>") == 3  # Long lines are wrapped.


def test_no_two_of_a_row_stand_on_one_another_and_places_stay():
    many = [Vertex(f"z.0.{n}", "head", 0) for n in range(12)]
    many += [Vertex(f"mlp_post.{n % 2}.{n}", "neuron", n % 2) for n in range(12)]
    places = layout(many, KINDS)
    assert places == layout(many, KINDS)
    for row in {height for _, height in places.values()}:
        across = sorted(x for x, height in places.values() if height == row)
        gaps = [b - a for a, b in pairwise(across)]
        assert min(gaps) == pytest.approx(1 / len(across))
        assert 0 < across[0] < across[-1] < 1


def test_links_take_colour_from_sign_width_from_size_and_are_faint_within_chance():
    figure = draw(NETWORK)
    lines = [t for t in figure.data if t.mode == "lines" and t.x[0] is not None]
    # What is faint lies under the rest, the largest on top.
    assert [t.line.width for t in lines] == [3.5, 1.75, 7.0]
    assert lines[0].opacity < 0.3 < lines[1].opacity == lines[2].opacity
    assert lines[0].line.color == lines[1].line.color != lines[2].line.color
    (middles,) = [t for t in figure.data if t.mode == "markers"]
    assert middles.hovertext[0] == "z.2.1 → mlp_post.2.9<br>+.40 [−.10, +.90] units<br>" + (
        "not beyond chance"
    )
    assert "not beyond" not in middles.hovertext[2]


def test_labels_are_of_what_a_link_beyond_chance_joins():
    figure = draw(NETWORK)
    assert trace(figure, "head").text == ("0", "")
    assert trace(figure, "neuron").text == ("9", "4")
    crowd = [Vertex(f"z.2.{n}", "head", 2, label=str(n)) for n in range(9)]
    joined = [Link(f"z.2.{n}", "mlp_post.5.4", FULL, True) for n in range(9)]
    figure = draw(Network([*crowd, VERTICES[3]], joined, KINDS, "units"))
    assert set(trace(figure, "head").text) == {""}


def test_a_network_without_links_is_drawn_without_their_legend():
    figure = draw(Network(VERTICES, [], KINDS, "units"))
    assert {t.name for t in figure.data if t.name} == set(KINDS)


def test_a_signed_matrix_takes_two_hues_about_zero():
    signed = TransferMatrix(["a"], ["a"], [[Estimate(0.1)]], "gain", (-0.5, 0.5))
    heat = draw(signed).data[0]
    assert heat.colorscale[2] == (0.5, LIGHT.diverging[2])
    assert heat.text[0][0] == "+.10"


@pytest.mark.parametrize(
    "data", [CURVES, SHADED, FOREST, TRANSFER, CONFUSION, HEATMAP, LARGE, SCATTER, CEILED, NETWORK]
)
def test_every_colour_is_of_the_theme_so_that_themes_can_be_swapped(data):
    light, dark = draw(data, LIGHT).to_json(), draw(data, DARK).to_json()
    swap = dict(zip(LIGHT.colours, DARK.colours, strict=True))
    assert set(re.findall("#[0-9a-f]{6}", light)) <= set(LIGHT.colours)
    assert re.sub("#[0-9a-f]{6}", lambda found: swap[found[0]], light) == dark


def test_markup_in_a_name_is_text():
    name = "<a href='javascript:alert(1)'>x</a>"
    figures = [
        draw(LayerCurves([Series(name, [0], [FULL])], name)),
        draw(Forest([name], [FULL], name)),
        draw(TransferMatrix([name], [name], [[FULL]], name)),
        draw(Confusion([name], [[1.0]])),
        draw(Heatmap([name], [name], [[FULL]], name, name, name, 0)),
        draw(Scatter([Points(name, name, [name], [0.0], [0.0])], name, name)),
        draw(
            Network(
                [Vertex(name, name, 0, [name], name)], [Link(name, name, FULL, True)], [name], name
            )
        ),
    ]
    for figure in figures:
        drawn = figure.to_dict()
        drawn["data"] = [{k: v for k, v in t.items() if k != "legendgroup"} for t in drawn["data"]]
        assert "<a" not in str(drawn)


def test_only_plot_data_is_drawn():
    with pytest.raises(UserError, match="unknown plot data 'dict': accepted are LayerCurves"):
        draw({})  # pyright: ignore[reportArgumentType]


# Colours


def contrast(one, other):
    """WCAG 2 contrast ratio of two `#rrggbb` colours."""

    def luminance(colour):
        channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_colours_can_be_told_from_the_page_and_text_from_its_ground(theme):
    assert len(set(theme.colours)) == len(theme.colours)
    for colour in (theme.words, *theme.series):
        assert contrast(colour, theme.page) >= 3
    assert contrast(theme.muted, theme.page) >= 4.5
    for ground in (theme.page, *theme.sequential, *theme.diverging):
        assert contrast(theme.ink, ground) >= 4.5
