"""The page of an erasure run."""

from probekit.plots import MISSING
from probekit.report import erase_figures
from probekit.report.causal import figure_of, p_text, plain
from probekit.report.erase_findings import findings
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
    erasing_of,
    said,
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
from probekit.report.terms import ERASURE
from probekit.report.words import capital

COLUMNS = (
    "Figure",
    "p",
    "q",
    "Chance",
    "Change",
    "q of change",
    "Beyond random",
    "its q",
    "Beyond placebo",
    "Same texts",
    "Moved",
    "Rank",
    "Texts",
    "Clusters",
)

ROWS = (
    "On new texts, a probe learns from one half of the learned scenarios and the eraser from the "
    "other. On the same texts both learn from all of them: the class means are equal there, so a "
    "linear probe has nothing to learn, however much of the concept is left elsewhere."
)


def page(recorded: Recorded) -> list[Section]:
    """The sections, top to bottom."""
    run = erasing_of(recorded)
    return [
        Section("findings", "What was found", findings(run)),
        Section("limits", "What this run cannot say", cautions(run)),
        drawing(
            "layers",
            "Layer by layer",
            erase_figures.readable(run),
            "The erased concept as a newly trained probe reads it: before, after LEACE, after "
            "projecting the class means out, after as many random directions. The grey band is "
            "chance: labels permuted within the design, and the eraser fitted to them anew.",
            "Missing: no figures over layers.",
        ),
        drawing(
            "kept",
            "What else changes",
            erase_figures.kept(run),
            "Labels that were not erased, read from the same erased states: AUROC on new texts "
            "minus that before erasing, beside as many random directions. Bands are 95 % "
            "intervals.",
            "Missing: no other label of this set could be read.",
        ),
        drawing(
            "cost",
            "What it costs",
            erase_figures.cost(run),
            "What erasing adds to the model’s loss on the next token of neutral texts, beside as "
            "many random directions and beside a placebo: a change as long, turned in a random "
            "direction.",
            "Missing: the loss was not measured.",
        ),
        Section("table", "Every figure beside its controls", table(run)),
        Section("manifest", "How it was made", manifest(recorded.manifest)),
        Section("terms", "How to read this page", glossary(ERASURE)),
    ]


def cautions(run: Erasing) -> Html:
    """What was fixed, how few texts there are, the smallest p, and the study's own notes."""
    about = [_about_layer(run), ROWS, _about_texts(run), _about_p(run)]
    linear = (
        "Every probe here is linear. What another reader would find, and whether the model itself "
        "still uses the concept, is not asked."
    )
    drawn = (
        "Random directions and the placebo’s rotation are one draw each: intervals beside them are "
        "over texts, not over draws."
    )
    family = "q is over the layers of one figure; concepts, poolings and sites are further looks."
    return noted([*about, linear, drawn, family, *notes(run.manifest)])


def _about_layer(run: Erasing) -> str:
    if not run.blocks or run.headline(run.blocks[0]) is None:
        return "No layer was fixed beforehand, so no figure is headlined."
    return (
        f"The findings are those of layer {run.headline(run.blocks[0])}: of the layers that were "
        "run, the nearest to two thirds of the depth. No figure chose it."
    )


def _about_texts(run: Erasing) -> str:
    """How few texts there are beside features, which is what new texts depend on."""
    fitted = [each.get("fitted_rows") for each in run.manifest.get("concepts", {}).values()]
    width = run.manifest.get("model", {}).get("d_model")
    known = sorted({int(count) for count in fitted if count})
    if not known or not width:
        return ""
    span = f"{known[0]}" if len(known) == 1 else f"{known[0]} to {known[-1]}"
    return (
        f"The kept erasers were fitted on {span} texts, those of the figures on new texts on about "
        f"half as many, in states of {width} numbers. With so few, what is left on new texts "
        "says how far these texts go, and not what linear erasing could do with many."
        if known[0] < 10 * int(width)
        else ""
    )


def _about_p(run: Erasing) -> str:
    count, clusters = run.manifest.get("permutations"), _clusters(run)
    said = f"Intervals rest on {clusters} clusters (scenarios kept whole). " if clusters else ""
    if not count:
        return f"{said}The number of permutations is not given."
    return (
        f"{said}Chance is of {count} permutations, so that p against it cannot fall below "
        f"{p_text(1 / (1 + int(count)))}."
    )


def _clusters(run: Erasing) -> str:
    counts = sorted({each.clusters for each in run.index.values() if each.clusters})
    return "" if not counts else " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))


def table(run: Erasing) -> Html:
    """Every concept at the headline layer of each site and pooling: readings, then the loss."""
    groups = []
    for block in run.blocks:
        layer = run.headline(block)
        for concept in run.concepts:
            lines: list[Html] = []
            for reading in (run.of(concept, block), *run.kept(concept, block)):
                lines += [_line(run, reading, method, layer) for method in METHODS]
            lines += _losses(run, concept, block)
            where = f"{block}, layer {layer}"
            groups.append(group(f"{capital(said(concept))} erased: {where}", lines, len(COLUMNS)))
    caption = (
        "AUROC of new probes on new texts at the headline layer, and nats per token; each method "
        "beside its chance, its change from no erasing, and its difference from as many random "
        "directions. Brackets hold 95 % intervals; moved is the share of the states’ squared "
        f"length around their mean that erasing changes; {MISSING} means not measured."
    )
    return scrolling(("Reading", *COLUMNS), groups, caption)


def _line(run: Erasing, reading: Reading, method: str, layer: int | None) -> Html:
    own = run.line(reading, NEW, method, layer)
    change, beyond = (run.line(reading, metric, method, layer) for metric in (CHANGE, BEYOND))
    cells = [
        figure_of(own).text(),
        *(p_text(own.p if own else None), p_text(own.q if own else None)),
        run.value(reading, NEW, method, layer, null=True).text(),
        *_difference(change),
        *_difference(beyond),
        MISSING,
        run.value(reading, SAME, method, layer).text(),
        run.value(reading, "moved", method, layer).text() if reading.own else MISSING,
        *_sizes(own),
    ]
    return line(f"{said(reading.target)}: {METHODS[method]}", cells)


def _losses(run: Erasing, concept: str, block: Block) -> list[Html]:
    reading, layer = run.loss(concept, block), run.loss_layer(concept, block)
    if layer is None:
        return []
    out = []
    for method, name in {"none": "before", **COSTS}.items():
        own = run.line(reading, LOSS, method, layer)
        change = run.line(reading, f"{LOSS}_change", method, layer)
        cells = [
            figure_of(own).text(),
            *(MISSING, MISSING, MISSING),
            *_difference(change, DIGITS),
            *_difference(run.line(reading, f"{LOSS}_above_random", method, layer), DIGITS),
            run.value(reading, f"{LOSS}_above_placebo", method, layer).text(
                signed=True, digits=DIGITS
            ),
            *(MISSING, MISSING),
            *_sizes(own),
        ]
        out.append(line(f"nats per token, layer {layer}: {name}", cells))
    return out


def _difference(given: Line | None, digits: int = 2) -> tuple[str, str]:
    return figure_of(given).text(signed=True, digits=digits), p_text(given.q if given else None)


def _sizes(own: Line | None) -> tuple[str, str, str]:
    rank, n, clusters = (own.k, own.n, own.clusters) if own else (None, None, None)
    return tuple(MISSING if each is None else str(each) for each in (rank, n, clusters))  # type: ignore[return-value]


def short_table(recorded: Recorded) -> tuple[str, tuple[str, ...], list[tuple[str, ...]]]:
    """Title, columns and rows for a terminal: each concept, then what else is read."""
    run = erasing_of(recorded)
    rows: list[tuple[str, ...]] = []
    for block in run.blocks:
        rows.append((f"{block.site}.{run.headline(block)} {block.pooling}",))
        for concept in run.concepts:
            rows.append(_short(run, run.of(concept, block), _briefly(concept)))
            arm = concept.partition("/")[2]
            rows += [
                _short(run, each, f"  {_briefly(each.target.removesuffix(f'/{arm}'))}")
                for each in run.kept(concept, block)
            ]
    columns = ("erased; read", "none", "LEACE", "change", "random", "chance", "nats")
    return "AUROC of a new probe on new texts; nats per token that LEACE adds", columns, rows


def _briefly(concept: str) -> str:
    """`reception free`."""
    return said(concept.replace("keyword_", "")).replace(",", "")


def _short(run: Erasing, reading: Reading, name: str) -> tuple[str, ...]:
    layer = run.headline(reading.block)
    values = {method: run.value(reading, NEW, method, layer).value for method in METHODS}
    chance = run.value(reading, NEW, "leace", layer, null=True).value
    loss, at = run.loss(reading.source, reading.block), None
    if reading.own:
        at = run.loss_layer(reading.source, reading.block)
    nats = run.value(loss, f"{LOSS}_change", "erased", at).value
    shown = {name: "-" if v is None else f"{v:.2f}" for name, v in values.items()}
    return (
        name,
        shown["none"],
        shown["leace"],
        plain(run.value(reading, CHANGE, "leace", layer)),
        shown["random"],
        "-" if chance is None else f"{chance:.2f}",
        "-" if nats is None else f"{nats:+.3f}",
    )
