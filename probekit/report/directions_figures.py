"""The figures of the page of directions, with their text summaries."""

from collections.abc import Collection, Iterable

from probekit.plots import Heatmap, LayerCurves, Series
from probekit.report.causal import curve, varying
from probekit.report.learned import (
    ABOVE,
    AS_MANY,
    AUROC,
    CHANCE,
    HALVES,
    LEFT_OUT,
    PAIRS,
    PAIRS_ABOVE,
    RANDOM,
    WHETHER,
    WHICH,
    WORDS,
    Figure,
    Learned,
    Study,
)
from probekit.report.reading import NOTHING, Line
from probekit.report.views import Figure as Drawn
from probekit.report.views import View, figure, series_text
from probekit.report.words import capital, say

TASKS = (WHICH, WHETHER)
MEAN = "mean over emotions"


def told(study: Study) -> list[Drawn | None]:
    """Mean AUROC over layers, of each question, beside words, chance and random directions."""
    views: list[View | None] = []
    for each in study.learned:
        views += [_told(each, task, target) for task in TASKS for target in each.targets]
        views += [_on_dev(each)]
    return [figure("told-layers", "Mean AUROC of the projection, over layers", views)]


def _told(each: Learned, task: str, target: str) -> View | None:
    own, random, null = (
        each.over(f._replace(task=task), "", target) for f in (AUROC, RANDOM, CHANCE)
    )
    words = each.line(WORDS._replace(task=task), "", target)
    series = [curve("projection", own.values()), curve("random directions", random.values())]
    if not own:
        return None
    data = LayerCurves(
        [one for one in series if one],
        "mean AUROC",
        reference=words.estimate if words and words.estimate.value is not None else None,
        null=curve("chance", null.values()),
        chosen=_marked(each, own),
        null_name="chance (labels permuted, estimated anew)",
    )
    level = f"Words alone {data.reference.text()}." if data.reference else "Words not measured."
    drawn = [*data.series, *([data.null] if data.null else [])]
    said = [
        *(capital(series_text(one)) for one in drawn),
        level,
        *_controls(random, null),
        _chosen(each),
    ]
    return View(_group(each), f"{say(task)}, {each.said(target)}", data, " ".join(said))


def _controls(random: dict[int, Line], null: dict[int, Line]) -> list[str]:
    found = {"Random directions": random, "Chance": null}
    return [f"{name} not measured." for name, lines in found.items() if not lines]


def _on_dev(each: Learned) -> View | None:
    own = curve("projection, cross-validated on dev", each.over(AUROC, dev=True).values())
    if own is None:
        return None
    data = LayerCurves([own], "mean AUROC", chosen=_marked(each, own.layers))
    said = f"{series_text(own)} {_chosen(each)} Its peak chooses the layer, and is no result."
    return View(_group(each), f"dev, which chooses the layer, {each}", data, said)


def heat(study: Study) -> list[Drawn | None]:
    """AUROC of each emotion at each layer: of which, of whether, and above text."""
    views: list[View | None] = []
    for each in study.learned:
        for target in each.targets:
            views += [
                _heat(each, f._replace(task=t), target) for t in TASKS for f in (AUROC, ABOVE)
            ]
    return [figure("by-emotion", "AUROC of each emotion, over layers", views)]


def _heat(each: Learned, metric: Figure, target: str) -> View | None:
    rows = {name: each.over(metric, name, target) for name in each.emotions}
    layers = sorted({layer for lines in rows.values() for layer in lines})
    if not layers:
        return None
    cells = [
        [lines[layer].estimate if layer in lines else NOTHING for layer in layers]
        for lines in rows.values()
    ]
    signed = metric.metric == ABOVE.metric
    unit = "AUROC above text" if signed else "AUROC"
    middle, half = (0.0, None) if signed else (0.5, 0.5)
    names = [str(layer) for layer in layers]
    data = Heatmap([*rows], names, cells, unit, "emotion", "layer", middle=middle, half=half)
    at = {n: lines[each.layer].estimate for n, lines in rows.items() if each.layer in lines}
    said = "; ".join(f"{name} {e.text(signed=signed)}" for name, e in at.items())
    text = f"{unit} at layer {each.layer}: {said}." if at else "No figure at the chosen layer."
    name = varying(say(metric.task), "above text" if signed else "", each.said(target))
    return View(_group(each), name, data, text)


def stability(study: Study) -> list[Drawn | None]:
    """Cosines of halves, and without a domain, over layers."""
    halves, domains = [], []
    for each in study.learned:
        for name in _named(each):
            halves.append(_halves(each, name))
            domains.append(_domains(each, name))
    return [
        figure("halves-layers", "Cosine of two halves of the scenarios", halves),
        figure("domains-layers", "Cosine with and without a domain", domains),
    ]


def _halves(each: Learned, name: str) -> View | None:
    found = {"halves of the scenarios": each.over(HALVES, name)}
    for other in each.beside:
        # Either arm may be the one that the rows are named after.
        across = each.over(HALVES, name, other.source) or other.over(HALVES, name, each.source)
        found[f"one half {say(each.source)}, the other {say(other.source)}"] = across
    others = each.over(HALVES.others(), name)
    return _cosines(each, name, found, others, "with other emotions’ directions")


def _domains(each: Learned, name: str) -> View | None:
    found = {"without a domain (range over domains)": each.over(LEFT_OUT, name)}
    control = "without as many scenarios at random"
    return _cosines(each, name, found, each.over(AS_MANY, name), control)


def pairs(study: Study) -> list[Drawn | None]:
    """Cosines of single pairs over layers, with their controls."""
    views = []
    for each in study.learned:
        for name in _named(each):
            found = {
                "own emotion’s direction": each.over(PAIRS, name),
                "other emotions’ directions": each.over(PAIRS.others(), name),
            }
            random = each.over(PAIRS.random(), name)
            views.append(_cosines(each, name, found, random, "random directions"))
            above = {"own minus others": each.over(PAIRS_ABOVE, name)}
            views.append(_cosines(each, name, above, {}, ""))
    return [figure("pair-cosines", "Cosine of single pairs with directions, over layers", views)]


def _cosines(
    each: Learned,
    name: str,
    found: dict[str, dict[int, Line]],
    control: dict[int, Line],
    control_name: str,
) -> View | None:
    """Curves over layers, and a control drawn as chance is; the first curve must be there."""
    if not next(iter(found.values())):
        return None
    series = [made for label, lines in found.items() if (made := curve(label, lines.values()))]
    null = curve(control_name, control.values())
    data = LayerCurves(
        series,
        "cosine",
        null=null,
        signed=True,
        chosen=_marked(each, *found.values()),
        null_name=control_name,
    )
    drawn: Iterable[Series] = [*series, *([null] if null else [])]
    said = [capital(series_text(one, signed=True)) for one in drawn]
    if not null and control_name:
        said.append(f"The control is missing: {control_name}.")
    here = varying(name or MEAN, str(each), "own minus others" if not control_name else "")
    return View(_group(each), here, data, " ".join([*said, _chosen(each)]))


def _named(each: Learned) -> tuple[str, ...]:
    """What has a curve of its own: single emotions at the headlined place only, for the size."""
    first = each.study.learned[0]
    return ("", *each.emotions) if each.place == first.place else ("",)


def _group(each: Learned) -> str:
    return str(each.place)


def _marked(each: Learned, *curves: Collection[int]) -> int | None:
    return each.layer if any(each.layer in layers for layers in curves) else None


def _chosen(each: Learned) -> str:
    if each.layer is None:
        return "The chosen layer is not given."
    how = "chosen on dev" if each.by_dev else "two thirds of the depth"
    return f"The marked layer is {each.layer} ({how})."
