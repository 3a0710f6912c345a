"""What a sweep of patches says: shifts of log-odds, flips, and the columns of their rows."""

import numpy as np
from numpy.typing import NDArray

from probekit.causal import Floats, log_odds
from probekit.sweep import Swept

RECEPTION = "reception_shift"


def shifts(swept: Swept, source: NDArray[np.int64], target: NDArray[np.int64]) -> dict[str, Floats]:
    """Metric -> `[edit, item]` of what a sweep read; see the module's text.

    Args:
        source, target: `[item]`, places of the emotions among the labels.
    """
    after, before = swept.values["labels"], swept.clean["labels"]
    out = {"source_shift": log_odds(after, source) - log_odds(before, source)}
    out["target_shift"] = log_odds(after, target) - log_odds(before, target)
    out["flip"] = (after.argmax(-1) == source).astype(np.float64)
    if "category" in swept.values:
        probe, was = swept.values["category"], swept.clean["category"]
        out["source_shift_probe"] = log_odds(probe, source) - log_odds(was, source)
    if "reception" in swept.values:
        out["reception_shift"] = swept.effects("reception")[..., 0]
    return out


def task_of(metric: str) -> str:
    """The task that a figure belongs to."""
    return "reception" if metric == RECEPTION else "category"
