"""Labelled rows in mini-batches, some of them more than once, and the moments of their features."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from probekit.errors import UserError
from probekit.minibatch.blocks import Block, Blocks, Ints, Scaling

BATCH = 256


class Batches:
    """What probes learn from: items of a store with labels, each as often as it is said.

    Args:
        blocks: the activations.
        labels: `[item]`, of all items of the store.
        times: `[item]`, how often each is taken in an epoch, 0 to leave it out (default: once).
        size: rows of a batch, at most.
        seed: of the order.

    Attributes:
        classes: `[class]`, labels of the items taken.
        rows: how many rows an epoch has.

    Raises:
        UserError: labels or times that do not match the store, or fewer than two classes.
    """

    def __init__(
        self,
        blocks: Blocks,
        labels: ArrayLike,
        times: ArrayLike | None = None,
        *,
        size: int = BATCH,
        seed: int = 0,
    ) -> None:
        labels = np.asarray(labels)
        self.times: Ints = np.ones(len(labels), np.int64) if times is None else np.asarray(times)
        if not len(blocks) == len(labels) == len(self.times):
            raise UserError(
                f"{len(labels)} labels and {len(self.times)} times for {len(blocks)} items of the "
                "store: give one for each"
            )
        taken = self.times > 0
        self.classes = np.unique(labels[taken])
        if len(self.classes) < 2:
            held = ", ".join(map(str, self.classes)) or "none"
            raise UserError(f"one class only ({held}): a probe needs two")
        self._numbers = np.where(taken, np.searchsorted(self.classes, labels), -1)
        self.blocks, self.size, self.seed = blocks, size, seed
        self.rows = int(self.times.sum())

    @property
    def steps(self) -> int:
        """Batches of an epoch, at least."""
        return math.ceil(self.rows / self.size)

    def of(self, block: Block, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """A block's rows in a random order: `[layer, row, d]`, and `[row]` numbers of classes."""
        places = np.repeat(np.arange(len(block.rows)), self.times[block.rows])
        if not len(places):
            return
        drawn = np.random.default_rng([self.seed, epoch, int(block.rows[0])]).permutation(places)
        for part in np.array_split(drawn, math.ceil(len(drawn) / self.size)):
            at = torch.from_numpy(part).to(block.values.device)
            numbers = torch.from_numpy(self._numbers[block.rows[part]])
            yield block.values.index_select(1, at), numbers.to(block.values.device)

    def moments(self) -> Scaling:
        """Mean and deviation of every feature in one pass, in float64; repeated rows count again.

        Blocks are joined as in Chan, Golub and LeVeque (1983): no square of a large mean is taken.

        Raises:
            UserError: NaN or infinity in the store.
        """
        count = 0.0
        mean = torch.zeros(len(self.blocks.layers), 1, self.blocks.width, dtype=torch.float64)
        squares = torch.zeros_like(mean)
        for block in self.blocks.in_order(self.times > 0):
            weight = torch.from_numpy(self.times[block.rows]).double()
            own = float(weight.sum())
            # Layer by layer: float64 takes twice the memory.
            for layer, values in enumerate(block.values):
                rows = values.cpu().double()
                centre = (weight @ rows / own)[None]
                spread = weight @ (rows - centre).square_()
                apart = centre - mean[layer]
                squares[layer] += spread + apart.square() * (count * own / (count + own))
                mean[layer] += apart * (own / (count + own))
            count += own
        if not bool(mean.isfinite().all() and squares.isfinite().all()):
            raise UserError("NaN or infinity in the activations: capture them anew")
        deviation = (squares / count).sqrt()
        # A feature that is constant in training carries nothing, and stays at zero.
        varies = deviation > 1e-12 * (1 + mean.abs())
        return Scaling(mean, torch.where(varies, deviation, torch.ones_like(deviation)))
