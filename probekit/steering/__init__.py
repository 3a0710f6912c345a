"""Steering: a model writes while directions are added to its states, each row with its own."""

from probekit.steering.eliciting import Elicited, elicit
from probekit.steering.generation import GREEDY, Decoding, Reply, check_room, generate
from probekit.steering.methods import FewShot, Method, Plain, Prompted, Random, Setting, Steered
from probekit.steering.sample import Sample
from probekit.steering.scale import Scale, residual_scale, with_scale
from probekit.steering.steering import (
    HOW,
    MAX_DOSE,
    Drive,
    Part,
    Steering,
    checked_dose,
    default_layers,
    edits_of,
)
from probekit.steering.trace import Trace, trace

__all__ = [
    "GREEDY",
    "HOW",
    "MAX_DOSE",
    "Decoding",
    "Drive",
    "Elicited",
    "FewShot",
    "Method",
    "Part",
    "Plain",
    "Prompted",
    "Random",
    "Reply",
    "Sample",
    "Scale",
    "Setting",
    "Steered",
    "Steering",
    "Trace",
    "check_room",
    "checked_dose",
    "default_layers",
    "edits_of",
    "elicit",
    "generate",
    "residual_scale",
    "trace",
    "with_scale",
]
