"""Stimuli: rows of text with their factors, read from a file, a dataset folder or this package.

    reading ──► rows ──► structure ──► sets

`reading` streams any accepted file as dicts, `rows` says what one row must be, `structure` what a
design of many rows must be, and `sets` holds them together as a `StimulusSet`.
"""

from probekit.stimuli.reading import shipped, stream_rows
from probekit.stimuli.rows import ARMS, Stimulus, stream_texts
from probekit.stimuli.sets import StimulusSet
from probekit.stimuli.structure import check_pairs, check_quads, check_triplets

__all__ = [
    "ARMS",
    "Stimulus",
    "StimulusSet",
    "check_pairs",
    "check_quads",
    "check_triplets",
    "shipped",
    "stream_rows",
    "stream_texts",
]
