"""Any run folder as the report reads it: the manifest, and every line of `results.csv`, typed."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from probekit.errors import UserError
from probekit.plots import Estimate
from probekit.runs import COLUMNS, MANIFEST, RESULTS, read_json

NOTHING = Estimate(None)


class Line(NamedTuple):
    """One line of `results.csv`; a name is empty and a figure `None` where its cell is empty."""

    set: str
    split: str
    task: str
    site: str
    layer: int | None
    unit: str
    position: str
    pooling: str
    source: str
    target: str
    emotion: str
    condition: str
    method: str
    k: int | None
    metric: str
    estimate: Estimate = NOTHING
    p: float | None = None
    q: float | None = None
    n: int | None = None
    clusters: int | None = None

    @property
    def key(self) -> tuple[Any, ...]:
        """What the figure is of, without its split and without the figure."""
        return (self.set, *self[2:15])


class Recorded(NamedTuple):
    """A run's manifest and lines."""

    manifest: dict[str, Any]
    lines: tuple[Line, ...]

    @property
    def study(self) -> str:
        """The name of the study, as the manifest gives it."""
        return str(self.manifest.get("study"))


def read_folder(folder: Path) -> Recorded:
    """Read `manifest.json` and `results.csv` of a run folder.

    Raises:
        UserError: a file is missing or broken; the message names the file, and the line of a row.
    """
    for name in (MANIFEST, RESULTS):
        if not (folder / name).is_file():
            raise UserError(f"{folder} has no {name}: give the folder of a finished run")
    manifest = read_json(folder / MANIFEST)
    if not isinstance(manifest, dict):
        raise UserError(f"{folder / MANIFEST} is not a JSON object: run again")
    return Recorded(manifest, tuple(_read_lines(folder / RESULTS)))


def twice(line: Line) -> UserError:
    """For a figure that `results.csv` gives more than once."""
    given = ", ".join(str(part) for part in line.key if part not in ("", None))
    return UserError(f"{RESULTS} gives one figure twice ({given}): run again")


def _read_lines(path: Path) -> Iterable[Line]:
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if absent := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
            raise UserError(f"{path} lacks the columns {', '.join(absent)}: run again")
        for cells in reader:
            try:
                yield _read_line(cells)
            except (ValueError, TypeError) as error:
                raise UserError(f"{path}, line {reader.line_num}: {error}") from error


def _read_line(cells: dict[str, str]) -> Line:
    def real(name: str) -> float | None:
        return float(cells[name]) if cells[name] else None

    def whole(name: str) -> int | None:
        return int(cells[name]) if cells[name] else None

    figures = {"estimate", "layer", "k", "p", "q", "n", "clusters"}
    return Line(
        **{name: cells[name] for name in Line._fields if name not in figures},
        layer=whole("layer"),
        k=whole("k"),
        estimate=Estimate(real("value"), real("low"), real("high")),
        p=real("p"),
        q=real("q"),
        n=whole("n"),
        clusters=whole("clusters"),
    )
