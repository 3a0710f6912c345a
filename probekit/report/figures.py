"""The figures of the page of a probe run, with their text summaries."""

from probekit.plots import (
    MISSING,
    Confusion,
    Estimate,
    Forest,
    LayerCurves,
    Series,
    TransferMatrix,
    number,
)
from probekit.report.results import (
    ABOVE,
    CHOSEN_LAYER,
    IN_TEXT,
    KEYWORD_EFFECT,
    MEASURES,
    NULL,
    PROBE,
    REFERENCE,
    Block,
    Kind,
    Question,
    Run,
)
from probekit.report.views import Figure, View, figure, series_text
from probekit.report.words import capital, listed, say, say_arms, say_block, say_question, say_topic

MATRICES: tuple[tuple[str, Kind, tuple[float, float]], ...] = (
    ("AUROC of the probe", PROBE, (0.5, 1.0)),
    ("AUROC of words alone", REFERENCE, (0.5, 1.0)),
    ("AUROC above text", ABOVE, (-0.5, 0.5)),
)
"""Unit, figure and colour scale of the views of a transfer matrix."""


def above_text(run: Run) -> Figure | None:
    """*Above text* of every question, one view a block."""

    measures = [m for m in MEASURES if any(q.measure == m for q in run.questions)]

    def view(measure: str, block: Block) -> View | None:
        asked = [q for q in run.questions if q.measure == measure and run.row(q, block, ABOVE)]
        if not asked:
            return None
        forest = Forest(
            [capital(say_question(q)) for q in asked],
            [run.estimate(q, block, ABOVE) for q in asked],
            f"{MEASURES[measure]} above text",
        )
        text = f"Intervals at {say_block(block)}: {_sides(forest)}. Each figure is in the table."
        group = MEASURES[measure] if len(measures) > 1 else ""
        return View(group, say_block(block), forest, text)

    views = [view(measure, block) for measure in measures for block in run.blocks]
    return figure("above", "Probe minus words alone, with intervals", views)


def keyword_effect(run: Run) -> Figure | None:
    """AUROC lost once the emotion is not named, one view a block."""

    def view(block: Block) -> View | None:
        rows = [r for r in run.rows if (r.kind, r.block) == (KEYWORD_EFFECT, block)]
        if not rows:
            return None
        names = [capital(say_topic(*r.question[:2])) for r in rows]
        forest = Forest(names, [r.estimate for r in rows], "keyword effect on AUROC")
        rows_said = zip(forest.labels, forest.estimates, strict=True)
        said = [f"{name} {e.text(signed=True)}" for name, e in rows_said]
        text = f"At {say_block(block)}: {'; '.join(said)}."
        return View("", say_block(block), forest, text)

    title = "Keyword effect: keyword-rich minus keyword-free, with intervals"
    return figure("keywords", title, map(view, run.blocks))


def _sides(forest: Forest) -> str:
    """How many of a forest's intervals lie on which side of 0."""
    sides = [estimate.side for estimate in forest.estimates]
    kinds = ((1, "above 0"), (0, "across 0"), (-1, "below 0"), (None, "missing"))
    return listed([f"{sides.count(side)} {said}" for side, said in kinds if side in sides])


def layer_curves(run: Run) -> list[Figure]:
    """A figure for each set and task, one view for each pair of arms and block."""
    topics = dict.fromkeys(question[:2] for question in run.questions)
    found = [_topic_curves(run, place, *topic) for place, topic in enumerate(topics)]
    return [made for made in found if made]


def _topic_curves(run: Run, place: int, set_name: str, task: str) -> Figure | None:
    asked = [question for question in run.questions if question[:2] == (set_name, task)]
    asked.sort(key=lambda question: question not in run.headlines)
    views = [_curves(run, q, [block]) for q in asked for block in run.blocks]
    # Comparing sites comes last: a single curve with its bands is the honest first view.
    for pooling in dict.fromkeys(block.pooling for block in run.blocks):
        blocks = [block for block in run.blocks if block.pooling == pooling]
        views += [_curves(run, q, blocks) for q in asked if len(blocks) > 1]
    measure = MEASURES[asked[0].measure]
    title = f"{capital(say_topic(set_name, task))}: {measure} over layers"
    return figure(f"layers-{place}", title, views)


def _curves(run: Run, question: Question, blocks: list[Block]) -> View | None:
    curves = {block: run.over_layers(question, block, PROBE) for block in blocks}
    series = [Series(say_block(block), [*c], [*c.values()]) for block, c in curves.items() if c]
    if not series:
        return None
    alone = len(blocks) == 1
    null = run.over_layers(question, blocks[0], NULL) if alone else {}
    reference = run.row(question, IN_TEXT, REFERENCE)
    data = LayerCurves(
        series,
        MEASURES[question.measure],
        reference=reference.estimate if reference else None,
        null=Series("null", [*null], [*null.values()]) if null else None,
    )
    name = say_block(blocks[0]) if alone else f"every site, {blocks[0].pooling}"
    summary = " ".join([*map(series_text, series), *_beside(run, question, blocks, data)])
    return View(say_arms(question), name, data, summary)


def _beside(run: Run, question: Question, blocks: list[Block], curves: LayerCurves) -> list[str]:
    said = []
    if len(blocks) == 1 and (chosen := run.row(question, blocks[0], CHOSEN_LAYER)):
        said.append(f"Inner folds chose layer {layer_text(chosen.estimate)}.")
    words = curves.reference
    said.append(f"Words alone {words.text()}." if words else "There is no text baseline.")
    if len(blocks) == 1:
        means = (
            [e.value for e in curves.null.estimates if e.value is not None] if curves.null else []
        )
        span = f"{number(min(means))} to {number(max(means))}" if means else ""
        said.append(f"Mean of the null {span}." if means else "There is no null over layers.")
    return said


def layer_text(chosen: Estimate) -> str:
    """Median of the layers that the folds chose, and their range: `14`, or `14 (12 to 15)`."""
    if chosen.value is None:
        return MISSING
    if chosen.low is None or chosen.high is None or chosen.low == chosen.high:
        return f"{chosen.value:g}"
    return f"{chosen.value:g} ({chosen.low:g} to {chosen.high:g})"


def transfer(run: Run) -> list[Figure]:
    """A matrix of arms for each set and task that has more than one pair of them."""
    topics = dict.fromkeys(question[:2] for question in run.questions if not question.within)
    figures = []
    for place, topic in enumerate(topics):
        title = f"{capital(say_topic(*topic))}: transfer between arms"
        views = (_matrix(run, *topic, *matrix) for matrix in MATRICES)
        figures.append(figure(f"transfer-{place}", title, views))
    return [made for made in figures if made]


def _matrix(
    run: Run, set_name: str, task: str, unit: str, kind: Kind, scale: tuple[float, float]
) -> View | None:
    asked = [question for question in run.questions if question[:2] == (set_name, task)]
    train = list(dict.fromkeys(question.source for question in asked))
    test = list(dict.fromkeys(question.target for question in asked))
    block = IN_TEXT if kind == REFERENCE else run.primary

    def cell(source: str, target: str) -> Estimate:
        return run.estimate(Question(set_name, task, source, target), block, kind)

    cells = [[cell(source, target) for target in test] for source in train]
    if all(estimate.value is None for row in cells for estimate in row):
        return None
    said = [
        f"{say(source)} → {say(target)} {estimate.text(signed=scale[0] < 0)}"
        for source, row in zip(train, cells, strict=True)
        for target, estimate in zip(test, row, strict=True)
    ]
    matrix = TransferMatrix([*map(say, train)], [*map(say, test)], cells, unit, scale)
    return View("", unit, matrix, f"{unit}, trained → tested: {'; '.join(said)}.")


def confusion(run: Run) -> list[Figure]:
    """A figure for each set whose classes were told apart, one view for each pair of arms."""
    figures = []
    for place, set_name in enumerate(run.sets):
        asked = [question for question in run.questions if question.set == set_name]
        asked.sort(key=lambda question: question not in run.headlines)
        title = f"Which emotion is taken for which on {say(set_name)}"
        views = [_confusion(run, question) for question in asked]
        figures.append(figure(f"confusion-{place}", title, views))
    return [made for made in figures if made]


def _confusion(run: Run, question: Question) -> View | None:
    shares = run.confusion(question, run.primary)
    if not shares:
        return None
    classes = list(dict.fromkeys(name for pair in shares for name in pair))
    grid = [[shares.get((true, taken)) for taken in classes] for true in classes]
    right = [f"{name} {number(shares.get((name, name)))}" for name in classes]
    summary = f"Share of each class that is recognised: {listed(right)}."
    return View("", say_arms(question) or say(question.task), Confusion(classes, grid), summary)
