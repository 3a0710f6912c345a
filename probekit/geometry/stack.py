"""Gram matrices of all layers, the words' behind them, and what all measures ask of a design."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probekit import stats
from probekit.errors import UserError
from probekit.geometry import rsa
from probekit.geometry.design import Design
from probekit.geometry.options import Geometry
from probekit.geometry.theories import THEORIES

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
FEWEST = 4
"""Theories need six distances, the axes two slopes: that is four emotions."""


class Stack:
    """Gram matrices `[layer or baseline, item, item]`.

    Args:
        design: of the set.
        whole: the items of the design, and then its neutral ones.
        words: places of the baselines in the stack.
        options: sizes and seed.
    """

    def __init__(
        self, design: Design, whole: Floats, words: Sequence[int], options: Geometry
    ) -> None:
        self.design, self.whole, self.words, self.options = design, whole, list(words), options
        self.grams = whole[:, : len(design.rows), : len(design.rows)]

    @cached_property
    def allowed(self) -> dict[str, Floats]:
        """The theories that have something to say of this set's labels."""
        return allowed(self.design.labels)[0]

    @cached_property
    def orders(self) -> Ints:
        """Relabelings of the emotions."""
        count = len(self.design.labels)
        return rsa.relabelings(count, self.options.permutations, self.options.seed)

    def draws(self, inside: NDArray[np.bool_]) -> Floats:
        """Bootstrap weights `[1 + draw, item]` of some items."""
        clusters = [str(name) for name in self.design.scenario[inside]]
        return stats.bootstrap_weights(clusters, self.options.bootstraps, self.options.seed)

    def size(self, inside: NDArray[np.bool_]) -> dict[str, Any]:
        """How many items and scenarios a figure rests on."""
        return {"n": int(inside.sum()), "clusters": len(set(self.design.scenario[inside]))}

    def rhos(self, others: list[int]) -> Iterator[tuple[str, list[int], list[int]]]:
        """Names of rho with its nuisances: other models, and the words where states stand by."""
        yield "spearman", [], []
        if others:
            yield "spearman_partial", others, []
        if self.words and len(self.words) < len(self.grams):
            yield "spearman_beyond_words", others, self.words


def allowed(labels: Sequence[str]) -> tuple[dict[str, Floats], list[str]]:
    """The theories that say something of these labels, and why others do not."""
    found, notes = {}, []
    for name, theory in THEORIES.items():
        try:
            found[name] = theory(labels)
        except UserError as why:
            notes.append(f"no figures of the {name}: {why}")
    return found, notes
