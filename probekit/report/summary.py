"""The headline figures of a run as a short table of strings, for a terminal."""

from pathlib import Path

from probekit.errors import unknown
from probekit.plots import Estimate
from probekit.report import ablate, directions, erase, geometry, patch
from probekit.report.causal import plain
from probekit.report.reading import Recorded, read_folder
from probekit.report.results import ABOVE, IN_TEXT, MEASURES, NULL, PROBE, REFERENCE, as_run

Table = tuple[str, tuple[str, ...], list[tuple[str, ...]]]
"""Title, column names and rows; a row of one cell alone names the rows below it."""

COLUMNS = ("question", "pooling", "words", "probe", "above text", "chance")
SHORT = {"keyword_free": "free", "keyword_rich": "rich"}


def headline_table(folder: Path) -> Table:
    """Title, column names and rows of a run of any study.

    Raises:
        UserError: the folder holds no run, a broken one, or one of an unknown study.
    """
    recorded = read_folder(folder)
    if recorded.study not in TABLES:
        raise unknown("study", recorded.study, list(TABLES))
    return TABLES[recorded.study](recorded)


def _probe_table(recorded: Recorded) -> Table:
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


TABLES = {
    "probe": _probe_table,
    "patch": patch.short_table,
    "ablate": ablate.short_table,
    "directions": directions.short_table,
    "geometry": geometry.short_table,
    "erase": erase.short_table,
}
