"""Figures of what is read after a turn: over offsets, over layers, and after cuts."""

from collections.abc import Iterable

from probekit.plots import Estimate, LayerCurves, Series
from probekit.report.causal import curve
from probekit.report.reading import Line
from probekit.report.retain_rows import CUT, NULL, PROBE, REMOVED, Retained, start
from probekit.report.views import Figure, View, figure, series_text
from probekit.report.words import capital

OFFSET = "offset in tokens"
ALL = "all classes"


def over_offsets(run: Retained) -> list[Figure | None]:
    """The probe at every offset, and by windows for each emotion."""
    views = [_every_offset(run), *(_windowed(run, each) for each in ("", *run.emotions))]
    return [figure("offsets-of", "What is read of the turn, over offsets", views)]


def _every_offset(run: Retained) -> View | None:
    lines = [x for x in run.of("auroc_at_offset") if start(x)]
    series = _series(f"probe, layer {run.layer}", lines)
    if not series:
        return None
    data = LayerCurves([series], "AUROC", reference=_words(run, ""), axis=OFFSET, log=True)
    return View("", "every offset, all classes", data, capital(series_text(series, axis=OFFSET)))


def _windowed(run: Retained, emotion: str) -> View | None:
    own = run.of("auroc", layer=run.layer, emotion=emotion, target="")
    later = [x for x in own if x.position and start(x)]
    series = _series(f"probe, layer {run.layer}", [x for x in later if x.condition == PROBE])
    if not series:
        return None
    null = _series("chance", [x for x in later if x.condition == NULL])
    words = _words(run, emotion)
    data = LayerCurves([series], "AUROC", reference=words, null=null, axis=OFFSET, log=True)
    said = [series_text(each, axis=OFFSET) for each in (series, null) if each]
    return View("windows", emotion or ALL, data, " ".join(map(capital, said)))


def over_layers(run: Retained) -> list[Figure | None]:
    """The probe over layers, a view a window."""
    views = [_layers(run, window) for window in run.windows]
    return [figure("layers-of", "What is read of the turn, over layers", views)]


def _layers(run: Retained, window: str) -> View | None:
    lines = run.of("auroc", condition=PROBE, emotion="", target="", position=window)
    series = curve("probe", lines)
    if not series:
        return None
    data = LayerCurves([series], "AUROC", reference=_words(run, ""), chosen=run.layer)
    return View("", f"offset {window}", data, capital(series_text(series)))


def after_cuts(run: Retained) -> list[Figure | None]:
    """What is read on, nothing removed beside everything that was."""
    views = [_after(run, cut, emotion) for emotion in ("", *run.emotions) for cut in run.cuts]
    return [figure("cuts-of", "What is read after a part of the past was removed", views)]


def _after(run: Retained, cut: int, emotion: str) -> View | None:
    place = run.following(cut)
    cells = {"layer": run.layer, "emotion": emotion, "target": "", "position": place}
    found = [_series("nothing removed", run.of("auroc", condition=PROBE, **cells))]
    for removed, name in REMOVED.items():
        own = run.of("auroc", condition=CUT, method=removed, k=cut, **cells)
        found.append(_series(name, own))
    drawn = [each for each in found if each]
    if len(drawn) < 2:
        return None
    null = _series("chance", run.of("auroc", condition=NULL, **cells))
    data = LayerCurves(drawn, "AUROC", null=null, axis=OFFSET, log=True)
    said = " ".join(capital(series_text(each, axis=OFFSET)) for each in drawn)
    return View(emotion or ALL, f"after offset {cut}", data, said)


def _words(run: Retained, emotion: str) -> Estimate | None:
    words = run.words(emotion)
    return words if words.value is not None else None


def _series(name: str, lines: Iterable[Line]) -> Series | None:
    """A curve over the first offsets of windows."""
    found = {start(x): x.estimate for x in lines if x.estimate.value is not None}
    return Series(name, list(found), list(found.values())) if found else None
