"""What an erasure run found, in sentences: what is left, what else changed, what it cost."""

from probekit.plots import Estimate
from probekit.report.causal import figure_of, p_text
from probekit.report.erasing import (
    BEYOND,
    CHANGE,
    COSTS,
    DIGITS,
    LOSS,
    METHODS,
    NEW,
    SAME,
    Block,
    Erasing,
    Reading,
    arms_listed,
    said,
    side,
    tested,
)
from probekit.report.markup import Html, tag
from probekit.report.parts import found, shown
from probekit.report.reading import Line
from probekit.report.words import capital, listed

LEFT, UNSHOWN, UNREAD, FEW, UNTESTED = "left", "unshown", "unread", "few", "untested"
"""What became of a concept on new texts."""


def findings(run: Erasing) -> Html:
    """Every concept at the headline layer of the first site and pooling."""
    if not run.blocks:
        return tag("p", "Missing: nothing was erased in this run.", class_="absent")
    block = run.blocks[0]
    items = [_finding(run, concept, block) for concept in run.concepts]
    return found(lead(run, block), items)


def outcome(run: Erasing, reading: Reading) -> str:
    """What became of an erased concept on new texts at the headline layer."""
    layer = run.headline(reading.block)
    lines = [run.line(reading, NEW, method, layer) for method in ("none", "leace")]
    before, after = map(run.above_chance, lines)
    if before is None or after is None:
        return UNTESTED if any(tested(line) is None for line in lines) else FEW
    if after:
        return LEFT
    return UNSHOWN if before else UNREAD


def lead(run: Erasing, block: Block) -> str:
    """One sentence: what a new probe still reads."""
    outcomes = {concept: outcome(run, run.of(concept, block)) for concept in run.concepts}

    def named(kind: str) -> str:
        return listed(arms_listed(c for c, became in outcomes.items() if became == kind))

    parts = []
    if left := named(LEFT):
        parts.append(f"after LEACE, a newly trained probe still reads {left} from new texts")
    if gone := named(UNSHOWN):
        parts.append(
            f"after LEACE, a newly trained probe is no longer shown to read {gone} from new texts, "
            "which is no proof that nothing is left"
        )
    if unread := named(UNREAD):
        parts.append(f"{unread} was not shown to be read before either, so nothing is claimed")
    if few := named(FEW):
        parts.append(f"of {few}, nothing can be said with so few permutations")
    if untested := named(UNTESTED):
        parts.append(f"nothing is claimed of {untested}: no figure beside chance")
    return f"{_where(run, block)}: {'; '.join(parts)}."


def _where(run: Erasing, block: Block) -> str:
    layer = run.headline(block)
    where = f"At {block.site}, layer {layer}" if layer is not None else f"At {block.site}"
    return f"{where} (pooling {block.pooling}), fixed beforehand"


def _finding(run: Erasing, concept: str, block: Block) -> Html:
    reading = run.of(concept, block)
    name = tag("strong", capital(said(concept)))
    parts = [
        tag("p", name, ": ", *_new_rows(run, reading)),
        tag("p", verdict(run, reading), class_="verdict"),
        tag("p", *_same_rows(run, reading)),
    ]
    parts += [tag("p", *_kept(run, each)) for each in run.kept(concept, block)]
    return tag("li", *parts, tag("p", *_cost(run, concept, block)))


def _new_rows(run: Erasing, reading: Reading) -> list[Html | str]:
    """AUROC of a new probe on new texts by method, chance beside it."""
    layer = run.headline(reading.block)
    out: list[Html | str] = ["a newly trained probe reads new texts at AUROC "]
    for place, (method, name) in enumerate(METHODS.items()):
        line = run.line(reading, NEW, method, layer)
        out += [", after " if place else "", "" if method == "none" else f"{name} "]
        out += [_measured(figure_of(line)), " before" if method == "none" else "", _q(line)]
    null = run.value(reading, NEW, "leace", layer, null=True)
    change = run.line(reading, CHANGE, "leace", layer)
    out += ["; chance, the eraser refitted to permuted labels, ", _measured(null)]
    out += [". LEACE changes it by ", _measured(figure_of(change), signed=True), _q(change)]
    beyond = run.line(reading, BEYOND, "leace", layer)
    out += [
        "; its figure minus that of random directions is ",
        _measured(figure_of(beyond), signed=True),
        _q(beyond),
    ]
    return [*out, "."]


def verdict(run: Erasing, reading: Reading) -> str:
    """What the figures on new texts allow to say, and no more."""
    layer = run.headline(reading.block)
    became = outcome(run, reading)
    if became == UNTESTED:
        return "Nothing is claimed without chance beside both figures."
    if became == FEW:
        return (
            "Nothing is claimed: p is the smallest that the permutations allow, and over layers "
            "that is not small enough. Run more of them."
        )
    if became == UNREAD:
        return "Not shown to be read before erasing, so nothing is said of erasing it."
    # Less than before and less than after random directions: both are asked.
    sides = [side(run.line(reading, metric, "leace", layer)) for metric in (CHANGE, BEYOND)]
    less = sides == [-1, -1]
    if became == LEFT:
        rest = "and what is left is above chance: on new texts the concept is not erased"
        if less:
            return f"LEACE takes some of it, more than random directions do, {rest}."
        return (
            "No loss beyond that of random directions is shown, and it is still above chance: on "
            "new texts the concept is not erased."
        )
    high = run.value(reading, NEW, "leace", layer).high
    reach = f" (the interval reaches {Estimate(high).text()})" if high is not None else ""
    if less:
        return (
            "LEACE takes more of it than random directions do, and what is left is not shown to "
            f"be above chance{reach}. That is no proof that nothing is left."
        )
    return (
        f"What is left is not shown to be above chance{reach}, nor is a loss beyond that of "
        "random directions: nothing is claimed."
    )


def _same_rows(run: Erasing, reading: Reading) -> list[Html | str]:
    layer = run.headline(reading.block)
    before, after = (run.value(reading, SAME, method, layer) for method in ("none", "leace"))
    return [
        "A probe that learns from the very texts that the eraser was fitted on: ",
        _measured(before),
        " before, ",
        _measured(after),
        " after LEACE. Chance is reached there by construction, since the class means are made "
        "equal: that is no finding.",
    ]


def _kept(run: Erasing, reading: Reading) -> list[Html | str]:
    """How the reading of another label changed, beside random directions."""
    layer = run.headline(reading.block)
    change, by_chance = (run.line(reading, CHANGE, m, layer) for m in ("leace", "random"))
    beyond = run.line(reading, BEYOND, "leace", layer)
    before = run.line(reading, NEW, "none", layer)
    return [
        f"Also read, {said(reading.target)}: ",
        _measured(figure_of(before)),
        " before, ",
        _measured(run.value(reading, NEW, "leace", layer)),
        " after LEACE; change ",
        _measured(figure_of(change), signed=True),
        _q(change),
        ", with random directions ",
        _measured(figure_of(by_chance), signed=True),
        f". {_kept_verdict(run.above_chance(before), change, beyond)}",
    ]


def _kept_verdict(read: bool | None, change: Line | None, beyond: Line | None) -> str:
    if read is False:
        return "It was not shown to be read before, so nothing is said of it."
    match side(change), side(beyond):
        case (None, _) | (_, None):
            return "Not tested, so nothing is claimed."
        case 0, _:
            return "No change is shown."
        case (-1, -1):
            return "It falls, and more than with random directions."
        case (1, 1):
            return "It rises, and more than with random directions."
        case one, _:
            moves = "falls" if one == -1 else "rises"
            return f"It {moves}, but no difference from random directions is shown."


def _cost(run: Erasing, concept: str, block: Block) -> list[Html | str]:
    """Nats per token that erasing adds, beside its controls."""
    reading, layer = run.loss(concept, block), run.loss_layer(concept, block)
    if layer is None:
        return ["Cost: the model’s own loss was not measured here."]
    before = run.line(reading, LOSS, "none", layer)
    out: list[Html | str] = [
        f"Cost at layer {layer}, on {before.n if before else 'the'} neutral texts, whose loss is ",
        _measured(figure_of(before)),
        " nats per token: ",
    ]
    for place, (method, name) in enumerate(COSTS.items()):
        line = run.line(reading, f"{LOSS}_change", method, layer)
        out += ["; " if place else "", f"{name} "]
        out += [_measured(figure_of(line), signed=True, digits=DIGITS), _q(line)]
    return [*out, f". {_cost_verdict(run, reading, layer)}"]


def _cost_verdict(run: Erasing, reading: Reading, layer: int) -> str:
    lines = {c: run.line(reading, f"{LOSS}_above_{c}", "erased", layer) for c in COSTS}
    words = {1: "more than", -1: "less than", 0: "not shown to differ from"}
    parts = [
        f"{words[shown_side]} {name} ({figure_of(lines[control]).text(signed=True, digits=DIGITS)})"
        for control, name in (("random", "random directions"), ("placebo", "the placebo"))
        if (shown_side := side(lines[control])) is not None
    ]
    return f"What LEACE adds is {listed(parts)}." if parts else "Nothing is claimed of it."


def _measured(estimate: Estimate, *, signed: bool = False, digits: int = 2) -> Html | str:
    if estimate.value is None:
        return "not measured"
    return shown(estimate, signed=signed, digits=digits)


def _q(line: Line | None) -> str:
    """` (q .048)`, or p where there is one layer only."""
    decides = tested(line)
    if line is None or decides is None:
        return ""
    return f" ({'p' if line.q is None else 'q'} {p_text(decides)})"
