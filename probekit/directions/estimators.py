"""Estimators of directions: plain functions from states and their design to vectors.

| name | an emotion's vector is | neutral items are | raw norm |
|---|---|---|---|
| `grouped` | its effect beside those of groups (scenario and valence) | one more class | distance |
| `mean` | its class mean minus the mean of all emotions' class means | left out | distance |
| `control` | its mean difference from the neutral item of the same group | the control | distance |
| `pca` | that of `mean`, projected on the leading axes of the class means | left out | distance |
| `lda` | the weights of its linear discriminant | one more class | weights |
| `logistic` | the weights of its row in a logistic regression | one more class | weights |
| `random` | a random vector | left out | none |

*Distance*: the raw vector is a difference of means in the units of the states; adding it moves a
state as far as the emotion does. *Weights*: it is what a reader multiplies states with; its
length is no distance. Means are taken in float64, one layer at a time, so a layer's vectors do
not depend on the others.
"""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from probekit.directions.design import Design
from probekit.directions.spread import Spread
from probekit.errors import UserError
from probekit.probes import LayerProbes

Floats = NDArray[np.float64]
States = NDArray[np.floating[Any]]
PENALTY = 0.01
COMPONENTS = 2


class Estimator(Protocol):
    """States `[item, layer, d]` and their design -> raw vectors `[emotion, layer, d]`.

    Emotions are those of `design.emotions`, in that order. Further arguments are options.
    """

    def __call__(self, states: States, design: Design, /, **options: Any) -> Floats: ...


def grouped(states: States, design: Design) -> Floats:
    """Effects of emotions beside effects of groups: the second study's grouped mean difference.

    Where every group holds every emotion this is the study's formula (arXiv 2510.11328): centre
    each group over its emotions, average over groups, subtract the mean over emotions. Groups are
    keyed by scenario *and* valence; keyed by scenario alone, as released, valences overwrite each
    other. Where cells are missing it is the least-squares fit of `cell mean = group + emotion`,
    which uses incomplete groups too, and equals the formula on complete ones. Cells count alike,
    however many items they hold; the effects of all classes sum to zero, neutral among them.

    Raises:
        UserError: emotions that share no group, not even through others (confounded with them),
            or an emotion in fewer than two groups that hold another.
    """
    design.check_estimable("grouped")
    design.check("grouped", informative=True)
    group, of_class, _, _ = design.cells
    table = design.table.astype(np.float64)
    share = table / table.sum(1, keepdims=True)
    # Normal equations of the emotions, groups eliminated: a graph's Laplacian, singular along 1.
    laplacian = np.diag(table.sum(0)) - table.T @ share
    own = (np.arange(len(design.classes))[:, None] == of_class) - share[group].T
    return _weighted(states, design, np.linalg.pinv(laplacian, hermitian=True) @ own)


def mean(states: States, design: Design) -> Floats:
    """Class mean minus the grand mean, which is the mean of the emotions' class means.

    Not the mean of items: there an emotion with more items would pull the point that all are
    compared with. Groups play no part, so what scenarios of one emotion share stays in.
    """
    design.check("mean", n_emotions=2, with_neutral=False)
    weights = design.averaging()[: len(design.emotions)]
    return _apply(weights - weights.mean(0), states)


def control(states: States, design: Design) -> Floats:
    """Mean over groups of an emotion's cell minus the neutral cell of the same group.

    Raises:
        UserError: a group without a neutral item or with nothing else (unmatched arms).
    """
    design.check_matched("control")
    design.check("control")
    group, of_class, _, _ = design.cells
    emotion = np.arange(len(design.emotions))[:, None]
    beside = design.table[group].T[: len(emotion)]  # [emotion, cell]: its group has the emotion
    minus = (of_class == len(design.emotions)) & beside
    groups = design.table.sum(0)[: len(emotion), None]
    return _weighted(states, design, ((of_class == emotion) * 1.0 - minus) / groups)


def pca(states: States, design: Design, *, components: int = COMPONENTS) -> Floats:
    """The class mean, centred as in `mean`, projected on leading principal axes of class means.

    What the emotions' means share in few dimensions is kept, the rest of each is left out. All
    components give `mean` back.

    Args:
        components: how many axes are kept, fewer than there are emotions.
    """
    design.check("pca", n_emotions=2, with_neutral=False)
    if not 1 <= components < len(design.emotions):
        raise UserError(
            f"pca: {components} components of {len(design.emotions)} emotions' means: give 1 to "
            f"{len(design.emotions) - 1}"
        )
    vectors = mean(states, design)
    _, _, axes = np.linalg.svd(vectors.swapaxes(0, 1), full_matrices=False)
    kept = axes[:, :components]
    return np.einsum("eld,lkd,lkf->elf", vectors, kept, kept, optimize=True)


def lda(states: States, design: Design) -> Floats:
    """Weights of the linear discriminant: the inverse covariance times the centred class mean.

    The covariance is that within classes, shrunk by Ledoit and Wolf; see `Spread`. Priors are
    alike, and the centre is the mean of all class means, neutral among them.
    """
    design.check("lda")
    _refuse_lone_class("lda", design)
    out = []
    for layer in by_layer(states):
        means = design.averaging() @ layer
        covariance = Spread.of(layer - means[design.of_class])
        out.append(covariance.solve(means - means.mean(0))[: len(design.emotions)])
    return np.stack(out, axis=1)


def logistic(states: States, design: Design, *, C: float = PENALTY) -> Floats:
    """Weights of `LayerProbes` in the units of the states.

    More than two classes have one row each (multinomial: the rows sum to zero); of two classes
    the one has the weights, the other their opposite.

    Args:
        C: inverse penalty on standardised features.
    """
    design.check("logistic")
    _refuse_lone_class("logistic", design)
    weights = LayerProbes(C=C).fit(states, design.of_class).coef_.swapaxes(0, 1)
    both = np.concatenate([-weights, weights]) if len(weights) == 1 else weights
    return both[: len(design.emotions)]


def random(states: States, design: Design, *, seed: int = 0) -> Floats:
    """A random peer of the same shape: normal draws, of length about one.

    One stream of draws for all layers: a layer alone gets other draws than among others (see
    `Directions.peer` for peers of a given artefact, layer by layer).
    """
    shape = (len(design.emotions), *states.shape[1:])
    return np.random.default_rng(seed).standard_normal(shape) / np.sqrt(shape[-1])


ESTIMATORS: dict[str, Callable[..., Floats]] = {
    "grouped": grouped,
    "mean": mean,
    "control": control,
    "lda": lda,
    "logistic": logistic,
    "pca": pca,
    "random": random,
}
"""Estimators by name; each is an `Estimator`."""
WEIGHTS = frozenset({"lda", "logistic"})
"""Estimators whose raw norm is that of a reader's weights."""


def by_layer(states: States) -> Iterator[Floats]:
    """Each layer's states `[item, d]` in float64."""
    return (states[:, place].astype(np.float64) for place in range(states.shape[1]))


def _apply(weights: Floats, states: States) -> Floats:
    """Weighted sums `[emotion, layer, d]` of items, weights `[emotion, item]`."""
    return np.stack([weights @ layer for layer in by_layer(states)], axis=1)


def _weighted(states: States, design: Design, weights: Floats) -> Floats:
    """The same of means of cells, weights `[class, cell]`; the emotions' rows."""
    _, _, count, cell = design.cells
    return _apply((weights / count)[: len(design.emotions), cell], states)


def _refuse_lone_class(estimator: str, design: Design) -> None:
    if len(design.classes) < 2:
        raise UserError(f"{estimator}: one class only ({', '.join(design.classes)}): it needs two")
