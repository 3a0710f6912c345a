"""One self-contained HTML page of a run: opens offline, asks the network for nothing.

1. `reading` reads any run folder. Each study has a module that makes its page's sections: `probe`
   (with `results`, `figures` and `sections`), `patch` and `ablate` (with `causal`),
   `directions` (with `learned`), `geometry` (with `geometry_rows`).
2. `views` are figures with text summaries, `parts` what the pages of all studies share.
3. Here the sections become one page. Text is escaped where it is put in (`markup`); beyond that,
   the page's own policy lets only its two scripts run, named by their hashes, and forbids every
   request.
"""

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from probekit.errors import unknown
from probekit.plots import DARK, LIGHT
from probekit.report import ablate, directions, geometry, patch, probe
from probekit.report.markup import Html, joined, json_script, tag
from probekit.report.parts import Section, facts
from probekit.report.reading import Recorded, read_folder
from probekit.report.summary import headline_table
from probekit.runs import REPORT, atomic_write

__all__ = ["headline_table", "write_report"]


class Study(NamedTuple):
    """The page of a study: its name, the line above its title, and its sections."""

    name: str
    about: str
    page: Callable[[Recorded], list[Section]]


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
    if recorded.study not in STUDIES:
        raise unknown("study", recorded.study, list(STUDIES))
    page = _page(recorded, STUDIES[recorded.study])
    with atomic_write(run / REPORT) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return run / REPORT


STUDIES = {
    "probe": Study("probing", "probes beside what words alone achieve", probe.page),
    "patch": Study("patching", "what moves when a state of another text is put in", patch.page),
    "ablate": Study("ablation", "what is lost when a unit is taken out", ablate.page),
    "directions": Study("directions", "what a direction tells of new texts", directions.page),
    "geometry": Study("geometry", "how emotions lie to one another", geometry.page),
}
"""What the page of each study says of itself, and what it is made of."""


def _page(run: Recorded, study: Study) -> str:
    from plotly.offline import get_plotlyjs

    parts = study.page(run)
    scripts = [get_plotlyjs(), _asset("page.js")]
    drawings = {figure.key: figure.drawings() for part in parts for figure in part.figures}
    swap = dict(zip(LIGHT.colours, DARK.colours, strict=True))
    model = str(run.manifest.get("model", {}).get("name", "a model without a name"))
    head = joined(
        Html('<meta charset="utf-8">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{_policy(scripts)}">'),
        tag("title", f"Emotion in {model}: {study.name}"),
        tag("style", Html(_asset("page.css"))),
    )
    body = joined(
        tag("a", "Skip to the findings", class_="skip", href="#findings"),
        tag("header", _bar(parts), _title(run, study, model)),
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


def _title(run: Recorded, study: Study, model: str) -> Html:
    return joined(
        tag("p", f"probekit · {study.about}", class_="kind"),
        tag("h1", "Emotion in ", tag("span", model, class_="name")),
        facts(run.manifest),
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
