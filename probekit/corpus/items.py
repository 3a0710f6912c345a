"""`Items`: the texts that filters left of a corpus, on disk beside their activations.

One Parquet file, `items.parquet`, of the columns id, text, label and group, a row group for each
shard of the store; how it was made stands in its metadata. Workers read their texts from it, and
probes their labels.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from probekit.corpus.streaming import Corpus, Item
from probekit.errors import UserError
from probekit.runs import atomic_write, digest, sha256_of
from probekit.stimuli import locate
from probekit.store import ITEMS, refuse_others

SCHEMA = pa.schema([(name, pa.string()) for name in Item._fields])
MADE = b"probekit"


class Items:
    """What was kept of a corpus, in the folder of its store.

    Args:
        folder: of the store.

    Attributes:
        key: what the items were made from.
        counts: rows read, kept, and dropped for what reason.

    Raises:
        UserError: the folder holds no items, or a broken file of them.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / ITEMS
        if not self.path.is_file():
            raise UserError(
                f"{folder} holds no {ITEMS}: give a folder that `probekit capture` made"
            )
        try:
            self._file = pq.ParquetFile(self.path)
            made = json.loads(self._file.metadata.metadata[MADE])
        except (pa.ArrowException, TypeError, KeyError, ValueError) as error:
            raise UserError(f"{self.path} is broken ({error}): capture the corpus anew") from error
        self.key: dict[str, Any] = made["key"]
        self.counts: dict[str, int] = made["counts"]

    def __len__(self) -> int:
        return self._file.metadata.num_rows

    @property
    def windows(self) -> int:
        """How many shards the store has when it is whole."""
        return self._file.num_row_groups

    def window(self, number: int) -> list[Item]:
        """The items of one shard."""
        rows = self._file.read_row_group(number).to_pydict()
        return [Item(*row) for row in zip(*(rows[name] for name in Item._fields), strict=True)]

    def window_rows(self, number: int) -> int:
        """How many items one shard has."""
        return self._file.metadata.row_group(number).num_rows

    def texts(self) -> Iterator[tuple[str, str]]:
        """Stream (id, text)."""
        for number in range(self.windows):
            for item in self.window(number):
                yield item.id, item.text

    def column(self, name: str) -> list[str]:
        """One column of all items; of the texts of a large corpus, take `window` by window."""
        return self._file.read([name])[name].to_pylist()


def prepare(corpus: Corpus, folder: Path, rows: int) -> Items:
    """Filter a corpus into a store's folder once; what is there already is taken.

    Args:
        corpus: what is read.
        folder: of the store.
        rows: items of a shard.

    Raises:
        UserError: as `Corpus`; the folder holds items of another corpus, or filtered otherwise.
    """
    key = {"source": _digest(locate(corpus.name_or_path)), **corpus.describe(), "rows": rows}
    key = json.loads(json.dumps(key))
    if (folder / ITEMS).exists():
        held = Items(folder)
        if differing := sorted(name for name in key if held.key.get(name) != key[name]):
            raise UserError(
                f"{folder} holds another corpus (it differs in {', '.join(differing)}): give a new "
                "folder, or delete it"
            )
        return held
    refuse_others(folder)
    with atomic_write(folder / ITEMS) as temporary, pq.ParquetWriter(temporary, SCHEMA) as writer:
        for window in _in_windows(corpus, rows):
            columns = [list(column) for column in zip(*window, strict=True)]
            writer.write_table(pa.table(columns, schema=SCHEMA), row_group_size=rows)
        made = json.dumps({"key": key, "counts": dict(corpus.counts)})
        writer.add_key_value_metadata({MADE.decode(): made})
    return Items(folder)


def _in_windows(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    stream = iter(items)
    while window := list(islice(stream, size)):
        yield window


def _digest(path: Path) -> str:
    """Of a file's bytes, or of every file's in a folder."""
    if path.is_file():
        return sha256_of(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return digest({file.relative_to(path).as_posix(): sha256_of(file) for file in files})
