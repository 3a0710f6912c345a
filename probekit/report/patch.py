"""The page of a patching run."""

from probekit.plots import MISSING, Estimate
from probekit.report import patch_figures
from probekit.report.causal import (
    MEASURES,
    Arm,
    Effects,
    about_clusters,
    effects_of,
    figure_of,
    p_text,
    plain,
    signed,
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
from probekit.report.patch_findings import BESIDE, about_placebos, findings
from probekit.report.reading import Recorded
from probekit.report.terms import PATCHING, PLACEBOS
from probekit.report.transfers import (
    ABOVE,
    CATEGORY,
    CONTROLS,
    KINDS,
    PROBE,
    RECEPTION,
    Transfer,
    arms,
    asked,
    placebo_of,
    sites,
    transfers,
)
from probekit.report.words import capital, listed

COLUMNS = (
    "Layer",
    "Effect",
    "Above placebo",
    "p above placebo",
    "q above placebo",
    *(capital(name) for name in BESIDE),
    "No patch",
    "Above random",
    "Texts",
    "Clusters",
)
SHORT = {CATEGORY: "category", PROBE: "category by probe", RECEPTION: "reception"}


def page(recorded: Recorded) -> list[Section]:
    """The sections, top to bottom."""
    effects = effects_of(recorded)
    return [
        Section("findings", "What was found", findings(effects)),
        Section("limits", "What this run cannot say", cautions(effects)),
        drawing(
            "layers",
            "Layer by layer",
            patch_figures.layers(effects),
            "What each source moves when its state takes the place of the text’s own, at the last "
            "token. Patches and controls stand in one figure. The shaded last quarter of the "
            "layers is the trivial bound: what overwrites the token that is read out, this late, "
            "wins anyway.",
            "Missing: no figures over layers.",
        ),
        drawing(
            "heads",
            "Head by head",
            patch_figures.heads(effects),
            "The same for single attention heads, beside a random vector alone: nothing is claimed "
            "of them. Rows under the dashed line are the trivial bound.",
            "Missing: heads were not patched.",
        ),
        drawing(
            "positions",
            "Where in the text",
            patch_figures.positions(effects),
            "Pairs of texts with as many tokens: the states of the changed words, of what follows "
            "them, and of the token that is read out are put from one text into the other. The "
            "trivial bound holds at the read-out token alone.",
            "Missing: positions were not patched.",
        ),
        drawing(
            "tokens",
            "Token by token",
            patch_figures.tokens(effects),
            "Single pairs, as examples: each cell is one state that is put in. One pair has no "
            "interval and shows no rule. Under the dashed line, the last token is trivially "
            "strong.",
            "Missing: no example pairs.",
        ),
        Section("table", "Every figure beside its controls", table(effects)),
        Section("manifest", "How it was made", manifest(recorded.manifest)),
        Section("terms", "How to read this page", glossary(PATCHING)),
    ]


def cautions(effects: Effects) -> Html:
    """Missing controls, what the size allows, and the study's own notes."""
    given = {each.source for each in effects.of(condition="control")}
    absent = [name for name in CONTROLS if name not in given]
    bound = (
        f"Layers {effects.bound} to {effects.layers - 1} are the trivial bound: a state that is "
        "put in there, at the token that is read out, wins anyway. They count for nothing here."
        if effects.bound < effects.layers
        else ""
    )
    # One family of tests for each source and site: q says nothing across them.
    family = "q is over the layers of one site and source; sites and figures are further looks."
    without = f"Controls are missing: {listed(absent)}." if absent else ""
    said = [about_placebos(effects), without, bound, about_clusters(effects.lines), family]
    return noted([*said, *notes(effects.manifest)])


def table(effects: Effects) -> Html:
    """Each source's strongest layer before the bound, its controls at that layer beside it."""
    measures = [name for name in MEASURES if any(each.metric == name for each in effects.lines)]
    groups = []
    for texts in arms(effects):
        for site in sites(effects):
            found = [t for metric in measures for t in transfers(effects, texts, site, metric)]
            if found:
                lines = [_line(transfer) for transfer in found]
                name = f"{site}, {texts} (placebo: {PLACEBOS[placebo_of(texts)]})"
                groups.append(group(name, lines, len(COLUMNS)))
    caption = (
        "Each source at its strongest layer before the trivial bound, beside the controls at the "
        f"same layer. Brackets hold 95 % intervals; {MISSING} means not measured."
    )
    return scrolling(("Figure", *COLUMNS), groups, caption)


def _line(transfer: Transfer) -> Html:
    plus = signed(transfer.metric)
    own, beyond = transfer.best_line(transfer.lines), transfer.best_line(transfer.beyond)
    cells = [
        MISSING if transfer.best is None else str(transfer.best),
        transfer.at_best(transfer.source).text(signed=plus),
        figure_of(beyond).text(signed=True),
        p_text(beyond.p if beyond else None),
        p_text(beyond.q if beyond else None),
        *[transfer.at_best(control).text(signed=plus) for control in BESIDE],
        base_of(transfer).text(),
        transfer.at_best(transfer.source, ABOVE).text(signed=True),
        str((own and own.n) or MISSING),
        str((own and own.clusters) or MISSING),
    ]
    return line(f"{transfer.source}: {MEASURES[transfer.metric]}", cells)


def base_of(transfer: Transfer) -> Estimate:
    """The same figure without a patch, where it has one: a rate, not a difference."""
    return patch_figures.unpatched(transfer.effects, transfer.arm, transfer.metric)


def short_table(recorded: Recorded) -> tuple[str, tuple[str, ...], list[tuple[str, ...]]]:
    """Title, columns and rows for a terminal: the strongest layer of what the findings ask."""
    effects = effects_of(recorded)
    rows: list[tuple[str, ...]] = []
    for site in sites(effects):
        rows.append((site,))
        for texts in arms(effects):
            rows += _short(effects, site, texts)
    layers = f"layers below {effects.bound}" if effects.bound < effects.layers else "all layers"
    columns = ("source", "layer", "effect", "above placebo", "q")
    return f"Strongest effect in {layers} (from there on, patches win anyway)", columns, rows


def _short(effects: Effects, site: str, texts: Arm) -> list[tuple[str, ...]]:
    """The rows of some texts at a site, under a row that names them and their placebo."""
    found = [
        t for kind in KINDS for readings in asked(effects, kind, site, texts) for t in readings
    ]
    measured = any(each.beyond for each in found)
    placebo = PLACEBOS[placebo_of(texts)] if measured else "not measured"
    rows: list[tuple[str, ...]] = [(f" {texts}", "", "", placebo, "")]
    for each in found:
        beyond = each.best_line(each.beyond)
        rows.append(
            (
                f"  {SHORT[each.metric]}, {each.source}",
                "-" if each.best is None else str(each.best),
                plain(each.at_best(each.source)),
                plain(figure_of(beyond)),
                "-" if beyond is None or beyond.q is None else f"{beyond.q:.3f}",
            )
        )
    return rows if found else []
