"""What is kept of a passage while it is read: means over windows, or what a probe says of it."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from probekit.persistence.following import Passage
from probekit.sites import Site

Floats = NDArray[np.float32]
WHOLE = "whole"
"""What is read with nothing removed."""


def windows(tokens: int) -> list[range]:
    """Offsets 0 to `tokens` in windows that double: 0, 1, 2-3, 4-7, ...; the last may be cut."""
    found, start = [range(1)], 1
    while start <= tokens:
        found.append(range(start, min(2 * start, tokens + 1)))
        start *= 2
    return found


def named(window: range) -> str:
    """As results call a window: "0", "8-15"."""
    return f"{window.start}" if len(window) == 1 else f"{window.start}-{window.stop - 1}"


class Pooled:
    """Means over windows, `states [row, window, site, d]`, of what is read without a cut."""

    def __init__(self, rows: int, among: Sequence[range], sites: Sequence[Site], d: int) -> None:
        self.among, self.sites = list(among), list(sites)
        self.states = np.zeros((rows, len(self.among), len(self.sites), d), np.float32)

    def receive(self, passage: Passage, site: Site, value: Tensor) -> None:
        """Take a passage."""
        own = torch.arange(passage.offsets.start, passage.offsets.stop)
        inside = [((own >= each.start) & (own < each.stop)).float() for each in self.among]
        shares = torch.stack(inside) / torch.tensor([[len(each)] for each in self.among])
        means = torch.einsum("wo,rod->rwd", shares.to(value.device), value.float())
        rows = slice(passage.rows.start, passage.rows.stop)
        self.states[rows, :, self.sites.index(site)] += means.cpu().numpy()


class Projected:
    """What a probe of each site says of every class, at every offset.

    Args:
        rows: number of prompts.
        offsets: number of offsets, 0 included.
        sites: where it is read.
        coefficients: `[site, class, d]`.
        cuts: names of the cuts that are kept, "whole" for nothing removed.

    Attributes:
        said: name of the cut -> `[row, offset, site, class]`, NaN up to the cut.
    """

    def __init__(
        self,
        rows: int,
        offsets: int,
        sites: Sequence[Site],
        coefficients: NDArray[np.float64],
        cuts: Sequence[str] = (WHOLE,),
    ) -> None:
        self.sites = list(sites)
        self.weights = torch.as_tensor(coefficients, dtype=torch.float32)
        shape = (rows, offsets, len(self.sites), coefficients.shape[1])
        self.said: dict[str, Floats] = {name: np.full(shape, np.nan, np.float32) for name in cuts}

    def receive(self, passage: Passage, site: Site, value: Tensor) -> None:
        """Take a passage, if it is of one of the cuts."""
        name = passage.cut.name if passage.cut else WHOLE
        if name not in self.said:
            return
        place = self.sites.index(site)
        said = value.float() @ self.weights[place].T.to(value.device)
        rows = slice(passage.rows.start, passage.rows.stop)
        own = slice(passage.offsets.start, passage.offsets.stop)
        self.said[name][rows, own, place] = said.cpu().numpy()
