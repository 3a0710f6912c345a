"""Figures of what circuits are needed for and where they are found, with their summaries."""

from probekit.plots import Estimate, Forest, Heatmap, LayerCurves, Series, Trail, Trails
from probekit.report.causal import curve, figure_of
from probekit.report.circuit_rows import (
    CIRCUIT,
    COMPLEMENT,
    NULL,
    RANDOM,
    RANDOM_COMPLEMENT,
    READOUTS,
    SUBLAYERS,
    WAYS,
    Circuits,
)
from probekit.report.reading import Line
from probekit.report.scorecard_rows import dose_text
from probekit.report.views import Figure, View, figure, series_text
from probekit.report.words import capital

SHARE = "share of the lift that is left"
SPREAD = {"influence": "circuit, spread by influence", "global": "circuit, by score alone"}
READ = {"own_label": "own emotion’s word", "reception_shift": "reception"}
READ_PARTS = (
    (CIRCUIT, "own", "circuit, texts of its emotion"),
    (CIRCUIT, "others", "circuit, texts of other emotions"),
    (RANDOM, "own", "random components, texts of its emotion"),
)


def sizes(run: Circuits) -> list[Figure | None]:
    """What is left of the lift over k, circuits beside random components."""
    views = [
        _over_k(run, emotion, *each)
        for emotion in run.emotions
        for each in (
            ("without the circuit (low is complete)", CIRCUIT, RANDOM),
            ("with the circuit alone (high is faithful)", COMPLEMENT, RANDOM_COMPLEMENT),
        )
    ]
    return [figure("sizes-of", "What is left of the lift, over the size of circuits", views)]


def _over_k(run: Circuits, emotion: str, name: str, condition: str, control: str) -> View | None:
    def series(called: str, condition: str, way: str) -> Series | None:
        lines = run.of("lift_share", emotion=emotion, condition=condition, method=way)
        by_k = {x.k: x.estimate for x in lines if x.k is not None and x.estimate.value is not None}
        return Series(called, list(by_k), list(by_k.values())) if by_k else None

    ways = dict.fromkeys([run.allocation, *(x.method for x in run.of("lift_share"))])
    found = [series(SPREAD.get(way, way), condition, way) for way in ways]
    drawn = [each for each in found if each]
    if not drawn:
        return None
    null = series("random components", control, run.allocation)
    data = LayerCurves(drawn, SHARE, null=null, null_name="random components", axis="k", log=True)
    said = [series_text(each, axis="k =") for each in (*drawn, *([null] if null else []))]
    return View(capital(emotion), name, data, " ".join(map(capital, said)))


def reading(run: Circuits) -> list[Figure | None]:
    """What ablation does to what is read, one view a readout."""
    return [figure("reading-of", "Change in what is read", [_reading(run, m) for m in READ])]


def _reading(run: Circuits, metric: str) -> View | None:
    labels, estimates = [], []
    for emotion in run.emotions:
        for condition, target, name in READ_PARTS:
            line = run.line(metric, emotion=emotion, condition=condition, target=target)
            if line:
                labels.append(f"{capital(emotion)}: {name}")
                estimates.append(line.estimate)
    if not labels:
        return None
    data = Forest(labels, estimates, "change in nats (log-odds)")
    told = [f"{a} {e.text(signed=True)}" for a, e in zip(labels, estimates, strict=True)]
    return View("", capital(READ[metric]), data, "; ".join(told) + ".")


def influence(run: Circuits) -> list[Figure | None]:
    """Slopes over layers beside random directions, and up to which α they are slopes."""
    views = [
        _influence(run, readout, site, emotions)
        for readout in READOUTS
        for site in SUBLAYERS
        for emotions in (run.emotions, *[(each,) for each in run.emotions])
    ]
    return [
        figure("influence-of", "Influence of every sublayer, over layers", views),
        figure("linearity-of", "Response over α", [_linearity(run)]),
    ]


def _influence(run: Circuits, readout: str, site: str, emotions: tuple[str, ...]) -> View | None:
    lines = run.of("influence", target=readout, site=site)
    own = [x for x in lines if x.condition != NULL and x.emotion in emotions]
    found = [curve(name, [x for x in own if x.emotion == name]) for name in emotions]
    drawn = [each for each in found if each]
    if not drawn:
        return None
    null = curve("random directions", [x for x in lines if x.condition == NULL])
    data = LayerCurves(
        drawn,
        "nats per σ",
        null=null,
        null_name="random directions: mean, and 95 % of them",
        signed=True,
    )
    name = "all emotions" if len(emotions) > 1 else "".join(emotions)
    outside = [_outside(each, null) for each in drawn]
    summary = f"Outside random directions, of {len(drawn[0].layers)} layers: {'; '.join(outside)}."
    group = f"{SUBLAYERS[site]}, {READOUTS[readout]}"
    return View(capital(group), name, data, summary if null else "Missing: random directions.")


def _outside(series: Series, null: Series | None) -> str:
    bands = dict(null.by_layer) if null else {}
    beyond = [
        layer
        for layer, e in series.by_layer
        if e.value is not None
        and (band := bands.get(layer)) is not None
        and band.low is not None
        and band.high is not None
        and not band.low <= e.value <= band.high
    ]
    return f"{series.name} {len(beyond)}"


def _linearity(run: Circuits) -> View | None:
    trails = []
    for readout, name in READOUTS.items():
        lines = sorted(run.of("linearity", target=readout), key=lambda x: x.dose or 0.0)
        if lines:
            labels = [_alpha(line) for line in lines]
            x = [Estimate(line.dose) for line in lines]
            trails.append(Trail(name, labels, x, [line.estimate for line in lines]))
    if not trails:
        return None
    data = Trails(
        trails,
        "α, share of the residual norm",
        "response over α, of that at the smallest",
        level=Estimate(1.0),
        level_name="linear",
    )
    told = [
        f"{capital(t.name)}: "
        + ", ".join(f"{y.text()} at {a}" for a, y in zip(t.labels, t.y, strict=True))
        for t in trails
    ]
    return View("", "Linearity", data, ". ".join(told) + ".")


def _alpha(line: Line) -> str:
    used = "used" if line.condition == "used" else "not used"
    return f"α {dose_text(line.dose or 0.0)} ({used})"


def stability(run: Circuits) -> list[Figure | None]:
    """Jaccard beyond random sets, one view a comparison; and of emotions with one another."""
    views = [_jaccard(run, way) for way in WAYS]
    return [figure("jaccard-of", "Jaccard of circuits beyond random sets", [*views, _pairs(run)])]


def _jaccard(run: Circuits, way: str) -> View | None:
    labels, gaps, told = [], [], []
    for own in run.of("jaccard", method=way, condition=""):
        _, null = run.shared(way, own.emotion, own.target)
        by_chance = figure_of(null)
        label = capital(own.emotion + (f" and {own.target}" if own.target else ""))
        labels.append(label)
        gaps.append(_less(own.estimate, by_chance))
        told.append(f"{label} {own.estimate.text()}, random sets {by_chance.text()}")
    if not labels:
        return None
    data = Forest(labels, gaps, "Jaccard minus that of random sets, with 95 % of their draws")
    return View("Beyond random sets", capital(WAYS[way]), data, "; ".join(told) + ".")


def _less(own: Estimate, null: Estimate) -> Estimate:
    """A figure minus chance, with the middle 95 % of what chance gives."""
    if own.value is None or null.value is None:
        return Estimate(None)
    if null.low is None or null.high is None:
        return Estimate(own.value - null.value)
    return Estimate(own.value - null.value, own.value - null.high, own.value - null.low)


def _pairs(run: Circuits) -> View | None:
    found = {
        frozenset((x.emotion, x.target)): x.estimate
        for x in run.of("jaccard", method="emotions", condition="")
    }
    if not found:
        return None
    names = run.emotions
    cells = [[found.get(frozenset((a, b)), Estimate(None)) for b in names] for a in names]
    data = Heatmap(names, names, cells, "Jaccard", "circuit of", "and of", share=True)
    told = [f"{' and '.join(sorted(pair))} {e.text()}" for pair, e in found.items()]
    return View("As it is", "Emotions with one another", data, "; ".join(told) + ".")
