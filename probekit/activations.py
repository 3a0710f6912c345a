"""`capture`: pooled activations of many texts, in memory or streamed to disk.

1. Texts are taken in windows of `shard_items`; each window is tokenised and sorted by length.
2. Prompts of similar length form a batch; its padded width is fixed by the texts and
   `batch_tokens` alone. Out of memory, a batch is halved at the same width, so numbers stay.
3. One forward pass a batch: every site is pooled as it passes, in float32, by one product with
   the averaging weights of all poolings; the pass ends at the deepest site wanted.
4. A finished window is one shard. A capture that was killed goes on at its first missing shard,
   after checking that the texts before it are the same.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import overload

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from probekit import runs
from probekit.errors import UserError
from probekit.hooks import reading, stopping_after
from probekit.models import Model, PaddingSide
from probekit.pooling import Span, parse, weights
from probekit.prompts import NO_TEMPLATE, Encoded, Template
from probekit.sites import Site
from probekit.stimuli import StimulusSet
from probekit.store import Activations, ActivationStore, digest_texts, sole_writer

Texts = StimulusSet | Iterable[str] | Iterable[tuple[str, str]]
Window = tuple[list[str], list[str], dict[str, NDArray[np.float32]]]
SHARD_ITEMS = 256


@overload
def capture(
    model: Model,
    texts: Texts,
    sites: Iterable[str | Site],
    positions: Sequence[str | int] = ...,
    *,
    store: None = None,
    template: Template = ...,
    spans: Sequence[Span] | None = None,
    truncate: bool = False,
    batch_tokens: int | None = None,
    shard_items: int = ...,
    side: PaddingSide = ...,
    advance: Callable[[int], None] = ...,
) -> Activations: ...
@overload
def capture(
    model: Model,
    texts: Texts,
    sites: Iterable[str | Site],
    positions: Sequence[str | int] = ...,
    *,
    store: str | Path,
    template: Template = ...,
    spans: Sequence[Span] | None = None,
    truncate: bool = False,
    batch_tokens: int | None = None,
    shard_items: int = ...,
    side: PaddingSide = ...,
    advance: Callable[[int], None] = ...,
) -> ActivationStore: ...
def capture(
    model: Model,
    texts: Texts,
    sites: Iterable[str | Site],
    positions: Sequence[str | int] = ("last", "mean"),
    *,
    store: str | Path | None = None,
    template: Template = NO_TEMPLATE,
    spans: Sequence[Span] | None = None,
    truncate: bool = False,
    batch_tokens: int | None = None,
    shard_items: int = SHARD_ITEMS,
    side: PaddingSide = "right",
    advance: Callable[[int], None] = lambda _: None,
) -> Activations | ActivationStore:
    """Read sites of a model on texts, pooled over tokens.

    Args:
        texts: a `StimulusSet`, texts, or `(id, text)` pairs; an iterator is streamed.
        sites: kinds ("resid_post": every layer), "kind.layer" strings, or `Site`s.
        positions: poolings: "last", "mean", "span", or token indices; see `probekit.pooling`.
        store: a folder: results go there shard by shard, memory stays flat, and a capture that
            was interrupted goes on. None: results stay in memory.
        template: the prompt around each text.
        spans: `[item]`, characters `(start, end)` of each text, for pooling "span".
        truncate: cut texts that do not fit the context instead of refusing them.
        batch_tokens: padded tokens in one forward pass (default 2,048; CUDA 16,384).
        shard_items: items sorted by length together, and written as one shard.
        side: padding side; it changes nothing beyond rounding.
        advance: called with the number of items finished.

    Returns:
        `Activations`, or the `ActivationStore` at `store`.

    Raises:
        UserError: unknown site or pooling, a text that is too long or has no token to pool, NaN
            or infinity in an activation (names item and site), or a store of another capture.
    """
    wanted, poolings = model.sites.expand(sites), parse(positions)
    job = _Job(model, wanted, poolings, template, truncate, batch_tokens, side)
    layers = {
        kind: tuple(site.layer for site in wanted if site.kind == kind)
        for kind in dict.fromkeys(site.kind for site in wanted)
    }
    windows = _windows(texts, spans, shard_items)
    if store is None:
        return _in_memory(job, windows, layers, advance)
    folder = Path(store)
    with sole_writer(folder):
        out = ActivationStore.create(folder, job.key(), layers, poolings, shard_items)
        out.sweep_leftovers()
        done, number = out.shards, 0
        for number, (ids, part, part_spans) in enumerate(windows):
            digest = digest_texts(part, part_spans)
            if number < len(done) and out.items_of(done[number]) == (ids, digest):
                advance(len(ids))
                continue
            if number < len(done):
                _refuse_other_texts(out, done[number:], ids, part, part_spans)
            out.write_shard(number, ids, digest, job.run(ids, part, part_spans, advance))
        if len(out.shards) > number + 1:
            raise UserError(f"{folder} holds more items than these texts; give another folder")
        return out


def capture_cached(
    model: Model,
    stimuli: StimulusSet,
    sites: Sequence[str],
    positions: Sequence[str],
    template: Template,
    *,
    truncate: bool = False,
    advance: Callable[[int], None] = lambda _: None,
) -> ActivationStore:
    """`capture` into the user's cache, under the digest of all that makes the activations."""
    key = {
        "model": model.fingerprint,
        "stimuli": stimuli.sha256,
        "sites": list(sites),
        "poolings": list(parse(positions)),
        "template": template.describe(),
        "truncate": truncate,
    }
    return capture(
        model,
        stimuli,
        sites,
        positions,
        store=runs.cache_home() / "activations" / runs.digest(key)[:24],
        template=template,
        truncate=truncate,
        advance=advance,
    )


def _refuse_other_texts(
    store: ActivationStore,
    ahead: list[Path],
    ids: list[str],
    texts: list[str],
    spans: list[Span | None],
) -> None:
    """Raise unless the shard is the store's last and the window only adds items to it."""
    stored, was = store.items_of(ahead[0])
    n = len(stored)
    grown = len(ahead) == 1 and n < len(ids)
    if not (grown and ids[:n] == stored and digest_texts(texts[:n], spans[:n]) == was):
        raise UserError(
            f"{store.folder} holds activations of other texts or spans (from item {stored[0]!r} "
            "on); give another folder, or delete it"
        )


def _in_memory(
    job: "_Job",
    windows: Iterator[tuple[list[str], list[str], list[Span | None]]],
    layers: Mapping[str, tuple[int, ...]],
    advance: Callable[[int], None],
) -> Activations:
    parts = [(ids, job.run(ids, texts, spans, advance)) for ids, texts, spans in windows]
    names = parts[0][1]
    arrays = {name: np.concatenate([part[name] for _, part in parts], axis=1) for name in names}
    return Activations(tuple(id_ for ids, _ in parts for id_ in ids), layers, arrays)


def _windows(
    texts: Texts, spans: Sequence[Span] | None, size: int
) -> Iterator[tuple[list[str], list[str], list[Span | None]]]:
    """Ids, texts and spans, `size` items at a time."""
    pairs: Iterable[tuple[str, str] | str]
    pairs = zip(texts.ids, texts.texts, strict=True) if isinstance(texts, StimulusSet) else texts
    stream = (
        (str(row), item) if isinstance(item, str) else (str(item[0]), item[1])
        for row, item in enumerate(pairs)
    )
    start = 0
    while window := list(islice(stream, size)):
        for id_, text in window:
            if not isinstance(text, str) or not text.strip():
                raise UserError(f"item {id_!r} has no text; give it one, or leave it out")
        count = len(window)
        if spans is not None and len(spans) < start + count:
            raise UserError(f"{len(spans)} spans for more texts; give one span a text")
        part: list[Span | None] = [None] * count
        if spans is not None:
            part = list(spans[start : start + count])
        yield [id_ for id_, _ in window], [text for _, text in window], part
        start += count
    if not start:
        raise UserError("no text given: capture needs at least one")


class _Job:
    """What stays the same over the windows of one capture."""

    def __init__(
        self,
        model: Model,
        sites: Sequence[Site],
        poolings: Sequence[str],
        template: Template,
        truncate: bool,
        batch_tokens: int | None,
        side: PaddingSide,
    ) -> None:
        self.side: PaddingSide = side
        self.model, self.sites, self.poolings = model, sites, poolings
        self.template, self.truncate = template, truncate
        self.batch_tokens = batch_tokens or model.pass_tokens
        self.deepest = max(site.layer for site in sites)

    def key(self) -> dict[str, object]:
        """What makes activations comparable: a store of another key is another store."""
        return {
            "model": self.model.fingerprint,
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "template": self.template.describe(),
            "truncate": self.truncate,
        }

    def run(
        self,
        ids: list[str],
        texts: list[str],
        spans: list[Span | None],
        advance: Callable[[int], None],
    ) -> dict[str, NDArray[np.float32]]:
        """One window: "kind/pooling" -> `[layer, item, d]`."""
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
