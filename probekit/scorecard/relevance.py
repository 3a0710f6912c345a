"""Whether a reply is about its prompt: closer to it than to the other prompts."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from probekit.errors import UserError

Floats = NDArray[np.float64]
Encode = Callable[[Sequence[str]], NDArray]
"""Texts to sentence embeddings `[text, d]`."""


def relevance(
    encode: Encode, asked: Sequence[str], replies: Sequence[str]
) -> tuple[Floats, Floats, Floats]:
    """Cosine of reply and prompt, the control, and their difference; each `[reply]`.

    The control is the mean cosine of the reply with the other prompts: what any reply reaches with
    any prompt of this kind. NaN for an empty reply, and without another prompt.

    Raises:
        UserError: the encoder gives another number of rows than texts.
    """
    prompts = list(dict.fromkeys(asked))
    own = np.array([prompts.index(each) for each in asked], dtype=np.int64)
    cosines = _unit(encode, replies) @ _unit(encode, prompts).T
    near = cosines[np.arange(len(own)), own]
    others = len(prompts) - 1
    control = (cosines.sum(1) - near) / others if others else np.full(len(own), np.nan)
    empty = np.array([not text.strip() for text in replies], dtype=bool)
    near[empty] = control[empty] = np.nan
    return near, control, near - control


def _unit(encode: Encode, texts: Sequence[str]) -> Floats:
    found = np.asarray(encode(list(texts)), dtype=np.float64)
    if found.ndim != 2 or len(found) != len(texts):
        raise UserError(f"the encoder gave shape {found.shape} for {len(texts)} texts: [text, d]")
    return found / np.linalg.norm(found, axis=1, keepdims=True).clip(1e-12)
