"""What an ablation run found, in sentences: single units beside their placebos, units together."""

from math import ceil

from probekit.plots import number
from probekit.report.causal import Effects, base_rates, figure_of, unit_name
from probekit.report.markup import Html, tag
from probekit.report.parts import found, shown
from probekit.report.units import (
    DIFFERENCE,
    OWN,
    PLACEBO,
    RECEPTION,
    Family,
    Together,
    families,
    headlines,
    together,
)
from probekit.report.words import capital, listed

NAMED = 5
"""Units that matter which a sentence names."""

CHANGE = "a change as long in a random direction"
JOINT = {OWN: "log-odds of the text’s own emotion", RECEPTION: "log-odds of “emotional”"}


def findings(effects: Effects) -> Html:
    """Which units matter, whether any could, and what units do together."""
    items = [_finding(family) for family in headlines(effects)]
    items += [_finding_together(each) for each in together(effects) if each.metric in JOINT]
    return found(lead(effects), [*items, base_rates(effects)])


def lead(effects: Effects) -> str:
    """One sentence on single units, one on units together."""
    asked = [family for family in headlines(effects) if family.tested()]
    none = "No unit was tested, so none is said to matter."
    said = [_lead(asked[0]) if asked else none]
    for each in together(effects):
        if each.metric == OWN and each.k is not None:
            said.append(f"{capital(_jointly(each, each.k))}.")
            break
    return " ".join(said)


def _lead(family: Family) -> str:
    alive = len(family.survivors())
    text = (
        f"{alive} of {len(family.tested())} {family.units} survive q < .05 on the text’s own "
        f"emotion ({family.method} ablation)"
    )
    if not alive:
        return f"{text}."
    if not family.controlled:
        return f"{text}; single ones have no control of their own, so none is said to matter."
    if not family.compared():
        return f"{text}; none was compared with {CHANGE}, so none is said to matter."
    return f"{text}; {_differ(family, CHANGE)}."


def _differ(family: Family, change: str, metric: str = OWN) -> str:
    match len(family.beyond(metric)):
        case 0:
            return f"none of them does more than {change}"
        case 1:
            return f"1 of them also differs from {change}"
        case more:
            return f"{more} of them also differ from {change}"


def _finding(family: Family) -> Html:
    name = tag("strong", f"{capital(family.units)}, {family.method}, {family.arm}")
    said = _survivors(family) if family.tested() else "ablated, but not tested: no q in this run."
    rest = [tag("p", text) for text in (_other_methods(family), _picked(family)) if text]
    if family.tested() or not family.controlled:
        rest.append(tag("p", verdict(family), class_="verdict"))
    return tag("li", tag("p", name, ": ", said, *_strongest(family)), *rest)


def _survivors(family: Family) -> str:
    text = (
        f"{len(family.survivors())} of {len(family.tested())} survive q < .05 on the text’s own "
        "emotion"
    )
    noise = family.placebos()
    if noise is not None:
        text += f" (with {CHANGE}, {noise} do)"
    change = CHANGE if noise is None else "that change"
    return f"{text}{_matter(family, change)}.{_on_reception(family)}"


def _matter(family: Family, change: str) -> str:
    """Those of the survivors that differ from their placebos, by name."""
    if not family.survivors() or not family.controlled:
        return ""
    if not family.compared():
        return f"; none was compared with {change}, so none is said to matter"
    text = f"; {_differ(family, change)} at q < .05"
    matter = family.beyond()
    if matter:
        named = [f"{unit_name(each)} ({each.estimate.text(signed=True)})" for each in matter]
        rest = f", and {len(named) - NAMED} more" if len(named) > NAMED else ""
        text += f": {', '.join(named[:NAMED]) + rest if rest else listed(named)}"
    else:
        text += ", so none is said to matter"
    less = len(family.outdone())
    return f"{text}; {less} {'does' if less == 1 else 'do'} less than that" if less else text


def _on_reception(family: Family) -> str:
    felt, alive = family.tested(RECEPTION), family.survivors(RECEPTION)
    if not felt:
        return ""
    text = f" On reception, {len(alive)} of {len(felt)} survive"
    if (noise := family.placebos(RECEPTION)) is not None:
        text += f" (with such a change, {noise} do)"
    if alive and family.compared(RECEPTION):
        text += f"; {_differ(family, 'the placebo', RECEPTION)}"
    return f"{text}."


def _strongest(family: Family) -> list[str]:
    """The unit that the dev half ranks first, its placebo and the difference."""
    if not family.lines:
        return []
    first = family.ranked[0]
    chosen = "on the dev half" if family.dev else "on these very texts"
    said = [f" First in rank {chosen}: {unit_name(first)}, ", shown(first.estimate, signed=True)]
    names = {PLACEBO: "placebo", DIFFERENCE: "difference"} if family.controlled else {}
    for condition, name in names.items():
        line = family.beside(first, OWN, condition)
        known = line is not None and line.estimate.value is not None
        figure = shown(figure_of(line), signed=True) if known else "not measured"
        said += [f"; {name} ", figure]
    return [*said, "."]


def _other_methods(family: Family) -> str:
    """What became of the same units by every other method, in numbers alone."""
    same = (family.arm, family.site, family.position)
    others = [
        _briefly(each)
        for each in families(family.effects)
        if (each.arm, each.site, each.position) == same and each.method != family.method
    ]
    return f"Other methods: {'; '.join(others)}." if others else ""


def _briefly(family: Family) -> str:
    if not family.tested():
        return f"{family.method}, not tested"
    text = f"{family.method}, {len(family.survivors())} of {len(family.tested())} survive"
    if (noise := family.placebos()) is not None:
        text += f" (placebos: {noise})"
    if family.survivors() and family.compared():
        text += f", {len(family.beyond())} of them beyond the placebo"
    return text


def _picked(family: Family) -> str:
    """How well the estimate that neurons were picked by agrees with exact effects."""
    line = family.attribution
    if family.controlled or line is None:
        return ""
    sample = f"{line.n} neurons drawn at random" if line.n else "neurons drawn at random"
    return (
        "Picked on the dev half by a first-order estimate (gradient times change), whose "
        f"correlation with exact effects over {sample} is r = {line.estimate.text()}."
    )


def verdict(family: Family) -> str:
    """Whether a single unit could survive at all; of neurons, that nothing is claimed."""
    if family.controlled:
        return could(family)
    return (
        "Single neurons have no control of their own, because one number has no direction: "
        "nothing is claimed of any of them. Neurons together have one: as many at random."
    )


def could(family: Family) -> str:
    """Whether a single unit could survive at all, by the smallest p there can be."""
    smallest, bound = family.smallest_p, family.needed_p
    if smallest is None or bound is None:
        return "Whether a single one could survive is not given in this run."
    floor = f"The smallest possible p here is {number(smallest, digits=4)}"
    if smallest <= bound:
        return (
            f"{floor}, within the {_tiny(bound)} that a single one needs: one alone could survive."
        )
    needed = ceil(smallest / bound)
    return (
        f"{floor}, above the {_tiny(bound)} that a single one needs: none could survive alone, and "
        f"{needed} would have to reach that p together. No survivor is no proof of no effect."
    )


def _tiny(bound: float) -> str:
    return f"{number(bound, digits=4)} (.05 over the number of units)"


def _jointly(each: Together, k: int) -> str:
    top = each.top[k].estimate.text(signed=True)
    said = f"the top {k} {each.units} together change the {JOINT[each.metric]} by {top}"
    if k not in each.random:
        return f"{said}; without random ones beside them that is no finding"
    return f"{said}, {k} at random by {each.random[k].estimate.text(signed=True)}"


def _finding_together(each: Together) -> Html:
    name = tag("strong", f"{capital(each.units)} together, {each.arm}")
    if each.k is None:
        return tag("li", tag("p", name, ": no top units in this run."))
    verdicts = {
        0: "Within the band of random units: no more than as many others do.",
        None: "Nothing is claimed without the band of random units.",
    }
    outside = "Outside the band of random units: these do more than as many others."
    said = tag("p", verdicts.get(each.side(each.k), outside), class_="verdict")
    return tag("li", tag("p", name, f": {_jointly(each, each.k)}."), said)
