"""What directions are like, in sentences: halves, domains, single pairs, the probe, other arms."""

from probekit.plots import Estimate, number
from probekit.report.causal import p_text
from probekit.report.learned import (
    AS_MANY,
    DISATTENUATED,
    HALVES,
    LEFT_OUT,
    MOSTLY,
    PAIRS,
    PAIRS_ABOVE,
    RANKS,
    WEIGHTS,
    Figure,
    Learned,
    beyond,
    significant,
)
from probekit.report.markup import Html, joined, tag
from probekit.report.parts import shown
from probekit.report.reading import Line
from probekit.report.words import capital, say


def halves(each: Learned) -> Html:
    """Whether directions of two halves of the scenarios are the same."""
    own, others = each.at(HALVES), each.at(HALVES.others())
    name = f"Halves of the scenarios, {each}"
    if own.value is None:
        return item(name, "not measured.")
    apart = {emotion: each.at(HALVES, emotion) for emotion in each.emotions}
    parts = ["cosine ", shown(own), "; with other emotions’ directions "]
    parts += [shown(others) if others.value is not None else "not measured"]
    parts += [f"; by emotion {span(apart)}."]
    return item(name, *parts, verdict=f"{capital(shared(own))} {_against(own, others)}")


def shared(own: Estimate) -> str:
    """What the cosine of halves says of the directions of all scenarios."""
    if own.value is None:
        return "whether two halves of the scenarios give the same directions was not measured."
    if own.low is None or own.high is None:
        return "without the spread over halvings, nothing is claimed."
    if own.high < MOSTLY:
        return (
            "they agree little, so most of what such a direction is comes from the very scenarios "
            "that it was learned from."
        )
    if own.low > MOSTLY:
        return "most of a direction of all scenarios is what both halves share."
    return "whether most of a direction is what both halves share depends on the halving."


def _against(own: Estimate, others: Estimate) -> str:
    if own.low is None or others.high is None:
        return "The cosine with other emotions’ directions is missing beside it."
    if own.low > others.high:
        return "Over halvings of these scenarios, agreement is above that with other emotions."
    return "That it is more than with other emotions’ directions is not shown."


def domains(each: Learned) -> Html:
    """What leaving out a domain does, beside as many scenarios at random."""
    own, random = each.at(LEFT_OUT), each.at(AS_MANY)
    name = f"Without a domain, {each}"
    if own.value is None:
        return item(name, "not measured.")
    parts = ["cosine with the directions of all scenarios ", shown(own)]
    parts += [" (range over domains); without as many scenarios at random "]
    parts += [shown(random) if random.value is not None else "not measured", "."]
    said = {
        None: "Without that control nothing is claimed.",
        -1: "Leaving out a domain changes the directions more than as many scenarios at random.",
        0: "That a domain matters more than as many scenarios at random is not shown.",
        1: "Leaving out a domain changes the directions less than as many scenarios at random.",
    }
    return item(name, *parts, verdict=said[beyond(own, random)])


def pairs(each: Learned) -> Html:
    """Whether single pairs lean towards the direction of their emotion."""
    own, above = each.line(PAIRS), each.line(PAIRS_ABOVE)
    name = f"Single pairs, {each}"
    if own is None or own.estimate.value is None:
        return item(name, "not measured.")
    parts = ["cosine with their own emotion’s direction ", shown(own.estimate)]
    parts += [p_of(own), "; with other emotions’ "]
    parts += [or_missing(each.line(PAIRS.others())), "; with random directions "]
    parts += [or_missing(each.line(PAIRS.random())), "; own minus others "]
    parts += [shown(above.estimate, signed=True), p_of(above)] if above else ["not measured"]
    side = beyond(own.estimate, each.at(PAIRS.random()))
    value, tested = (above.estimate.value if above else None), significant(above)
    if tested is None or value is None or side is None:
        said = "Without both controls nothing is claimed."
    elif not tested or value <= 0 or side < 1:
        said = "That single pairs lean towards their own emotion’s direction is not shown."
    else:
        said = (
            "Single pairs lean towards their own emotion’s direction more than towards others’ and "
            "random ones. That is a screen: nothing was steered."
        )
    return item(name, *parts, ".", verdict=said)


def probe(each: Learned) -> Html:
    """Whether a probe reads the same."""
    name = f"The probe, {each}"
    cosines, ranks = (
        {emotion: each.at(figure, emotion) for emotion in each.emotions}
        for figure in (WEIGHTS, RANKS)
    )
    if all(e.value is None for e in (*cosines.values(), *ranks.values())):
        return item(name, "not measured.")
    said = [
        f"cosine with its weights {span(cosines)} {_band(each, WEIGHTS)}",
        f"rank correlation of scores {span(ranks)} {_band(each, RANKS)}.",
    ]
    counts = [_count(each, WEIGHTS, "cosine"), _count(each, RANKS, "rank correlation")]
    return item(name, "; ".join(said), verdict=f"{capital('; '.join(counts))}.")


def _band(each: Learned, figure: Figure) -> str:
    """Where random directions lie, over all emotions."""
    bands = [each.at(figure.random(), name) for name in each.emotions]
    lows = [e.low for e in bands if e.low is not None]
    highs = [e.high for e in bands if e.high is not None]
    if not lows:
        return "(random directions not measured)"
    return f"(random directions {number(min(lows))} to {number(max(highs))})"


def _count(each: Learned, figure: Figure, noun: str) -> str:
    """How many emotions lie above the band of their random directions; there is no q of it."""
    sides = [beyond(each.at(figure, n), each.at(figure.random(), n)) for n in each.emotions]
    known = [side for side in sides if side is not None]
    if not known:
        return f"without random directions nothing is claimed of the {noun}"
    of = f"{known.count(1)} of {len(known)} emotions"
    return f"the {noun} lies above the band of random directions for {of}"


def between(each: Learned, other: Learned) -> Html:
    """Whether two arms give the same directions."""
    name = f"Between arms, {say(each.source)} and {say(other.source)}"

    def across(figure: Figure) -> Line | None:
        return each.line(figure, "", other.source) or (
            None if each.layer is None else other.over(figure, "", each.source).get(each.layer)
        )

    line, adjusted = across(HALVES), across(DISATTENUATED)
    if line is None:
        return item(name, "not measured.")
    theirs = other.over(HALVES).get(each.layer or 0)
    parts = ["cosine of one half’s directions with the other half’s ", or_missing(line)]
    parts += [f"; within {say(each.source)} ", or_missing(each.line(HALVES))]
    parts += [f", within {say(other.source)} ", or_missing(theirs)]
    parts += ["; divided by what noise leaves of the two ", or_missing(adjusted), "."]
    weak = [e.estimate for e in (each.line(HALVES), theirs) if e is not None]
    said = "The ratio has no interval, so nothing is claimed of it"
    if any(e.high is not None and e.high < MOSTLY for e in weak):
        said += ", the less as it divides one small cosine by another"
    return item(name, *parts, verdict=f"{said}.")


def span(figures: dict[str, Estimate]) -> str:
    """`.30 (grief) to .41 (loathing)`."""
    known = {name: e.value for name, e in figures.items() if e.value is not None}
    ends = sorted(known, key=lambda name: known[name])
    said = [f"{number(known[n])} ({n})" for n in (*ends[:1], *ends[1:][-1:])]
    return " to ".join(said) or "not measured"


def item(name: str, *parts: str, verdict: str = "") -> Html:
    """A finding: its name, its figures, and what they show."""
    below = tag("p", verdict, class_="verdict") if verdict else Html()
    return tag("li", tag("p", tag("strong", name), ": ", *parts), below)


def p_of(line: Line | None) -> str:
    """` (p .048)`; nothing where there is none."""
    return "" if line is None or line.p is None else f" (p {p_text(line.p)})"


def or_missing(line: Line | None) -> Html:
    """A figure in a sentence, or that it was not measured."""
    if line is None or line.estimate.value is None:
        return joined("not measured")
    return shown(line.estimate)
