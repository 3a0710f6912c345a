"""Axes, ticks and the mark of a trivial bound, the same in every drawing."""

import html
import math
from collections.abc import Iterable
from typing import Any

from probekit.plots.estimate import Estimate, number
from probekit.plots.theme import Theme

BOUND = "trivial bound"


def axis(theme: Theme, title: str | None, **more: Any) -> dict[str, Any]:
    """A plain axis that cannot be dragged."""
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


def extent(estimates: Iterable[Estimate], *more: float) -> tuple[float, float]:
    """Least and greatest figure or bound, with a margin."""
    bounds = [bound for e in estimates for bound in (e.value, e.low, e.high) if bound is not None]
    low, high = min([*bounds, *more], default=0.0), max([*bounds, *more], default=1.0)
    margin = 0.06 * (high - low) or 0.05
    return low - margin, high + margin


def ticks(low: float, high: float, *, signed: bool = False) -> dict[str, Any]:
    """A range with at most seven round ticks, written as figures are in the text."""
    places = math.floor(math.log10((high - low) / 6))
    step = next(n * 10.0**places for n in (1, 2, 5, 10) if n * 10.0**places >= (high - low) / 6)
    values = [n * step for n in range(math.ceil(low / step), math.floor(high / step) + 1)]
    digits = max(2, -places)
    texts = [
        number(round(value, digits), signed=signed, digits=digits) if round(value, digits) else "0"
        for value in values
    ]
    return named(values, texts) | {"range": [low, high]}


def named(places: list[Any], names: list[str]) -> dict[str, Any]:
    """Ticks at these places, with these names."""
    return {"tickmode": "array", "tickvals": places, "ticktext": names}


def note(theme: Theme, text: str, **where: Any) -> dict[str, Any]:
    """A few small words inside a drawing."""
    font = {"size": 11, "color": theme.muted}
    return {"text": html.escape(text), "showarrow": False, "font": font} | where
