"""What a run of circuits found, in sentences: expression, what is read, language."""

from probekit.circuits.texts import NEEDED
from probekit.report.causal import figure_of
from probekit.report.circuit_modulation import modulated
from probekit.report.circuit_rows import (
    CIRCUIT,
    COMPLEMENT,
    OTHER,
    RANDOM,
    RANDOM_COMPLEMENT,
    Circuits,
    apart,
)
from probekit.report.circuit_scores import scored
from probekit.report.markup import Html, tag
from probekit.report.parts import found, missing, shown
from probekit.report.reading import Line
from probekit.report.scorecard_rows import q_text, shown_apart
from probekit.report.words import capital, listed

ABOVE_RANDOM = "lift_above_random"
METRICS = {
    "own_label": "the log-odds of the text’s own emotion word",
    "reception_shift": "reception",
}


def findings(run: Circuits) -> Html:
    """Expression first, then what circuits do to reading and language, how they were found."""
    if not run.lines:
        return missing("Missing: the run has no figures.")
    items = [accepted(run), *needed(run), *curves(run), *reading(run), *language(run)]
    items += [*modulated(run), *scored(run)]
    return found(lead(run), [item for item in items if item])


def lead(run: Circuits) -> str:
    """For which emotions the circuit is shown to be needed for expression."""
    size = f"{run.k} heads and neurons" if run.k else "heads and neurons"
    tests = {name: run.ablated(ABOVE_RANDOM, name, CIRCUIT) for name in run.emotions}
    tested = {n: line for n, line in tests.items() if line and line.estimate.value is not None}
    absent = [name for name in run.emotions if name not in tested]
    if not tested:
        return (
            f"Whether circuits of {size} are needed for expression cannot be said: no emotion has "
            "enough held-out replies that the judge accepted."
        )
    less = [n for n, line in tested.items() if shown_apart(line) and line.estimate.side == -1]
    rest = [n for n in tested if n not in less]
    parts = []
    if less:
        parts.append(f"is shown to lower the lift of {listed(less)} more than random ones do")
    if rest:
        that = "that" if less else "the lift"
        parts.append(f"is not shown to lower {that} of {listed(rest)} more than random ones do")
    if absent:
        parts.append(f"has no figure for {listed(absent)}")
    return f"Ablating an emotion’s circuit of {size} {'; '.join(parts)}."


def accepted(run: Circuits) -> Html | None:
    """How often replies were taken for the emotion asked for, beside plain ones."""
    parts: list[Html | str] = []
    for split, name in (("test", "held-out scenarios"), ("dev", "those learned from")):
        told: list[Html | str] = []
        for emotion in run.emotions:
            cells = {"emotion": emotion, "split": split}
            own = run.line("accepted", method="prompt", **cells)
            if own is None:
                continue
            chance = run.value("accepted", method="plain", **cells)
            above = apart(own.estimate, chance) == 1
            told += ["; " if told else "", f"{emotion} ", shown(own.estimate), " (plain "]
            told += [shown(chance), ")" if above else ", not shown to differ)"]
        if told:
            parts += [f" On {name}: ", *told, "."]
    if not parts:
        return None
    head = tag("strong", "Is the emotion expressed at all?")
    intro = f" Share of replies that {run.judge} takes for the emotion asked for."
    return tag("li", tag("p", head, intro, *parts))


def needed(run: Circuits) -> list[Html]:
    """Each emotion's lift, and what is left of it."""
    items = [_needed(run, name) for name in run.emotions if run.lift(name)]
    absent = [name for name in run.emotions if not run.lift(name)]
    if absent:
        head = tag("strong", f"Expression of {listed(absent)}")
        text = f": missing. Fewer than {NEEDED} accepted replies are held out, so no lift."
        items.append(tag("li", tag("p", head, text)))
    return items


def _needed(run: Circuits, emotion: str) -> Html:
    lift = run.lift(emotion)
    parts: list[Html | str] = [
        tag("strong", f"Expression of {emotion}"),
        ": the instruction gains ",
        shown(figure_of(lift), signed=True),
        f" nats per token ({q_text(lift)}; {_sizes(lift)}). ",
    ]
    if lift and lift.estimate.side != 1:
        parts.append("That it gains any is not shown, so a share of it says little. ")
    share = _left(run, emotion, CIRCUIT)
    parts += ["Left of it without the circuit: ", share, "; without random components: "]
    parts += [_left(run, emotion, RANDOM), ". ", *_beyond(run, emotion, CIRCUIT)]
    parts += ["With the circuit alone, everything else ablated: ", _left(run, emotion, COMPLEMENT)]
    parts += ["; with random components alone: ", _left(run, emotion, RANDOM_COMPLEMENT), ". "]
    parts += _beyond(run, emotion, COMPLEMENT)
    if run.ablated("lift_share", emotion, OTHER):
        parts += ["Without other emotions’ circuits: ", _left(run, emotion, OTHER), ". "]
        parts += _beyond(run, emotion, OTHER)
    return tag("li", tag("p", *parts))


def _left(run: Circuits, emotion: str, condition: str) -> Html:
    """Share of the lift, or that it has none."""
    return shown(figure_of(run.ablated("lift_share", emotion, condition)))


def _beyond(run: Circuits, emotion: str, condition: str) -> list[Html | str]:
    """The difference from random components in nats, and what it shows."""
    line = run.ablated(ABOVE_RANDOM, emotion, condition)
    if line is None or line.estimate.value is None:
        return ["The difference from random ones is missing. "]
    side = (line.estimate.side or 0) if shown_apart(line) else 0
    said = {-1: "less is left", 1: "more is left", 0: "not shown to differ"}[side]
    told = shown(line.estimate, signed=True)
    return ["Difference from random ones ", told, f" nats ({q_text(line)}): {said}. "]


def curves(run: Circuits) -> list[Html]:
    """At which sizes a circuit does more than random components."""
    if len(run.sizes) < 2:
        return []
    parts: list[Html | str] = []
    for condition, name, side in (
        (CIRCUIT, "Completeness (less is left than without random components)", -1),
        (COMPLEMENT, "Faithfulness (more is left than with random components alone)", 1),
    ):
        told = [
            f"{emotion} {_sizes_shown(run, emotion, condition, side)}"
            for emotion in run.emotions
            if run.lift(emotion)
        ]
        parts.append(f" {name} is shown at: {'; '.join(told)}.")
    sizes = ", ".join(map(str, run.sizes))
    return [tag("li", tag("p", tag("strong", f"Over sizes k = {sizes}."), *parts))]


def _sizes_shown(run: Circuits, emotion: str, condition: str, side: int) -> str:
    lines = {k: run.ablated(ABOVE_RANDOM, emotion, condition, k) for k in run.sizes}
    reached = [str(k) for k, x in lines.items() if x and shown_apart(x) and x.estimate.side == side]
    return f"k = {', '.join(reached)}" if reached else "no size"


def reading(run: Circuits) -> list[Html]:
    """What circuits do to reading vignettes, more than random components: own texts and others."""
    items = []
    for metric, name in METRICS.items():
        told: list[Html | str] = []
        for emotion in ("", *run.emotions):
            own, others = (
                run.line(f"{metric}_above_random", emotion=emotion, target=target)
                for target in ("own", "others")
            )
            if own or others:
                who = capital(emotion) if emotion else "All circuits together"
                told += [f" {who}: texts of its own emotion ", *_difference(own)]
                told += [", of others ", *_difference(others), "."]
        if told:
            head = tag("strong", f"Reading: what ablating a circuit does to {name}")
            items.append(tag("li", tag("p", head, ", less what random components do.", *told)))
    return items


def language(run: Circuits) -> list[Html]:
    """What neutral texts cost more than without random components."""
    told: list[Html | str] = []
    for emotion in run.emotions:
        line = run.line("nats_added_above_random", emotion=emotion)
        if line:
            told += [f" {capital(emotion)} ", *_difference(line), "."]
    if not told:
        return []
    head = tag("strong", "Cost to plain language")
    what = ", nats per token that neutral texts cost more than without random components."
    return [tag("li", tag("p", head, what, *told))]


def _difference(line: Line | None) -> list[Html | str]:
    """A paired difference with its q, and whether it is shown."""
    if line is None or line.estimate.value is None:
        return ["no figure"]
    verdict = "" if shown_apart(line) else ": not shown to differ"
    return [shown(line.estimate, signed=True), f" ({q_text(line)}{verdict})"]


def _sizes(line: Line | None) -> str:
    if line is None or line.n is None:
        return "number of replies unknown"
    return f"{line.n} replies to {line.clusters} scenarios"
