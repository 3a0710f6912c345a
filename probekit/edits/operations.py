"""What can be done to a part of a site."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from probekit.errors import UserError


class Operation(ABC):
    """What is done to a part of a site.

    Values are numbers, `[width]`, `[item, width]` or `[item, position, width]`, where width is
    that of the part or of the whole site (then the part is cut out of it).
    """

    values: tuple[Tensor, ...] = ()
    spanned: int | None = None
    """Width of the part that it can be done to, where that is fixed."""

    @abstractmethod
    def __call__(self, part: Tensor, *values: Tensor) -> Tensor:
        """New values `[n, width]` of a part `[n, width]`; `values` are those of the same places."""

    @abstractmethod
    def explain(self) -> str:
        """The operation in words: "set to zero"."""


class Zero(Operation):
    """Set to zero."""

    def __call__(self, part: Tensor, *_: Tensor) -> Tensor:
        return torch.zeros_like(part)

    def explain(self) -> str:
        return "set to zero"


class Set(Operation):
    """Set to given values; `source` says in words what they are.

    `Set.mean` and `Set.resample` are the two usual ablations.
    """

    def __init__(self, value: Any, source: str = "given values") -> None:
        self.values, self.source = (as_values(value),), source

    @classmethod
    def mean(cls, reference: Any) -> "Set":
        """The mean over a reference set `[item, width]`, taken in float64."""
        table = as_values(reference)
        return cls(table.double().mean(0).to(table.dtype), f"the mean of {len(table)} items")

    @classmethod
    def resample(cls, values: Any, donors: Sequence[int]) -> "Set":
        """Each item gets the values `[item, width]` of another one: item i those of `donors[i]`."""
        return cls(as_values(values)[torch.as_tensor(donors)], "the values of other items")

    def __call__(self, part: Tensor, *values: Tensor) -> Tensor:
        return values[0].expand_as(part)

    def explain(self) -> str:
        return f"set to {self.source}"


class Add(Operation):
    """Add given values."""

    def __init__(self, value: Any) -> None:
        self.values = (as_values(value),)

    def __call__(self, part: Tensor, *values: Tensor) -> Tensor:
        return part + values[0]

    def explain(self) -> str:
        return (
            f"given values of norm {float(self.values[0].double().norm(dim=-1).mean()):.3g} added"
        )


class Rotated(Operation):
    """The placebo of another operation: its change, turned by a random rotation of the part.

    The change is as long, and what it has in common over texts is kept; only where it points is
    random. The rotation depends on the seed and the part's width alone, `[width, width]`.
    """

    def __init__(self, operation: Operation, seed: int = 0) -> None:
        self.operation, self.seed = operation, int(seed)
        self.values, self.spanned = operation.values, operation.spanned

    def __call__(self, part: Tensor, *values: Tensor) -> Tensor:
        wide = torch.promote_types(part.dtype, torch.float32)
        change = (self.operation(part, *values).to(part) - part).to(wide)
        return part + (change @ rotation(part.shape[-1], self.seed).to(change)).to(part)

    def explain(self) -> str:
        return f"changed as if {self.operation.explain()}, but in a random direction"


class Scale(Operation):
    """Multiply by a number."""

    def __init__(self, factor: float) -> None:
        self.values = (as_values(factor),)

    def __call__(self, part: Tensor, *values: Tensor) -> Tensor:
        return part * values[0]

    def explain(self) -> str:
        return f"multiplied by {float(self.values[0]):g}"


class Clamp(Operation):
    """Keep within bounds."""

    def __init__(self, low: float = -float("inf"), high: float = float("inf")) -> None:
        if not low <= high:
            raise UserError(
                f"clamp from {low} to {high}: give a low bound that is not above the high"
            )
        self.values = (as_values(low), as_values(high))

    def __call__(self, part: Tensor, *values: Tensor) -> Tensor:
        return part.clamp(values[0].to(part.dtype), values[1].to(part.dtype))

    def explain(self) -> str:
        return f"kept within {float(self.values[0]):g} and {float(self.values[1]):g}"


class Level(Operation):
    """Set the coordinate along a direction to a level: `x + (level - x @ v) v`.

    Args:
        direction: v, `[width]` or one for each item, `[item, width]`; scaled to unit length.
        level: a number, or one for each item, `[item]`; 0 leaves no projection on v.

    Raises:
        UserError: a direction of length zero.
    """

    def __init__(self, direction: Any, level: Any = 0.0) -> None:
        given, wanted = as_values(direction).double(), as_values(level)
        length = given.norm(dim=-1, keepdim=True)
        if not bool((length > 0).all() and length.isfinite().all()):
            raise UserError("level: give directions [width] or [item, width], none of them zero")
        self.spanned = given.shape[-1]
        self.values = ((given / length).float(), wanted[..., None] if wanted.dim() else wanted)

    def __call__(self, part: Tensor, *values: Tensor) -> Tensor:
        # Half precision has too few digits for the difference to the coordinate.
        wide = torch.promote_types(part.dtype, torch.float32)
        vector, level, old = (v.to(wide) for v in (*values, part))
        vector = vector / vector.norm(dim=-1, keepdim=True)
        return (old + (level - (old * vector).sum(-1, keepdim=True)) * vector).to(part.dtype)

    def explain(self) -> str:
        levels = self.values[1].flatten().unique().tolist()
        told = f"{levels[0]:.3g}" if len(levels) == 1 else "levels of their own"
        return f"the coordinate along a direction set to {told}"


class ProjectOut(Operation):
    """Remove the component in the span of directions `[k, width]` (or one, `[width]`)."""

    def __init__(self, directions: Any) -> None:
        given = torch.atleast_2d(as_values(directions)).double()
        if given.dim() != 2 or not bool((given.norm(dim=-1) > 0).all()):
            raise UserError("project out: give directions [k, width], none of them zero")
        # Nearly parallel directions span less than they are many: keep what is independent.
        _, size, basis = torch.linalg.svd(
            given / given.norm(dim=-1, keepdim=True), full_matrices=False
        )
        self.basis = basis[size > 1e-6 * size[0]]
        self.spanned = self.basis.shape[-1]

    def __call__(self, part: Tensor, *_: Tensor) -> Tensor:
        basis = self.basis.to(part)
        return part - (part @ basis.mT) @ basis

    def explain(self) -> str:
        return f"{len(self.basis)} direction(s) projected out"


class Erase(Operation):
    """Erase what some directions read: `x - ((x - mean) @ read.T) @ write`.

    An affine projection of low rank: afterwards `read` sees the mean's value in every vector.
    `probekit.erasure` fits the factors; an orthogonal projection has `read` equal to `write`.

    Args:
        read, write: `[rank, width]`, or one `[width]`; `read @ write.T` is the identity.
        mean: `[width]`, a vector that stays as it is.

    Raises:
        UserError: shapes that do not match, NaN, or factors that are no projection.
    """

    def __init__(self, read: Any, write: Any, mean: Any) -> None:
        self.read, self.write = (
            torch.atleast_2d(as_values(side)).double() for side in (read, write)
        )
        self.mean = as_values(mean).double()
        rank, self.spanned = self.read.shape[0], self.read.shape[-1]
        if not (self.read.shape == self.write.shape == (rank, *self.mean.shape)):
            shapes = ", ".join(str(list(v.shape)) for v in (self.read, self.write, self.mean))
            raise UserError(f"erase: read, write, mean are {shapes}: give [rank, d] twice and [d]")
        if not bool(self.mean.isfinite().all()):
            raise UserError("erase: the mean holds NaN or infinity; give a vector that stays")
        twice = self.read @ self.write.mT
        # Not only NaN fails this: so do plain probe weights, which erasing twice would flip back.
        if not torch.allclose(twice, torch.eye(rank, dtype=twice.dtype), atol=1e-3):
            raise UserError(
                "erase: read @ write.T is not the identity; take factors of probekit.erasure, or "
                "ProjectOut for plain directions"
            )

    def __call__(self, part: Tensor, *_: Tensor) -> Tensor:
        # Half precision has too few digits for the difference to the mean.
        wide = torch.promote_types(part.dtype, torch.float32)
        read, write, mean = (v.to(part.device, wide) for v in (self.read, self.write, self.mean))
        return (part.to(wide) - ((part.to(wide) - mean) @ read.mT) @ write).to(part.dtype)

    def explain(self) -> str:
        return f"{len(self.read)} direction(s) erased, the mean kept"


@lru_cache(maxsize=8)
def rotation(width: int, seed: int) -> Tensor:
    """A random orthogonal matrix `[width, width]`, uniform over all of them.

    The QR decomposition of normal numbers, its signs settled (Mezzadri 2007, math-ph/0609050).
    """
    drawn = np.random.default_rng([seed, width]).standard_normal((width, width))
    q, r = torch.linalg.qr(torch.from_numpy(drawn))
    return q * torch.sign(torch.diagonal(r))


def as_values(value: Any) -> Tensor:
    """Numbers as a tensor, float32 unless they come in float64 from torch or numpy."""
    if isinstance(value, Tensor):
        return value.detach()
    array = np.asarray(value)
    keep = isinstance(value, np.ndarray) and array.dtype == np.float64
    return torch.as_tensor(array, dtype=torch.float64 if keep else torch.float32)
