"""What a scorecard supports in words: no more than its intervals and q say."""

from collections.abc import Mapping

from probekit.plots import Estimate, number
from probekit.report.markup import Html, tag
from probekit.report.parts import found, missing, noted, notes, shown
from probekit.report.reading import Line
from probekit.report.scorecard_rows import (
    Card,
    dose_text,
    is_control,
    name_of,
    q_text,
    shown_apart,
)
from probekit.report.words import capital, listed

LARGEST, OWN, BEYOND = "largest dose", "own ratio", "above the bound"


def findings(card: Card) -> Html:
    """The judge first, then every method at equal fluency beside its controls."""
    if not card.settings:
        return missing("Missing: no text was scored in this run.")
    items = [_judge(card), *[at_fluency(card, each) for each in _methods(card)]]
    items += [_side(card, each) for each in _methods(card) if _has_effects(card, each)]
    return found(_lead(card), items)


def _methods(card: Card) -> list[str]:
    return [method for method in card.methods if not is_control(method)]


def _lead(card: Card) -> str:
    """Which methods are above their random control at equal fluency, and which are not shown."""
    apart = [m for m in _methods(card) if _own_ratio_above(card, m)]
    compared = [m for m in _methods(card) if m not in apart]
    tests = {m: card.fluent("accuracy_at_fluency_above_random", m) for m in compared}
    tested = {m: line for m, line in tests.items() if line and line.estimate.value is not None}
    place = f"At a perplexity {number(card.bound, digits=1)} times that of plain replies or less"
    if not tested:
        return (
            "No method could be compared with a random control at equal fluency, so none is "
            "claimed to work."
        )
    controls = dict.fromkeys(card.control_of(m) for m in tested)
    parts = [
        part
        for control in controls
        for part in _against(
            control, {m: line for m, line in tested.items() if card.control_of(m) == control}
        )
    ]
    names = listed([name_of(m) for m in apart])
    verb = (
        "stand at larger ratios of their own and are"
        if len(apart) > 1
        else ("stands at a larger ratio of its own and is")
    )
    tail = f" {capital(names)} {verb} not compared at equal fluency." if apart else ""
    return f"{place}, target accuracy by the judge is {'; '.join(parts)}.{tail}"


def _against(control: str, tested: Mapping[str, Line]) -> list[str]:
    """Which methods of one control are above it, below it, and not shown to differ."""
    name = name_of(control)
    more = [m for m, line in tested.items() if shown_apart(line) and line.estimate.side == 1]
    less = [m for m, line in tested.items() if shown_apart(line) and line.estimate.side == -1]
    rest = [m for m in tested if m not in more and m not in less]
    them = "them" if more or less else name
    said = {f"more than {name}": more, f"less than {name}": less}
    said[f"not shown to differ from {them}"] = rest
    return [f"{what}: {listed([name_of(m) for m in own])}" for what, own in said.items() if own]


def _own_ratio_above(card: Card, method: str) -> bool:
    line, ratio = (card.fluent(f"{m}_at_fluency", method) for m in ("accuracy", "ratio"))
    known = line and ratio and line.condition == OWN and ratio.estimate.value is not None
    return bool(known and ratio and (ratio.estimate.value or 0) > card.bound)


def _judge(card: Card) -> Html:
    """What the judge and the rule are worth; every score here is theirs."""
    parts: list[Html | str] = [tag("strong", "The judge"), f": {card.judge}. "]
    kappa = card.validity("judge_kappa")
    parts += _against_readers(kappa, "The judge", "agrees with blind readers at κ ")
    parts.append(" ")
    rule = card.validity("rule_kappa")
    parts += _against_readers(rule, "The rule of incoherence", "agrees with them at κ ")
    more = [(card.validity(f"rule_{name}"), name) for name in ("sensitivity", "specificity")]
    for line, name in more:
        if line and line.estimate.value is not None:
            parts += [f" Its {name}: ", shown(line.estimate), "."]
    return tag("li", tag("p", *parts))


def _against_readers(line: Line | None, who: str, verb: str) -> list[Html | str]:
    if line is None or line.estimate.value is None:
        return [
            f"{who} was not held against readers in this run: how far its word is a person’s is "
            "not known here."
        ]
    sizes = f" ({line.n} texts of {line.clusters} prompts)." if line.n else "."
    weak = (
        " Agreement above chance is not shown, so its figures show nothing of a reader’s."
        if line.estimate.side != 1
        else ""
    )
    return [f"{who} {verb}", shown(line.estimate), sizes, weak]


def at_fluency(card: Card, method: str) -> Html:
    """A method where methods are compared, beside its control and chance."""
    line = card.fluent("accuracy_at_fluency", method)
    head = tag("strong", capital(name_of(method)))
    if line is None:
        return tag("li", tag("p", head, ": not compared at equal fluency in this run."))
    if line.condition == BEYOND:
        text = (
            f": beyond a perplexity ratio of {number(card.bound, digits=1)} at its smallest dose "
            "already, so there is no figure at equal fluency."
        )
        return tag("li", tag("p", head, text))
    if line.estimate.value is None:
        return tag("li", tag("p", head, ": missing at equal fluency; perplexity was not read."))
    control = card.control_of(method)
    random = card.fluent("accuracy_at_fluency", control)
    parts: list[Html | str] = [
        head,
        f", {_where(card, method, line)}: target accuracy ",
        shown(line.estimate),
        f"; {name_of(control)} at equal fluency ",
        shown(random.estimate if random else Estimate(None)),
        "; chance, plain texts judged as the target, ",
        shown(card.chance()),
        ". ",
        *_verdict(card, method),
        *_by_emotion(card, method),
        *_rising(card, method),
    ]
    return tag("li", tag("p", *parts))


def _where(card: Card, method: str, line: Line) -> str:
    ratio = card.fluent("ratio_at_fluency", method)
    own = ratio.estimate.text() if ratio else "–"
    at = "" if line.dose is None else f"dose {dose_text(line.dose)}"
    if line.condition == OWN:
        return f"which has no dose, at its own perplexity ratio {own}"
    if line.condition == LARGEST:
        return f"which never reaches the bound, at its largest {at} (ratio {own})"
    return f"at equal fluency ({at}, interpolated)"


def _verdict(card: Card, method: str) -> list[Html | str]:
    line = card.fluent("accuracy_at_fluency_above_random", method)
    if line is None or line.estimate.value is None:
        return ["There is no random control to compare it with here, so nothing is claimed."]
    side = line.estimate.side if shown_apart(line) else 0
    control = name_of(card.control_of(method))
    said = {1: f"more than {control}", -1: f"less than {control}"}
    text = said.get(side or 0, f"not shown to differ from {control}")
    return ["Difference ", shown(line.estimate, signed=True), f" ({q_text(line)}): {text}."]


def _by_emotion(card: Card, method: str) -> list[str]:
    """For which emotions it is shown."""
    metric = "accuracy_at_fluency_above_random"
    tests = {name: card.fluent(metric, method, name) for name in card.emotions}
    tested = {n: line for n, line in tests.items() if line and line.estimate.value is not None}
    if len(card.emotions) < 2 or not tested:
        return []
    more = [n for n, line in tested.items() if shown_apart(line) and line.estimate.side == 1]
    less = [n for n, line in tested.items() if shown_apart(line) and line.estimate.side == -1]
    rest = [n for n in tested if n not in more and n not in less]
    absent = [n for n in card.emotions if n not in tested]
    return [
        f" Emotion by emotion, more than {name_of(card.control_of(method))}: "
        + (listed(more) or "none")
        + (f"; less: {listed(less)}" if less else "")
        + (f"; not shown: {listed(rest)}" if rest else "")
        + (f"; without a figure: {listed(absent)}" if absent else "")
        + "."
    ]


def _rising(card: Card, method: str) -> list[Html | str]:
    lines = [x for x in card.lines if x.metric == "dose_monotonicity" and x.method == method]
    own = next((x for x in lines if not x.emotion and x.condition != "null"), None)
    null = next((x for x in lines if not x.emotion and x.condition == "null"), None)
    if own is None or own.estimate.value is None:
        return []
    rises = shown_apart(own) and own.estimate.side == 1
    return [
        " Dose and the target’s probability correlate within prompts at ",
        shown(own.estimate),
        ", doses permuted ",
        shown(null.estimate if null else Estimate(None)),
        f" ({q_text(own)}): {'it rises with the dose' if rises else 'a rise is not shown'}.",
    ]


def _has_effects(card: Card, method: str) -> bool:
    return any(line.metric == "kl" and line.method == method for line in card.lines)


def _side(card: Card, method: str) -> Html:
    """What it costs elsewhere, at the dose that was run nearest below equal fluency."""
    setting = card.standing(method)
    head = tag("strong", f"Side effects of {name_of(method)}")
    if setting is None:
        return tag("li", tag("p", head, ": no dose that was run is within the bound."))
    known = card.line("quiz", setting, condition="before")
    change = card.line("quiz_change", setting)
    effect = (
        "a loss of facts is shown"
        if shown_apart(change) and change and change.estimate.side == -1
        else "a change is shown"
        if shown_apart(change)
        else "no change is shown"
    )
    parts: list[Html | str] = [
        head,
        f" at dose {dose_text(setting.dose or 0.0)}: next tokens of neutral texts move by ",
        shown(card.value("kl", setting)),
        " nats (KL); the quiz, ",
        shown(known.estimate if known else Estimate(None)),
        " before (chance .25), changes by ",
        shown(change.estimate if change else Estimate(None), signed=True),
        f" ({q_text(change)}): {effect}.",
    ]
    refused = card.line("refusals_change", setting)
    if refused:
        parts += [
            " Refusals of harmless prompts change by ",
            shown(refused.estimate, signed=True),
            f" ({q_text(refused)}).",
        ]
    return tag("li", tag("p", *parts))


def limits(card: Card) -> Html:
    """What this run cannot say."""
    own = (line.clusters for line in card.lines if line.metric == "target_accuracy")
    counts = sorted({count for count in own if count})
    prompts = f"Intervals rest on {counts[-1]} prompts, drawn whole. " if counts else ""
    texts = [
        f"{prompts}Where every text of a cell has one outcome, the bootstrap’s interval has no "
        "width; that is no certainty.",
        "Every accuracy is the judge’s. What the judge mistakes, this page mistakes.",
        "A miss is a wrong emotion or an incoherent text. Incoherence is a rule of loops, repeated "
        "words and perplexity, not a reader’s word.",
        "Perplexity is that of the unsteered model and so favours what it would have said itself; "
        "the table has another model’s beside it. A dull text is fluent too.",
        "Random controls are one draw for each emotion: intervals beside them are over prompts, "
        "not over draws.",
        "Equal fluency is interpolated between the doses that were run; a method without a dose "
        "stands at its own ratio, whatever that is.",
        "A text that names its emotion is an easy hit: the table gives accuracy among texts that "
        "hold no word of their target.",
        "q is over the methods, doses and emotions of one figure; figures are further looks.",
    ]
    return noted([*texts, *notes(card.manifest)])
