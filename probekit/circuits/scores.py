"""`score`: how much each head and neuron writes along an emotion's direction.

A neuron's score is c_j = H_j (W_downᵀ v)_j (Wang et al. 2025, arXiv 2510.11328), a head's the sum
of the same over its slice of `z`: its write on v. H is the *effect* of the emotion on the
activation, beside scenario and valence, so that units which are always on do not come first; `raw`
keeps the paper's plain mean. v is the emotion's direction in the stream right behind the sublayer.
Directions and activations come from different halves of the scenarios, and both ways round are
averaged.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from probekit.circuits.activities import POOLING, SCALED
from probekit.circuits.components import (
    INNER,
    Values,
    stream_kind,
    written_by,
)
from probekit.directions import Directions, extract
from probekit.directions.design import NEUTRAL, Design
from probekit.directions.extraction import estimate
from probekit.errors import UserError
from probekit.models import Model
from probekit.sites import Kind, Site
from probekit.stimuli import StimulusSet
from probekit.store import Activations

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of every head and neuron for every emotion.

    Attributes:
        emotions: in the arrays' order.
        values: kind -> `[emotion, layer, unit]`, the mean of both ways round.
        halves: kind -> `[2, emotion, layer, unit]`, each way round.
        raw: kind -> `[emotion, layer, unit]`, with plain means of activations.
    """

    emotions: tuple[str, ...]
    values: Values
    halves: Values
    raw: Values

    def of(self, emotion: str) -> Values:
        """Kind -> `[layer, unit]` of one emotion."""
        place = self.emotions.index(emotion)
        return {kind: values[place] for kind, values in self.values.items()}

    def relative(self, norms: Values) -> "Scores":
        """The same in units of residual norms, kind -> `[layer]`: comparable over layers."""

        def scaled(values: Values) -> Values:
            return {kind: each / norms[kind][:, None] for kind, each in values.items()}

        return Scores(self.emotions, *map(scaled, (self.values, self.halves, self.raw)))

    def reliability(self, kind: Kind, emotion: str) -> float:
        """Spearman's correlation of the two ways round, over all units of a kind."""
        one, other = self.halves[kind][:, self.emotions.index(emotion)]
        return float(np.corrcoef(rankdata(one), rankdata(other))[0, 1])


@dataclass(frozen=True, eq=False)
class Learned:
    """What texts say of emotions inside a model.

    Attributes:
        directions: kind of stream -> directions there.
        effects: kind -> `[emotion, layer, width]`, effect of each emotion on activations, beside
            scenario and valence.
        scaled: the same of activations times the scale of a post-norm.
        means: kind -> `[emotion, layer, width]`, plain means of scaled activations.
        neutral: kind -> `[layer, width]`, mean of activations in neutral texts.
    """

    directions: dict[Kind, Directions]
    effects: Values
    scaled: Values
    means: Values
    neutral: Values


def halves(
    stimuli: StimulusSet, seed: int = 0, by: str = "scenario", rows: Bools | None = None
) -> tuple[Bools, Bools]:
    """Two halves of the rows that never part a scenario (or another factor), drawn by the seed.

    Scenarios are dealt out by turns, those with the rarest emotions first, so that both halves
    hold each emotion's.

    Raises:
        UserError: fewer than two scenarios.
    """
    asked = np.ones(len(stimuli), dtype=bool) if rows is None else rows
    named = np.where(asked, stimuli.column(by), "")
    names = sorted(set(named) - {""})
    if len(names) < 2:
        raise UserError(f"{len(names)} {by}s: halves need two or more")
    emotion = stimuli.column("emotion")
    total = {name: int((emotion[asked] == name).sum()) for name in set(emotion[asked])}
    own = {name: emotion[named == name] for name in names}
    order = np.random.default_rng([seed, 11]).permutation(len(names))
    ranked = sorted((names[n] for n in order), key=lambda name: min(total[e] for e in own[name]))
    held = [dict.fromkeys(total, 0.0) for _ in range(2)]
    first = []
    for name in ranked:
        side = int(np.argmin([sum(each[e] for e in own[name]) for each in held]))
        for e in own[name]:
            held[side][e] += 1 / total[e]
        first += [name] if side == 0 else []
    chosen = np.isin(named, first)
    return chosen, asked & ~chosen


def learn(
    model: Model, stimuli: StimulusSet, states: Activations, *, rows: Bools | None = None
) -> Learned:
    """Directions and effects from texts.

    Args:
        stimuli: the texts' factors; valence is part of the group where it is the event's own.
        states: from `activity`.
        rows: only these.

    Raises:
        UserError: an emotion with too few texts, or confounded with its scenarios.
    """
    chosen = np.ones(len(stimuli), dtype=bool) if rows is None else rows
    kept = np.flatnonzero(chosen)
    some = StimulusSet(stimuli.name, tuple(stimuli.rows[row] for row in kept))
    by_valence = stimuli.name == "expressing"
    kinds: list[Kind] = list(dict.fromkeys(stream_kind(model, each) for each in INNER))
    directions: dict[Kind, Directions] = {
        kind: extract(
            model,
            some,
            states,
            kind=kind,
            pooling=POOLING,
            source="expressing" if by_valence else "reading",
            by_valence=by_valence,
        )
        for kind in kinds
    }
    design = Design.of(some, by_valence=by_valence)
    emotion = some.column("emotion")
    effects, scaled, means, neutral = {}, {}, {}, {}
    for kind in INNER:
        given = states.stack(kind, POOLING)[kept]
        effects[kind] = scaled[kind] = _raw(given, design)
        neutral[kind] = given[emotion == NEUTRAL].mean(0, dtype=np.float64)
        if states.arrays[f"{kind}/{SCALED}"] is not states.arrays[f"{kind}/{POOLING}"]:
            given = states.stack(kind, SCALED)[kept]
            scaled[kind] = _raw(given, design)
        means[kind] = np.stack(
            [given[emotion == name].mean(0, dtype=np.float64) for name in design.emotions]
        )
    return Learned(directions, effects, scaled, means, neutral)


def _raw(states: NDArray[np.float32], design: Design) -> Floats:
    found = estimate(states, design)
    return found.vectors * found.norms[..., None]


def score(
    model: Model,
    stimuli: StimulusSet,
    states: Activations,
    *,
    seed: int = 0,
    by: str = "scenario",
    rows: Bools | None = None,
) -> Scores:
    """Score every head and neuron, directions of one half on activations of the other.

    Args:
        stimuli, states: as in `learn`.
        seed: of the halves.
        by: the factor that halves never part: "scenario" or "domain" (themes).
        rows: only these.

    Raises:
        UserError: as `learn`, for a half.
    """
    sides = halves(stimuli, seed, by, rows)
    learned = [learn(model, stimuli, states, rows=side) for side in sides]
    emotions = next(iter(learned[0].directions.values())).emotions
    pairs = ((learned[0], learned[1]), (learned[1], learned[0]))
    found: dict[Kind, Floats] = {
        kind: np.stack([_written(model, kind, one.directions, two.scaled) for one, two in pairs])
        for kind in INNER
    }
    plain: dict[Kind, Floats] = {
        kind: np.mean([_written(model, kind, a.directions, b.means) for a, b in pairs], axis=0)
        for kind in INNER
    }
    both: dict[Kind, Floats] = {kind: each.mean(0) for kind, each in found.items()}
    return Scores(emotions, both, found, plain)


def _written(
    model: Model, kind: Kind, directions: dict[Kind, Directions], values: Values
) -> Floats:
    """`[emotion, layer, unit]`, what activations `[emotion, layer, width]` write along v."""
    own = directions[stream_kind(model, kind)]
    units, out = model.sites.units(kind), []
    for layer in range(model.n_layers):
        weight = written_by(model, Site(kind, layer))
        along = own.vectors[:, own.layers.index(layer)].astype(np.float64) @ weight.T
        each = along * values[kind][:, layer]
        out.append(each.reshape(len(each), units, -1).sum(-1))
    return np.stack(out, axis=1)
