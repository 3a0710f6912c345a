"""What a study of a corpus is asked for."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from probekit.errors import UserError, unknown
from probekit.minibatch.batches import BATCH
from probekit.minibatch.blocks import BUFFER_BYTES

TRAIN, TEST = ("mean", "keep"), ("smallest", "keep")


@dataclass(frozen=True)
class Options:
    """What a study of a corpus is asked for, beside its store.

    Attributes:
        site, pooling: what is read of the store.
        shares: of the groups that go into training, validation and test.
        balance_train: "mean" takes as many rows of every class as the mean class has, some of
            them repeatedly; "keep" leaves classes as they are.
        balance_test: "smallest" cuts the test part to its smallest class; or "keep".
        hidden: units of the MLP's hidden layer; 0 leaves the MLP out.
        C: inverse penalty of the linear probe.
        epochs, learning_rate: of the linear probe (default: as `MiniBatchProbes` says).
        mlp_epochs, mlp_learning_rate: of the MLP, likewise.
        batch: rows of a mini-batch.
        buffer_bytes: activations held at once.
        bootstraps: draws of groups.
        seed: of parts, draws and orders.
    """

    site: str = "resid_post"
    pooling: str = "last"
    shares: tuple[float, float, float] = (80, 10, 10)
    balance_train: str = "mean"
    balance_test: str = "smallest"
    hidden: int = 256
    C: float = 1.0
    epochs: int | None = None
    learning_rate: float | None = None
    mlp_epochs: int | None = None
    mlp_learning_rate: float | None = None
    batch: int = BATCH
    buffer_bytes: int = BUFFER_BYTES
    bootstraps: int = 1000
    seed: int = 0

    def check(self) -> None:
        """Raise a `UserError` where something is out of range."""
        if self.balance_train not in TRAIN:
            raise unknown("way to balance the training part", self.balance_train, TRAIN)
        if self.balance_test not in TEST:
            raise unknown("way to balance the test part", self.balance_test, TEST)
        if len(self.shares) != 3 or not all(0 < s < math.inf for s in self.shares):
            given = ",".join(f"{share:g}" for share in self.shares)
            raise UserError(f"parts {given}: give three shares above 0, such as 80,10,10")
        if self.hidden < 0:
            raise UserError(f"hidden is {self.hidden}: give 1 or more, or 0 to leave the MLP out")
        for name in ("C", "learning_rate", "mlp_learning_rate"):
            given = getattr(self, name)
            if given is not None and not 0 < given < math.inf:
                raise UserError(f"{name} is {given:g}: give a number above 0")
        for name in ("epochs", "mlp_epochs", "batch", "buffer_bytes", "bootstraps"):
            given = getattr(self, name)
            if given is not None and given < 1:
                raise UserError(f"{name} is {given}: give 1 or more")

    def describe(self) -> dict[str, Any]:
        """JSON-able, for the manifest."""
        return {**asdict(self), "shares": list(self.shares)}
