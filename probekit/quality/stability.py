"""How far a direction depends on the scenarios it was learned from.

- `cosine_halves`: cosine of the directions of two halves of the scenarios, mean over halvings.
  Beside it the cosine of one half's direction with the other half's *other* emotions.
- `cosine_left_out`: cosine of the direction of all scenarios with that of all but one domain's,
  mean over domains. It is large because most texts are the same; beside it stands what leaving
  out as many scenarios at random does.
- `cosine_halves` between arms: one half's direction from one arm, the other half's from the
  other, so that no scenario or neutral text is shared; `cosine_disattenuated` divides it by the
  geometric mean of both arms' own (Spearman 1904): 1 where the arms differ by noise alone.
All rest on what is learned from alone. Brackets hold 95 % of the halvings (of the random
parts), and the range over domains.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from probekit.directions.design import MIN_GROUPS
from probekit.evaluation import Row
from probekit.folds import deal
from probekit.quality.fits import Fits
from probekit.stats import Estimate

Floats = NDArray[np.float64]
OTHERS, AT_RANDOM = "other_emotions", "as_many_at_random"
DEALS = 10
"""Times that the scenarios are dealt out into as many parts as there are domains."""


def rows(fits: Fits) -> tuple[list[Row], list[str]]:
    """Rows of one estimator, and notes on what could not be measured."""
    sample = fits.sample
    learned = sample.learned
    groups, labels = sample.group[learned], sample.emotion[learned]
    fewest = min(len(set(groups[labels == name])) for name in sample.emotions)
    domains = np.unique(sample.domain[learned])
    found: list[Row] = []
    notes = []
    if halvable(fits):
        found += _halves(fits)
    else:
        notes.append(f"split halves are missing: an emotion has {fewest} scenarios, 4 are needed")
    left = [_fewest_without(fits, name) for name in domains]
    if len(domains) > 1 and min(left) >= MIN_GROUPS and fewest >= len(domains) + MIN_GROUPS - 1:
        found += _domains(fits, domains)
    else:
        notes.append("left-out domains are missing: there is one, or too few scenarios in others")
    return found, notes


def _fewest_without(fits: Fits, domain: str) -> int:
    sample = fits.sample
    kept = sample.learned & (sample.domain != domain)
    return min(len(set(sample.group[kept & (sample.emotion == name)])) for name in sample.emotions)


def _parts(fits: Fits, count: int, seed: int) -> Iterator[NDArray[np.bool_]]:
    """`[item]`, each of some parts of the learned items, scenarios whole, emotions balanced."""
    learned = fits.sample.learned
    part = np.full(len(learned), -1)
    dealt = deal(fits.sample.group[learned], fits.sample.emotion[learned], count, seed)
    part[learned] = dealt
    return (part == number for number in range(count))


def _halves(fits: Fits) -> Iterator[Row]:
    own, other = [], []
    for draw in range(fits.options.halves):
        one, two = (fits.vectors(part) for part in _parts(fits, 2, fits.options.seed + draw))
        both = np.einsum("eld,fld->efl", one, two)
        diagonal = np.diagonal(both).T  # [emotion, layer]
        own.append(diagonal)
        other.append((both.sum(1) - diagonal) / (len(both) - 1))
    cells = {"metric": "cosine_halves", "k": len(own)}
    yield from _rows(fits, np.stack(own), {**cells, "condition": "direction"})
    yield from _rows(fits, np.stack(other), {**cells, "condition": "control", "unit": OTHERS})


def _domains(fits: Fits, domains: NDArray[np.str_]) -> Iterator[Row]:
    def kept(mask: NDArray[np.bool_]) -> Floats:
        return np.einsum("eld,eld->el", fits.whole, fits.vectors(fits.sample.learned & ~mask))

    left = np.stack([kept(fits.sample.domain == name) for name in domains])
    dealt = (_parts(fits, len(domains), fits.options.seed + draw) for draw in range(DEALS))
    random = np.stack([kept(part) for parts in dealt for part in parts])
    cells = {"metric": "cosine_left_out"}
    told = {**cells, "condition": "direction", "k": len(left)}
    yield from _rows(fits, left, told, whole_range=True)
    told = {**cells, "condition": "control", "unit": AT_RANDOM, "k": len(random)}
    yield from _rows(fits, random, told)


def between(one: Fits, other: Fits) -> Iterator[Row]:
    """Rows of two arms' directions, from halves of the scenarios that both tell."""
    across, alike = [], []
    for draw in range(one.options.halves):
        parts = list(_parts(one, 2, one.options.seed + draw))
        held = [set(one.sample.group[part]) for part in parts]
        theirs = [other.sample.learned & np.isin(other.sample.group, list(g)) for g in held]
        a, b = ([fits.vectors(p) for p in ps] for fits, ps in ((one, parts), (other, theirs)))
        pairs = [(a[0], b[1]), (a[1], b[0]), (a[0], a[1]), (b[0], b[1])]
        found = np.stack([np.einsum("eld,eld->el", *pair) for pair in pairs])
        across.append(found[:2].mean(0))
        alike.append(found[2:])
    cells: Row = {"condition": "direction", "target": other.sample.source}
    told = {**cells, "metric": "cosine_halves", "k": len(across)}
    yield from _rows(one, np.stack(across), told)
    # Of the mean over emotions alone: that of one emotion is noise over noise.
    reliable = np.stack(alike).mean((0, 2))  # [arm, layer]
    product = np.where((reliable > 0).all(0), reliable.prod(0), np.nan)
    shown = np.mean(across, axis=(0, 1)) / np.sqrt(product)
    cells = {**_common(one), **cells, "emotion": "", "metric": "cosine_disattenuated"}
    for layer, value in zip(one.layers, shown, strict=True):
        yield {**cells, "layer": layer, "value": float(value)}


def halvable(fits: Fits) -> bool:
    """Whether each half of the scenarios holds enough of every emotion."""
    learned = fits.sample.learned
    groups, labels = fits.sample.group[learned], fits.sample.emotion[learned]
    fewest = min(len(set(groups[labels == name])) for name in fits.sample.emotions)
    return fewest // 2 >= MIN_GROUPS


def _rows(fits: Fits, drawn: Floats, cells: Row, *, whole_range: bool = False) -> Iterator[Row]:
    """Rows of cosines `[draw, emotion, layer]`: every emotion, and their mean."""
    sample, told = fits.sample, _common(fits)
    for number, name in enumerate(("", *sample.emotions)):
        here = drawn.mean(1) if name == "" else drawn[:, number - 1]
        inside = sample.learned & ((sample.emotion == name) if name else sample.emotion != "")
        told |= {"n": int(inside.sum()), "clusters": len(set(sample.group[inside]))}
        for place, layer in enumerate(fits.layers):
            figure = Estimate.of_null(here[:, place]).cells
            if whole_range:
                figure |= {"low": float(here[:, place].min()), "high": float(here[:, place].max())}
            yield {**told, **cells, "emotion": name, "layer": layer, **figure}


def _common(fits: Fits) -> Row:
    sample = fits.sample
    told = {"task": "stability", "source": sample.source, "target": sample.source}
    return told | {"split": "dev" if sample.held_out.any() else "all", "method": fits.estimator}
