"""Attribution patching: effects of edits to first order, from one backward pass.

The effect of an edit is taken as the gradient of the readout at the site times what the edit
changes there (Nanda 2023; Syed et al. 2023, arXiv:2310.10348). It is an approximation, so it never
comes without its correlation to exact effects on a sample of the same edits.
"""

from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Attributed:
    """First-order effects, and how well they agree with exact ones.

    Attributes:
        effects: `[edit, item]`.
        correlation: Pearson's r with the exact effects of the sample, over edits and items; NaN
            where either does not vary.
        sample: numbers of the edits that were also run exactly.
        exact: `[sample, item]`, their exact effects.
    """

    effects: Floats
    correlation: float
    sample: tuple[int, ...]
    exact: Floats


def attribute(
    model: Model,
    prompts: Sequence[Encoded],
    edits: Sequence[Edit],
    readout: Readout,
    column: str,
    *,
    sample: int = 32,
    seed: int = 0,
) -> Attributed:
    """Approximate what edits do to one figure of a readout.

    Args:
        prompts: run together in one batch.
        edits: single edits.
        column: which of the readout's figures.
        sample: how many of the edits are also run exactly.
        seed: of the sample's choice.

    Raises:
        UserError: a column that the readout lacks, or labels of several tokens.
    """
    if column not in readout.columns:
        raise UserError(f"no figure {column!r}: the readout has {', '.join(readout.columns)}")
    if readout.branches:
        raise UserError("attribution reads labels of one token: use first_token=True, or sweep")
    for edit in edits:
        edit.check(model.sites)
    sites = tuple(dict.fromkeys(edit.site for edit in edits))
    values, gradients = _gradients(model, prompts, sites, readout, readout.columns.index(column))
    effects = np.stack(
        [_effect(model, prompts, edit, values[edit.site], gradients[edit.site]) for edit in edits]
    )
    count = min(sample, len(edits))
    chosen = sorted(np.random.default_rng(seed).choice(len(edits), count, replace=False).tolist())
    found = sweep(model, prompts, [edits[n] for n in chosen], {"of": readout})
    exact = found.effects("of")[..., readout.columns.index(column)]
    return Attributed(effects, _pearson(effects[chosen], exact), tuple(chosen), exact)


def _gradients(
    model: Model, prompts: Sequence[Encoded], sites: Sequence[Site], readout: Readout, column: int
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
        readout.read(Seen(seen, seen.detach()))[:, column].sum().backward()
    zero = {site: torch.zeros_like(nudge) for site, nudge in nudges.items()}
    return values, {s: n.grad if n.grad is not None else zero[s] for s, n in nudges.items()}


@torch.no_grad()
def _effect(
    model: Model, prompts: Sequence[Encoded], edit: Edit, value: Tensor, gradient: Tensor
) -> Floats:
    """Gradient times change, summed over tokens, `[item]`."""
    found = [
        (row, token, row, number)
        for row, prompt in enumerate(prompts)
        for number, token in enumerate(edit.tokens(row, len(prompt)))
    ]
    where = Where(*torch.tensor(found, dtype=torch.long).reshape(-1, 4).unbind(1))
    change = edit.change(model.sites, where)(value) - value
    return (gradient * change).double().sum((1, 2)).cpu().numpy()


def _pearson(a: Floats, b: Floats) -> float:
    if a.std() == 0 or b.std() == 0:
        return float("nan")
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])
