"""Attribution patching: effects of edits to first order, from one backward pass.

The effect of an edit is taken as the gradient of the readout at the site times what the edit
changes there (Nanda 2023; Syed et al. 2023, arXiv:2310.10348). It is an approximation, so it never
comes without its correlation to exact effects on a sample of the same edits.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from probekit.edits import Edit, Where
from probekit.errors import UserError
from probekit.hooks import writing
from probekit.models import Model
from probekit.prompts import Encoded
from probekit.readouts import Readout, Seen
from probekit.sites import Site
from probekit.sweep import Floats, sweep

TOGETHER = 8
"""Prompts in one backward pass."""


@dataclass(frozen=True)
class Attributed:
    """First-order effects, and how well they agree with exact ones.

    Attributes:
        effects: `[edit, item]`, or `[edit, item, unit]` of units.
        correlation: Pearson's r with the exact effects of the sample, over the sample and items;
            NaN where either does not vary.
        sample: places of those that were also run exactly, `(edit,)` or `(edit, unit)`.
        exact: `[sample, item]`, their exact effects.
    """

    effects: Floats
    correlation: float
    sample: tuple[tuple[int, ...], ...]
    exact: Floats


def attribute(
    model: Model,
    prompts: Sequence[Encoded],
    edits: Sequence[Edit],
    readout: Readout,
    columns: str | Sequence[str],
    *,
    sample: int = 32,
    seed: int = 0,
) -> Attributed:
    """Approximate what edits do to one figure of a readout.

    Args:
        edits: single edits.
        columns: which of the readout's figures, of all items or of each.
        sample: how many of the edits are also run exactly.
        seed: of the sample's choice.

    Raises:
        UserError: a column that the readout lacks, or labels of several tokens.
    """
    products = _products(model, prompts, edits, readout, columns)
    effects = np.stack([product.sum(1) for product in products])
    return _beside_exact(model, prompts, edits, readout, columns, effects, sample, seed)


def attribute_units(
    model: Model,
    prompts: Sequence[Encoded],
    edits: Sequence[Edit],
    readout: Readout,
    columns: str | Sequence[str],
    *,
    sample: int = 32,
    seed: int = 0,
) -> Attributed:
    """The same for each unit alone: what an edit of whole sites does at one head or neuron.

    Args:
        edits: each of a whole `z` (heads) or a whole `mlp_post` (neurons), all of one kind.

    Raises:
        UserError: as `attribute`; or a site without units.
    """
    parts = any(edit.units is not None or edit.direction is not None for edit in edits)
    if parts or len({edit.site.kind for edit in edits}) != 1:
        raise UserError("attribution by unit: give edits of whole sites, all of one kind")
    units = model.sites.units(edits[0].site.kind)
    products = _products(model, prompts, edits, readout, columns)
    effects = np.stack([p.reshape(len(p), units, -1).sum(-1) for p in products])
    return _beside_exact(model, prompts, edits, readout, columns, effects, sample, seed)


def _beside_exact(
    model: Model,
    prompts: Sequence[Encoded],
    edits: Sequence[Edit],
    readout: Readout,
    columns: str | Sequence[str],
    effects: Floats,
    sample: int,
    seed: int,
) -> Attributed:
    """The effects beside exact ones of a sample."""
    places = [(n, *unit) for n in range(len(edits)) for unit in np.ndindex(effects.shape[2:])]
    count = min(sample, len(places))
    drawn = np.random.default_rng(seed).choice(len(places), count, replace=False)
    chosen = [places[n] for n in sorted(drawn.tolist())]
    alone = [_of_unit(edits[place[0]], place[1:]) for place in chosen]
    found = sweep(model, prompts, alone, {"of": readout}).effects("of")
    exact = found[:, np.arange(len(prompts)), _numbers(readout, columns, len(prompts))]
    first_order = np.stack([effects[n, :, *unit] for n, *unit in chosen])
    return Attributed(effects, _pearson(first_order, exact), tuple(chosen), exact)


def _of_unit(edit: Edit, unit: tuple[int, ...]) -> Edit:
    return replace(edit, units=unit) if unit else edit


def _numbers(readout: Readout, columns: str | Sequence[str], count: int) -> list[int]:
    """`[item]`, numbers of the figures that are asked for."""
    named = [columns] * count if isinstance(columns, str) else list(columns)
    if strange := [name for name in named if name not in readout.columns]:
        raise UserError(f"no figure {strange[0]!r}: the readout has {', '.join(readout.columns)}")
    if len(named) != count:
        raise UserError(f"{len(named)} figures for {count} prompts: give one, or one for each")
    return [readout.columns.index(name) for name in named]


def _products(
    model: Model,
    prompts: Sequence[Encoded],
    edits: Sequence[Edit],
    readout: Readout,
    columns: str | Sequence[str],
) -> list[Floats]:
    """Gradient times change, summed over tokens, `[item, d]` of each edit."""
    numbers = _numbers(readout, columns, len(prompts))
    if readout.branches:
        raise UserError("attribution reads labels of one token: use first_token=True, or sweep")
    for edit in edits:
        edit.check(model.sites, gated=False)
        edit.check_rows(len(prompts))
    sites = tuple(dict.fromkeys(edit.site for edit in edits))
    found: list[list[Floats]] = [[] for _ in edits]
    for first in range(0, len(prompts), TOGETHER):
        some = prompts[first : first + TOGETHER]
        values, gradients = _gradients(model, some, sites, readout, numbers[first:])
        for edit, parts in zip(edits, found, strict=True):
            at = edit.site
            parts.append(_product(model, some, first, edit, values[at], gradients[at]))
    return [np.concatenate(parts) for parts in found]


def _gradients(
    model: Model,
    prompts: Sequence[Encoded],
    sites: Sequence[Site],
    readout: Readout,
    columns: Sequence[int],
) -> tuple[dict[Site, Tensor], dict[Site, Tensor]]:
    """Values of the sites `[item, token, d]`, and the figure's gradient there."""
    batch = model.collate(prompts)
    rows = torch.arange(len(prompts), device=model.device)
    last = torch.tensor([len(prompt) - 1 for prompt in prompts], device=model.device)
    values: dict[Site, Tensor] = {}
    nudges: dict[Site, Tensor] = {}
    read: dict[Site, Tensor] = {}

    def nudged(site: Site, value: Tensor) -> Tensor:
        values[site] = value.detach().clone()
        nudges[site] = torch.zeros_like(values[site], requires_grad=True)
        return value + nudges[site]

    def noted(site: Site, value: Tensor) -> Tensor:
        read[site] = value.clone()
        return read[site]

    changes = [(site, lambda value, site=site: nudged(site, value)) for site in sites]
    if readout.site is not None:
        changes.append((readout.site, lambda value, site=readout.site: noted(site, value)))
    with torch.enable_grad(), writing(model.sites, changes):
        state = model.hf.base_model(**batch.inputs(), use_cache=False).last_hidden_state
        state = state if readout.site is None else read[readout.site]
        seen = state[rows, last][:, None]
        figures = readout.read(Seen(seen, seen.detach()))
        figures[rows, list(columns[: len(prompts)])].sum().backward()
    zero = {site: torch.zeros_like(nudge) for site, nudge in nudges.items()}
    return values, {s: n.grad if n.grad is not None else zero[s] for s, n in nudges.items()}


@torch.no_grad()
def _product(
    model: Model,
    prompts: Sequence[Encoded],
    first: int,
    edit: Edit,
    value: Tensor,
    gradient: Tensor,
) -> Floats:
    """Gradient times change of the items from `first` on, summed over tokens, `[item, d]`."""
    found = [
        (row, token, first + row, number)
        for row, prompt in enumerate(prompts)
        for number, token in enumerate(edit.tokens(first + row, len(prompt)))
    ]
    where = Where.of(found)
    change = edit.change(model.sites, where)(value) - value
    return (gradient * change).double().sum(1).cpu().numpy()


def _pearson(a: Floats, b: Floats) -> float:
    if a.std() == 0 or b.std() == 0:
        return float("nan")
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])
