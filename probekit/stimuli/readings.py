"""Blind readings: what readers who did not see the label took a text to be about.

A readings file has one row for each reader and text: `text_sha256` (the first 12 hex digits of the
text's SHA-256, which ties a reading to the very words that were read), `reader`, `round`,
`emotion` (one of `CHOICES`), and optionally `second`, `valence` and `arousal` (1 to 9), `note`.
Where two people of one text are asked about, `about` is `a` or `b`.
"""

import csv
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from probekit.errors import UserError, unknown
from probekit.stimuli.reading import stream_rows, unit
from probekit.stimuli.rows import Stimulus

NOTHING = "nothing_much"
INTENSE = (
    "rage",
    "grief",
    "terror",
    "ecstasy",
    "loathing",
    "amazement",
    "admiration",
    "vigilance",
)
"""The intense ring of Plutchik's wheel: the emotions that the sets and the judges share."""
BASIC = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
"""Ekman's six."""
BESIDE = (NOTHING, "other")
CHOICES = (*INTENSE, "relief", "amusement", "gratitude", *BASIC, *BESIDE)
"""What readers choose from: the labels of the shipped sets, nothing much, something else."""
COLUMNS = (
    "id",
    "text_sha256",
    "round",
    "reader",
    "kind",
    "about",
    "emotion",
    "second",
    "valence",
    "arousal",
    "note",
)
"""Columns of a readings file; `kind` is "person" or "language_model"."""
SCALE = (1.0, 9.0)
READ_COLUMNS = tuple(
    f"{name}{about}"
    for about in ("", "_a", "_b")
    for name in ("read_emotion", "readers", "read_valence", "read_arousal")
)
"""Columns that `summarise` adds to rows."""


def offered(emotions: Iterable[str]) -> tuple[str, ...]:
    """The choices for a reader of texts with these emotions: of one family, never of both."""
    basic = bool(set(emotions) & set(BASIC))
    return tuple(c for c in CHOICES if c in BESIDE or (c in BASIC) == basic)


def text_hash(text: str) -> str:
    """The first 12 hex digits of a text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Reading:
    """One reader's answer to one text; a rating that was not given is NaN."""

    text_sha256: str
    reader: str
    round: int
    emotion: str
    kind: str = "person"
    about: str = ""
    second: str = ""
    valence: float = np.nan
    arousal: float = np.nan
    note: str = ""
    id: str = ""


def read_readings(path: Path) -> list[Reading]:
    """The readings of a CSV file.

    Raises:
        UserError: a row lacks a column, or holds an answer that was not on offer.
    """
    return [_reading(f"{path}, {unit(path)} {number}", row) for number, row in stream_rows(path)]


def _reading(where: str, row: dict[str, str]) -> Reading:
    for name in ("text_sha256", "reader", "emotion"):
        if not row.get(name):
            raise UserError(f"{where}: no {name!r}: give text_sha256, reader and emotion")
    for name in ("emotion", "second"):
        if row.get(name) and row[name] not in CHOICES:
            raise UserError(f"{where}: {unknown(name, row[name], CHOICES)}")
    try:
        ratings = {
            name: float(row[name]) if row.get(name) else np.nan for name in ("valence", "arousal")
        }
        count = int(row.get("round") or 1)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: {error}: give numbers") from error
    if (about := row.get("about") or "") not in ("", "a", "b"):
        raise UserError(f"{where}: {unknown('about', about, ['a', 'b'])}, or leave it empty")
    for name, value in ratings.items():
        if not (np.isnan(value) or SCALE[0] <= value <= SCALE[1]):
            raise UserError(f"{where}: {name} is {value:g}: the scale is 1 to 9")
    return Reading(
        text_sha256=str(row["text_sha256"])[:12].lower(),
        reader=row["reader"],
        round=count,
        emotion=row["emotion"],
        kind=row.get("kind") or "person",
        about=about,
        second=row.get("second") or "",
        valence=ratings["valence"],
        arousal=ratings["arousal"],
        note=row.get("note") or "",
        id=row.get("id") or "",
    )


def write_readings(path: Path, readings: Iterable[Reading]) -> None:
    """Write readings with exactly `COLUMNS`, atomically."""
    from probekit.runs import atomic_write, cell

    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for reading in readings:
            writer.writerow([cell(getattr(reading, name)) for name in COLUMNS])


def summarise(
    texts: Sequence[Stimulus], readings: Iterable[Reading]
) -> dict[str, dict[str, object]]:
    """Columns that readings add to a row, by its id.

    `read_emotion` is the choice of most readers (empty on a tie), `read_valence` and
    `read_arousal` are means over readers, `readers` counts them; about one of two people, the
    names end in `_a` or `_b`. Readings of the text as it stands count, whatever their round.
    """
    by_text: dict[tuple[str, str], dict[str, Reading]] = {}
    # A reader who read a text again is one reader still: the last round counts.
    for reading in sorted(readings, key=lambda reading: reading.round):
        by_text.setdefault((reading.text_sha256, reading.about), {})[reading.reader] = reading
    added: dict[str, dict[str, object]] = {}
    for row in texts:
        for about in ("", "a", "b"):
            if given := by_text.get((text_hash(row.text), about)):
                end = f"_{about}" if about else ""
                columns = _columns(list(given.values()))
                told = {f"{name}{end}": value for name, value in columns.items()}
                added.setdefault(row.id, {}).update(told)
    return added


def _columns(given: list[Reading]) -> dict[str, object]:
    ranked = Counter(reading.emotion for reading in given).most_common()
    tie = len(ranked) > 1 and ranked[0][1] == ranked[1][1]
    columns: dict[str, object] = {
        "read_emotion": "" if tie else ranked[0][0],
        "readers": len(given),
    }
    for name in ("valence", "arousal"):
        values = [getattr(reading, name) for reading in given]
        known = [value for value in values if not np.isnan(value)]
        if known:
            columns[f"read_{name}"] = float(np.mean(known))
    return columns


def matrix(
    readings: Sequence[Reading], column: str
) -> tuple[list[tuple[str, str]], NDArray[np.float64]]:
    """Items (text hash, person asked about), and `[rater, item]` values, NaN where none is given.

    Labels are numbered by their place in `CHOICES`.
    """
    items = list(dict.fromkeys((reading.text_sha256, reading.about) for reading in readings))
    raters = list(dict.fromkeys(reading.reader for reading in readings))
    table = np.full((len(raters), len(items)), np.nan)
    place = {item: number for number, item in enumerate(items)}
    for reading in readings:
        given = getattr(reading, column)
        value = CHOICES.index(given) if isinstance(given, str) else given
        table[raters.index(reading.reader), place[reading.text_sha256, reading.about]] = value
    return items, table
