"""`capture`: pooled activations of many texts, in memory or streamed to disk.

1. Texts are taken in windows of `shard_items`; each window is tokenised and sorted by length.
2. Prompts of similar length form a batch; its padded width is fixed by the texts and
   `batch_tokens` alone. Out of memory, a batch is halved at the same width, so numbers stay.
3. One forward pass a batch: every site is pooled as it passes, in float32, by one product with
   the averaging weights of all poolings; the pass ends at the deepest site wanted.
4. A finished window is one shard. A capture that was killed goes on at its first missing shard,
   after checking that the texts before it are the same.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import overload

import numpy as np

from probekit import runs
from probekit.activations.job import Advance, Job, Window, holds, is_out_of_memory
from probekit.errors import UserError
from probekit.models import Model, PaddingSide
from probekit.pooling import Span, parse
from probekit.prompts import NO_TEMPLATE, Template
from probekit.sites import Site
from probekit.stimuli import StimulusSet
from probekit.store import Activations, ActivationStore, sole_writer

__all__ = [
    "SHARD_ITEMS",
    "Advance",
    "Job",
    "Window",
    "capture",
    "capture_cached",
    "holds",
    "is_out_of_memory",
]

Texts = StimulusSet | Iterable[str] | Iterable[tuple[str, str]]
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
    advance: Advance = ...,
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
    advance: Advance = ...,
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
    advance: Advance = lambda _: None,
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
    job = Job(
        model,
        sites,
        positions,
        template=template,
        truncate=truncate,
        batch_tokens=batch_tokens,
        side=side,
    )
    windows = _windows(texts, spans, shard_items)
    if store is None:
        return _in_memory(job, windows, advance)
    folder = Path(store)
    with sole_writer(folder):
        out, number = job.open(folder, shard_items), 0
        for number, window in enumerate(windows):
            job.fill(out, number, window, advance)
        if out.numbers[-1] > number:
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
    advance: Advance = lambda _: None,
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


def _in_memory(job: Job, windows: Iterator[Window], advance: Advance) -> Activations:
    parts = [(window.ids, job.run(window, advance)) for window in windows]
    names = parts[0][1]
    arrays = {name: np.concatenate([part[name] for _, part in parts], axis=1) for name in names}
    return Activations(tuple(id_ for ids, _ in parts for id_ in ids), job.layers, arrays)


def _windows(texts: Texts, spans: Sequence[Span] | None, size: int) -> Iterator[Window]:
    """The items, `size` at a time."""
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
        yield Window([id_ for id_, _ in window], [text for _, text in window], part)
        start += count
    if not start:
        raise UserError("no text given: capture needs at least one")
