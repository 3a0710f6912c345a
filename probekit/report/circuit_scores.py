"""How circuits were found, in sentences: influence, stability, reliability, paths."""

from probekit.plots import Estimate, number
from probekit.report.causal import size
from probekit.report.circuit_rows import (
    NULL,
    PARTS,
    READOUTS,
    SUBLAYERS,
    WAYS,
    Circuits,
    outside,
    span,
)
from probekit.report.markup import Html, tag
from probekit.report.parts import shown
from probekit.report.reading import Line
from probekit.report.scorecard_rows import dose_text, q_text, shown_apart
from probekit.report.words import capital


def scored(run: Circuits) -> list[Html]:
    """Stability first: a circuit that differs from half to half is none."""
    parts = (_stable, _reliable, _agreeing, _cosines, _influence, _paths)
    return [item for part in parts for item in part(run)]


def _stable(run: Circuits) -> list[Html]:
    told: list[Html | str] = []
    for way, name in WAYS.items():
        pairs = [
            run.shared(way, line.emotion, line.target)
            for line in run.of("jaccard", method=way, condition="")
        ]
        known = [(own, null) for own, null in pairs if own and own.estimate.value is not None]
        if not known:
            told.append(f" Over {name}: missing.")
            continue
        sides = [outside(own, null) for own, null in known]
        values = [own.estimate for own, _ in known]
        nulls = [null.estimate for _, null in known if null]
        what = f"{sides.count(1)} of {len(known)} above the middle 95 % of random sets"
        told.append(f" Over {name}: {span(values)}, chance {span(nulls)}; {what}.")
    if not run.of("jaccard"):
        return []
    head = tag("strong", "Stability: Jaccard of circuits.")
    intro = f" Heads and neurons that two circuits of {run.k} share over all that either has."
    return [tag("li", tag("p", head, intro, *told))]


def _reliable(run: Circuits) -> list[Html]:
    told = []
    for metric, name in (
        ("reliability", "Scores of two halves of the scenarios correlate at"),
        ("effect_against_mean", "Scores of effects and scores of means correlate at"),
    ):
        by_part = {
            part: [line.estimate for line in run.of(metric, site=site)]
            for site, part in PARTS.items()
        }
        parts = [f"{span(values)} ({part})" for part, values in by_part.items() if values]
        if parts:
            told.append(f" {name} {', '.join(parts)}.")
    if not told:
        return []
    head = tag("strong", "Reliability of scores")
    return [tag("li", tag("p", head, ", from the lowest emotion to the highest.", *told))]


def _agreeing(run: Circuits) -> list[Html]:
    lines = run.of("ablation_against_write")
    if not lines:
        return []
    told = "; ".join(f"{line.emotion} {line.estimate.text()}" for line in lines)
    head = tag("strong", "Exact ablation of heads beside what they write")
    text = (
        f": correlation over {lines[0].n} heads, {told}. These have neither interval nor null; a "
        "low one says that a head’s write along the direction does not tell its effect."
    )
    return [tag("li", tag("p", head, text))]


def _cosines(run: Circuits) -> list[Html]:
    lines = run.of("cosine", method="sources", condition="")
    if not lines:
        return []
    told: list[Html | str] = []
    for site in dict.fromkeys(line.site for line in lines):
        own = [line.estimate for line in lines if line.site == site]
        told += [f" At {site}: {span(own)} over layers and emotions; random directions "]
        told += [shown(run.value("cosine", method="sources", site=site, condition=NULL)), "."]
    head = tag("strong", "Directions of replies beside those of vignettes")
    return [tag("li", tag("p", head, ", cosines.", *told))]


def _influence(run: Circuits) -> list[Html]:
    return [item for readout in READOUTS if (item := _read_by(run, readout))]


def _read_by(run: Circuits, readout: str) -> Html | None:
    lines = [x for x in run.of("influence", target=readout) if x.condition != NULL]
    if not lines:
        return None
    beyond = [x for x in lines if shown_apart(x) and outside(x, null_of(run, x))]
    raising = [x for x in beyond if x.estimate.side == 1]
    parts: list[Html | str] = [
        tag("strong", f"Influence on {READOUTS[readout]}."),
        f" Of {len(lines)} pairs of a sublayer and an emotion, {len(beyond)} move the emotion’s "
        f"log-odds beyond random directions at q < .05, {len(raising)} of them upwards. ",
    ]
    if raising:
        top = max(raising, key=size)
        parts += [
            f"The strongest, chosen after the fact: {SUBLAYERS.get(top.site, top.site)} of layer "
            f"{top.layer} for {top.emotion}, ",
            shown(top.estimate, signed=True),
            f" nats per σ ({q_text(top)}), random directions ",
            shown(_figure(null_of(run, top)), signed=True),
            ". ",
        ]
    parts.append(_linearity(run, readout))
    return tag("li", tag("p", *parts))


def null_of(run: Circuits, line: Line) -> Line | None:
    """Random directions at a line's sublayer."""
    cells = {"target": line.target, "site": line.site, "layer": line.layer}
    return run.line("influence", condition=NULL, **cells)


def _figure(line: Line | None) -> Estimate:
    return line.estimate if line else Estimate(None)


def _linearity(run: Circuits, readout: str) -> str:
    lines = sorted(run.of("linearity", target=readout), key=lambda x: x.dose or 0.0)
    if not lines:
        return "Linearity: missing."
    told = ", ".join(f"{number(x.estimate.value)} at {dose_text(x.dose or 0.0)}" for x in lines)
    used = ", ".join(dose_text(x.dose or 0.0) for x in lines if x.condition == "used")
    return (
        f"Response over α, as a share of that at the smallest: {told}; used for the slope: "
        f"{used or 'none'}."
    )


def _paths(run: Circuits) -> list[Html]:
    told = []
    for graph in run.graphs:
        strong = graph.strong()
        text = f" {capital(graph.emotion)}: {len(strong)} of {len(graph.edges)} paths are beyond "
        text += "95 % of random heads’ with an interval that leaves 0 out"
        if strong:
            first = strong[0]
            text += f", first {first.source} → {first.target} "
            text += first.estimate.text(signed=True)
        told.append(f"{text}.")
    if not told:
        return []
    head = tag("strong", "Paths from heads to neurons.")
    return [tag("li", tag("p", head, *told))]
