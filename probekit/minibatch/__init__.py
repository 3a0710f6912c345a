"""Probes of a large corpus: trained from a store of activations that is never loaded whole.

1. `Blocks` read a store a few shards at a time, in a shuffled order; `Batches` draw labelled rows
   from them; `MiniBatchProbes` fit every layer at once, linear or with one hidden layer, on CPU or
   GPU.
2. `parts` part a corpus by group and balance its classes; `words` learn what words alone tell of
   the same rows; `scoring` draws intervals over groups.
3. `study` brings them together stage by stage, `rows` are its results, `run_probe_corpus` does it.

The MLP, its optimiser and the balance of classes are those of "Decoding Emotion in the Deep"
(arXiv 2510.04064); the controls are not in it.
"""

from probekit.minibatch.batches import Batches
from probekit.minibatch.blocks import Block, Blocks, Scaling
from probekit.minibatch.options import Options
from probekit.minibatch.parts import Parts, parts_of
from probekit.minibatch.probes import MiniBatchProbes, decide_together, fit_together
from probekit.minibatch.run import run_probe_corpus
from probekit.minibatch.scoring import Scorer
from probekit.minibatch.study import Study

__all__ = [
    "Batches",
    "Block",
    "Blocks",
    "MiniBatchProbes",
    "Options",
    "Parts",
    "Scaling",
    "Scorer",
    "Study",
    "decide_together",
    "fit_together",
    "parts_of",
    "run_probe_corpus",
]
