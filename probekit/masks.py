"""Attention masks of our own, in the form in which each architecture takes them."""

from collections.abc import Callable

import torch
from torch import Tensor

from probekit.models import Model

Seen = Callable[[int | None], Tensor]
"""From a sliding window's size (None: all before) to `[row, query, key]`, True where seen."""


def masks(model: Model, seen: Seen) -> Tensor | dict[str, Tensor]:
    """What is added to the scores, `[row, 1, query, key]`; where a model mixes kinds of attention,
    one for each kind.
    """
    config = model.config
    window = getattr(config, "sliding_window", None)
    kinds = sorted(set(getattr(config, "layer_types", None) or []))
    if not kinds:
        return _added(model, seen(window))
    made = {
        kind: _added(model, seen(window if kind == "sliding_attention" else None)) for kind in kinds
    }
    return made if len(made) > 1 else made[kinds[0]]


def _added(model: Model, seen: Tensor) -> Tensor:
    least = torch.finfo(model.dtype).min
    zeros = torch.zeros(seen.shape, dtype=model.dtype)
    return zeros.masked_fill(~seen, least)[:, None].to(model.device)
