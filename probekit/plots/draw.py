"""Plot data to plotly figures, in a theme of colours."""

import html
import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from probekit.errors import unknown
from probekit.plots.data import (
    Confusion,
    Estimate,
    Forest,
    LayerCurves,
    PlotData,
    Series,
    TransferMatrix,
    number,
)
from probekit.plots.theme import LIGHT, Theme

if TYPE_CHECKING:
    import plotly.graph_objects as go


_DASHES = ("solid", "longdash", "dashdot", "5px,3px", "longdashdot", "2px,3px", "8px,2px,2px,2px")
_MARKERS = ("circle", "square", "diamond", "triangle-up", "x", "cross", "star")


def draw(data: PlotData, theme: Theme = LIGHT) -> "go.Figure":
    """Turn plot data into a plotly figure, on a see-through ground.

    Raises:
        UserError: `data` is none of the four kinds.
    """
    import plotly.graph_objects as go

    match data:
        case LayerCurves():
            traces, layout = _layer_curves(data, theme)
        case Forest():
            traces, layout = _forest(data, theme)
        case TransferMatrix():
            traces, layout = _transfer(data, theme)
        case Confusion():
            traces, layout = _confusion(data, theme)
        case _:
            kinds = [kind.__name__ for kind in (LayerCurves, Forest, TransferMatrix, Confusion)]
            raise unknown("plot data", type(data).__name__, kinds)
    return go.Figure(traces, _common_layout(theme) | layout)


def _layer_curves(data: LayerCurves, theme: Theme) -> tuple[list[Any], dict[str, Any]]:
    span = [layer for series in data.series for layer in series.layers]
    traces: list[Any] = []
    if data.null:
        traces += _curve(data.null, theme.muted, "chance (permutation null)", "dot", None)
    if data.reference:
        ends = (min(span), max(span)) if len(set(span)) > 1 else (span[0] - 0.5, span[0] + 0.5)
        level = [(end, data.reference) for end in ends]
        traces += _curve(level, theme.words, "words alone (text baseline)", "dash", None)
    # Bands of many curves hide one another; the interval is then read from the hover text.
    banded = len(data.series) <= 2
    for place, series in enumerate(data.series):
        dash, marker = _DASHES[place % len(_DASHES)], _MARKERS[place % len(_MARKERS)]
        colour = theme.series[place % len(theme.series)]
        traces += _curve(series, colour, series.name, dash, marker, banded=banded)
    step = max(1, math.ceil((max(span) - min(span)) / 8))
    layers = {"tick0": min(span), "dtick": step, "tickformat": "d", "showgrid": False}
    drawn = [*data.series, *([data.null] if data.null else [])]
    estimates = [estimate for series in drawn for estimate in series.estimates]
    low, high = _extent([*estimates, *([data.reference] if data.reference else [])])
    return traces, {
        "height": 420,
        "hovermode": "x unified",
        "xaxis": _axis(theme, "layer", **layers),
        "yaxis": _axis(theme, data.unit, **_ticks(low, high)),
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    }


def _curve(
    points: Series | list[tuple[float, Estimate]],
    colour: str,
    name: str,
    dash: str,
    marker: str | None,
    *,
    banded: bool = True,
) -> list[dict[str, Any]]:
    """A line and the band of its intervals, which the legend switches together."""
    pairs = points.by_layer if isinstance(points, Series) else points
    line = {
        "type": "scatter",
        "name": html.escape(name),
        "legendgroup": name,
        "x": [x for x, _ in pairs],
        "y": [estimate.value for _, estimate in pairs],
        "hovertext": [estimate.text() for _, estimate in pairs],
        "hovertemplate": "%{hovertext}",
        "mode": "lines+markers" if marker else "lines",
        "line": {"color": colour, "dash": dash, "width": 2.5 if marker else 2},
        "marker": {"symbol": marker or "circle", "size": 7, "color": colour},
    }
    outline = [point for run in _runs(pairs) for point in (*_polygon(run), (None, None))]
    if not banded or not outline:
        return [line]
    band = {
        "type": "scatter",
        "legendgroup": name,
        "showlegend": False,
        "x": [x for x, _ in outline],
        "y": [y for _, y in outline],
        "fill": "toself",
        "fillcolor": colour,
        "opacity": 0.18,
        "mode": "lines",
        "line": {"width": 0, "color": colour},
        "hoverinfo": "skip",
    }
    return [band, line]


def _runs(pairs: list[tuple[Any, Estimate]]) -> list[list[tuple[Any, float, float]]]:
    """Unbroken stretches of (x, low, high): a missing interval is a gap in the band."""
    runs: list[list[tuple[Any, float, float]]] = [[]]
    for x, estimate in pairs:
        if estimate.low is None or estimate.high is None:
            runs.append([])
        else:
            runs[-1].append((x, estimate.low, estimate.high))
    return [run for run in runs if run]


def _polygon(run: list[tuple[Any, float, float]]) -> list[tuple[Any, float]]:
    there = [(x, high) for x, _, high in run]
    return there + [(x, low) for x, low, _ in reversed(run)]


def _forest(data: Forest, theme: Theme) -> tuple[list[Any], dict[str, Any]]:
    rows = list(enumerate(data.estimates))
    traces = [
        _points(
            [(y, estimate) for y, estimate in rows if estimate.side],
            theme.series[0],
            "circle",
            "interval excludes 0",
        ),
        _points(
            [(y, estimate) for y, estimate in rows if not estimate.side],
            theme.muted,
            "circle-open",
            "interval includes 0, or none",
        ),
    ]
    low, high = _extent(data.estimates, 0.0)
    labels = [
        f"{_wrapped(label)}<br><b>{estimate.text(signed=True)}</b>"
        for label, estimate in zip(data.labels, data.estimates, strict=True)
    ]
    named = {"tickmode": "array", "tickvals": [y for y, _ in rows], "ticktext": labels}
    reach = [len(rows) - 0.4, -0.6]
    return traces, {
        "height": 110 + 64 * len(rows),
        "xaxis": _axis(theme, data.unit, zeroline=True, **_ticks(low, high, signed=True)),
        "yaxis": _axis(theme, None, range=reach, showgrid=False, tickfont={"size": 12}, **named),
        "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
    }


def _wrapped(label: str) -> str:
    """Short lines, so that a narrow page keeps room for the bars beside them."""
    lines = textwrap.wrap(label, 28, break_on_hyphens=False)
    return "<br>".join(html.escape(line) for line in lines)


def _extent(estimates: Iterable[Estimate], *more: float) -> tuple[float, float]:
    """Least and greatest figure or bound, with a margin."""
    bounds = [bound for e in estimates for bound in (e.value, e.low, e.high) if bound is not None]
    low, high = min([*bounds, *more], default=0.0), max([*bounds, *more], default=1.0)
    margin = 0.06 * (high - low) or 0.05
    return low - margin, high + margin


def _ticks(low: float, high: float, *, signed: bool = False) -> dict[str, Any]:
    """A range with at most seven round ticks, written as figures are in the text."""
    step = next((s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if (high - low) / s <= 6), high - low)
    values = [n * step for n in range(math.ceil(low / step), math.floor(high / step) + 1)]
    texts = [number(round(value, 6), signed=signed) if round(value, 6) else "0" for value in values]
    return {"range": [low, high], "tickmode": "array", "tickvals": values, "ticktext": texts}


def _points(
    points: list[tuple[int, Estimate]], colour: str, marker: str, name: str
) -> dict[str, Any]:
    def arm(estimate: Estimate, bound: float | None) -> float | None:
        return None if bound is None or estimate.value is None else abs(bound - estimate.value)

    return {
        "type": "scatter",
        "name": name,
        "mode": "markers",
        "x": [estimate.value for _, estimate in points],
        "y": [y for y, _ in points],
        "hovertext": [estimate.text(signed=True) for _, estimate in points],
        "hovertemplate": "%{hovertext}<extra></extra>",
        "marker": {
            "symbol": marker,
            "size": 12,
            "color": colour,
            "line": {"width": 2.5, "color": colour},
        },
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [arm(estimate, estimate.high) for _, estimate in points],
            "arrayminus": [arm(estimate, estimate.low) for _, estimate in points],
            "color": colour,
            "thickness": 2.5,
            "width": 0,
        },
    }


def _transfer(data: TransferMatrix, theme: Theme) -> tuple[list[Any], dict[str, Any]]:
    signed = data.scale[0] == -data.scale[1]
    values = [[cell.value for cell in row] for row in data.cells]
    texts = [[cell.text(signed=signed).replace(" [", "<br>[") for cell in r] for r in data.cells]
    stops = theme.diverging if signed else theme.sequential
    trace = _heat(data.test, data.train, values, texts, stops, data.scale, theme)
    return [trace], {
        "height": 130 + 80 * len(data.train),
        "xaxis": _axis(theme, "tested on", type="category", showgrid=False),
        "yaxis": _axis(theme, "trained on", type="category", showgrid=False, autorange="reversed"),
    }


def _confusion(data: Confusion, theme: Theme) -> tuple[list[Any], dict[str, Any]]:
    texts = [[number(share) for share in row] for row in data.shares]
    trace = _heat(
        data.classes, data.classes, data.shares, texts, theme.sequential, (0.0, 1.0), theme
    )
    return [trace], {
        "height": 150 + 40 * len(data.classes),
        "xaxis": _axis(theme, "predicted", type="category", showgrid=False, tickfont={"size": 11}),
        "yaxis": _axis(theme, "true", type="category", showgrid=False, autorange="reversed"),
    }


def _heat(
    x: Sequence[str],
    y: Sequence[str],
    values: Sequence[Sequence[float | None]],
    texts: list[list[str]],
    stops: tuple[str, ...],
    scale: tuple[float, float],
    theme: Theme,
) -> dict[str, Any]:
    return {
        "type": "heatmap",
        "x": [html.escape(name) for name in x],
        "y": [html.escape(name) for name in y],
        "z": [list(row) for row in values],
        "text": texts,
        "texttemplate": "%{text}",
        "textfont": {"color": theme.ink},
        "hovertemplate": "%{y} → %{x}: %{text}<extra></extra>",
        "hoverongaps": False,
        "colorscale": [[place / (len(stops) - 1), colour] for place, colour in enumerate(stops)],
        "zmin": scale[0],
        "zmax": scale[1],
        "showscale": False,
        "xgap": 3,
        "ygap": 3,
    }


def _axis(theme: Theme, title: str | None, **more: Any) -> dict[str, Any]:
    return {
        "title": {"text": html.escape(title or ""), "standoff": 12, "font": {"size": 13}},
        "automargin": True,
        "fixedrange": True,
        "gridcolor": theme.grid,
        "linecolor": theme.grid,
        "tickcolor": theme.grid,
        "zeroline": False,
        "zerolinecolor": theme.ink,
        "zerolinewidth": 1.5,
    } | more


def _common_layout(theme: Theme) -> dict[str, Any]:
    return {
        "template": {},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": theme.ink},
        "hoverlabel": {
            "bgcolor": theme.page,
            "bordercolor": theme.grid,
            "font": {"color": theme.ink},
            "namelength": -1,
        },
        "margin": {"l": 8, "r": 12, "t": 16, "b": 8},
        "dragmode": False,
    }
