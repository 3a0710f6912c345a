"""From draws to rows of `results.csv`: each figure of the states beside its null and the words'."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from probekit import stats
from probekit.evaluation import Row
from probekit.stats import Estimate

Floats = NDArray[np.float64]
STATES, WORDS, NULL = "states", "baseline", "null"


@dataclass(frozen=True)
class Figure:
    """One figure of every layer, and of every baseline behind them.

    Attributes:
        cells: what it is, as cells of `results.csv`.
        draws: `[layer or baseline, 1 + draw]`, the sample itself first; one column: no interval.
        null: `[layer or baseline, k]` where labels are chance.
        tail: whether only larger figures speak against chance, or figures on both sides.
        above_text: whether the difference from words is a figure of its own.
        chance: how the null was made.
    """

    cells: Row
    draws: Floats
    null: Floats | None = None
    tail: Literal["greater", "both"] = "greater"
    above_text: bool = False
    chance: str = "permutation"

    def p(self, place: int) -> float | None:
        """Of one layer or baseline, against its null."""
        if self.null is None:
            return None
        value, null = float(self.draws[place, 0]), self.null[place]
        if self.tail == "both":
            middle = float(null.mean())
            value, null = abs(value - middle), np.abs(null - middle)
        return stats.permutation_p(value, null)


def word_rows(figure: Figure, names: Sequence[str]) -> Iterator[Row]:
    """Rows of the baselines, the last of the figure's draws; what has no value has no row."""
    first = len(figure.draws) - len(names)
    for place, name in enumerate(names, first):
        if not np.isnan(figure.draws[place, 0]):
            yield {
                **figure.cells,
                "condition": WORDS,
                "method": name,
                **Estimate.of(figure.draws[place]).cells,
                "p": figure.p(place),
            }


def state_rows(figure: Figure, layers: Sequence[int], names: Sequence[str]) -> list[Row]:
    """Rows of the layers: the figure, its null, and how far above the words it is.

    q is adjusted over the layers of one figure.
    """
    own: list[Row] = []
    null: list[Row] = []
    for place, layer in enumerate(layers):
        here = {**figure.cells, "condition": STATES, "layer": layer}
        own.append({**here, **Estimate.of(figure.draws[place]).cells, "p": figure.p(place)})
        if figure.null is not None:
            null.append({**here, **_chance(figure, place)})
    above = list(_above(figure, layers, names)) if figure.above_text else []
    for tested in (own, above):
        adjust(tested)
    return [*own, *null, *above]


def adjust(rows: Sequence[Row]) -> None:
    """Give rows that were tested together their Benjamini–Hochberg `q`; one alone gets none."""
    for row, q in zip(rows, stats.adjusted([row.get("p") for row in rows]), strict=True):
        if q is not None:
            row["q"] = q


def _chance(figure: Figure, place: int) -> dict[str, Any]:
    assert figure.null is not None
    null = figure.null[place][~np.isnan(figure.null[place])]
    cells: Row = {"condition": NULL, "method": figure.chance, "k": figure.null.shape[1]}
    if len(null):
        cells |= Estimate.of_null(null).cells
    return cells


def _above(figure: Figure, layers: Sequence[int], names: Sequence[str]) -> Iterator[Row]:
    """Differences from the baseline whose own figure is largest, on the same draws."""
    words = figure.draws[len(layers) :]
    if not len(words) or np.isnan(words[:, 0]).all():
        return
    best = int(np.nanargmax(words[:, 0]))
    for place, layer in enumerate(layers):
        estimate = Estimate.of(figure.draws[place] - words[best], against_zero=True)
        yield {
            **figure.cells,
            "condition": STATES,
            "layer": layer,
            "metric": f"{figure.cells['metric']}_above_text",
            "method": names[best],
            **estimate.cells,
        }
