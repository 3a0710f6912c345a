"""The page of a run of retention."""

from probekit.plots import MISSING, Estimate
from probekit.report import retain_figures
from probekit.report.causal import ALPHA, figure_of, p_text
from probekit.report.markup import Html, joined, tag
from probekit.report.parts import (
    Section,
    Table,
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
from probekit.report.retain_rows import ARMS, REMOVED, Retained, retained_of
from probekit.report.terms import RETENTION
from probekit.report.words import capital

READ = ("AUROC", "Chance", "p", "q", "Above text", "its q")
BEYOND = "auroc_lost_beyond_controls"
LEFT = ("AUROC", "q against chance", "Lost", "its q", "Share kept")


def page(recorded: Recorded) -> list[Section]:
    """The sections, top to bottom."""
    run = retained_of(recorded)
    return [
        Section("findings", "What was found", findings(run)),
        Section("limits", "What this run cannot say", limits(run)),
        drawing(
            "offsets",
            "While a neutral text goes on",
            retain_figures.over_offsets(run),
            "How well the probe tells the emotion of the turn at each offset of a neutral text "
            "that is the same for all. Windows stand at their first offset.",
            "Missing: nothing was read.",
        ),
        drawing(
            "layers",
            "At which depth",
            retain_figures.over_layers(run),
            "One probe a layer; the line marks the one that inner folds of the development "
            "scenarios chose. Offset 0 is the prompt’s last token.",
            "Missing: nothing was read.",
        ),
        drawing(
            "cuts",
            "Carried, or looked up again?",
            retain_figures.after_cuts(run),
            "After an offset, keys and values are removed from the past: of the turn, of as much "
            "neutral text, of tokens at random. What stays without the turn is carried by the "
            "tokens that came after it; what falls further than the controls was being looked up.",
            "Missing: nothing was removed.",
        ),
        Section("table", "Every figure beside its controls", tables(run)),
        Section("manifest", "How it was made", manifest(recorded.manifest)),
        Section("terms", "How to read this page", glossary(RETENTION)),
    ]


def findings(run: Retained) -> Html:
    """What was found, in sentences."""
    windows = run.windows
    if len(windows) < 2:
        return tag("p", "Missing: no window of offsets was read.", class_="absent")
    first, last = windows[1], windows[-1]
    lead = (
        f"At layer {run.layer} a probe tells the emotion of the turn at offset {first} with AUROC "
        f"{figure_of(run.probe(first)).text()}, at {last} with "
        f"{figure_of(run.probe(last)).text()}; words alone: {run.words().text()}."
    )
    items = [_span(run, first), _span(run, last), _half(run)]
    items += [_arms(run, window) for window in (first, last) if run.arms]
    items += [_cut(run, cut) for cut in run.cuts]
    return found(lead, items)


def _span(run: Retained, window: str) -> Html:
    own, null = run.probe(window), run.null(window)
    above = run.probe(window, metric="auroc_above_text")
    said = joined(
        tag("strong", f"Offset {window}"),
        ": AUROC ",
        shown(figure_of(own)),
        "; chance ",
        shown(figure_of(null)),
        f" (q {p_text(null.q if null else None)}); above text ",
        shown(figure_of(above), signed=True),
        ".",
    )
    return tag("li", tag("p", said), tag("p", _verdict(figure_of(above)), class_="verdict"))


def _verdict(above: Estimate) -> str:
    match above.side:
        case 1:
            return "The interval excludes zero: the model tells more than the words of the turn."
        case -1:
            return "The whole interval is below zero: the words of the turn tell more."
        case 0:
            return "The interval includes zero: no more than the words of the turn is shown."
        case _:
            return "Without an interval nothing is claimed."


def _half(run: Retained) -> Html:
    said = [f"{name or 'all classes'} {_life(run, name)}" for name in ("", *run.emotions)]
    text = f": tokens after which half of it is gone: {'; '.join(said)}."
    return tag("li", tag("p", tag("strong", "Half-life"), text))


def _life(run: Retained, emotion: str) -> str:
    """A half-life in tokens, or that it was not reached."""
    life = run.value("half_life", emotion=emotion)
    least = run.value("half_life_at_least", emotion=emotion).value
    if life.value is None:
        return "missing" if least is None else f"not reached, at least {least:.0f}"
    if life.low is None or life.high is None:
        return f"{life.value:.0f}" + ("" if least is None else f" [{least:.0f}, not reached]")
    return f"{life.value:.0f} [{life.low:.0f}, {life.high:.0f}]"


def _arms(run: Retained, window: str) -> Html:
    """Which emotion, among emotional texts of one arm."""
    parts = []
    for arm in run.arms:
        own, null = run.probe(window, arm=arm), run.null(window, arm=arm)
        above = run.probe(window, metric="auroc_above_text", arm=arm)
        parts.append(
            f"{ARMS[arm]} {figure_of(own).text()} (chance {figure_of(null).text()}, words alone "
            f"{run.words(arm=arm).text()}, above text {figure_of(above).text(signed=True)})"
        )
    text = f" at offset {window}, among emotional texts alone: {'; '.join(parts)}."
    return tag("li", tag("p", tag("strong", "Which emotion"), text))


def _cut(run: Retained, cut: int) -> Html:
    window, parts = run.spoken_of, []
    for removed, name in REMOVED.items():
        left = run.after("auroc", removed, cut, window)
        if left:
            parts.append(f"{name}: {left.estimate.text()}")
    beyond = figure_of(run.after(BEYOND, "turn", cut, window))
    header = run.after(BEYOND, "header", cut, window)
    whole = figure_of(run.probe(window)).text()
    said = joined(
        tag("strong", f"Removed at offset {cut}"),
        f": AUROC at {window}, {whole} with nothing removed; {'; '.join(parts)}. Without the turn "
        "it loses more than with as much else removed, by ",
        shown(beyond, signed=True),
        *([", without the header by ", shown(header.estimate, signed=True)] if header else []),
        ".",
    )
    verdict = tag("p", _carried(run, cut, beyond), class_="verdict")
    return tag("li", tag("p", said), verdict)


def _carried(run: Retained, cut: int, beyond: Estimate) -> str:
    """Carried or looked up, as far as the turn's loss beyond the controls' tells."""
    rest = run.after("auroc", "turn", cut, run.spoken_of)
    if beyond.side is None or rest is None or rest.q is None:
        return "Without an interval nothing is claimed."
    falls = {
        1: "the turn was still being looked up",
        0: "that the turn was still being looked up is not shown",
        -1: "removing the turn costs less than removing as much else",
    }[beyond.side]
    stays = "is above chance" if rest.q <= ALPHA else "is not shown to be above chance"
    return f"{capital(falls)}; what later tokens carry without it {stays}."


def limits(run: Retained) -> Html:
    """What this run cannot say."""
    options, sizes = run.options, run.probe(run.windows[0]) if run.windows else None
    within = run.manifest.get("scheme") == "within"
    told = (
        f"Figures rest on {sizes.n} texts of {sizes.clusters} test scenarios and "
        f"{options.get('tested')} continuation(s), probes on {options.get('learned')} others. "
        "Intervals are over scenarios: they do not cover other continuations, and a rise or fall "
        "over offsets may be what the forced text says there."
        if sizes
        else ""
    )
    draws = int(run.manifest.get("permutations") or 1)
    texts = [
        told,
        "A linear probe says what can be read, not what the model does with it. Removing keys and "
        "values says where it is kept, and still not whether it is used.",
        "Removing a part of the past leaves the model in a state it was never trained in; the "
        "controls remove as much, but not the same. The header is held against random tokens alone "
        "and the turn together with the header against nothing as long.",
        "The probe is one for all offsets. Something that moves to other directions with the "
        "offset would look as if it faded. No other attribute of the turn is read: what is kept of "
        "its emotion may be kept of its topic as well.",
        f"Chance permutes labels of test texts {'within' if within else 'across'} scenarios, "
        f"{draws} times, so that no p falls below {p_text(1 / (1 + draws))}; the probe is not "
        "fitted anew.",
        "A half-life is counted from the turn, of what is above chance, from its largest window "
        "on. Near the ceiling half-lives of two emotions cannot be compared; none is given where "
        "even the largest window is not above the largest of permuted labels, and no upper end "
        "where more than one draw in forty does not fall so far.",
        "Classes are ranked by centred logits, those of the probe and of words alike: figures are "
        "not those of a page that ranks by probabilities.",
        "All classes hold neutral texts too, and texts with emotion words; the emotional texts of "
        "one arm stand by themselves.",
    ]
    return noted([*texts, *notes(run.manifest)])


def tables(run: Retained) -> Html:
    """Windows by emotion, then cuts."""
    reading = [_reading(run, emotion) for emotion in ("", *run.emotions)]
    cuts = [_removals(run, cut) for cut in run.cuts]
    caption = (
        f"AUROC at layer {run.layer} in windows of offsets (the mean over some of them), test "
        f"scenarios; words alone: {run.manifest.get('words')}. Brackets hold 95 % "
        f"intervals over scenarios; {MISSING} means not measured."
    )
    parts = [scrolling(("Offsets", *READ), reading, caption, "reading")]
    if cuts:
        caption = "All classes, after a part of the past was removed; lost is paired by scenario."
        parts.append(scrolling(("Removed, offsets", *LEFT), cuts, caption, "removed"))
    return joined(*parts)


def _reading(run: Retained, emotion: str) -> Html:
    lines = []
    for window in run.windows:
        null = run.null(window, emotion)
        above = run.probe(window, emotion, "auroc_above_text")
        cells = [
            figure_of(run.probe(window, emotion)).text(),
            figure_of(null).text(),
            p_text(null.p if null else None),
            p_text(null.q if null else None),
            figure_of(above).text(signed=True),
            p_text(above.q if above else None),
        ]
        lines.append(line(window, cells))
    name = f"{capital(emotion) or 'All classes'} (words alone {run.words(emotion).text()})"
    return group(name, lines, len(READ))


def _removals(run: Retained, cut: int) -> Html:
    lines = []
    for removed, name in REMOVED.items():
        for window in run.following(cut):
            own = run.after("auroc", removed, cut, window)
            if own is None:
                continue
            lost = run.after("auroc_lost", removed, cut, window)
            cells = [
                own.estimate.text(),
                p_text(own.q),
                figure_of(lost).text(signed=True),
                p_text(lost.q if lost else None),
                figure_of(run.after("kept", removed, cut, window)).text(),
            ]
            lines.append(line(f"{capital(name)}, {window}", cells))
    return group(f"After offset {cut}", lines, len(LEFT))


def short_table(recorded: Recorded) -> Table:
    """Title, columns and rows for a terminal: a line a window."""
    run = retained_of(recorded)
    columns = ["offset", "AUROC", "chance", "above text"]
    columns += [f"cut {cut}: {name}" for cut in run.cuts for name in ("turn", "neutral")]
    rows = []
    for window in run.windows:
        figures = [figure_of(run.probe(window)), figure_of(run.null(window))]
        figures.append(figure_of(run.probe(window, metric="auroc_above_text")))
        figures += [
            figure_of(run.after("auroc", removed, cut, window))
            for cut in run.cuts
            for removed in ("turn", "neutral_text")
        ]
        rows.append((window, *("-" if e.value is None else f"{e.value:.2f}" for e in figures)))
    title = f"The turn’s emotion at layer {run.layer}; words alone {run.words().text()}"
    return title, tuple(columns), rows
