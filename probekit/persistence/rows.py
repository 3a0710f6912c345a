"""Rows of `results.csv` of a study of retention: each figure with its interval and its null."""

from collections.abc import Iterator
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from probekit import stats
from probekit.evaluation import Row
from probekit.persistence.measures import Measures, half_life, kept, lived
from probekit.persistence.passages import Floats as Said
from probekit.persistence.passages import named
from probekit.persistence.retention import Study
from probekit.persistence.turns import CONTROLS
from probekit.stats import Estimate
from probekit.tasks import EMOTIONAL_ARMS

Floats = NDArray[np.float64]
LEVEL = 0.05
"""Of the test that there is anything whose half-life could be given."""


def found(study: Study, measures: Measures) -> Iterator[Row]:
    """Every row, in the order of the study."""
    parts = (_words, _over_layers, _over_windows, _by_arm, _over_offsets, _lives, _after_cuts)
    for row in chain.from_iterable(part(study, measures) for part in parts):
        sizes = {"n": len(measures.labels), "clusters": len(set(measures.groups))}
        yield {"task": "retention", "split": "test", **sizes, **row}


def _words(study: Study, measures: Measures) -> Iterator[Row]:
    """What the best text baseline tells of the turn."""
    name, logits = study.words
    for emotion, called in _each(study):
        cells = Estimate.of(measures.auroc(logits[None], emotion)).cells
        own = {"condition": "baseline", "method": "reference", "unit": name, "emotion": called}
        yield {"metric": "auroc", **own, **cells}


def _over_layers(study: Study, measures: Measures) -> Iterator[Row]:
    """The probe by layer and window, and what chose among layers."""
    for site, inner in enumerate(study.probe.inner):
        yield {"metric": "inner_auroc", "split": "dev", **_PROBE, **_place(study, site),
               "value": float(inner), "n": None, "clusters": None}  # fmt: skip
        if site == study.probe.place:
            continue
        for window in study.windows:
            draws = measures.auroc(measures.at(study.whole[:, :, :, site], window))
            yield {"metric": "auroc", **_PROBE, **_place(study, site, window),
                   **Estimate.of(draws).cells}  # fmt: skip


def _over_windows(study: Study, measures: Measures) -> Iterator[Row]:
    """The chosen layer by window and emotion, with null and above text."""
    for window in study.windows:
        for emotion, name in _each(study):
            yield from _beside(study, measures, window, emotion, {"emotion": name})


def _by_arm(study: Study, measures: Measures) -> Iterator[Row]:
    """Which emotion, among emotional texts of one arm alone: with emotion words, and without."""
    arms = study.stimuli.column("arm")[study.test]
    for arm in EMOTIONAL_ARMS:
        rows = arms == arm
        if len(set(measures.labels[rows])) < 2:
            continue
        own = Measures(study, rows)
        sizes = {"n": len(own.labels), "clusters": len(set(own.groups)), "target": arm}
        draws = own.auroc(study.words[1][rows][None])
        yield {"metric": "auroc", "condition": "baseline", "method": "reference",
               "unit": study.words[0], **sizes, **Estimate.of(draws).cells}  # fmt: skip
        for window in study.windows:
            yield from _beside(study, own, window, None, sizes)


def _beside(
    study: Study, measures: Measures, window: range, emotion: int | None, cells: Row
) -> Iterator[Row]:
    """The probe of the chosen layer, its null, and what it tells above text."""
    said = measures.at(_chosen(study), window)
    place = {**_place(study, study.probe.place, window), **cells}
    draws, null = measures.auroc(said, emotion), measures.null(said, emotion)
    yield {"metric": "auroc", **_PROBE, **place, **Estimate.of(draws).cells}
    p = stats.permutation_p(float(draws[0]), null)
    yield {"metric": "auroc", "condition": "null", "method": "permutation", **place,
           **Estimate.of_null(null).cells, "p": p}  # fmt: skip
    above = draws - measures.auroc(study.words[1][measures.rows][None], emotion)
    told = Estimate.of(above, against_zero=True).cells
    yield {"metric": "auroc_above_text", **_PROBE, **place, **told}


def _over_offsets(study: Study, measures: Measures) -> Iterator[Row]:
    """The probe of the chosen layer at every single offset."""
    for offset in range(study.options.tokens + 1):
        draws = measures.auroc(measures.at(_chosen(study), range(offset, offset + 1)))
        place = {**_place(study, study.probe.place), "position": str(offset)}
        yield {"metric": "auroc_at_offset", **_PROBE, **place, **Estimate.of(draws).cells}


def _lives(study: Study, measures: Measures) -> Iterator[Row]:
    """After how many tokens half of what is read above chance is gone, where anything is read."""
    later = [window for window in study.windows if window.start > 0]
    offsets = np.array([np.sqrt(w.start * (w.stop - 1)) for w in later])
    for emotion, name in _each(study):
        said = [measures.at(_chosen(study), window) for window in later]
        curves = np.stack([measures.auroc(each, emotion) for each in said])
        own = {**_PROBE, **_place(study, study.probe.place), "emotion": name}
        # The largest window was looked for: so it is in every permutation.
        chance = np.max([measures.null(each, emotion) for each in said], 0)
        lives = half_life(offsets, curves)
        if stats.permutation_p(float(np.nanmax(curves[:, 0])), chance) > LEVEL:
            yield {"metric": "half_life", **own, "value": None}
            continue
        cells, least = lived(lives, study.options.tokens)
        if cells:
            yield {"metric": "half_life", **own, **cells}
        if least is not None:
            yield {"metric": "half_life_at_least", **own, "value": least}


def _after_cuts(study: Study, measures: Measures) -> Iterator[Row]:
    """What is read after a part of the past was removed, beside reading on with all of it."""
    for at in study.options.cuts:
        said = study.after(at)
        for window in study.windows:
            if window.start <= at:
                continue
            place = {**_place(study, study.probe.place, window), "k": at, "condition": "cut"}
            for emotion, name in _each(study):
                yield from _cut(study, measures, said, window, emotion, {**place, "emotion": name})


def _cut(
    study: Study,
    measures: Measures,
    said: dict[str, Said],
    window: range,
    emotion: int | None,
    cells: Row,
) -> Iterator[Row]:
    whole = measures.auroc(measures.at(_chosen(study), window), emotion)
    draws: dict[str, Floats] = {}
    for name, table in said.items():
        own = measures.at(table, window)
        draws[name], null = measures.auroc(own, emotion), measures.null(own, emotion)
        p = stats.permutation_p(float(draws[name][0]), null)
        named_ = {**cells, "method": name}
        yield {"metric": "auroc", **named_, **Estimate.of(draws[name]).cells, "p": p}
        lost = Estimate.of(whole - draws[name], against_zero=True)
        yield {"metric": "auroc_lost", **named_, **lost.cells}
        share = kept(draws[name], whole)
        told = {"value": None} if np.isnan(share[0]) else Estimate.of(share).cells
        yield {"metric": "kept", **named_, **told}
    for name, controls in CONTROLS.items():
        if name in draws:
            beside = np.mean([draws[control] for control in controls], 0) - draws[name]
            told = Estimate.of(beside, against_zero=True).cells
            yield {"metric": "auroc_lost_beyond_controls", **cells, "method": name, **told}


_PROBE = {"condition": "probe", "method": "logistic"}


def _chosen(study: Study) -> Said:
    """`[continuation, row, offset, class]` of the chosen site."""
    return study.whole[:, :, :, study.probe.place]


def _each(study: Study) -> list[tuple[int | None, str]]:
    """All emotions together, then each."""
    return [(None, ""), *((place, str(name)) for place, name in enumerate(study.emotions))]


def _place(study: Study, site: int, window: range | None = None) -> Row:
    where = {"site": study.sites[site].kind, "layer": study.sites[site].layer}
    return where if window is None else {**where, "position": named(window)}
