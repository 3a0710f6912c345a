"""Every figure of the geometry, on the Gram matrices of all layers and of the words at once."""

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from probekit.errors import UserError
from probekit.evaluation import Row
from probekit.geometry import axes, centroids, grams, rsa
from probekit.geometry.arm import Arm
from probekit.geometry.figures import Figure
from probekit.geometry.stack import FEWEST, Stack
from probekit.geometry.theories import circumplex, norms

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
COMPONENTS = 3
RATED = {"valence": ("read_valence",), "arousal": ("read_arousal", "intensity")}
"""Axis -> the ratings that it is tried on."""


class Measures:
    """All figures of a stack."""

    def __init__(self, stack: Stack) -> None:
        self.stack, self.design, self.options = stack, stack.design, stack.options

    def figures(self) -> Iterator[Figure]:
        """One after the other: their nulls are large."""
        yield from self.components()
        for name in self.design.arms:
            arm = Arm(self.stack, self.design.arm == name, name)
            yield from arm.cosines()
            yield from arm.silhouettes()
            yield from arm.dimensions()
            yield from arm.theories()
            yield from self.axes(name)
        yield from self.arms()
        yield from self.items()

    def components(self) -> Iterator[Figure]:
        """Shares of the variance of the first principal components, neutral texts included."""
        _, shares = grams.principal(self.stack.whole, COMPONENTS)
        for number in range(shares.shape[1]):
            cells = {"task": "components", "metric": "explained_variance", "k": number + 1}
            yield Figure({**cells, "n": self.stack.whole.shape[1]}, shares[:, number, None])

    def arms(self) -> Iterator[Figure]:
        """Silhouette by arm."""
        if len(self.design.arms) > 1:
            classes = np.unique(self.design.arm, return_inverse=True)[1]
            yield Arm(self.stack, np.ones(len(classes), dtype=bool), "").silhouette("arm", classes)

    def axes(self, source: str) -> Iterator[Figure]:
        """Axes learned on one arm's learned half, tried on ratings of the other half, by arm."""
        design = self.design
        try:
            means = norms(design.labels)
        except UserError:
            return
        if len(design.labels) < FEWEST:
            return
        for metric, (own, null) in self._projected(source, means).items():
            for number, axis in enumerate(axes.NAMES):
                for target, name in itertools.product(design.arms, RATED[axis]):
                    cells = {"source": source, "target": target, "unit": axis, "judge": name}
                    here = own[:, 0, number], null[:, :, number]
                    yield from self._rated(*here, cells | {"metric": metric})

    def _projected(self, source: str, means: Floats) -> dict[str, tuple[Floats, Floats]]:
        """Coordinates `[layer, draw, axis, item]` by figure, and by chance."""
        design, stack = self.design, self.stack
        train = (design.learned & (design.arm == source)).astype(np.float64)[None]
        learned, chance = (
            centroids.memberships(labels, train, len(design.labels))
            for labels in (design.emotion, design.relabeled)
        )
        rng = np.random.default_rng([self.options.seed, 1])
        some = rng.permutation(len(stack.orders))[: self.options.permutations]
        others = means[stack.orders[some]]
        seen = tuple(axes.projections(stack.grams, each, means) for each in (learned, chance))
        new = tuple(
            axes.unseen(stack.grams, learned[0], design.emotion, each)
            for each in (means[None], others)
        )
        return {
            "spearman": (seen[0], seen[1]),
            "spearman_within_emotion": (seen[0], seen[1]),
            "spearman_unseen_emotion": (new[0], new[1]),
        }

    def _rated(self, own: Floats, null: Floats, cells: Row) -> Iterator[Figure]:
        """Correlation of coordinates `[layer, item]` with a rating."""
        design, ratings = self.design, self.design.ratings.get(cells["judge"])
        if ratings is None:
            return
        there = (design.arm == cells["target"]) & ~design.learned & np.isfinite(ratings)
        if len(np.unique(ratings[there])) < 2 or len(set(design.scenario[there])) < FEWEST:
            return
        within = cells["metric"] == "spearman_within_emotion"
        strata = design.emotion[there] if within else np.zeros(there.sum(), np.int64)
        weights, asked = self.stack.draws(there), (ratings[there], strata)
        yield Figure(
            {"task": "axis", "split": design.held_out, **cells} | self.stack.size(there),
            np.stack([axes.rank_correlation(x[there], *asked, weights) for x in own]),
            np.stack([axes.rank_correlation(x[:, there], *asked) for x in null]),
            above_text=True,
        )

    def items(self) -> Iterator[Figure]:
        """Distances of items against what items differ in, alone and beside the others."""
        design, options = self.design, self.options
        everyone = np.ones(len(design.rows), dtype=bool)
        first, second = np.nonzero(np.triu(centroids.apart(design.scenario), 1))
        pairs = first, second
        data = grams.cosine_distances(self.stack.grams)[:, pairs[0], pairs[1]]
        models = self._models(pairs)
        names, table = list(models), np.array(list(models.values()))
        layers = len(data)
        spread = rsa.spreads(np.vstack([data, table]), pairs, self.stack.draws(everyone))
        for asked, name in enumerate(names):
            others = [n for n, other in enumerate(names) if _explains(other, name)]
            orders = design.places(name, options.permutations, options.seed)
            for metric, theirs, words in self.stack.rhos(others):
                nuisances = np.vstack([table[theirs], data[words]])
                value, null = rsa.item_rho(data, table[asked], nuisances, pairs, orders)
                beside = [*(layers + n for n in theirs), *words]
                draws = rsa.partial(spread, layers + asked, beside, layers)
                draws[:, 0] = value
                cells = {"task": "rsa_items", "source": name, "metric": metric, "method": "cosine"}
                yield Figure(
                    cells | self.stack.size(everyone), draws, null, above_text=metric == "spearman"
                )

    def _models(self, pairs: tuple[Ints, Ints]) -> dict[str, Floats]:
        """What items differ in, `[pair]` each, without what is the same in all of them."""
        design, (one, other) = self.design, pairs
        found = {
            name: (values[one] != values[other]).astype(np.float64)
            for name, values in (
                ("emotion", design.emotion),
                ("arm", design.arm),
                ("domain", design.domain),
            )
        }
        found["length"] = np.abs(design.length[one] - design.length[other])
        if "circumplex" in self.stack.allowed:
            emotion = design.emotion
            found["circumplex"] = circumplex(design.labels)[emotion[one], emotion[other]]
        return {name: values for name, values in found.items() if np.ptp(values) > 0}


def _explains(other: str, name: str) -> bool:
    """Whether one model is a nuisance of another; two of emotion are not, of each other."""
    of_emotion = {"emotion", "circumplex"}
    if name in of_emotion:
        return other not in of_emotion
    return other not in (name, "circumplex")
