"""`Edit`: what is done to a site during a forward pass, at which tokens, and to which part of it.

A part is the whole vector, some heads of `z`, some neurons of `mlp_post`, or the coordinate along
a direction; an operation is done to that part alone. `model.edited([...])` runs the model so;
`probekit.sweep` evaluates thousands of edits at a fraction of the cost.
"""

from probekit.edits.edit import Edit
from probekit.edits.operations import (
    Add,
    Clamp,
    Erase,
    Level,
    Operation,
    ProjectOut,
    Rotated,
    Scale,
    Set,
    Zero,
)
from probekit.edits.places import Gate, Positions, Response, Where
from probekit.edits.running import applied

__all__ = [
    "Add",
    "Clamp",
    "Edit",
    "Erase",
    "Gate",
    "Level",
    "Operation",
    "Positions",
    "ProjectOut",
    "Response",
    "Rotated",
    "Scale",
    "Set",
    "Where",
    "Zero",
    "applied",
]
