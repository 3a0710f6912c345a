"""What modulation of a circuit achieves beside steering, asking and chance, in sentences."""

from collections.abc import Callable
from itertools import pairwise

from probekit.plots import Estimate
from probekit.report.circuit_rows import (
    CIRCUIT,
    EVENTS,
    PROMPT,
    STEER,
    Circuits,
    apart,
    best,
)
from probekit.report.markup import Html, tag
from probekit.report.parts import shown
from probekit.report.reading import NOTHING, Line
from probekit.report.scorecard_findings import at_fluency
from probekit.report.scorecard_rows import Card, dose_text, is_control, name_of
from probekit.report.words import capital

ORDER = (CIRCUIT, STEER, PROMPT)
"""As the paper has it, best first."""
PAPER = "Wang et al. (2025)"


def modulated(run: Circuits) -> list[Html]:
    """Every method at equal fluency, the paper's order, and where events pull another way."""
    card = run.card
    if not card.settings:
        text = ": missing. No texts were written by modulation in this run."
        return [tag("li", tag("p", tag("strong", "Modulation"), text))]
    methods = [method for method in card.methods if not is_control(method)]
    items = [_order(card), *[at_fluency(card, method) for method in methods]]
    return [*items, *_by_event(run)]


def _order(card: Card) -> Html:
    """Whether circuit, steering and prompt stand in the paper's order, and at what cost."""

    def fluent(method: str) -> Estimate:
        line = card.fluent("accuracy_at_fluency", method)
        return line.estimate if line else NOTHING

    def reached(method: str) -> Estimate:
        return (best(card, method) or (None, NOTHING))[1]

    head = tag("strong", f"Does the order of {PAPER} hold: circuit, then steering, then prompt?")
    parts: list[Html | str] = [head, " At equal fluency: ", *_ranked(fluent)]
    parts += [*_own_ratio(card), " At the dose of each that is most accurate, whatever it costs"]
    parts += [f"{_doses(card)}, chosen after the fact: ", *_ranked(reached)]
    return tag("li", tag("p", *parts))


def _ranked(value: Callable[[str], Estimate]) -> list[Html | str]:
    figures: list[Html | str] = []
    for method in ORDER:
        figures += ["; " if figures else "", f"{name_of(method)} ", shown(value(method))]
    steps = [(one, other, apart(value(one), value(other))) for one, other in pairwise(ORDER)]
    said = {
        1: "is shown",
        0: "is not shown",
        -1: "is not so, the reverse is shown",
        None: "cannot be said, a figure is missing",
    }
    told = [f"{name_of(one)} above {name_of(other)} {said[side]}" for one, other, side in steps]
    sides = [side for *_, side in steps]
    if all(side == 1 for side in sides):
        verdict = "The order holds"
    elif -1 in sides:
        verdict = "The order does not hold"
    elif None in sides:
        verdict = "Whether the order holds cannot be said"
    else:
        verdict = "The order is not shown"
    return [*figures, f". {verdict}: {'; '.join(told)}."]


def _own_ratio(card: Card) -> list[Html | str]:
    """That a prompt has no dose to bring it to equal fluency."""
    line: Line | None = card.fluent("ratio_at_fluency", PROMPT)
    if line is None or line.estimate.value is None:
        return []
    beyond = " and so is more than equal fluency" if line.estimate.value > card.bound else ""
    return [" The prompt has no dose: its own ratio is ", shown(line.estimate), f"{beyond}."]


def _doses(card: Card) -> str:
    told = []
    for method in (CIRCUIT, STEER):
        found = best(card, method)
        if found and found[0] is not None:
            told.append(f"{name_of(method)} {dose_text(found[0])}")
    return f" ({', '.join(told)})" if told else ""


def _by_event(run: Circuits) -> list[Html]:
    """Accuracy by the valence of the event that is told."""
    told: list[Html | str] = []
    for method in (*ORDER, "random circuit", "plain"):
        dose = (best(run.card, method) or (None, NOTHING))[0]
        cells = {"method": method, "dose": dose}
        lines = {e: run.line("target_accuracy_by_event", source=e, **cells) for e in EVENTS}
        if not any(lines.values()):
            continue
        at = "" if dose is None else f" (dose {dose_text(dose)})"
        told.append(f" {capital(name_of(method))}{at}: ")
        if all(line is None or line.estimate.value is None for line in lines.values()):
            told.append("missing, fewer than two scenarios.")
            continue
        for place, (event, line) in enumerate(lines.items()):
            told += [", " if place else "", f"{event} ", shown(line.estimate if line else NOTHING)]
        told.append(".")
    if not told:
        return []
    head = tag("strong", "By the valence of the event")
    text = " that the text is about, all emotions together, at each method’s most accurate dose."
    return [tag("li", tag("p", head, text, *told))]
