"""The page of an ablation run."""

from math import ceil

from probekit.plots import MISSING, number
from probekit.report import ablate_figures
from probekit.report.causal import (
    ALPHA,
    Effects,
    about_clusters,
    about_controls,
    base_rates,
    effects_of,
    figure_of,
    p_text,
    plain,
    unit_name,
)
from probekit.report.markup import Html, tag
from probekit.report.parts import (
    Section,
    drawing,
    found,
    glossary,
    group,
    line,
    manifest,
    noted,
    notes,
    scrolling,
    shown,
)
from probekit.report.reading import Line, Recorded
from probekit.report.terms import ABLATION
from probekit.report.units import (
    KL,
    OWN,
    RANDOM,
    RECEPTION,
    SITES,
    Family,
    Together,
    families,
    headlines,
    together,
)
from probekit.report.words import capital, listed

NAMED, TABLED, SHORT, HEADLINE_K = 5, 10, 5, 8
"""Survivors that the findings name, units a family in the table and on the command line, and how
many units together the findings speak of."""

COLUMNS = (
    "Own emotion",
    "Random control",
    "Reception",
    "Top label changed",
    "KL",
    "p",
    "q",
    "Texts",
    "Clusters",
)

JOINT = {OWN: "log-odds of the text’s own emotion", RECEPTION: "log-odds of “emotional”"}


def page(recorded: Recorded) -> list[Section]:
    """The sections, top to bottom."""
    effects = effects_of(recorded)
    return [
        Section("findings", "What was found", findings(effects)),
        Section("limits", "What this run cannot say", cautions(effects)),
        drawing(
            "heads",
            "Head by head",
            ablate_figures.heads(effects),
            "What each attention head is worth to the log-odds of the text’s own emotion, and to "
            "reception. The random control has a map of its own.",
            "Missing: heads were not ablated.",
        ),
        drawing(
            "sublayers",
            "Sublayer by sublayer",
            ablate_figures.sublayers(effects),
            "The whole of what a sublayer writes is replaced, in every way that was tried, beside "
            "a random vector of equal length.",
            "Missing: sublayers were not ablated.",
        ),
        drawing(
            "together",
            "How many it takes",
            ablate_figures.cumulative(effects),
            "The units that helped most on the dev half, ablated together. The dotted line and its "
            "band are as many units at random: their mean, and 95 % of the draws.",
            "Missing: units were not ablated together.",
        ),
        Section("table", "Every figure beside its controls", table(effects)),
        Section("manifest", "How it was made", manifest(recorded.manifest)),
        Section("terms", "How to read this page", glossary(ABLATION)),
    ]


def findings(effects: Effects) -> Html:
    """Which units survive, whether any could, and what units do together."""
    items = [_finding(family) for family in headlines(effects)]
    items += [_finding_together(each) for each in together(effects) if each.metric in JOINT]
    return found(lead(effects), [*items, base_rates(effects)])


def lead(effects: Effects) -> str:
    """One sentence on single units, one on units together."""
    said = []
    if asked := [family for family in headlines(effects) if family.tested()]:
        first = asked[0]
        said.append(
            f"{len(first.survivors())} of {len(first.tested())} "
            f"{SITES.get(first.site, first.site)} survive q < .05 on the text’s own emotion "
            f"({first.method} ablation)."
        )
    else:
        said.append("No unit was tested, so none is said to matter.")
    for each in together(effects):
        k = _headline_k(each)
        if each.metric == OWN and k is not None:
            said.append(f"{capital(_jointly(each, k))}.")
            break
    return " ".join(said)


def _finding(family: Family) -> Html:
    units = SITES.get(family.site, family.site)
    name = tag("strong", f"{capital(units)}, {family.method}, {family.arm}")
    if not family.tested():
        said = ": ablated, but not tested: no q in this run."
        return tag("li", tag("p", name, said, *_strongest(family)))
    return tag(
        "li",
        tag("p", name, f": {_survivors(family)}", *_strongest(family)),
        tag("p", could(family), class_="verdict"),
    )


def _survivors(family: Family) -> str:
    alive, felt = family.survivors(), family.tested(RECEPTION)
    text = f"{len(alive)} of {len(family.tested())} survive q < .05 on the text’s own emotion"
    if (noise := family.at_random()) is not None:
        text += f" (with a random vector in their place, {noise} do)"
    also = f"; on reception, {len(family.survivors(RECEPTION))} of {len(felt)} do" if felt else ""
    if not alive:
        return f"{text}{also}."
    named = [f"{unit_name(each)} ({each.estimate.text(signed=True)})" for each in alive[:NAMED]]
    rest = f", and {len(alive) - NAMED} more" if len(alive) > NAMED else ""
    return f"{text}: {', '.join(named) if rest else listed(named)}{rest}{also}."


def _strongest(family: Family) -> list[str]:
    """The unit that the dev half ranks first, and its control."""
    if not family.lines:
        return []
    first = family.ranked[0]
    control = family.beside(first, OWN, control=True)
    chosen = "on the dev half" if family.dev else "on these very texts"
    return [
        f" First in rank {chosen}: {unit_name(first)}, ",
        shown(first.estimate, signed=True),
        "; random control ",
        shown(control.estimate, signed=True) if control else "not measured",
        ".",
    ]


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


def _headline_k(each: Together) -> int | None:
    """Eight units, or the most that stand beside a control, or that there are."""
    both = [k for k in each.top if k in each.random] or list(each.top)
    return HEADLINE_K if HEADLINE_K in both else max(both, default=None)


def _jointly(each: Together, k: int) -> str:
    units = SITES.get(each.site, each.site)
    top = each.top[k].estimate.text(signed=True)
    said = f"the top {k} {units} together change the {JOINT[each.metric]} by {top}"
    if k not in each.random:
        return f"{said}; without random ones beside them that is no finding"
    return f"{said}, {k} at random by {each.random[k].estimate.text(signed=True)}"


def _finding_together(each: Together) -> Html:
    name = tag("strong", f"{capital(SITES.get(each.site, each.site))} together, {each.arm}")
    k = _headline_k(each)
    if k is None:
        return tag("li", tag("p", name, ": no top units in this run."))
    verdicts = {
        0: "Within the band of random units: no more than as many others do.",
        None: "Nothing is claimed without the band of random units.",
    }
    outside = "Outside the band of random units: these do more than as many others."
    verdict = tag("p", verdicts.get(each.side(k), outside), class_="verdict")
    return tag("li", tag("p", name, f": {_jointly(each, k)}."), verdict)


def cautions(effects: Effects) -> Html:
    """Missing controls, on which half units were chosen, clusters, and the study's own notes."""
    given = {each.method for each in effects.of(condition="control")}
    absent = ["a random vector"] if families(effects) and "random" not in given else []
    if RANDOM not in given and any(each.top for each in together(effects)):
        absent.append("as many units at random")
    all_by_dev = all(family.dev for family in families(effects))
    halves = (
        "Units are ranked on the dev half; every effect here is of texts that ranked nothing."
        if all_by_dev and families(effects)
        else "Some units have no figures of a dev half: ranked by the effects that are shown, the "
        "first ones are too large."
    )
    family = f"q is over the units of one site and method, at {number(ALPHA)}."
    said = [about_controls(absent), halves, about_clusters(effects), family]
    return noted([*said, *notes(effects.manifest)])


def table(effects: Effects) -> Html:
    """The first units of each family, and units together, each beside its control."""
    groups = [_group(family) for family in families(effects)]
    curves = together(effects)
    for own in (each for each in curves if each.metric == OWN):
        same = [each for each in curves if (each.arm, each.site) == (own.arm, own.site)]
        groups.append(_group_together(own, {each.metric: each for each in same}))
    caption = (
        f"The {TABLED} first units in rank of each site and method (every layer of whole "
        "sublayers), and units together; change in the log-odds of the text’s own emotion beside "
        f"its control. Brackets hold 95 % intervals; {MISSING} means not measured."
    )
    return scrolling(("Unit", *COLUMNS), groups, caption)


def _group(family: Family) -> Html:
    kept = family.ranked[:TABLED] if any(each.unit for each in family.lines) else family.lines
    where = f"position {family.position}" if family.position else ""
    parts = [SITES.get(family.site, family.site), family.method, where, str(family.arm)]
    name = ", ".join(part for part in parts if part)
    return group(capital(name), [_line(family, each) for each in kept], len(COLUMNS))


def _line(family: Family, each: Line) -> Html:
    cells = [
        each.estimate.text(signed=True),
        figure_of(family.beside(each, OWN, control=True)).text(signed=True),
        figure_of(family.beside(each, RECEPTION)).text(signed=True),
        figure_of(family.beside(each, "top1_changed")).text(),
        figure_of(family.beside(each, KL)).text(),
        p_text(each.p),
        p_text(each.q),
        str(each.n or MISSING),
        str(each.clusters or MISSING),
    ]
    return line(unit_name(each), cells)


def _group_together(own: Together, others: dict[str, Together]) -> Html:
    """Top k, whose control is random k, for each k."""
    lines = []
    for k, top in sorted(own.top.items()):
        beside = {metric: each.top.get(k) for metric, each in others.items()}
        cells = [
            top.estimate.text(signed=True),
            figure_of(own.random.get(k)).text(signed=True),
            figure_of(beside.get(RECEPTION)).text(signed=True),
            figure_of(beside.get("top1_changed")).text(),
            figure_of(beside.get(KL)).text(),
            *(p_text(top.p), p_text(top.q), str(top.n or MISSING), str(top.clusters or MISSING)),
        ]
        lines.append(line(f"top {k}", cells))
    name = f"{SITES.get(own.site, own.site)} together, beside as many at random, {own.arm}"
    return group(capital(name), lines, len(COLUMNS))


def short_table(recorded: Recorded) -> tuple[str, tuple[str, ...], list[tuple[str, ...]]]:
    """Title, columns and rows for a terminal: the first units in rank, then eight together."""
    effects = effects_of(recorded)
    rows: list[tuple[str, ...]] = []
    for family in headlines(effects)[:1]:
        rows.append((f"{SITES.get(family.site, family.site)}, {family.method}, {family.arm}",))
        rows += [_short(family, each) for each in family.ranked[:SHORT]]
    for each in together(effects):
        k = _headline_k(each)
        if each.metric == OWN and k is not None:
            rows.append((f"{k} {SITES.get(each.site, each.site)} together, {each.arm}",))
            random = figure_of(each.random.get(k))
            rows.append((" top beside random", plain(each.top[k].estimate), plain(random), "-"))
    columns = ("unit", "effect", "random", "q")
    return "Change in the log-odds of the text's own emotion", columns, rows


def _short(family: Family, each: Line) -> tuple[str, ...]:
    control = figure_of(family.beside(each, OWN, control=True))
    q = "-" if each.q is None else f"{each.q:.3f}"
    return (f" {unit_name(each)}", plain(each.estimate), plain(control), q)
