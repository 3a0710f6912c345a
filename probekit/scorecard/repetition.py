"""How much a text repeats itself: distinct n-grams, words in loops, length."""

from collections.abc import Sequence
from itertools import pairwise

from probekit.stimuli import words

LONGEST = 12
"""Words of the longest n-gram that is looked for in a loop."""
TIMES = 3
"""How often in a row an n-gram stands where it is a loop."""


def distinct(text: str, n: int) -> float | None:
    """Different n-grams of words over all n-grams (Li et al. 2016, distinct-n).

    None where the text has fewer than n words. Long texts reach less: compare equal lengths.
    """
    said = words(text)
    grams = list(zip(*(said[start:] for start in range(n)), strict=False))
    return len(set(grams)) / len(grams) if grams else None


def loops(text: str) -> float | None:
    """Share of words that stand in a loop; None for a text without words.

    A loop is a run in which an n-gram of 1 to 12 words stands at least three times in a row. Its
    last, cut-off repetition belongs to it.
    """
    said = words(text)
    if not said:
        return None
    inside = [False] * len(said)
    for period in range(1, min(LONGEST, len(said) // TIMES) + 1):
        for start, end in _runs(said, period):
            inside[start:end] = [True] * (end - start)
    return sum(inside) / len(said)


def _runs(said: Sequence[str], period: int) -> list[tuple[int, int]]:
    """Stretches `[start, end)` of whole loops with this period."""
    breaks = [i for i in range(len(said) - period) if said[i] != said[i + period]]
    edges = [-1, *breaks, len(said) - period]
    found = [(one + 1, other + period) for one, other in pairwise(edges)]
    return [(start, end) for start, end in found if end - start >= TIMES * period]


def measure(text: str) -> dict[str, float | None]:
    """All figures of one text by name: `distinct_1` to `distinct_3`, `loops`, `words`."""
    figures = {f"distinct_{n}": distinct(text, n) for n in (1, 2, 3)}
    return {**figures, "loops": loops(text), "words": float(len(words(text)))}
