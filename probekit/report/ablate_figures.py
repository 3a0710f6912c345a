"""The figures of the page of an ablation run, with their text summaries."""

from dataclasses import replace

from probekit.plots import LayerCurves, Series
from probekit.report.causal import (
    MEASURES,
    Curve,
    Effects,
    arm,
    by_head,
    curve,
    headlined,
    picked,
    signed,
    unit_of,
    varying,
)
from probekit.report.reading import Line
from probekit.report.units import (
    ABLATION,
    DIFFERENCE,
    OWN,
    PLACEBO,
    RECEPTION,
    SITES,
    SOURCE,
    Together,
    families,
    together,
)
from probekit.report.views import Figure, View, figure, series_text
from probekit.report.words import capital

ORDER = (OWN, RECEPTION, "top1_changed", "kl")
"""The order of the menus."""

VIEWED = {ABLATION: "{}", PLACEBO: "placebo of {} (control)", DIFFERENCE: "{} minus its placebo"}
"""What the menu calls a map of each kind."""


def heads(effects: Effects) -> list[Figure | None]:
    """Layer by head: views of each figure and method, its placebo, and the difference."""
    singles = effects.of(site="z", k=None, metric=(OWN, RECEPTION))
    lines = [each for each in singles if each.unit and each.source == SOURCE.get(each.condition)]
    keys = dict.fromkeys(
        (each.metric, each.condition, each.method, each.position, arm(each)) for each in lines
    )
    first = [family.method for family in families(effects) if family.site == "z"]
    texts = headlined(key[4] for key in keys)

    def order(key: tuple) -> tuple[int, ...]:
        metric, condition, method, _, whose = key
        rank = first.index(method) if method in first else len(first)
        return (ORDER.index(metric), whose not in texts, rank, list(SOURCE).index(condition))

    views = []
    for key in sorted(keys, key=order):
        metric, condition, method, position, whose = key
        cells = {"condition": condition, "method": method, "position": position}
        chosen = picked(lines, metric=metric, **cells, **whose._asdict())
        drawn, said = by_head(chosen, metric)
        if condition == DIFFERENCE:
            drawn = replace(drawn, unit=f"difference in {MEASURES[metric]}")
        kind = VIEWED[condition].format(method)
        name = varying(kind, position and f"position {position}", str(whose))
        views.append(View(capital(MEASURES[metric]), name, drawn, said))
    return [figure("by-heads", "Ablations of single heads, layer by head", views)]


def sublayers(effects: Effects) -> list[Figure | None]:
    """A figure for each site: a view for each figure and method, over layers."""
    ablated = [
        c for c in effects.curves if (c.condition, c.source) == (ABLATION, "") and c.metric in ORDER
    ]
    methods = [family.method for family in families(effects)]
    found = []
    for place, site in enumerate(site for site in SITES if site in {c.site for c in ablated}):
        own = [each for each in ablated if each.site == site]
        own.sort(key=lambda c: (ORDER.index(c.metric), [*methods, c.method].index(c.method)))
        title = f"{capital(SITES[site])} ({site}), over layers"
        found.append(figure(f"sublayers-{place}", title, [_sublayer(effects, c) for c in own]))
    return found


def _sublayer(effects: Effects, own: Curve) -> View | None:
    """One method alone: its placebo is as long as what that method changes, and no other's."""
    effect = curve(own.method, effects.curves[own].values())
    if effect is None:
        return None
    placebo = own._replace(condition=PLACEBO, source=SOURCE[PLACEBO])
    control = curve("Matched placebo", effects.curves.get(placebo, {}).values())
    data = LayerCurves(
        [effect],
        unit_of(own.metric),
        null=control,
        null_name="matched placebo (control)",
        signed=signed(own.metric),
    )
    said = [series_text(each, signed=data.signed) for each in (effect, control) if each]
    if control is None:
        said.append("Missing: a matched placebo.")
    name = varying(own.method, own.position and f"position {own.position}", str(own.arm))
    return View(capital(MEASURES[own.metric]), name, data, " ".join(said))


def cumulative(effects: Effects) -> list[Figure | None]:
    """Top k beside the band of random k: a figure for each site, a view for each figure."""
    curves = [each for each in together(effects) if each.metric in ORDER and each.top]
    found = []
    for place, site in enumerate(dict.fromkeys(each.site for each in curves)):
        own = sorted(
            (each for each in curves if each.site == site), key=lambda c: ORDER.index(c.metric)
        )
        title = f"{capital(own[0].units)} ablated together"
        found.append(figure(f"together-{place}", title, [_together(each) for each in own]))
    return found


def _together(each: Together) -> View:
    units = each.units
    axis = f"{units} ablated together"
    top, random = _over_k(f"top {units}", each.top), _over_k(f"random {units}", each.random)
    data = LayerCurves(
        [top],
        unit_of(each.metric),
        null=random if each.random else None,
        null_name=f"random {units}: mean, and 95 % of draws",
        axis=axis,
        log=True,
        signed=signed(each.metric),
    )
    said = [_said(top, data.signed)]
    said.append(_said(random, data.signed) if each.random else "Missing: as many at random.")
    outside = [str(k) for k in sorted(each.top) if each.side(k)]
    if each.random:
        said.append(
            f"Outside the band at k = {', '.join(outside)}."
            if outside
            else "Within the band at every k."
        )
    return View(capital(MEASURES[each.metric]), str(each.arm), data, " ".join(said))


def _said(series: Series, plus: bool) -> str:
    return series_text(series, signed=plus, axis="k =")


def _over_k(name: str, lines: dict[int, Line]) -> Series:
    return Series(name, list(lines), [line.estimate for line in lines.values()])
