"""`ablate_heads`: what each head is worth to an emotion's direction, by exact ablation.

A head's `z` is set to its mean in neutral texts at the last read-out token; the score is by how
much the state at the last block then stands less far along the emotion's direction there, in units
of the median residual norm. Unlike its write, this counts what later layers make of the head. The
direction is of one half of the scenarios, texts are of the other.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from probekit.circuits.activities import ReadOut
from probekit.circuits.scores import Bools, Floats, Learned
from probekit.edits import Edit, Set, Zero
from probekit.models import Model
from probekit.prompts import Encoded
from probekit.readouts import Projection
from probekit.runs import Progress
from probekit.sites import Site
from probekit.stimuli import StimulusSet
from probekit.sweep import sweep


def ablate_heads(
    model: Model,
    stimuli: StimulusSet,
    texts: Sequence[ReadOut],
    learned: tuple[Learned, Learned],
    sides: tuple[Bools, Bools],
    *,
    sigma: float = 1.0,
    each: int = 16,
    zero: bool = False,
    keep: Path | None = None,
    progress: Progress = lambda *_: None,
) -> Floats:
    """Drop of the projection, `[emotion, layer, head]`, mean over texts of the emotion.

    Args:
        stimuli, texts: all texts, as in `learn`.
        learned: of either half, `sides` says which rows they are.
        sigma: median residual norm at the last block.
        each: texts of an emotion from each half, at most; the first.
        zero: set heads to zero (the paper's way) instead of their neutral mean.
        keep: a folder; a sweep that was killed goes on.
        progress: told of edits of prompts.
    """
    emotions = next(iter(learned[0].directions.values())).emotions
    named, last = stimuli.column("emotion"), Site("resid_post", model.n_layers - 1)
    chosen = [
        (side, place, row)
        for side, mask in enumerate(sides)
        for place, name in enumerate(emotions)
        for row in np.flatnonzero(mask & (named == name))[:each].tolist()
    ]
    vectors = [
        one.directions["resid_post"].of(name, last.layer) for one in learned for name in emotions
    ]
    names = [f"{name} {half}" for half in range(2) for name in emotions]
    heads = list(np.ndindex(model.n_layers, model.sites.units("z")))
    neutral = (learned[0].neutral["z"] + learned[1].neutral["z"]) / 2
    means = [
        Zero() if zero else Set(neutral[layer], "the neutral mean")
        for layer in range(model.n_layers)
    ]
    swept = sweep(
        model,
        [until_read(texts[row]) for _, _, row in chosen],
        [Edit(f"z.{layer}.{head}", -1, means[layer]) for layer, head in heads],
        {"along": Projection(last, np.stack(vectors), names)},
        keep=keep,
        progress=progress,
    )
    # A text is read along the direction of the half that it is not of.
    column = [(1 - side) * len(emotions) + place for side, place, _ in chosen]
    drops = -swept.effects("along")[:, np.arange(len(chosen)), column] / sigma
    of = np.array([place for _, place, _ in chosen])
    found = np.stack([drops[:, of == place].mean(1) for place in range(len(emotions))])
    return found.reshape(len(emotions), model.n_layers, -1)


def until_read(text: ReadOut) -> Encoded:
    """The prompt up to its last read-out token."""
    return text.prompt.first(max(text.tokens) + 1)
