"""How the figures of a geometry run are said to a reader."""

from collections.abc import Sequence

from probekit.plots import MISSING, number
from probekit.report.causal import ALPHA, figure_of, p_text
from probekit.report.geometry_rows import (
    ALONE,
    BEYOND,
    GIVEN,
    UNSEEN,
    WITHIN,
    Asked,
    Reading,
    Space,
)
from probekit.report.parts import shown
from probekit.report.results import Block
from probekit.report.words import capital, say, say_block

Said = list[str]
"""Pieces of a sentence, some of them markup."""

THEORIES = {
    "circumplex": "the circumplex",
    "valence": "valence alone",
    "arousal": "arousal alone",
    "wheel": "Plutchik’s wheel",
    "opposites": "Plutchik’s opposites",
}
JUDGES = {
    "read_valence": "the readers’ valence",
    "read_arousal": "the readers’ arousal",
    "intensity": "the intended intensity",
}
FACTORS = {"emotion": "emotion", "arm": "keyword arm", "domain": "domain", "length": "length"}
GIVENS = {
    ALONE: "",
    GIVEN: "given the rest",
    BEYOND: "given the words too",
    WITHIN: "within an emotion",
    UNSEEN: "on unseen emotions",
    "kendall": "Kendall’s τ",
    "ceiling_lower": "lower bound",
    "ceiling_upper": "upper bound",
}


def say_theory(name: str) -> str:
    """`the circumplex`."""
    return THEORIES.get(name, say(name))


def say_judge(name: str) -> str:
    """`the readers’ valence`."""
    return JUDGES.get(name, say(name))


def say_asked(asked: Asked) -> str:
    """A figure's name in a menu or in the table, without its arm (but of an axis, which has two).

    `The circumplex, given the rest`; `By domain`; `Grief and joy`.
    """
    match asked.task:
        case "centroids":
            same = asked.metric != "cosine"
            name = f"{say(asked.emotion)} " + (
                "in both halves" if same else f"and {say(asked.unit)}"
            )
        case "silhouette":
            name = f"by {FACTORS.get(asked.source, say(asked.source))}"
        case "components":
            name = f"component {asked.unit}, share of the variance"
        case "dimensions":
            between = "between the emotions’ means"
            name = {"centroids": between, "within": "within an emotion"}.get(
                asked.unit, say(asked.unit)
            )
        case "rsa":
            theory = say_theory(asked.source) if asked.source else "noise ceiling"
            name = _with(theory, asked.metric)
        case "rsa_items":
            factor = FACTORS.get(asked.source) or say_theory(asked.source)
            name = _with(factor, asked.metric)
        case "axis":
            told = say_judge(asked.judge)
            name = _with(f"{say(asked.unit)} axis and {told}", asked.metric)
            if arms := say_arms(asked):
                name += f", {arms}"
        case _:
            name = _with(say(asked.task), asked.metric)
    return capital(name)


def say_arms(asked: Asked) -> str:
    """Of an axis: the arm it was learned on, and the other one where it was tried on another."""
    if asked.source == asked.target:
        return say(asked.source)
    return f"{say(asked.source)} → {say(asked.target)}"


def _with(name: str, metric: str) -> str:
    more = GIVENS.get(metric, say(metric))
    return f"{name}, {more}" if more else name


def say_texts(arm: str) -> str:
    """`keyword-free texts`; of a set without arms, `these texts`."""
    return f"{say(arm)} texts" if arm else "these texts"


def layers_text(count: int) -> str:
    """`1 layer`, `3 layers`."""
    return f"{count} layer{'' if count == 1 else 's'}"


def at(reading: Reading) -> str:
    """`at layer 20`: the layer that is fixed beforehand."""
    return f"at layer {reading.space.layer(reading.block)}"


def counted(layers: list[int], reading: Reading, *, level: bool = False) -> str:
    """`at 3 of 30 layers`, with its level on demand; that it was not tested, where it was not."""
    if not reading.tested:
        return "at no layer, because none was tested"
    of = f"at {len(layers)} of {layers_text(len(reading.tested))}"
    return f"{of} ({_level(reading)} < {number(ALPHA)})" if level else of


def _level(reading: Reading) -> str:
    return "p" if len(reading.tested) == 1 else "q"


def figure(reading: Reading, *, signed: bool = True) -> Said:
    """A figure at the fixed layer, and that it was not measured where it was not."""
    here = figure_of(reading.here)
    return [shown(here, signed=signed) if here.value is not None else "not measured"]


def with_q(reading: Reading) -> Said:
    """The same with its q."""
    return [*figure(reading), f" ({q_text(reading)})"] if reading.tested else figure(reading)


def q_text(reading: Reading) -> str:
    """`q .031` at the fixed layer."""
    level = reading.tested.get(reading.here.layer or 0) if reading.here else None
    return f"{_level(reading)} {p_text(level)}"


def words_text(reading: Reading, *, signed: bool = True) -> str:
    """The larger figure of the words alone."""
    best = reading.space.best_words(reading.asked)
    return f"words {best.estimate.text(signed=signed)}" if best else "words not measured"


def beside(reading: Reading, *, signed: bool = True) -> Said:
    """A figure with its q, the words' own, and chance."""
    chance = reading.chance.text(signed=signed)
    known = f"chance {chance}" if reading.chance.value is not None else "chance not measured"
    level = f"{q_text(reading)}; " if reading.tested else ""
    return [
        *figure(reading, signed=signed),
        f" ({level}{words_text(reading, signed=signed)}; {known})",
    ]


def span(values: Sequence[float], *, signed: bool = True) -> str:
    """`−.05 to −.04`; one figure where both ends read the same."""
    # The mean of many relabelings is as good as 0, and not to be read to its first digit.
    low, high = (number(round(end, 3), signed=signed) for end in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def menu_group(space: Space, block: Block) -> str:
    """What parts a menu: site and pooling, where there are several."""
    return say_block(block) if len(space.blocks) > 1 else ""


def ceiling_text(reading: Reading) -> str:
    """`.37 to .73`: what a true theory could reach at the fixed layer."""
    asked = reading.asked._replace(source="")
    low, high = (
        figure_of(Reading(reading.space, asked._replace(metric=name), reading.block).here)
        for name in ("ceiling_lower", "ceiling_upper")
    )
    return MISSING if low.value is None else f"{low.text()} to {high.text()}"
