"""Estimates one below the other, against a line at 0."""

import html
import textwrap
from typing import Any

from probekit.plots.axes import axis, extent, named, ticks
from probekit.plots.data import Forest
from probekit.plots.estimate import Estimate
from probekit.plots.theme import Theme


def forest(data: Forest, theme: Theme) -> tuple[list[Any], dict[str, Any]]:
    """Traces and layout."""
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
    low, high = extent(data.estimates, 0.0)
    labels = [
        f"{_wrapped(label)}<br><b>{estimate.text(signed=True)}</b>"
        for label, estimate in zip(data.labels, data.estimates, strict=True)
    ]
    at = named([y for y, _ in rows], labels)
    reach = [len(rows) - 0.4, -0.6]
    return traces, {
        "height": 110 + 64 * len(rows),
        "xaxis": axis(theme, data.unit, zeroline=True, **ticks(low, high, signed=True)),
        "yaxis": axis(theme, None, range=reach, showgrid=False, tickfont={"size": 12}, **at),
        "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
    }


def _wrapped(label: str) -> str:
    """Short lines, so that a narrow page keeps room for the bars beside them."""
    lines = textwrap.wrap(label, 28, break_on_hyphens=False)
    return "<br>".join(html.escape(line) for line in lines)


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
