"""The parts of the page of a probe run, top to bottom; each is a function of the results."""

from probekit.plots import MISSING, Estimate, number
from probekit.report.causal import p_text
from probekit.report.figures import layer_text
from probekit.report.markup import Html, joined, tag
from probekit.report.parts import group, line, noted, notes, scrolling, shown
from probekit.report.results import (
    ABOVE,
    CHOSEN_LAYER,
    IN_TEXT,
    MEASURES,
    NOTHING,
    NULL,
    OF_CLASS,
    OF_CLASS_ABOVE,
    OF_CLASS_WORDS,
    PROBE,
    REFERENCE,
    Block,
    Kind,
    Question,
    Row,
    Run,
)
from probekit.report.words import capital, listed, say, say_block, say_question

METRICS = ("accuracy", "brier", "forced_choice")
OF_CLASS_HEADS = ("AUROC", "Words alone", "Above text", "p")


def findings(run: Run) -> Html:
    """What was found, in sentences, at the primary block."""
    items = [_finding(run, question) for question in run.headlines]
    return joined(tag("p", lead(run), class_="lead"), tag("ul", *items, class_="findings"))


def lead(run: Run) -> str:
    """The one sentence on top: where the probe reads more than the words."""
    figures = {q: run.estimate(q, run.primary, ABOVE) for q in run.headlines}
    judged = {q: e for q, e in figures.items() if e.side is not None}
    site, pooling = run.primary
    where = f"At {site} (pooling {pooling})" if site and pooling else "Here"
    if not judged:
        return f"{where}, nothing can be said above text: no probe stands beside a text baseline."

    def named(side: int) -> str:
        return listed(
            [
                f"{say_question(q)} ({e.text(signed=True)})"
                for q, e in judged.items()
                if e.side == side
            ]
        )

    parts = []
    if above := named(1):
        parts.append(f"the probe reads more than words alone in {above}")
    if within := named(0):
        parts.append(f"no difference from words alone is shown in {within}")
    if below := named(-1):
        parts.append(f"the probe falls short of words alone in {below}")
    return f"{where}, {'; '.join(parts)}."


def _finding(run: Run, question: Question) -> Html:
    probe = run.estimate(question, run.primary, PROBE)
    name = tag("strong", capital(say_question(question)))
    if probe.value is None:
        absent = f": no probe at {say_block(run.primary)} in this run."
        return tag("li", tag("p", name, absent))
    words = run.estimate(question, IN_TEXT, REFERENCE)
    above = run.estimate(question, run.primary, ABOVE)
    null = run.estimate(question, run.primary, NULL)
    figures = joined(
        f": {MEASURES[question.measure]} ",
        shown(probe),
        "; words alone ",
        shown(words) if words.value is not None else "not measured",
        *(["; above text ", shown(above, signed=True)] if above.value is not None else []),
        "; chance ",
        shown(null) if null.value is not None else "not measured",
        ".",
    )
    return tag("li", tag("p", name, figures), tag("p", verdict(above), class_="verdict"))


def verdict(above: Estimate) -> str:
    """Whether the interval of *above text* excludes zero, and what that says."""
    match above.side:
        case 1:
            return "The interval excludes zero: the probe reads more than the words say."
        case 0:
            return "The interval includes zero: nothing beyond the words is shown."
        case -1:
            return "The whole interval is below zero: words alone do better than the probe."
        case _:
            return "Above text has no interval in this run, so nothing is claimed."


def cautions(run: Run) -> Html:
    """What the size of the run allows: clusters, permutations, the smallest p."""
    said = [_about_split(run), _about_classes(run), _about_clusters(run), _about_permutations(run)]
    return noted([*said, *notes(run.manifest)])


def _about_split(run: Run) -> str:
    if not run.held_out:
        return ""
    sets = listed([say(name) for name in run.held_out])
    return (
        f"Figures of {sets} are those of the test split: learned and chosen on dev alone. Whoever "
        "chooses anything by them has used the test split up. The figures of dev, each fold "
        "predicted by the others, stand in results.csv."
    )


def alarms(run: Run) -> Html:
    """How often neutral texts are called emotional: vivid ones, and the set's own."""
    if not run.alarms:
        return tag("p", "Missing: no reception probe was run, or without these.", class_="absent")
    items = []
    for question in dict.fromkeys(row.question for row in run.alarms):
        said = {row.kind.method: row.estimate for row in run.alarms if row.question == question}
        own = question._replace(target=question.source)
        probe = said.get("probe", NOTHING)
        parts = [
            tag("strong", capital(say_question(own))),
            f": of {_alarm_count(run, question)} vivid neutral texts, words alone call ",
            shown(said.get("words", NOTHING)),
            " emotional, the probe ",
            shown(probe) if probe.value is not None else "not measured",
            "; of the set’s own neutral texts, the probe ",
            shown(run.estimate(own, run.primary, Kind("false_alarm"))),
            ".",
        ]
        items.append(tag("li", tag("p", *parts)))
    return tag("ul", *items, class_="findings")


def _alarm_count(run: Run, question: Question) -> str:
    counts = [row.n for row in run.alarms if row.question == question]
    return str(counts[0]) if counts[0] else MISSING


def _about_classes(run: Run) -> str:
    if all(question.task not in ("categorisation", "classes") for question in run.questions):
        return ""
    told: dict[Question, set[str]] = {}
    for row in run.rows:
        if row.kind.metric == "confusion":
            told.setdefault(row.question, set()).add(row.emotion)
    classes = max(map(len, told.values()), default=0)
    kind = f"{classes}-class categorisation" if classes else "Categorisation"
    return f"{kind} at this size is a pipeline, not a claim."


def _about_clusters(run: Run) -> str:
    own = [row for row in run.rows if row.question in run.questions]
    counts = sorted({row.clusters for row in own if row.clusters})
    if not counts:
        return "The number of clusters is not given."
    span = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"Intervals rest on {span} clusters (scenarios kept whole)."


def _about_permutations(run: Run) -> str:
    counts = [row.k for row in run.rows if row.kind.condition == "null" and row.k]
    if not counts:
        return "No permutation null was run, so there are no p-values."
    tests = sum(row.kind == PROBE and row.p is not None for row in run.rows)
    floor = 1 / (min(counts) + 1)
    text = f"{min(counts)} permutations: the smallest possible p is {number(floor, digits=3)}."
    if tests > 1 and tests * floor > 0.05:
        text += (
            f" With {tests} tests in the run, a single one at that p does not survive"
            " Benjamini–Hochberg at .05."
        )
    return text


def classes(run: Run) -> Html:
    """Each class against all others, at the primary block, beside the words."""
    parts = []
    for question in (q for q in run.questions if q.within):
        names = dict.fromkeys(
            row.emotion
            for row in run.rows
            if (row.question, row.block, row.kind) == (question, run.primary, OF_CLASS)
        )
        lines = []
        for name in names:
            above = run.row(question, run.primary, OF_CLASS_ABOVE, emotion=name)
            words = run.estimate(question, run.primary, OF_CLASS_WORDS, emotion=name)
            cells = [
                run.estimate(question, run.primary, OF_CLASS, emotion=name).text(),
                words.text(),
                above.estimate.text(signed=True) if above else MISSING,
                p_text(above.p if above else None),
            ]
            lines.append(line(name, cells))
        if lines:
            title = f"{say(question.set)}: {say_question(question)}"
            parts.append(group(title, lines, len(OF_CLASS_HEADS)))
    if not parts:
        return tag("p", "Missing: no question of three or more classes was asked.", class_="absent")
    caption = (
        f"AUROC of each class against all others at {say_block(run.primary)}, predictions of the "
        "headline. Brackets hold 95 % intervals; p is of above text, not adjusted."
    )
    return scrolling(("Class", *OF_CLASS_HEADS), parts, caption)


def table(run: Run) -> Html:
    """Every block's headline figures, under the baselines that stand beside them."""
    heads = (
        "AUROC, or the measure named",
        "Above text",
        "Chance",
        "Accuracy",
        "Brier",
        "Forced choice",
    )
    columns = [*heads, "p", "q", "p above text", "Layer", "Texts", "Clusters"]
    groups = [_group(run, question, len(columns)) for question in run.questions]
    caption = (
        "Headline figures of every block beside every text baseline. Brackets hold 95 % "
        f"intervals; {MISSING} means not measured."
    )
    return scrolling(("Figure", *columns), groups, caption)


def _group(run: Run, question: Question, width: int) -> Html:
    methods = dict.fromkeys(
        row.kind.method
        for row in run.rows
        if (row.question, row.kind.condition) == (question, "baseline")
    )
    texts = [_baseline_line(run, question, method) for method in methods]
    probes = [_probe_line(run, question, block) for block in run.blocks]
    lines = [*texts, *[made for made in probes if made]]
    return group(capital(say_question(question)), lines, width)


def _baseline_line(run: Run, question: Question, method: str) -> Html:
    def get(metric: str) -> Row | None:
        return run.row(question, IN_TEXT, Kind(metric, method, "baseline"))

    auroc = get("auroc")
    cells = [_text(auroc), "", "", *[_text(get(m)) for m in METRICS], "", "", "", ""]
    return line(say(method), [*cells, *_counts(auroc)], class_="words")


def _probe_line(run: Run, question: Question, block: Block) -> Html | None:
    auroc = run.row(question, block, PROBE)
    if auroc is None:
        return None
    above = run.row(question, block, ABOVE)
    chosen = run.estimate(question, block, CHOSEN_LAYER)
    cells = [
        _text(auroc),
        _text(above, signed=True),
        _text(run.row(question, block, NULL)),
        *[_text(run.row(question, block, Kind(metric))) for metric in METRICS],
        number(auroc.p, digits=3),
        number(auroc.q, digits=3),
        number(above.p if above else None, digits=3),
        layer_text(chosen),
        *_counts(auroc),
    ]
    return line(f"probe, {say_block(block)}", cells, class_="probe")


def _text(row: Row | None, *, signed: bool = False) -> str:
    return row.estimate.text(signed=signed) if row else MISSING


def _counts(row: Row | None) -> tuple[str, str]:
    if row is None:
        return MISSING, MISSING
    return str(row.n or MISSING), str(row.clusters or MISSING)
