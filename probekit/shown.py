"""How objects show themselves in a notebook: a caption, facts, and small tables.

Nothing here fixes a colour: text and ground are the page's own, light or dark, and lines are a
faint mix of the text's colour. Every value is escaped.
"""

from collections.abc import Mapping, Sequence

from probekit.markup import Html, tag

LINE = "border-bottom:1px solid color-mix(in srgb, currentColor 25%, transparent)"
CELL = f"text-align:left;vertical-align:top;padding:.15em 1em .15em 0;{LINE}"
TABLE = "border-collapse:collapse;font-variant-numeric:tabular-nums;margin:.3em 0"
CAPTION = "font-weight:600"
LONGEST = 240
"""Characters that are shown of a text, and the most rows of a table: see `short` and `grid`."""
ROWS = 24


def card(caption: str, facts: Mapping[str, object], *parts: Html) -> Html:
    """A caption, facts under it (those that are neither None nor empty), and what follows them."""
    kept = [(name, value) for name, value in facts.items() if value not in (None, "")]
    lines = [tag("tr", _heading(name), tag("td", _text(value), style=CELL)) for name, value in kept]
    # No <caption>: a table's own is no wider than the table, and wraps above a narrow one.
    table = tag("table", *lines, style=TABLE, aria_label=caption)
    return tag("div", tag("div", caption, style=CAPTION), table, *parts, style="overflow-x:auto")


def grid(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Html:
    """A compact table; a row of one cell alone names the rows below it.

    Of a long one the first rows, and how many there are.
    """
    head = tag("tr", *[tag("th", name, scope="col", style=CELL) for name in columns])
    width = str(len(columns))
    shown = [_row(row, width) for row in rows[:ROWS]]
    if len(rows) > ROWS:
        shown.append(_row([f"… the first {ROWS} of {len(rows)} rows"], width))
    return tag("table", tag("thead", head), tag("tbody", *shown), style=TABLE)


def counted(names: Sequence[object], most: int = 12) -> str:
    """How many names there are, and the first of them: "3: fear, joy, sadness"."""
    rest = ", …" if len(names) > most else ""
    return f"{len(names)}: {', '.join(map(str, names[:most]))}{rest}"


def numbered(numbers: Sequence[int]) -> str:
    """Numbers of layers, consecutive ones from first to last: "30: 0 to 29"."""
    if len(numbers) > 2 and list(numbers) == list(range(numbers[0], numbers[-1] + 1)):
        return f"{len(numbers)}: {numbers[0]} to {numbers[-1]}"
    return counted(numbers)


def sized(count: int) -> str:
    """Bytes as a person says them: "6.2 MB"; a megabyte is a million."""
    size, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 999.5:
            break
        size, unit = size / 1000, larger
    return f"{size:.3g} {unit}"


def short(text: str) -> str:
    """The start of a text on one line."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def _heading(name: str, **attributes: str) -> Html:
    return tag("th", name, scope="row", style=f"{CELL};font-weight:400;opacity:.75", **attributes)


def _row(cells: Sequence[object], width: str) -> Html:
    first, *others = cells
    if not others:
        return tag("tr", _heading(_text(first), colspan=width))
    figures = [tag("td", _text(value), style=CELL) for value in others]
    return tag("tr", tag("th", _text(first), scope="row", style=CELL), *figures)


def _text(value: object) -> str:
    return value if isinstance(value, str) else str(value)
