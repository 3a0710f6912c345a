"""What a model gives each token of a continuation, and how an edit changes what it expects.

`probekit.baselines.token_surprisals` reads whole texts. Here only the tokens of a continuation are
taken through the unembedding, a bounded number at a time: a vocabulary may have 262,000 entries.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from probekit.edits import Edit
from probekit.errors import UserError
from probekit.head import Head
from probekit.models import Model
from probekit.prompts import NO_TEMPLATE, Encoded, Template

Floats = NDArray[np.float64]
TOKENS = 4096
"""Tokens of one forward pass, pads included."""
LOGITS = 3e7
"""Logits that are held at once."""


def in_batches(lengths: Sequence[int], tokens: int = TOKENS) -> Iterator[list[int]]:
    """Rows of similar length, at most so many padded tokens at once (always one row)."""
    order = sorted(range(len(lengths)), key=lambda row: lengths[row])
    start = 0
    while start < len(order):
        stop = start + 1
        while stop < len(order) and (stop + 1 - start) * lengths[order[stop]] <= tokens:
            stop += 1
        yield order[start:stop]
        start = stop


@torch.no_grad()
def continuation_nats(
    model: Model,
    prompts: Sequence[Encoded],
    continuations: Sequence[Sequence[int]],
    edits: Sequence[Edit] = (),
    *,
    tokens: int = TOKENS,
    advance: Callable[[int], None] = lambda _: None,
) -> list[Floats]:
    """Surprisal in nats of each token of a continuation, `[row][token]`.

    Args:
        model: the model.
        prompts: what stands before.
        continuations: token ids of each row; one without any gives an empty array.
        edits: what is done to the model meanwhile; they must suit any batch (every row alike).
        tokens: padded tokens of one forward pass.
        advance: told how many rows were just finished.

    Raises:
        UserError: a row is longer than the model's context.
    """
    joined = [
        replace(prompt, input_ids=(*prompt.input_ids, *more))
        for prompt, more in zip(prompts, continuations, strict=True)
    ]
    if long := [each.id for each in joined if len(each) > model.n_ctx]:
        raise UserError(f"item {long[0]!r} is longer than the context ({model.n_ctx} tokens)")
    head, out = Head(model), [np.empty(0)] * len(joined)
    for rows in in_batches([len(each) for each in joined], tokens):
        batch = model.collate([joined[row] for row in rows])
        with model.edited(edits):
            states = model.body(batch)
        spans = [(len(prompts[row]) - 1, len(joined[row]) - 1) for row in rows]
        seen = torch.cat([states[place, a:b] for place, (a, b) in enumerate(spans)])
        given = torch.cat(
            [batch.input_ids[place, a + 1 : b + 1] for place, (a, b) in enumerate(spans)]
        )
        nats = np.split(_nats(head, seen, given), np.cumsum([b - a for a, b in spans])[:-1])
        for row, found in zip(rows, nats, strict=True):
            out[row] = found
        advance(len(rows))
    return out


@torch.no_grad()
def next_token_kl(
    model: Model,
    texts: Sequence[str],
    edits: Sequence[Edit],
    template: Template = NO_TEMPLATE,
    *,
    tokens: int = TOKENS,
) -> Floats:
    """KL(unedited || edited) of the next token, mean over the text's own tokens, in nats, `[text]`.

    Args:
        model: the model.
        texts: neutral ones, say.
        edits: what is done to the model; they must suit any batch (every row alike).
        template: around each text.
        tokens: padded tokens of one forward pass.
    """
    prompts, head = model.encode(texts, template), Head(model)
    out = np.full(len(prompts), np.nan)
    for rows in in_batches([len(each) for each in prompts], tokens):
        batch = model.collate([prompts[row] for row in rows])
        before = model.body(batch)
        with model.edited(edits):
            after = model.body(batch)
        for place, row in enumerate(rows):
            own = prompts[row].tokens_of(0, len(texts[row]))
            if own:
                out[row] = _kl(head, before[place, own], after[place, own]).mean()
    return out


def _nats(head: Head, states: Tensor, given: Tensor) -> Floats:
    found = [
        logits.logsumexp(-1) - logits.gather(-1, given[part, None])[:, 0]
        for part in _parts(head, len(states))
        for logits in [_wide(head(states[part]))]
    ]
    return torch.cat(found).double().cpu().numpy() if found else np.empty(0)


def _kl(head: Head, before: Tensor, after: Tensor) -> Floats:
    found = []
    for part in _parts(head, len(before), 4):
        was, now = (_wide(head(states[part])).log_softmax(-1) for states in (before, after))
        found.append((was.exp() * (was - now)).sum(-1))
    # Rounding may leave a KL of nothing a hair below 0.
    return torch.cat(found).double().clamp(min=0).cpu().numpy()


def _parts(head: Head, count: int, copies: int = 1) -> Iterator[slice]:
    step = max(1, int(LOGITS // (len(head.weight) * copies)))
    return (slice(start, start + step) for start in range(0, count, step))


def _wide(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()
