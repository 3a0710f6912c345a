"""The rows of a scorecard: every cell's figures with intervals, beside chance and controls."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probekit import stats
from probekit.scorecard.cells import Board, Cell, figure
from probekit.scorecard.scores import PLAIN, RANDOM, control_of, is_random

Floats = NDArray[np.float64]
Row = dict[str, Any]
NAMES = {
    "target": "target_accuracy",
    "wrong": "wrong_emotion",
    "neutral": "neutral_rate",
    "incoherent": "incoherent_rate",
}
"""Outcome -> metric; the four sum to 1."""
COMPARED = ("target_accuracy", "target_probability", "incoherent_rate")
"""Metrics that are held against controls."""


def rows(board: Board, *, permutations: int = 1000, seed: int = 0) -> list[Row]:
    """All rows of a judge's scorecard; `emotion` is empty for all emotions together.

    Chance is the rate at which plain texts are judged as an emotion, `condition` "chance" of method
    plain. `..._above_plain` and `..._above_random` are differences paired by prompt; p flips the
    signs of whole prompts, q is over the emotions and doses of every method.

    Args:
        board: scores in cells.
        permutations: sign flips.
        seed: of the flips.
    """
    found: list[Row] = []
    for cell in board.cells.values():
        common = {"method": cell.method, "emotion": cell.emotion, "dose": cell.dose}
        common["condition"] = _condition(cell.method)
        found += [{**common, **row} for row in _figures(board, cell)]
        found += [{**common, **row} for row in _differences(board, cell, permutations, seed)]
    return with_q(found)


def with_q(given: Sequence[Row]) -> list[Row]:
    """The rows with q over each metric, single emotions and all of them together apart."""
    families: dict[tuple[str, bool], list[int]] = defaultdict(list)
    for place, row in enumerate(given):
        if row.get("p") is not None:
            families[row["metric"], bool(row["emotion"])].append(place)
    out = [dict(row) for row in given]
    for places in families.values():
        found = stats.adjusted([given[place]["p"] for place in places])
        for place, q in zip(places, found, strict=True):
            out[place]["q"] = q
    return out


def values_of(board: Board, cell: Cell) -> dict[str, Floats]:
    """The figures of each member that a cell's means are of, by metric."""
    outcomes, measures = board.outcomes(cell), board.scores.measures
    found = {metric: outcomes[name] for name, metric in NAMES.items()}
    found["target_probability"] = board.probability(cell)
    named = measures["names_target"][cell.rows]
    hit = found["target_accuracy"]
    found["target_accuracy_with_words"] = np.where(named == 1, hit, np.nan)
    found["target_accuracy_without_words"] = np.where(named == 0, hit, np.nan)
    for name, column in measures.items():
        if not name.startswith(("perplexity", "log_ratio")):
            found[name] = column[cell.rows]
    return found


def _condition(method: str) -> str:
    return "chance" if method == PLAIN else "control" if is_random(method) else ""


def _figures(board: Board, cell: Cell) -> Iterator[Row]:
    for metric, values in values_of(board, cell).items():
        draws = board.draws(cell, values)
        yield {"metric": metric, **figure(draws), **board.sizes(cell, values)}
    judged = board.scores.judged[cell.rows]
    for label in board.scores.labels:
        taken = np.where(judged == "", np.nan, (judged == label).astype(np.float64))
        draws = board.draws(cell, taken)
        yield {"metric": f"judged:{label}", **figure(draws), **board.sizes(cell, taken)}
    for side in ("", "_other"):
        for name, values in _perplexities(board, cell, side).items():
            draws = np.exp(board.median_draws(cell, values))
            yield {"metric": name, **figure(draws), **board.sizes(cell, values)}


def _perplexities(board: Board, cell: Cell, side: str) -> Mapping[str, Floats]:
    """Logarithms of perplexities and of their ratios."""
    measures = board.scores.measures
    return {
        f"perplexity{side}": np.log(measures[f"perplexity{side}"][cell.rows]),
        f"perplexity_ratio{side}": measures[f"log_ratio{side}"][cell.rows],
    }


def _differences(board: Board, cell: Cell, permutations: int, seed: int) -> Iterator[Row]:
    """Against plain, and against the method's random control at the same dose."""
    if cell.method == PLAIN:
        return
    control = control_of(cell.method, board.methods)
    beside = {PLAIN: board.cells.get((PLAIN, cell.emotion, None))}
    if not is_random(cell.method):
        beside[RANDOM] = board.cells.get((control, cell.emotion, cell.dose))
    own = values_of(board, cell)
    for name, other in beside.items():
        if other is None:
            continue
        others = values_of(board, other)
        for metric in COMPARED:
            each = board.paired(cell, other, own[metric], others[metric])
            row = {"metric": f"{metric}_above_{name}", **figure(board.paired_draws(each))}
            known = ~np.isnan(each)
            if known.any():
                clusters = [str(prompt) for prompt in board.prompts[known]]
                p = stats.sign_flip_p(each[known, None], clusters, permutations, seed)
                row |= {"p": float(p[0]), "n": int(known.sum()), "clusters": int(known.sum())}
            yield row
