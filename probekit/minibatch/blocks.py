"""A store read block by block: shards in a shuffled order, as many at once as a buffer holds."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor

from probekit.errors import UserError, unknown
from probekit.store import ActivationStore

BUFFER_BYTES = 512_000_000
"""Activations held at once; a larger buffer shuffles better."""
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Scaling(NamedTuple):
    """How features are standardised: mean and deviation, each `[layer, 1, d]`, float64."""

    mean: Tensor
    deviation: Tensor


class Block(NamedTuple):
    """Some items: `values [layer, row, d]`, and the place in the store of each row, rising."""

    values: Tensor
    rows: Ints


class Blocks:
    """All layers of one kind and pooling of a store, a block at a time.

    Memory: two blocks, the one in use and the one that is read after it, together at most
    `buffer_bytes` (or two shards); and two copies of a shard while it is read.

    Args:
        store: where activations lie.
        kind, pooling: what is read of them.
        layers: numbers of neighbouring layers (default: all that were captured).
        buffer_bytes: of the blocks that are held.
        device: where blocks are put.

    Attributes:
        layers: their numbers.
        width: d.
        starts: `[shard + 1]`, the place of each shard's first item, and their count.

    Raises:
        UserError: a kind, pooling or layer that was not captured, or a store without a shard.
    """

    def __init__(
        self,
        store: ActivationStore,
        kind: str,
        pooling: str,
        layers: Sequence[int] = (),
        *,
        buffer_bytes: int = BUFFER_BYTES,
        device: torch.device | str = "cpu",
    ) -> None:
        if kind not in store.layers:
            raise unknown("or uncaptured site", kind, list(store.layers))
        if pooling not in store.poolings:
            raise unknown("or uncaptured pooling", pooling, list(store.poolings))
        if not store.shards:
            raise UserError(f"{store.folder} holds no shard yet: wait for its capture")
        held = store.layers[kind]
        self.layers = tuple(layers) or held
        first = held.index(self.layers[0]) if self.layers[0] in held else 0
        if held[first : first + len(self.layers)] != self.layers:
            raise unknown(f"or uncaptured layers of {kind}", self.layers, list(held))
        self._places = slice(first, first + len(self.layers))
        self._shards, self._name = store.shards, f"{kind}/{pooling}"
        shapes = [self._shape(shard) for shard in range(len(self._shards))]
        self.width = shapes[0][2]
        self.starts = np.cumsum([0, *(shape[1] for shape in shapes)])
        largest = max(shape[1] for shape in shapes) * len(self.layers) * self.width * 4
        self._fitting = buffer_bytes // largest
        self._together = max(1, self._fitting // 2)
        self.device = torch.device(device)

    def __len__(self) -> int:
        """Items of the store."""
        return int(self.starts[-1])

    def epochs(
        self, count: int, wanted: Bools, seed: int, scaling: Scaling | None = None
    ) -> Iterator[tuple[int, Block]]:
        """Epoch after epoch, blocks of shards in a random order; what fits a block is read once.

        Args:
            count: of epochs.
            wanted: `[item]`, which items are read.
            seed: of the order.
            scaling: how values are standardised (default: not).
        """
        if len(self._shards) <= self._fitting:
            whole = list(self._block(list(range(len(self._shards))), wanted, scaling))
            yield from ((epoch, block) for epoch in range(count) for block in whole)
        else:
            for epoch in range(count):
                for block in self._shuffled(wanted, [seed, epoch], scaling):
                    yield epoch, block

    def _shuffled(self, wanted: Bools, seed: list[int], scaling: Scaling | None) -> Iterator[Block]:
        order = np.random.default_rng(seed).permutation(len(self._shards))
        for n in range(math.ceil(len(order) / self._together)):
            part = np.sort(order[n * self._together : (n + 1) * self._together])
            yield from self._block(part.tolist(), wanted, scaling)

    def in_order(self, wanted: Bools, scaling: Scaling | None = None) -> Iterator[Block]:
        """A block for each shard, in the store's order."""
        for shard in range(len(self._shards)):
            yield from self._block([shard], wanted, scaling)

    def _block(self, shards: list[int], wanted: Bools, scaling: Scaling | None) -> Iterator[Block]:
        """The wanted items of some shards; nothing where there are none."""
        inside = {n: np.flatnonzero(wanted[self.starts[n] : self.starts[n + 1]]) for n in shards}
        count = sum(map(len, inside.values()))
        if not count:
            return
        values, at = torch.empty(len(self.layers), count, self.width, device=self.device), 0
        for shard, rows in inside.items():
            if len(rows):
                own = values[:, at : at + len(rows)]
                own.copy_(self._read(shard, rows))
                at += len(rows)
                if scaling is not None:
                    own.sub_(scaling.mean.to(own)).div_(scaling.deviation.to(own))
        yield Block(values, np.concatenate([self.starts[n] + rows for n, rows in inside.items()]))

    def _read(self, shard: int, rows: Ints) -> Tensor:
        with safe_open(self._shards[shard], framework="numpy") as file:
            part = torch.from_numpy(file.get_slice(self._name)[self._places])
        return part if len(rows) == part.shape[1] else part[:, torch.from_numpy(rows)]

    def _shape(self, shard: int) -> list[int]:
        with safe_open(self._shards[shard], framework="numpy") as file:
            return file.get_slice(self._name).get_shape()
