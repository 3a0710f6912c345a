"""The page of one text that was read along directions: a page of its own, not of a run folder."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from probekit.directions import Band, Reading, Word, top_tokens
from probekit.directions.pieces import written
from probekit.errors import UserError
from probekit.head import Head
from probekit.models import Model
from probekit.plots import MISSING, number
from probekit.report.frame import Frame, page
from probekit.report.highlight import heat, reach, text_body
from probekit.report.markup import Html, joined, tag
from probekit.report.parts import Section, line, missing, noted, scrolling
from probekit.report.words import say
from probekit.runs import atomic_write

TOP = 10
STANDS = {1: "above both", -1: "below both", 0: "inside a control"}
RANDOM = "a random direction"
CAN = (
    "A projection says how far a token’s state leans along a direction, compared with tokens of "
    "neutral texts. A state holds all that came before its token, so a score belongs to the text "
    "up to there and not to the word alone. It does not say that the model feels anything, that a "
    "reader would, that the model writes otherwise because of it, nor that the direction stands "
    "for this emotion and nothing else. Neutral texts of another kind than the reference may "
    "stand out too."
)
"""What a projection can and cannot say."""


class Told(NamedTuple):
    """What stands on the page beside a reading.

    Attributes:
        model: from `Model.describe`.
        why: why this layer.
        words: tokens that each direction writes, a random one last; None where the site is not
            of the stream.
        refused: why there are none.
        notes: what a reader should know.
    """

    model: Mapping[str, Any]
    why: str
    words: Mapping[str, Sequence[Word]] | None = None
    refused: str = ""
    notes: Sequence[str] = ()


def write_reading(
    path: Path, model: Model, reading: Reading, why: str, notes: Sequence[str] = ()
) -> None:
    """Write the page of a reading, whole or not at all.

    Args:
        path: the HTML file.
        model: that read the text.
        why: why this layer, such as "two thirds of depth".
        notes: further sentences that a reader should know.
    """
    words, refused = None, ""
    try:
        words = written_words(model, reading)
    except UserError as error:
        refused = str(error)
    told = Told(model.describe(), why, words, refused, [*model.notes, *notes])
    text = reading_page(reading, told)
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def written_words(model: Model, reading: Reading) -> dict[str, list[Word]]:
    """The tokens that each direction writes most strongly, and those of a random one.

    Raises:
        UserError: directions at a site that is not of the stream.
    """
    panel, layer = reading.reference.panel, reading.reference.layer
    peer = panel.emotions[len(reading.reference.directions.emotions)]
    names = [reading.emotions[place] for place in reading.ranked()]
    head = Head(model)
    found = {name: top_tokens(model, panel, name, layer, TOP, head=head) for name in names}
    return {**found, RANDOM: top_tokens(model, panel, peer, layer, TOP, head=head)}


def reading_page(reading: Reading, told: Told) -> str:
    """The page as HTML."""
    model = str(told.model["name"])
    order = reading.ranked()
    parts = [
        Section("text", "The text", joined(_lead(reading), text_body(reading, order))),
        Section("means", "The whole text", _means(reading, order)),
        Section("tokens", "Token by token", heat(reading, order)),
        Section("words", "What the directions write", _words(told)),
        Section("made-of", "What this is made of", _made_of(reading, told)),
    ]
    frame = Frame(
        title=f"A text read by {model}",
        top=joined(
            tag("p", "probekit · a text along directions of emotions", class_="kind"),
            tag("h1", "A text read by ", tag("span", model, class_="name")),
            tag(
                "noscript",
                tag("p", "The choice of an emotion needs JavaScript; the tables do not."),
            ),
        ),
        skip=("Skip to the text", "text"),
        foot="Written by probekit read. Nothing on this page leaves your machine.",
        assets=("read.css", "read.js"),
        data={"reading": _data(reading, order)},
    )
    return page(frame, parts)


def _data(reading: Reading, order: Sequence[int]) -> dict[str, Any]:
    """For the page's script: what is shown of each piece along each direction."""
    values = np.column_stack([reading.values[:, order], reading.random])
    return {
        "names": [*(reading.emotions[place] for place in order), RANDOM],
        "values": [None if math.isnan(row[0]) else np.round(row, 6).tolist() for row in values],
        "band": list(reading.token_band),
        "reach": reach(reading),
    }


def _lead(reading: Reading) -> Html:
    first = reading.ranked()[0]
    outside = sum(reading.side(place) != 0 for place in range(len(reading.emotions)))
    said = {
        1: "above both of its controls",
        0: "inside a control: nothing is claimed",
        -1: "below both of its controls",
    }[reading.side(first)]
    many = len(reading.emotions)
    figure = number(float(reading.means[first]), signed=True)
    return joined(
        tag(
            "p",
            f"Over the whole text {say(reading.emotions[first])} is highest, ",
            tag("b", figure),
            f", {said}. ",
            f"{outside} of {many} emotions {'stands' if outside == 1 else 'stand'} outside of "
            "both controls. By chance one figure in twenty lies outside of a control.",
            class_="lead",
        ),
        tag(
            "p",
            "The unit is the standard deviation of tokens in neutral texts; 0 is a neutral token.",
        ),
    )


def _means(reading: Reading, order: Sequence[int]) -> Html:
    bands = [reading.random_band, *reading.neutral_bands]
    ends = [abs(end) for band in bands for end in band] + [abs(float(m)) for m in reading.means]
    wide = 1.06 * max(ends)
    lines = []
    for place in order:
        mean, neutral = float(reading.means[place]), reading.neutral_bands[place]
        cells = [
            tag("b", number(mean, signed=True)),
            _band(neutral),
            _band(reading.random_band),
            STANDS[reading.side(place)],
            _strip(mean, neutral, reading.random_band, wide),
        ]
        lines.append(line(say(reading.emotions[place]), cells))
    columns = ["emotion", "mean", "neutral texts", "random directions", "stands", ""]
    texts, tokens = len(reading.reference.texts), reading.n_tokens
    caption = (
        f"Means over {tokens} tokens, beside the middle 95 % of {texts} neutral texts cut to as "
        f"many tokens (filled) and of this text along {reading.n_random} random directions "
        "(outlined)."
    )
    return scrolling(columns, [tag("tbody", *lines)], caption, key="means")


def _band(band: Band) -> str:
    return f"[{number(band.low, signed=True)}, {number(band.high, signed=True)}]"


def _strip(mean: float, neutral: Band, random: Band, wide: float) -> Html:
    """The same as a small drawing; the figures stand beside it."""

    def at(value: float) -> str:
        return f"{50 + 50 * value / wide:.1f}%"

    places = {"n0": neutral.low, "n1": neutral.high, "r0": random.low, "r1": random.high, "m": mean}
    style = ";".join(f"--{name}:{at(value)}" for name, value in places.items())
    marks = [tag("i", class_=name) for name in ("neutral", "random", "zero", "mean")]
    return tag("span", *marks, class_="strip", style=style, aria_hidden="true")


def _words(told: Told) -> Html:
    if told.words is None:
        return missing(f"Missing: {told.refused}.")
    intro = (
        "Tokens whose logits each direction raises most, through the final norm and the "
        "unembedding: the direct path alone, without what the blocks above make of it."
    )
    rows = []
    for name, found in told.words.items():
        shown = [tag("bdi", _token(word.text), class_="token") for word in found]
        spaced = [part for token in shown for part in (token, " ")]
        rows += [tag("dt", say(name)), tag("dd", *spaced)]
    return joined(tag("p", intro), tag("dl", *rows, class_="written"))


def _token(text: str) -> str:
    """A token of the vocabulary; some are no characters by themselves."""
    return "(part of a character)" if "\ufffd" in text else written(text)


def _made_of(reading: Reading, told: Told) -> Html:
    reference = reading.reference
    of = reference.directions
    made = of.stimuli
    first_and_special = sum(len(piece.tokens) for piece in reading.pieces) - reading.n_tokens
    texts = f"{made.get('name', MISSING)} ({made.get('rows', MISSING)} rows)"
    pairs = {
        "Model": f"{told.model['name']}, {told.model['dtype']}",
        "Layer": f"{reference.layer} of 0 to {told.model['n_layers'] - 1}, {told.why}",
        "Site": of.kind,
        "Directions": f"{of.estimator}, {of.pooling} over tokens, of {texts}"
        + f", {say(of.arm)}" * bool(of.arm),
        "Their template": str(of.template.get("name", MISSING)),
        "Unit": f"{reference.n_tokens} tokens of {len(reference.texts)} neutral texts of "
        f"{reference.stimuli['name']}",
        "Template": reference.template.name,
        "Tokens": f"{reading.n_tokens} scored, {first_and_special} left out (the first of a "
        "prompt, whose norm is many times the others’)",
    }
    rows = [tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs.items()]
    return joined(
        tag("p", CAN),
        tag("dl", *rows, class_="facts made"),
        noted(told.notes) if told.notes else "",
    )
