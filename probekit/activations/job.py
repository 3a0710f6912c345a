"""`Job`: what one capture reads from a model, window by window, and puts into a store."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from probekit.errors import UserError
from probekit.hooks import reading, stopping_after
from probekit.models import Model, PaddingSide
from probekit.pooling import Span, parse, weights
from probekit.prompts import NO_TEMPLATE, Encoded, Template
from probekit.sites import Site
from probekit.store import ActivationStore, digest_texts

Advance = Callable[[int], None]


class Window(NamedTuple):
    """The items of one shard."""

    ids: list[str]
    texts: list[str]
    spans: list[Span | None]

    @property
    def digest(self) -> str:
        """Of the texts and their spans."""
        return digest_texts(self.texts, self.spans)


def holds(store: ActivationStore, number: int, window: Window) -> bool:
    """Whether a window's shard is in the store already.

    Raises:
        UserError: the shard is of other texts, and not the store's last to which items are added.
    """
    shard = store.shard(number)
    if not shard.exists():
        return False
    stored, was = store.items_of(shard)
    if (stored, was) == (window.ids, window.digest):
        return True
    n = len(stored)
    first = Window(window.ids[:n], window.texts[:n], window.spans[:n])
    grown = n < len(window.ids) and store.numbers[-1] == number
    if not (grown and (first.ids, first.digest) == (stored, was)):
        raise UserError(
            f"{store.folder} holds activations of other texts or spans (from item {stored[0]!r} "
            "on); give another folder, or delete it"
        )
    return False


class Job:
    """What stays the same over the windows of one capture; the arguments are those of `capture`.

    Raises:
        UserError: unknown site or pooling.
    """

    def __init__(
        self,
        model: Model,
        sites: Iterable[str | Site],
        positions: Sequence[str | int],
        *,
        template: Template = NO_TEMPLATE,
        truncate: bool = False,
        batch_tokens: int | None = None,
        side: PaddingSide = "right",
    ) -> None:
        self.side: PaddingSide = side
        self.model, self.sites, self.poolings = model, model.sites.expand(sites), parse(positions)
        self.template, self.truncate = template, truncate
        self.batch_tokens = batch_tokens or model.pass_tokens
        self.deepest = max(site.layer for site in self.sites)

    @property
    def layers(self) -> dict[str, tuple[int, ...]]:
        """Kind -> numbers of the layers that are read."""
        kinds = dict.fromkeys(site.kind for site in self.sites)
        return {k: tuple(site.layer for site in self.sites if site.kind == k) for k in kinds}

    def key(self) -> dict[str, object]:
        """What makes activations comparable: a store of another key is another store."""
        return {
            "model": self.model.fingerprint,
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "template": self.template.describe(),
            "truncate": self.truncate,
        }

    def open(self, folder: Path, shard_items: int) -> ActivationStore:
        """The store of this job, made or taken up again, without what a killed writer left.

        Raises:
            UserError: the folder holds a store of another job, or other files.
        """
        store = ActivationStore.create(folder, self.key(), self.layers, self.poolings, shard_items)
        store.sweep_leftovers()
        return store

    def fill(self, store: ActivationStore, number: int, window: Window, advance: Advance) -> None:
        """Read a window and write its shard; nothing is done where the store holds it.

        Raises:
            UserError: as `capture`.
        """
        if holds(store, number, window):
            advance(len(window.ids))
        else:
            store.write_shard(number, window.ids, window.digest, self.run(window, advance))

    def run(self, window: Window, advance: Advance) -> dict[str, NDArray[np.float32]]:
        """One window: "kind/pooling" -> `[layer, item, d]`."""
        ids, texts, spans = window
        prompts = self.model.encode(texts, self.template, ids=ids, truncate=self.truncate)
        order = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))
        out: dict[str, NDArray[np.float32]] = {}
        for rows in batches([len(prompts[row]) for row in order], self.batch_tokens):
            batch = [order[place] for place in rows]
            pooled = self._pool([prompts[row] for row in batch], [spans[row] for row in batch])
            self._scatter(out, pooled, batch, len(texts))
            advance(len(batch))
        return out

    def _scatter(
        self,
        out: dict[str, NDArray[np.float32]],
        pooled: dict[Site, Tensor],
        rows: list[int],
        n_items: int,
    ) -> None:
        """Put a batch's pooled values at their items' places."""
        for kind in dict.fromkeys(site.kind for site in self.sites):
            values = [pooled[site].cpu() for site in self.sites if site.kind == kind]
            table = rearrange(values, "layer row pooling d -> pooling layer row d").numpy()
            for pooling, part in zip(self.poolings, table, strict=True):
                name = f"{kind}/{pooling}"
                if name not in out:
                    out[name] = np.empty((part.shape[0], n_items, part.shape[2]), np.float32)
                out[name][:, rows] = part

    def _pool(
        self, prompts: list[Encoded], spans: list[Span | None], width: int | None = None
    ) -> dict[Site, Tensor]:
        """Pooled values `[row, pooling, d]` of one batch, halved while memory does not suffice."""
        width = width or max(len(prompt) for prompt in prompts)
        try:
            return self._forward(prompts, spans, width)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if len(prompts) == 1:
                raise UserError(
                    f"out of memory on item {prompts[0].id!r} alone ({len(prompts[0])} tokens); "
                    "use --truncate, a smaller dtype or a smaller model"
                ) from error
        half = len(prompts) // 2
        first = self._pool(prompts[:half], spans[:half], width)
        second = self._pool(prompts[half:], spans[half:], width)
        return {site: torch.cat([first[site], second[site]]) for site in first}

    def _forward(
        self, prompts: list[Encoded], spans: list[Span | None], width: int
    ) -> dict[Site, Tensor]:
        average = weights(prompts, self.poolings, spans, width, left=self.side == "left")
        average = average.to(self.model.device)
        pooled: dict[Site, Tensor] = {}

        def receive(site: Site, value: Tensor) -> None:
            pooled[site] = torch.bmm(average.to(value.device), value.float())

        batch = self.model.collate(prompts, width=width, side=self.side)
        with (
            reading(self.model.sites, self.sites, receive),
            stopping_after(self.model.sites, self.deepest),
        ):
            self.model.body(batch)
        for site, value in pooled.items():
            finite = value.isfinite().all(-1)
            if not finite.all():
                row = int((~finite).any(1).nonzero()[0])
                raise UserError(
                    f"NaN or infinity at {site} on item {prompts[row].id!r}; "
                    "float16 overflows on many models: use bfloat16 or float32"
                )
        return pooled


def batches(lengths: Sequence[int], budget: int) -> Iterator[range]:
    """Runs of ascending lengths whose padded size stays within `budget` tokens (or one row)."""
    start = 0
    for stop in range(1, len(lengths) + 1):
        if stop == len(lengths) or (stop + 1 - start) * lengths[stop] > budget:
            yield range(start, stop)
            start = stop


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory did not suffice, on whatever device."""
    said = str(error).lower()
    return (
        isinstance(error, (torch.OutOfMemoryError, MemoryError))
        or "out of memory" in said
        or "can't allocate memory" in said
    )
