"""Directions of emotions: estimated from states, kept with all that says what they are.

`extract` makes `Directions` from captured activations by one of `ESTIMATORS`; they add, subtract,
blend, project states, read out words, save to one file and export to other engines. They belong
to one model and one kind of site, and refuse any other.
"""

from probekit.directions.artefact import Directions
from probekit.directions.design import Design
from probekit.directions.estimators import ESTIMATORS, Estimator
from probekit.directions.export import write_gguf, write_tensors
from probekit.directions.extraction import Estimate, estimate, extract
from probekit.directions.identity import Identity
from probekit.directions.pieces import Piece
from probekit.directions.reading import Reading, read_text
from probekit.directions.reference import Band, Reference
from probekit.directions.words import Scores, Word, score_tokens, top_tokens

__all__ = [
    "ESTIMATORS",
    "Band",
    "Design",
    "Directions",
    "Estimate",
    "Estimator",
    "Identity",
    "Piece",
    "Reading",
    "Reference",
    "Scores",
    "Word",
    "estimate",
    "extract",
    "read_text",
    "score_tokens",
    "top_tokens",
    "write_gguf",
    "write_tensors",
]
