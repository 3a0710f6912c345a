"""Rows from files, one at a time: JSONL, CSV, TSV, Parquet, and Hugging Face `datasets`.

A dataset is a folder saved by `save_to_disk`, or, when its address is given, one of the Hub:
`hf://datasets/OWNER/NAME/SPLIT`.
"""

import csv
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, cast

from probekit.errors import UserError
from probekit.runs import atomic_folder, cache_home

NumberedRow: TypeAlias = tuple[int, dict[str, Any]]
"""The number of a line (JSONL, CSV: the line where the row starts) or row, from 1; and the row."""

LONGEST_CELL = 1 << 30
"""Characters of a CSV cell; the csv module's own limit is 131,072."""
BATCH = 1024
"""Rows that are held at once where a format is read in batches."""

ACCEPTED = (
    "a .jsonl, .csv, .tsv or .parquet file, a folder saved by datasets' save_to_disk, or "
    "hf://datasets/OWNER/NAME/SPLIT"
)
HUB = "hf://datasets/"


def shipped() -> list[str]:
    """Names of the sets that come with probekit."""
    return sorted(file.parent.name for file in home().glob("*/stimuli.jsonl"))


def locate(name_or_path: str | Path) -> Path:
    """The file or folder that a shipped name or a path means; the name wins over a like-named path.

    Raises:
        UserError: it is neither.
    """
    if name_or_path in shipped():
        return home() / name_or_path / "stimuli.jsonl"
    if str(name_or_path).startswith(HUB):
        return _from_hub(str(name_or_path))
    path = Path(name_or_path)
    if (path / "stimuli.jsonl").is_file():
        return path / "stimuli.jsonl"
    if not path.exists():
        raise UserError(
            f"no stimulus set and no file {str(name_or_path)!r}: "
            f"give {', '.join(shipped())}, or the path of {ACCEPTED}"
        )
    return path


def stream_rows(name_or_path: str | Path) -> Iterator[NumberedRow]:
    """Stream the rows of a file in bounded memory, whatever its size.

    Nothing is asked of a row but that it has named columns. A name or an extension that is not
    accepted is refused at once, everything else when the row is reached.

    Raises:
        UserError: no such file, an unknown extension, an empty or unreadable file, a broken row.
    """
    path = locate(name_or_path)
    read = _read_dataset if path.is_dir() else READERS.get(path.suffix.lower())
    if read is None:
        raise UserError(f"{path} has the extension {path.suffix!r}: accepted is {ACCEPTED}")
    return _guarded(path, read)


def unit(path: Path) -> str:
    """What the numbers of `stream_rows` count in this file: its lines or its rows."""
    return "line" if path.suffix.lower() in (".jsonl", ".csv", ".tsv") else "row"


def home() -> Path:
    """The folder of shipped sets: inside an installed wheel, else beside the package."""
    package = Path(__file__).parents[1]
    installed = package / "_stimuli"
    return installed if installed.is_dir() else package.parent / "stimuli"


def _guarded(path: Path, read: Callable[[Path], Iterator[NumberedRow]]) -> Iterator[NumberedRow]:
    """The rows of `path`, with an error for a file that has none or that the system refuses."""
    empty = True
    try:
        for numbered in read(path):
            empty = False
            yield numbered
    except OSError as error:
        raise UserError(f"cannot read {path} ({error}): give a whole, readable file") from error
    if empty:
        raise UserError(f"{path} holds no row: give at least one, with a column 'text'")


def _read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number, line with its end), decoded line by line so that a bad byte can be located."""
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{path}, line {number}: not UTF-8 (byte {error.start + 1} of the line, "
                    f"offset {offset + error.start} in the file): save the file as UTF-8"
                ) from error
            offset += len(line)


def _read_jsonl(path: Path) -> Iterator[NumberedRow]:
    for number, line in _read_lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            # An escaped half of a surrogate pair is JSON, but no text: no tokenizer takes it.
            json.dumps(row, ensure_ascii=False).encode()
        except (ValueError, RecursionError) as error:
            raise UserError(
                f"{path}, line {number}: broken JSON ({error}): write one object a line"
            ) from error
        if not isinstance(row, dict):
            raise UserError(
                f"{path}, line {number}: a JSON {type(row).__name__}, not an object: "
                'write {"text": "..."}'
            )
        yield number, row


def _read_csv(path: Path, delimiter: str = ",") -> Iterator[NumberedRow]:
    lines = (line for _, line in _read_lines(path))
    apart = "comma" if delimiter == "," else "tab"
    csv.field_size_limit(LONGEST_CELL)
    reader = csv.reader(lines, strict=True, delimiter=delimiter)
    header: list[str] = []
    start = 1
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise UserError(
                f"{path}, line {start}: broken CSV ({error}): quote a cell that holds a {apart}, "
                "a quote or a line break, and double the quotes in it"
            ) from error
        if cells is None:
            return
        if cells and not header:
            header = cells
            if repeated := sorted({name for name in header if header.count(name) > 1}):
                raise UserError(f"{path} has two columns {repeated[0]!r}: rename one")
        elif cells:
            if len(cells) != len(header):
                raise UserError(
                    f"{path}, line {start}: {len(cells)} cells under {len(header)} columns: "
                    f"quote a cell that holds a {apart}"
                )
            yield start, dict(zip(header, cells, strict=True))
        start = reader.line_num + 1


def _read_parquet(path: Path) -> Iterator[NumberedRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        # Both are needed to read page by page: else a row group, often the whole file, is held.
        with pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:
            for batch in file.iter_batches(batch_size=BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no readable Parquet after row {number} ({error})") from error


def _read_dataset(path: Path) -> Iterator[NumberedRow]:
    from datasets import ClassLabel, DatasetDict, load_from_disk

    try:
        dataset = load_from_disk(path)
    except FileNotFoundError as error:
        raise UserError(f"{path} is a folder without a dataset in it: give {ACCEPTED}") from error
    except (ValueError, KeyError) as error:
        raise UserError(f"{path} holds a broken dataset ({error}): save it again") from error
    if isinstance(dataset, DatasetDict):
        folders = ", ".join(str(path / str(split)) for split in dataset)
        raise UserError(f"{path} holds several splits: give one of {folders}")
    # As Arrow, so that no column is decoded into images or tensors.
    tables = cast("Iterator[Any]", dataset.with_format("arrow").iter(batch_size=BATCH))
    names = {
        column: feature.names
        for column, feature in dataset.features.items()
        if isinstance(feature, ClassLabel)
    }
    for number, row in enumerate((row for table in tables for row in table.to_pylist()), start=1):
        # A class is stored as its number; -1 stands for one that is not known.
        known = {c: n for c, n in names.items() if row[c] is not None}
        yield number, {**row, **{c: n[row[c]] if row[c] >= 0 else None for c, n in known.items()}}


def _from_hub(address: str) -> Path:
    """Fetch a dataset of the Hub into the cache, once, as a folder for `save_to_disk`."""
    from datasets import load_dataset

    parts = address.removeprefix(HUB).split("/")
    if len(parts) != 3 or not all(parts):
        raise UserError(f"{address} names no split of a dataset: give {HUB}OWNER/NAME/SPLIT")
    folder = cache_home() / "datasets" / "--".join(parts)
    if not folder.exists():
        try:
            found = load_dataset("/".join(parts[:2]), split=parts[2])
        except Exception as error:  # The Hub's client raises a dozen kinds.
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UserError(
                f"cannot fetch {address} from the Hugging Face Hub ({reason}): check the name and "
                "the network, or give a local file"
            ) from error
        with atomic_folder(folder) as temporary:
            found.save_to_disk(temporary)
    return folder


READERS: dict[str, Callable[[Path], Iterator[NumberedRow]]] = {
    ".jsonl": _read_jsonl,
    ".csv": _read_csv,
    ".tsv": partial(_read_csv, delimiter="\t"),
    ".parquet": _read_parquet,
}
