"""What a patching run found, in sentences: what moves category and reception, above a placebo."""

from probekit.report.causal import Effects, base_rates, figure_of, p_text
from probekit.report.markup import Html, tag
from probekit.report.parts import found, shown
from probekit.report.terms import PLACEBOS, SOURCES
from probekit.report.transfers import (
    ABOVE,
    CATEGORY,
    CONTROLS,
    KINDS,
    PROBE,
    RECEPTION,
    Transfer,
    questions,
)
from probekit.report.words import capital, listed

MOVED = {CATEGORY: "its emotion", PROBE: "its emotion", RECEPTION: "“emotional”"}
READ = {
    CATEGORY: "in the model’s own words",
    PROBE: "by a probe’s reading",
    RECEPTION: "by a probe’s reading",
}
"""Who says that it moved: the words that the model goes on with, and a probe, can differ."""

BESIDE = ("same", *CONTROLS)
"""The sources whose effects stand beside that of a patch."""

ALONE = "was compared with a random vector alone, so nothing is claimed"


def findings(effects: Effects) -> Html:
    """Whether category and reception transfer, said separately, and the base rates beside them."""
    items = [_finding(kind, asked) for kind in KINDS for asked in questions(effects, kind)]
    return found(lead(effects), [*items, base_rates(effects)])


def lead(effects: Effects) -> str:
    """A few sentences on each of category and reception, at the first site.

    What was compared with a placebo comes first, then what brings it in before what takes it away.
    """
    said = []
    for kind in KINDS:
        asked = [r for r in questions(effects, kind) if any(t.beyond or t.above for t in r)]
        if asked:
            first = min(asked, key=lambda r: (not any(t.beyond for t in r), -r[0].sign))
            said.append(f"{capital(kind)} at {first[0].site}: {' '.join(_sentences(first))}")
        else:
            none = "nothing can be said, because no patch stands beside a control."
            said.append(f"{capital(kind)}: {none}")
    return " ".join(said)


def _sentences(readings: list[Transfer]) -> list[str]:
    """A sentence for each figure that reads the same; a later one leaves out what it repeats."""
    first, *rest = readings
    said = [f"{_counted(first)}."]
    for each in rest:
        again = each.moved.tested and first.moved.tested
        text = f"{READ[each.metric]}, it does {_layers(each)}" if again else ""
        said.append(f"{capital(text or _counted(each))}.")
    return said


def _counted(transfer: Transfer) -> str:
    """At how many layers the figure moves, and further than with the placebo."""
    source = SOURCES.get(transfer.source, transfer.source)
    start, than = f"{READ[transfer.metric]}, {source}", PLACEBOS[transfer.placebo]
    raises = "raises" if transfer.sign > 0 else "lowers"
    moves = f"{raises} the log-odds of {MOVED[transfer.metric]}, and more than"
    if transfer.moved.tested:
        return f"{start} {moves} {than} does, {_layers(transfer)}"
    if transfer.beyond:
        return f"{start} was compared with {than}, but without a q, so nothing is claimed"
    if transfer.count(transfer.above).tested:
        layers = _layers(transfer, ABOVE)
        return f"{start} {ALONE}; it {moves} that vector does, {layers}"
    return f"{start} was compared with no placebo, so nothing is claimed"


def _layers(transfer: Transfer, method: str = "") -> str:
    """Where it moves and differs: from the placebo, or from a random vector."""
    count = transfer.count(transfer.above) if method == ABOVE else transfer.moved
    moved = count.before + count.within
    text = f"at {moved} of {count.tested} layers (q < .05)"
    if moved:
        text += f", {count.before or 'none'} of them before the trivial bound"
    if count.short:
        above = "above" if transfer.sign > 0 else "below"
        control = "that vector" if method == ABOVE else "the placebo"
        text += f"; at {count.short} more it is {above} {control}, but not {above} 0"
    return text


def _finding(kind: str, readings: list[Transfer]) -> Html:
    first = readings[0]
    name = tag("strong", f"{capital(kind)} at {first.site}, {first.arm}")
    said = zip(readings, _sentences(readings), strict=True)
    lines = [
        tag("p", *([name, ": "] if each is first else []), text, *_best(each))
        for each, text in said
    ]
    return tag("li", *lines, tag("p", verdict(kind, readings), class_="verdict"))


def _best(transfer: Transfer) -> list[str]:
    """The strongest layer before the bound, its difference from the placebo, and the controls."""
    if transfer.best is None:
        return [" No figure before the trivial bound."]
    own = shown(transfer.at_best(transfer.source), signed=True)
    beside = [
        piece
        for control in BESIDE
        if control != transfer.source and transfer.at_best(control).value is not None
        for piece in (f"; {control} ", shown(transfer.at_best(control), signed=True))
    ]
    above = transfer.at_best(transfer.source, ABOVE)
    random = ["; above random ", shown(above, signed=True)] if above.value is not None else []
    start = f" Strongest before the trivial bound: layer {transfer.best}, "
    controls = beside or ["; controls not measured"]
    return [start, own, *_above_placebo(transfer), *controls, *random, "."]


def _above_placebo(transfer: Transfer) -> list[str]:
    if not transfer.beyond:
        return []
    line = transfer.best_line(transfer.beyond)
    start, figure = f"; above {PLACEBOS[transfer.placebo]} ", figure_of(line)
    if line is None or figure.value is None:
        return [start, "not measured"]
    return [start, shown(figure, signed=True), f" (q {p_text(line.q)})"]


def verdict(kind: str, readings: list[Transfer]) -> str:
    """What the layers before the trivial bound show, by each figure that reads it."""
    if not any(each.moved.tested for each in readings):
        return "Nothing is claimed."
    said = [f"{READ[each.metric]}, {_shows(kind, each)}" for each in readings]
    return f"{capital('; '.join(said))}."


def _shows(kind: str, transfer: Transfer) -> str:
    count = transfer.moved
    if not count.tested:
        return "nothing is claimed"
    what, noun = ("transfers", "transfer") if transfer.sign > 0 else ("is taken away", "loss")
    if count.before:
        layers = "one layer" if count.before == 1 else f"{count.before} layers"
        return f"{kind} {what} at {layers} before the trivial bound"
    only = " (it moves only within the trivial bound)" if count.within else ""
    return f"no {noun} of {kind} is shown{only}"


def about_placebos(effects: Effects) -> str:
    """For which questions the placebo is missing."""
    every = [(kind, t) for kind in KINDS for r in questions(effects, kind) for t in r]
    lacking = [(kind, each) for kind, each in every if not each.beyond]
    if not lacking:
        return ""
    if len(lacking) == len(every):
        return "The placebo is missing throughout, so nothing is claimed."
    named = [
        f"{kind} {READ[each.metric]} ({SOURCES.get(each.source, each.source)} into {each.arm})"
        for kind, each in lacking
    ]
    return (
        f"The placebo is missing for {listed(list(dict.fromkeys(named)))}: there, nothing is "
        "claimed."
    )
