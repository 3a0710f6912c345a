"""The page of a run of directions."""

import unicodedata

from probekit.plots import MISSING, number
from probekit.report import directions_figures as drawn
from probekit.report.causal import ALPHA, about_clusters, about_controls
from probekit.report.directions_findings import findings
from probekit.report.directions_tables import cosines, short, told
from probekit.report.learned import (
    AS_MANY,
    AUROC,
    CHANCE,
    HALVES,
    LEFT_OUT,
    PAIRS,
    RANDOM,
    RANKS,
    WEIGHTS,
    WHETHER,
    WHICH,
    WORDS,
    Figure,
    Learned,
    Study,
    study_of,
)
from probekit.report.markup import Html, joined, tag
from probekit.report.parts import (
    Section,
    drawing,
    glossary,
    manifest,
    missing,
    noted,
    notes,
)
from probekit.report.reading import Recorded
from probekit.report.terms import DIRECTIONS
from probekit.report.words import capital, listed


def page(recorded: Recorded) -> list[Section]:
    """The sections, top to bottom."""
    study = study_of(recorded)
    return [
        Section("findings", "What was found", findings(study)),
        Section("limits", "What this run cannot say", cautions(study)),
        drawing(
            "layers",
            "Layer by layer",
            drawn.told(study),
            "What the projection on a direction alone tells of texts that it was not learned "
            "from. The orange line is what words alone tell of the same texts. Bands are 95 % "
            "intervals; of chance and of random directions they hold 95 % of the draws.",
            "Missing: no figures over layers.",
        ),
        drawing(
            "emotions",
            "Emotion by emotion",
            drawn.heat(study),
            "The same for the direction of each emotion. Peaks are chosen after the fact: the "
            "table has the layer that was fixed beforehand.",
            "Missing: no figures of single emotions over layers.",
        ),
        drawing(
            "stability",
            "How far they depend on their scenarios",
            drawn.stability(study),
            "Directions of some scenarios beside directions of others. Bands hold 95 % of the "
            "halvings (of the random parts), or the range over domains: they are no intervals of "
            "a mean.",
            "Missing: stability was not measured.",
        ),
        drawing(
            "pairs",
            "Single pairs",
            drawn.pairs(study),
            "The difference of a single text from its control, held against the direction of its "
            "emotion. Where single differences point every which way, their mean steers "
            "unreliably.",
            "Missing: single pairs were not measured.",
        ),
        Section("table", "Every figure beside its controls", joined(told(study), cosines(study))),
        Section("tokens", "What each direction writes", tokens(study)),
        Section("manifest", "How it was made", manifest(recorded.manifest)),
        Section("terms", "How to read this page", glossary(DIRECTIONS)),
    ]


def cautions(study: Study) -> Html:
    """Missing controls, numbers of scenarios, how the layer was chosen, and what a screen is."""
    first = study.learned[0] if study.learned else None
    own = [] if first is None else [_scenarios(first), _layer(first), _permutations(first)]
    held = [
        line for key, layers in study.shown.items() for line in layers.values() if key.emotion == ""
    ]
    tested = [line for line in held if line.task in (WHICH, WHETHER)]
    said = [
        about_controls(absent(study)),
        *own,
        about_clusters(tested),
        f"q is over the emotions at the chosen layer, at {number(ALPHA)}, and over the layers of a "
        "curve; p of single pairs is not corrected. Other sites, poolings, estimators and arms are "
        "further looks.",
        "Single pairs are a screen: whether a direction steers was not tried.",
        "Tokens are those of the direct path alone, from the direction through the final norm to "
        "the vocabulary; what later layers make of a direction is not in them.",
    ]
    return noted([*said, *notes(study.manifest)])


def _scenarios(each: Learned) -> str:
    def count(figure: Figure) -> str:
        lines = [each.line(figure, name) for name in each.emotions]
        found = sorted({line.clusters for line in lines if line and line.clusters})
        ends = list(map(str, dict.fromkeys((*found[:1], *found[-1:]))))
        return " to ".join(ends) or MISSING

    cross = "" if each.by_dev else ", each by directions that were learned without it"
    return (
        f"The direction of an emotion is learned from {count(HALVES)} scenarios and tried on "
        f"{count(PAIRS)}{cross} ({each})."
    )


def _layer(each: Learned) -> str:
    if each.layer is None:
        return "The chosen layer is not given."
    if not each.by_dev:
        return (
            f"Without a dev split no layer was chosen by figures: layer {each.layer} lies at two "
            "thirds of the depth, and figures are cross-validated."
        )
    return (
        f"Layer {each.layer} was chosen on dev, by mean AUROC there; what is shown is of the test "
        "split. Whoever chooses anything by it has used the test split up."
    )


def _permutations(each: Learned) -> str:
    line = each.line(CHANCE)
    if line is None or not line.k:
        return "No labels were permuted, so there is no p against chance."
    smallest = 1 / (line.k + 1)
    said = f"{line.k} permutations: the smallest possible p is {number(smallest, digits=3)}."
    count = len(each.emotions)
    if count * smallest < ALPHA:
        return said
    return f"{said} Of {count} emotions, a single one at that p does not survive q < .05."


def absent(study: Study) -> list[str]:
    """Controls that figures lack."""
    asked = {
        "words alone": (AUROC, WORDS),
        "chance’s labels": (AUROC, CHANCE),
        "random directions": (AUROC, RANDOM),
        "other emotions’ directions beside halves": (HALVES, HALVES.others()),
        "as many scenarios at random beside a left-out domain": (LEFT_OUT, AS_MANY),
        "other emotions’ directions beside single pairs": (PAIRS, PAIRS.others()),
        "random directions beside single pairs": (PAIRS, PAIRS.random()),
        "random directions beside the probe’s weights": (WEIGHTS, WEIGHTS.random()),
        "random directions beside the probe’s ranks": (RANKS, RANKS.random()),
    }
    lacking = {
        name: [e for e in study.learned if _any(e, own) and not _any(e, control)]
        for name, (own, control) in asked.items()
    }
    whole = len(study.learned)
    return [
        name if len(of) == whole else f"{name} ({listed([f'{e}, {e.place}' for e in of])})"
        for name, of in lacking.items()
        if of
    ]


def _any(each: Learned, figure: Figure) -> bool:
    return any(each.line(figure, name) for name in ("", *each.emotions))


def tokens(study: Study) -> Html:
    """The tokens that each direction writes, as they come, beside those of a random direction."""
    blocks = [_tokens(each) for each in study.learned]
    if not any(each.entry.get("top_tokens") for each in study.learned):
        return missing("Missing: no direction of this run has tokens; only a stream writes them.")
    intro = (
        "The tokens whose logits each direction raises most, as they come, most first, beside "
        "those of a random direction. A space is shown as ␣, a line break as ⏎, characters that "
        "cannot be seen by their number. Nothing is read into them."
    )
    head, *rest = blocks
    more = tag("details", tag("summary", "The other directions"), *rest) if rest else Html()
    return joined(tag("p", intro), head, more)


def _tokens(each: Learned) -> Html:
    heading = tag("h3", f"{capital(str(each))}, {each.place}, layer {each.layer}")
    given = each.entry.get("top_tokens")
    if not isinstance(given, dict) or not given:
        return joined(heading, missing("Missing: these directions have no tokens."))
    rows = {str(name): written for name, written in given.items()}
    random = each.entry.get("random_tokens")
    pairs = [(name, _written(own)) for name, own in rows.items()]
    pairs.append(("a random direction", _written(random) if random else missing("not given")))
    return joined(
        heading,
        tag("dl", *[tag("div", tag("dt", n), tag("dd", w)) for n, w in pairs], class_="tokens"),
    )


def _written(given: list[str]) -> Html:
    # Tokens of a script from right to left must not turn their neighbours round.
    return joined(*[tag("bdi", tag("code", visible(str(token)))) for token in given])


def visible(token: str) -> str:
    """A token with its spaces and all that cannot be seen shown."""
    named = {" ": "␣", "\n": "⏎", "\t": "⇥", "\r": "␍"}

    def one(character: str) -> str:
        if character in named:
            return named[character]
        # Controls, unassigned ones, other spaces, and marks that need a letter before them.
        hidden = unicodedata.category(character)[0] in "CZM"
        return f"⟨{ord(character):04X}⟩" if hidden else character

    return "".join(map(one, token)) or "⟨empty⟩"


def short_table(recorded: Recorded) -> tuple[str, tuple[str, ...], list[tuple[str, ...]]]:
    """Title, columns and rows for a terminal."""
    return short(study_of(recorded))
