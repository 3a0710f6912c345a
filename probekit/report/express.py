"""The page of a run of expression."""

from probekit.plots import MISSING, Estimate
from probekit.report import express_figures
from probekit.report.causal import figure_of, p_text
from probekit.report.express_figures import BEYOND
from probekit.report.express_findings import findings
from probekit.report.express_rows import (
    CHANGES,
    CONTROL,
    KINDS,
    NONE,
    READ,
    SHIFTS,
    TELLERS,
    UNRELATED,
    Expressed,
    estimate,
    expressed_of,
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
    noted,
    notes,
    scrolling,
)
from probekit.report.reading import Recorded
from probekit.report.terms import EXPRESSION
from probekit.report.words import capital


def page(recorded: Recorded) -> list[Section]:
    """The sections, top to bottom."""
    run = expressed_of(recorded)
    return [
        Section("findings", "What was found", findings(run)),
        Section("limits", "What this run cannot say", limits(run)),
        drawing(
            "shifts",
            "What system prompts shift",
            express_figures.shifts(run),
            "Differences from unrelated system prompts of the same length and build, paired by "
            "post; intervals over scenarios and over wordings.",
            "Missing: the part “malleable” was not run.",
        ),
        drawing(
            "changes",
            "Does the reply follow what is read?",
            express_figures.changes(run),
            "The judged probability of the label that a change is about, less that without the "
            "change; each beside a control that is as large.",
            "Missing: the part “expressed” was not run.",
        ),
        Section("table", "Every figure beside its controls", tables(run)),
        Section("examples", "Some replies", examples(run)),
        Section("manifest", "How it was made", manifest(recorded.manifest)),
        Section("terms", "How to read this page", glossary(EXPRESSION)),
    ]


def limits(run: Expressed) -> Html:
    """What this run cannot say."""
    agreed, told = run.agreement(), run.under(KINDS[0], next(iter(SHIFTS)))
    sizes = f"{agreed.n} test posts of {agreed.clusters} scenarios" if agreed else "test posts"
    same = run.manifest.get("judge_reads_with_the_model")
    texts = [
        f"Figures rest on {sizes}; probes, directions, erasers and the way of asking come from "
        "other scenarios. Intervals are over scenarios, and over wordings of system prompts.",
        f"Replies under system prompts are to {told.n} posts of {told.clusters} scenarios, "
        f"{told.k} wordings of each kind: intervals over so few are too narrow, and a change is "
        "claimed only where its q says so too."
        if told
        else "",
        "A judge reads the reply; where it errs on this model’s texts, so does every figure of "
        "replies. It was checked against blind readers on other texts.",
        "The judge reads with the model that is studied: it may see a change itself, and not the "
        "text."
        if same
        else "",
        "Asking is given three questions, of which development posts chose; another wording may "
        "do better. An answer that names no label, or several, counts as wrong.",
        "What is added, given or taken reaches the prompt’s last token and what is written after "
        "it; the post itself stays in the context and can be read again.",
        "Replies are greedy and short. Emotion that comes later, or only when sampled, is not "
        "seen. Without a system prompt of ours the model’s own template may hold one.",
        "A control is as large as the change, not as damaging: a change that merely disturbs "
        "would look the same where its control disturbs less.",
    ]
    return noted([*texts, *notes(run.manifest)])


def tables(run: Expressed) -> Html:
    """Who tells the label; system prompts; changes."""
    parts = []
    if "asking" in run.parts:
        parts.append(_tellers(run))
    if "malleable" in run.parts:
        parts.append(_systems(run))
    if "expressed" in run.parts:
        parts += [_agreement(run), _changes(run)]
    return joined(*parts)


def _tellers(run: Expressed) -> Html:
    lines = []
    for method, name in TELLERS.items():
        above = run.above(method)
        cells = [
            estimate(run.told("accuracy", method)).text(),
            estimate(run.told("auroc", method)).text(),
            estimate(run.told("coverage", method)).text(),
            estimate(above).text(signed=True),
            p_text(above.q if above else None),
        ]
        lines.append(line(name, cells))
    lines.append(line("chance", [estimate(run.chance("asking")).text(), *4 * [MISSING]]))
    heads = ("Accuracy", "AUROC", "Names one label", "Probe less this", "q")
    caption = "Who tells the label of the same test posts. Brackets hold 95 % intervals."
    return scrolling(("Teller", *heads), lines, caption, "tellers")


def _systems(run: Expressed) -> Html:
    kinds = (NONE, UNRELATED, *KINDS)
    groups = []
    for key, name in SHIFTS.items():
        lines = []
        for kind in kinds:
            shift = run.under(kind, key, shift=True)
            cells = [estimate(run.under(kind, key)).text(), estimate(shift).text(signed=True)]
            lines.append(line(kind, [*cells, p_text(shift.q if shift else None)]))
        apart = run.apart(key)
        cells = [MISSING, estimate(apart).text(signed=True), p_text(apart.q if apart else None)]
        lines.append(line("emotional less calm", cells))
        groups.append(group(capital(name), lines, 3))
    heads = ("System prompt", "Figure", "Less unrelated", "q")
    caption = (
        "Under system prompts of each kind; “none” is the model’s own template. The last line of "
        "each is less that under calm ones. q: signs flipped of scenarios and of wordings, the "
        "larger p of the two."
    )
    return scrolling(heads, groups, caption, "systems")


def _agreement(run: Expressed) -> Html:
    lines = [
        line(capital(name) or "All", [estimate(run.agreement(name)).text()])
        for name in ("", *run.emotions)
    ]
    lines.append(line("chance", [estimate(run.chance("expressed")).text()]))
    caption = "How often the reply is judged to be of the post’s label, nothing changed."
    return scrolling(("Label of the post", "Agreement"), lines, caption, "agreement")


def _changes(run: Expressed) -> Html:
    groups = []
    for name, called in CHANGES.items():
        lines = []
        for condition, said in ((name, called), (name + CONTROL, "control")):
            own = run.change(condition, "target_probability_change")
            cells = [
                estimate(run.change(condition, "target_probability")).text(),
                figure_of(own).text(signed=True),
                p_text(own.q if own else None),
                estimate(run.change(condition, "agreement")).text(),
                estimate(run.change(condition, "target_probability", READ)).text(),
                estimate(run.change(condition, "unchanged", "text")).text(),
            ]
            lines.append(line(said, cells))
        beyond = run.change(name, BEYOND)
        cells = [MISSING, figure_of(beyond).text(signed=True), p_text(beyond.q if beyond else None)]
        lines.append(line("beyond the control", [*cells, *3 * [MISSING]]))
        groups.append(group(capital(called), lines, 6))
    heads = ("Judged probability", "Change", "q", "Judged as it", "Read-out", "Same text")
    caption = "The label that a change is about, with the change and with its control."
    return scrolling(("Change", *heads), groups, caption, "changed")


def examples(run: Expressed) -> Html:
    """Posts and replies, word by word, not picked by what was written."""
    given = run.manifest.get("examples") or []
    if not given:
        return missing("Missing: no replies were written under system prompts.")
    said = f"{len(given)} posts of different labels under the first system prompt of each kind."
    parts = [tag("p", said)]
    for place, each in enumerate(given):
        texts = [
            tag(
                "div",
                tag("dt", capital(kind)),
                tag("dd", each[kind].strip() or tag("i", "(empty)")),
            )
            for kind in (NONE, UNRELATED, *KINDS)
            if kind in each
        ]
        post = tag("summary", f"{capital(each['label'])}: {each['post']}")
        parts.append(tag("details", post, tag("dl", *texts, class_="texts"), open=place == 0))
    return joined(*parts)


def short_table(recorded: Recorded) -> Table:
    """Title, columns and rows for a terminal."""
    run = expressed_of(recorded)
    rows: list[tuple[str, ...]] = []

    def add(name: str, own: Estimate, beside: Estimate, difference: Estimate) -> None:
        if own.value is not None:
            cells = (own.text(), beside.text(), difference.text(signed=True))
            rows.append((name, *cells))

    for method, name in TELLERS.items():
        own, chance = estimate(run.told("accuracy", method)), estimate(run.chance("asking"))
        add(f"label told: {name}", own, chance, Estimate(None))
    for kind in KINDS:
        for key, name in SHIFTS.items():
            own, beside = estimate(run.under(kind, key)), estimate(run.under(UNRELATED, key))
            add(f"{kind}: {name}", own, beside, estimate(run.under(kind, key, shift=True)))
    for name, called in CHANGES.items():
        own = figure_of(run.change(name, "target_probability_change"))
        beside = figure_of(run.change(name + CONTROL, "target_probability_change"))
        add(f"{called}: judged label", own, beside, figure_of(run.change(name, BEYOND)))
    title = f"Replies agree with the post: {estimate(run.agreement()).text()}"
    return title, ("figure", "value", "chance or control", "difference"), rows
