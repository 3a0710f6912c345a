"""The page of a patching run."""

from probekit.plots import MISSING, Estimate
from probekit.report import patch_figures
from probekit.report.causal import (
    MEASURES,
    Effects,
    about_clusters,
    about_controls,
    base_rates,
    effects_of,
    p_text,
    plain,
    signed,
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
from probekit.report.reading import Recorded
from probekit.report.terms import PATCHING, SOURCES
from probekit.report.transfers import (
    ABOVE,
    ABOVE_SAME,
    CATEGORY,
    CONTROLS,
    RECEPTION,
    Transfer,
    arms,
    questions,
    sites,
    transfers,
)
from probekit.report.words import capital

COLUMNS = (
    "Layer",
    "Effect",
    *(capital(name) for name in CONTROLS),
    "No patch",
    "Above random",
    "p above random",
    "q above random",
    "Texts",
    "Clusters",
)
MOVED = {CATEGORY: "its emotion", RECEPTION: "“emotional”"}


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
            "The same for single attention heads. Rows under the dashed line are the trivial "
            "bound.",
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


def findings(effects: Effects) -> Html:
    """Whether category and reception transfer, said separately, and the base rates beside them."""
    asked = [*questions(effects, CATEGORY), *questions(effects, RECEPTION)]
    items = [_finding(transfer) for transfer in asked]
    return found(lead(effects), [*items, base_rates(effects)])


def lead(effects: Effects) -> str:
    """One sentence on each of category and reception, at the first site."""
    said = []
    for name, metric in (("Category", CATEGORY), ("Reception", RECEPTION)):
        asked = [each for each in questions(effects, metric) if each.above]
        if asked:
            said.append(f"{name} at {asked[0].site}: {_counted(asked[0])}.")
        else:
            said.append(f"{name}: nothing can be said, because no patch stands beside a control.")
    return " ".join(said)


def _counted(transfer: Transfer) -> str:
    outside, inside = transfer.moved(inside=False), transfer.moved(inside=True)
    raises, above = ("raises", "above") if transfer.sign > 0 else ("lowers", "below")
    text = (
        f"{SOURCES.get(transfer.source, transfer.source)} {raises} the log-odds of "
        f"{MOVED[transfer.metric]}, and more than a random vector does, at {outside + inside} of "
        f"{transfer.tested} layers (q < .05)"
    )
    if outside + inside:
        text += f", {outside or 'none'} of them before the trivial bound"
    if more := transfer.only_beyond:
        text += f"; at {more} more it is {above} that vector, but not {above} 0"
    return text


def _finding(transfer: Transfer) -> Html:
    kind = "Category" if transfer.metric == CATEGORY else "Reception"
    name = tag("strong", f"{kind} at {transfer.site}, {transfer.arm}")
    said = f": {_counted(transfer)}." if transfer.above else f": {_uncounted(transfer)}"
    return tag(
        "li", tag("p", name, said, *_best(transfer)), tag("p", verdict(transfer), class_="verdict")
    )


def _uncounted(transfer: Transfer) -> str:
    source = SOURCES.get(transfer.source, transfer.source)
    return f"{source} is put in; its difference from a random vector was not measured."


def _best(transfer: Transfer) -> list[str]:
    """The strongest layer before the bound, its controls, and the difference."""
    if transfer.best is None:
        return [" No figure before the trivial bound."]
    own = transfer.at_best(transfer.source)
    beside = [
        piece
        for control in CONTROLS
        if control != transfer.source and transfer.at_best(control).value is not None
        for piece in (f"; {control} ", shown(transfer.at_best(control), signed=True))
    ]
    above = transfer.at_best(transfer.source, ABOVE)
    more = ["; above random ", shown(above, signed=True)] if above.value is not None else []
    placebo = transfer.at_best(transfer.source, ABOVE_SAME)
    if placebo.value is not None:
        more += ["; above a text of the same emotion ", shown(placebo, signed=True)]
    start = f" Strongest before the trivial bound: layer {transfer.best}, "
    return [start, shown(own, signed=True), *(beside or ["; controls not measured"]), *more, "."]


def verdict(transfer: Transfer) -> str:
    """What the layers before the trivial bound show."""
    kind = "category" if transfer.metric == CATEGORY else "reception"
    if not transfer.above:
        return "Without the paired difference from a random vector, nothing is claimed."
    if not transfer.tested:
        return "The difference has no q in this run, so nothing is claimed."
    if outside := transfer.moved(inside=False):
        layers = "one layer" if outside == 1 else f"{outside} layers"
        what = "transfers" if transfer.sign > 0 else "is taken away"
        return f"So {kind} {what}, at {layers} before the trivial bound."
    if transfer.moved(inside=True):
        return f"Only within the trivial bound: no transfer of {kind} is shown."
    return f"No transfer of {kind} is shown."


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
    said = [about_controls(absent), bound, about_clusters(effects), family]
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
                groups.append(group(f"{site}, {texts}", lines, len(COLUMNS)))
    caption = (
        "Each source at its strongest layer before the trivial bound, beside the controls at the "
        f"same layer. Brackets hold 95 % intervals; {MISSING} means not measured."
    )
    return scrolling(("Figure", *COLUMNS), groups, caption)


def _line(transfer: Transfer) -> Html:
    plus = signed(transfer.metric)
    best = -1 if transfer.best is None else transfer.best
    own, above = transfer.lines.get(best), transfer.above.get(best)
    cells = [
        MISSING if transfer.best is None else str(best),
        *[transfer.at_best(s).text(signed=plus) for s in (transfer.source, *CONTROLS)],
        base_of(transfer).text(),
        transfer.at_best(transfer.source, ABOVE).text(signed=True),
        p_text(above.p if above else None),
        p_text(above.q if above else None),
        str((own and own.n) or MISSING),
        str((own and own.clusters) or MISSING),
    ]
    return line(f"{transfer.source}: {MEASURES[transfer.metric]}", cells)


def base_of(transfer: Transfer) -> Estimate:
    """The same figure without a patch, where it has one: a rate, not a difference."""
    return patch_figures.unpatched(transfer.effects, transfer.arm, transfer.metric)


def short_table(recorded: Recorded) -> tuple[str, tuple[str, ...], list[tuple[str, ...]]]:
    """Title, columns and rows for a terminal: the strongest layer of each source at each site."""
    effects = effects_of(recorded)
    rows: list[tuple[str, ...]] = []
    for site in sites(effects):
        rows.append((site,))
        for metric, name in ((CATEGORY, "category"), (RECEPTION, "reception")):
            for texts in arms(effects):
                for each in transfers(effects, texts, site, metric):
                    rows.append((f" {name}, {each.source}", str(texts), *_short(each)))
    layers = f"layers below {effects.bound}" if effects.bound < effects.layers else "all layers"
    columns = ("source", "texts", "layer", "effect", "random", "above random", "q")
    return f"Strongest effect in {layers} (from there on, patches win anyway)", columns, rows


def _short(transfer: Transfer) -> tuple[str, ...]:
    above = None if transfer.best is None else transfer.above.get(transfer.best)
    return (
        "-" if transfer.best is None else str(transfer.best),
        plain(transfer.at_best(transfer.source)),
        plain(transfer.at_best("random")),
        plain(transfer.at_best(transfer.source, ABOVE)),
        "-" if above is None or above.q is None else f"{above.q:.3f}",
    )
