"""The page of a geometry run."""

from probekit.plots import number
from probekit.report import geometry_figures, geometry_maps
from probekit.report.causal import about_clusters, about_controls, figure_of
from probekit.report.geometry_findings import AXES, findings
from probekit.report.geometry_rows import (
    ALONE,
    BEYOND,
    NULL,
    UNSEEN,
    WITHIN,
    Asked,
    Reading,
    Space,
    space_of,
)
from probekit.report.geometry_table import table
from probekit.report.geometry_words import GIVENS, say_asked, say_texts, say_theory
from probekit.report.markup import Html
from probekit.report.parts import Section, drawing, glossary, manifest, noted, notes
from probekit.report.reading import Recorded
from probekit.report.terms import GEOMETRY
from probekit.report.words import capital, listed, say_block
from probekit.runs import COORDINATES


def page(recorded: Recorded) -> list[Section]:
    """The sections, top to bottom."""
    space = space_of(recorded)
    figures, maps = geometry_figures, geometry_maps
    lost = f"the run folder has no {COORDINATES}"
    if space.places is not None:
        lost = f"{COORDINATES} has no texts of these layers"
    return [
        Section("findings", "What was found", findings(space)),
        Section("limits", "What this run cannot say", cautions(space)),
        drawing(
            "emotions",
            "Emotion by emotion",
            maps.centroids(space),
            "Cosines of the emotions’ means, from the least to the most pleasant where norms are "
            "known. Of unrelated emotions they are a little below 0. The diagonal is the ceiling: "
            "an emotion with itself, in other scenarios.",
            "Missing: no cosines of emotions.",
        ),
        drawing(
            "theories",
            "Against theories",
            figures.theories(space),
            "Whether emotions that a theory sets apart are apart in the model. Given the rest is "
            "with length and domains taken out of both sides; given the words, their distances "
            "too.",
            "Missing: theories need four emotions whose place they know.",
        ),
        drawing(
            "texts",
            "Text by text",
            figures.texts(space),
            "Whether texts that differ in something are farther apart, texts of one scenario left "
            "out. The circumplex holds emotion in it: two texts of one emotion are at distance 0.",
            "Missing: no distances of texts.",
        ),
        drawing(
            "clusters",
            "Clusters",
            figures.silhouettes(space),
            "Silhouettes by emotion, beside those by domain and by arm.",
            "Missing: no silhouettes.",
        ),
        drawing(
            "picture",
            "The texts in a plane",
            maps.picture(space),
            "A picture, and no finding: what looks apart on two components may not be, and what "
            "looks together may be apart on others.",
            f"Missing: {lost}.",
        ),
        drawing(
            "axes",
            "Axes",
            figures.axes(space),
            "Axes of valence and arousal, learned on one half of the scenarios and tried on the "
            "ratings of the other. Curves over all texts show no more than that emotions are "
            "apart.",
            "Missing: axes need four emotions with published norms, and ratings of texts.",
        ),
        drawing(
            "dimensions",
            "Dimensions",
            figures.dimensions(space),
            "Over how many dimensions the emotions’ means spread, and texts within an emotion.",
            "Missing: no participation ratios.",
        ),
        Section("table", "Every figure beside its controls", table(space)),
        Section("manifest", "How it was made", manifest(recorded.manifest)),
        Section("terms", "How to read this page", glossary(GEOMETRY)),
    ]


def cautions(space: Space) -> Html:
    """What is fixed, what is missing, what the size allows, and the study's own notes."""
    layer = space.layer(space.primary)
    rule = (
        f"Layer {layer} is fixed by a rule, the nearest to two thirds of the depth; no figure had "
        "a part in it. Nothing is chosen by the figures, so all but the axes rest on every text: a "
        "layer that is picked from a curve must be shown on other texts."
    )
    others = [say_block(block) for block in space.blocks if block != space.primary]
    primary = (
        f"The findings speak of {say_block(space.primary)}, named beforehand; the menus and the "
        f"table also have {listed(others)}."
    )
    family = (
        "q is over the layers of one figure. Arms, poolings, ratings and ways to ask are further "
        "looks; a theory must pass .05 over the number of theories."
    )
    words = (
        "The words are measured in two ways, and what is taken out of a correlation is what is "
        "linear in their ranks: a trace of them can stay, and of a measure that shares half its "
        "variance with what is asked, a p of .05 comes in .07 to .08 of cases. The lowest layer "
        "holds little more than words, and is worth a look beside the others."
    )
    said = [
        about_controls(_absent(space)),
        rule if layer is not None else "",
        primary if others else "",
        family,
        words if space.word_names else "",
        _floor(space),
        about_clusters(space.lines),
        "Who gave the ratings stands in the set’s datasheet." if space.asked("axis") else "",
    ]
    return noted([*said, *notes(space.manifest)])


def _absent(space: Space) -> list[str]:
    nulls = any(line.condition == NULL for line in space.lines)
    words = [] if space.word_names else ["the words’ own geometry"]
    return [*words, *([] if nulls else ["relabeled emotions"])]


def _floor(space: Space) -> str:
    """What p relabeling allows each theory."""
    known = [(name, space.smallest_p(name)) for name in space.theories]
    said = [f"{number(p, digits=4)} for {say_theory(name)}" for name, p in known if p is not None]
    return f"The smallest p that relabeling allows is {listed(said)}." if said else ""


def short_table(recorded: Recorded) -> tuple[str, tuple[str, ...], list[tuple[str, ...]]]:
    """Title, columns and rows for a terminal: the findings' figures at the fixed layer."""
    space = space_of(recorded)
    asked = [Asked("rsa_items", metric, "emotion") for metric in (ALONE, BEYOND)]
    rows = _short(space, "texts of one emotion", asked)
    for arm in space.arms:
        asked = space.asked("silhouette", "silhouette", target=arm, source="emotion")
        asked += [each for each in space.asked("rsa", ALONE, target=arm) if each.source]
        for unit in AXES:
            for metric in (WITHIN, UNSEEN):
                asked += space.asked("axis", metric, source=arm, target=arm, unit=unit)
        asked += space.asked("dimensions", target=arm, unit="centroids")
        rows += _short(space, say_texts(arm), asked)
    layer = space.layer(space.primary)
    where = say_block(space.primary) or "no site"
    columns = ("figure", "states", "words", "chance", "q", "q < .05")
    return f"Geometry at {where}, layer {'-' if layer is None else layer}", columns, rows


def _short(space: Space, name: str, asked: list[Asked]) -> list[tuple[str, ...]]:
    readings = [Reading(space, each, space.primary) for each in asked]
    rows = [_row(each) for each in readings if each.lines]
    return [(name,), *rows] if rows else []


def _brief(asked: Asked) -> str:
    """A name that leaves room for the figures in 80 columns; the arm stands above it."""
    match asked.task:
        case "axis":
            return capital(f"{asked.judge.removeprefix('read_')} axis, {GIVENS[asked.metric]}")
        case "silhouette":
            return f"Silhouette {say_asked(asked).lower()}"
        case "dimensions":
            return "Dimensions of the means"
        case _:
            return say_asked(asked)


def _row(reading: Reading) -> tuple[str, ...]:
    here = reading.here
    level = reading.tested.get(here.layer or 0) if here else None
    # A silhouette and a number of dimensions are held against chance, not against 0.
    beside_chance = reading.asked.task in ("dimensions", "silhouette")
    held = reading.below() if beside_chance else reading.upheld()
    values = (figure_of(here).value, reading.words.value, reading.chance.value)
    sign = "" if reading.asked.task == "dimensions" else "+"
    return (
        f" {_brief(reading.asked)}",
        *("-" if value is None else f"{value:{sign}.2f}" for value in values),
        "-" if level is None else f"{level:.3f}",
        f"{len(held)} of {len(reading.tested)}" if reading.tested else "-",
    )
