"""What no text of a set may hold: markup, and a second language that no column declares."""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from html.entities import html5
from pathlib import Path
from typing import Any

from probekit.stimuli.rows import Stimulus
from probekit.stimuli.schemas import SHARES
from probekit.stimuli.structure import Misfit
from probekit.stimuli.taxonomy import outside

ATTRIBUTES = r"""(?:\s+[\w-]+\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'<>]+))*"""
LONG_TAGS = (
    "blockquote|body|br|code|div|em|font|h[1-6]|head|hr|html|img|li|ol|pre|script|span|strong|sub|"
    "sup|table|td|th|title|tr|ul"
)
MARKUP = re.compile(
    # A tag of one letter is told from a formula (i<b) by what stands before it.
    rf"<!--|</?(?:{LONG_TAGS}){ATTRIBUTES}\s*/?>|</[abipsu]>|(?<!\w)<[abipsu]{ATTRIBUTES}\s*/?>"
    r"|&(?:[a-z][a-z0-9]+|#\d+|#x[0-9a-f]+);",
    re.IGNORECASE,
)
LANGUAGE_COLUMNS = ("language", "lang")
SURE = 0.95
"""Probability from which a text's language counts as known."""
FOREIGN_SHARE = 0.02
"""Share of texts (and at least two) from which a second language is no accident."""


def check_markup(rows: Iterable[Stimulus]) -> None:
    """Check that no text holds HTML tags or entities.

    Raises:
        UserError: one does.
    """
    for row in rows:
        found = next(filter(_is_markup, MARKUP.finditer(row.text)), None)
        if found:
            raise Misfit(
                row.id,
                f"HTML is left in the text ({found.group()!r}): take tags out and write entities "
                "as the characters they stand for",
            )


def _is_markup(found: re.Match[str]) -> bool:
    """Of what looks like an entity, only those that HTML knows."""
    said = found.group()
    return not said.startswith("&") or said[1] == "#" or said[1:] in html5


def check_languages(rows: Iterable[Stimulus]) -> None:
    """Check that all texts are in one language, or a column `language` says which each is in.

    Raises:
        UserError: several texts are in another language than most.
    """
    rows = [row for row in rows if not any(column in row.extra for column in LANGUAGE_COLUMNS)]
    spoken: dict[str, list[str]] = {}
    for row in rows:
        language, probability = language_of(row.text)
        if probability >= SURE:
            spoken.setdefault(language, []).append(row.id)
    if len(spoken) < 2:
        return
    ranked = sorted(spoken, key=lambda name: -len(spoken[name]))
    main, others = ranked[0], ranked[1:]
    for other in others:
        if len(spoken[other]) >= max(2, FOREIGN_SHARE * len(rows)):
            raise Misfit(
                spoken[other][0],
                f"mixed languages: {len(spoken[main])} texts look like {main!r}, "
                f"{len(spoken[other])} like {other!r} (this one first): add a column 'language', "
                "or leave one language out",
            )


def language_of(text: str) -> tuple[str, float]:
    """The likeliest language of a text (ISO 639-1), and its probability."""
    language, probability = _identifier().classify(text)
    return str(language), float(probability)


@cache
def _identifier() -> Any:
    """py3langid's identifier with its own model, giving normalised probabilities."""
    import py3langid
    from py3langid.langid import LanguageIdentifier

    model = Path(py3langid.__file__).parent / "data" / "model.npz.xz"
    return LanguageIdentifier.from_modelpath(model, norm_probs=True)


def check_labels(rows: Iterable[Stimulus], labels: Iterable[str], where: str) -> None:
    """Check that every emotion, and every class of a soft label, is one of those declared.

    Raises:
        UserError: one is not; names the nearest.
    """
    accepted = {*labels, "neutral"}
    for row in rows:
        shares = row.extra.get(SHARES)
        named = [row.emotion] if row.emotion else []
        named += list(shares) if isinstance(shares, Mapping) else []
        for label in named:
            if label not in accepted:
                raise Misfit(row.id, str(outside(label, accepted, where)))
