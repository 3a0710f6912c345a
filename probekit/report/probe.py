"""The page of a probe run."""

from probekit.plots import Estimate
from probekit.report import figures, sections
from probekit.report.causal import plain
from probekit.report.parts import Section, Table, drawing, glossary, manifest
from probekit.report.reading import Recorded
from probekit.report.results import ABOVE, IN_TEXT, MEASURES, NULL, PROBE, REFERENCE, as_run
from probekit.report.terms import PROBING

COLUMNS = ("question", "pooling", "words", "probe", "above text", "chance")
SHORT = {"keyword_free": "free", "keyword_rich": "rich"}


def page(recorded: Recorded) -> list[Section]:
    """The sections, top to bottom."""
    run = as_run(recorded)
    return [
        Section("findings", "What was found", sections.findings(run)),
        Section("limits", "What this run cannot say", sections.cautions(run)),
        drawing(
            "above-text",
            "Above text",
            [figures.above_text(run)],
            "The probe’s figure minus that of words alone, on the same folds. A bar that crosses 0 "
            "shows nothing beyond the words.",
            "Missing: no text baseline was run, so nothing stands above text.",
        ),
        drawing(
            "layers",
            "Layer by layer",
            figures.layer_curves(run),
            "Bands are 95 % intervals. The peak of a curve is chosen after the fact; the headline "
            "figures choose their layer in inner folds.",
            "Missing: no figures over layers.",
        ),
        drawing(
            "transfer",
            "From one arm to the other",
            figures.transfer(run),
            "What a probe learned on one arm, tested on the same arm and on the other.",
            "Missing: transfer needs two arms, and this run has one.",
        ),
        Section("alarms", "False alarms", sections.alarms(run)),
        drawing(
            "confusion",
            "Which emotion is taken for which",
            figures.confusion(run),
            "Each row is a true class; its cells are the shares of that class that were taken for "
            "each of the classes.",
            "Missing: categorisation was not run.",
        ),
        Section("classes", "Each class by itself", sections.classes(run)),
        drawing(
            "keyword-effect",
            "Keyword effect",
            [figures.keyword_effect(run)],
            "What naming the emotion adds: AUROC on the keyword-rich arm minus the keyword-free "
            "arm.",
            "Missing: the keyword effect needs both arms.",
        ),
        Section("table", "Every figure beside its controls", sections.table(run)),
        Section("manifest", "How it was made", manifest(recorded.manifest)),
        Section("terms", "How to read this page", glossary(PROBING)),
    ]


def short_table(recorded: Recorded) -> Table:
    """Each question at the primary site, at every pooling, under the name of its set."""
    run = as_run(recorded)
    site, rows = run.primary.site, []
    for name in run.sets:
        rows.append((name,))
        for question in run.questions:
            if question.set != name:
                continue
            arms = [SHORT.get(arm, arm) for arm in (question.source, question.target) if arm]
            label = f" {question.task} {'→'.join(dict.fromkeys(arms))}"
            if question.measure != "auroc":
                label = f"{label.rstrip()}, {MEASURES[question.measure]}"
            words = run.estimate(question, IN_TEXT, REFERENCE)
            rows += [
                (
                    label,
                    block.pooling,
                    _value(words),
                    _value(run.estimate(question, block, PROBE)),
                    plain(run.estimate(question, block, ABOVE)),
                    _value(run.estimate(question, block, NULL)),
                )
                for block in run.blocks
                if block.site == site
            ]
    chosen = "on dev, figures of test" if run.held_out else "in inner folds"
    return f"AUROC at {site}; layer and C chosen {chosen}", COLUMNS, rows


def _value(estimate: Estimate) -> str:
    return "-" if estimate.value is None else f"{estimate.value:.2f}"
