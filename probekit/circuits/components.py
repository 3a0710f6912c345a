"""Components: heads and neurons, and what each of them writes to the residual stream.

A head's write is its slice of `z` through W_O, a neuron's its activation times its row of W_down.
Writes, with the bias, sum to what the sublayer adds to the stream; behind a post-norm (Gemma 2 and
3, OLMo 2) they do so after its gain, times the norm's scale at that token, held fixed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from probekit.models import Model
from probekit.sites import Kind, Site

Floats = NDArray[np.float64]
Values = Mapping[Kind, Floats]
"""Kind of site -> an array of all layers."""
INNER: tuple[Kind, ...] = ("z", "mlp_post")
"""The sites whose units are components."""
OUTER: Mapping[Kind, Kind] = {"z": "attn_out", "mlp_post": "mlp_out"}
"""What the writes of a site's units sum to."""


@dataclass(frozen=True, order=True)
class Component:
    """One head ("z") or neuron ("mlp_post")."""

    kind: Kind
    layer: int
    unit: int

    @property
    def site(self) -> Site:
        """Where its activation is."""
        return Site(self.kind, self.layer)

    def __str__(self) -> str:
        return f"{self.kind}.{self.layer}.{self.unit}"

    @property
    def word(self) -> str:
        """As people say it: "head 3.5", "neuron 3.17"."""
        return f"{'head' if self.kind == 'z' else 'neuron'} {self.layer}.{self.unit}"


def by_site(components: Sequence[Component]) -> dict[Site, tuple[int, ...]]:
    """Units of each site, rising."""
    found: dict[Site, list[int]] = {}
    for each in sorted(components):
        found.setdefault(each.site, []).append(each.unit)
    return {site: tuple(units) for site, units in found.items()}


def columns(model: Model, site: Site, units: Sequence[int]) -> NDArray[np.int64]:
    """Coordinates of a site that are those of some of its units."""
    each = model.sites.width(site) // model.sites.units(site.kind)
    return (np.asarray(units)[:, None] * each + np.arange(each)).ravel()


def stream_kind(model: Model, kind: Kind) -> Kind:
    """The stream right behind a sublayer, where what it wrote is read.

    Parallel blocks have one stream for both sublayers.
    """
    return "resid_mid" if kind == "z" and "resid_mid" in model.sites.kinds else "resid_post"


@torch.no_grad()
def writing(model: Model, site: Site) -> Tensor:
    """`[d_site, d_model]` float32: what one unit of each coordinate of a site writes.

    Behind a post-norm times its gain; its scale differs from token to token (`frozen_scale`).
    """
    module: Any = model.sites.tap(site).module
    # GPT-2's Conv1D keeps its weight `[in, out]`; a Linear `[out, in]`.
    weight = module.weight.T if isinstance(module, nn.Linear) else module.weight
    weight = weight.detach().float() * model.sites.multiplier
    norm = _post_norm(model, site)
    return weight if norm is None else weight * gain(norm, model.d_model, weight.device)


def written_by(model: Model, site: Site, units: Sequence[int] | None = None) -> Floats:
    """`[coordinate, d_model]` float64: rows of `writing`, of some units or of all."""
    rows = writing(model, site)
    rows = rows if units is None else rows[columns(model, site, units)]
    return rows.double().cpu().numpy()


def gain(norm: nn.Module, width: int, device: torch.device) -> Tensor:
    """`[d]`, what an RMS norm multiplies by beside its scale: its output for ones."""
    given: Any = next(norm.parameters())
    return norm.forward(torch.ones(1, width, device=device, dtype=given.dtype))[0].float()


@torch.no_grad()
def frozen_scale(norm: nn.Module, value: Tensor, output: Tensor) -> Tensor:
    """`[..., 1]`, the scale by which an RMS norm took `[..., d]` vectors to its output."""
    through = value.float() * gain(norm, value.shape[-1], value.device)
    size = (through**2).sum(-1, keepdim=True)
    # A vector of zeros, as padding may be, has no scale.
    return (output.float() * through).sum(-1, keepdim=True) / size.where(size > 0, 1.0)


def scaled_sites(model: Model) -> Iterator[tuple[Site, nn.Module]]:
    """Sites whose writes go through a post-norm, and the norm."""
    for kind in INNER:
        for layer in range(model.n_layers):
            norm = _post_norm(model, Site(kind, layer))
            if norm is not None:
                yield Site(kind, layer), norm


def _post_norm(model: Model, site: Site) -> nn.Module | None:
    return model.sites.post_norm(Site(OUTER[site.kind], site.layer))
