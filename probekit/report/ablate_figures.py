"""The figures of the page of an ablation run, with their text summaries."""

from probekit.plots import LayerCurves, Series
from probekit.report.causal import (
    MEASURES,
    Arm,
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
from probekit.report.units import OWN, RECEPTION, SITES, Together, families, together
from probekit.report.views import Figure, View, figure, series_text
from probekit.report.words import capital

ORDER = (OWN, RECEPTION, "top1_changed", "kl")
"""The order of the menus."""


def heads(effects: Effects) -> list[Figure | None]:
    """Layer by head: one view for each figure, method, position and arm, the control last."""
    lines = [each for each in effects.of(site="z", k=None, metric=(OWN, RECEPTION)) if each.unit]
    keys = dict.fromkeys(
        (each.metric, each.condition, each.method, each.position, arm(each)) for each in lines
    )
    first = [family.method for family in families(effects) if family.site == "z"]
    texts = headlined(key[4] for key in keys)

    def order(key: tuple) -> tuple[int, ...]:
        metric, condition, method, _, whose = key
        rank = first.index(method) if method in first else len(first)
        return (ORDER.index(metric), condition != "ablation", rank, whose not in texts)

    views = []
    for key in sorted(keys, key=order):
        metric, condition, method, position, whose = key
        cells = {"condition": condition, "method": method, "position": position}
        chosen = picked(lines, metric=metric, **cells, **whose._asdict())
        drawn, said = by_head(chosen, metric)
        kind = f"{method} (control)" if condition == "control" else method
        name = varying(kind, position and f"position {position}", str(whose))
        views.append(View(capital(MEASURES[metric]), name, drawn, said))
    return [figure("by-heads", "Ablations of single heads, layer by head", views)]


def sublayers(effects: Effects) -> list[Figure | None]:
    """A figure for each site: every method over layers, beside the random control."""
    ablated = [c for c in effects.curves if c.condition == "ablation" and c.metric in ORDER]
    found = []
    for place, site in enumerate(site for site in SITES if site in {c.site for c in ablated}):
        keys = dict.fromkeys((c.metric, c.position, c.arm) for c in ablated if c.site == site)
        views = [
            _sublayer(effects, site, *key) for key in sorted(keys, key=lambda k: ORDER.index(k[0]))
        ]
        title = f"{capital(SITES[site])} ({site}), over layers"
        found.append(figure(f"sublayers-{place}", title, views))
    return found


def _sublayer(effects: Effects, site: str, metric: str, position: str, texts: Arm) -> View:
    own = {
        curve_: list(lines.values())
        for curve_, lines in effects.curves.items()
        if (curve_.site, curve_.metric, curve_.position, curve_.arm)
        == (site, metric, position, texts)
    }
    made = [(c, curve(c.method, lines)) for c, lines in own.items()]
    series = [each for c, each in made if each and c.condition == "ablation"]
    control = next((each for c, each in made if each and c.condition == "control"), None)
    data = LayerCurves(
        series,
        unit_of(metric),
        null=control,
        null_name="random vector (control)",
        signed=signed(metric),
    )
    said = [series_text(each, signed=data.signed) for each in series]
    said.append(
        series_text(Series("Random control", control.layers, control.estimates), signed=data.signed)
        if control
        else "Missing: a random control."
    )
    name = varying(position and f"position {position}", str(texts))
    return View(capital(MEASURES[metric]), name, data, " ".join(said))


def cumulative(effects: Effects) -> list[Figure | None]:
    """Top k beside the band of random k: a figure for each site, a view for each figure."""
    curves = [each for each in together(effects) if each.metric in ORDER and each.top]
    found = []
    for place, site in enumerate(dict.fromkeys(each.site for each in curves)):
        own = sorted(
            (each for each in curves if each.site == site), key=lambda c: ORDER.index(c.metric)
        )
        units = SITES.get(site, site)
        title = f"{capital(units)} ablated together"
        found.append(figure(f"together-{place}", title, [_together(each, units) for each in own]))
    return found


def _together(each: Together, units: str) -> View:
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
