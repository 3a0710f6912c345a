"""What erasing costs the model's own task: its loss on the next token."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from probekit import stats
from probekit.edits import Edit, Operation, Rotated
from probekit.erasure.eraser import Eraser, random_eraser
from probekit.errors import UserError
from probekit.models import Model
from probekit.prompts import Encoded
from probekit.sites import Site
from probekit.stats import Estimate

Floats = NDArray[np.float64]
Row = dict[str, Any]
METRIC, CONTROLS = "nats_per_token", ("random", "placebo")


def language_loss(
    model: Model,
    texts: Sequence[str],
    site: str | Site,
    eraser: Eraser,
    *,
    clusters: Sequence[str] | None = None,
    bootstraps: int = 1000,
    seed: int = 0,
    batch: int = 8,
    truncate: bool = False,
    unedited: Floats | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> list[Row]:
    """Next-token loss on neutral texts: unedited, erased, and under two controls.

    The controls are `random`, an eraser of as many random directions, and `placebo`, what erasing
    changes, turned by a random rotation: what any change of that size costs. Erasing acts at every
    token but the first, whose norm is that of an attention sink and which was in no pooling that
    an eraser is fitted on.

    Args:
        texts: neutral ones, of two tokens or more.
        site: where the eraser was fitted: "resid_post.12".
        clusters: `[text]`, what the bootstrap draws (default: the texts).
        bootstraps, seed: draws of intervals; the seed also draws the controls.
        batch: texts in one forward pass.
        truncate: cut texts that do not fit the context.
        unedited: `[text]`, from `unedited_nats` of the same texts, so that it is found once for
            many erasers (default: found here).
        advance: called with the number of texts finished.

    Returns:
        Rows of `nats_per_token` for each method and, but for none, `nats_per_token_change`: the
        paired difference from no edit, and its p against zero. `nats_per_token_above_random` and
        `..._above_placebo` are those of erasing from its controls.

    Raises:
        UserError: a text of one token, or an eraser of another width than the site.
    """
    place = site if isinstance(site, Site) else Site.parse(site)[0]
    names = [str(row) for row in range(len(texts))] if clusters is None else list(clusters)
    if len(names) != len(texts) or len(set(names)) < 2:
        raise UserError(
            f"{len(set(names))} clusters for {len(texts)} texts: give one a text, two different"
        )
    prompts = _prompts(model, texts, truncate)
    methods = _methods(eraser, seed)
    nats = {name: np.zeros(len(prompts)) for name in methods}
    if unedited is not None:
        nats["none"] = unedited
    for start in range(0, len(prompts), batch):
        part = prompts[start : start + batch]
        for name, (_, operation) in methods.items():
            if name != "none" or unedited is None:
                nats[name][start : start + batch] = _nats(model, part, place, operation)
        advance(len(part))
    tokens = np.array([len(prompt) - 1.0 for prompt in prompts])
    weights = stats.bootstrap_weights(names, bootstraps, seed)
    common = {"task": "language_loss", "site": place.kind, "layer": place.layer, "seed": seed}
    common |= {"n": len(texts), "clusters": len(set(names))}
    loss = {name: (weights @ sums) / (weights @ tokens) for name, sums in nats.items()}
    rows = []
    for name, (condition, _) in methods.items():
        cells = {**common, "method": name, "condition": condition}
        cells |= {} if name == "none" else {"k": eraser.rank}
        rows.append({**cells, "metric": METRIC, **Estimate.of(loss[name]).cells})
        if name != "none":
            rows.append({**cells, **_difference("change", loss[name], loss["none"])})
        if name == "erased":
            for control in CONTROLS:
                rows.append({**cells, **_difference(f"above_{control}", loss[name], loss[control])})
    return rows


def unedited_nats(
    model: Model,
    texts: Sequence[str],
    *,
    batch: int = 8,
    truncate: bool = False,
    advance: Callable[[int], None] = lambda _: None,
) -> Floats:
    """Summed next-token loss `[text]` of the unedited model, for `language_loss`.

    Raises:
        UserError: a text of one token.
    """
    prompts, found = _prompts(model, texts, truncate), []
    for start in range(0, len(prompts), batch):
        part = prompts[start : start + batch]
        found.append(_nats(model, part, None, None))
        advance(len(part))
    return np.concatenate(found)


def _prompts(model: Model, texts: Sequence[str], truncate: bool) -> list[Encoded]:
    prompts = list(model.encode(texts, truncate=truncate))
    if short := [prompt.id for prompt in prompts if len(prompt) < 2]:
        raise UserError(f"text {short[0]!r} has one token: a loss needs two")
    return prompts


def _difference(name: str, one: Floats, other: Floats) -> Row:
    difference = Estimate.of(one - other, against_zero=True)
    return {"metric": f"{METRIC}_{name}", **difference.cells}


def _methods(eraser: Eraser, seed: int) -> dict[str, tuple[str, Operation | None]]:
    """Name -> condition and operation."""
    d = len(eraser.mean)
    chance = random_eraser(eraser.rank, d, seed, eraser.mean)
    return {
        "none": ("baseline", None),
        "erased": ("erasure", eraser.operation()),
        "random": ("control", chance.operation()),
        "placebo": ("control", Rotated(eraser.operation(), seed)),
    }


@torch.no_grad()
def _nats(
    model: Model, prompts: Sequence[Encoded], site: Site | None, operation: Operation | None
) -> Floats:
    """Summed next-token loss `[text]` of the tokens after the first."""
    edits = []
    if site is not None and operation is not None:
        tokens = [range(1, len(prompt)) for prompt in prompts]
        edits = [Edit(site, tokens, operation)]
    batch = model.collate(prompts)
    with model.edited(edits):
        logits = model.hf(**batch.inputs(), use_cache=False).logits[:, :-1]
    wide = torch.promote_types(logits.dtype, torch.float32)
    each = torch.nn.functional.cross_entropy(
        logits.to(wide).transpose(1, 2), batch.input_ids[:, 1:], reduction="none"
    )
    # Pads stand on the right: a target counts where its token is real.
    return (each.double() * batch.attention_mask[:, 1:]).sum(1).cpu().numpy()
