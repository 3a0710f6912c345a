"""What a run of directions found, in sentences: what they tell of new texts, above words."""

from probekit.plots import MISSING
from probekit.report.causal import ALPHA
from probekit.report.directions_cosines import (
    between,
    domains,
    halves,
    item,
    or_missing,
    p_of,
    pairs,
    probe,
    shared,
)
from probekit.report.learned import (
    ABOVE,
    AUROC,
    CHANCE,
    HALVES,
    RANDOM,
    WHETHER,
    WHICH,
    WORDS,
    Learned,
    Study,
    beyond,
    significant,
)
from probekit.report.markup import Html
from probekit.report.parts import found, missing, shown
from probekit.report.words import capital, listed, say


def findings(study: Study) -> Html:
    """Of the headlined directions: held-out texts, emotions, stability, pairs, probe, arms."""
    if not study.learned:
        return missing("Missing: this run holds no figure of any direction.")
    each = study.learned[0]
    others = [target for target in each.targets if target != each.source]
    items = [
        held_out(each, WHICH, each.source),
        by_emotion(each),
        held_out(each, WHETHER, each.source),
        *[held_out(each, WHICH, target) for target in others],
        halves(each),
        domains(each),
        pairs(each),
        probe(each),
        *[between(each, other) for other in each.beside],
    ]
    return found(lead(each), items)


def lead(each: Learned) -> str:
    """What the projection tells, whether words tell as much, and whether halves agree."""
    where = f"At {each.place.site}, layer {MISSING if each.layer is None else each.layer}"
    told, own = verdict(each, WHICH, each.source, str(each)), each.at(HALVES)
    agree = f"Two halves of the scenarios give directions with a cosine of {own.text()}: "
    halved = capital(shared(own)) if own.value is None else agree + shared(own)
    return f"{where}, {told[:1].lower()}{told[1:]} {halved}"


def held_out(each: Learned, task: str, target: str) -> Html:
    """The mean AUROC of a question on one arm, with its controls."""
    name = f"{capital(say(task))}, {each.said(target)}"
    own, above, words, chance, random = (
        each.line(figure._replace(task=task), "", target)
        for figure in (AUROC, ABOVE, WORDS, CHANCE, RANDOM)
    )
    if own is None:
        return item(name, "not measured.")
    difference = [shown(above.estimate, signed=True), p_of(above)] if above else ["not measured"]
    parts = ["mean AUROC ", shown(own.estimate), p_of(own), "; words alone ", or_missing(words)]
    parts += ["; above text ", *difference, "; chance ", or_missing(chance)]
    parts += ["; random directions ", or_missing(random), "."]
    return item(name, *parts, verdict=verdict(each, task, target))


def verdict(each: Learned, task: str, target: str, texts: str = "") -> str:
    """Whether the projection tells anything, and whether words tell as much."""
    of = f" on {texts} that it was not learned from" if texts else ""
    what = "which emotion a text has" if task == WHICH else "emotional texts from neutral ones"
    own = each.line(AUROC._replace(task=task), "", target)
    band = each.at(RANDOM._replace(task=task), "", target)
    tested = significant(own)
    if own is None or own.estimate.value is None:
        return f"Whether the projection tells {what} was not measured."
    figure = f" (mean AUROC {own.estimate.text()})" if texts else ""
    side = beyond(own.estimate, band)
    if tested is None or side is None:
        lacking = listed(
            ["chance’s labels"] * (tested is None) + ["random directions"] * (side is None)
        )
        return f"Nothing is claimed of the projection{of}{figure}: {lacking} not measured."
    if not tested or side < 1:
        why = "" if not tested else ", since random directions do as well"
        return f"It is not shown that the projection tells {what}{of}{figure}{why}."
    return f"The projection alone tells {what}{of}{figure}{_above(each, task, target)}"


def _above(each: Learned, task: str, target: str) -> str:
    line = each.line(ABOVE._replace(task=task), "", target)
    value, tested = (line.estimate.value if line else None), significant(line)
    if line is None or value is None or tested is None:
        return "; the difference from words alone was not tested."
    figure = line.estimate.text(signed=True)
    if not tested:
        return f", but nothing above words alone is shown ({figure})."
    if value > 0:
        return f", and more than words alone do ({figure})."
    return f", but less than words alone do ({figure})."


def by_emotion(each: Learned) -> Html:
    """Which emotions' directions survive, and which tell more than words."""
    lines = {name: each.line(AUROC, name) for name in each.emotions}
    tested = {name: line for name, line in lines.items() if line and line.q is not None}
    name = f"Emotion by emotion, {each}"
    if not tested:
        return item(name, "no direction of one emotion was tested.")
    kept = {n: line for n, line in tested.items() if (line.q or 0) < ALPHA}
    clear = [n for n in kept if beyond(kept[n].estimate, each.at(RANDOM, n)) == 1]
    within = [n for n in kept if n not in clear]
    said = f"{len(kept)} of {len(tested)} directions survive q < .05"
    said += f": {listed([f'{n} ({kept[n].estimate.text()})' for n in clear])}" if clear else ""
    if within:
        said += f"; of {listed(within)} it is not shown that random directions do less"
    return item(name, f"{said}.{floor(each, len(tested))}", verdict=_emotions_above(each))


def floor(each: Learned, tests: int) -> str:
    """Whether a single emotion could have survived so few permutations."""
    line = each.line(CHANCE)
    if line is None or not line.k or tests / (line.k + 1) < ALPHA:
        return ""
    return f" With {line.k} permutations, a single one could not have."


def _emotions_above(each: Learned) -> str:
    lines = {name: each.line(ABOVE, name) for name in each.emotions}
    tested = {name: line for name, line in lines.items() if line and line.q is not None}
    if not tested:
        return "Above text was not tested by emotion."
    kept = {n: line.estimate for n, line in tested.items() if (line.q or 0) < ALPHA}
    said = [
        f"{side} words alone at q < .05: {listed(names)}"
        for sign, side in ((1, "above"), (-1, "below"))
        if (
            names := [
                f"{n} ({e.text(signed=True)})" for n, e in kept.items() if (e.value or 0) * sign > 0
            ]
        )
    ]
    none = f"no difference from words alone is shown for any of {len(tested)}"
    return f"{capital('; '.join(said) or none)}."
