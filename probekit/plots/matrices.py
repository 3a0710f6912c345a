"""Coloured cells by row and column: transfer, confusion, and heatmaps of effects.

All three are one grid. Rows and columns stand at their place, named by ticks, so that two of one
name (tokens repeat) stay two.
"""

import html
from collections.abc import Sequence
from typing import Any, NamedTuple

from probekit.plots.axes import BOUND, axis, named, note
from probekit.plots.data import Confusion, Heatmap, TransferMatrix
from probekit.plots.estimate import Estimate, number
from probekit.plots.theme import Theme

_LEGIBLE = 64
"""Cells up to which a heatmap writes its figures into them."""


class _Grid(NamedTuple):
    """What is drawn: figures, what is written into the cells, and what is said on pointing."""

    rows: Sequence[str]
    columns: Sequence[str]
    values: list[list[float | None]]
    texts: list[list[str]]
    said: list[list[str]]
    stops: tuple[str, ...]
    scale: tuple[float, float]
    gap: int = 3


def transfer(data: TransferMatrix, theme: Theme) -> tuple[list[Any], dict[str, Any]]:
    """Traces and layout of a transfer matrix."""
    signed = data.scale[0] == -data.scale[1]
    texts = [[cell.text(signed=signed).replace(" [", "<br>[") for cell in r] for r in data.cells]
    grid = _Grid(
        data.train,
        data.test,
        _values(data.cells),
        texts,
        _pairs(data.train, data.test, texts),
        theme.diverging if signed else theme.sequential,
        data.scale,
    )
    return [_heat(grid, theme)], {
        "height": 130 + 80 * len(data.train),
        **_axes(grid, theme, "tested on", "trained on"),
    }


def confusion(data: Confusion, theme: Theme) -> tuple[list[Any], dict[str, Any]]:
    """Traces and layout of a confusion."""
    texts = [[number(share) for share in row] for row in data.shares]
    said = _pairs(data.classes, data.classes, texts)
    values = [list(row) for row in data.shares]
    stops, scale = theme.sequential, (0.0, 1.0)
    grid = _Grid(data.classes, data.classes, values, texts, said, stops, scale)
    return [_heat(grid, theme)], {
        "height": 150 + 40 * len(data.classes),
        **_axes(grid, theme, "predicted", "true"),
    }


def heatmap(data: Heatmap, theme: Theme) -> tuple[list[Any], dict[str, Any]]:
    """Traces and layout of a heatmap, with its scale above it."""
    small = len(data.rows) * len(data.columns) <= _LEGIBLE
    signed = data.signed
    whole = [[cell.text(signed=signed) for cell in row] for row in data.cells]
    names = (
        [f"{data.row_axis} {row}" for row in data.rows],
        [f"{data.column_axis} {column}" for column in data.columns],
    )
    grid = _Grid(
        data.rows,
        data.columns,
        _values(data.cells),
        [[number(c.value, signed=signed) if small else "" for c in row] for row in data.cells],
        _pairs(*names, whole, joint=", "),
        theme.sequential if data.share else theme.diverging,
        (data.ends[0], data.ends[2]),
        gap=3 if small else 1,
    )
    grid, marks = _parted(grid, data.bound, theme)
    height = 34 if small else 19
    return [_heat(grid, theme) | _scale(data), *_gaps(grid, theme, small)], {
        "height": 170 + height * len(grid.rows),
        "showlegend": False,
        **_axes(grid, theme, data.column_axis, data.row_axis),
        **marks,
    }


def _values(cells: Sequence[Sequence[Estimate]]) -> list[list[float | None]]:
    return [[cell.value for cell in row] for row in cells]


def _pairs(
    rows: Sequence[str], columns: Sequence[str], texts: list[list[str]], joint: str = " → "
) -> list[list[str]]:
    """`row → column: figure` of each cell."""
    return [
        [
            html.escape(f"{row}{joint}{column}: ") + text
            for column, text in zip(columns, r, strict=True)
        ]
        for row, r in zip(rows, texts, strict=True)
    ]


def _parted(grid: _Grid, bound: int | None, theme: Theme) -> tuple[_Grid, dict[str, Any]]:
    """The grid with an empty row before the bound, and the line and the name that stand in it."""
    if bound is None:
        return grid, {}

    def opened(rows: Sequence[Any], empty: Any) -> list[Any]:
        return [*rows[:bound], empty, *rows[bound:]]

    width = len(grid.columns)
    parted = grid._replace(
        rows=opened(grid.rows, ""),
        values=opened(grid.values, [None] * width),
        texts=opened(grid.texts, [""] * width),
        said=opened(grid.said, [""] * width),
    )
    across = {"xref": "paper", "x0": 0, "x1": 1, "y0": bound, "y1": bound}
    line = {"color": theme.muted, "width": 1.5, "dash": "dash"}
    middle = {"xref": "paper", "x": 0.5, "y": bound, "bgcolor": theme.page}
    return parted, {
        "shapes": [{"type": "line", **across, "line": line}],
        "annotations": [note(theme, f"↓ {BOUND}", **middle)],
    }


def _gaps(grid: _Grid, theme: Theme, small: bool) -> list[dict[str, Any]]:
    """A small cross in each missing cell, which else looks like 0; a small grid writes `–`."""
    missing = [
        (x, y)
        for y, row in enumerate(grid.values)
        for x, value in enumerate(row)
        if value is None and grid.said[y][x]
    ]
    if small or not missing:
        return []
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "x": [x for x, _ in missing],
            "y": [y for _, y in missing],
            "marker": {"symbol": "x", "size": 5, "color": theme.muted},
            "hovertext": [grid.said[y][x] for x, y in missing],
            "hovertemplate": "%{hovertext}<extra></extra>",
        }
    ]


def _heat(grid: _Grid, theme: Theme) -> dict[str, Any]:
    stops = list(enumerate(grid.stops))
    return {
        "type": "heatmap",
        "x": list(range(len(grid.columns))),
        "y": list(range(len(grid.rows))),
        "z": grid.values,
        "text": grid.texts,
        "texttemplate": "%{text}",
        "textfont": {"color": theme.ink},
        "hovertext": grid.said,
        "hovertemplate": "%{hovertext}<extra></extra>",
        "hoverongaps": False,
        "colorscale": [[place / (len(stops) - 1), colour] for place, colour in stops],
        "zmin": grid.scale[0],
        "zmax": grid.scale[1],
        "showscale": False,
        "xgap": grid.gap,
        "ygap": grid.gap,
    }


def _scale(data: Heatmap) -> dict[str, Any]:
    """The colours and their figures, on top: at the side they would narrow a narrow page."""
    ends = list(data.ends)
    written = named(ends, [number(end, signed=data.signed) if end else "0" for end in ends])
    place = {"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0.5, "xanchor": "center"}
    size = {"len": 0.8, "thickness": 10, "outlinewidth": 0, "tickangle": 0}
    title = {"text": html.escape(data.unit), "side": "top", "font": {"size": 12}}
    return {"showscale": True, "colorbar": {**place, **size, **written, "title": title}}


def _axes(grid: _Grid, theme: Theme, across: str, down: str) -> dict[str, Any]:
    def places(names: Sequence[str]) -> dict[str, Any]:
        known = [(place, html.escape(name)) for place, name in enumerate(names) if name]
        at = named([place for place, _ in known], [name for _, name in known])
        return {"showgrid": False, "tickfont": {"size": 11}, **at}

    # Slanted names end at their column: those that began there would be lost on a narrow page.
    slant = {"autotickangles": [0, -45, -90], "range": [-0.5, len(grid.columns) - 0.5]}
    return {
        "xaxis": axis(theme, across, **places(grid.columns), **slant),
        "yaxis": axis(theme, down, **places(grid.rows), range=[len(grid.rows) - 0.5, -0.5]),
    }
