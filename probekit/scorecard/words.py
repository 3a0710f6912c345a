"""Whether a text simply names an emotion."""

from probekit.stimuli import emotion_words, lexicon


def named(text: str) -> frozenset[str]:
    """Emotions of the lexicon that a text has a word of; "general" for words of no one emotion."""
    return frozenset(lexicon()[form] for form in emotion_words(text))


def names_target(text: str, target: str) -> bool:
    """Whether a text has a word of the emotion that it was made for."""
    return target in named(text)


def names_any(text: str) -> bool:
    """Whether a text has a word of any emotion, or of emotion in general."""
    return bool(named(text))
