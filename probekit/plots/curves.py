"""Curves over layers, with bands, levels and a trivial bound."""

import html
import math
from typing import Any

from probekit.plots.axes import BOUND, axis, extent, named, note, ticks
from probekit.plots.data import LayerCurves, Series
from probekit.plots.estimate import Estimate
from probekit.plots.theme import Theme

DASHES = ("solid", "longdash", "dashdot", "5px,3px", "longdashdot", "2px,3px", "8px,2px,2px,2px")
MARKERS = ("circle", "square", "diamond", "triangle-up", "x", "cross", "star")


def layer_curves(data: LayerCurves, theme: Theme) -> tuple[list[Any], dict[str, Any]]:
    """Traces and layout."""
    span = [layer for series in data.series for layer in series.layers]
    traces: list[Any] = []
    if data.null:
        traces += _curve(data.null, theme.muted, data.null_name, "dot", None, signed=data.signed)
    if data.ceiling:
        look = (theme.series[1], data.ceiling_name, "6px,2px", None)
        traces += _curve(data.ceiling, *look, signed=data.signed)
    if data.reference:
        ends = (min(span), max(span)) if len(set(span)) > 1 else (span[0] - 0.5, span[0] + 0.5)
        level = [(end, data.reference) for end in ends]
        name = data.reference_name
        traces += _curve(level, theme.words, name, "dash", None, signed=data.signed)
    # Bands of many curves hide one another; the interval is then read from the hover text.
    banded = len(data.series) <= 2
    for place, series in enumerate(data.series):
        dash, marker = DASHES[place % len(DASHES)], MARKERS[place % len(MARKERS)]
        colour = theme.series[place % len(theme.series)]
        traces += _curve(
            series, colour, series.name, dash, marker, banded=banded, signed=data.signed
        )
    estimates = [estimate for series in data.drawn for estimate in series.estimates]
    zero = (0.0,) if data.signed else ()
    low, high = extent([*estimates, *([data.reference] if data.reference else [])], *zero)
    upright = ticks(low, high, signed=data.signed)
    return traces, {
        "height": 420,
        "hovermode": "x unified",
        "xaxis": axis(theme, data.axis, showgrid=False, **_along(data)),
        "yaxis": axis(theme, data.unit, zeroline=data.signed, **upright),
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    } | _marks(data, theme)


def _along(data: LayerCurves) -> dict[str, Any]:
    """Ticks of the horizontal axis."""
    if data.log:
        return named(data.places, [str(place) for place in data.places]) | {"type": "log"}
    span = [layer for series in data.series for layer in series.layers]
    step = max(1, math.ceil((max(span) - min(span)) / 8))
    return {"tick0": min(span), "dtick": step, "tickformat": "d"}


def _marks(data: LayerCurves, theme: Theme) -> dict[str, Any]:
    """The ground under the layers whose effect is trivial, the chosen layer, and their names."""
    shapes, notes = [], []
    upright = {"y0": 0, "y1": 1, "yref": "paper"}
    corner = {"xanchor": "left", "y": 1, "yref": "paper", "yanchor": "top"}
    if data.bound is not None and data.bound <= data.places[-1]:
        start = data.bound - 0.5
        look = {"fillcolor": theme.grid, "opacity": 0.5, "layer": "below", "line": {"width": 0}}
        across = {"x0": start, "x1": data.places[-1] + 0.5}
        shapes.append({"type": "rect", **across, **upright, **look})
        notes.append(note(theme, BOUND, x=start, **corner))
    if data.chosen is not None:
        line = {"color": theme.muted, "width": 1.5, "dash": "dash"}
        across = {"x0": data.chosen, "x1": data.chosen}
        shapes.append({"type": "line", **across, **upright, "layer": "below", "line": line})
        notes.append(note(theme, f"{data.axis} {data.chosen}", x=data.chosen, xshift=3, **corner))
    return {"shapes": shapes, "annotations": notes} if shapes else {}


def _curve(
    points: Series | list[tuple[float, Estimate]],
    colour: str,
    name: str,
    dash: str,
    marker: str | None,
    *,
    banded: bool = True,
    signed: bool = False,
) -> list[dict[str, Any]]:
    """A line and the band of its intervals, which the legend switches together."""
    pairs = points.by_layer if isinstance(points, Series) else points
    line = {
        "type": "scatter",
        "name": html.escape(name),
        "legendgroup": name,
        "x": [x for x, _ in pairs],
        "y": [estimate.value for _, estimate in pairs],
        "hovertext": [estimate.text(signed=signed) for _, estimate in pairs],
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
