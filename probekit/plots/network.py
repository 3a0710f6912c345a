"""Parts of a model at their layers, joined by what goes from one to another."""

import html
import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import Any

from probekit.plots.axes import axis, named
from probekit.plots.data import Link, Network, Vertex
from probekit.plots.estimate import number
from probekit.plots.theme import Theme

MARKERS = ("circle", "diamond", "square", "triangle-up")
GOLDEN = 0.618034
WIDEST, THINNEST, FAINT = 7.0, 0.8, 0.13
ROOM = 8
"""Labels in a row that even a narrow page has room for."""
LINE = 64
"""Characters of a line that is said on pointing."""
Place = tuple[float, float]


def network(data: Network, theme: Theme) -> tuple[list[Any], dict[str, Any]]:
    """Traces and layout; what is faint lies under the rest."""
    places = layout(data.vertices, data.kinds)
    drawn = sorted(data.links, key=lambda link: (link.shown, _size(link)))
    longest = max(map(_size, drawn), default=0.0) or 1.0
    traces = [_line(link, places, longest, theme) for link in drawn]
    traces += [_middles(data, drawn, places)]
    looks = zip(data.kinds, MARKERS, strict=False)
    traces += [_vertices(data, kind, mark, places, theme) for kind, mark in looks]
    traces += _legend(data, theme)
    layers = sorted({each.layer for each in data.vertices})
    first, last = layers[0], layers[-1]
    return traces, {
        "height": 150 + 24 * max(12, last - first),
        "hovermode": "closest",
        "xaxis": axis(theme, None, range=[0, 1.06], showgrid=False, showticklabels=False, ticks=""),
        "yaxis": axis(
            theme, "layer", range=[first - 0.8, last + 1.3], **named(layers, list(map(str, layers)))
        ),
        "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
    }


def layout(vertices: Sequence[Vertex], kinds: Sequence[str]) -> dict[str, Place]:
    """Name -> place: upright the layer, later kinds a little higher; across evenly, as they come.

    Rows are shifted against one another, so that no line runs through the vertices above.
    """
    rows: dict[Place, list[str]] = {}
    for each in vertices:
        height = each.layer + kinds.index(each.kind) / len(kinds)
        rows.setdefault((height, 0.0), []).append(each.name)
    found = {}
    for row, ((height, _), names) in enumerate(sorted(rows.items())):
        shift = 0.2 + 0.6 * (row * GOLDEN % 1)
        for place, name in enumerate(names):
            found[name] = ((place + shift) / len(names), height)
    return found


def _size(link: Link) -> float:
    return abs(link.weight.value or 0.0)


def _line(link: Link, places: dict[str, Place], longest: float, theme: Theme) -> dict[str, Any]:
    (x, y), (to_x, to_y) = places[link.source], places[link.target]
    colour = theme.words if (link.weight.value or 0.0) < 0 else theme.series[0]
    width = max(THINNEST, WIDEST * _size(link) / longest)
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [x, to_x],
        "y": [y, to_y],
        "line": {"color": colour, "width": round(width, 2)},
        "opacity": 0.85 if link.shown else FAINT,
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _middles(data: Network, links: Sequence[Link], places: dict[str, Place]) -> dict[str, Any]:
    """Something to point at on every line."""
    ends = [(places[link.source], places[link.target]) for link in links]
    said = [
        html.escape(f"{link.source} → {link.target}")
        + f"<br>{link.weight.text(signed=True)} {html.escape(data.unit)}"
        + ("" if link.shown else "<br>not beyond chance")
        for link in links
    ]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [(one[0] + other[0]) / 2 for one, other in ends],
        "y": [(one[1] + other[1]) / 2 for one, other in ends],
        "hovertext": said,
        "hovertemplate": "%{hovertext}<extra></extra>",
        "marker": {"size": 10, "opacity": 0},
        "showlegend": False,
    }


def _vertices(
    data: Network, kind: str, mark: str, places: dict[str, Place], theme: Theme
) -> dict[str, Any]:
    own = [each for each in data.vertices if each.kind == kind]
    linked = {end for link in data.links if link.shown for end in (link.source, link.target)}
    crowded = {n for n, count in Counter(each.layer for each in own).items() if count > ROOM}
    colour = theme.series[1 + list(data.kinds).index(kind)]
    return {
        "type": "scatter",
        "mode": "markers+text",
        "name": html.escape(kind),
        "text": [
            html.escape(each.label) if each.name in linked and each.layer not in crowded else ""
            for each in own
        ],
        "textposition": "middle right",
        "textfont": {"size": 10, "color": theme.ink},
        "x": [places[each.name][0] for each in own],
        "y": [places[each.name][1] for each in own],
        "hovertext": [_said(each) for each in own],
        "hovertemplate": "%{hovertext}<extra></extra>",
        "hoverlabel": {"align": "left"},
        "marker": {
            "symbol": mark,
            "size": 12,
            "color": colour,
            "line": {"width": 1.5, "color": theme.page},
        },
    }


def _said(vertex: Vertex) -> str:
    lines = [part for line in vertex.lines for part in textwrap.wrap(line, LINE) or [""]]
    return "<br>".join([f"<b>{html.escape(vertex.name)}</b>", *map(html.escape, lines)])


def _legend(data: Network, theme: Theme) -> list[dict[str, Any]]:
    """What colours and faintness of lines mean; a width is read against the widest one's."""
    widest = max((_size(link) for link in data.links), default=None)
    looks = [("positive", theme.series[0], 0.85), ("negative", theme.words, 0.85)]
    looks += [("not beyond chance", theme.series[0], 0.3)]
    told = "" if widest is None else f" (widest {number(widest)})"
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "name": html.escape(name + told * (place == 0)),
            "x": [None],
            "y": [None],
            "line": {"color": colour, "width": 4},
            "opacity": opacity,
            "hoverinfo": "skip",
        }
        for place, (name, colour, opacity) in enumerate(looks)
        if data.links
    ]
