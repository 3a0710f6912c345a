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

GLOSSARY = (
    (
        "Reception",
        "telling emotional text from neutral text. It says that something is felt, not what.",
    ),
    ("Categorisation", "telling which emotion a text carries, among all that the set has."),
    ("Valence", "telling whether what happens is good or bad for the person."),
    (
        "Keyword-free and keyword-rich",
        "two arms of the same scenarios. Only the second names the emotion, so the first is the "
        "one in the headline wherever it was run.",
    ),
    ("Keyword effect", "AUROC on the keyword-rich arm minus AUROC on the keyword-free arm."),
    (
        "Text baseline",
        "a classifier on the words instead of the layers: bag of words, 1–2-grams, character "
        "n-grams, stop words, surface counts, a valence lexicon, static embeddings, surprisal. "
        "“Words alone” is the one of them that did best in inner folds.",
    ),
    (
        "Above text",
        "the probe’s AUROC minus that of words alone, on the same folds, with one bootstrap over "
        "scenarios shared by both. An interval that includes 0 shows nothing beyond the words.",
    ),
    (
        "Null",
        "what the probe reaches once the labels are permuted within the design. It is chance as "
        "measured here, and need not be .50.",
    ),
    (
        "AUROC",
        "the chance that a text of the class is scored above one outside it; with several classes, "
        "the mean over classes.",
    ),
    (
        "False alarm",
        "a neutral text that is called emotional. Vivid texts with nothing at stake are read by "
        "every reception probe, which never learns from them.",
    ),
    (
        "Rank correlation, cross-entropy",
        "what stands in the place of AUROC for ratings (Spearman’s, within folds) and for soft "
        "labels (in nats; smaller is better, and above text is what the probe saves).",
    ),
    (
        "Forced choice",
        "the share of pairs of which the probe picks the right text. "
        "Brier is the mean squared error of its probabilities, smaller being better.",
    ),
    (
        "Intervals",
        "95 %, by bootstrap over whole scenarios (clusters), never over single texts. "
        "p is from permutations; q is p after Benjamini–Hochberg.",
    ),
    (
        "Headline figure",
        "layer and regularisation are chosen in inner folds and scored on texts kept out. The peak "
        "of a curve over layers is chosen after the fact, and so is not a result.",
    ),
)


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
