"""The frame of a page: one self-contained HTML file that asks the network for nothing.

Text is escaped where it is put in (`markup`); beyond that, the page's own policy lets only its
scripts run, named by their hashes, and forbids every request.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from probekit.plots import DARK, LIGHT
from probekit.report.markup import Html, joined, json_script, tag
from probekit.report.parts import Section


class Frame(NamedTuple):
    """What stands around the sections of a page.

    Attributes:
        title: of the browser's tab.
        top: markup above the sections, with the page's one `h1`.
        skip: where the link for keyboards leads: its text, and the key of a section.
        foot: a sentence at the end.
        assets: names of further files beside this one whose text is a script or, ending in
            ".css", a style of this page.
        data: for those scripts, by the id of the element that holds it.
    """

    title: str
    top: Html
    skip: tuple[str, str]
    foot: str
    assets: Sequence[str] = ()
    data: Mapping[str, Any] = {}


def page(frame: Frame, parts: list[Section]) -> str:
    """The whole page. Plotly is in it only if a section has a figure."""
    drawings = {figure.key: figure.drawings() for part in parts for figure in part.figures}
    scripts = [_plotly()] if drawings else []
    scripts += map(_asset, ["page.js", *(name for name in frame.assets if name.endswith(".js"))])
    styles = ["page.css", *(name for name in frame.assets if name.endswith(".css"))]
    swap = dict(zip(LIGHT.colours, DARK.colours, strict=True))
    head = joined(
        Html('<meta charset="utf-8">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{_policy(scripts)}">'),
        tag("title", frame.title),
        *[tag("style", Html(_asset(name))) for name in styles],
    )
    body = joined(
        tag("a", frame.skip[0], class_="skip", href=f"#{frame.skip[1]}"),
        tag("header", _bar(parts), frame.top),
        tag("main", *[_section(part) for part in parts]),
        tag("footer", tag("p", frame.foot)),
        json_script("figures", drawings),
        json_script("dark", swap),
        *[json_script(name, value) for name, value in frame.data.items()],
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


def _policy(scripts: list[str]) -> str:
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    # plotly.js writes styles and draws with data: and blob: images, all of them inside the page.
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


def _asset(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
