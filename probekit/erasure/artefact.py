"""`Erasers`: the erasers of one concept with all that says what they are; one file.

A file is safetensors: `site/pooling/read`, `.../write` and `.../mean` in float64, everything else
as JSON in its header.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from probekit.directions.identity import Identity
from probekit.erasure.eraser import Eraser
from probekit.errors import UserError, unknown
from probekit.models import Model
from probekit.runs import atomic_write

FORMAT = "probekit-erasers-1"
PARTS = ("read", "write", "mean")


@dataclass(frozen=True, eq=False)
class Erasers:
    """One eraser for each site and pooling of one model.

    Attributes:
        erasers: "resid_post.18/mean" -> eraser.
        concept: what they erase, such as "reception/keyword_free".
        method: how they were fitted: "leace".
        model: whose states they erase.
        template: name and pattern of the prompt around each text.
        stimuli: name, sha256 and number of rows of the texts.
        rows: how many of these they were fitted on.

    Example:
        `erasers = Erasers.load("run/erasers/reception-keyword_free.safetensors", model)`, then
        `model.edited([Edit("resid_post.18", "all", erasers.of("resid_post.18").operation())])`.
    """

    erasers: Mapping[str, Eraser]
    concept: str
    method: str
    model: Identity
    template: Mapping[str, Any]
    stimuli: Mapping[str, Any]
    rows: int

    def of(self, site: str, pooling: str = "") -> Eraser:
        """The eraser of a site, "resid_post.18", as fitted on states of a pooling.

        Args:
            pooling: may be left out where the site has one only.

        Raises:
            UserError: a site or pooling that is not there, or several poolings and none named.
        """
        own = [name for name in self.erasers if name.split("/")[0] == site]
        if pooling or len(own) != 1:
            name = f"{site}/{pooling}"
            if name not in self.erasers:
                raise unknown("site and pooling", name, list(self.erasers))
            return self.erasers[name]
        return self.erasers[own[0]]

    def for_model(self, model: Model) -> "Erasers":
        """These erasers, if they are the model's own.

        Raises:
            UserError: another model, or the same in another dtype.
        """
        self.model.require(
            model,
            "erasers of {own} are not those of {here}: fit them on this model, or load the one "
            "they are of, in its dtype",
        )
        return self

    def save(self, path: str | Path) -> None:
        """Write one safetensors file; on return it is whole, on disk, and gives the same back."""
        arrays = {
            f"{name}/{part}": np.ascontiguousarray(getattr(eraser, part))
            for name, eraser in self.erasers.items()
            for part in PARTS
        }
        told = {"concept": self.concept, "method": self.method, "model": asdict(self.model)}
        told |= {"template": dict(self.template), "stimuli": dict(self.stimuli), "rows": self.rows}
        told |= {"format": FORMAT, "places": list(self.erasers)}
        # One entry: safetensors writes several in random order, and bytes must repeat.
        header = {"erasers": json.dumps(told, sort_keys=True, ensure_ascii=False)}
        with atomic_write(Path(path)) as temporary:
            save_file(arrays, temporary, metadata=header)

    @classmethod
    def load(cls, path: str | Path, model: Model | None = None) -> "Erasers":
        """Read what `save` wrote.

        Args:
            model: refuse erasers of another one.

        Raises:
            UserError: no such file, no erasers in it, another format, another model.
        """
        if not Path(path).is_file():
            raise UserError(f"{path} is no file: give one that Erasers.save wrote")
        try:
            with safe_open(path, framework="numpy") as file:
                told = json.loads((file.metadata() or {})["erasers"])
                if (found := told.pop("format", None)) != FORMAT:
                    raise UserError(f"{path} has the format {found!r}, give one of {FORMAT!r}")
                erasers = {
                    name: Eraser(*(file.get_tensor(f"{name}/{part}") for part in PARTS))
                    for name in told.pop("places")
                }
        except (SafetensorError, KeyError, json.JSONDecodeError) as error:
            raise UserError(f"{path} holds no erasers: give what Erasers.save wrote") from error
        loaded = cls(erasers, **{**told, "model": Identity(**told["model"])})
        return loaded if model is None else loaded.for_model(model)
