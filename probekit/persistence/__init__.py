"""What a model keeps of an emotional turn while it reads on, and what it only looks up again.

After "Decoding Emotion in the Deep" (arXiv 2510.04064), which read a state off replies that
carried the emotion themselves. Here what follows the turn is neutral and the same for every text.

1. `following` reads every offset of a continuation in one pass, and again with keys and values
   removed from the past; `turns` are the prompts, their continuations, and what is removed;
   `passages` are what is kept of it on the way.
2. `retention` is the study: a `probe` for all offsets, `measures` (AUROC, half-life, what a cut
   leaves), `rows` of results. `run_retention` (`run`) does it.
"""

from probekit.persistence.following import Cut, Passage, follow
from probekit.persistence.options import Retention
from probekit.persistence.retention import Study
from probekit.persistence.run import run_retention
from probekit.persistence.turns import Turn, continuations, removals, turns

__all__ = [
    "Cut",
    "Passage",
    "Retention",
    "Study",
    "Turn",
    "continuations",
    "follow",
    "removals",
    "run_retention",
    "turns",
]
