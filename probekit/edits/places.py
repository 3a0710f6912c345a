"""Where an edit acts: at which tokens of a prompt and its reply, and under which condition."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from probekit.edits.operations import as_values
from probekit.errors import UserError
from probekit.sites import Site, SiteMap


@dataclass(frozen=True)
class Response:
    """The tokens from which a reply is written: the last of the prompt, and those written.

    Attributes:
        start: the first token of the reply, counted from 0, whose writing is changed.
        decay: the change is this many times as large with each further token.

    Raises:
        UserError: a start below 0, or a decay outside 0 to 1.
    """

    start: int = 0
    decay: float = 1.0

    def __post_init__(self) -> None:
        if self.start < 0:
            raise UserError(f"a response from token {self.start}: give 0 or more")
        if not 0 < self.decay <= 1:
            raise UserError(f"decay {self.decay:g}: give a number above 0, and 1 at most")

    def first(self, length: int) -> int:
        """Index of the first token that is changed after a prompt of `length` tokens."""
        return length - 1 + self.start


Positions = (
    Literal["all", "after_first", "prompt"]
    | Response
    | int
    | tuple[int, ...]
    | tuple[tuple[int, ...], ...]
)


@dataclass(frozen=True)
class Where:
    """The tokens that an edit reaches in one forward pass; all are `[n]`.

    Attributes:
        rows, columns: places in the value `[row, token, d]`.
        items: which item of the edit's own values a place belongs to.
        ordinals: its number among the edit's positions in that item.
    """

    rows: Tensor
    columns: Tensor
    items: Tensor
    ordinals: Tensor

    @classmethod
    def of(cls, found: Sequence[tuple[int, int, int, int]]) -> "Where":
        """From (row, column, item, ordinal) of each place."""
        return cls(*torch.tensor(found, dtype=torch.long).reshape(-1, 4).unbind(1))

    def only(self, kept: Tensor) -> "Where":
        """Those places for which `kept` `[n]` is true."""
        return Where(*(v[kept] for v in (self.rows, self.columns, self.items, self.ordinals)))


@dataclass(frozen=True, eq=False)
class Gate:
    """A condition: an edit acts on a token only where a probe reads above a threshold there.

    Args:
        site: where the probe reads, below the edit's layer, or the edit's own site before it acts.
        weights: `[d]` of the probe.
        threshold: on the product of state and weights (a probe's intercept belongs to it).

    Raises:
        UserError: weights that are no vector.
    """

    site: Site
    weights: Tensor
    threshold: float

    def __init__(self, site: str | Site, weights: Any, threshold: float) -> None:
        vector = as_values(weights)
        if vector.dim() != 1 or not bool(vector.isfinite().all()):
            raise UserError("a gate's weights are one vector [d] of finite numbers")
        place = site if isinstance(site, Site) else Site.parse(site)[0]
        for name, value in (("site", place), ("weights", vector), ("threshold", float(threshold))):
            object.__setattr__(self, name, value)

    def open(self, value: Tensor) -> Tensor:
        """`[row, token]`: whether the probe reads above the threshold in `[row, token, d]`."""
        # In float32, so that half precision does not move the boundary.
        return value.float() @ self.weights.to(value.device).float() > self.threshold

    def check(self, sites: SiteMap, site: Site) -> None:
        """Raise a `UserError` unless it can be read before `site` is changed."""
        sites.tap(self.site)
        if sites.width(self.site) != len(self.weights):
            raise UserError(
                f"site {self.site} is {sites.width(self.site)} wide, the gate's weights "
                f"{len(self.weights)}"
            )
        own = self.site == site and site.kind != "resid_pre"
        if not (self.site.layer < site.layer or own):
            raise UserError(
                f"a gate at {self.site} cannot be read before {site} is changed: give a site of "
                "a lower layer"
            )


def as_positions(given: Any) -> Positions:
    """Positions as an edit holds them, from any form in which they may be given."""
    if isinstance(given, Response):
        return given
    if isinstance(given, str):
        named: dict[str, Positions] = {
            "all": "all",
            "after_first": "after_first",
            "prompt": "prompt",
            "response": Response(),
        }
        if given not in named:
            raise UserError(
                f"positions {given!r}: give {', '.join(map(repr, named))}, token indices, or "
                "indices a row"
            )
        return named[given]
    if isinstance(given, int | np.integer):
        return int(given)
    told: Any = tuple(
        int(p) if isinstance(p, int | np.integer) else tuple(int(q) for q in p) for p in given
    )
    return told
