"""L2 logistic regression for many designs and many label columns in one batch.

For every design (a layer in a fold) the standardised training rows are rotated onto their own
principal axes, which changes nothing in an L2-penalised fit and leaves `min(n, d)` coordinates
(the dual, where n < d). All problems of a design (values of C, permuted labels) share them.

Algorithm (Newton-CG; Nocedal & Wright, Numerical Optimization, 2nd ed., algorithm 7.1):
1. coordinates: eigendecomposition of the smaller of `X Xᵀ` and `Xᵀ X`;
2. Newton steps on all problems at once; each linear system by conjugate gradients, with the
   diagonal that the system has in these coordinates if all rows had the mean curvature;
3. a step that does not lower its problem's objective is halved; stop at the gradient's norm.

The objective is scikit-learn's: `C · Σ loss + ½ |w|²`, intercept not penalised.
"""

from dataclasses import dataclass, replace

import torch
from einops import rearrange
from torch import Tensor

GRADIENT_TOLERANCE = 1e-4
"""Largest gradient component at the optimum, per training row: scikit-learn's default."""
EXACT_TOLERANCE = 1e-8
"""The same, where coefficients and not only the order of scores are wanted."""
MAX_NEWTON, MAX_CG, MAX_HALVINGS = 60, 60, 12
CG_TOLERANCE = 0.1


@dataclass(frozen=True)
class Design:
    """Training rows of many designs in rotated coordinates.

    Attributes:
        z: `[design, row, r]`, centred training rows (zero where `weight` is 0).
        weight: `[design, row]`, 1 for a row that exists, 0 for padding.
        spectrum: `[design, r]`, squared singular values, the diagonal of `zᵀ z`.
        basis: `[design, d, r]`, from standardised features to coordinates.
        mean, scale: `[design, 1, d]`, of the training rows.
    """

    z: Tensor
    weight: Tensor
    spectrum: Tensor
    basis: Tensor
    mean: Tensor
    scale: Tensor

    def single(self) -> "Design":
        """The same training rows in float32, for problems where that is precise enough."""
        z, weight, spectrum = self.z.float(), self.weight.float(), self.spectrum.float()
        return replace(self, z=z, weight=weight, spectrum=spectrum)

    def project(self, x: Tensor) -> Tensor:
        """Rows `[design, row, d]` (or broadcastable) in coordinates `[design, row, r]`."""
        return ((x - self.mean) / self.scale) @ self.basis


def make_design(x: Tensor, weight: Tensor, *, standardize: bool) -> Design:
    """Rotate training rows.

    Args:
        x: `[design, row, d]` features, float64; rows of weight 0 are ignored.
        weight: `[design, row]`, 0 or 1.
        standardize: divide each feature by its standard deviation over the training rows.
    """
    count = weight.sum(1)[:, None, None]
    mask = weight[..., None]
    mean = (x * mask).sum(1, keepdim=True) / count
    centred = (x - mean) * mask
    scale = torch.ones_like(mean)
    if standardize:
        deviation = (centred.square().sum(1, keepdim=True) / count).sqrt()
        # A feature that is constant in training, to rounding, carries nothing: leave it at zero.
        varies = deviation > 1e-12 * (1 + mean.abs())
        scale = torch.where(varies, deviation, torch.ones_like(deviation))
        centred = centred / scale
    dual = x.shape[1] < x.shape[2]
    gram = centred @ centred.mT if dual else centred.mT @ centred
    values, vectors = torch.linalg.eigh(gram)
    # Directions without variance are dropped: their inverse would be noise.
    keep = values > 1e-10 * values[:, -1:].clamp_min(1e-300)
    spectrum = torch.where(keep, values, torch.zeros_like(values))
    if dual:
        inverse = torch.where(keep, values.clamp_min(1e-300).rsqrt(), torch.zeros_like(values))
        basis = centred.mT @ (vectors * inverse[:, None])
    else:
        basis = vectors * keep[:, None]
    return Design(centred @ basis, weight, spectrum, basis, mean, scale)


@dataclass(frozen=True)
class Fit:
    """Fitted problems: `w [design, r, problem, output]`, `b [design, problem, output]`."""

    w: Tensor
    b: Tensor
    iterations: int
    converged: bool

    def logits(self, z: Tensor) -> Tensor:
        """Decision values `[design, row, problem, output]` of projected rows."""
        return _times(z, self.w) + self.b[:, None]


def _times(z: Tensor, w: Tensor) -> Tensor:
    out = z @ rearrange(w, "design r problem output -> design r (problem output)")
    return rearrange(out, "d n (problem output) -> d n problem output", problem=w.shape[2])


def probabilities(logits: Tensor) -> Tensor:
    """Sigmoid for one output, softmax over several (last axis)."""
    return logits.sigmoid() if logits.shape[-1] == 1 else logits.softmax(-1)


def fit(design: Design, target: Tensor, c: Tensor, tolerance: float = GRADIENT_TOLERANCE) -> Fit:
    """Fit every problem of every design.

    Args:
        design: training rows.
        target: `[design, row, problem, output]`, one column of 0/1 for two classes, else one-hot
            (or a distribution: soft labels).
        c: `[problem]`, inverse penalty.
        tolerance: largest gradient component accepted, per training row.
    """
    n, r = design.z.shape[1:]
    w = target.new_zeros(target.shape[0], r, *target.shape[2:])
    b = target.new_zeros(target.shape[0], *target.shape[2:])
    # Columns that are solved in every design leave the batch; the others go on.
    open_ = torch.arange(target.shape[2])
    for iteration in range(1, MAX_NEWTON + 1):
        system = _System(design, target[:, :, open_], 1.0 / c[open_].to(target))
        at_w, at_b = w[:, :, open_], b[:, open_]
        gradient_w, gradient_b, p = system.gradient(at_w, at_b)
        norm = torch.maximum(gradient_w.abs().amax((1, 3)), gradient_b.abs().amax(2))
        active = norm > tolerance * n
        still = active.any(0)
        if not bool(still.any()):
            return Fit(w, b, iteration, True)
        if not bool(still.all()):
            open_ = open_[still]
            continue
        step_w, step_b = system.solve(gradient_w, gradient_b, p, active)
        w[:, :, open_], b[:, open_] = _damped(system, at_w, at_b, step_w, step_b)
    return Fit(w, b, MAX_NEWTON, False)


def _damped(
    system: "_System", w: Tensor, b: Tensor, step_w: Tensor, step_b: Tensor
) -> tuple[Tensor, Tensor]:
    """Take the steps, halving each whose objective would rise; one that never falls stays put."""
    before = system.objective(w, b)
    rounding = 100 * torch.finfo(before.dtype).eps * before.abs()
    size = torch.ones_like(before)
    new_w, new_b = w, b
    for halving in range(MAX_HALVINGS + 1):
        new_w = w - size[:, None, :, None] * step_w
        new_b = b - size[..., None] * step_b
        worse = ~(system.objective(new_w, new_b) <= before + rounding)
        if not bool(worse.any()):
            break
        shrunk = size / 2 if halving < MAX_HALVINGS - 1 else torch.zeros_like(size)
        size = torch.where(worse, shrunk, size)
    return new_w, new_b


class _System:
    """Objective, gradient and Newton system of all problems; penalty `[problem]` is 1/C."""

    def __init__(self, design: Design, target: Tensor, penalty: Tensor) -> None:
        self.z, self.spectrum = design.z, design.spectrum[:, :, None, None]
        self.weight = design.weight[:, :, None, None]
        self.count = design.weight.sum(1)[:, None, None]
        self.target, self.penalty = target, penalty[None, None, :, None]
        self.sigmoid = target.shape[-1] == 1

    def objective(self, w: Tensor, b: Tensor) -> Tensor:
        logits = _times(self.z, w) + b[:, None]
        if self.sigmoid:
            loss = torch.nn.functional.softplus(logits) - self.target * logits
        else:
            # Targets sum to one over outputs, so the cross-entropy is logsumexp minus their dot.
            loss = logits.logsumexp(-1, keepdim=True) - (self.target * logits).sum(-1, keepdim=True)
        return (self.weight * loss).sum((1, 3)) + 0.5 * (self.penalty * w.square()).sum((1, 3))

    def gradient(self, w: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        p = probabilities(_times(self.z, w) + b[:, None])
        residual = self.weight * (p - self.target)
        return _times(self.z.mT, residual) + self.penalty * w, residual.sum(1), self.weight * p

    def _hessian(self, v: Tensor, u: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        """Hessian times `(v, u)`; `p` are the weighted probabilities."""
        values = _times(self.z, v) + u[:, None]
        if self.sigmoid:
            bent = p * (1 - p) * values
        else:
            bent = p * (values - (p * values).sum(-1, keepdim=True))
        return _times(self.z.mT, bent) + self.penalty * v, bent.sum(1)

    def solve(
        self, right_w: Tensor, right_b: Tensor, p: Tensor, active: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Newton directions by preconditioned conjugate gradients; zero where not `active`."""
        right_w, right_b = right_w * active[:, None, :, None], right_b * active[..., None]
        mean = (p * (1 - p)).sum(1).mean(-1, keepdim=True) / self.count
        mean = mean.clamp_min(1e-6)
        scale_w = 1.0 / (mean[:, None] * self.spectrum + self.penalty)
        scale_b = 1.0 / (mean * self.count)
        x_w, x_b = torch.zeros_like(right_w), torch.zeros_like(right_b)
        r_w, r_b = right_w, right_b
        d_w, d_b = scale_w * r_w, scale_b * r_b
        rho = start = (r_w * d_w).sum((1, 3)) + (r_b * d_b).sum(2)
        for _ in range(MAX_CG):
            # A solved problem rests, so that no problem's answer depends on its batch.
            going = rho > CG_TOLERANCE**2 * start
            if not bool(going.any()):
                break
            h_w, h_b = self._hessian(d_w, d_b, p)
            bend = (d_w * h_w).sum((1, 3)) + (d_b * h_b).sum(2)
            alpha = torch.where(
                going & (bend > 0), rho / bend.clamp_min(1e-300), torch.zeros_like(bend)
            )
            x_w, x_b = x_w + alpha[:, None, :, None] * d_w, x_b + alpha[..., None] * d_b
            r_w, r_b = r_w - alpha[:, None, :, None] * h_w, r_b - alpha[..., None] * h_b
            s_w, s_b = scale_w * r_w, scale_b * r_b
            new = (r_w * s_w).sum((1, 3)) + (r_b * s_b).sum(2)
            beta = torch.where(rho > 0, new / rho.clamp_min(1e-300), torch.zeros_like(rho))
            d_w, d_b = s_w + beta[:, None, :, None] * d_w, s_b + beta[..., None] * d_b
            rho = new
        return x_w, x_b
