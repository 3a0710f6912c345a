"""What can be measured on texts without a model: leaks, balance between arms, duplicates."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from probekit.runs import read_json
from probekit.stimuli import Stimulus, StimulusSet, emotion_words, home, words

SHINGLE = 5
"""Words in a row that two texts must share to count as alike."""
FEMALE = {"she", "her", "hers", "herself", "woman", "girl", "mother", "daughter", "sister", "wife"}
MALE = {"he", "him", "his", "himself", "man", "boy", "father", "son", "brother", "husband"}


@dataclass(frozen=True)
class Measured:
    """A figure of a set, and the items that made it, worst first."""

    value: float
    where: tuple[str, ...] = ()


@cache
def idioms() -> re.Pattern[str]:
    """One expression for all idioms and body-language phrases."""
    data = read_json(home() / "lexicon" / "idioms.json")
    return re.compile("|".join(f"(?:{idiom})" for idiom in data["idioms"]), re.IGNORECASE)


def keywords(stimuli: StimulusSet, allow: Sequence[str] = ()) -> Measured:
    """How many keyword-free texts hold a word of the emotion lexicon."""
    free = set(allow)
    leaks = {row.id: list(emotion_words(row.text, free)) for row in keyword_free(stimuli)}
    found = [f"{name}: {', '.join(said)}" for name, said in leaks.items() if said]
    return Measured(float(len(found)), tuple(found))


def idiomatic(stimuli: StimulusSet) -> Measured:
    """How many keyword-free texts hold a give-away idiom or body-language phrase."""
    found = [
        f"{row.id}: {hit.group()}"
        for row in keyword_free(stimuli)
        if (hit := idioms().search(row.text))
    ]
    return Measured(float(len(found)), tuple(found))


def keyword_free(stimuli: StimulusSet) -> Iterator[Stimulus]:
    """Rows of every arm but the keyword-rich one."""
    return (row for row in stimuli.rows if row.arm != "keyword_rich")


def length_ratio(stimuli: StimulusSet) -> Measured:
    """Longest over shortest text of a pair, quad or scenario, in words; the largest ratio."""
    ratios = {
        name: max(lengths) / max(1, min(lengths))
        for name, rows in _groups(stimuli, lambda row: row.pair or row.quad or row.scenario)
        if name and len(lengths := [len(words(row.text)) for row in rows]) > 1
    }
    return _largest(ratios)


def changed_tokens(stimuli: StimulusSet) -> Measured:
    """Share of words that differ between the texts of a pair, the largest."""
    return _largest(
        {pair: _changed(*(words(row.text) for row in rows)) for pair, rows in _pairs(stimuli)}
    )


def unbalanced_words(stimuli: StimulusSet) -> Measured:
    """Changed words that do not stand equally often in both arms."""
    balance: Counter[str] = Counter()
    for _, rows in _pairs(stimuli):
        labels = sorted(row.arm or row.emotion or row.valence for row in rows)
        for row in rows:
            sign = 1 if (row.arm or row.emotion or row.valence) == labels[0] else -1
            balance.update({word: sign * n for word, n in Counter(words(row.text)).items()})
    odd = {word: abs(n) for word, n in balance.items() if n}
    ranked = sorted(odd, key=lambda word: -odd[word])
    return Measured(float(len(odd)), tuple(f"{word} ({balance[word]:+d})" for word in ranked))


def near_duplicates(stimuli: StimulusSet, share: float = 0.3) -> Measured:
    """Pairs of scenarios whose texts share that much of their runs of five words."""
    runs: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for row in stimuli.rows:
        said = words(row.text)
        runs[_unit(row)] |= {tuple(said[i : i + SHINGLE]) for i in range(len(said) - SHINGLE + 1)}
    holders: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for unit, own in runs.items():
        for run in own:
            holders[run].append(unit)
    shared = Counter(
        pair for units in holders.values() if len(units) > 1 for pair in combinations(units, 2)
    )
    found = [
        f"{a} and {b}"
        for (a, b), count in shared.most_common()
        if count >= share * max(1, min(len(runs[a]), len(runs[b])))
    ]
    return Measured(float(len(found)), tuple(found))


def imbalance(stimuli: StimulusSet, count: Callable[[str], float]) -> Measured | None:
    """Largest standardised difference of a count between two labels (Cohen's d, absolute).

    Infinite where the counts differ between labels and not within; None for fewer than two labels.
    """
    groups: dict[str, list[float]] = defaultdict(list)
    for row in stimuli.rows:
        label = row.arm or row.valence
        if label and label != "keyword_rich":
            groups[label].append(count(row.text))
    found = {}
    for one, other in combinations(sorted(groups), 2):
        a, b = np.array(groups[one]), np.array(groups[other])
        spread = np.sqrt((a.var() + b.var()) / 2)
        gap = abs(a.mean() - b.mean())
        d = gap / spread if spread else (np.inf if gap else 0.0)
        found[f"{one} - {other}: {a.mean():.2f} - {b.mean():.2f}"] = float(d)
    return _largest(found) if found else None


def sentences(text: str) -> float:
    """Sentences of a text, by their closing marks."""
    return float(max(1, len(re.findall(r"[.!?]+(?=['\"’”)]*(?:\s|$))", text))))


def punctuation(text: str) -> float:
    """Marks a word."""
    return len(re.findall(r"[,;:.!?'\"()‘’“”–—-]", text)) / max(1, len(words(text)))


def readability(text: str) -> float:
    """Coleman-Liau grade: .0588 L - .296 S - 15.8, per 100 words (Coleman & Liau 1975)."""
    said = words(text)
    letters, n = sum(map(len, said)), max(1, len(said))
    return 0.0588 * 100 * letters / n - 0.296 * 100 * sentences(text) / n - 15.8


def gender(row: Stimulus) -> str:
    """Whether words for women or for men prevail in a text, or neither."""
    said = words(row.text)
    her, him = sum(w in FEMALE for w in said), sum(w in MALE for w in said)
    return "neither" if her == him else "female" if her > him else "male"


def association(stimuli: StimulusSet, factor: Callable[[Stimulus], str]) -> Measured | None:
    """Cramér's V of a factor and the emotion, over one text a scenario (bias-corrected).

    None where fewer than two emotions, or fewer than two values, are there.
    Correction for small tables: Bergsma 2013.
    """
    seen: dict[str, tuple[str, str]] = {}
    for row in stimuli.rows:
        # The texts of a quad have several emotions, and so nothing to be confounded with.
        if row.emotion not in ("", "neutral") and not row.quad and (value := factor(row)):
            seen.setdefault(row.pair or row.scenario or row.id, (row.emotion, value))
    emotions, values = (sorted({pair[i] for pair in seen.values()}) for i in (0, 1))
    if len(emotions) < 2 or len(values) < 2:
        return None
    table = np.zeros((len(emotions), len(values)))
    for emotion, value in seen.values():
        table[emotions.index(emotion), values.index(value)] += 1
    return Measured(_cramers_v(table), tuple(_shares(emotions, values, table)))


def _cramers_v(table: NDArray[np.float64]) -> float:
    n = table.sum()
    expected = table.sum(1, keepdims=True) * table.sum(0) / n
    phi2 = float(((table - expected) ** 2 / expected).sum() / n)
    r, k = table.shape
    corrected = max(0.0, phi2 - (k - 1) * (r - 1) / (n - 1))
    rows, columns = r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)
    most = min(rows - 1, columns - 1)
    return float(np.sqrt(corrected / most)) if most > 0 else 0.0


def _shares(emotions: list[str], values: list[str], table: NDArray[np.float64]) -> Iterator[str]:
    for emotion, counts in zip(emotions, table, strict=True):
        told = ", ".join(f"{v} {int(c)}" for v, c in zip(values, counts, strict=True))
        yield f"{emotion}: {told}"


def _changed(one: Sequence[str], other: Sequence[str]) -> float:
    blocks = SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks()
    longest = max(len(one), len(other))
    return (longest - sum(block.size for block in blocks)) / max(1, longest)


def _unit(row: Stimulus) -> str:
    return row.pair or row.quad or row.scenario or row.id


def _groups(
    stimuli: StimulusSet, key: Callable[[Stimulus], str]
) -> Iterable[tuple[str, list[Stimulus]]]:
    found: dict[str, list[Stimulus]] = defaultdict(list)
    for row in stimuli.rows:
        found[key(row)].append(row)
    return found.items()


def _pairs(stimuli: StimulusSet) -> Iterator[tuple[str, list[Stimulus]]]:
    for pair, rows in _groups(stimuli, lambda row: row.pair):
        if pair and len(rows) == 2:
            yield pair, rows


def _largest(found: dict[str, float]) -> Measured:
    ranked = sorted(found, key=lambda name: -found[name])
    said = tuple(f"{name} ({found[name]:.2f})" for name in ranked)
    return Measured(max(found.values(), default=0.0), said)
