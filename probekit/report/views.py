"""A figure of the page: a menu of views, each of them plot data with its text summary."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from probekit.plots import Confusion, PlotData, Series, TransferMatrix, draw
from probekit.report.markup import Html, joined, tag


@dataclass(frozen=True)
class View:
    """One choice of a figure's menu: what is drawn, and the same in words."""

    group: str
    name: str
    data: PlotData
    summary: str


@dataclass(frozen=True)
class Figure:
    """A figure with a menu of views, the first of which is shown.

    `key` is its id in the page, `title` its accessible name.
    """

    key: str
    title: str
    views: Sequence[View]

    def markup(self) -> Html:
        """The menu (where there is a choice), the place to draw in, and the summary."""
        summary = tag(
            "figcaption", self.views[0].summary, id=f"{self.key}-summary", aria_live="polite"
        )
        place = tag(
            "div",
            class_="plot",
            id=self.key,
            role="img",
            aria_label=self.title,
            aria_describedby=f"{self.key}-summary",
        )
        matrix = isinstance(self.views[0].data, TransferMatrix | Confusion)
        return tag("figure", self._menu(), place, summary, class_="matrix" if matrix else None)

    def _menu(self) -> Html:
        if len(self.views) == 1:
            return Html()
        groups: dict[str, list[Html]] = {}
        for place, view in enumerate(self.views):
            groups.setdefault(view.group, []).append(tag("option", view.name, value=str(place)))
        options = [
            tag("optgroup", *names, label=group) if group else joined(*names)
            for group, names in groups.items()
        ]
        menu = tag("select", *options, id=f"{self.key}-view", data_figure=self.key)
        return tag("p", tag("label", "Show", for_=f"{self.key}-view"), menu, class_="menu")

    def drawings(self) -> list[dict[str, Any]]:
        """For the page's script: the plotly figure and the summary of every view."""
        return [
            {"figure": draw(view.data).to_plotly_json(), "summary": view.summary}
            for view in self.views
        ]


def figure(key: str, title: str, views: Iterable[View | None]) -> Figure | None:
    """The figure of those views that there are; `None` if there are none."""
    kept = [view for view in views if view]
    return Figure(key, title, kept) if kept else None


def series_text(series: Series, *, signed: bool = False, axis: str = "layer") -> str:
    """First and last figure of a curve, in words."""
    known = [(layer, e) for layer, e in series.by_layer if e.value is not None]
    if not known:
        return f"{series.name}: no figure at any {axis}."
    ends = [f"{e.text(signed=signed)} at {axis} {place}" for place, e in known]
    if len(ends) == 1:
        return f"{series.name}: {ends[0]}."
    return f"{series.name}: from {ends[0]} to {ends[-1]}."
