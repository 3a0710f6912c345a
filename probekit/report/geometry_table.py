"""The table of a geometry run: every figure at the fixed layer, beside its controls."""

from probekit.plots import MISSING, Estimate
from probekit.report.causal import figure_of, p_text, varying
from probekit.report.geometry_rows import ABOVE, ALONE, Asked, Reading, Space
from probekit.report.geometry_words import ceiling_text, menu_group, say_asked
from probekit.report.markup import Html
from probekit.report.parts import group, line, scrolling
from probekit.report.words import capital, say

TASKS = {
    "rsa_items": "Distances of texts",
    "silhouette": "Silhouettes",
    "rsa": "Distances of emotions against theories",
    "axis": "Axes against ratings",
    "dimensions": "Participation ratios",
    "components": "Principal components",
    "centroids": "Cosines of emotions’ means",
}
UNSIGNED = ("dimensions", "components")


def table(space: Space) -> Html:
    """A group of lines for each block, task and arm."""
    columns = ("Layer", "States", "p", "q", "Chance")
    columns += tuple(capital(say(name)) for name in space.word_names)
    columns += ("Above the words’ own", "q above", "Ceiling", "Texts", "Clusters")
    groups = []
    for block in space.blocks:
        for task, title in TASKS.items():
            asked = [each for each in space.asked(task) if not each.metric.endswith(ABOVE)]
            for arm in dict.fromkeys(_arm(each) for each in asked):
                own = [Reading(space, each, block) for each in asked if _arm(each) == arm]
                lines = [_line(each) for each in own if each.here]
                if lines:
                    name = varying(title, say(arm), menu_group(space, block))
                    groups.append(group(name, lines, len(columns)))
    caption = (
        "Every figure at the layer that is fixed beforehand, beside chance, the words’ own and "
        "the noise ceiling. Brackets hold 95 % intervals, of chance 95 % of relabelings; "
        f"{MISSING} means not measured, or without a meaning. All layers stand in results.csv."
    )
    return scrolling(("Figure", *columns), groups, caption)


def _arm(asked: Asked) -> str:
    """An axis names its arms itself."""
    return "" if asked.task == "axis" else asked.target


def _line(reading: Reading) -> Html:
    here, above = reading.here, reading.above.here
    plus = reading.asked.task not in UNSIGNED

    def text(estimate: Estimate) -> str:
        return estimate.text(signed=plus)

    words = reading.space.words(reading.asked)
    ceiled = reading.asked.task == "rsa" and reading.asked.metric == ALONE
    cells = [
        str(here.layer) if here else MISSING,
        text(figure_of(here)),
        p_text(here.p if here else None),
        p_text(here.q if here else None),
        text(reading.chance),
        *(text(figure_of(words.get(name))) for name in reading.space.word_names),
        figure_of(above).text(signed=True),
        p_text(above.q if above else None),
        ceiling_text(reading) if ceiled else MISSING,
        str((here and here.n) or MISSING),
        str((here and here.clusters) or MISSING),
    ]
    return line(say_asked(reading.asked), cells)
