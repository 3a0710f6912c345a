"""`activity`: what heads and neurons do at the read-out tokens of texts, in one pass a batch.

Of every text the mean over its read-out tokens of `z`, `mlp_post` and the streams behind each
sublayer; and of activations times the scale that a post-norm gave their token, so that such a mean
times `components.writing` is what reached the stream, bias apart.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from probekit.circuits.components import INNER, frozen_scale, scaled_sites, stream_kind
from probekit.errors import UserError
from probekit.hooks import reading
from probekit.models import Model
from probekit.prompts import Encoded
from probekit.scorecard.likelihood import in_batches
from probekit.sites import Kind, Site
from probekit.store import Activations

POOLING, SCALED = "read-out", "read-out times the post-norm's scale"
BATCH_TOKENS = 2048


@dataclass(frozen=True)
class ReadOut:
    """One text, and the tokens at which a model is read.

    Attributes:
        prompt: the whole of what the model is given.
        tokens: indices, at least one.
    """

    prompt: Encoded
    tokens: tuple[int, ...]


def kinds_of(model: Model) -> tuple[Kind, ...]:
    """The sites that are read: activations, and the streams behind them."""
    return tuple(dict.fromkeys([*INNER, *(stream_kind(model, kind) for kind in INNER)]))


@torch.no_grad()
def activity(
    model: Model, texts: Sequence[ReadOut], *, advance: Callable[[int], None] = lambda _: None
) -> Activations:
    """Means over read-out tokens at every layer, `[layer, item, width]`, as `POOLING`.

    Activations also as `SCALED`: the same numbers in models without post-norms.

    Raises:
        UserError: no text, a text without a read-out token, or NaN in an activation.
    """
    if not texts:
        raise UserError("no text to read: give one or more")
    if bare := [each.prompt.id for each in texts if not each.tokens]:
        raise UserError(f"{bare[0]!r} has no token to read: leave it out")
    kinds = kinds_of(model)
    layers = range(model.n_layers)
    names = [f"{kind}/{POOLING}" for kind in kinds]
    names += [f"{kind}/{SCALED}" for kind in dict.fromkeys(s.kind for s, _ in scaled_sites(model))]
    made = {
        name: np.empty(
            (len(layers), len(texts), model.sites.width(Site(_kind(name), 0))), np.float32
        )
        for name in names
    }
    for rows in in_batches([len(each.prompt) for each in texts], BATCH_TOKENS):
        for (site, pooling), value in _means(model, [texts[row] for row in rows], kinds).items():
            made[f"{site.kind}/{pooling}"][site.layer, rows] = value.cpu().numpy()
        advance(len(rows))
    for name, values in made.items():
        if not np.isfinite(values).all():
            layer, item = np.argwhere(~np.isfinite(values).all(-1))[0]
            raise UserError(
                f"NaN or infinity at {_kind(name)}.{layer} on {texts[item].prompt.id!r}: use "
                "bfloat16 or float32"
            )
    for kind in INNER:
        made.setdefault(f"{kind}/{SCALED}", made[f"{kind}/{POOLING}"])
    return Activations(
        tuple(each.prompt.id for each in texts), {kind: tuple(layers) for kind in kinds}, made
    )


def _kind(name: str) -> Kind:
    kind: Any = name.partition("/")[0]
    return kind


def _means(
    model: Model, texts: Sequence[ReadOut], kinds: Sequence[Kind]
) -> dict[tuple[Site, str], Tensor]:
    """`[item, width]` of every site and pooling."""
    batch = model.collate([each.prompt for each in texts])
    weights = torch.zeros(batch.input_ids.shape)
    for row, each in enumerate(texts):
        weights[row, list(each.tokens)] = 1 / len(each.tokens)
    weights = weights.to(model.device)
    sites = [Site(kind, layer) for kind in kinds for layer in range(model.n_layers)]
    scaled = {site for site, _ in scaled_sites(model)}
    held: dict[Site, Tensor] = {}
    found: dict[tuple[Site, str], Tensor] = {}

    def pooled(value: Tensor, by: Tensor) -> Tensor:
        return torch.einsum("rt,rtd->rd", by.to(value.device), value.float())

    def receive(site: Site, value: Tensor) -> None:
        found[site, POOLING] = pooled(value, weights)
        if site in scaled:  # Its norm comes after it: the value waits for the scale.
            held[site] = value

    def scale(site: Site, scales: Tensor) -> None:
        found[site, SCALED] = pooled(held.pop(site), weights.to(scales.device) * scales[..., 0])

    with reading(model.sites, sites, receive), _scales(model, scale):
        model.body(batch)
    return found


@contextmanager
def _scales(model: Model, receive: Callable[[Site, Tensor], None]) -> Iterator[None]:
    """Within the block, `receive` is given each post-norm's scale `[row, token, 1]`."""
    handles = []
    try:
        for site, norm in scaled_sites(model):

            def hook(module: Any, args: Any, output: Tensor, site: Site = site) -> None:
                receive(site, frozen_scale(module, args[0], output))

            handles.append(norm.register_forward_hook(hook))
        yield
    finally:
        for handle in handles:
            handle.remove()
