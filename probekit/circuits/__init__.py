"""Circuits: the heads and neurons that carry an emotion in a model.

After "Do LLMs 'Feel'?" (Wang et al. 2025, arXiv 2510.11328).

1. `texts`: what the model writes in an emotion, accepted by a judge; or the vignettes.
   `activities`: what heads, neurons and streams do at their read-out tokens.
2. `scores` (what each writes along the emotion's direction), `heads` (by exact ablation),
   `influence` (of whole sublayers, on readouts that nothing scored went into).
3. `assembly` spreads a budget over sublayers: a `Circuit`, a file of its own.
4. `validating` and `ablating`: what circuits, their complements and random sets of the same size
   are needed for, by the `measures`; `modulation` and `modulating`: an emotion brought about
   through a circuit, in a scorecard beside asking and steering; `edges`: which heads feed which
   neurons, a `graph`.
5. `study` chains all this through `stages`; `rows` are its figures; `run_circuits` (`run`) does it.
"""

from probekit.circuits.activities import ReadOut, activity
from probekit.circuits.assembly import Spread, assemble
from probekit.circuits.circuit import Circuit, ablation, complement, jaccard, random_like
from probekit.circuits.components import Component, writing
from probekit.circuits.edges import connect
from probekit.circuits.graph import Edge, Graph, Node
from probekit.circuits.modulation import Modulation, modulate, random_modulation
from probekit.circuits.options import Circuits
from probekit.circuits.run import run_circuits
from probekit.circuits.scores import Learned, Scores, learn, score
from probekit.circuits.study import Study

__all__ = [
    "Circuit",
    "Circuits",
    "Component",
    "Edge",
    "Graph",
    "Learned",
    "Modulation",
    "Node",
    "ReadOut",
    "Scores",
    "Spread",
    "Study",
    "ablation",
    "activity",
    "assemble",
    "complement",
    "connect",
    "jaccard",
    "learn",
    "modulate",
    "random_like",
    "random_modulation",
    "run_circuits",
    "score",
    "writing",
]
