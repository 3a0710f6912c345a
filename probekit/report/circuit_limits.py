"""What a run of circuits cannot say."""

from collections.abc import Sequence

from probekit.plots import number
from probekit.report.causal import ALPHA
from probekit.report.circuit_rows import NULL, Circuits
from probekit.report.markup import Html
from probekit.report.parts import noted, notes
from probekit.report.reading import Line


def limits(run: Circuits) -> Html:
    """What this run cannot say."""
    draws = run.options.get("draws")
    few = [x for x in _held(run) if (x.clusters or 0) < 10]
    texts = [
        f"Random components are {draws or 'few'} draws for each circuit of the main size and one "
        "at the others: intervals beside them are over scenarios, not over draws.",
        "Some lifts rest on fewer than ten scenarios: their intervals are rough." if few else "",
        "Every acceptance and every accuracy is the judge’s. What it mistakes, this page mistakes.",
        "Where every text of a cell has one outcome, the bootstrap’s interval has no width; that "
        "is no certainty.",
        "Where two figures are compared by whether their intervals meet, no paired test was made: "
        "intervals that meet do not show that nothing differs.",
        "An ablated set is held at its mean in neutral texts. A complement so held is far from "
        "anything the model ever does; a circuit can fail this and still be needed.",
        f"q is over the tests of one kind of figure, all emotions and sizes, at {number(ALPHA)}.",
        _draws(run),
        _source(run),
    ]
    return noted([*texts, *notes(run.manifest)])


def _draws(run: Circuits) -> str:
    counts = {x.n for m in ("influence", "jaccard") for x in run.of(m, condition=NULL) if x.n}
    if not counts:
        return ""
    return (
        f"Nulls of influence and Jaccard are of {min(counts)} draws each or more: the middle 95 % "
        "of so few is little more than their range."
    )


def _source(run: Circuits) -> str:
    if run.options.get("source") != "reading":
        return ""
    return (
        "Scores and directions were learned from vignettes that the model read, not from what it "
        "wrote: expression is asked of circuits that were not made for it."
    )


def _held(run: Circuits) -> Sequence[Line]:
    return [line for name in run.emotions if (line := run.lift(name))]
