"""One self-contained HTML page of a run: opens offline, asks the network for nothing.

1. `results` reads the run folder and finds figures in it.
2. `figures` turns them into plot data with text summaries, `sections` into prose and the table.
3. Here they become one page. Text is escaped where it is put in (`markup`); beyond that, the page's
   own policy lets only its two scripts run, named by their hashes, and forbids every request.
"""

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from probekit.errors import unknown
from probekit.plots import DARK, LIGHT
from probekit.report import figures, sections
from probekit.report.figures import Figure
from probekit.report.markup import Html, joined, json_script, tag
from probekit.report.results import Run, read_run
from probekit.report.summary import headline_table
from probekit.runs import REPORT, atomic_write

__all__ = ["headline_table", "write_report"]


class Section(NamedTuple):
    """A part of the page with a heading, and the figures that its body has places for."""

    key: str
    heading: str
    body: Html
    figures: tuple[Figure, ...] = ()


def write_report(run: Path) -> Path:
    """Write `report.html` into a run folder, whole or not at all.

    Args:
        run: folder with `manifest.json` and `results.csv`.

    Returns:
        The path of the page.

    Raises:
        UserError: the folder holds no run, a broken one, or one of a study without a page.
    """
    results = read_run(run)
    study = str(results.manifest.get("study"))
    if study not in STUDIES:
        raise unknown("study", study, list(STUDIES))
    page = _page(results, STUDIES[study](results))
    with atomic_write(run / REPORT) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return run / REPORT


def _probe_sections(run: Run) -> list[Section]:
    def drawn(key: str, heading: str, found: list[Figure], intro: str, absent: str) -> Section:
        return Section(key, heading, sections.drawn(found, intro, absent), tuple(found))

    above, keywords = figures.above_text(run), figures.keyword_effect(run)
    return [
        Section("findings", "What was found", sections.findings(run)),
        Section("limits", "What this run cannot say", sections.cautions(run)),
        drawn(
            "above-text",
            "Above text",
            [above] if above else [],
            "The probe’s figure minus that of words alone, on the same folds. A bar that crosses 0 "
            "shows nothing beyond the words.",
            "Missing: no text baseline was run, so nothing stands above text.",
        ),
        drawn(
            "layers",
            "Layer by layer",
            figures.layer_curves(run),
            "Bands are 95 % intervals. The peak of a curve is chosen after the fact; the headline "
            "figures choose their layer in inner folds.",
            "Missing: no figures over layers.",
        ),
        drawn(
            "transfer",
            "From one arm to the other",
            figures.transfer(run),
            "What a probe learned on one arm, tested on the same arm and on the other.",
            "Missing: transfer needs two arms, and this run has one.",
        ),
        Section("alarms", "False alarms", sections.alarms(run)),
        drawn(
            "confusion",
            "Which emotion is taken for which",
            figures.confusion(run),
            "Each row is a true class; its cells are the shares of that class that were taken for "
            "each of the classes.",
            "Missing: categorisation was not run.",
        ),
        drawn(
            "keyword-effect",
            "Keyword effect",
            [keywords] if keywords else [],
            "What naming the emotion adds: AUROC on the keyword-rich arm minus the keyword-free "
            "arm.",
            "Missing: the keyword effect needs both arms.",
        ),
        Section("table", "Every figure beside its controls", sections.table(run)),
        Section("manifest", "How it was made", sections.manifest(run)),
        Section("terms", "How to read this page", sections.glossary(run)),
    ]


STUDIES: dict[str, Callable[[Run], list[Section]]] = {"probe": _probe_sections}
"""What the page of each study is made of."""


def _page(run: Run, parts: list[Section]) -> str:
    from plotly.offline import get_plotlyjs

    scripts = [get_plotlyjs(), _asset("page.js")]
    drawings = {figure.key: figure.drawings() for part in parts for figure in part.figures}
    swap = dict(zip(LIGHT.colours, DARK.colours, strict=True))
    model = str(run.manifest.get("model", {}).get("name", "a model without a name"))
    head = joined(
        Html('<meta charset="utf-8">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{_policy(scripts)}">'),
        tag("title", f"Emotion in {model}"),
        tag("style", Html(_asset("page.css"))),
    )
    body = joined(
        tag("a", "Skip to the findings", class_="skip", href="#findings"),
        tag("header", _bar(parts), _title(run, model)),
        tag("main", *[_section(part) for part in parts]),
        tag("footer", tag("p", "Every figure here stands in results.csv of the run’s folder.")),
        json_script("figures", drawings),
        json_script("dark", swap),
        *[tag("script", Html(script)) for script in scripts],
    )
    return "<!doctype html>\n" + tag("html", tag("head", head), tag("body", body), lang="en") + "\n"


def _section(part: Section) -> Html:
    heading = tag("h2", part.heading, id=f"{part.key}-heading")
    return tag("section", heading, part.body, id=part.key, aria_labelledby=f"{part.key}-heading")


def _bar(parts: list[Section]) -> Html:
    links = [
        tag("li", tag("a", part.key.replace("-", " ").capitalize(), href=f"#{part.key}"))
        for part in parts
    ]
    toggle = tag("button", "Dark", type="button", id="theme", aria_pressed="false")
    return tag("div", tag("nav", tag("ol", *links), aria_label="Contents"), toggle, class_="bar")


def _title(run: Run, model: str) -> Html:
    return joined(
        tag("p", "probekit · probes beside what words alone achieve", class_="kind"),
        tag("h1", "Emotion in ", tag("span", model, class_="name")),
        sections.facts(run),
        tag("noscript", tag("p", "The figures need JavaScript; the table below does not.")),
    )


def _policy(scripts: list[str]) -> str:
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    # plotly.js writes styles and draws with data: and blob: images, all of them inside the page.
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _asset(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
