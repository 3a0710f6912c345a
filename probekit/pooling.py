"""Which tokens of a prompt are read, as rows of weights over token positions.

- `last`: the last token that stands for text (the read-out position of a template).
- `mean`: all tokens of the text itself, without the template around it.
- `span`: the tokens of a character span of the text.
- an integer, from either end: that token of the prompt, special tokens counted.

The first token of a prompt (the attention sink; its norm is many times the others') and special
tokens are left out of `mean` and `span`; an index says exactly what is wanted.
"""

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from probekit.errors import UserError
from probekit.prompts import Encoded

NAMES = ("last", "mean", "span")
Span = tuple[int, int]


def parse(positions: Sequence[str | int]) -> tuple[str, ...]:
    """Canonical names of the poolings asked for: `last`, `mean`, `span`, or a signed index.

    Raises:
        UserError: none given, or a name that is no pooling.
    """
    names = tuple(dict.fromkeys(str(position) for position in positions))
    for name in names:
        if name not in NAMES and not re.fullmatch(r"-?\d+", name):
            raise UserError(
                f"unknown pooling {name!r}: accepted are {', '.join(NAMES)}, "
                "or a token's index from either end such as 3 or -2"
            )
    if not names:
        raise UserError(f"no pooling given: accepted are {', '.join(NAMES)} or a token's index")
    return names


def tokens(prompt: Encoded, pooling: str, span: Span | None = None) -> list[int]:
    """The token indices that a pooling averages over, never empty.

    Raises:
        UserError: the prompt has no such token; names the item and what to do.
    """
    match pooling:
        case "last":
            found = [i for i, special in enumerate(prompt.special) if not special][-1:]
        case "mean":
            found = _without_sink(prompt, prompt.tokens_of(0, prompt.text_end - prompt.text_start))
        case "span":
            if span is None:
                raise UserError(f"item {prompt.id!r}: pooling 'span' needs a character span for it")
            found = _without_sink(prompt, prompt.tokens_of(*span))
        case _:
            index = int(pooling)
            found = [index % len(prompt)] if -len(prompt) <= index < len(prompt) else []
    if not found:
        raise UserError(
            f"item {prompt.id!r}: pooling {pooling!r} finds no token in its {len(prompt)} "
            "(the first token and special tokens are left out); lengthen it, or use an index"
        )
    return found


def _without_sink(prompt: Encoded, found: list[int]) -> list[int]:
    return [index for index in found if index > 0 and not prompt.special[index]]


def weights(
    prompts: Sequence[Encoded],
    poolings: Sequence[str],
    spans: Sequence[Span | None],
    width: int,
    *,
    left: bool = False,
) -> Tensor:
    """Averaging weights `[row, pooling, token]` in float32 over prompts padded to `width`."""
    out = torch.zeros(len(prompts), len(poolings), width)
    for row, (prompt, span) in enumerate(zip(prompts, spans, strict=True)):
        start = width - len(prompt) if left else 0
        for column, pooling in enumerate(poolings):
            found = tokens(prompt, pooling, span)
            out[row, column, [start + index for index in found]] = 1.0 / len(found)
    return out
