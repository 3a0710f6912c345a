"""One self-contained HTML page of a run: opens offline, asks the network for nothing.

1. `reading` reads any run folder. Each study has a module that makes its page's sections: `probe`
   (with `results`, `figures` and `sections`), `patch` and `ablate` (with `causal`),
   `directions` (with `learned`), `erase` (with `erasing`),
   `geometry` (with `geometry_rows`), `scorecard` (with `scorecard_rows`), `circuit` (with
   `circuit_rows`), `retain` (with `retain_rows`), `express` (with `express_rows`), `corpus`
   (with `corpus_rows`). `lines` are look-ups that several share.
2. `views` are figures with text summaries, `parts` what the pages of all studies share.
3. Here the sections become one page, in the `frame` that it shares with the page of a text.
4. `opened` is a finished run as an object, for a notebook.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from probekit.errors import unknown
from probekit.report import (
    ablate,
    circuit,
    corpus,
    directions,
    erase,
    express,
    geometry,
    patch,
    probe,
    retain,
    scorecard,
)
from probekit.report.frame import Frame, page
from probekit.report.markup import joined, tag
from probekit.report.parts import Section, Table, facts
from probekit.report.reading import Recorded, read_folder
from probekit.runs import REPORT, atomic_write

__all__ = ["headline_of", "headline_table", "write_report"]


class Study(NamedTuple):
    """How a study is shown: its name, the line above its title, its sections, its short table."""

    name: str
    about: str
    page: Callable[[Recorded], list[Section]]
    table: Callable[[Recorded], Table]


def write_report(run: Path) -> Path:
    """Write `report.html` into a run folder, whole or not at all.

    Args:
        run: folder with `manifest.json` and `results.csv`.

    Returns:
        The path of the page.

    Raises:
        UserError: the folder holds no run, a broken one, or one of a study without a page.
    """
    recorded = read_folder(run)
    text = _page(recorded, _study(recorded))
    with atomic_write(run / REPORT) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return run / REPORT


def headline_table(run: Path) -> Table:
    """The headline figures of a run of any study, for a terminal.

    Raises:
        UserError: as `write_report`.
    """
    return headline_of(read_folder(run))


def headline_of(recorded: Recorded) -> Table:
    """The same of a run that was read already."""
    return _study(recorded).table(recorded)


STUDIES = {
    "probe": Study(
        "probing", "probes beside what words alone achieve", probe.page, probe.short_table
    ),
    "patch": Study(
        "patching",
        "what moves when a state of another text is put in",
        patch.page,
        patch.short_table,
    ),
    "ablate": Study(
        "ablation", "what is lost when a unit is taken out", ablate.page, ablate.short_table
    ),
    "directions": Study(
        "directions", "what a direction tells of new texts", directions.page, directions.short_table
    ),
    "geometry": Study(
        "geometry", "how emotions lie to one another", geometry.page, geometry.short_table
    ),
    "erase": Study(
        "erasing", "what a new probe finds after a concept is erased", erase.page, erase.short_table
    ),
    "scorecard": Study(
        "scorecard",
        "what each way of asking for an emotion achieves, and what it costs",
        scorecard.page,
        scorecard.short_table,
    ),
    "circuit": Study(
        "circuits",
        "which heads and neurons carry an emotion, and what they are needed for",
        circuit.page,
        circuit.short_table,
    ),
    "retain": Study(
        "retention",
        "how long an emotional turn can be read, and what is left without it",
        retain.page,
        retain.short_table,
    ),
    "express": Study(
        "expression",
        "what a model says of an emotional post: asked, told to be emotional, and in its reply",
        express.page,
        express.short_table,
    ),
    "probe-corpus": Study(
        "probing a corpus",
        "probes of a large corpus, beside what words alone and permuted labels achieve",
        corpus.page,
        corpus.short_table,
    ),
}
"""How each study is shown."""


def _study(recorded: Recorded) -> Study:
    if recorded.study not in STUDIES:
        raise unknown("study", recorded.study, list(STUDIES))
    return STUDIES[recorded.study]


def _page(run: Recorded, study: Study) -> str:
    model = str(run.manifest.get("model", {}).get("name", "a model without a name"))
    frame = Frame(
        title=f"Emotion in {model}: {study.name}",
        top=joined(
            tag("p", f"probekit · {study.about}", class_="kind"),
            tag("h1", "Emotion in ", tag("span", model, class_="name")),
            facts(run.manifest),
            tag("noscript", tag("p", "The figures need JavaScript; the table below does not.")),
        ),
        skip=("Skip to the findings", "findings"),
        foot="Every figure here stands in results.csv of the run’s folder.",
    )
    return page(frame, study.page(run))
