"""Figures of probes of a corpus: the curves over layers, and above text by class."""

from probekit.plots import Forest, LayerCurves
from probekit.report.causal import curve, figure_of
from probekit.report.corpus_rows import (
    ABOVE_TEXT,
    METHODS,
    NULL,
    PROBE,
    Probed,
)
from probekit.report.views import Figure, View, figure, series_text
from probekit.report.words import capital


def over_layers(run: Probed) -> list[Figure | None]:
    """Both probes over layers; each with its null; and on validation, where layers are chosen."""
    views = [_curves(run, run.methods, "all probes")]
    views += [_curves(run, (method,), METHODS[method]) for method in run.methods]
    views.append(_curves(run, run.methods, "all probes", "validation"))
    return [figure("layers-of", "What is read of the class, over layers", views)]


def _curves(run: Probed, methods: tuple[str, ...], name: str, split: str = "test") -> View | None:
    found = [curve(METHODS[method], run.curve(method, PROBE, split)) for method in methods]
    drawn = [series for series in found if series]
    if not drawn:
        return None
    tested = split == "test"
    nulls = [curve(f"null of the {METHODS[each]}", run.curve(each, NULL)) for each in methods]
    beside = [series for series in nulls if series] if tested else []
    words = run.words()
    data = LayerCurves(
        [*drawn, *beside],
        "AUROC",
        reference=words if tested and words.value is not None else None,
        chosen=run.chosen[methods[0]] if len(methods) == 1 else None,
    )
    said = " ".join(capital(series_text(series)) for series in (*drawn, *beside))
    return View(f"{split} part", name, data, said)


def above_text(run: Probed) -> list[Figure | None]:
    """The difference from words alone, for every class."""
    views = [_above(run, method) for method in run.methods]
    return [figure("above-of", "The probe’s AUROC minus that of words alone", views)]


def _above(run: Probed, method: str) -> View | None:
    rows = {name or "all classes": run.at(method, ABOVE_TEXT, emotion=name) for name in _each(run)}
    kept = {name: line.estimate for name, line in rows.items() if line}
    if not kept:
        return None
    data = Forest(list(kept), list(kept.values()), "AUROC above text")
    whole = figure_of(run.at(method, ABOVE_TEXT)).text(signed=True)
    above = sum(each.side == 1 for name, each in kept.items() if name != "all classes")
    said = f"All classes: {whole}. Of {len(run.classes)} classes, {above} stand above words alone."
    return View("", METHODS[method], data, said)


def _each(run: Probed) -> tuple[str, ...]:
    return ("", *run.classes)
