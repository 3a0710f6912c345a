"""Steering: a model writes while directions are added to its states, each row with its own."""

from probekit.steering.generation import Decoding, Reply, generate
from probekit.steering.sample import Sample
from probekit.steering.scale import Scale, residual_scale
from probekit.steering.steering import MAX_DOSE, Steering, checked_dose, edits_of

__all__ = [
    "MAX_DOSE",
    "Decoding",
    "Reply",
    "Sample",
    "Scale",
    "Steering",
    "checked_dose",
    "edits_of",
    "generate",
    "residual_scale",
]
