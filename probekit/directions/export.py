"""Directions for other engines: llama.cpp's control vectors (GGUF), and plain safetensors.

What llama.cpp reads (its loader `common_control_vector_load_one` and `llama_adapter_cvec`):

- one-dimensional float32 tensors `direction.N`, N from 1; `direction.N` is added to the output of
  block N, counted from 0, which is `resid_post.N`. Block 0 cannot be written to. (llama.cpp's own
  generator calls what it reads at block N `direction.N+1`, one block higher; repeng's numbers
  agree with these.)
- `general.architecture` is "controlvector"; `controlvector.model_hint` names the architecture in
  GGUF's words, `controlvector.layer_count` how many tensors there are. The loader checks neither.

Scale: a tensor is the unit vector times its raw norm, so that `--control-vector-scaled FILE 1`
moves the stream by what the emotion does at each layer, all layers at once. What a norm of
weights would move it by is nothing known: such directions need a `scale`, a length in the units
of the stream.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

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
) -> tuple[int, ...]:
    """Write one emotion's directions as a control vector that llama.cpp reads.

    Args:
        directions: at `resid_post`.
        layers: numbers of the layers written (default: all but 0).
        scale: length of every tensor, in units of the stream (default: the raw norms).

    Returns:
        The layers written.

    Raises:
        UserError: another site, an architecture that llama.cpp has no control vectors for, layer
            0 or one that is not there, or norms of weights without a `scale`.
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
    chosen = [n for n in directions.layers if n] if layers is None else list(layers)
    if 0 in chosen or not chosen:
        raise UserError(
            f"layers {', '.join(map(str, chosen)) or '0'}: llama.cpp cannot write to block 0; give "
            "layers from 1 on"
        )
    tensors = _scaled(directions, emotion, chosen, scale)
    with atomic_write(Path(path)) as temporary:
        writer = gguf.GGUFWriter(temporary, "controlvector")
        writer.add_string("controlvector.model_hint", hint)
        writer.add_int32("controlvector.layer_count", len(tensors))
        writer.add_string("general.name", emotion)
        writer.add_string("probekit.directions", _told(directions, emotion, scale))
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
) -> tuple[int, ...]:
    """Write one emotion's directions as safetensors, one tensor `layers.N` `[d]` for each layer.

    For engines that add vectors at a layer given by number, as plugins of vLLM do; N counts from
    0 and is that of the site, which the header's `directions` (JSON) names.

    Args:
        layers: numbers of the layers written (default: all).
        scale: length of every tensor, in units of the site (default: the raw norms).

    Returns:
        The layers written.

    Raises:
        UserError: an emotion or layer that is not there, or norms of weights without a `scale`.
    """
    chosen = list(directions.layers if layers is None else layers)
    tensors = _scaled(directions, emotion, chosen, scale)
    header = {"directions": _told(directions, emotion, scale)}
    with atomic_write(Path(path)) as temporary:
        save_file({f"layers.{n}": t for n, t in tensors.items()}, temporary, metadata=header)
    return tuple(tensors)


def _scaled(
    directions: Directions, emotion: str, layers: Sequence[int], scale: float | None
) -> dict[int, NDArray[np.float32]]:
    """Layer number -> the vector at its length."""
    if scale is None and directions.norm != "distance":
        raise UserError(
            f"norms of {directions.estimator} directions are no distance in the stream: give "
            "`scale`, the length that every vector shall have"
        )
    if scale is not None and not (np.isfinite(scale) and scale != 0):
        raise UserError(f"scale {scale}: give a length that is not zero")
    out = {}
    for layer in sorted(set(layers)):
        row, place = directions.place(emotion, layer)
        length = directions.norms[row, place] if scale is None else scale
        out[layer] = (directions.vectors[row, place] * np.float64(length)).astype(np.float32)
    return out


def _told(directions: Directions, emotion: str, scale: float | None) -> str:
    """What an exported file says of itself."""
    return json.dumps({**directions.describe(), "exported": emotion, "scale": scale})
