"""Several readouts as one: what they need together, and their figures."""

from collections.abc import Mapping

import torch
from torch import Tensor

from probekit.errors import UserError
from probekit.readouts import Readout, Seen
from probekit.sites import Site, SiteMap

States = Mapping[Site | None, Tensor]
"""What was read, `[n, 1 + branch token, d]` (at a site `[n, 1, d]`); None: after the final norm."""


class Panel:
    """Named readouts that are taken from the same passes.

    Attributes:
        sites: to be read.
        final: whether the state after the final norm is read.
        branches: every token sequence that some readout appends, once.
        deepest: the last layer that has to run.
    """

    def __init__(self, readouts: Mapping[str, Readout], sites: SiteMap) -> None:
        if not readouts:
            raise UserError("no readout given: a sweep needs at least one")
        self.readouts = dict(readouts)
        self.sites = tuple(dict.fromkeys(r.site for r in readouts.values() if r.site is not None))
        for site in self.sites:
            sites.tap(site)
        self.final = any(readout.site is None for readout in readouts.values())
        last = sites.n_layers - 1
        self.deepest = last if self.final else max(site.layer for site in self.sites)
        self.branches = tuple(dict.fromkeys(b for r in readouts.values() for b in r.branches))

    @property
    def notes(self) -> tuple[str, ...]:
        """What the readouts have to say, each thing once."""
        return tuple(dict.fromkeys(note for r in self.readouts.values() for note in r.notes))

    @property
    def branch_tokens(self) -> list[tuple[int, int, int]]:
        """Token id, branch and depth in it, of every branch token in order."""
        return [(t, b, d) for b, part in enumerate(self.branches) for d, t in enumerate(part)]

    def read(self, states: States, clean: States, items: Tensor | None = None) -> dict[str, Tensor]:
        """Figures `[n, column]` of every readout; `items` are places in `clean`, `[n]`."""
        out: dict[str, Tensor] = {}
        for name, readout in self.readouts.items():
            now, was = states[readout.site], clean[readout.site]
            if readout.branches:
                places = self._places(readout)
                now, was = now[:, places], was[:, places]
            out[name] = readout.read(Seen(now, was, items))
        return out

    def _places(self, readout: Readout) -> Tensor:
        starts, place = {}, 1
        for branch in self.branches:
            starts[branch] = place
            place += len(branch)
        own = [
            starts[branch] + depth for branch in readout.branches for depth in range(len(branch))
        ]
        return torch.tensor([0, *own])
