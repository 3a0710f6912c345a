"""What was found of expression, in sentences."""

from collections.abc import Iterator

from probekit.report.causal import ALPHA, figure_of, p_text
from probekit.report.express_figures import BEYOND
from probekit.report.express_rows import (
    CHANGES,
    CONTROL,
    JUDGED,
    KINDS,
    NONE,
    READ,
    SHIFTS,
    TELLERS,
    UNRELATED,
    Expressed,
    estimate,
)
from probekit.report.markup import Html, tag
from probekit.report.parts import found, shown
from probekit.report.reading import Line
from probekit.report.words import capital

AGREES = ("reply", JUDGED, "agreement")
FEELS = ("reply", JUDGED, "emotionality")


def findings(run: Expressed) -> Html:
    """What was found, in sentences."""
    items = [*_asked(run), *_told(run), *_predicted(run), *_changed(run), *_mediated(run)]
    if not items:
        return tag("p", "Missing: no part was run.", class_="absent")
    agreed, chance = run.agreement(), run.chance("expressed")
    lead = (
        f"Replies are judged to be of the post’s own label in {figure_of(agreed).text()} of posts; "
        f"chance {figure_of(chance).text()}."
        if agreed
        else "What the model tells of a post, and what it makes of it."
    )
    return found(lead, items)


def _item(name: str, *parts: Html | str, verdict: str = "") -> Html:
    said = tag("p", tag("strong", name), *parts)
    return tag("li", said, *([tag("p", verdict, class_="verdict")] if verdict else []))


def _asked(run: Expressed) -> Iterator[Html]:
    if "asking" not in run.parts:
        return
    parts: list[Html | str] = [": accuracy "]
    for method, name in TELLERS.items():
        parts += [f"{name} ", shown(estimate(run.told("accuracy", method))), "; "]
    coverage = estimate(run.told("coverage", "generation"))
    parts += ["chance ", shown(figure_of(run.chance("asking"))), ". Of its own words ",
              shown(coverage), " name one label."]  # fmt: skip
    sides = {m: estimate(run.above(m)).side for m in TELLERS if m != "logistic"}
    better = [TELLERS[m] for m, side in sides.items() if side == 1]
    worse = [TELLERS[m] for m, side in sides.items() if side == -1]
    verdict = f"The probe is better than: {', '.join(better) or 'none'}"
    verdict += f"; worse than: {', '.join(worse)}." if worse else "."
    yield _item("Asked for the label", *parts, verdict=verdict)


def _told(run: Expressed) -> Iterator[Html]:
    if "malleable" not in run.parts:
        return
    for kind in KINDS:
        parts: list[Html | str] = [": less unrelated ones, "]
        for key, name in SHIFTS.items():
            parts += [f"{name} ", shown(estimate(run.under(kind, key, shift=True)), signed=True)]
            parts += ["; "]
        own, unrelated, none = (
            estimate(run.under(each, AGREES)).text() for each in (kind, UNRELATED, NONE)
        )
        parts.append(f"agreement {own}, {unrelated} under unrelated ones, {none} without.")
        sides = [_side(run.under(kind, key, shift=True)) for key in (FEELS, AGREES)]
        verdict = f"Emotionality of the reply {sides[0]}; agreement with the post {sides[1]}."
        yield _item(f"Told to be {kind}", *parts, verdict=verdict)
    parts = [": emotional less calm, "]
    for key, name in SHIFTS.items():
        parts += [f"{name} ", shown(estimate(run.apart(key)), signed=True), "; "]
    sides = [_side(run.apart(key)) for key in (FEELS, AGREES)]
    verdict = f"From calm to emotional, emotionality of the reply {sides[0]}; agreement with "
    verdict += f"the post {sides[1]}."
    yield _item("Emotional against calm", *parts[:-1], ".", verdict=verdict)


def _side(shift: Line | None) -> str:
    """What becomes of a figure: an interval over few scenarios is too narrow without its q."""
    side = estimate(shift).side
    if side and (shift is None or shift.q is None or shift.q > ALPHA):
        side = 0
    return {1: "rises", -1: "falls", 0: "is not shown to change", None: "is missing"}[side]


def _predicted(run: Expressed) -> Iterator[Html]:
    if "expressed" not in run.parts:
        return
    for within in (False, True):
        given, null = run.correlation("given", within), run.correlation("given", within, "null")
        parts = (
            ": judged labels of replies correlate with the read-out at the prompt by ",
            shown(figure_of(run.correlation("read", within))),
            ", with words alone by ",
            shown(figure_of(run.correlation("words", within))),
            "; with the read-out, words held constant, by ",
            shown(figure_of(given)),
            "; chance ",
            shown(figure_of(null)),
            f" (q {p_text(given.q if given else None)}).",
        )
        name = "Predicted, among posts of one label" if within else "Predicted, over all posts"
        yield _item(name, *parts)


def _changed(run: Expressed) -> Iterator[Html]:
    for name, called in CHANGES.items() if "expressed" in run.parts else ():
        own = run.change(name, "target_probability_change")
        beyond = run.change(name, BEYOND)
        parts = (
            ": the judged probability of the label changes by ",
            shown(figure_of(own), signed=True),
            ", control ",
            shown(figure_of(run.change(name + CONTROL, "target_probability_change")), signed=True),
            "; beyond the control ",
            shown(figure_of(beyond), signed=True),
            f" (q {p_text(beyond.q if beyond else None)}). The read-out itself changes by ",
            shown(figure_of(run.change(name, "target_probability_change", READ)), signed=True),
            ".",
        )
        verdict = {
            1: "The reply moves towards the label.",
            -1: "The reply moves away from the label.",
            0: "That the reply follows is not shown.",
            None: "Missing.",
        }[figure_of(beyond).side]
        yield _item(capital(called), *parts, verdict=verdict)


def _mediated(run: Expressed) -> Iterator[Html]:
    total = run.effect("total_effect")
    if total is None:
        return
    parts: list[Html | str] = [
        ": an emotional post instead of the neutral one of its scenario changes the judged "
        "probability of its label in the reply by ",
        shown(total.estimate, signed=True),
        ".",
    ]
    for name, called in (("given", "Given to the neutral post"), ("taken", "Taken away")):
        effect, share = run.effect("indirect_effect", name), run.effect("share_mediated", name)
        parts += [f" {called}, what is read accounts for ",
                  shown(figure_of(effect), signed=True), ", a share of ",
                  shown(figure_of(share)), "."]  # fmt: skip
    beyond = [
        figure_of(run.change("given", BEYOND)).side == 1,
        figure_of(run.change("taken", BEYOND)).side == -1,
    ]
    if total.estimate.side != 1:
        verdict = "Without a total effect a share of it means nothing."
    elif not any(beyond):
        verdict = "Neither goes beyond its control: that what is read mediates is not shown."
    else:
        verdict = "Beyond its control: " + ", ".join(
            name for name, shown_ in zip(("given", "taken"), beyond, strict=True) if shown_
        )
        verdict += "."
    yield _item("Mediation", *parts, verdict=verdict)
