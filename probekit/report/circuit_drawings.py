"""Figures of modulation, and circuits drawn as graphs, with their summaries."""

from probekit.plots import Estimate, Heatmap
from probekit.report import scorecard_figures
from probekit.report.circuit_rows import EVENTS, Circuits
from probekit.report.scorecard_rows import Setting
from probekit.report.views import Figure, View, figure
from probekit.report.words import capital


def modulation(run: Circuits) -> list[Figure | None]:
    """Accuracy by emotion and by event; and against what it costs."""
    accuracy = figure("modulation-of", "Target accuracy", [_by_emotion(run), _by_event(run)])
    return [accuracy, *scorecard_figures.tradeoff(run.card)]


def _by_emotion(run: Circuits) -> View | None:
    card = run.card
    if not card.settings:
        return None
    columns = ("", *card.emotions)
    cells = [[card.value("target_accuracy", each, e) for e in columns] for each in card.settings]
    return _shares(list(card.settings), ["all", *card.emotions], cells, "emotion")


def _by_event(run: Circuits) -> View | None:
    lines = run.of("target_accuracy_by_event")
    rows = list(dict.fromkeys(Setting(line.method, line.dose) for line in lines))
    if not rows:
        return None
    found = {(Setting(x.method, x.dose), x.source): x.estimate for x in lines}
    cells = [[found.get((row, event), Estimate(None)) for event in EVENTS] for row in rows]
    return _shares(rows, list(EVENTS), cells, "event")


def _shares(rows: list[Setting], columns: list[str], cells: list[list[Estimate]], by: str) -> View:
    names = [str(row) for row in rows]
    data = Heatmap(names, columns, cells, "target accuracy", "method", by, share=True)
    told = [
        f"{capital(name)}: "
        + ", ".join(f"{c} {e.text()}" for c, e in zip(columns, row, strict=True))
        for name, row in zip(names, cells, strict=True)
    ]
    return View("", f"By {by}", data, ". ".join(told) + ".")


def graphs(run: Circuits) -> list[Figure | None]:
    """Every emotion's strongest components and the paths between them."""
    views = []
    for graph in run.graphs:
        strong = [f"{e.source} → {e.target} {e.estimate.text(signed=True)}" for e in graph.strong()]
        most = "; ".join(strong[:5]) or "none"
        said = (
            f"{len(graph.nodes)} components, {len(graph.edges)} paths, {len(strong)} beyond "
            f"chance with an interval that leaves 0 out: {most}{'; …' * (len(strong) > 5)}. "
            f"Measured on {graph.items} texts."
        )
        views.append(View("", capital(graph.emotion), graph.network, said))
    return [figure("graph-of", "Circuits as graphs", views)]
