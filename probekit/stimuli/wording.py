"""Words of a text, and which of them name an emotion (`stimuli/lexicon/emotion_words.json`)."""

import re
from collections.abc import Collection, Iterator
from functools import cache

from probekit.runs import read_json
from probekit.stimuli.reading import home

WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")


def words(text: str) -> list[str]:
    """The lower-case words of a text, inner apostrophes kept."""
    return WORD.findall(text.lower())


@cache
def lexicon() -> dict[str, str]:
    """Word form -> emotion (or "general"), the words on the allow-list left out."""
    data = read_json(home() / "lexicon" / "emotion_words.json")
    found = dict.fromkeys(data["general"], "general")
    found |= {form: emotion for emotion, forms in data["words"].items() for form in forms}
    return {form: kind for form, kind in found.items() if form not in set(data["allow"])}


def emotion_words(text: str, allow: Collection[str] = ()) -> Iterator[str]:
    """Forms of the lexicon that stand in a text, but those in `allow`; a form for each time."""
    said = [word.removesuffix("'s") for word in words(text)]
    joined = [form for form in _hyphened() if form in text.lower()]
    return (word for word in (*said, *joined) if word in lexicon() and word not in allow)


def emotion_spans(text: str) -> list[tuple[int, int]]:
    """Characters `(start, end)` of every form of the lexicon that stands in a text."""
    lower = text.lower()
    found = [
        match.span()
        for match in WORD.finditer(lower)
        if match.group().removesuffix("'s") in lexicon()
    ]
    for form in _hyphened():
        found += [match.span() for match in re.finditer(re.escape(form), lower)]
    return sorted(found)


@cache
def _hyphened() -> tuple[str, ...]:
    return tuple(form for form in lexicon() if "-" in form)
