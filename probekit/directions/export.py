"""Directions for other engines: llama.cpp's control vectors (GGUF), and plain safetensors.

What llama.cpp reads (its loader `common_control_vector_load_one` and `llama_adapter_cvec`):

- one-dimensional float32 tensors `direction.N`, N from 1; `direction.N` is added to the output of
  block N, counted from 0, which is `resid_post.N`. Block 0 cannot be written to. (llama.cpp's own
  generator calls what it reads at block N `direction.N+1`, one block higher; repeng's numbers
  agree with these.)
- `general.architecture` is "controlvector"; `controlvector.model_hint` names the architecture in
  GGUF's words, `controlvector.layer_count` how many tensors there are. The loader checks neither.

Length of a tensor, so that `--control-vector FILE` (factor 1) does it:

- with a `dose`, dose times the median length of neutral states at that layer: what
  `probekit.steering` adds at that dose;
- with a `scale`, that length, in the units of the stream, at every layer;
- without either, the raw norm: what the emotion does at each layer. What a norm of weights would
  move the stream by is nothing known: such directions need one of the two.

llama.cpp adds it at every token, those of the prompt too: steering with `positions="all"`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from probekit.depth import middle_third
from probekit.directions.artefact import Directions
from probekit.errors import UserError
from probekit.runs import atomic_write

ARCHITECTURES = {
    "exaone4": "exaone4",
    "falcon": "falcon",
    "gemma": "gemma",
    "gemma2": "gemma2",
    "gemma3": "gemma3",
    "gemma3_text": "gemma3",
    "gpt2": "gpt2",
    "gpt_neox": "gptneox",
    "granite": "granite",
    "llama": "llama",
    "mistral": "llama",
    "olmo2": "olmo2",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "stablelm": "stablelm",
}
"""Hugging Face's model types in GGUF's words, where llama.cpp's graph adds control vectors."""


def write_gguf(
    directions: Directions,
    emotion: str,
    path: str | Path,
    *,
    layers: Sequence[int] | None = None,
    scale: float | None = None,
    dose: float | None = None,
) -> tuple[int, ...]:
    """Write one emotion's directions as a control vector that llama.cpp reads.

    Args:
        directions: at `resid_post`.
        layers: numbers of the layers written (default: all but 0; with a dose, of them the middle
            third of depth, as in steering).
        scale: length of every tensor, in units of the stream (default: the raw norms).
        dose: length of every tensor over the directions' residual norm at its layer.

    Returns:
        The layers written.

    Raises:
        UserError: another site, an architecture that llama.cpp has no control vectors for, layer
            0 or one that is not there, norms of weights without a `scale` or a `dose`, both of
            them, or a `dose` for directions without residual norms.
    """
    import gguf

    if directions.kind != "resid_post":
        raise UserError(
            f"directions at {directions.kind}: llama.cpp adds control vectors to a block's output; "
            "give directions at resid_post"
        )
    hint = ARCHITECTURES.get(directions.model.model_type)
    if hint is None:
        raise UserError(
            f"architecture {directions.model.model_type!r} has no control vectors in llama.cpp: "
            f"accepted are {', '.join(sorted(ARCHITECTURES))}; write safetensors instead"
        )
    chosen = [n for n in _usual(directions, dose) if n] if layers is None else list(layers)
    if 0 in chosen or not chosen:
        raise UserError(
            f"layers {', '.join(map(str, chosen)) or '0'}: llama.cpp cannot write to block 0; give "
            "layers from 1 on"
        )
    length = _Length.of(directions, scale, dose)
    tensors = _scaled(directions, emotion, chosen, length)
    with atomic_write(Path(path)) as temporary:
        writer = gguf.GGUFWriter(temporary, "controlvector")
        writer.add_string("controlvector.model_hint", hint)
        writer.add_int32("controlvector.layer_count", len(tensors))
        writer.add_string("general.name", emotion)
        writer.add_string("probekit.directions", _told(directions, emotion, length))
        for layer, tensor in tensors.items():
            writer.add_tensor(f"direction.{layer}", tensor)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return tuple(tensors)


def write_tensors(
    directions: Directions,
    emotion: str,
    path: str | Path,
    *,
    layers: Sequence[int] | None = None,
    scale: float | None = None,
    dose: float | None = None,
) -> tuple[int, ...]:
    """Write one emotion's directions as safetensors, one tensor `layers.N` `[d]` for each layer.

    For engines that add vectors at a layer given by number, as plugins of vLLM do; N counts from
    0 and is that of the site, which the header's `directions` (JSON) names.

    Args:
        layers: numbers of the layers written (default: all; with a dose, the middle third of
            depth, as in steering).
        scale: length of every tensor, in units of the site (default: the raw norms).
        dose: length of every tensor over the directions' residual norm at its layer.

    Returns:
        The layers written.

    Raises:
        UserError: an emotion or layer that is not there, norms of weights without a `scale` or a
            `dose`, both of them, or a `dose` for directions without residual norms.
    """
    chosen = list(_usual(directions, dose) if layers is None else layers)
    length = _Length.of(directions, scale, dose)
    tensors = _scaled(directions, emotion, chosen, length)
    header = {"directions": _told(directions, emotion, length)}
    with atomic_write(Path(path)) as temporary:
        save_file({f"layers.{n}": t for n, t in tensors.items()}, temporary, metadata=header)
    return tuple(tensors)


@dataclass(frozen=True)
class _Length:
    """How long tensors are: one of the two, or the raw norms."""

    scale: float | None
    dose: float | None

    @classmethod
    def of(cls, directions: Directions, scale: float | None, dose: float | None) -> "_Length":
        """What was asked for, if these directions can have it."""
        if scale is not None and dose is not None:
            raise UserError(f"scale {scale:g} and dose {dose:g}: give one of them")
        if scale is None and dose is None and directions.norm != "distance":
            raise UserError(
                f"norms of {directions.estimator} directions are no distance in the stream: give "
                "`scale`, the length that every vector shall have, or a `dose`"
            )
        if scale is not None and not (np.isfinite(scale) and scale != 0):
            raise UserError(f"scale {scale}: give a length that is not zero")
        if dose is not None and not (np.isfinite(dose) and dose > 0):
            raise UserError(f"dose {dose}: give a number above 0, such as 0.08")
        if dose is not None and not directions.residual_norms:
            raise UserError(
                f"dose {dose:g}: these directions do not say how long the states of "
                f"{directions.model.name} are; measure it: `--model {directions.model.name}`, or "
                "`with_scale(directions, residual_scale(model))` of probekit.steering"
            )
        return cls(scale, dose)

    def at(self, directions: Directions, row: int, place: int) -> np.float64:
        """Of an emotion's vector at a layer, by their places."""
        if self.dose is not None:
            return np.float64(self.dose * directions.residual_norms[place])
        return np.float64(directions.norms[row, place] if self.scale is None else self.scale)


def _usual(directions: Directions, dose: float | None) -> tuple[int, ...]:
    """The layers that are written where none are named. A dose at all of them would be too much:
    with a dose they are those that steering takes."""
    if dose is None:
        return directions.layers
    middle = middle_third(directions.model.n_layers)
    return tuple(n for n in directions.layers if n in middle) or directions.layers


def _scaled(
    directions: Directions, emotion: str, layers: Sequence[int], length: _Length
) -> dict[int, NDArray[np.float32]]:
    """Layer number -> the vector at its length."""
    out = {}
    for layer in sorted(set(layers)):
        row, place = directions.place(emotion, layer)
        whole = directions.vectors[row, place] * length.at(directions, row, place)
        out[layer] = whole.astype(np.float32)
    return out


def _told(directions: Directions, emotion: str, length: _Length) -> str:
    """What an exported file says of itself."""
    own = {"exported": emotion, "scale": length.scale, "dose": length.dose}
    return json.dumps({**directions.describe(), **own})
