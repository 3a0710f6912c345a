"""The headline figures of a run as a short table of strings, for a terminal."""

from pathlib import Path

from probekit.plots import Estimate
from probekit.report.results import ABOVE, IN_TEXT, NULL, PROBE, REFERENCE, read_run

COLUMNS = ("set", "task", "arms", "pooling", "words alone", "probe", "above text", "chance")


def headline_table(folder: Path) -> tuple[str, tuple[str, ...], list[tuple[str, ...]]]:
    """Title, column names and rows: each question at the primary site, at every pooling."""
    run = read_run(folder)
    site = run.primary.site
    rows = [
        (
            question.set,
            question.task,
            question.source if question.within else f"{question.source} → {question.target}",
            block.pooling,
            _figure(run.estimate(question, IN_TEXT, REFERENCE)),
            _figure(run.estimate(question, block, PROBE)),
            _figure(run.estimate(question, block, ABOVE), "+"),
            _figure(run.estimate(question, block, NULL)),
        )
        for question in run.questions
        for block in run.blocks
        if block.site == site
    ]
    return f"AUROC at {site}, layer and C chosen in inner folds", COLUMNS, rows


def _figure(estimate: Estimate, sign: str = "") -> str:
    """A figure with its interval, `-` where it is missing."""
    if estimate.value is None:
        return "-"
    value = f"{estimate.value:{sign}.2f}"
    if estimate.low is None or estimate.high is None:
        return value
    return f"{value} [{estimate.low:{sign}.2f}, {estimate.high:{sign}.2f}]"
