"""What an erasure run is asked for, and which layers that means."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from probekit.depth import nearest
from probekit.errors import UserError
from probekit.pooling import parse
from probekit.prompts import NO_TEMPLATE, Template

LAYERS = "all, every:3 (steps from the headline layer), or numbers such as 6,12,18"


@dataclass(frozen=True)
class Erasure:
    """What an erasure run is asked for, beside its model and stimuli.

    Attributes:
        sites: kinds ("resid_post") or "kind.layer" strings.
        positions: poolings; see `probekit.pooling`.
        template: the prompt around each text; the loss is that of the texts alone.
        concepts: what to erase, such as "reception" or "categorisation/keyword_free" (default:
            reception and categorisation of every arm).
        layers: "all", "every:3" (in steps from the headline layer), or numbers, "6,12,18".
        loss_layers: of these, where the model's own loss is measured; "none" for nowhere.
        folds: of the learned rows: half for the eraser, half for a new probe.
        permutations, bootstraps, seed: draws of chance and of intervals; the controls' too.
        batch: texts in one pass of the loss.
        truncate: cut texts that do not fit the context.
    """

    sites: tuple[str, ...] = ("resid_post",)
    positions: tuple[str, ...] = ("mean",)
    template: Template = NO_TEMPLATE
    concepts: tuple[str, ...] = ()
    layers: str = "all"
    loss_layers: str = "all"
    folds: int = 6
    permutations: int = 100
    bootstraps: int = 1000
    seed: int = 0
    batch: int = 8
    truncate: bool = False

    def check(self) -> None:
        """Raise a `UserError` where a size is none, or layers are not said."""
        for name, least in (("folds", 3), ("permutations", 1), ("bootstraps", 1), ("batch", 1)):
            if getattr(self, name) < least:
                raise UserError(f"{name} is {getattr(self, name)}: give {least} or more")
        for given in (self.layers, self.loss_layers):
            if given not in ("all", "none"):
                _step_or_numbers(given)
        if self.layers == "none":
            raise UserError(f"layers 'none': give {LAYERS}")

    def describe(self) -> dict[str, Any]:
        """JSON-able options, for the manifest and the keys of stages."""
        return {
            "sites": list(self.sites),
            "poolings": list(parse(self.positions)),
            "template": self.template.describe(),
            "concepts": list(self.concepts),
            "layers": self.layers,
            "loss_layers": self.loss_layers,
            "folds": self.folds,
            "permutations": self.permutations,
            "bootstrap": self.bootstraps,
            "seed": self.seed,
            "batch": self.batch,
            "truncate": self.truncate,
        }


def chosen(given: str, layers: Sequence[int], headline: int) -> list[int]:
    """Those of the layers that are asked for, in order.

    Raises:
        UserError: a layer that is not there.
    """
    if given in ("all", "none"):
        return list(layers) if given == "all" else []
    step, numbers = _step_or_numbers(given)
    if step:
        return [layer for layer in layers if (layer - nearest(layers, headline)) % step == 0]
    if strange := sorted(numbers - set(layers)):
        raise UserError(f"layer {strange[0]} is none of {', '.join(map(str, layers))}: give these")
    return sorted(numbers)


def _step_or_numbers(given: str) -> tuple[int, set[int]]:
    """The step of "every:3", or 0 and the numbers of "6,12"."""
    if found := re.fullmatch(r"every:([1-9]\d*)", given):
        return int(found[1]), set()
    if not re.fullmatch(r"\d+(,\d+)*", given):
        raise UserError(f"layers {given!r}: give {LAYERS}")
    return 0, {int(number) for number in given.split(",")}
