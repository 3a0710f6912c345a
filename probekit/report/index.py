"""One page that gathers the headlines of several runs of one study."""

from collections.abc import Sequence
from pathlib import Path

from probekit.report import headline_table, write_report
from probekit.report.markup import Html, joined, tag
from probekit.runs import atomic_write

STYLE = "body{font:16px/1.5 system-ui;max-width:70rem;margin:2rem auto;padding:0 1rem}"
STYLE += "table{border-collapse:collapse;font-size:14px}td,th{padding:.2rem .6rem;text-align:left}"


def write_index(out: Path, title: str, parts: Sequence[tuple[str, Path]]) -> Path:
    """Write every part's page, and `index.html` with their headlines and links.

    Args:
        out: a folder above those of the parts.
        parts: a title and a run folder each.

    Returns:
        The page.
    """
    body = [tag("h1", title)]
    for name, folder in parts:
        page = write_report(folder)
        caption, columns, rows = headline_table(folder)
        link = tag("a", "the whole page", href=page.relative_to(out).as_posix())
        head = tag("tr", *[tag("th", column) for column in columns])
        lines = [tag("tr", *[tag("td", cell) for cell in row]) for row in rows]
        body += [tag("h2", name), tag("p", caption, " (", link, ")"), tag("table", head, *lines)]
    head = tag("head", Html('<meta charset="utf-8">'), tag("title", title), tag("style", STYLE))
    page = "<!doctype html>\n" + tag("html", head, tag("body", joined(*body)), lang="en")
    with atomic_write(out / "index.html") as temporary:
        temporary.write_text(page, encoding="utf-8")
    return out / "index.html"
