"""Items in a plane: one thing by colour, another by marker."""

import html
from typing import Any

from probekit.plots.axes import axis
from probekit.plots.data import Points, Scatter
from probekit.plots.theme import Theme

_MARKERS = ("circle", "diamond", "x", "square", "triangle-up", "star", "cross")


def scatter(data: Scatter, theme: Theme) -> tuple[list[Any], dict[str, Any]]:
    """Traces and layout; the legend names colours and markers apart from one another."""
    hues = dict(zip(data.colours, (*theme.series, theme.words), strict=False))
    marks = {name: _MARKERS[place % len(_MARKERS)] for place, name in enumerate(data.markers)}
    # Grey lies under the colours.
    drawn = sorted(data.points, key=lambda each: bool(each.colour))
    traces = [
        _items(each, hues.get(each.colour, theme.muted), marks[each.marker]) for each in drawn
    ]
    traces += [_named(colour, hue, "circle") for colour, hue in hues.items()]
    marked = [_named(name, theme.muted, mark) for name, mark in marks.items() if name]
    traces += [trace | {"legend": "legend2"} for trace in marked]
    return traces, {
        "height": 560,
        "xaxis": axis(theme, data.x_axis, nticks=7, constrain="domain"),
        "yaxis": axis(theme, data.y_axis, nticks=7, constrain="domain", scaleanchor="x"),
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "legend2": {"orientation": "h", "y": -0.14, "yanchor": "top", "x": 0},
    }


def _items(points: Points, colour: str, mark: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "legendgroup": points.colour or points.marker,
        "showlegend": False,
        "x": list(points.x),
        "y": list(points.y),
        "hovertext": [html.escape(name) for name in points.names],
        "hovertemplate": "%{hovertext}<extra></extra>",
        "opacity": 0.8 if points.colour else 0.45,
        "marker": {"symbol": mark, "size": 7, "color": colour},
    }


def _named(name: str, colour: str, mark: str) -> dict[str, Any]:
    """A line of the legend, which stands for no item."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": html.escape(name),
        "legendgroup": name,
        "x": [None],
        "y": [None],
        "hoverinfo": "skip",
        "marker": {"symbol": mark, "size": 9, "color": colour},
    }
