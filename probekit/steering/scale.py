"""How long a model's states are where nothing is at stake: the unit of a dose.

A dose is the length of what is added over the median length of the residual stream at that layer,
so that 0.1 means the same at every layer of every model. The first token is left out: its state
is an attention sink, up to a hundred times as long as the others (Xiao et al. 2023,
arXiv 2309.17453).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from torch import Tensor

from probekit import runs
from probekit.directions import Directions
from probekit.directions.sources import neutral_texts
from probekit.errors import UserError, unknown
from probekit.hooks import reading, stopping_after
from probekit.models import Model
from probekit.prompts import NO_TEMPLATE, Template
from probekit.sites import Kind, Site

BATCH = 16


@dataclass(frozen=True, eq=False)
class Scale:
    """Median length and mean of the states of neutral tokens, of one kind of site of one model.

    Attributes:
        fingerprint: of the model.
        kind: of the site.
        norms: `[layer]` float64, median lengths.
        means: `[layer, d]` float32, mean states.
    """

    fingerprint: str
    kind: Kind
    norms: NDArray[np.float64]
    means: NDArray[np.float32]

    def norm(self, layer: int) -> float:
        """Median length at a layer.

        Raises:
            UserError: a layer that the model does not have.
        """
        if not 0 <= layer < len(self.norms):
            raise unknown("layer", layer, [f"0 to {len(self.norms) - 1}"])
        return float(self.norms[layer])


def residual_scale(
    model: Model,
    kind: Kind = "resid_post",
    template: Template = NO_TEMPLATE,
    *,
    advance: Callable[[int], None] = lambda _: None,
) -> Scale:
    """Read the vignettes' neutral dev texts, once for a model; the figures are kept in the cache.

    Args:
        model: the model.
        kind: of the sites; one of the width of the residual stream.
        template: the prompt around each text; tokens of the text alone are counted.
        advance: called with the number of texts just read.

    Raises:
        UserError: a kind of another width.
    """
    if model.sites.width(Site(kind, 0)) != model.d_model:
        raise UserError(f"a dose at {kind}: its vectors are not of the residual stream's width")
    texts = neutral_texts()
    key = {
        "format": "probekit-scale-1",
        "model": model.fingerprint,
        "kind": kind,
        "texts": texts.sha256,
        "template": template.describe(),
    }
    kept = runs.cache_home() / "scales" / f"{runs.digest(key)[:24]}.safetensors"
    if not kept.exists():
        norms, means = _measured(model, kind, texts.texts, template, advance)
        with runs.atomic_write(kept) as temporary:
            save_file({"norms": norms, "means": means}, temporary)
    found = load_file(kept)
    return Scale(model.fingerprint, kind, found["norms"], found["means"])


def with_scale(directions: Directions, scale: Scale) -> Directions:
    """The directions with the unit of a dose beside them, so that a file of them can be exported.

    Args:
        directions: of the model and the kind of site of the scale.

    Raises:
        UserError: a scale of another model or kind, or a layer that it lacks.
    """
    if scale.fingerprint != directions.model.fingerprint:
        raise UserError(
            f"a scale of another model than {directions.model}: measure it with "
            "`residual_scale` on the model that the directions are of, in its dtype"
        )
    if scale.kind != directions.kind:
        raise UserError(
            f"a scale at {scale.kind} for directions at {directions.kind}: measure it with "
            f"`residual_scale(model, {directions.kind!r})`"
        )
    return replace(directions, residual_norms=tuple(map(scale.norm, directions.layers)))


@torch.no_grad()
def _measured(
    model: Model,
    kind: Kind,
    texts: list[str],
    template: Template,
    advance: Callable[[int], None],
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Median lengths `[layer]` and means `[layer, d]` over the tokens of all texts."""
    sites = [Site(kind, layer) for layer in range(model.n_layers)]
    lengths: list[list[Tensor]] = [[] for _ in sites]
    sums = torch.zeros(len(sites), model.d_model, dtype=torch.float64)
    prompts = model.encode(texts, template)
    for start in range(0, len(prompts), BATCH):
        part = prompts[start : start + BATCH]
        batch = model.collate(part)
        counted = torch.zeros(batch.input_ids.shape, dtype=torch.bool)
        for row, prompt in enumerate(part):
            own = prompt.tokens_of(0, prompt.text_end - prompt.text_start)
            counted[row, [token for token in own if token > 0]] = True

        def receive(site: Site, value: Tensor, counted: Tensor = counted) -> None:
            states = value[counted.to(value.device)].float().cpu()
            lengths[site.layer].append(states.norm(dim=-1))
            sums[site.layer] += states.double().sum(0)

        with reading(model.sites, sites, receive), stopping_after(model.sites, model.n_layers - 1):
            model.body(batch)
        advance(len(part))
    every = torch.stack([torch.cat(parts) for parts in lengths]).double()
    return every.median(dim=-1).values.numpy(), (sums / every.shape[1]).float().numpy()
