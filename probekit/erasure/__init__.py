"""Erasing a concept from states, so that no linear probe finds it, and checking what that did.

LEACE (Belrose et al. 2023, arXiv:2306.03819) makes the class means of a concept equal, and of all
affine maps that do so moves the states least. `ProjectionEraser` projects the means' span out
orthogonally, `random_eraser` takes as many random directions: the control. An `Eraser` acts on
captured states, or inside the model: `Edit("resid_post.12", "all", eraser.operation())`.

Equal means say that nothing is left on the rows that the eraser was fitted on; on other rows of
the same kind something may be. `evaluate_erasure` measures both, beside what else was lost, and
`language_loss` what the model's own task costs. `run_erasure` does all of it for the concepts of a
set, and keeps the erasers (`Erasers`).

The package `concept-erasure` of the same authors needs only torch and runs here, but has had no
release since January 2024, accumulates in the precision of its input, takes one layer, shrinks
towards equal variances (a few features of the residual stream are thousands of times the others)
and may leave canonical correlations below .01. Here: float64, all layers, each feature's own
variance, equal means to rounding.
"""

from probekit.erasure.artefact import Erasers
from probekit.erasure.eraser import Eraser, random_eraser
from probekit.erasure.fitting import LEACE, ProjectionEraser
from probekit.erasure.loss import language_loss
from probekit.erasure.options import Erasure
from probekit.erasure.run import run_erasure
from probekit.erasure.study import Concept, evaluate_erasure

__all__ = [
    "LEACE",
    "Concept",
    "Eraser",
    "Erasers",
    "Erasure",
    "ProjectionEraser",
    "evaluate_erasure",
    "language_loss",
    "random_eraser",
    "run_erasure",
]
