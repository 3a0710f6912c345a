"""The tables of the page of directions: every figure at the chosen layer beside its controls."""

from collections.abc import Sequence

from probekit.plots import MISSING, Estimate
from probekit.report.causal import figure_of, p_text, plain, varying
from probekit.report.learned import (
    ABOVE,
    AS_MANY,
    AUROC,
    CHANCE,
    HALVES,
    LEFT_OUT,
    PAIRS,
    PAIRS_ABOVE,
    RANDOM,
    RANKS,
    WEIGHTS,
    WHETHER,
    WHICH,
    WORDS,
    Figure,
    Learned,
    Study,
)
from probekit.report.markup import Html
from probekit.report.parts import group, line, scrolling
from probekit.report.reading import Line
from probekit.report.words import capital, say

TOLD = {
    "AUROC": AUROC,
    "Words alone": WORDS,
    "Above text": ABOVE,
    "Chance": CHANCE,
    "Random directions": RANDOM,
}
ALIKE = {
    "Halves": HALVES,
    "Halves, other emotions": HALVES.others(),
    "Without a domain": LEFT_OUT,
    "Without as many at random": AS_MANY,
    "Single pairs": PAIRS,
    "Pairs, other emotions": PAIRS.others(),
    "Pairs, random directions": PAIRS.random(),
    "Own minus others": PAIRS_ABOVE,
    "Probe’s weights": WEIGHTS,
    "Weights, random directions": WEIGHTS.random(),
    "Probe’s ranks": RANKS,
    "Ranks, random directions": RANKS.random(),
}
"""Columns, and the figures in them."""

TESTED = {"AUROC": ("p", "q"), "Above text": ("p above text", "q above text")}
ALL = "all emotions (mean)"
ARMS = {"keyword_free": "free", "keyword_rich": "rich"}


def told(study: Study) -> Html:
    """What the projections tell of new texts, emotion by emotion, and the text baselines."""
    columns = [name for head in TOLD for name in (head, *TESTED.get(head, ()))]
    columns += ["Texts", "Clusters"]
    groups = []
    for each in study.learned:
        asked = [(WHICH, target) for target in each.targets] + [(WHETHER, each.source)]
        for task, target in asked:
            if each.line(AUROC._replace(task=task), "", target):
                lines = _told(each, task, target, len(columns))
                name = varying(f"{say(task)}, {each.said(target)}", *_where(each))
                groups.append(group(capital(name), lines, len(columns)))
    caption = (
        "What the projection alone tells of texts that it was not learned from, at the chosen "
        f"layer. Brackets hold 95 % intervals, of chance and random directions 95 % of the draws; "
        f"{MISSING} means not measured."
    )
    return scrolling(("Direction", *columns), groups, caption, "told")


def _where(each: Learned) -> tuple[str, str]:
    return str(each.place), "" if each.layer is None else f"layer {each.layer}"


def _told(each: Learned, task: str, target: str, width: int) -> list[Html]:
    lines = []
    for emotion in ("", *each.emotions):
        cells: list[str] = []
        for head, figure in TOLD.items():
            found = each.line(figure._replace(task=task), emotion, target)
            cells.append(figure_of(found).text(signed=figure == ABOVE))
            if head in TESTED:
                cells += [p_text(found.p if found else None), p_text(found.q if found else None)]
        counted = each.line(AUROC._replace(task=task), emotion, target)
        lines.append(
            line(emotion or ALL, [*cells, *_counts(counted)], None if emotion else "probe")
        )
    for name, found in _texts(each, task, target).items():
        empty = [""] * (width - 3)
        lines.append(line(say(name), [found.estimate.text(), *empty, *_counts(found)], "words"))
    return lines


def _texts(each: Learned, task: str, target: str) -> dict[str, Line]:
    """The text baselines of a question, by name."""
    wanted = (each.set, task, each.source, target, "baseline", AUROC.metric, "")
    return {
        key.method: layers[None]
        for key, layers in each.study.shown.items()
        if None in layers
        and wanted
        == (key.set, key.task, key.source, key.target, key.condition, key.metric, key.site)
    }


def _counts(found: Line | None) -> tuple[str, str]:
    if found is None:
        return MISSING, MISSING
    return str(found.n or MISSING), str(found.clusters or MISSING)


def cosines(study: Study) -> Html:
    """What the directions are like: stability, single pairs, the probe."""
    columns: list[str] = []
    for head, figure in ALIKE.items():
        columns += [head, *([f"p, {head.lower()}"] if figure in (PAIRS, PAIRS_ABOVE) else [])]
    columns += ["Scenarios learned from", "Scenarios tried on"]
    groups = []
    for each in study.learned:
        lines = [_alike(each, emotion) for emotion in ("", *each.emotions)]
        groups.append(group(capital(varying(str(each), *_where(each))), lines, len(columns)))
    caption = (
        "Cosines of the directions with others, and rank correlation of their scores with a "
        "probe’s, at the chosen layer. Brackets hold 95 % of halvings, of random parts or of "
        "random directions, the range over domains, and else 95 % intervals; "
        f"{MISSING} means not measured."
    )
    return scrolling(("Direction", *columns), groups, caption, "cosines")


def _alike(each: Learned, emotion: str) -> Html:
    cells: list[str] = []
    for figure in ALIKE.values():
        found = each.line(figure, emotion)
        cells.append(figure_of(found).text(signed=figure == PAIRS_ABOVE))
        if figure in (PAIRS, PAIRS_ABOVE):
            cells.append(p_text(found.p if found else None))
    cells += [_counts(each.line(HALVES, emotion))[1], _counts(each.line(PAIRS, emotion))[1]]
    return line(emotion or ALL, cells, None if emotion else "probe")


def short(study: Study) -> tuple[str, tuple[str, ...], list[tuple[str, ...]]]:
    """Title, columns and rows for a terminal: AUROC beside words, cosines beside others'."""
    rows: list[tuple[str, ...]] = []
    for place in dict.fromkeys(each.place for each in study.learned):
        rows.append((str(place),))
        for each in (e for e in study.learned if e.place == place):
            rows += _short(each)
    columns = ("figure", "control", "direction", "difference", "its p", "chance")
    title = (
        "AUROC beside words alone, cosines beside other emotions'; chance of cosines is that of "
        "random directions"
    )
    return title, columns, rows


def _short(each: Learned) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        (f" learned from {_arm(each.source) or each.set}, layer {each.layer}",)
    ]
    asked = [(WHICH, target) for target in each.targets] + [(WHETHER, each.source)]
    for task, target in asked:
        figures = [f._replace(task=task) for f in (WORDS, AUROC, ABOVE, CHANCE)]
        if each.line(figures[1], "", target):
            name = f"{say(task)} {_arm(target)}".rstrip()
            rows.append(_short_line(each, name, figures, target))
    for name, figures in (
        ("cosine of halves", [HALVES.others(), HALVES, None, None]),
        ("cosine of pairs", [PAIRS.others(), PAIRS, PAIRS_ABOVE, PAIRS.random()]),
    ):
        if each.line(figures[1] or AUROC):
            rows.append(_short_line(each, name, figures, None))
    return rows


def _arm(name: str) -> str:
    return ARMS.get(name, name)


def _short_line(
    each: Learned, name: str, figures: Sequence[Figure | None], target: str | None
) -> tuple[str, ...]:
    control, own, difference, chance = (
        None if figure is None else each.line(figure, "", target) for figure in figures
    )
    # Controls without their intervals, so that a line fits.
    bare = [Estimate(figure_of(found).value) for found in (control, chance)]
    values = [plain(estimate, signed=False) for estimate in bare]
    p = "-" if difference is None or difference.p is None else f"{difference.p:.3f}"
    return (
        f"  {name}",
        values[0],
        plain(figure_of(own), signed=False),
        plain(figure_of(difference)),
        p,
        values[1],
    )
