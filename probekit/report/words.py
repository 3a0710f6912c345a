"""How names in the results are said to a reader."""

from probekit.report.results import MEASURES, Block, Question

SAID = {
    "keyword_free": "keyword-free",
    "keyword_rich": "keyword-rich",
    "crossed": "crossed quads",
    "bag_of_words": "bag of words",
    "ngrams": "1–2-grams",
    "char_ngrams": "character n-grams",
    "complex_neutral": "vivid neutral texts",
    "stop_words": "stop words alone",
    "surface": "surface counts",
    "lexicon": "valence lexicon",
    "static_embedding": "static embedding",
    "surprisal": "surprisal",
    "reference": "words alone (reference)",
}


def say(name: str) -> str:
    """A name in the results as words."""
    return SAID.get(name, name.replace("_", " "))


def say_arms(question: Question) -> str:
    """`keyword-free`, or `keyword-rich → keyword-free`; empty for a set without arms."""
    if question.within:
        return say(question.source)
    return f"{say(question.source)} → {say(question.target)}"


def say_topic(set_name: str, task: str) -> str:
    """`reception on vignettes`."""
    return f"{say(task)} on {say(set_name)}"


def say_question(question: Question) -> str:
    """`reception on keyword-free vignettes`; `reception, keyword-rich → keyword-free vignettes`."""
    joint = " on" if question.within else ","
    words = (say(question.task) + joint, say_arms(question), say(question.set))
    measure = "" if question.measure == "auroc" else f", {MEASURES[question.measure]}"
    return " ".join(word for word in words if word) + measure


def capital(text: str) -> str:
    """The text with a capital first letter; the rest is kept, unlike `str.capitalize`."""
    return text[:1].upper() + text[1:]


def say_block(block: Block) -> str:
    """`resid_post, last`: sites and poolings keep the field's own names."""
    return ", ".join(part for part in block if part)


def listed(items: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`; nothing for no items."""
    return " and ".join(part for part in (", ".join(items[:-1]), *items[-1:]) if part)
