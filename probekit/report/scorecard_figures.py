"""The figures of the page of a scorecard, with their text summaries."""

from collections.abc import Callable, Sequence

from probekit.plots import Estimate, Heatmap, Trail, Trails
from probekit.report.reading import NOTHING, Line
from probekit.report.scorecard_rows import (
    OUTCOMES,
    PLAIN,
    Card,
    Setting,
    dose_text,
    name_of,
)
from probekit.report.views import Figure, View, figure
from probekit.report.words import capital

RATIO = "perplexity over that of the plain replies (median)"
ACCURACY = "target accuracy"
CHANCE = "chance (plain texts judged as the target)"


def tradeoff(card: Card) -> list[Figure | None]:
    """Accuracy against fluency, one line a method."""
    sides = {"perplexity_ratio": "the model itself", "perplexity_ratio_other": "another model"}
    views = [
        _tradeoff(card, emotion, metric, side)
        for metric, side in sides.items()
        for emotion in ("", *card.emotions)
    ]
    return [figure("tradeoff-of", "Target accuracy against perplexity ratio", views)]


def _tradeoff(card: Card, emotion: str, metric: str, side: str) -> View | None:
    trails = []
    for method in card.methods:
        if method == PLAIN:
            continue
        own = card.of(method)
        x = [card.value(metric, each, emotion) for each in own]
        y = [card.value(ACCURACY.replace(" ", "_"), each, emotion) for each in own]
        if any(e.value is not None for e in x):
            trails.append(Trail(name_of(method), [_dose(each) for each in own], x, y))
    if not trails:
        return None
    chance = card.chance(emotion)
    level = chance if chance.value is not None else None
    data = Trails(
        trails, RATIO, ACCURACY, log=True, level=level, level_name=CHANCE, bound=card.bound
    )
    words = [_ends(each) for each in trails]
    words.append(f"Chance {chance.text()}.")
    return View(f"Perplexity by {side}", _emotion(emotion), data, " ".join(words))


def _ends(trail: Trail) -> str:
    known = [
        f"{y.text()} at ratio {x.text()} ({label})"
        for label, x, y in zip(trail.labels, trail.x, trail.y, strict=True)
        if x.value is not None and y.value is not None
    ]
    if not known:
        return f"{capital(trail.name)}: no figure."
    between = f"from {known[0]} to {known[-1]}" if len(known) > 1 else known[0]
    return f"{capital(trail.name)}: {between}."


def doses(card: Card) -> list[Figure | None]:
    """Accuracy over doses, by emotion, one line a method."""
    views = [_doses(card, emotion) for emotion in ("", *card.emotions)]
    return [figure("doses-of", "Target accuracy over doses", views)]


def _doses(card: Card, emotion: str) -> View | None:
    trails = _over_doses(card, lambda each: card.value("target_accuracy", each, emotion))
    if not trails:
        return None
    chance = card.chance(emotion)
    level = chance if chance.value is not None else None
    data = Trails(trails, "dose", ACCURACY, level=level, level_name=CHANCE)
    words = [_over(each) for each in trails]
    return View("", _emotion(emotion), data, " ".join([*words, f"Chance {chance.text()}."]))


def _over_doses(card: Card, value: Callable[[Setting], Estimate]) -> list[Trail]:
    trails = []
    for method in card.methods:
        own = [each for each in card.of(method) if each.dose is not None]
        y = [value(each) for each in own]
        if any(e.value is not None for e in y):
            x = [Estimate(each.dose) for each in own]
            trails.append(Trail(name_of(method), [_dose(each) for each in own], x, y))
    return trails


def _over(trail: Trail) -> str:
    known = [
        (label, y) for label, y in zip(trail.labels, trail.y, strict=True) if y.value is not None
    ]
    ends = [f"{y.text()} at {label}" for label, y in known]
    between = f"from {ends[0]} to {ends[-1]}" if len(ends) > 1 else ends[0]
    return f"{capital(trail.name)}: {between}."


def outcomes(card: Card) -> list[Figure | None]:
    """What became of the texts: target, wrong emotion, neutral, incoherent."""
    views = [_outcomes(card, emotion) for emotion in ("", *card.emotions)]
    return [figure("outcomes-of", "What became of the texts", views)]


def _outcomes(card: Card, emotion: str) -> View | None:
    rows = [s for s in card.settings if card.line("target_accuracy", s, emotion)]
    if not rows:
        return None
    cells = [[card.value(metric, each, emotion) for metric in OUTCOMES] for each in rows]
    data = Heatmap(
        [str(each) for each in rows],
        list(OUTCOMES.values()),
        cells,
        "share of texts",
        "method",
        "outcome",
        share=True,
    )
    # Every figure is in the table; in words, each method where it is compared.
    standing = [card.standing(method) for method in card.methods]
    said = "; ".join(
        f"{each}: target {row[0].text()}, incoherent {row[-1].text()}"
        for each, row in zip(rows, cells, strict=True)
        if each in standing
    )
    return View("", _emotion(emotion), data, f"{capital(said or 'No method is at equal fluency')}.")


def confusion(card: Card) -> list[Figure | None]:
    """What texts of each emotion are judged as, each method at equal fluency, and plain texts."""
    views = [_confusion(card, method) for method in card.methods if method != PLAIN]
    return [figure("confusion-of", "What texts are judged as", views)]


def _confusion(card: Card, method: str) -> View | None:
    setting = card.standing(method)
    if setting is None or not card.labels:
        return None
    plain = [card.value(f"judged:{label}", Setting(PLAIN, None)) for label in card.labels]
    cells = [
        *[
            [card.value(f"judged:{label}", setting, e) for label in card.labels]
            for e in card.emotions
        ],
        plain,
    ]
    right = [
        card.value(f"judged:{emotion}", setting, emotion) if emotion in card.labels else NOTHING
        for emotion in card.emotions
    ]
    data = Heatmap(
        [*card.emotions, "plain texts"],
        list(card.labels),
        cells,
        "share of texts",
        "made for",
        "judged as",
        share=True,
    )
    told = ", ".join(f"{e} {c.text()}" for e, c in zip(card.emotions, right, strict=True))
    return View(
        "", str(setting), data, f"Judged as what they were made for, coherent or not: {told}."
    )


def effects(card: Card) -> list[Figure | None]:
    """KL, quiz and refusals over doses."""
    quiz = [x for x in card.lines if x.metric == "quiz" and x.condition == "before"]
    refused = [x for x in card.lines if x.metric == "refusals" and x.condition == "before"]
    views = [
        _effect(card, "kl", "", "nats (KL) per token", "Next tokens of neutral texts", None),
        _effect(card, "quiz", "after", "share right", "Quiz (chance .25)", _first(quiz)),
        _effect(card, "refusals", "after", "share refused", "Refusals", _first(refused)),
    ]
    return [figure("effects-of", "Side effects over doses", views)]


def _first(lines: Sequence[Line]) -> Estimate | None:
    return lines[0].estimate if lines and lines[0].estimate.value is not None else None


def _effect(
    card: Card, metric: str, condition: str, unit: str, name: str, before: Estimate | None
) -> View | None:
    trails = _over_doses(card, lambda each: card.value(metric, each, "", condition))
    if not trails:
        return None
    data = Trails(trails, "dose", unit, level=before, level_name="unsteered")
    words = [_over(each) for each in trails]
    if before is not None:
        words.append(f"Unsteered {before.text()}.")
    return View("", name, data, " ".join(words))


def _dose(setting: Setting) -> str:
    return "no dose" if setting.dose is None else f"dose {dose_text(setting.dose)}"


def _emotion(emotion: str) -> str:
    return capital(emotion) or "All emotions together"
