"""The whole model once for every edit: what the shared run must equal, and what replaces it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from probekit.edits import Edit, applied
from probekit.hooks import reading
from probekit.models import Model, PaddingSide
from probekit.prompts import Encoded
from probekit.sites import Site
from probekit.sweep.panel import Panel


def states(
    model: Model,
    prompts: Sequence[Encoded],
    panel: Panel,
    edits: Sequence[Edit],
    *,
    first: int = 0,
    side: PaddingSide = "right",
) -> dict[Site | None, Tensor]:
    """What the readouts see of whole prompts, `[item, 1 + branch token, d]`.

    Every branch is run behind the prompts in a pass of its own, with the same edits at the
    prompts' tokens. `first` is the number of the first prompt among those that the edits speak of.
    """
    lengths = [len(prompt) for prompt in prompts]
    editing = applied(model, edits, first=first, lengths=lengths)
    with editing:
        out = _read(model, prompts, panel, side, [length - 1 for length in lengths], 1)
        for branch in panel.branches:
            longer = [_longer(prompt, branch) for prompt in prompts]
            part = _read(model, longer, panel, side, lengths, len(branch))
            out[None] = torch.cat([out[None], part[None]], 1)
    return out


@torch.no_grad()
def _read(
    model: Model,
    prompts: Sequence[Encoded],
    panel: Panel,
    side: PaddingSide,
    begin: Sequence[int],
    count: int,
) -> dict[Site | None, Tensor]:
    """States of `count` tokens from token `begin[item]` on."""
    batch = model.collate(prompts, side=side)
    width = batch.input_ids.shape[1]
    pads = [width - len(prompt) if side == "left" else 0 for prompt in prompts]
    rows = torch.arange(len(prompts))[:, None]
    columns = (torch.tensor(begin) + torch.tensor(pads))[:, None] + torch.arange(count)
    out: dict[Site | None, Tensor] = {}

    def receive(site: Site, value: Tensor) -> None:
        out[site] = value[rows, columns].clone()

    with reading(model.sites, panel.sites, receive):
        final = model.body(batch)
    if panel.final:
        out[None] = final[rows, columns]
    return out


def _longer(prompt: Encoded, tokens: Sequence[int]) -> Encoded:
    more = len(tokens)
    return Encoded(
        prompt.id,
        (*prompt.input_ids, *tokens),
        (*prompt.special, *(False,) * more),
        (*prompt.offsets, *(prompt.offsets[-1],) * more),
        prompt.text_start,
        prompt.text_end,
    )
