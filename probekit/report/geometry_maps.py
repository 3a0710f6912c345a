"""Where emotions and texts lie at the fixed layer: a map of cosines, and a picture of the texts."""

from collections.abc import Sequence

from probekit.plots import HUES, Estimate, Heatmap, Points, Scatter, number
from probekit.report.causal import figure_of
from probekit.report.geometry_rows import Asked, Reading, Space
from probekit.report.geometry_words import menu_group, say_texts, span
from probekit.report.reading import NOTHING, Line, Place
from probekit.report.results import Block
from probekit.report.views import Figure, View, figure
from probekit.report.words import capital, say, say_block

COSINE = "cosine of two emotions’ means"
NEUTRAL = "neutral"


def centroids(space: Space) -> list[Figure | None]:
    """Emotion by emotion, of the states and of the words; a figure for each arm."""
    found = []
    for place, arm in enumerate(space.arms):
        views = [_cosines(space, arm, where) for where in (*space.blocks, *space.word_names)]
        title = f"Cosines of the emotions’ means, {say_texts(arm)}"
        found.append(figure(f"cosines-{place}", title, views))
    return found


def _cosines(space: Space, arm: str, where: Block | str) -> View | None:
    """At a block's fixed layer, or of a baseline of the words."""

    def line(metric: str, one: str, other: str) -> Line | None:
        asked = Asked("centroids", metric, emotion=one, unit=other, target=arm)
        if isinstance(where, str):
            return space.words(asked).get(where)
        return Reading(space, asked, where).here

    labels = space.labels
    pairs: dict[tuple[str, str], Estimate] = {}
    for one in labels:
        for other in labels:
            if found := line("cosine", one, other):
                pairs[one, other] = pairs[other, one] = found.estimate
    if not any(each.value is not None for each in pairs.values()):
        return None
    said = _extremes(pairs)
    if isinstance(where, Block):
        said = [f"Layer {space.layer(where)}.", *said, _relabeled(space, arm, where)]
    pairs |= {(one, one): figure_of(line("cosine_ceiling", one, one)) for one in labels}
    cells = [[pairs.get((one, other), NOTHING) for other in labels] for one in labels]
    names = [say(label) for label in labels]
    data = Heatmap(names, names, cells, COSINE, "", "")
    name = say_block(where) if isinstance(where, Block) else f"words alone: {say(where)}"
    return View("", name, data, " ".join(part for part in said if part))


def _extremes(pairs: dict[tuple[str, str], Estimate]) -> list[str]:
    """The pairs that are most and least alike."""
    known = {pair: each.value for pair, each in pairs.items() if each.value is not None}
    ends = {"Most": max(known, key=lambda p: known[p]), "Least": min(known, key=lambda p: known[p])}
    return [
        f"{kind} alike: {say(one)} and {say(other)}, {pairs[one, other].text(signed=True)}."
        for kind, (one, other) in ends.items()
    ]


def _relabeled(space: Space, arm: str, block: Block) -> str:
    """Chance, in words."""
    asked = space.asked("centroids", "cosine", target=arm)
    chance = [Reading(space, each, block).chance.value for each in asked]
    known = [value for value in chance if value is not None]
    return f"Relabeled texts: {span(known)} in the mean." if known else ""


def picture(space: Space) -> list[Figure | None]:
    """Texts on the first two principal components at the fixed layer: all, then each emotion."""
    views: list[View | None] = []
    for block in space.blocks:
        layer = space.layer(block)
        here = [
            each
            for each in space.places or ()
            if (each.site, each.pooling, each.layer) == (*block, layer)
        ]
        if here:
            views += _pictures(space, block, here)
    title = "Texts on the first two principal components"
    return [figure("picture-0", title, views)]


def _pictures(space: Space, block: Block, here: list[Place]) -> list[View]:
    """Every emotion, where there are colours for all; then each against the rest."""
    known = {each.emotion for each in here}
    labels = [label for label in space.labels if label in known]
    shares = [
        figure_of(Reading(space, Asked("components", "explained_variance", unit=k), block).here)
        for k in ("1", "2")
    ]
    parts = [number(share.value) for share in shares]
    axes = [f"component {k}, {part} of the variance" for k, part in enumerate(parts, 1)]
    text = (
        f"{len(here)} texts at layer {here[0].layer}. The components hold {parts[0]} and "
        f"{parts[1]} of the variance; no label was used to find them."
    )
    chosen = {f"{capital(say(label))} and the rest": [label] for label in labels}
    if len(labels) <= HUES:
        chosen = {"Every emotion": labels, **chosen}
    return [
        View(
            menu_group(space, block), name, Scatter(_points(here, coloured), axes[0], axes[1]), text
        )
        for name, coloured in chosen.items()
    ]


def _points(here: list[Place], coloured: Sequence[str]) -> list[Points]:
    """Texts by emotion and arm; neutral ones, and those that are not coloured, in grey."""
    found: dict[tuple[str, str], list[Place]] = {}
    for each in sorted(here, key=lambda place: place.arm == NEUTRAL):
        felt = each.emotion in coloured and each.arm != NEUTRAL
        found.setdefault((each.emotion if felt else "", each.arm), []).append(each)
    order = sorted(found, key=lambda pair: [*coloured, ""].index(pair[0]))
    return [
        Points(
            say(colour),
            say(arm),
            [_told(each) for each in found[colour, arm]],
            [each.x for each in found[colour, arm]],
            [each.y for each in found[colour, arm]],
        )
        for colour, arm in order
    ]


def _told(place: Place) -> str:
    return " · ".join(part for part in (place.id, say(place.emotion), say(place.domain)) if part)
