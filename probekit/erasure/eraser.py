"""`Eraser`: a small frozen affine map; `random_eraser`: the control."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from probekit.edits import Erase
from probekit.errors import UserError

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Eraser:
    """The map `x - ((x - mean) @ read.T) @ write`, a projection of low rank.

    Attributes:
        read, write: `[rank, d]`, float64; `read @ write.T` is the identity.
        mean: `[d]`, which stays as it is.
    """

    read: Floats
    write: Floats
    mean: Floats

    @property
    def rank(self) -> int:
        """How many directions it erases."""
        return len(self.read)

    def __call__(self, states: ArrayLike) -> Floats:
        """Erased states `[..., d]` in float64.

        Raises:
            UserError: states of another width.
        """
        given = np.asarray(states, dtype=np.float64)
        if given.shape[-1:] != self.mean.shape:
            raise UserError(
                f"the eraser was fitted on {len(self.mean)} features, the states have shape "
                f"{given.shape}: give [..., {len(self.mean)}]"
            )
        return given - ((given - self.mean) @ self.read.T) @ self.write

    def operation(self) -> Erase:
        """The same inside a model: `Edit(site, positions, eraser.operation())`."""
        return Erase(self.read, self.write, self.mean)


def random_eraser(rank: int, d: int, seed: int, mean: ArrayLike | None = None) -> Eraser:
    """Orthogonal projection of random directions, uniform over subspaces.

    Args:
        rank: how many; take the rank of the eraser that it stands beside.
        d: width of the states.
        seed: of the draw.
        mean: `[d]`, what stays as it is (default: zero).

    Raises:
        UserError: more directions than features.
    """
    if not 0 <= rank <= d:
        raise UserError(f"{rank} random directions of {d} features: give 0 to {d}")
    drawn = np.random.default_rng(seed).standard_normal((d, rank))
    basis = np.linalg.qr(drawn)[0].T
    return Eraser(basis, basis, np.zeros(d) if mean is None else np.asarray(mean, np.float64))
