"""What a dose does: monotonicity, the Pareto front, methods compared at equal fluency."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from probekit import stats
from probekit.scorecard.cells import Board, Cell, figure
from probekit.scorecard.scores import PLAIN, control_of, is_random
from probekit.scorecard.table import with_q
from probekit.stats import Estimate

Floats = NDArray[np.float64]
Row = dict[str, Any]
BOUND = 1.5
"""Median perplexity ratio at which methods are compared."""
INTERPOLATED, LARGEST, OWN, ABOVE = "interpolated", "largest dose", "own ratio", "above the bound"
"""How a method stands at equal fluency; see `at_fluency`."""


@dataclass(frozen=True, eq=False)
class Curve:
    """A method over its doses, in every draw of prompts; one "dose" (NaN) for one without.

    Attributes:
        method, emotion: which; "" for all emotions together.
        doses: `[dose]`, rising.
        log_ratios, accuracies: `[draw, dose]`.
    """

    method: str
    emotion: str
    doses: Floats
    log_ratios: Floats
    accuracies: Floats


def curves(board: Board, ratio: str = "log_ratio") -> list[Curve]:
    """Every method over its doses, for all emotions together and for each."""
    grouped: dict[tuple[str, str], list[Cell]] = {}
    for cell in board.cells.values():
        grouped.setdefault((cell.method, cell.emotion), []).append(cell)
    measures, found = board.scores.measures, []
    for (method, emotion), cells in grouped.items():
        doses = np.array([np.nan if each.dose is None else each.dose for each in cells])
        ratios = [board.median_draws(each, measures[ratio][each.rows]) for each in cells]
        hits = [board.draws(each, board.outcomes(each)["target"]) for each in cells]
        found.append(Curve(method, emotion, doses, np.stack(ratios, 1), np.stack(hits, 1)))
    return found


def monotonicity(
    board: Board, *, permutations: int = 1000, seed: int = 0, metric: str = "target_probability"
) -> list[Row]:
    """Rank correlation of dose and the target's probability within a prompt, mean over prompts.

    The null permutes the doses of each prompt and emotion by itself; p is one-sided (rising).
    Methods with fewer than two doses have none. A prompt whose figures are all equal counts 0.
    """
    grouped: dict[tuple[str, str], list[Cell]] = {}
    for cell in board.cells.values():
        if cell.dose is not None and cell.emotion:
            grouped.setdefault((cell.method, cell.emotion), []).append(cell)
    found: list[Row] = []
    tables: dict[str, dict[str, Floats]] = {}
    for (method, emotion), cells in grouped.items():
        if len(cells) > 1:
            table = np.stack([board.means(c, board.probability(c)) for c in cells], 1)
            tables.setdefault(method, {})[emotion] = table
    for method, by_emotion in tables.items():
        every = {"": list(by_emotion.values()), **{e: [t] for e, t in by_emotion.items()}}
        for emotion, parts in every.items():
            if same := [part for part in parts if part.shape[1] == parts[0].shape[1]]:
                cells = _rising(board, same, permutations, seed)
                found += [{"method": method, "emotion": emotion, **row} for row in cells]
    named = [{**row, "metric": "dose_monotonicity", "source": metric} for row in found]
    return with_q(named)


def _rising(board: Board, tables: Sequence[Floats], count: int, seed: int) -> Iterator[Row]:
    """Rank correlations of tables `[prompt, dose]`, and the null."""
    rng = np.random.default_rng(seed)
    doses = tables[0].shape[1]
    ranks = np.arange(doses) - (doses - 1) / 2
    each, nulls = [], []
    for table in tables:
        known = ~np.isnan(table).any(1)
        place = np.zeros_like(table)
        place[known] = rankdata(table[known].round(stats.TIE_DIGITS), axis=1) - (doses + 1) / 2
        spread = np.sqrt((place**2).sum(1) * (ranks**2).sum())
        scaled = np.divide(
            place, spread[:, None], out=np.zeros_like(place), where=spread[:, None] > 0
        )
        each.append(np.where(known, scaled @ ranks, np.nan))
        drawn = rng.permuted(np.broadcast_to(ranks, (count, len(table), doses)), axis=2)
        nulls.append(np.einsum("cpd,pd->cp", drawn, scaled)[:, known].sum(1))
    values = stats.mean_known(np.stack(each))
    total = sum(int((~np.isnan(one)).sum()) for one in each)
    if not total:
        return
    observed = float(np.nansum(np.stack(each)) / total)
    null = np.sum(nulls, axis=0) / total
    sizes = {"n": total, "clusters": int((~np.isnan(values)).sum())}
    p = stats.permutation_p(observed, null)
    yield {**figure(board.paired_draws(values)), "p": p, **sizes}
    yield {"condition": "null", **Estimate.of_null(null).cells, **sizes}


def pareto(accuracy: Floats, ratio: Floats) -> NDArray[np.bool_]:
    """Which points `[..., point]` no other beats: none is as accurate and as fluent, and better.

    A missing point is on no front and beats none.
    """
    known = ~(np.isnan(accuracy) | np.isnan(ratio))
    more = accuracy[..., None, :] >= accuracy[..., None]
    less = ratio[..., None, :] <= ratio[..., None]
    strictly = (accuracy[..., None, :] > accuracy[..., None]) | (
        ratio[..., None, :] < ratio[..., None]
    )
    return known & ~(more & less & strictly & known[..., None, :]).any(-1)


def front(found: Sequence[Curve]) -> list[Row]:
    """Whether each method and dose is on the Pareto front, and in what share of draws it is."""
    whole = [each for each in found if not each.emotion]
    if not whole:
        return []
    hits, ratios = (
        np.concatenate([getattr(each, name) for each in whole], 1)
        for name in ("accuracies", "log_ratios")
    )
    named = [(each.method, dose) for each in whole for dose in each.doses]
    inside, out = pareto(hits, ratios), []
    for place, (method, dose) in enumerate(named):
        known = not (np.isnan(hits[0, place]) or np.isnan(ratios[0, place]))
        common = {"method": method, "emotion": "", "dose": None if np.isnan(dose) else float(dose)}
        own = float(inside[0, place]) if known else None
        share = float(inside[1:, place].mean()) if known else None
        out += [{**common, "metric": "pareto", "value": own}]
        out += [{**common, "metric": "pareto_share", "value": share}]
    return out


def at_fluency(curve: Curve, bound: float = BOUND) -> tuple[str, Floats, Floats, Floats]:
    """A method's target accuracy where its median perplexity ratio reaches the bound.

    Between the doses before and after, dose is interpolated on the logarithm of the ratio and
    accuracy on the dose; the first crossing counts. A method that stays below stands at its largest
    dose, one without a dose at its own ratio; one that starts above has no figure. Every draw goes
    through this by itself.

    Returns:
        How it stands in the sample, and `[draw]` accuracies, doses and ratios reached.
    """
    logs, hits, limit = curve.log_ratios, curve.accuracies, np.log(bound)
    if np.isnan(curve.doses).any():
        how = OWN
        return how, hits[:, 0], np.full(len(hits), np.nan), np.exp(logs[:, 0])
    out = np.full((3, len(logs)), np.nan)
    how = [""] * len(logs)
    for draw, (log, hit) in enumerate(zip(logs, hits, strict=True)):
        how[draw], out[:, draw] = _stand(curve.doses, log, hit, float(limit))
    return how[0], out[0], out[1], out[2]


def _stand(doses: Floats, log: Floats, hit: Floats, limit: float) -> tuple[str, tuple[float, ...]]:
    known = ~(np.isnan(log) | np.isnan(hit))
    doses, log, hit = doses[known], log[known], hit[known]
    nothing = (float("nan"),) * 3
    if not len(log):
        return "", nothing
    if log[0] > limit:
        return ABOVE, nothing
    over = np.flatnonzero(log > limit)
    if not len(over):
        return LARGEST, (float(hit[-1]), float(doses[-1]), float(np.exp(log[-1])))
    after = int(over[0])
    share = (limit - log[after - 1]) / (log[after] - log[after - 1])
    dose = doses[after - 1] + share * (doses[after] - doses[after - 1])
    return INTERPOLATED, (
        float(hit[after - 1] + share * (hit[after] - hit[after - 1])),
        float(dose),
        float(np.exp(limit)),
    )


def equal_fluency(found: Sequence[Curve], bound: float = BOUND) -> list[Row]:
    """Every method at equal fluency, and its difference from its random control there.

    `condition` says how it stands; `dose` is the one reached. The share of draws with a figure is a
    row of its own where it is below 1, since the interval is of those alone.
    """
    stands = {(each.method, each.emotion): at_fluency(each, bound) for each in found}
    out: list[Row] = []
    for (method, emotion), (how, hits, doses, ratios) in stands.items():
        if method == PLAIN:
            continue
        dose = None if np.isnan(doses[0]) else float(doses[0])
        common = {"method": method, "emotion": emotion, "condition": how, "dose": dose}
        share = float((~np.isnan(hits[1:])).mean())
        out.append({**common, "metric": "accuracy_at_fluency", **figure(hits)})
        out.append({**common, "metric": "ratio_at_fluency", **figure(ratios)})
        if share < 1:
            out.append({**common, "metric": "draws_at_fluency", "value": share})
        control = (control_of(method, {name for name, _ in stands}), emotion)
        if not is_random(method) and control in stands:
            gap = hits - stands[control][1]
            row = {**common, "metric": "accuracy_at_fluency_above_random"}
            out.append({**row, **figure(gap, against_zero=True)})
    return with_q(out)
