"""Stretches of a text that a reader can be shown: tokens, joined where they share a character.

A byte-level tokenizer writes an emoji or a rare letter as several tokens, each with the offsets of
the whole character; an accent or a skin tone may be a token of its own. A *piece* is the shortest
stretch that holds whole tokens and whole characters as they are seen.
"""

import unicodedata
from typing import NamedTuple

from probekit.prompts import Encoded

JOINER = "\u200d"


class Piece(NamedTuple):
    """Characters of a text, and the tokens (places in the prompt) that stand for them.

    Attributes:
        start, end: of the text's characters.
        tokens: places in the prompt; none where the tokenizer left characters out.
    """

    start: int
    end: int
    tokens: tuple[int, ...]


def pieces(prompt: Encoded, text: str) -> list[Piece]:
    """The text in pieces that cover it whole, one after the other."""
    out: list[Piece] = []
    for token in prompt.tokens_of(0, len(text)):
        first, last = (
            min(max(place - prompt.text_start, 0), len(text)) for place in prompt.offsets[token]
        )
        reached = out[-1].end if out else 0
        if first > reached:  # White space that no token stands for.
            out.append(Piece(reached, first, ()))
        if out and out[-1].tokens and (first < reached or not _parts(text, first)):
            before = out.pop()
            first, held = before.start, (*before.tokens, token)
        else:
            first, held = max(first, reached), (token,)
        out.append(Piece(first, max(last, reached), held))
    reached = out[-1].end if out else 0
    return [*out, Piece(reached, len(text), ())] if reached < len(text) else out


def written(text: str) -> str:
    """A piece on one line: no space around it, controls as signs, nothing that turns the line."""
    out = "".join(_sign(character) for character in text.strip(" ") or "␣" * len(text))
    seen = any(unicodedata.category(character) not in ("Cf", "Zs") for character in out)
    return out if seen else " ".join(f"U+{ord(character):04X}" for character in text)


def _sign(character: str) -> str:
    if character in "\n\r\t":
        return {"\n": "↵", "\r": "␍", "\t": "⇥"}[character]
    if character in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069":
        return ""
    return "\ufffd" if unicodedata.category(character) == "Cc" else character


def _parts(text: str, place: int) -> bool:
    """Whether what is seen as one character ends before a place of the text."""
    if not 0 < place < len(text):
        return True
    before, after = text[place - 1], text[place]
    if unicodedata.category(after).startswith("M") or JOINER in (before, after):
        return False
    if "\U0001f3fb" <= after <= "\U0001f3ff":  # Skin tones.
        return False
    flags = all("\U0001f1e6" <= c <= "\U0001f1ff" for c in (before, after))
    return not flags and before + after != "\r\n"
