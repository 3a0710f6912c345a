"""The figures of the page of an erasure run, with their text summaries."""

from collections.abc import Sequence

from probekit.plots import LayerCurves, Series
from probekit.report.causal import curve
from probekit.report.erasing import (
    CHANGE,
    COSTS,
    LOSS,
    METHODS,
    NEW,
    SAME,
    Block,
    Erasing,
    Reading,
    said,
)
from probekit.report.views import Figure, View, figure, series_text
from probekit.report.words import capital

NULL = "chance with LEACE (95 % of relabelings)"


def readable(run: Erasing) -> list[Figure | None]:
    """The erased concept over layers, read from new texts and from those of the eraser."""
    titles = {
        NEW: "A new probe on new texts",
        SAME: "A probe on the texts of the eraser (chance by construction)",
    }
    return [
        figure(f"read-{place}", title, [_read(run, each, metric) for each in _own(run)])
        for place, (metric, title) in enumerate(titles.items())
    ]


def _own(run: Erasing) -> list[Reading]:
    return [run.of(concept, block) for block in run.blocks for concept in run.concepts]


def _read(run: Erasing, reading: Reading, metric: str) -> View | None:
    curves = [
        curve(name, run.over_layers(reading, metric, method)) for method, name in METHODS.items()
    ]
    series = [each for each in curves if each]
    if not series:
        return None
    null = curve(NULL, run.over_layers(reading, metric, "leace", null=True))
    data = LayerCurves(series, "AUROC", null=null, null_name=NULL)
    words = [*map(series_text, series), series_text(null) if null else "Missing: chance."]
    return View(str(reading.block), capital(said(reading.source)), data, " ".join(words))


def kept(run: Erasing) -> list[Figure | None]:
    """How the reading of other labels changes, over layers."""
    views = [
        _changes(run, reading, {m: METHODS[m] for m in ("leace", "random")}, CHANGE, "AUROC")
        for block in run.blocks
        for concept in run.concepts
        for reading in run.kept(concept, block)
    ]
    return [figure("kept-labels", "Other labels on new texts: change by erasing", views)]


def cost(run: Erasing) -> list[Figure | None]:
    """What erasing adds to the model's own loss, over layers."""
    views = [
        _changes(run, run.loss(concept, block), COSTS, f"{LOSS}_change", "nats per token")
        for block in run.blocks
        for concept in run.concepts
    ]
    return [figure("cost-of", "Change of the loss on neutral texts", views)]


def _changes(
    run: Erasing, reading: Reading, methods: dict[str, str], metric: str, unit: str
) -> View | None:
    curves = [
        curve(name, run.over_layers(reading, metric, method)) for method, name in methods.items()
    ]
    series: Sequence[Series] = [each for each in curves if each]
    if not series:
        return None
    data = LayerCurves(series, f"change in {unit}", signed=True)
    words = " ".join(series_text(each, signed=True) for each in series)
    return View(_group(reading), _name(reading), data, words)


def _group(reading: Reading) -> str:
    block: Block = reading.block
    return f"{capital(said(reading.source))} erased, {block}" if reading.target else str(block)


def _name(reading: Reading) -> str:
    name = said(reading.target) if reading.target else f"{said(reading.source)} erased"
    return capital(name)
