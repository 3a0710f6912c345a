"""What is checked of every model at load, on two short sentences.

0. The model can run without its head, and every site holds `[row, token, d]`.
1. The model is causal: changing the last token changes nothing before it.
2. `resid_mid = resid_pre + attn_out` and `resid_post = resid_mid + mlp_out` (parallel blocks:
   `resid_post = resid_pre + attn_out + mlp_out`), in every layer.
3. `resid_post` of a layer is `resid_pre` of the next.
4. What is written to `resid_mid` goes on in the stream: 2 holds with it written.

A model that fails is refused: its sites would be named wrongly. Not checked: that the adapter's
`o` and `out` modules are the ones that write to the stream (the parity tests do that).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from probekit.errors import UserError
from probekit.hooks import reading, writing
from probekit.sites import ACCEPTED, Site

if TYPE_CHECKING:
    from probekit.models import Model

TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 4e-2}
"""Largest accepted difference at a token, relative to the largest value of its stream."""


def validate(model: "Model") -> None:
    """Check the sites of a freshly loaded model.

    Raises:
        UserError: the model cannot run, or a site holds something else than its tokens; an
            identity fails; names the layer, the identity and the difference.
    """
    _check_runs(model)
    tolerance = TOLERANCE.get(model.dtype, 1e-9)
    values = _read(model, model.sites.kinds)
    _check_shapes(model, values)
    top = values[Site("resid_post", model.n_layers - 1)]
    if not _difference(top[0, :-1], top[1, :-1]) <= tolerance:
        raise UserError(
            f"{model.name} is not causal: its last token changes earlier ones; give a decoder model"
        )
    for layer in range(model.n_layers):
        _check_layer(model, values, layer, tolerance)
    if "resid_mid" in model.sites.kinds:
        middle = Site("resid_mid", 0)
        with writing(model.sites, [(middle, lambda value: value * 1.5)]):
            written = _read(model, ["resid_mid", "mlp_out", "resid_post"])
        kept = {site: value for site, value in written.items() if site.layer == 0}
        _check_layer(model, kept, 0, tolerance)


def _read(model: "Model", kinds: Sequence[str]) -> dict[Site, Tensor]:
    """Sites of two short sentences that differ in their last token."""
    vocabulary = int(model.config.vocab_size)
    first = [token % vocabulary for token in range(11, 18)]
    ids = torch.tensor([first, [*first[:-1], 29 % vocabulary]], device=model.device)
    positions = torch.arange(len(first), device=model.device).expand(2, -1)
    values: dict[Site, Tensor] = {}

    def keep(site: Site, value: Tensor) -> None:
        if isinstance(value, Tensor):  # OpenAI GPT's blocks hand on a list.
            values[site] = value.to(torch.promote_types(value.dtype, torch.float32), copy=True)

    with torch.no_grad(), reading(model.sites, model.sites.expand(kinds), keep):
        model.hf.base_model(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            position_ids=positions,
            use_cache=False,
        )
    return values


def _check_runs(model: "Model") -> None:
    if model.hf.base_model is model.hf:  # Llama 4: Hugging Face names no part as its body.
        raise UserError(
            f"{model.name}: {type(model.hf).__name__} has no decoder body apart from its head; "
            f"{ACCEPTED}"
        )
    # Many configs have a default number of key-value heads that fits the family's own size alone.
    heads = int(model.config.num_attention_heads)
    shared = int(getattr(model.config, "num_key_value_heads", None) or heads)
    if heads % shared:
        raise UserError(
            f"{model.name}: its config has num_attention_heads {heads}, which is no multiple of "
            f"num_key_value_heads {shared}, so its attention cannot run; give a config where it is"
        )


def _check_shapes(model: "Model", values: dict[Site, Tensor]) -> None:
    rows, tokens = values[Site("resid_pre", 0)].shape[:2]
    for site in model.sites.expand(model.sites.kinds):
        wanted = (rows, tokens, model.sites.width(site))
        shape = tuple(values[site].shape) if site in values else "no tensor"
        if shape != wanted:
            raise UserError(
                f"{model.name}: {site} holds {shape}, not [row, token, d] = {wanted}; {ACCEPTED}"
            )


def _check_layer(model: "Model", values: dict[Site, Tensor], layer: int, tolerance: float) -> None:
    at = {site.kind: value for site, value in values.items() if site.layer == layer}
    device = at["resid_post"].device
    at = {kind: value.to(device) for kind, value in at.items()}
    pairs = {}
    if "resid_pre" in at:  # Not where resid_mid is written to: then only what follows it holds.
        middle = at["resid_pre"] + at["attn_out"]
        whole = (middle + at["mlp_out"], at["resid_post"])
        pairs["resid_pre + attn_out + mlp_out = resid_post"] = whole
        if "resid_mid" in at:
            pairs["resid_pre + attn_out = resid_mid"] = (middle, at["resid_mid"])
        if layer:
            below = values[Site("resid_post", layer - 1)].to(device)
            pairs["resid_pre = resid_post of the layer below"] = (below, at["resid_pre"])
    if "resid_mid" in at:
        after = at["resid_mid"] + at["mlp_out"]
        pairs["resid_mid + mlp_out = resid_post"] = (after, at["resid_post"])
    for identity, (left, right) in pairs.items():
        if not (difference := _difference(left, right)) <= tolerance:
            raise UserError(
                f"{model.name}: layer {layer} fails {identity} (relative difference "
                f"{difference:.2g}, accepted {tolerance:.0e}); this architecture is not supported"
            )


def _difference(left: Tensor, right: Tensor) -> float:
    """The largest difference at a token, relative to that token's own largest value.

    Not to the stream's: the first token's values can be thousands of times the others'.
    """
    scale = torch.maximum(left.abs(), right.abs()).amax(-1).clamp_min(1e-12)
    return float(((left - right).abs().amax(-1) / scale).max())
