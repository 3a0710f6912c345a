"""Points with intervals both ways, joined in the order of their settings."""

import html
import math
from typing import Any

from probekit.plots.axes import axis, extent, named, note, ticks
from probekit.plots.curves import DASHES, MARKERS
from probekit.plots.data import Trail, Trails
from probekit.plots.estimate import Estimate, number
from probekit.plots.theme import Theme

RATIOS = (0.01, 0.1, 0.2, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20, 50, 100, 300, 1000, 10000)
NEAR = tuple(step / 10 for step in range(5, 30, 1))
"""Ticks of a log axis, and those of one that spans less than threefold."""


def trails(data: Trails, theme: Theme) -> tuple[list[Any], dict[str, Any]]:
    """Traces and layout."""
    hues = (*theme.series, theme.words)
    drawn = [_points(each, hues[n], n) for n, each in enumerate(data.trails)]
    xs = [e for each in data.trails for e in each.x]
    ys = [e for each in data.trails for e in each.y]
    bounds = () if data.bound is None else (data.bound,)
    across = _log_axis(xs, bounds) if data.log else ticks(*extent(xs, *bounds))
    level = [] if data.level is None else [data.level]
    upright = ticks(*extent([*ys, *level], 0.0))
    ends = [10**end if data.log else end for end in across["range"]]
    if data.level is not None:
        drawn.append(_level(data, data.level, ends, theme))
    return drawn, {
        "height": 460,
        "hovermode": "closest",
        "xaxis": axis(theme, data.x_unit, **across),
        "yaxis": axis(theme, data.y_unit, **upright),
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    } | _bound(data, theme)


def _points(trail: Trail, colour: str, place: int) -> dict[str, Any]:
    said = [
        f"{html.escape(trail.name)}, {html.escape(label)}<br>{y.text()} at {x.text()}"
        for label, x, y in zip(trail.labels, trail.x, trail.y, strict=True)
    ]
    return {
        "type": "scatter",
        "name": html.escape(trail.name),
        "mode": "lines+markers",
        "x": [each.value for each in trail.x],
        "y": [each.value for each in trail.y],
        "hovertext": said,
        "hovertemplate": "%{hovertext}<extra></extra>",
        "line": {"color": colour, "dash": DASHES[place % len(DASHES)], "width": 2},
        "marker": {"symbol": MARKERS[place % len(MARKERS)], "size": 9, "color": colour},
        "error_x": _arms(trail.x, colour),
        "error_y": _arms(trail.y, colour),
    }


def _arms(estimates: Any, colour: str) -> dict[str, Any]:
    def arm(each: Estimate, end: float | None) -> float | None:
        return None if end is None or each.value is None else abs(end - each.value)

    return {
        "type": "data",
        "symmetric": False,
        "array": [arm(each, each.high) for each in estimates],
        "arrayminus": [arm(each, each.low) for each in estimates],
        "color": colour,
        "thickness": 1.2,
        "width": 0,
    }


def _level(data: Trails, level: Estimate, ends: list[float], theme: Theme) -> dict[str, Any]:
    return {
        "type": "scatter",
        "name": html.escape(data.level_name),
        "mode": "lines",
        "x": ends,
        "y": [level.value, level.value],
        "hovertext": [level.text()] * 2,
        "hovertemplate": "%{hovertext}<extra></extra>",
        "line": {"color": theme.muted, "dash": "dot", "width": 2},
    }


def _log_axis(estimates: list[Estimate], bounds: tuple[float, ...]) -> dict[str, Any]:
    given = [end for e in estimates for end in (e.value, e.low, e.high) if end is not None]
    logs = [math.log10(end) for end in (*given, *bounds) if end > 0]
    low, high = min(logs, default=0.0), max(logs, default=1.0)
    margin = 0.05 * (high - low) or 0.05
    steps = NEAR if high - low < math.log10(3) else RATIOS
    inside = [r for r in steps if low - margin <= math.log10(r) <= high + margin]
    return named(list(inside), [number(float(r), digits=1) for r in inside]) | {
        "type": "log",
        "range": [low - margin, high + margin],
    }


def _bound(data: Trails, theme: Theme) -> dict[str, Any]:
    if data.bound is None:
        return {}
    line = {"color": theme.muted, "width": 1.5, "dash": "dash"}
    across = {"x0": data.bound, "x1": data.bound, "y0": 0, "y1": 1, "yref": "paper"}
    at = math.log10(data.bound) if data.log else data.bound
    where = {"x": at, "y": 1, "yref": "paper", "yanchor": "top", "xanchor": "left", "xshift": 3}
    return {
        "shapes": [{"type": "line", **across, "layer": "below", "line": line}],
        "annotations": [note(theme, number(data.bound, digits=1), **where)],
    }
