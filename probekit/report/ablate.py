"""The page of an ablation run."""

from probekit.plots import MISSING, number
from probekit.report import ablate_figures
from probekit.report.ablate_findings import findings
from probekit.report.causal import (
    ALPHA,
    Effects,
    about_clusters,
    about_controls,
    effects_of,
    figure_of,
    p_text,
    plain,
    unit_name,
    varying,
)
from probekit.report.markup import Html
from probekit.report.parts import (
    Section,
    drawing,
    glossary,
    group,
    line,
    manifest,
    noted,
    notes,
    scrolling,
)
from probekit.report.reading import Line, Recorded
from probekit.report.terms import ABLATION
from probekit.report.units import (
    DIFFERENCE,
    KL,
    OWN,
    PLACEBO,
    RECEPTION,
    Family,
    Together,
    families,
    headlines,
    together,
)
from probekit.report.words import capital

TABLED, SHORT = 10, 5
"""Units a family in the table and on the command line."""

COLUMNS = (
    "Own emotion",
    "p",
    "q",
    "Control",
    "Difference",
    "q of difference",
    "Reception",
    "Top label changed",
    "KL",
    "Texts",
    "Clusters",
)


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
            "reception. Its matched placebo, and the difference from that, have maps of their own.",
            "Missing: heads were not ablated.",
        ),
        drawing(
            "sublayers",
            "Sublayer by sublayer",
            ablate_figures.sublayers(effects),
            "The whole of what a sublayer writes is ablated. The dotted line and its band are its "
            "matched placebo: a change as long, in a random direction.",
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


def cautions(effects: Effects) -> Html:
    """Missing controls, on which half units were chosen, clusters, and the study's own notes."""
    known = families(effects)
    halves = (
        "Units are ranked on the dev half; every effect here is of texts that ranked nothing."
        if known and all(family.dev for family in known)
        else "Some units have no figures of a dev half: ranked by the effects that are shown, the "
        "first ones are too large."
    )
    family = f"q is over the units of one site and method, at {number(ALPHA)}."
    said = [about_controls(_absent(effects)), halves, about_clusters(effects.lines), family]
    return noted([*said, *notes(effects.manifest)])


def _absent(effects: Effects) -> list[str]:
    """Controls that are missing, with what they are missing for where others have them."""
    singles = [family for family in families(effects) if family.controlled]
    absent = []
    bare = [family for family in singles if not family.against(PLACEBO)]
    paired = [family for family in singles if family.against(PLACEBO)]
    alone = [family for family in paired if not family.against(DIFFERENCE)]
    for lacking, name in ((bare, "matched placebos"), (alone, "differences from matched placebos")):
        of = dict.fromkeys(f"{family.units} by {family.method}" for family in lacking)
        if of:
            absent.append(name if len(lacking) == len(singles) else f"{name} ({', '.join(of)})")
    curves = together(effects)
    if any(each.top for each in curves) and not any(each.random for each in curves):
        absent.append("as many units at random")
    return absent


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
        "its control: of a single unit its matched placebo, of units together as many at random. "
        f"Brackets hold 95 % intervals; {MISSING} means not measured."
    )
    return scrolling(("Unit", *COLUMNS), groups, caption)


def _group(family: Family) -> Html:
    kept = family.ranked[:TABLED] if any(each.unit for each in family.lines) else family.lines
    where = f"position {family.position}" if family.position else ""
    name = varying(family.units, family.method, where, str(family.arm))
    return group(capital(name), [_line(family, each) for each in kept], len(COLUMNS))


def _line(family: Family, each: Line) -> Html:
    difference = family.beside(each, OWN, DIFFERENCE)
    cells = [
        each.estimate.text(signed=True),
        p_text(each.p),
        p_text(each.q),
        figure_of(family.beside(each, OWN, PLACEBO)).text(signed=True),
        figure_of(difference).text(signed=True),
        p_text(difference.q if difference else None),
        figure_of(family.beside(each, RECEPTION)).text(signed=True),
        figure_of(family.beside(each, "top1_changed")).text(),
        figure_of(family.beside(each, KL)).text(),
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
            *(p_text(top.p), p_text(top.q)),
            figure_of(own.random.get(k)).text(signed=True),
            *(MISSING, MISSING),
            figure_of(beside.get(RECEPTION)).text(signed=True),
            figure_of(beside.get("top1_changed")).text(),
            figure_of(beside.get(KL)).text(),
            *(str(top.n or MISSING), str(top.clusters or MISSING)),
        ]
        lines.append(line(f"top {k}", cells))
    name = f"{own.units} together, beside as many at random, {own.arm}"
    return group(capital(name), lines, len(COLUMNS))


def short_table(recorded: Recorded) -> tuple[str, tuple[str, ...], list[tuple[str, ...]]]:
    """Title, columns and rows for a terminal: the first units in rank, then eight together."""
    effects = effects_of(recorded)
    rows: list[tuple[str, ...]] = []
    for family in headlines(effects)[:1]:
        rows.append((f"{family.units}, {family.method}, {family.arm}",))
        rows += [_short(family, each) for each in family.ranked[:SHORT]]
    for each in together(effects):
        if each.metric == OWN and each.k is not None:
            rows.append((f"{each.k} {each.units} together, {each.arm}",))
            random = plain(figure_of(each.random.get(each.k)))
            top = plain(each.top[each.k].estimate)
            rows.append((" top beside random", top, "-", random, "-", "-"))
    columns = ("unit", "effect", "q", "control", "difference", "its q")
    return "Change in the log-odds of the text's own emotion", columns, rows


def _short(family: Family, each: Line) -> tuple[str, ...]:
    difference = family.beside(each, OWN, DIFFERENCE)
    return (
        f" {unit_name(each)}",
        plain(each.estimate),
        _plain_q(each),
        plain(figure_of(family.beside(each, OWN, PLACEBO))),
        plain(figure_of(difference)),
        _plain_q(difference),
    )


def _plain_q(line: Line | None) -> str:
    return "-" if line is None or line.q is None else f"{line.q:.3f}"
