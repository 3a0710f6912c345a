"""The figures of the page of a patching run, with their text summaries."""

from probekit.plots import Estimate, LayerCurves, Series
from probekit.report.causal import (
    MEASURES,
    Arm,
    Effects,
    arm,
    by_head,
    curve,
    figure_of,
    grid,
    picked,
    signed,
    strongest,
    unit_of,
    varying,
)
from probekit.report.reading import Line
from probekit.report.terms import PLACEBOS
from probekit.report.transfers import (
    ABOVE,
    CONTROLS,
    LAST,
    RECEPTION,
    Transfer,
    arms,
    placebo_of,
    sites,
    sources,
)
from probekit.report.views import Figure, View, figure, series_text
from probekit.report.words import capital

READOUT = "readout"


def unpatched(effects: Effects, texts: Arm, metric: str) -> Estimate:
    """The base rate of a figure: the same without a patch."""
    found = effects.of(**texts._asdict(), metric=metric, source="none", layer=None)
    return figure_of(found[0] if found else None)


def layers(effects: Effects) -> list[Figure | None]:
    """A figure for each site: every source over layers, one view for each figure and arm."""
    measures = [name for name in MEASURES if any(line.metric == name for line in effects.lines)]
    figures = []
    for place, site in enumerate(sites(effects)):
        views = [
            view
            for metric in measures
            for texts in arms(effects)
            for view in (
                _curves(effects, texts, site, metric),
                _above(effects, texts, site, metric, placebo_of(texts)),
                _above(effects, texts, site, metric, "random"),
            )
        ]
        figures.append(figure(f"layers-{place}", f"Patches at {site}, over layers", views))
    return figures


def _curves(effects: Effects, texts: Arm, site: str, metric: str) -> View | None:
    series = []
    for source in sources(effects, texts, site, metric):
        lines = Transfer(effects, texts, site, metric, source).lines.values()
        kind = "control" if source in CONTROLS else "patch"
        series.append(curve(f"{source} ({kind})", lines))
    kept = [each for each in series if each]
    if not kept:
        return None
    base = unpatched(effects, texts, metric)
    data = LayerCurves(
        kept,
        unit_of(metric),
        reference=base if base.value is not None else None,
        reference_name="no patch",
        signed=signed(metric),
        bound=_bound(effects),
    )
    said = [series_text(each, signed=data.signed) for each in kept]
    if data.reference:
        said.append(f"No patch: {base.text()} at every layer.")
    return View(capital(MEASURES[metric]), str(texts), data, " ".join([*said, _trivial(effects)]))


def _above(effects: Effects, texts: Arm, site: str, metric: str, control: str) -> View | None:
    """Each patch minus a control: the placebo, or the random vector."""
    found = [
        Transfer(effects, texts, site, metric, s) for s in sources(effects, texts, site, metric)
    ]
    series = [
        curve(f"{each.source} minus {control}", each.of(each.source, f"above_{control}").values())
        for each in found
    ]
    kept = [each for each in series if each]
    if not kept:
        return None
    unit, bound = f"difference in {MEASURES[metric]}", _bound(effects)
    data = LayerCurves(kept, unit, signed=True, bound=bound)
    said = [series_text(each, signed=True) for each in kept]
    if control in PLACEBOS:
        said.append(f"The placebo is {PLACEBOS[control]}.")
    name = varying(str(texts), "above placebo" if control in PLACEBOS else "above random")
    return View(capital(MEASURES[metric]), name, data, " ".join([*said, _trivial(effects)]))


def _bound(effects: Effects) -> int | None:
    return effects.bound if effects.bound < effects.layers else None


def _trivial(effects: Effects) -> str:
    bound = _bound(effects)
    return "" if bound is None else f"The trivial bound begins at layer {bound}."


def heads(effects: Effects) -> list[Figure | None]:
    """Layer by head: patches, controls and their difference."""
    lines = [line for line in effects.of(site="z", position=LAST) if line.unit]
    views = []
    keys = dict.fromkeys((each.metric, arm(each), each.method, each.source) for each in lines)
    for metric, texts, method, source in sorted(keys, key=lambda key: key[2] != ABOVE):
        chosen = picked(lines, metric=metric, method=method, source=source, **texts._asdict())
        drawn, said = by_head(chosen, metric, _bound(effects))
        kind = {"": "", ABOVE: "minus random"}.get(method, method)
        name = varying(" ".join(part for part in (source, kind) if part), str(texts))
        views.append(View(capital(MEASURES[metric]), name, drawn, said))
    return [figure("by-heads", "Patches of single heads, layer by head", views)]


def positions(effects: Effects) -> list[Figure | None]:
    """Effects over layers by position, all together and each beside its control."""
    lines = [line for line in effects.lines if _aggregated(line)]
    views: list[View | None] = []
    for metric in dict.fromkeys(line.metric for line in lines):
        of_metric = picked(lines, metric=metric)
        for texts in dict.fromkeys(map(arm, of_metric)):
            views += _of_positions(effects, picked(of_metric, **texts._asdict()), metric, texts)
    return [figure("by-positions", "Patches of parts of a text, over layers", views)]


def _of_positions(
    effects: Effects, lines: list[Line], metric: str, texts: Arm
) -> list[View | None]:
    names = list(dict.fromkeys(line.position for line in lines))

    def view(name: str, series: list[Series | None], bound: int | None) -> View | None:
        kept = [each for each in series if each]
        if not kept:
            return None
        plus = signed(metric)
        data = LayerCurves(kept, unit_of(metric), signed=plus, bound=bound)
        said = " ".join(series_text(each, signed=plus) for each in kept)
        return View(capital(MEASURES[metric]), varying(name, str(texts)), data, said)

    patches = [line for line in lines if line.condition == "patch"]
    together = [curve(name, picked(patches, position=name)) for name in names]
    views = [view("every position", together, None)]
    for name in names:
        there = picked(lines, position=name)
        pairs = dict.fromkeys((line.source, line.condition) for line in there)
        series = [curve(f"{s} ({c})", picked(there, source=s, condition=c)) for s, c in pairs]
        views.append(view(name, series, _bound(effects) if name == READOUT else None))
    return views


def _aggregated(line: Line) -> bool:
    """A part of a text, over all pairs, rather than one token of one pair."""
    named = line.position not in ("", LAST) and not line.position.isdigit()
    return named and not line.unit and line.layer is not None and not line.method


def tokens(effects: Effects) -> list[Figure | None]:
    """Layer by token of each example pair."""
    lines = [
        line
        for line in effects.of(metric=RECEPTION)
        if line.position.isdigit() and line.layer is not None and line.condition != "control"
    ]
    pairs = dict.fromkeys((line.set, line.target) for line in lines)
    views = [_tokens(effects, picked(lines, set=s, target=t), f"{s} {t}") for s, t in pairs]
    return [figure("by-tokens", "Patches of single tokens of example pairs", views)]


def _tokens(effects: Effects, lines: list[Line], name: str) -> View:
    cells = {(line.layer or 0, int(line.position)): line.estimate for line in lines}
    given = {int(line.position): readable(line.unit) for line in lines}
    words = dict(sorted(given.items()))
    data = grid(cells, words, RECEPTION, "token", _bound(effects))
    # Elsewhere than at the last token, late layers are no trivial bound.
    free = [each for each in lines if int(each.position) != max(words)]
    most = strongest(free)
    text = f"Tokens of {name}: {' '.join(words.values())}."
    if most:
        where = f"layer {most.layer} at “{words[int(most.position)]}”"
        figure_ = most.estimate.text(signed=True)
        text += f" Strongest before the last token: {where}, {figure_}."
    return View("", name, data, text)


def readable(token: str) -> str:
    """A token as a reader knows it: without marks of spaces, and never empty."""
    plain = token.replace("Ġ", " ").replace("▁", " ").replace("Ċ", "\n").strip(" ")
    shown = plain.replace("\n", "⏎").replace("\t", "⇥").replace("\r", "⏎")
    return shown or "␣"
