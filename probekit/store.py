"""Activations with their labels: in memory (`Activations`) and on disk (`ActivationStore`).

On disk a store is a folder: `store.json` (the key and the labels) and shards
`00000.safetensors`, `00001.safetensors`, ... Each shard holds a fixed number of items (the last
may hold fewer), one tensor `[layer, item, d]` in float32 for each `kind/pooling`, and the items'
ids in its metadata (`items`, JSON). A shard is written aside, fsynced and renamed, so a folder
holds whole shards only, whatever kills the writer; one layer of all items is one contiguous read
in each shard. Anything that reads safetensors reads it.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from probekit.errors import UserError, unknown
from probekit.runs import atomic_write, read_json, write_json
from probekit.shown import card, numbered, sized

FORMAT = "probekit-activations-1"
ITEMS, LOCK = "items.parquet", "store.lock"
BEFORE = (ITEMS, LOCK)
"""Files that stand in a folder before its store does: the texts of a corpus, and the lock."""
Arrays = Mapping[str, NDArray[np.float32]]


def _row_of(layers: Mapping[str, Sequence[int]], kind: str, layer: int) -> int:
    """The place of a layer *number* in the arrays of a kind."""
    if kind not in layers:
        raise unknown("or uncaptured site", kind, list(layers))
    if layer not in layers[kind]:
        raise unknown(f"or uncaptured layer of {kind}", layer, list(layers[kind]))
    return list(layers[kind]).index(layer)


@dataclass(frozen=True)
class Activations:
    """Pooled activations in memory.

    Attributes:
        ids: `[item]`, the items' ids.
        layers: kind -> numbers of the captured layers, in the order of the arrays.
        arrays: "kind/pooling" -> `[layer, item, d]`, float32.
    """

    ids: tuple[str, ...]
    layers: Mapping[str, tuple[int, ...]]
    arrays: Arrays

    @property
    def nbytes(self) -> int:
        """Memory of the arrays."""
        return sum(array.nbytes for array in self.arrays.values())

    def __repr__(self) -> str:
        return f"Activations({len(self.ids)} items, {', '.join(self.arrays)}, {sized(self.nbytes)})"

    def _repr_html_(self) -> str:
        sites: dict[str, list[str]] = {}
        for name in self.arrays:
            sites.setdefault(name.partition("/")[0], []).append(name.partition("/")[2])
        said = {k: f"{', '.join(p)}; layers {numbered(self.layers[k])}" for k, p in sites.items()}
        return card("Activations", {"items": len(self.ids), **said, "memory": sized(self.nbytes)})

    def stack(self, kind: str, pooling: str) -> NDArray[np.float32]:
        """All captured layers of a kind, `[item, layer, d]`; see `layers[kind]` for numbers."""
        name = f"{kind}/{pooling}"
        if name not in self.arrays:
            raise unknown("or uncaptured site and pooling", name, list(self.arrays))
        return np.moveaxis(self.arrays[name], 0, 1)

    def layer(self, kind: str, layer: int, pooling: str) -> NDArray[np.float32]:
        """One layer by its number, `[item, d]`."""
        return self.stack(kind, pooling)[:, _row_of(self.layers, kind, layer)]


class ActivationStore:
    """A folder of shards; made by `capture(..., store=folder)`, read by anyone.

    Args:
        folder: where the store lies; must exist (see `create`).

    Raises:
        UserError: the folder holds no store, or one of another format.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / "store.json").is_file():
            raise UserError(f"{folder} holds no activation store; capture one first")
        self.header: dict[str, Any] = read_json(self.folder / "store.json")
        if self.header.get("format") != FORMAT:
            raise UserError(
                f"{folder} is a store of format {self.header.get('format')!r}, this version reads "
                f"{FORMAT!r}; capture it anew"
            )

    @classmethod
    def create(
        cls,
        folder: Path,
        key: Mapping[str, Any],
        layers: Mapping[str, Sequence[int]],
        poolings: Sequence[str],
        shard_items: int,
    ) -> "ActivationStore":
        """Make a store, or reopen one for more if its key is the same.

        Raises:
            UserError: the folder holds a store of another key, or other files.
        """
        header = {
            "format": FORMAT,
            "key": dict(key),
            "layers": {kind: list(numbers) for kind, numbers in layers.items()},
            "poolings": list(poolings),
            "shard_items": shard_items,
        }
        if (folder / "store.json").exists():
            store = cls(folder)
            was = {**store.header, **store.header["key"]}
            now = {**header, **header["key"]}
            if changed := [name for name in now if name != "key" and was.get(name) != now[name]]:
                raise UserError(
                    f"{folder} holds activations of another capture (it differs in "
                    f"{', '.join(changed)}); give another folder, or delete it"
                )
            return store
        refuse_others(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "store.json", header)
        return cls(folder)

    def sweep_leftovers(self) -> None:
        """Remove what a killed writer left half-written; call it as the sole writer only."""
        # Of a writer that was killed: our own files, and those that safetensors writes aside.
        for leftover in (*self.folder.glob(".*.tmp"), *self.folder.glob(".tmp*")):
            leftover.unlink(missing_ok=True)

    @property
    def layers(self) -> dict[str, tuple[int, ...]]:
        """Kind -> numbers of the captured layers."""
        return {kind: tuple(numbers) for kind, numbers in self.header["layers"].items()}

    @property
    def poolings(self) -> tuple[str, ...]:
        """The poolings captured."""
        return tuple(self.header["poolings"])

    @property
    def numbers(self) -> list[int]:
        """The numbers of all shards on disk; some are missing while several workers write."""
        return sorted(int(file.stem) for file in self.folder.glob("[0-9]*.safetensors"))

    def shard(self, number: int) -> Path:
        """Where the shard of a number lies, or will lie."""
        return self.folder / f"{number:05d}.safetensors"

    @property
    def shards(self) -> list[Path]:
        """The shards in order, up to the first that is missing."""
        return [self.shard(held) for place, held in enumerate(self.numbers) if held == place]

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The items' ids, in order."""
        return tuple(id_ for shard in self.shards for id_ in self.items_of(shard)[0])

    def __len__(self) -> int:
        shards = self.shards  # All but the last are full.
        if not shards:
            return 0
        return (len(shards) - 1) * self.header["shard_items"] + len(self.items_of(shards[-1])[0])

    @staticmethod
    def items_of(shard: Path) -> tuple[list[str], str]:
        """A shard's ids, and the digest of its texts."""
        with safe_open(shard, framework="numpy") as file:
            items = json.loads(file.metadata()["items"])
        return items["ids"], items["texts"]

    def write_shard(self, number: int, ids: Sequence[str], texts: str, arrays: Arrays) -> None:
        """Write (or replace) one whole shard of items; on return it is on disk.

        Args:
            texts: the digest of the items' texts, from `digest_texts`.
        """
        with atomic_write(self.shard(number)) as temporary:
            # One entry: safetensors writes several in random order, and bytes must repeat.
            items = json.dumps({"ids": list(ids), "texts": texts})
            save_file(dict(arrays), temporary, metadata={"items": items})
        self.__dict__.pop("ids", None)

    def layer(self, kind: str, layer: int, pooling: str) -> NDArray[np.float32]:
        """One layer of all items by its number, `[item, d]`, read without the others."""
        row = _row_of(self.layers, kind, layer)
        return np.concatenate([part[row] for part in self._slices(kind, pooling)])

    def load(self, kind: str, pooling: str) -> Activations:
        """All layers of one kind and pooling, in memory."""
        values = np.concatenate([part[:] for part in self._slices(kind, pooling)], axis=1)
        return Activations(self.ids, self.layers, {f"{kind}/{pooling}": values})

    def _slices(self, kind: str, pooling: str) -> Iterator[Any]:
        name = f"{kind}/{pooling}"
        if kind not in self.layers or pooling not in self.poolings:
            accepted = [f"{k}/{p}" for k in self.layers for p in self.poolings]
            raise unknown("or uncaptured site and pooling", name, accepted)
        for shard in self.shards:
            with safe_open(shard, framework="numpy") as file:
                yield file.get_slice(name)


def digest_texts(texts: Sequence[str], spans: Sequence[tuple[int, int] | None]) -> str:
    """Hex SHA-256 of a shard's texts and the spans pooled in them, in order."""
    said = [
        text if span is None else [text, *span] for text, span in zip(texts, spans, strict=True)
    ]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def refuse_others(folder: Path) -> None:
    """Raise a `UserError` for a folder that holds something else than a store, or is a file."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; give a folder for the activations")
    if not folder.exists() or (folder / "store.json").exists():
        return
    if any(path.name not in BEFORE and path.name[0] != "." for path in folder.iterdir()):
        raise UserError(f"{folder} is not empty and holds no store; give another folder")


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Hold a store's lock; a second writer is refused at once.

    Raises:
        UserError: another process writes to the same folder, or it is a file.
    """
    from filelock import FileLock, Timeout

    refuse_others(folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / LOCK, timeout=0):
            yield
    except Timeout as error:
        raise UserError(f"{folder} is being written by another process; wait for it") from error
