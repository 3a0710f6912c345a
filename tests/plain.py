"""Edited passes written out by hand on the Hugging Face modules, one prompt at a time.

Nothing here uses `probekit.edits`, `probekit.hooks` or the adapters: it is what they must equal.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from probekit.models import Model

Change = Callable[[Tensor], Tensor]
BLOCKS = {"gpt2": "h", "gpt-neo": "h", "falcon-parallel": "h"}
ATTENTION = {
    "gpt2": "attn",
    "falcon-parallel": "self_attention",
    "neox-parallel": "attention",
    "neox-sequential": "attention",
}
OUTPUTS = {
    "gpt2": ("c_proj", "c_proj"),
    "falcon-parallel": ("dense", "dense_4h_to_h"),
    "neox-parallel": ("dense", "dense_4h_to_h"),
    "neox-sequential": ("dense", "dense_4h_to_h"),
}
"""Names of modules by family where they are not `layers`, `self_attn`, `o_proj` and `down_proj`."""


def block(model: Model, layer: int) -> nn.Module:
    return getattr(model.hf.base_model, BLOCKS.get(model.name, "layers"))[layer]


def attention(model: Model, layer: int) -> nn.Module:
    return block(model, layer).get_submodule(ATTENTION.get(model.name, "self_attn"))


def projection(model: Model, kind: str, layer: int) -> nn.Module:
    """The module whose input is `z` or `mlp_post`."""
    of_attention, of_mlp = OUTPUTS.get(model.name, ("o_proj", "down_proj"))
    if kind == "z":
        return attention(model, layer).get_submodule(of_attention)
    return block(model, layer).get_submodule("mlp").get_submodule(of_mlp)


def weight(module: Any) -> Tensor:
    """Of a projection, `[out, in]`."""
    return module.weight if isinstance(module, nn.Linear) else module.weight.T


@contextmanager
def changed(
    model: Model, kind: str, layer: int, tokens: Sequence[int], change: Change
) -> Iterator[None]:
    """Passes go on with `change(vector)` at those tokens (negative: from the end) of one prompt."""

    def new(value: Tensor) -> Tensor:
        assert len(value) == 1, "one prompt at a time"
        value = value.clone()
        for token in tokens:
            value[0, token] = change(value[0, token])
        return value

    def before(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args:
            return (new(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": new(kwargs["hidden_states"])}

    def after(_: Any, __: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return new(output[0]), *output[1:]
        return new(output)

    if kind == "resid_post":
        handle = block(model, layer).register_forward_hook(after)
    else:
        module = block(model, layer) if kind == "resid_pre" else projection(model, kind, layer)
        handle = module.register_forward_pre_hook(before, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


@torch.no_grad()
def logits(model: Model, ids: Sequence[int]) -> Tensor:
    """Of every token of one prompt, `[token, vocabulary]`."""
    return model.hf(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0]


def on_columns(columns: Sequence[int], change: Change) -> Change:
    """A change of some columns alone."""

    def whole(vector: Tensor) -> Tensor:
        vector = vector.clone()
        vector[list(columns)] = change(vector[list(columns)])
        return vector

    return whole


def along(direction: Tensor, change: Change) -> Change:
    """A change of the coordinate along a unit vector alone."""

    def whole(vector: Tensor) -> Tensor:
        coordinate = (vector @ direction)[None]
        return vector + (change(coordinate) - coordinate) * direction

    return whole
