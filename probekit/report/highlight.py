"""A text with its tokens coloured by score, and the same as a table of tokens and emotions.

Colour says how far a score is from 0, hue and a sign which way, and an underline that it lies
outside of what tokens reach along random directions.
"""

import math
from collections.abc import Sequence

import numpy as np

from probekit.directions import Band, Reading
from probekit.directions.pieces import written
from probekit.plots import number
from probekit.report.markup import Html, joined, tag
from probekit.report.parts import scrolling
from probekit.report.words import say

ROWS = 1000
"""Pieces in the table; a longer text is coloured whole, and its table says where it ends."""


def reach(reading: Reading) -> float:
    """The score of full colour: what 99 of 100 tokens stay below, at least 2."""
    known = np.abs(reading.values[~np.isnan(reading.values)])
    return max(2.0, math.ceil(2 * float(np.percentile(known, 99))) / 2)


def text_body(reading: Reading, order: Sequence[int]) -> Html:
    """The choice of a direction, the text along the first of them, and how to read it."""
    names = [say(reading.emotions[place]) for place in order]
    buttons = [
        tag(
            "button",
            name,
            type="button",
            aria_pressed=str(not place).lower(),
            data_choice=str(place),
        )
        for place, name in enumerate([*names, "a random direction"])
    ]
    return joined(
        tag("div", *buttons, class_="menu", role="group", aria_label="Direction"),
        tag(
            "div",
            *_pieces(reading, order[0]),
            id="pieces",
            class_="pieces",
            role="list",
            dir="auto",
            aria_label="The text, token by token; the arrow keys move from token to token",
        ),
        tag(
            "p", "Point at a token, or move to it with the arrow keys.", id="readout", role="status"
        ),
        _legend(reading),
    )


def _pieces(reading: Reading, emotion: int) -> list[Html]:
    """Every piece in its place; spaces in front of a word are not coloured with it."""
    out, band, end = [], reading.token_band, reach(reading)
    first = True
    for number_, piece in enumerate(reading.pieces):
        text = reading.text[piece.start : piece.end]
        score = float(reading.values[number_, emotion])
        if math.isnan(score):
            shown = tag("span", _lines(text), class_="unscored", title="not scored")
            out.append(shown if piece.tokens else _lines(text))
            continue
        word = text.lstrip(" ") or text
        out.append(joined(text[: len(text) - len(word)]))
        said = f"{written(text)}: {number(score, signed=True)}"
        span = tag(
            "span",
            _lines(word),
            class_="piece",
            role="listitem",
            tabindex="0" if first else "-1",
            data_piece=str(number_),
            title=said,
            aria_label=said,
            **_coloured(score, band, end),
        )
        out.append(span)
        first = False
    return out


def _coloured(score: float, band: Band, end: float) -> dict[str, str]:
    return {
        "data_sign": "minus" if score < 0 else "plus",
        "data_side": ("inside", "above", "below")[band.side(score)],
        "data_score": number(score, signed=True),
        "style": f"--s:{min(abs(score) / end, 1):.3f}",
    }


def _lines(text: str) -> Html:
    """Text with a sign before each end of a line and each tab."""
    signs = {"\n": "↵", "\t": "⇥"}
    parts = [
        joined(tag("span", signs[character], class_="sign", aria_hidden="true"), character)
        if character in signs
        else joined(character)
        for character in text
    ]
    return joined(*parts)


def _legend(reading: Reading) -> Html:
    low, high = (number(end, signed=True) for end in reading.token_band)
    end = number(reach(reading))
    scale = tag("span", tag("i"), class_="scale", aria_hidden="true")
    numbers = tag("label", tag("input", type="checkbox", id="numbers"), " Write the scores")
    marks = [
        tag("span", f"−{end} ", scale, f" +{end}"),
        tag("span", tag("span", "underlined", class_="piece", data_side="above"), f" above {high}"),
        tag("span", tag("span", "dotted", class_="piece", data_side="below"), f" below {low}"),
        numbers,
    ]
    told = (
        f"Between {low} and {high} lie 95 of 100 scores of this text’s tokens along "
        f"{reading.n_random} random directions: there a colour means nothing."
    )
    return joined(tag("p", *marks, class_="legend"), tag("p", told, class_="quiet"))


def heat(reading: Reading, order: Sequence[int]) -> Html:
    """The table of tokens and emotions, a random direction last."""
    values = np.column_stack([reading.values[:, order], reading.random])
    scored = [place for place, row in enumerate(values) if not math.isnan(row[0])]
    band, end = reading.token_band, reach(reading)
    rows = []
    for place in scored[:ROWS]:
        piece = reading.pieces[place]
        name = tag("th", tag("bdi", written(reading.text[piece.start : piece.end])), scope="row")
        cells = [
            tag("td", number(score, signed=True), **_coloured(score, band, end))
            for score in map(float, values[place])
        ]
        rows.append(tag("tr", name, *cells))
    columns = ["token", *(say(reading.emotions[place]) for place in order), "random"]
    more = f" The first {ROWS} of {len(scored)} tokens." if len(scored) > ROWS else ""
    caption = (
        "Scores of each token, in standard deviations of neutral tokens; bold lies outside of the "
        f"control’s band. Last: one random direction.{more}"
    )
    return tag("div", scrolling(columns, [tag("tbody", *rows)], caption, key="heat"), class_="heat")
