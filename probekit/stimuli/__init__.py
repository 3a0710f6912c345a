"""Stimuli: rows of text with their factors, read from a file, a dataset folder or this package.

    reading ──► schemas ──► rows ──► structure, hygiene ──► sets
                   taxonomy ──► datasheet ┘    readings ┘

`reading` streams any accepted file as dicts, `schemas` turns files of other studies into our
columns, `rows` says what one row must be, `structure` what a design of many rows must be,
`hygiene` what no text may hold, `taxonomy` which labels there are, `datasheet` what a set
declares, `readings` what blind readers said; `sets` holds them together as a `StimulusSet`.
"""

from probekit.stimuli.datasheet import read_datasheet
from probekit.stimuli.reading import home, locate, shipped, stream_rows
from probekit.stimuli.readings import Reading, read_readings, write_readings
from probekit.stimuli.rows import ARMS, Stimulus, stream_texts
from probekit.stimuli.schemas import SHARES
from probekit.stimuli.sets import StimulusSet, TestSplitWarning
from probekit.stimuli.structure import check_pairs, check_quads, check_triplets
from probekit.stimuli.taxonomy import TAXONOMIES, Taxonomy, affect_norms
from probekit.stimuli.wording import emotion_spans, emotion_words, lexicon, words

__all__ = [
    "ARMS",
    "SHARES",
    "TAXONOMIES",
    "Reading",
    "Stimulus",
    "StimulusSet",
    "Taxonomy",
    "TestSplitWarning",
    "affect_norms",
    "check_pairs",
    "check_quads",
    "check_triplets",
    "emotion_spans",
    "emotion_words",
    "home",
    "lexicon",
    "locate",
    "read_datasheet",
    "read_readings",
    "shipped",
    "stream_rows",
    "stream_texts",
    "words",
    "write_readings",
]
