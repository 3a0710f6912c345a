"""Any run folder as the report reads it: manifest, lines of `results.csv`, coordinates; typed."""

import csv
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from probekit.errors import UserError
from probekit.plots import Estimate
from probekit.runs import COLUMNS, COORDINATES, GRAPHS, MANIFEST, RESULTS, SAMPLES, read_json

if TYPE_CHECKING:
    from probekit.circuits.graph import Graph

NOTHING = Estimate(None)
PLACED = ("site", "pooling", "layer", "id", "arm", "emotion", "domain", "pc1", "pc2")
"""Columns of `coordinates.csv` that are read."""
SAMPLED = ("method", "emotion", "dose", "prompt", "asked", "judged", "incoherent", "text")
"""Columns of `samples.csv` that are read."""
Read = TypeVar("Read")


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
    judge: str
    metric: str
    estimate: Estimate = NOTHING
    p: float | None = None
    q: float | None = None
    n: int | None = None
    clusters: int | None = None
    dose: float | None = None

    @property
    def key(self) -> tuple[Any, ...]:
        """What the figure is of, without its split and without the figure."""
        return (self.set, *self[2:16], self.dose)


class Place(NamedTuple):
    """Where a text stands on the first two principal components of one layer."""

    site: str
    pooling: str
    layer: int
    id: str
    arm: str
    emotion: str
    domain: str
    x: float
    y: float


class Recorded(NamedTuple):
    """A run's manifest and lines, its coordinates and texts; `None` where there is no such file.

    Graphs are those of its folder, by name; most runs have none.
    """

    manifest: dict[str, Any]
    lines: tuple[Line, ...]
    places: tuple[Place, ...] | None = None
    samples: tuple[dict[str, str], ...] | None = None
    graphs: tuple["Graph", ...] = ()

    @property
    def study(self) -> str:
        """The name of the study, as the manifest gives it."""
        return str(self.manifest.get("study"))


def read_folder(folder: Path) -> Recorded:
    """Read `manifest.json`, `results.csv` and, where there are any, further files of a run.

    Raises:
        UserError: a file is missing or broken; the message names the file, and the line of a row.
    """
    for name in (MANIFEST, RESULTS):
        if not (folder / name).is_file():
            raise UserError(f"{folder} has no {name}: give the folder of a finished run")
    manifest = read_json(folder / MANIFEST)
    if not isinstance(manifest, dict):
        raise UserError(f"{folder / MANIFEST} is not a JSON object: run again")
    lines = tuple(_read_rows(folder / RESULTS, COLUMNS, _read_line))
    places = samples = None
    if (folder / COORDINATES).is_file():
        places = tuple(_read_rows(folder / COORDINATES, PLACED, _read_place))
    if (folder / SAMPLES).is_file():
        samples = tuple(_read_rows(folder / SAMPLES, SAMPLED, _read_sample))
    return Recorded(manifest, lines, places, samples, _read_graphs(folder / GRAPHS))


def twice(line: Line) -> UserError:
    """For a figure that `results.csv` gives more than once."""
    given = ", ".join(str(part) for part in line.key if part not in ("", None))
    return UserError(f"{RESULTS} gives one figure twice ({given}): run again")


def _read_rows(
    path: Path, columns: Iterable[str], read: Callable[[dict[str, str]], Read]
) -> Iterable[Read]:
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if absent := [name for name in columns if name not in (reader.fieldnames or ())]:
            raise UserError(f"{path} lacks the columns {', '.join(absent)}: run again")
        for cells in reader:
            try:
                yield read(cells)
            except (ValueError, TypeError) as error:
                raise UserError(f"{path}, line {reader.line_num}: {error}") from error


def _read_graphs(folder: Path) -> tuple["Graph", ...]:
    files = sorted(folder.glob("*.json"))
    if not files:
        return ()
    # Not before it is needed: it brings torch along.
    from probekit.circuits.graph import Graph

    return tuple(map(Graph.load, files))


def _read_line(cells: dict[str, str]) -> Line:
    def real(name: str) -> float | None:
        return float(cells[name]) if cells[name] else None

    def whole(name: str) -> int | None:
        return int(cells[name]) if cells[name] else None

    figures = {"estimate", "layer", "k", "p", "q", "n", "clusters", "dose"}
    return Line(
        **{name: cells[name] for name in Line._fields if name not in figures},
        layer=whole("layer"),
        k=whole("k"),
        estimate=Estimate(real("value"), real("low"), real("high")),
        p=real("p"),
        q=real("q"),
        n=whole("n"),
        clusters=whole("clusters"),
        dose=real("dose"),
    )


def _read_sample(cells: dict[str, str]) -> dict[str, str]:
    if None in cells.values() or None in cells:
        raise ValueError("the line has too few or too many cells")
    return dict(cells)


def _read_place(cells: dict[str, str]) -> Place:
    named = {name: cells[name] for name in ("site", "pooling", "id", "arm", "emotion", "domain")}
    # A line that was cut off has no text in its last cells.
    if None in named.values():
        raise ValueError("the line is incomplete")
    x, y = float(cells["pc1"]), float(cells["pc2"])
    if not (math.isfinite(x) and math.isfinite(y)):
        raise ValueError(f"a coordinate is not finite ({x}, {y})")
    return Place(**named, layer=int(cells["layer"]), x=x, y=y)
