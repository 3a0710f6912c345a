"""What a sweep of patches says: shifts of log-odds, and flips."""

import numpy as np
from numpy.typing import NDArray

from probekit.causal import RECEPTION, Floats, shift
from probekit.sweep import Swept


def shifts(swept: Swept, source: NDArray[np.int64], target: NDArray[np.int64]) -> dict[str, Floats]:
    """Metric -> `[edit, item]` of what a sweep read; see the module's text.

    Args:
        source, target: `[item]`, places of the emotions among the labels.
    """
    out = {
        "source_shift": shift(swept, "labels", source),
        "target_shift": shift(swept, "labels", target),
        "flip": (swept.values["labels"].argmax(-1) == source).astype(np.float64),
    }
    if "category" in swept.values:
        out["source_shift_probe"] = shift(swept, "category", source)
    if "reception" in swept.values:
        out[RECEPTION] = swept.effects("reception")[..., 0]
    return out
