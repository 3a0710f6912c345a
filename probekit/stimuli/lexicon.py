"""Words that name an emotion, as shipped in `stimuli/lexicon`; and what a word of a text is."""

import re
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


def named(text: str) -> list[str]:
    """The forms of `lexicon` that stand in a text, one entry each time."""
    listed = lexicon()
    said = [word.removesuffix("'s") for word in words(text)]
    joined = [form for form in listed if "-" in form and form in text.lower()]
    return [word for word in (*said, *joined) if word in listed]
