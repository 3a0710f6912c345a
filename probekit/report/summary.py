"""The headline figures of a run as a short table of strings, for a terminal."""

from pathlib import Path

from probekit.plots import Estimate
from probekit.report.results import ABOVE, IN_TEXT, MEASURES, NULL, PROBE, REFERENCE, read_run

COLUMNS = ("question", "pooling", "words", "probe", "above text", "chance")
SHORT = {"keyword_free": "free", "keyword_rich": "rich"}


def headline_table(folder: Path) -> tuple[str, tuple[str, ...], list[tuple[str, ...]]]:
    """Title, column names and rows: each question at the primary site, at every pooling.

    A row that holds one cell alone names the stimulus set of the rows below it.
    """
    run = read_run(folder)
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
                    _interval(run.estimate(question, block, ABOVE)),
                    _value(run.estimate(question, block, NULL)),
                )
                for block in run.blocks
                if block.site == site
            ]
    chosen = "on dev, figures of test" if run.held_out else "in inner folds"
    return f"AUROC at {site}; layer and C chosen {chosen}", COLUMNS, rows


def _value(estimate: Estimate) -> str:
    return "-" if estimate.value is None else f"{estimate.value:.2f}"


def _interval(estimate: Estimate) -> str:
    """A difference with its 95 % interval, `-` where it is missing."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "-"
    return f"{estimate.value:+.2f} [{estimate.low:+.2f}, {estimate.high:+.2f}]"
