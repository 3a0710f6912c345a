"""Finished parts of a sweep on disk: a killed sweep goes on, and loses none of them."""

import hashlib
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from torch import Tensor

from probekit.edits import Edit
from probekit.head import Head
from probekit.models import Model
from probekit.prompts import Encoded
from probekit.runs import atomic_write, digest
from probekit.sweep.packing import Member
from probekit.sweep.panel import Panel

Key = tuple[int, int, Member, int]


class Kept:
    """A folder with one file a part, named by what the sweep is and which part it is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def open(
        cls,
        folder: Path,
        model: Model,
        prompts: Sequence[Encoded],
        edits: Sequence[Sequence[Edit]],
        panel: Panel,
    ) -> Self:
        """The place of this very sweep under `folder`."""
        hashes: dict[int, str] = {}
        what = {
            "model": model.fingerprint,
            "dtype": str(model.dtype),
            "prompts": [[prompt.id, prompt.input_ids] for prompt in prompts],
            "edits": [[_told(edit, hashes) for edit in several] for several in edits],
            "readouts": {name: _told(readout, hashes) for name, readout in panel.readouts.items()},
        }
        place = folder / digest(what)[:24]
        place.mkdir(parents=True, exist_ok=True)
        return cls(place)

    def read(self, key: Key) -> dict[str, NDArray[np.float64]] | None:
        """Figures of a part, None if it is not finished."""
        path = self._path(key)
        return load_file(path) if path.exists() else None

    def write(self, key: Key, figures: dict[str, NDArray[np.float64]]) -> None:
        """Keep the figures of a finished part."""
        with atomic_write(self._path(key)) as temporary:
            save_file({n: np.ascontiguousarray(v) for n, v in figures.items()}, temporary)

    def _path(self, key: Key) -> Path:
        first, size, member, count = key
        numbers = (first, size, *astuple(member), count)
        return self.folder / f"{'-'.join(map(str, numbers))}.safetensors"


def _told(thing: Any, hashes: dict[int, str]) -> Any:
    """A thing as JSON-able values; tensors by the digest of their bytes, each hashed once."""
    if isinstance(thing, Tensor):
        if id(thing) not in hashes:
            bits = thing.detach().cpu().contiguous().view(-1).view(torch.uint8)
            hashes[id(thing)] = hashlib.sha256(bits.numpy().tobytes()).hexdigest()
        return [list(thing.shape), hashes[id(thing)]]
    if isinstance(thing, Head):  # The model is named already.
        return None
    if isinstance(thing, list | tuple):
        return [_told(part, hashes) for part in thing]
    if hasattr(thing, "__dict__"):
        parts = {name: _told(part, hashes) for name, part in sorted(vars(thing).items())}
        return [type(thing).__name__, parts]
    return thing if isinstance(thing, int | float | str | None) else str(thing)
