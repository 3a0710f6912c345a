"""Probes of all layers at once, fitted in mini-batches: linear, or with one hidden layer.

1. Features are standardised by their moments over the training rows.
2. Every batch is one step of Adam for all layers; layers share nothing but the rows they see.
3. The learning rate rises over the first tenth of all rows and falls along a cosine.

Several probes (the true labels and permuted ones, say) can learn from one reading of the store.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from torch.nn import functional

from probekit.errors import UserError
from probekit.minibatch.batches import Batches
from probekit.minibatch.blocks import Blocks, Bools, Scaling

Scores = NDArray[np.float32]
STEPS = 1000
"""Steps that a fit takes at least: a small set is seen in as many epochs as that needs."""
WARM_UP = 0.1


class MiniBatchProbes(BaseEstimator):
    """Softmax probes of every layer of a store.

    The linear probe minimises what `LayerProbes` does, cross-entropy with an L2 penalty on
    standardised features; the other has a hidden layer of ReLUs and no penalty.

    Args:
        hidden: units of the hidden layer, 0 for a linear probe.
        C: inverse penalty of the linear probe, as in `LayerProbes`.
        learning_rate: of Adam at its peak (default: 2e-2, and 1e-4 with a hidden layer).
        epochs: passes over the rows (default: one, or as many as give 1,000 steps).
        seed: of the hidden layer's first weights.

    Attributes:
        classes_: `[class]`.
        n_epochs_: passes over the rows.
        coef_: `[layer, class, d]` on raw features, of the linear probe.
        intercept_: `[layer, class]`, likewise.
    """

    def __init__(
        self,
        hidden: int = 0,
        *,
        C: float = 1.0,
        learning_rate: float | None = None,
        epochs: int | None = None,
        seed: int = 0,
    ) -> None:
        self.hidden = hidden
        self.C = C
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.seed = seed

    def fit(self, batches: Batches) -> Self:
        """Fit all layers: one pass over the store for the moments, then one for each epoch."""
        fit_together([self], [batches], batches.moments())
        return self

    def decision(self, blocks: Blocks, wanted: Bools) -> Scores:
        """`[row, layer, class]`, logits of the wanted items in the store's order."""
        return decide_together([self], blocks, wanted)[0]

    @property
    def coef_(self) -> NDArray[np.float64]:
        """`[layer, class, d]`, on raw features."""
        return self._raw()[0].numpy()

    @property
    def intercept_(self) -> NDArray[np.float64]:
        """`[layer, class]`."""
        weight, bias = self._raw()
        return (bias - weight @ self._scaling.mean.mT)[..., 0].numpy()

    def _raw(self) -> tuple[Tensor, Tensor]:
        check_is_fitted(self, "classes_")
        if self.hidden:
            raise AttributeError("a probe with a hidden layer has no coefficients")
        weight, bias = (each.detach().cpu().double() for each in self._weights)
        return weight / self._scaling.deviation, bias

    def _begin(self, batches: Batches, scaling: Scaling) -> None:
        self.classes_, self._scaling = batches.classes, scaling
        self.n_epochs_ = self.epochs or max(1, math.ceil(STEPS / batches.steps))
        self._peak = self.learning_rate or (1e-4 if self.hidden else 2e-2)
        self._seen, self._total = 0, batches.rows * self.n_epochs_
        self._weights = self._first_weights(batches)
        # Two columns share what one would hold alone: their penalty counts twice.
        decay = (2 if len(self.classes_) == 2 else 1) / (self.C * batches.rows)
        penalised = {"params": self._weights[:1], "weight_decay": 0.0 if self.hidden else decay}
        groups: list[dict[str, Any]] = [penalised, {"params": self._weights[1:]}]
        self._adam = torch.optim.Adam(groups, lr=self._peak, fused=True)

    def _first_weights(self, batches: Batches) -> list[Tensor]:
        """Weight and bias of each layer of the probe, `[layer, to, from]` and `[layer, to, 1]`."""
        random = torch.Generator().manual_seed(self.seed)
        sizes = [batches.blocks.width, *([self.hidden] if self.hidden else []), len(self.classes_)]
        found = []
        for fan_in, fan_out in pairwise(sizes):
            # Zeros are where a linear fit begins; units of a hidden layer must differ.
            bound = fan_in**-0.5 if self.hidden else 0.0
            for columns in (fan_in, 1):
                drawn = torch.rand(len(batches.blocks.layers), fan_out, columns, generator=random)
                own = ((2 * drawn - 1) * bound).to(batches.blocks.device)
                found.append(own.requires_grad_())
        return found

    def _logits(self, x: Tensor) -> Tensor:
        """`[layer, class, row]` of standardised rows `[layer, row, d]`."""
        # Rows come last: so both ways through the product read the features along their rows.
        x = x.mT
        for weight, bias in zip(self._weights[:-2:2], self._weights[1:-2:2], strict=True):
            x = torch.baddbmm(bias, weight, x).relu()
        return torch.baddbmm(self._weights[-1], self._weights[-2], x)

    def _step(self, x: Tensor, y: Tensor) -> None:
        for each in self._adam.param_groups:
            each["lr"] = self._peak * schedule((self._seen + len(y) / 2) / self._total)
        logits = self._logits(x)
        wanted = y.expand(len(logits), -1)
        # The sum over layers: no layer's gradient depends on how many there are.
        loss = functional.cross_entropy(logits, wanted, reduction="sum") / len(y)
        self._adam.zero_grad()
        loss.backward()
        self._adam.step()
        self._seen += len(y)


def schedule(done: float) -> float:
    """The learning rate as a share of its peak, by the share of all rows that were seen."""
    if done < WARM_UP:
        return done / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (done - WARM_UP) / (1 - WARM_UP))))


def fit_together(
    probes: Sequence[MiniBatchProbes],
    batches: Sequence[Batches],
    scaling: Scaling,
    advance: Callable[[int], None] = lambda _: None,
) -> None:
    """Fit several probes, each on batches of its own, reading the store once an epoch for all.

    Args:
        probes: what is fitted.
        batches: one for each probe, all of one `Blocks`.
        scaling: how features are standardised, for all.
        advance: called with the number of items read.

    Raises:
        UserError: batches of different blocks.
    """
    blocks = batches[0].blocks
    if any(each.blocks is not blocks for each in batches):
        raise UserError("probes that are fitted together learn from one `Blocks`: give the same")
    wanted = np.any([each.times > 0 for each in batches], axis=0)
    for probe, own in zip(probes, batches, strict=True):
        probe._begin(own, scaling)
    count = max(probe.n_epochs_ for probe in probes)
    for epoch, block in blocks.epochs(count, wanted, batches[0].seed, scaling):
        for probe, own in zip(probes, batches, strict=True):
            if epoch < probe.n_epochs_:
                for x, y in own.of(block, epoch):
                    probe._step(x, y)
        advance(len(block.rows))


@torch.no_grad()
def decide_together(
    probes: Sequence[MiniBatchProbes],
    blocks: Blocks,
    wanted: Bools,
    advance: Callable[[int], None] = lambda _: None,
) -> list[Scores]:
    """Logits of several probes fitted together, `[row, layer, class]` each, in one reading."""
    check_is_fitted(probes[0], "classes_")
    found: list[list[Tensor]] = [[] for _ in probes]
    for block in blocks.in_order(wanted, probes[0]._scaling):
        for probe, parts in zip(probes, found, strict=True):
            parts.append(probe._logits(block.values).permute(2, 0, 1).cpu())
        advance(len(block.rows))
    return [torch.cat(parts).numpy() for parts in found]
