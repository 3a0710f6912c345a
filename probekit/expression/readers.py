"""Linear probes of what is read: fitted on development posts, asked of any prompt or reply."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probekit.expression.reading import States
from probekit.persistence.probe import fit_probe

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Reader:
    """A probe at one layer.

    Attributes:
        place: of the chosen site.
        coefficients: `[class, d]`; mean: `[d]` of the states that it was fitted on.
        inner: `[site]`, macro AUROC in inner folds, which chose site and penalty.
    """

    place: int
    coefficients: Floats
    mean: Floats
    inner: Floats

    def logits(self, states: States) -> Floats:
        """`[..., class]` of states `[..., site, d]`, without intercepts (see `intercepts`)."""
        own = states[..., self.place, :].astype(np.float64)
        return (own - self.mean) @ self.coefficients.T

    def subspace(self, states: States, labels: NDArray[np.int64]) -> Floats:
        """Orthonormal `[rank, d]` of what class means differ in, at the chosen site."""
        own = states[:, self.place].astype(np.float64)
        means = np.stack([own[labels == k].mean(0) for k in np.unique(labels)])
        _, size, basis = np.linalg.svd(means - means.mean(0), full_matrices=False)
        return basis[size > 1e-8 * size[0]]


def fit_reader(
    states: States, labels: NDArray[np.int64], groups: NDArray[np.str_], folds: int, seed: int
) -> Reader:
    """Fit states `[row, site, d]`, rows with NaN left out.

    Raises:
        UserError: as `fit_probe`.
    """
    known = ~np.isnan(states).any((1, 2))
    own = states[known]
    found = fit_probe(own[None, :, None], labels[known], groups[known], folds, seed)
    mean = own[:, found.place].astype(np.float64).mean(0)
    coefficients = found.coefficients[found.place]
    # Of two classes both rows hold the whole log-odds, and a softmax would count them twice.
    coefficients = coefficients / 2 if len(coefficients) == 2 else coefficients
    return Reader(found.place, coefficients, mean, found.inner)


def intercepts(logits: Floats, labels: NDArray[np.int64], steps: int = 200) -> Floats:
    """`[class]`, what makes mean probabilities the classes' shares: the fit's own, unpenalised.

    Args:
        logits: `[row, class]` of the rows that were fitted; rows of NaN are left out.
        labels: `[row]`.
    """
    known = ~np.isnan(logits).any(1)
    own, found = logits[known], np.zeros(logits.shape[1])
    shares = np.bincount(labels[known], minlength=len(found)) / known.sum()
    for _ in range(steps):
        found += np.log(shares) - np.log(probabilities(own + found).mean(0))
    return found - found.mean()


def probabilities(logits: Floats) -> Floats:
    """Softmax over the last axis; rows of NaN stay."""
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)
