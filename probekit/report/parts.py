"""The parts of a page that every study shares: facts, figures, tables, manifest, terms."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from probekit.plots import MISSING, Estimate
from probekit.report.markup import Html, joined, tag
from probekit.report.views import Figure
from probekit.report.words import capital

Table = tuple[str, tuple[str, ...], list[tuple[str, ...]]]
"""For a terminal: title, column names and rows; a row of one cell alone names the rows below it."""


class Section(NamedTuple):
    """A part of the page with a heading, and the figures that its body has places for."""

    key: str
    heading: str
    body: Html
    figures: tuple[Figure, ...] = ()


def drawing(
    key: str, heading: str, found: Iterable[Figure | None], intro: str, absent: str
) -> Section:
    """A section of figures under a sentence, or of what is missing and why."""
    figures = tuple(made for made in found if made)
    if not figures:
        return Section(key, heading, missing(absent))
    titled = [
        tag("div", tag("h3", f.title) if len(figures) > 1 else "", f.markup()) for f in figures
    ]
    body = joined(tag("p", intro), tag("div", *titled, class_="figures"))
    return Section(key, heading, body, figures)


def facts(manifest: Mapping[str, Any]) -> Html:
    """What was studied, in a few words each; a fact that the manifest lacks is left out."""
    model = manifest.get("model", {})
    stimuli = manifest.get("stimuli", [])
    given = {
        "Architecture": model.get("architecture"),
        "Layers": model.get("n_layers"),
        "Width": model.get("d_model"),
        "Precision": model.get("dtype"),
        "Weights": model.get("quantisation_note"),
        "Stimuli": ", ".join(f"{s.get('name')} ({s.get('rows', MISSING)} rows)" for s in stimuli),
        "Seed": manifest.get("seed"),
    }
    kept = {name: str(value) for name, value in given.items() if value not in (None, "")}
    pairs = [tag("div", tag("dt", name), tag("dd", value)) for name, value in kept.items()]
    return tag("dl", *pairs, class_="facts")


def shown(estimate: Estimate, *, signed: bool = False, digits: int = 2) -> Html:
    """A figure in a sentence: the value in bold, its interval behind it."""
    value, *interval = estimate.text(signed=signed, digits=digits).split(" ", 1)
    return tag("span", tag("b", value), *[f" {part}" for part in interval], class_="figure")


def found(lead: str, items: Sequence[Html]) -> Html:
    """One sentence on top, and the findings under it."""
    return joined(tag("p", lead, class_="lead"), tag("ul", *items, class_="findings"))


def missing(text: str) -> Html:
    """What this run does not hold, and why."""
    return tag("p", text, class_="absent")


def notes(manifest: Mapping[str, Any]) -> list[str]:
    """What the study itself noted."""
    return [str(note) for note in manifest.get("notes") or ()]


def noted(texts: Sequence[str]) -> Html:
    """A plain list of those texts that there are."""
    return tag("ul", *[tag("li", text) for text in texts if text], class_="cautions")


def scrolling(
    columns: Sequence[str], groups: Sequence[Html], caption: str, key: str = "table"
) -> Html:
    """A table in a box that the keyboard can scroll; its groups are `tbody` elements.

    `key` tells the tables of one page apart.
    """
    head = tag("tr", *[tag("th", name, scope="col") for name in columns])
    named = tag("caption", tag("span", caption), id=f"{key}-caption")
    inner = tag("table", named, tag("thead", head), *groups)
    return tag(
        "div", inner, class_="scroll", tabindex="0", role="region", aria_labelledby=f"{key}-caption"
    )


def group(name: str, lines: Sequence[Html], width: int) -> Html:
    """Lines of a table under their name, which spans it and its `width` further columns."""
    heading = tag("th", name, scope="rowgroup", colspan=str(width + 1))
    return tag("tbody", tag("tr", heading, class_="group"), *lines)


def line(name: str, cells: Sequence[str], class_: str | None = None) -> Html:
    """A line of a table."""
    figures = [tag("td", cell) for cell in cells]
    return tag("tr", tag("th", name, scope="row"), *figures, class_=class_)


def manifest(given: Mapping[str, Any]) -> Html:
    """The manifest as it is in the run folder."""
    text = json.dumps(given, indent=2, ensure_ascii=False)
    code = tag("pre", tag("code", text), tabindex="0", role="region", aria_label="manifest.json")
    return tag("details", tag("summary", "manifest.json"), code)


def glossary(given: Sequence[tuple[str, str]]) -> Html:
    """Terms of the page and what they mean."""
    terms = [joined(tag("dt", term), tag("dd", capital(meaning))) for term, meaning in given]
    return tag("dl", *terms)
