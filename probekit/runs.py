"""A run folder: `manifest.json`, tidy `results.csv`, and files that are whole or not there."""

import csv
import hashlib
import json
import math
import os
import platform
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from probekit.errors import UserError

COLUMNS = (
    "study",
    "model",
    "set",
    "split",
    "task",
    "site",
    "layer",
    "unit",
    "position",
    "pooling",
    "source",
    "target",
    "emotion",
    "condition",
    "method",
    "k",
    "dose",
    "judge",
    "metric",
    "value",
    "low",
    "high",
    "p",
    "q",
    "n",
    "clusters",
    "seed",
)
"""The columns of every `results.csv`; a cell is empty where a column has no meaning."""

MANIFEST, RESULTS, REPORT = "manifest.json", "results.csv", "report.html"
COORDINATES = "coordinates.csv"
"""Where each text stands on the first principal components, in a run that has them."""
SAMPLES = "samples.csv"
"""Every text that was written, in a run that has some."""
GRAPHS = "graphs"
"""Folder of what parts of the model feed one another, in a run that has it."""
STAGES = "stages"

VERSIONED = (
    "emotion-probekit",
    "torch",
    "transformers",
    "transformer-lens",
    "scikit-learn",
    "numpy",
)

Progress = Callable[[str, float, float], None]
"""Called with what is being done, how much of it is done, and how much there is."""


def cache_home() -> Path:
    """The folder of fetched models and captured activations; `PROBEKIT_CACHE` moves it."""
    moved = os.environ.get("PROBEKIT_CACHE")
    if moved:
        return Path(moved).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("probekit")


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's bytes, read as a stream."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: Any) -> str:
    """Hex SHA-256 of a JSON-able value in canonical form: the key of caches and stages."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it is fsynced and renamed into place.

    Whatever is raised inside, `path` is left as it was and the temporary file is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give an empty temporary folder beside `path`; on success it is renamed into place."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented UTF-8 JSON, atomically."""
    with atomic_write(path) as temporary:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file; a broken one is a `UserError` that names it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not readable JSON ({error}); move it away") from error


def cell(value: Any) -> str:
    """A figure as `results.csv` holds it: six significant digits, a missing one is empty."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def write_results(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write tidy rows with exactly `COLUMNS`, atomically.

    Raises:
        KeyError: a row has a column that `COLUMNS` does not name.
    """
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in rows:
            if strange := set(row) - set(COLUMNS):
                raise KeyError(f"not a column of results.csv: {sorted(strange)}")
            writer.writerow([cell(row.get(column)) for column in COLUMNS])


def counting(progress: Progress, stage: str, total: int = 0) -> Callable[[int], None]:
    """A function that is told how many items were just finished, and passes on their sum."""
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress(stage, done, total)

    return advance


def stage(folder: Path, key: Mapping[str, Any], make: Callable[[], Any]) -> Any:
    """The JSON-able result of `make`, kept in the run folder under the digest of its key.

    A run that was killed finds its finished stages again. The key of a stage holds the keys of
    what it was made from, so that a change upstream makes it anew.
    """
    path = folder / STAGES / f"{digest(key)[:24]}.json"
    if path.exists():
        return read_json(path)
    made = without_nan(make())
    write_json(path, made)
    return made


def without_nan(value: Any) -> Any:
    """The value with None for every NaN: JSON has no word for a figure that is missing."""
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, Mapping):
        return {key: without_nan(inner) for key, inner in value.items()}
    return [without_nan(inner) for inner in value] if isinstance(value, list | tuple) else value


def open_run(folder: Path, identity: Mapping[str, Any]) -> None:
    """Make or reopen a run folder for the job that `identity` describes.

    The identity is what the run *is* (study, model, stimuli, options), kept in the manifest; a
    folder that holds another run is refused before anything is written.

    Raises:
        UserError: `folder` is a file, or holds another run, or holds files but no run.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--out {folder} is a file: give a folder")
    manifest = folder / MANIFEST
    if manifest.exists():
        was = read_json(manifest).get("identity", {})
        now = json.loads(json.dumps(identity))
        if differing := sorted(key for key in {*was, *now} if was.get(key) != now.get(key)):
            raise UserError(
                f"{folder} holds another run (it differs in {', '.join(differing)}): "
                "give a new --out, or delete the folder"
            )
    elif folder.exists() and any(path.name != STAGES for path in folder.iterdir()):
        raise UserError(f"{folder} is not empty and holds no run: give a new --out")
    else:
        write_json(manifest, {"identity": identity, "complete": False})


def manifest(
    study: str,
    *,
    model: Mapping[str, Any],
    stimuli: Iterable[Mapping[str, Any]],
    command: str,
    seed: int,
    identity: Mapping[str, Any],
    **more: Any,
) -> dict[str, Any]:
    """The manifest of a finished run: what made it, with versions; no path of this machine.

    Args:
        model: from `Model.describe`.
        stimuli: name, sha256 and number of rows of each set.
        command: what the user typed.
        more: what this study adds.
    """
    return {
        "study": study,
        "complete": True,
        "created_with": {"python": platform.python_version(), **{n: version(n) for n in VERSIONED}},
        "machine": f"{platform.system()} {platform.machine()}",
        "command": command,
        "seed": seed,
        "model": {**model, "quantisation_note": "; ".join(model["notes"])},
        **more,
        "stimuli": list(stimuli),
        "identity": identity,
    }
