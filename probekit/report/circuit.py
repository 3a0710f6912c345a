"""The page of a run of circuits."""

from probekit.circuits.texts import NEEDED
from probekit.plots import MISSING, Estimate
from probekit.report import circuit_drawings, circuit_figures
from probekit.report.causal import figure_of, p_text
from probekit.report.circuit_findings import ABOVE_RANDOM, findings
from probekit.report.circuit_limits import limits
from probekit.report.circuit_rows import (
    CIRCUIT,
    COMPLEMENT,
    INTACT,
    OTHER,
    PROMPT,
    RANDOM,
    RANDOM_COMPLEMENT,
    STEER,
    Circuits,
    best,
    circuits_of,
)
from probekit.report.markup import Html, joined, tag
from probekit.report.parts import (
    Section,
    Table,
    drawing,
    glossary,
    group,
    line,
    manifest,
    missing,
    scrolling,
)
from probekit.report.reading import Line, Recorded
from probekit.report.scorecard_rows import Setting
from probekit.report.terms import CIRCUIT as TERMS
from probekit.report.words import capital

ABLATED = {
    CIRCUIT: "circuit ablated",
    RANDOM: "random components ablated",
    COMPLEMENT: "all but the circuit ablated",
    RANDOM_COMPLEMENT: "all but random components ablated",
    OTHER: "other emotions’ circuits ablated",
}
ABLATION = ("Lift", "Share left", "Beyond random", "p", "q", "Language", "Replies", "Scenarios")
MODULATION = (
    "Accuracy",
    "Chance",
    "Above random",
    "q",
    "Incoherent",
    "Perplexity ratio",
    "Texts",
    "Scenarios",
)
METHODS = (PROMPT, STEER, CIRCUIT, "random circuit")
"""Of the short table."""


def page(recorded: Recorded) -> list[Section]:
    """The sections, top to bottom."""
    run = circuits_of(recorded)
    return [
        Section("findings", "What was found", findings(run)),
        Section("limits", "What this run cannot say", limits(run)),
        drawing(
            "sizes",
            "How many it takes",
            circuit_figures.sizes(run),
            "What is left of the lift over the size of the circuit. The dotted line and its band "
            "are as many random components of every sublayer, their interval over scenarios.",
            f"Missing: no emotion has {NEEDED} accepted replies that are held out, so expression "
            "has no lift that an ablation could lower.",
        ),
        drawing(
            "reading",
            "What is read without the circuit",
            circuit_figures.reading(run),
            "Change on test vignettes that name no emotion, with 95 % intervals over scenarios.",
            "Missing: nothing was read under ablation.",
        ),
        drawing(
            "stability",
            "The same circuit twice?",
            circuit_figures.stability(run),
            "Overlap of two circuits beyond that of random sets, which are spread over sublayers "
            "as they are; bars are the middle 95 % of their draws. Right of 0 is more than chance.",
            "Missing: no circuits were compared.",
        ),
        drawing(
            "influence",
            "Where an emotion can be brought in",
            circuit_figures.influence(run),
            "Slope of the emotion’s log-odds with its direction added behind each sublayer. The "
            "dotted line and its band are random directions of equal length.",
            "Missing: influence was not measured.",
        ),
        drawing(
            "graphs",
            "Which head feeds which neuron",
            circuit_drawings.graphs(run),
            "Upwards are layers; of a layer, neurons stand above heads, whose writes they can "
            "read. A line is the exact effect of the path from a head straight to a neuron: what "
            "the neuron writes along the emotion’s direction because of it. Point at a node for "
            "what it writes and the vignettes on which it writes most.",
            "Missing: the run’s folder has no graphs.",
        ),
        drawing(
            "modulation",
            "Bringing an emotion about",
            circuit_drawings.modulation(run),
            "Share of texts that are judged as their target and are coherent; of plain texts, "
            "chance. A circuit’s dose is a multiple of its mean effect, a direction’s a share of "
            "the residual norm: the two are no common scale.",
            "Missing: no texts were written by modulation.",
        ),
        Section("table", "Every figure beside its controls", tables(run)),
        Section("manifest", "How it was made", manifest(recorded.manifest)),
        Section("terms", "How to read this page", glossary(TERMS)),
    ]


def tables(run: Circuits) -> Html:
    """Ablations by emotion, then methods of writing."""
    groups = [made for emotion in run.emotions if (made := _ablations(run, emotion))]
    parts: list[Html] = [tag("h3", "Ablations")]
    if groups:
        caption = (
            "Lift in nats per token, nothing ablated in the first line; what is left of it; the "
            "difference from random components in nats; and nats per token that neutral texts "
            f"cost more. Brackets hold 95 % intervals; {MISSING} means not measured."
        )
        parts.append(scrolling(("Ablation", *ABLATION), groups, caption, "ablations"))
    else:
        parts.append(missing("Missing: nothing was ablated."))
    parts.append(tag("h3", "Methods of writing"))
    methods = [made for emotion in ("", *run.card.emotions) if (made := _methods(run, emotion))]
    if methods:
        caption = (
            f"Judged by {run.judge}; differences are paired by scenario, against random directions "
            "or random components at the same dose. Every text is in samples.csv of the scorecard "
            "in the run’s folder."
        )
        parts.append(scrolling(("Method", *MODULATION), methods, caption, "methods"))
    else:
        parts.append(missing("Missing: no texts were written by modulation."))
    return joined(*parts)


def _ablations(run: Circuits, emotion: str) -> Html | None:
    keys = dict.fromkeys(
        (x.condition, x.method, x.k)
        for metric in ("lift", "nats_added")
        for x in run.of(metric, emotion=emotion)
        if x.condition != INTACT
    )
    whole = run.lift(emotion)
    lines = [line("nothing ablated", _cells(whole, None, None, None))] if whole else []
    for condition, way, k in sorted(
        keys, key=lambda key: (key[2] or 0, list(ABLATED).index(key[0]))
    ):
        found = [
            run.ablated(metric, emotion, condition, k, way)
            for metric in ("lift", "lift_share", ABOVE_RANDOM, "nats_added")
        ]
        name = f"k = {k}, {ABLATED[condition]}"
        lines.append(line(name if way == run.allocation else f"{name} ({way})", _cells(*found)))
    return group(capital(emotion), lines, len(ABLATION)) if lines else None


def _cells(
    lift: Line | None, share: Line | None, beyond: Line | None, language: Line | None
) -> list[str]:
    return [
        figure_of(lift).text(signed=True),
        figure_of(share).text(),
        figure_of(beyond).text(signed=True),
        p_text(beyond.p if beyond else None),
        p_text(beyond.q if beyond else None),
        figure_of(language).text(signed=True),
        str((lift and lift.n) or MISSING),
        str((lift and lift.clusters) or MISSING),
    ]


def _methods(run: Circuits, emotion: str) -> Html | None:
    settings = [s for s in run.card.settings if run.card.line("target_accuracy", s, emotion)]
    lines = [line(capital(str(each)), _method(run, each, emotion)) for each in settings]
    name = capital(emotion) or "All emotions together"
    return group(name, lines, len(MODULATION)) if lines else None


def _method(run: Circuits, setting: Setting, emotion: str) -> list[str]:
    card = run.card
    own = card.line("target_accuracy", setting, emotion)
    above = card.line("target_accuracy_above_random", setting, emotion)
    return [
        figure_of(own).text(),
        card.chance(emotion).text(),
        figure_of(above).text(signed=True),
        p_text(above.q if above else None),
        card.value("incoherent_rate", setting, emotion).text(),
        card.value("perplexity_ratio", setting, emotion).text(),
        str((own and own.n) or MISSING),
        str((own and own.clusters) or MISSING),
    ]


def short_table(recorded: Recorded) -> Table:
    """Title, columns and rows for a terminal: a line an emotion."""
    run = circuits_of(recorded)
    columns = ("emotion", "accepted", "lift", "left", "by random", "halves", "(null)")
    rows = [_short(run, emotion) for emotion in run.emotions]
    title = (
        f"Circuits of {run.k or '?'}: lift in nats, its share left without them and without random "
        "ones; best accuracy"
    )
    return title, (*columns, *METHODS[:3], "random"), rows


def _short(run: Circuits, emotion: str) -> tuple[str, ...]:
    own, null = run.shared("halves", emotion)
    share = [figure_of(run.ablated("lift_share", emotion, each)) for each in (CIRCUIT, RANDOM)]
    accuracies = []
    for method in METHODS:
        dose = best(run.card, method)
        setting = Setting(method, dose[0] if dose else None)
        accuracies.append(run.card.value("target_accuracy", setting, emotion))
    accepted = run.value("accepted", emotion=emotion, split="test", method=PROMPT)
    figures = [accepted, figure_of(run.lift(emotion)), *share, figure_of(own), figure_of(null)]
    return (emotion, *map(_bare, [*figures, *accuracies]))


def _bare(estimate: Estimate) -> str:
    """Without its interval, which stands on the page: a terminal is narrow."""
    return "-" if estimate.value is None else f"{estimate.value:.2f}"
