"""The curves of the page of a geometry run, with their text summaries."""

from collections.abc import Sequence

from probekit.plots import Estimate, LayerCurves, Series, number
from probekit.report.causal import figure_of, varying
from probekit.report.geometry_rows import (
    ALONE,
    BEYOND,
    GIVEN,
    UNSEEN,
    WITHIN,
    Asked,
    Reading,
    Space,
)
from probekit.report.geometry_words import menu_group, say_asked, say_texts, span
from probekit.report.results import Block
from probekit.report.views import Figure, View, figure, series_text
from probekit.report.words import capital, say, say_block

RHO = "rank correlation"
FACTORS = ("emotion", "domain", "arm", "length", "circumplex")
"""The order of the menus."""


def theories(space: Space) -> list[Figure | None]:
    """Theories over layers: a figure for each arm, with ceiling, chance and words."""
    found = []
    for place, arm in enumerate(space.arms):
        views: list[View | None] = []
        for block in space.blocks:
            asked = [
                Asked("rsa", metric, name, arm)
                for name in space.theories
                for metric in (ALONE, GIVEN, BEYOND)
            ]
            views += [_curve(Reading(space, each, block), RHO, ceiled=True) for each in asked]
            alone = [each for each in asked if each.metric == ALONE]
            views.append(_together(space, alone, block, "every theory", RHO))
        title = f"The emotions’ distances against theories, {say_texts(arm)}"
        found.append(figure(f"theories-{place}", title, views))
    return found


def texts(space: Space) -> list[Figure | None]:
    """Distances of texts against what they differ in, over layers."""
    names = [name for name in FACTORS if space.asked("rsa_items", ALONE, source=name)]
    views: list[View | None] = []
    for block in space.blocks:
        asked = [Asked("rsa_items", m, name) for name in names for m in (ALONE, GIVEN, BEYOND)]
        views += [_curve(Reading(space, each, block), RHO) for each in asked]
        alone = [each for each in asked if each.metric == ALONE]
        views.append(_together(space, alone, block, "everything that texts differ in", RHO))
    title = "Distances of texts against what the texts differ in"
    return [figure("texts-0", title, views)]


def silhouettes(space: Space) -> list[Figure | None]:
    """Silhouettes by emotion, domain and arm, over layers."""
    asked = space.asked("silhouette", "silhouette")
    asked.sort(key=lambda each: [*FACTORS, each.source].index(each.source))
    views: list[View | None] = []
    for block in space.blocks:
        views += [_curve(Reading(space, each, block), "silhouette") for each in asked]
        for arm in space.arms:
            own = [each for each in asked if each.target in (arm, "")]
            name = varying("every factor", say(arm))
            views.append(_together(space, own, block, name, "silhouette"))
    return [figure("silhouettes", "Silhouettes over layers", views)]


def axes(space: Space) -> list[Figure | None]:
    """A figure for each axis: its correlation with ratings over layers."""
    found = []
    for unit in dict.fromkeys(each.unit for each in space.asked("axis")):
        asked = [
            each
            for metric in (WITHIN, UNSEEN, ALONE)
            for each in space.asked("axis", metric, unit=unit)
        ]
        views = [_curve(Reading(space, each, b), RHO) for b in space.blocks for each in asked]
        title = f"The {say(unit)} axis against ratings"
        found.append(figure(f"axis-{len(found)}", title, views))
    return found


def dimensions(space: Space) -> list[Figure | None]:
    """Participation ratios over layers."""
    unit = "participation ratio (dimensions)"
    asked = space.asked("dimensions", "participation_ratio")
    asked.sort(key=lambda each: each.unit != "centroids")
    readings = [Reading(space, each, block) for block in space.blocks for each in asked]
    views = [_curve(each, unit, signed=False) for each in readings]
    return [figure("dimensions-0", "Dimensions over layers", views)]


def _curve(
    reading: Reading, unit: str, *, signed: bool = True, ceiled: bool = False
) -> View | None:
    """One figure over layers, with its chance, the words' own, and its ceiling."""
    own = reading.series(say_block(reading.block) or "states")
    if own is None:
        return None
    null, words = reading.chance_series(), reading.space.best_words(reading.asked)
    ceiling = _ceiling(reading) if ceiled and reading.asked.metric == ALONE else None
    data = LayerCurves(
        [own],
        unit,
        reference=words.estimate if words else None,
        reference_name=f"words alone ({say(words.method)})" if words else "",
        null=null,
        signed=signed,
        ceiling=ceiling,
    )
    said = [series_text(own, signed=signed)]
    if words:
        said.append(f"Words alone ({say(words.method)}): {words.estimate.text(signed=signed)}.")
    elif reading.asked.metric != BEYOND:
        said.append("Missing: the words’ own figure.")
    if null:
        means = [e.value for e in null.estimates if e.value is not None]
        said.append(f"Mean of chance {span(means, signed=signed)}." if means else "")
    if ceiling:
        low, high = ceiling.by_layer[0][1], ceiling.by_layer[-1][1]
        said.append(
            f"Noise ceiling {_bounds(low)} at the first layer, {_bounds(high)} at the last."
        )
    arm = "" if reading.asked.task == "axis" else say(reading.asked.target)
    name = say_asked(reading.asked)
    if reading.asked.task in ("silhouette", "dimensions"):
        name = varying(name, arm)
    return View(
        menu_group(reading.space, reading.block),
        name,
        data,
        " ".join(part for part in said if part),
    )


def _bounds(estimate: Estimate) -> str:
    return f"{number(estimate.low)} to {number(estimate.high)}"


def _ceiling(reading: Reading) -> Series | None:
    """Lower bounds, with the upper ones as the end of their intervals."""
    asked = reading.asked._replace(source="")
    lower, upper = (
        Reading(reading.space, asked._replace(metric=metric), reading.block).lines
        for metric in ("ceiling_lower", "ceiling_upper")
    )
    pairs = {
        layer: (low, high)
        for layer in lower
        if (low := lower[layer].estimate.value) is not None
        and (high := figure_of(upper.get(layer)).value) is not None
        and low <= high
    }
    estimates = [Estimate(low, low, high) for low, high in pairs.values()]
    return Series("ceiling", list(pairs), estimates) if pairs else None


def _together(
    space: Space, asked: Sequence[Asked], block: Block, name: str, unit: str
) -> View | None:
    """Several figures in one drawing; their controls stand in the views of each."""
    readings = [Reading(space, each, block) for each in asked]
    series = [made for each in readings if (made := each.series(say_asked(each.asked)))]
    if len(series) < 2:
        return None
    data = LayerCurves(series, unit, signed=True)
    said = " ".join(series_text(each, signed=True) for each in series)
    return View(menu_group(space, block), capital(name), data, said)
