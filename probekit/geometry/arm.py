"""Figures of the texts of one arm: how its emotions lie to one another."""

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from probekit.geometry import centroids, grams, rsa
from probekit.geometry.clusters import silhouettes
from probekit.geometry.figures import Figure
from probekit.geometry.stack import FEWEST, Stack

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Arm:
    """Figures of the items of one arm."""

    def __init__(self, stack: Stack, inside: NDArray[np.bool_], arm: str) -> None:
        design, self.options = stack.design, stack.options
        self.stack, self.inside, self.labels = stack, inside, design.labels
        self.grams = stack.grams[:, inside][:, :, inside]
        self.emotion, self.relabeled = design.emotion[inside], design.relabeled[:, inside]
        self.scenario = design.scenario[inside]
        self.mask, self.weights = centroids.apart(self.scenario), stack.draws(inside)
        self.ones = np.ones((1, len(self.emotion)))
        self.cells = {"target": arm, **stack.size(inside)}

    def _members(self, classes: Ints, weights: Floats) -> Floats:
        return centroids.memberships(classes, weights, len(self.labels))

    @cached_property
    def _halves(self) -> tuple[Floats, Floats]:
        cell, options = self.stack.design.cell[self.inside], self.options
        one, other = centroids.halves(self.scenario, cell, options.splits, options.seed)
        return self._members(self.emotion, one), self._members(self.emotion, other)

    @cached_property
    def _inner(self) -> tuple[Floats, Floats]:
        """Products of centroids `[layer, draw, emotion, emotion]`, drawn and relabeled."""
        drawn = self._members(self.emotion, self.weights)
        chance = self._members(self.relabeled, self.ones)
        products = (
            np.stack([centroids.products(gram, members) for gram in self.grams])
            for members in (drawn, chance)
        )
        return next(products), next(products)

    def cosines(self) -> Iterator[Figure]:
        """Of any two emotions' centroids, and of one emotion's with itself."""
        own, null = map(centroids.cosines, self._inner)
        cells = {"task": "centroids", "method": "cosine", **self.cells}
        for one, other in zip(*np.triu_indices(len(self.labels), 1), strict=True):
            named = {"emotion": self.labels[one], "unit": self.labels[other], "metric": "cosine"}
            draws, chance = own[:, :, one, other], null[:, :, one, other]
            yield Figure(cells | named, draws, chance, tail="both")
        same = np.stack([centroids.split_half_cosines(g, *self._halves) for g in self.grams])
        for number, label in enumerate(self.labels):
            named = {"emotion": label, "unit": label, "metric": "cosine_ceiling"}
            yield Figure(cells | named, same[:, number, None])

    def silhouettes(self) -> Iterator[Figure]:
        """By emotion, and by domain where there are several."""
        yield self.silhouette("emotion", self.emotion, self.relabeled)
        domain = np.unique(self.stack.design.domain[self.inside], return_inverse=True)[1]
        if domain.max() > 0:
            yield self.silhouette("domain", domain)

    def silhouette(self, factor: str, classes: Ints, chance: Ints | None = None) -> Figure:
        """By one factor; its null moves it as the design allows."""
        if chance is None:
            design, options = self.stack.design, self.options
            # Places speak of all items; those of one arm change places among themselves.
            whole = np.full(len(self.inside), -1)
            whole[self.inside] = classes
            moves = design.places(factor, options.permutations, options.seed)
            chance = whole[moves][:, self.inside]
        cells = {"task": "silhouette", "source": factor, "metric": "silhouette"}
        tables = grams.cosine_distances(self.grams)
        draws, null = (
            np.stack([silhouettes(table, each, self.mask, weights) for table in tables])
            for each, weights in ((classes, self.weights), (chance, self.ones))
        )
        named = cells | {"method": "cosine"} | self.cells
        return Figure(named, draws, null, above_text=True)

    def dimensions(self) -> Iterator[Figure]:
        """Of what lies between the emotions, against shuffled labels, and within them."""
        own, null = (
            grams.participation_ratio(centroids.around_mean(inner)) for inner in self._inner
        )
        cells = {"task": "dimensions", "metric": "participation_ratio", **self.cells}
        yield Figure(cells | {"unit": "centroids"}, own, null, tail="both")
        inside = grams.participation_ratio(grams.within(self.grams, self.emotion))
        yield Figure(cells | {"unit": "within"}, inside[:, None])

    def theories(self) -> Iterator[Figure]:
        """Cross-validated distances of the emotions against theories, with the noise ceiling."""
        if len(self.labels) < FEWEST:
            return
        distances = self._distances(self._members(self.emotion, self.weights))
        cells = {"task": "rsa", "method": "crossnobis", **self.cells}
        orders, order = self.stack.orders, rsa.signs(rsa.ranks(distances))
        chance = "exact" if len(self.labels) <= rsa.EXACT else "permutation"
        known = self._known()
        for name, theory in self.stack.allowed.items():
            for metric, others, words in self.stack.rhos([0, 1]):
                nuisances = np.vstack([known[others], distances[words, 0]]) if others else None
                own, null = rsa.rho(distances, theory, orders, nuisances)
                named = cells | {"source": name, "metric": metric}
                above = metric == "spearman"
                yield Figure(named, own, null, above_text=above, chance=chance)
            own, null = rsa.tau(order, theory, orders)
            yield Figure(cells | {"source": name, "metric": "kendall"}, own, null, chance=chance)
        one, other = map(self._distances, self._halves)
        bounds = np.array([rsa.ceiling(*both) for both in zip(one, other, strict=True)])
        for column, metric in enumerate(("ceiling_lower", "ceiling_upper")):
            named = cells | {"method": "split_half", "metric": metric}
            yield Figure(named, bounds[:, column, None])

    def _distances(self, members: Floats) -> Floats:
        """`[layer, draw, pair]`."""
        return np.stack(
            [
                centroids.distances(centroids.products(gram, members, mask=self.mask))
                for gram in self.grams
            ]
        )

    def _known(self) -> Floats:
        """`[nuisance, pair]`: differences of two emotions in length, and in their domains."""
        design, one, other = self.stack.design, *np.triu_indices(len(self.labels), 1)
        held = self._members(self.emotion, self.ones)[0]
        held = held / np.maximum(held.sum(1, keepdims=True), 1)
        length = held @ design.length[self.inside]
        domains = np.unique(design.domain[self.inside], return_inverse=True)[1]
        shares = held @ np.eye(domains.max() + 1)[domains]
        return np.array(
            [np.abs(length[one] - length[other]), np.abs(shares[one] - shares[other]).sum(1)]
        )
