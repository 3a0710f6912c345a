"""Rows of `results.csv`: every figure with its interval and, beside it, what chance gives."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probekit import stats
from probekit.causal import Row, adjusted
from probekit.circuits.circuit import jaccard, random_like
from probekit.circuits.components import INNER, OUTER, Component
from probekit.circuits.influence import ALPHAS, NULL_ALPHA, READOUTS
from probekit.circuits.scores import Scores, learn, score
from probekit.circuits.study import Study
from probekit.directions.design import NEUTRAL
from probekit.errors import UserError
from probekit.stats import Estimate

Floats = NDArray[np.float64]
NULL_DRAWS = 20


def estimated(study: Study, values: Any, clusters: Sequence[str], *, test: bool = False) -> Row:
    """Mean with its interval over clusters, and p of sign flips where asked; n and clusters."""
    given = np.asarray(values, dtype=np.float64)
    sizes = {"n": len(given), "clusters": len(set(clusters))}
    if sizes["clusters"] < 2:
        return sizes
    options = study.options
    weights = stats.bootstrap_weights(list(clusters), options.bootstraps, options.seed)
    found = {**Estimate.of(weights @ given / weights.sum(1), against_zero=test).cells, **sizes}
    if test:
        flips = options.permutations
        found["p"] = float(
            stats.sign_flip_p(given[:, None], list(clusters), flips, options.seed)[0]
        )
    return found


def null_of(drawn: Any) -> Row:
    """Mean and middle 95 % of what chance gave."""
    given = np.asarray(drawn, dtype=np.float64).ravel()
    return {**Estimate.of_null(given).cells, "n": len(given), "condition": "null"}


def acceptance(study: Study) -> Iterator[Row]:
    """How often texts were taken for the emotion that they were asked for; plain ones beside."""
    for split in ("dev", "test"):
        texts = [each for each in study.expressions if each.split == split]
        for emotion in study.options.emotions:
            for method, made_for in (("prompt", emotion), ("plain", NEUTRAL)):
                own = [each for each in texts if each.emotion == made_for]
                hits = [each.judged == emotion and bool(each.text.strip()) for each in own]
                yield {
                    "task": "expression",
                    "metric": "accepted",
                    "set": "scenarios",
                    "split": split,
                    "emotion": emotion,
                    "condition": "chance" if method == "plain" else "",
                    "method": method,
                    "judge": study.judge.name,
                    **estimated(study, hits, [each.scenario for each in own]),
                }


def scoring(study: Study) -> Iterator[Row]:
    """Agreement of the scores of both halves, and of a head's ablation with its write."""
    scores = study.scores
    for place, emotion in enumerate(scores.emotions):
        common = {"emotion": emotion, "source": study.options.source}
        for kind in INNER:
            size = {"site": kind, "n": scores.values[kind][place].size}
            value = scores.reliability(kind, emotion)
            yield {**common, "metric": "reliability", "value": value, **size}
            raw, own = scores.raw[kind][place].ravel(), scores.values[kind][place].ravel()
            agreed = float(np.corrcoef(raw, own)[0, 1])
            yield {**common, "metric": "effect_against_mean", "value": agreed, **size}
        exact, write = study.heads[place].ravel(), scores.values["z"][place].ravel()
        value = float(np.corrcoef(exact, write)[0, 1])
        yield {
            **common,
            "metric": "ablation_against_write",
            "value": value,
            "site": "z",
            "n": exact.size,
        }


def source_cosines(study: Study) -> Iterator[Row]:
    """Cosines of directions from expressions with those from vignettes; random ones beside."""
    if study.options.source == "reading":
        return
    stimuli, _, states = study.vignettes
    reading = learn(study.model, stimuli, states).directions
    for kind, own in study.learned.directions.items():
        other = reading[kind]
        cosines = np.einsum("eld,eld->el", own.vectors, other.vectors)
        common = {"metric": "cosine", "method": "sources", "site": kind}
        for place, emotion in enumerate(own.emotions):
            for layer, value in zip(own.layers, cosines[place], strict=True):
                yield {**common, "emotion": emotion, "layer": layer, "value": float(value)}
        drawn = [
            np.einsum("eld,eld->el", other.peer(study.options.seed + n).vectors, own.vectors)
            for n in range(NULL_DRAWS)
        ]
        yield {**common, **null_of(drawn)}


def influences(study: Study) -> list[Row]:
    """Slope of every sublayer beside random directions, and up to where it is a slope."""
    influence = study.influence
    found: list[Row] = []
    for readout in (name for name in READOUTS if name in influence.responses):
        slopes, null = influence.slopes(readout), influence.null_slopes(readout)
        common = {"metric": "influence", "target": readout, "position": "-1"}
        for s, kind in enumerate(INNER):
            for layer in range(study.model.n_layers):
                place = {**common, "site": OUTER[kind], "layer": layer}
                for e, emotion in enumerate(influence.emotions):
                    row = estimated(study, slopes[e, s, layer], influence.items, test=True)
                    found.append({**place, "emotion": emotion, **row})
                found.append({**place, **null_of(null[:, :, s, layer]), "dose": NULL_ALPHA})
        for alpha, share in zip(ALPHAS, influence.linearity(readout), strict=True):
            used = "used" if alpha in influence.linear(readout) else ""
            row = {"metric": "linearity", "target": readout, "dose": alpha, "value": float(share)}
            found.append({**row, "condition": used})
    adjusted(found)
    return found


def stability(study: Study) -> Iterator[Row]:
    """Jaccard of circuits learned from other halves, themes, seeds, or put together otherwise.

    Heads too are ranked by what they write here, since both sides need scores of their own.
    """
    options = study.options
    ways = {way: [each.relative(study.norms) for each in sides] for way, sides in _ways(study)}
    for emotion in options.emotions:
        for way, sides in ways.items():
            one, other = (
                study.assemble(emotion, options.k, each.of(emotion), options.allocation).components
                for each in sides
            )
            yield from _overlap(study, emotion, way, one, other)
        one, other = (
            study.circuits[emotion, way, options.k].components for way in ("influence", "global")
        )
        yield from _overlap(study, emotion, "allocations", one, other)
    for one, other in combinations(options.emotions, 2):
        a, b = study.circuit(one).components, study.circuit(other).components
        for row in _overlap(study, one, "emotions", a, b):
            yield {**row, "target": other}


def _ways(study: Study) -> Iterator[tuple[str, tuple[Scores, Scores]]]:
    """Scores from two sides of the same texts."""
    stimuli, _, states = study.material
    seed = study.options.seed
    yield "halves", _sides(study.scores)
    try:
        yield "themes", _sides(score(study.model, stimuli, states, seed=seed, by="domain"))
    except UserError as why:
        study.notes.append(f"themes are not compared: {why}")
    seeds = study.options.seeds[:2]
    if study.options.source == "expressing" and len(seeds) == 2:
        of = np.array([name.rsplit("-", 1)[1] for name in stimuli.ids])
        try:
            one, other = (
                score(study.model, stimuli, states, seed=seed, rows=of == str(each))
                for each in seeds
            )
            yield "seeds", (one, other)
        except UserError as why:
            study.notes.append(f"seeds are not compared: {why}")
    if study.options.source == "expressing":
        texts, _, read = study.vignettes
        yield "sources", (study.scores, score(study.model, texts, read, seed=seed))


def _sides(scores: Scores) -> tuple[Scores, Scores]:
    one, other = (
        Scores(scores.emotions, {kind: each[n] for kind, each in scores.halves.items()}, {}, {})
        for n in range(2)
    )
    return one, other


def _overlap(
    study: Study,
    emotion: str,
    way: str,
    one: Sequence[Component],
    other: Sequence[Component],
) -> Iterator[Row]:
    """Jaccard of two sets, and of random sets spread over sublayers as they are."""
    common = {"metric": "jaccard", "method": way, "emotion": emotion, "k": len(one)}
    common |= {"source": study.options.source}
    yield {**common, "value": jaccard(one, other)}
    seed = study.options.seed
    drawn = [
        jaccard(
            random_like(study.model, one, seed + n),
            random_like(study.model, other, seed + 1000 + n),
        )
        for n in range(NULL_DRAWS)
    ]
    yield {**common, **null_of(drawn)}
