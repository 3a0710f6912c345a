"""Large corpora: streamed, filtered, their labels mapped, their classes balanced.

`streaming` yields what filters leave of any file, folder or Hub dataset; `repeats` tells texts
that came before, in memory that does not grow; `items` keeps on disk what is left; `balance` draws
equally many rows of every class; `capturing` reads a corpus into a store of activations.
"""

from probekit.corpus.balance import resampled, to_mean, to_smallest
from probekit.corpus.capturing import capture_corpus
from probekit.corpus.items import Items, prepare
from probekit.corpus.repeats import Repeats
from probekit.corpus.streaming import Corpus, Filters, Item

__all__ = [
    "Corpus",
    "Filters",
    "Item",
    "Items",
    "Repeats",
    "capture_corpus",
    "prepare",
    "resampled",
    "to_mean",
    "to_smallest",
]
