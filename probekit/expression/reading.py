"""States at a prompt's last token and over the reply that follows it, under edits or without."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from probekit.activations.job import batches
from probekit.edits import Edit, applied
from probekit.hooks import reading, stopping_after
from probekit.models import Model
from probekit.prompts import Encoded
from probekit.sites import Site
from probekit.steering.steering import Drive, edits_of

States = NDArray[np.float32]
PLACES = ("prompt", "reply")
"""The prompt's last token; the mean over the reply's tokens."""


@torch.no_grad()
def read(
    model: Model,
    prompts: Sequence[Encoded],
    replies: Sequence[Sequence[int]],
    sites: Sequence[Site],
    drives: Sequence[Drive | None] | None = None,
    edits: Sequence[Edit] = (),
    advance: Callable[[int], None] = lambda _: None,
) -> States:
    """`[row, place, site, d]` of `PLACES`; an empty reply has NaN for its mean.

    Args:
        prompts: from `model.encode`.
        replies: `[row]`, token ids behind each prompt.
        sites: where.
        drives: what is done to each row meanwhile, as it was when the reply was written.
        edits: what is done to all of them.
        advance: called with the number of rows read.
    """
    whole = [prompt.followed_by(ids) for prompt, ids in zip(prompts, replies, strict=True)]
    each = drives or [None] * len(whole)
    found = np.empty((len(whole), len(PLACES), len(sites), model.d_model), np.float32)
    order = sorted(range(len(whole)), key=lambda row: len(whole[row]))
    for places in batches([len(whole[row]) for row in order], model.pass_tokens):
        rows = [order[place] for place in places]
        own = [*edits, *edits_of(model, [each[row] for row in rows])]
        lengths = [len(prompts[row]) for row in rows]
        pooled: dict[Site, Tensor] = {}
        average = _average([whole[row] for row in rows], lengths).to(model.device)

        def receive(
            site: Site, value: Tensor, out: dict[Site, Tensor] = pooled, by: Tensor = average
        ) -> None:
            out[site] = torch.bmm(by, value.float())

        with (
            # Edits come first: what is read is what they leave.
            applied(model, own, lengths=lengths, beyond=True),
            reading(model.sites, sites, receive),
            stopping_after(model.sites, max(site.layer for site in sites)),
        ):
            model.body(model.collate([whole[row] for row in rows]))
        values = [pooled[site].cpu() for site in sites]
        found[rows] = rearrange(values, "site row place d -> row place site d").numpy()
        advance(len(rows))
    return found


def _average(whole: Sequence[Encoded], lengths: Sequence[int]) -> Tensor:
    """Weights `[row, place, token]`; NaN at the prompt's last token where there is no reply."""
    out = torch.zeros(len(whole), len(PLACES), max(map(len, whole)))
    for row, (prompt, length) in enumerate(zip(whole, lengths, strict=True)):
        out[row, 0, length - 1] = 1
        if len(prompt) == length:
            out[row, 1, length - 1] = torch.nan
        else:
            out[row, 1, length : len(prompt)] = 1 / (len(prompt) - length)
    return out
