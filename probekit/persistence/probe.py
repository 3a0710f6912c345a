"""One linear probe of a turn's emotion for all offsets, fitted over several continuations."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probekit import stats
from probekit.crossval import CS
from probekit.errors import UserError
from probekit.folds import grouped_folds
from probekit.probes import LayerProbes

Floats = NDArray[np.float64]
States = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Probe:
    """Fits of all sites.

    Attributes:
        coefficients: `[site, class, d]`; what they give of a state ranks rows of one offset of
            one continuation, to which an intercept would add one number.
        inner: `[site]`, macro AUROC in inner folds, by which site and penalty were chosen.
        place: the chosen site's place.
    """

    coefficients: Floats
    inner: Floats
    place: int


def fit_probe(
    states: States,
    labels: Ints,
    groups: NDArray[np.str_],
    n_folds: int,
    seed: int,
    advance: Callable[[int], None] = lambda _: None,
) -> Probe:
    """Fit every site, the penalty chosen over folds of whole groups, and choose a site.

    States of one continuation and window are centred on their mean over training rows: what the
    forced tokens are is no part of the fit.

    Args:
        states: `[continuation, row, window, site, d]`.
        labels: `[row]` classes; groups: `[row]` scenarios.
        n_folds: folds; seed: of them.
        advance: told of finished fits of all sites, `len(CS) * n_folds` in all.

    Raises:
        UserError: a class that stands in too few groups for so many folds.
    """
    n_sites = states.shape[3]
    folds = grouped_folds(groups, labels.astype(np.str_), n_folds, seed)
    scores = np.zeros((len(CS), n_sites))
    for place, c in enumerate(CS):
        for fold in range(n_folds):
            inside = folds == fold
            weights = _coefficients(states[:, ~inside], labels[~inside], c)
            said = np.einsum("crwsd,skd->scwrk", states[:, inside], weights, optimize=True)
            scores[place] += [_ranked(own, labels[inside]) / n_folds for own in said]
            advance(1)
    best = scores.argmax(0)
    fitted = [
        _coefficients(states[:, :, :, [site]], labels, CS[best[site]])[0] for site in range(n_sites)
    ]
    return Probe(np.stack(fitted), scores.max(0), int(scores.max(0).argmax()))


def _ranked(said: Floats, labels: Ints) -> float:
    """Mean macro AUROC of `[continuation, window, row, class]`, each place by itself."""
    one = np.zeros(len(labels), np.int64)
    places = said.reshape(-1, *said.shape[2:])
    return float(np.mean([stats.macro_auroc(own, labels, one)[0] for own in places]))


def _coefficients(states: States, labels: Ints, c: float) -> Floats:
    """`[site, class, d]` of a fit on all rows."""
    if len(found := np.unique(labels)) < (many := int(labels.max()) + 1):
        raise UserError(f"{len(found)} of {many} emotions in a fold: give more scenarios of each")
    centred = states - states.mean(1, keepdims=True)
    x = centred.reshape(-1, *states.shape[3:])
    _, row, _ = np.indices(states.shape[:3])
    found = LayerProbes(c).fit(x, labels[row.ravel()]).coef_
    return found if found.shape[1] > 1 else np.concatenate([-found, found], 1)
