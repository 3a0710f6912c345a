"""Which layer a study speaks of where none was chosen on a dev split: one rule for all studies."""

from collections.abc import Sequence


def headline_layer(n_layers: int) -> int:
    """The layer that ends two thirds of the depth, where studies of emotion look first
    (arXiv 2604.07729). A rule, so that it is not chosen by its figures.
    """
    return max(0, round(2 * n_layers / 3) - 1)


def nearest(layers: Sequence[int], layer: int) -> int:
    """The layer, or the one of these that is nearest to it (of two, the lower)."""
    return min(layers, key=lambda number: (abs(number - layer), number))


def middle_third(n_layers: int) -> tuple[int, ...]:
    """Layers from a third to two thirds of depth, where a model is steered by default."""
    return tuple(range(n_layers // 3, max(n_layers // 3 + 1, 2 * n_layers // 3)))
