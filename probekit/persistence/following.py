"""`follow`: a forced continuation read token by token, and again with a part of the past removed.

1. Rows are prompts with one continuation for all. They are padded at the left, so that the
   continuation stands in the same columns; positions are counted in each row's own tokens.
2. One pass keeps the keys and values of every token. Offset 0 is the prompt's last token, offset
   j the continuation's j-th.
3. For a cut at offset k the keys and values of what came up to k are taken, less those that are
   removed, and the tokens after k run again on them. What is kept stays at its positions.

A token that was read before the cut has seen all of its past: what it took from there it may hand
on. After the cut nothing else can.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from probekit.errors import UserError
from probekit.hooks import reading, stopping_after
from probekit.masks import masks
from probekit.models import Model
from probekit.prompts import Encoded
from probekit.sites import Site
from probekit.validation import TOLERANCE

Receive = Callable[["Passage", Site, Tensor], None]
CHUNK = 512
"""Tokens of a pass: the mask of a chunk grows with what lies before it, not with its square."""
CHECKED = 16
"""Tokens of a continuation on which a model's own pass is held against this one."""


@dataclass(frozen=True)
class Cut:
    """Tokens of each prompt that are removed from the past once offset `at` has been read.

    Attributes:
        name: what results call it.
        at: the offset.
        removed: `[row]`, tokens counted from the start of the prompt; those of the continuation
            up to `at` count on.
    """

    name: str
    at: int
    removed: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Passage:
    """Which tokens a value is of.

    Attributes:
        cut: after which they were read; None: after none.
        rows: numbers of the prompts.
        offsets: of the tokens.
    """

    cut: Cut | None
    rows: range
    offsets: range


def follow(
    model: Model,
    prompts: Sequence[Encoded],
    continuation: Sequence[int],
    sites: Sequence[Site],
    receive: Receive,
    cuts: Sequence[Cut] = (),
    *,
    batch_tokens: int | None = None,
    chunk: int = CHUNK,
    advance: Callable[[int], None] = lambda _: None,
) -> None:
    """Read sites at every offset of a continuation that is forced after each prompt.

    Args:
        prompts: from `model.encode`, of any lengths.
        continuation: token ids, the same for all.
        sites: where it is read.
        receive: called with each passage, site and value `[row, offset, d]`; the tensor is the
            model's own, so copy what is kept.
        cuts: what is removed, and when; each is read from the offset after its own to the end.
        batch_tokens: tokens of prompts and continuation in one batch (default 8,192; CUDA
            65,536): their keys and values are held together.
        chunk: tokens of one pass; it changes nothing beyond rounding.
        advance: called with the number of tokens read.

    Raises:
        UserError: no room in the context, a cut outside the continuation or of tokens that are
            not there yet, or a model whose past cannot be cut.
    """
    _check(model, prompts, continuation, cuts)
    budget = batch_tokens or batch_budget(model)
    longest = max(len(prompt) for prompt in prompts) + len(continuation)
    size = max(1, budget // longest)
    for start in range(0, len(prompts), size):
        rows = range(start, min(start + size, len(prompts)))
        batch = _Batch(model, prompts, rows, continuation, sites, receive, chunk, advance)
        if start == 0:
            batch.check()
        batch.run(cuts)


def batch_budget(model: Model) -> int:
    """Tokens of which keys and values are held together, where nothing else is said."""
    return 4 * model.pass_tokens


def check_context(model: Model, prompts: Sequence[Encoded], tokens: int) -> None:
    """Raise a `UserError` that names a prompt after which the context holds no so many tokens."""
    for prompt in prompts:
        if len(prompt) + tokens > model.n_ctx:
            raise UserError(
                f"prompt {prompt.id!r} has {len(prompt)} tokens and the continuation {tokens}: the "
                f"context holds {model.n_ctx}; shorten one of them"
            )


def _check(
    model: Model, prompts: Sequence[Encoded], continuation: Sequence[int], cuts: Sequence[Cut]
) -> None:
    check_context(model, prompts, len(continuation))
    for cut in cuts:
        if not 0 <= cut.at < len(continuation):
            raise UserError(
                f"cut at offset {cut.at}: the continuation has {len(continuation)} tokens; cut at "
                f"0 to {len(continuation) - 1}, or give a longer one"
            )
        if len(cut.removed) != len(prompts):
            raise UserError(
                f"cut {cut.name!r} names tokens of {len(cut.removed)} prompts of {len(prompts)}"
            )
        for prompt, removed in zip(prompts, cut.removed, strict=True):
            there = len(prompt) + cut.at
            if any(not 0 <= token < there for token in removed) or len(set(removed)) >= there:
                raise UserError(
                    f"cut {cut.name!r} at offset {cut.at}: prompt {prompt.id!r} has {there} tokens "
                    "by then; name some of them, not all"
                )


@dataclass(frozen=True)
class _Past:
    """Keys and values of some tokens of each row.

    Attributes:
        keys, values: layer -> `[row, head, token, width]`.
        positions: `[row, token]`, -1 where there is none.
    """

    keys: list[Tensor]
    values: list[Tensor]
    positions: Tensor

    def cache(self) -> DynamicCache:
        """As Hugging Face takes it, to be appended to; this one stays as it is."""
        made = DynamicCache()
        for layer, (keys, values) in enumerate(zip(self.keys, self.values, strict=True)):
            made.update(keys, values, layer)
        return made


@dataclass(frozen=True)
class _Batch:
    """Some rows of `follow`."""

    model: Model
    all_prompts: Sequence[Encoded]
    rows: range
    continuation: Sequence[int]
    sites: Sequence[Site]
    receive: Receive
    chunk: int
    advance: Callable[[int], None]

    @property
    def prompts(self) -> list[Encoded]:
        return [self.all_prompts[row] for row in self.rows]

    @property
    def width(self) -> int:
        """Columns of the prompts."""
        return max(len(prompt) for prompt in self.prompts)

    def run(self, cuts: Sequence[Cut]) -> None:
        """Read all offsets, then those after each cut."""
        past, _ = self._read(None, self._nothing(), 0)
        for cut in cuts:
            self._read(cut, self._without(past, cut), self.width + cut.at)

    def _columns(self) -> tuple[Tensor, Tensor]:
        """Token ids and positions `[row, column]` of prompts and continuation; padding is -1."""
        ids = torch.zeros(len(self.rows), self.width + len(self.continuation), dtype=torch.long)
        positions = torch.full_like(ids, -1)
        for row, prompt in enumerate(self.prompts):
            start = self.width - len(prompt)
            ids[row, start:] = torch.tensor((*prompt.input_ids, *self.continuation))
            positions[row, start:] = torch.arange(len(prompt) + len(self.continuation))
        return ids, positions

    def _nothing(self) -> _Past:
        return _Past([], [], torch.empty(len(self.rows), 0, dtype=torch.long))

    def _without(self, past: _Past, cut: Cut) -> _Past:
        """What lay before the end of offset `cut.at`, less what is removed."""
        kept = []
        for row, prompt in zip(self.rows, self.prompts, strict=True):
            removed, start = set(cut.removed[row]), self.width - len(prompt)
            there = range(len(prompt) + cut.at)
            kept.append([start + token for token in there if token not in removed])
        most = max(map(len, kept))
        columns = torch.tensor([own + [-1] * (most - len(own)) for own in kept])
        positions = past.positions.gather(1, columns.clamp_min(0)).masked_fill(columns < 0, -1)

        def taken(stored: Tensor) -> Tensor:
            index = columns.clamp_min(0).to(stored.device)[:, None, :, None]
            return stored.gather(2, index.expand(-1, stored.shape[1], -1, stored.shape[3]))

        return _Past([taken(k) for k in past.keys], [taken(v) for v in past.values], positions)

    @torch.no_grad()
    def _read(self, cut: Cut | None, past: _Past, first: int) -> tuple[_Past, Tensor]:
        """Run the columns from `first` on; all that is then past, and the last chunk's states."""
        ids, positions = self._columns()
        cache, device = past.cache(), self.model.device
        seen, states = past.positions, torch.empty(0)
        for start in range(first, ids.shape[1], self.chunk):
            columns = range(start, min(start + self.chunk, ids.shape[1]))
            own = positions[:, columns.start : columns.stop]
            seen = torch.cat([seen, own], 1)
            with (
                reading(self.model.sites, self.sites, self._receiver(cut, columns)),
                self._ending(),
            ):
                states = self.model.hf.base_model(
                    input_ids=ids[:, columns.start : columns.stop].to(device),
                    attention_mask=masks(self.model, _seeing(own, seen)),
                    position_ids=own.clamp_min(0).to(device),
                    past_key_values=cache,
                    use_cache=True,
                ).last_hidden_state
            self.advance(len(self.rows) * len(columns))
        layers: list[Any] = cache.layers
        whole = _Past([each.keys for each in layers], [each.values for each in layers], seen)
        return whole, states

    def _ending(self) -> AbstractContextManager[None]:
        """Ends a pass at the deepest site; without one it runs to the end."""
        if not self.sites:
            return nullcontext()
        return stopping_after(self.model.sites, max(site.layer for site in self.sites))

    def _receiver(self, cut: Cut | None, columns: range) -> Callable[[Site, Tensor], None]:
        """Hands on what stands at offsets; the prompt's earlier tokens have none."""
        skipped = max(0, self.width - 1 - columns.start)
        offsets = range(columns.start + skipped - self.width + 1, columns.stop - self.width + 1)

        def receive(site: Site, value: Tensor) -> None:
            if offsets:
                self.receive(Passage(cut, self.rows, offsets), site, value[:, skipped:])

        return receive

    @torch.no_grad()
    def check(self) -> None:
        """Raise where the model's own pass over the first row says something else."""
        prompt, ids = self.prompts[0], tuple(self.continuation[:CHECKED])
        alone = _Batch(self.model, [prompt], range(1), ids, (), self.receive, len(prompt), _silent)
        whole = torch.tensor([(*prompt.input_ids, *ids)], device=self.model.device)
        try:
            _, found = alone._read(None, alone._nothing(), 0)
            said = ""
        except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
            found, said = None, f"{type(error).__name__}: {str(error).splitlines()[:1]}"
        was = self.model.hf.base_model(input_ids=whole, use_cache=False).last_hidden_state
        if found is not None:
            was = was[:, -found.shape[1] :]
            gap = float(((found - was).abs().amax(-1) / was.abs().amax(-1)).max())
            said = (
                "" if gap <= TOLERANCE.get(self.model.dtype, 1e-6) else f"it differs by {gap:.2g}"
            )
        if said:
            raise UserError(
                f"{self.model.public_name} does not keep its past as keys and values that can be "
                f"cut ({said}); give a model such as Llama, Gemma or Qwen"
            )


def _silent(_: int) -> None:
    """Nobody is told."""


def _seeing(own: Tensor, seen: Tensor) -> Callable[[int | None], Tensor]:
    """Which of the tokens at positions `seen [row, key]` those at `own [row, query]` see."""

    def allowed(window: int | None) -> Tensor:
        query, key = own[:, :, None], seen[:, None, :]
        out = (key >= 0) & (key <= query)
        if window is not None:
            out &= query - key < window
        # A padding column sees padding alone: an empty row would be NaN.
        return out | ((query < 0) & (key < 0))

    return allowed
