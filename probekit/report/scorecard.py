"""The page of a scorecard run."""

from probekit.plots import MISSING, Estimate
from probekit.report import scorecard_figures
from probekit.report.causal import p_text, plain
from probekit.report.markup import Html, joined, tag
from probekit.report.parts import (
    Section,
    Table,
    drawing,
    glossary,
    group,
    line,
    manifest,
    missing,
    scrolling,
)
from probekit.report.reading import Recorded
from probekit.report.scorecard_findings import findings, limits
from probekit.report.scorecard_rows import PLAIN, Card, Setting, card_of, name_of
from probekit.report.terms import SCORECARD
from probekit.report.words import capital

COLUMNS = {
    "Accuracy": "target_accuracy",
    "Chance": "",
    "Above plain": "target_accuracy_above_plain",
    "its q": "",
    "Above random": "target_accuracy_above_random",
    "q of that": "",
    "Probability": "target_probability",
    "Wrong emotion": "wrong_emotion",
    "Neutral": "neutral_rate",
    "Incoherent": "incoherent_rate",
    "Perplexity ratio": "perplexity_ratio",
    "by another model": "perplexity_ratio_other",
    "Accuracy, no word named": "target_accuracy_without_words",
    "Names target": "names_target",
    "Distinct-1": "distinct_1",
    "Distinct-2": "distinct_2",
    "Distinct-3": "distinct_3",
    "In loops": "loops",
    "Words": "words",
    "Relevance": "relevance",
    "On the front": "pareto_share",
    "Texts": "",
    "Prompts": "",
}
SIGNED = ("target_accuracy_above_plain", "target_accuracy_above_random", "relevance")
EXAMPLES = 3
"""Prompts of which texts are shown: the first."""


def page(recorded: Recorded) -> list[Section]:
    """The sections, top to bottom."""
    card = card_of(recorded)
    return [
        Section("findings", "What was found", findings(card)),
        Section("limits", "What this run cannot say", limits(card)),
        drawing(
            "tradeoff",
            "What it achieves against what it costs",
            scorecard_figures.tradeoff(card),
            "One line a method, along its doses; up is more accurate, left is more fluent. Bars "
            "are 95 % intervals over prompts. The dashed line marks equal fluency.",
            "Missing: perplexity was not read, so there is no cost to set accuracy against.",
        ),
        drawing(
            "doses",
            "Dose by dose",
            scorecard_figures.doses(card),
            "Share of texts that are judged as their target and are coherent.",
            "Missing: no method of this run has a dose.",
        ),
        drawing(
            "misses",
            "Hits, and the three kinds of misses",
            scorecard_figures.outcomes(card),
            "Every text is one of the four: coherent and judged as its target, as another emotion, "
            "or as neutral; or incoherent.",
            "Missing: no text was scored.",
        ),
        drawing(
            "confusion",
            "What texts are judged as",
            scorecard_figures.confusion(card),
            "Each method at the largest dose that was run within equal fluency; the last row is "
            "what the plain texts are judged as. Incoherent texts are counted as judged.",
            "Missing: no method was within equal fluency.",
        ),
        drawing(
            "effects",
            "What else changes in the model",
            scorecard_figures.effects(card),
            "Read while the model is steered as in writing, the mean over emotions.",
            "Missing: side effects were not measured in this run.",
        ),
        Section("examples", "The first texts", examples(card)),
        Section("table", "Every figure beside its controls", table(card)),
        Section("manifest", "How it was made", manifest(recorded.manifest)),
        Section("terms", "How to read this page", glossary(SCORECARD)),
    ]


def examples(card: Card) -> Html:
    """What was written after the first prompts, whatever it is; each method at equal fluency."""
    prompts = list(dict.fromkeys(each["prompt"] for each in card.samples))[:EXAMPLES]
    if not prompts:
        return missing("Missing: the run’s folder has no samples.csv.")
    parts = [
        tag(
            "p",
            f"The first {len(prompts)} prompts, each method at the dose of the confusion above; "
            "not picked by what was written.",
        )
    ]
    standing = [each for method in card.methods if (each := card.standing(method))]
    for place, prompt in enumerate(prompts):
        own = [each for each in card.samples if each["prompt"] == prompt]
        texts = [_example(each) for setting in standing for each in own if _is(each, setting)]
        asked = tag("summary", own[0]["asked"] or prompt)
        parts.append(tag("details", asked, tag("dl", *texts, class_="texts"), open=place == 0))
    return joined(*parts)


def _is(sample: dict[str, str], setting: Setting) -> bool:
    dose = float(sample["dose"]) if sample["dose"] else None
    return (sample["method"], dose) == setting


def _example(sample: dict[str, str]) -> Html:
    dose = float(sample["dose"]) if sample["dose"] else None
    said = f"{Setting(sample['method'], dose)}"
    said = f"{sample['emotion']}: {said}" if sample["emotion"] else said
    told = f"judged {sample['judged'] or MISSING}"
    if sample["incoherent"]:
        told += f", incoherent ({sample['incoherent']})"
    return tag(
        "div",
        tag("dt", capital(said), tag("small", told)),
        tag("dd", sample["text"].strip() or tag("i", "(empty)")),
    )


def table(card: Card) -> Html:
    """Every method and dose: all emotions together, then each."""
    groups = []
    for emotion in ("", *card.emotions):
        lines = [
            line(capital(str(each)), _cells(card, each, emotion))
            for each in card.settings
            if card.line("target_accuracy", each, emotion)
        ]
        groups.append(group(capital(emotion) or "All emotions together", lines, len(COLUMNS)))
    caption = (
        f"Judged by {card.judge}. Brackets hold 95 % intervals over prompts; chance is the share "
        "of plain texts judged as the emotion; differences are paired by prompt, against plain and "
        "against random directions at the same dose (of a circuit, against as many random "
        f"components); {MISSING} means not measured."
    )
    return scrolling(("Method", *COLUMNS), groups, caption)


def _cells(card: Card, setting: Setting, emotion: str) -> list[str]:
    cells = []
    for name, metric in COLUMNS.items():
        if metric:
            cells.append(card.value(metric, setting, emotion).text(signed=metric in SIGNED))
        elif name == "Chance":
            cells.append(card.chance(emotion).text())
        elif name in ("its q", "q of that"):
            other = "plain" if name == "its q" else "random"
            found = card.line(f"target_accuracy_above_{other}", setting, emotion)
            cells.append(p_text(found.q if found else None))
        else:
            own = card.line("target_accuracy", setting, emotion)
            count = own and (own.n if name == "Texts" else own.clusters)
            cells.append(MISSING if count is None else str(count))
    return cells


def short_table(recorded: Recorded) -> Table:
    """Title, columns and rows for a terminal: each method and dose, then equal fluency."""
    card = card_of(recorded)
    columns = ("method", "accuracy", "above random", "chance", "wrong", "incoherent", "ratio")
    rows: list[tuple[str, ...]] = []
    for setting in card.settings:
        bare = ("wrong_emotion", "incoherent_rate", "perplexity_ratio")
        figures = [
            plain(card.value("target_accuracy", setting), signed=False),
            plain(card.value("target_accuracy_above_random", setting)),
            _bare(card.chance()),
            *[_bare(card.value(metric, setting)) for metric in bare],
        ]
        rows.append((str(setting), *figures))
    for method in card.methods:
        found = card.fluent("accuracy_at_fluency", method)
        if found and method != PLAIN:
            apart = card.fluent("accuracy_at_fluency_above_random", method)
            ratio = card.fluent("ratio_at_fluency", method)
            rows.append(
                (
                    f"{name_of(method)}: {found.condition or 'missing'}",
                    plain(found.estimate, signed=False),
                    plain(apart.estimate) if apart else "-",
                    *("-", "-", "-"),
                    _bare(ratio.estimate) if ratio else "-",
                )
            )
    return f"Target accuracy by {card.judge}, all emotions together", columns, rows


def _bare(estimate: Estimate) -> str:
    """Without its interval, which stands on the page: a terminal is narrow."""
    return "-" if estimate.value is None else f"{estimate.value:.2f}"
