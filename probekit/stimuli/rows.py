"""One stimulus: a text and its factors, and what is refused in a row."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from probekit.errors import UserError, unknown
from probekit.stimuli.reading import locate, stream_rows, unit
from probekit.stimuli.schemas import adapt

ARMS = ("keyword_free", "keyword_rich", "neutral")
"""The texts of a scenario: emotional without emotion words, with them, and neutral."""


@dataclass(frozen=True)
class Stimulus:
    """A text with its factors; a factor that does not apply is the empty string.

    `extra` holds every further column of the file as it was read, empty cells left out.
    """

    id: str
    text: str
    set: str = ""
    arm: str = ""
    emotion: str = ""
    valence: str = ""
    domain: str = ""
    scenario: str = ""
    pair: str = ""
    quad: str = ""
    context: str = ""
    outcome: str = ""
    person: str = ""
    intensity: str = ""
    split: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)


COLUMNS = tuple(column.name for column in fields(Stimulus) if column.name != "extra")
"""The columns with a meaning of their own, in their order."""


def stream_texts(name_or_path: str | Path) -> Iterator[tuple[str, str]]:
    """Stream (id, text) pairs; where a file has no ids they are the row numbers, from "1".

    Rows are held one at a time; of a file with ids, the ids seen are remembered.

    Raises:
        UserError: as `stream_rows`; no text, an empty text, an id that came before.
    """
    path = locate(name_or_path)
    rows = adapt(path, stream_rows(path))
    return ((identity, text) for _, identity, text, _ in identified(path, rows))


def identified(
    path: Path, rows: Iterator[tuple[int, dict[str, Any]]], *, unique: bool = True
) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """(place, id, text, row) of every row, the text there and the id unique.

    Args:
        unique: ids are remembered, and one that came before is refused; False holds one row.
    """
    seen: dict[str, int] = {}
    first_named = False
    for count, (number, row) in enumerate(rows, start=1):
        where = f"{path}, {unit(path)} {number}"
        text, given = _text(where, row), row.get("id")
        named = given is not None and given != ""
        first_named = named if count == 1 else first_named
        if named != first_named:
            raise UserError(
                f"{where}: {'an' if named else 'no'} id, unlike the rows before: "
                "give every row an id, or none"
            )
        identity = _identity(where, given) if named else str(count)
        if identity in seen:
            raise UserError(
                f"{where}: the id {identity!r} stands already in {unit(path)} {seen[identity]}: "
                "give each row its own"
            )
        if named and unique:
            seen[identity] = number
        yield where, identity, text, row


def stimulus(where: str, identity: str, text: str, row: Mapping[str, Any]) -> Stimulus:
    """The `Stimulus` of a row, `where` being its place in error messages.

    Raises:
        UserError: a factor that is no string, an unknown arm.
    """
    given = {key: value for key, value in row.items() if value is not None and value != ""}
    factors = {name: given[name] for name in COLUMNS[2:] if name in given}
    for name, value in factors.items():
        if not isinstance(value, str):
            raise UserError(
                f"{where}: {name!r} is {value!r} ({type(value).__name__}), not a string: "
                "labels are words, and a number goes in quotes"
            )
    if (arm := factors.get("arm")) and arm not in ARMS:
        raise UserError(f"{where}: {unknown('arm', arm, ARMS)}, or leave it empty")
    extra = {key: value for key, value in given.items() if key not in COLUMNS}
    return Stimulus(id=identity, text=text, **factors, extra=extra)


def _text(where: str, row: Mapping[str, Any]) -> str:
    if "text" not in row:
        raise UserError(
            f"{where}: no column 'text' (it has {', '.join(map(repr, row)) or 'none'}): "
            "name the column of texts 'text'"
        )
    text = row["text"]
    if text is None or (isinstance(text, str) and not text.strip()):
        raise UserError(f"{where}: 'text' is empty: write a text, or take the row out")
    if not isinstance(text, str):
        raise UserError(
            f"{where}: 'text' is {text!r} ({type(text).__name__}), not a string: put it in quotes"
        )
    return text


def _identity(where: str, given: Any) -> str:
    if isinstance(given, bool) or not isinstance(given, (str, int)):
        raise UserError(
            f"{where}: 'id' is {given!r} ({type(given).__name__}): give a string or a whole number"
        )
    return str(given)
