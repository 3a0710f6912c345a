"""What a model gives each token of a continuation, and how an edit changes what it expects.

`probekit.baselines.token_surprisals` reads whole texts. Here only the tokens of a continuation are
taken through the unembedding, a bounded number at a time: a vocabulary may have 262,000 entries.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from probekit.edits import Edit, applied
from probekit.errors import UserError
from probekit.head import Head
from probekit.models import Model
from probekit.prompts import NO_TEMPLATE, Encoded, Template
from probekit.steering import Drive, edits_of

Floats = NDArray[np.float64]
Meanwhile = Sequence[Edit] | Drive
"""What is done to a model while it reads: a drive, or edits of all rows alike."""
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
    meanwhile: Meanwhile = (),
    *,
    tokens: int = TOKENS,
    advance: Callable[[int], None] = lambda _: None,
) -> list[Floats]:
    """Surprisal in nats of each token of a continuation, `[row][token]`.

    Args:
        model: the model.
        prompts: what stands before.
        continuations: token ids of each row; one without any gives an empty array.
        meanwhile: what is done to the model, as if it were writing the continuations.
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
        with _under(model, meanwhile, [len(prompts[row]) for row in rows]):
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
    meanwhile: Meanwhile,
    template: Template = NO_TEMPLATE,
    *,
    tokens: int = TOKENS,
) -> Floats:
    """KL(unedited || edited) of the next token, mean over the text's own tokens, in nats, `[text]`.

    NaN for a text without a token.

    Args:
        model: the model.
        texts: neutral ones, say.
        meanwhile: what is done to the model, as if it were writing the texts.
        template: around each text.
        tokens: padded tokens of one forward pass.
    """
    prompts, head = model.encode(texts, template), Head(model)
    out = np.full(len(prompts), np.nan)
    for rows in in_batches([len(each) for each in prompts], tokens):
        batch = model.collate([prompts[row] for row in rows])
        inside = [prompts[row].tokens_of(0, len(texts[row])) for row in rows]
        before = model.body(batch)
        with _under(model, meanwhile, [max(1, own[0]) if own else 1 for own in inside]):
            after = model.body(batch)
        for place, (row, own) in enumerate(zip(rows, inside, strict=True)):
            if own:
                out[row] = _kl(head, before[place, own], after[place, own]).mean()
    return out


def _under(
    model: Model, meanwhile: Meanwhile, lengths: Sequence[int]
) -> AbstractContextManager[None]:
    """The model changed as while it writes what follows prompts of these lengths."""
    steered = isinstance(meanwhile, Drive)
    edits = edits_of(model, [meanwhile] * len(lengths)) if steered else meanwhile
    return applied(model, edits, lengths=lengths, beyond=True)


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
