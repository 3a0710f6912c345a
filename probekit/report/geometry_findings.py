"""What a geometry run found, in sentences: each figure beside chance and the words' own."""

from math import floor
from typing import NamedTuple

from probekit.plots import number
from probekit.report.causal import ALPHA, p_text
from probekit.report.geometry_rows import (
    ALONE,
    BEYOND,
    GIVEN,
    UNSEEN,
    WITHIN,
    Asked,
    Reading,
    Space,
)
from probekit.report.geometry_words import (
    FACTORS,
    Said,
    at,
    beside,
    ceiling_text,
    counted,
    figure,
    layers_text,
    q_text,
    say_judge,
    say_texts,
    say_theory,
    with_q,
    words_text,
)
from probekit.report.markup import Html, tag
from probekit.report.parts import found, shown
from probekit.report.words import capital, listed, say, say_block

AXES = ("valence", "arousal")
UNTESTED = "Whether that goes beyond the words was not tested."


class Answer(NamedTuple):
    """One finding: figures at the fixed layer, what all layers show, and that in a few words."""

    title: str
    arm: str
    said: list[Said]
    verdict: str
    brief: str = ""


def findings(space: Space) -> Html:
    """What is shown and what is not, at the primary site and pooling.

    The first arm in full; of the others what all layers show, since the table has their figures.
    """
    first, rest = space.arms[:1], space.arms[1:]
    full = [*together(space), *(answer for arm in first for answer in of_arm(space, arm))]
    return found(lead(space), [*map(_item, full), *(_in_short(space, arm) for arm in rest)])


def _item(answer: Answer) -> Html:
    name = f"{answer.title}, {say_texts(answer.arm)}" if answer.arm else answer.title
    start, *rest = answer.said
    lines = [tag("p", tag("strong", name), ": ", *start, ".")]
    lines += [tag("p", *said, ".") for said in rest]
    return tag("li", *lines, tag("p", answer.verdict, class_="verdict"))


def _in_short(space: Space, arm: str) -> Html:
    start = tag("p", tag("strong", capital(say_texts(arm))), ": the table has their figures.")
    answers = of_arm(space, arm)
    said = [tag("p", f"{each.title}. {each.verdict}", class_="verdict") for each in answers]
    return tag("li", start, *said)


def lead(space: Space) -> str:
    """The sentences on top: texts of one emotion; theories and axes on the headline arm."""
    axes = [each for arm in space.arms[:1] for unit in AXES for each in axis(space, arm, unit)]
    theory = [each for arm in space.arms[:1] for each in theories(space, arm)]
    said = [each.brief for each in [*together(space), *theory, *axes] if each.brief]
    if not all(each.brief for each in axes):
        other = "other " if any(each.brief for each in axes) else ""
        said.append(
            f"no {other}axis of valence or arousal of {say_texts(space.arms[0])} is shown to "
            "follow ratings, within an emotion or on unseen ones"
        )
    if not said:
        return "Nothing can be said: this run has no figures of texts, theories or axes."
    where = f"At {say_block(space.primary)}: " if all(space.primary) else ""
    return f"{capital(where + '; '.join(said))}. {fixed(space)}"


def fixed(space: Space) -> str:
    """Which layer the figures are said of, and why."""
    layer = space.layer(space.primary)
    if layer is None:
        return ""
    return f"Figures are those of layer {layer}: two thirds of the depth, fixed beforehand."


def of_arm(space: Space, arm: str) -> list[Answer]:
    """The answers that each arm has of its own."""
    axes = [answer for unit in AXES for answer in axis(space, arm, unit)]
    return [*clusters(space, arm), *theories(space, arm), *axes, *dimensions(space, arm)]


def together(space: Space) -> list[Answer]:
    """Whether texts of one emotion lie closer together than their words tell."""
    own = Reading(space, Asked("rsa_items", ALONE, "emotion"), space.primary)
    if not own.lines:
        return []
    factors = [
        FACTORS[name]
        for name in ("arm", "domain", "length")
        if space.asked("rsa_items", ALONE, source=name)
    ]
    beyond, above = own.by(BEYOND), own.above
    said: Said = [f"{at(own)}, the distance of two texts and their being of two emotions "]
    said += ["correlate at ", *beside(own), "; above the words’ own ", *with_q(above)]
    rest: Said = [f"Given {listed(factors)} ", *with_q(own.by(GIVEN)), "; "] if factors else []
    rest += ["given the words’ distances too " if rest else "Given the words’ distances "]
    rest += with_q(beyond)
    first = min(beyond.lines, default=None)
    if first is not None and beyond.here and first != beyond.here.layer:
        rest += [f", at layer {first} ", shown(beyond.lines[first].estimate, signed=True)]
    left, more = beyond.upheld(), above.upheld()
    both = sorted({*left} & {*more})
    level = f"(q < {number(ALPHA)})"
    verdict = (
        f"Given the words’ distances, above 0 {counted(left, beyond)}; above the words’ own figure "
        f"{counted(more, above)}; both {counted(both, beyond)} {level}. "
    )
    words = listed([say(name) for name in space.word_names]) or "words"
    if both:
        brief = f"texts of one emotion lie closer together than {words} account for, "
        brief += f"{counted(both, beyond)}"
    else:
        half = ": one of the two figures alone shows it" if left or more else ""
        brief = f"texts of one emotion are not shown to lie closer together than {words} account "
        brief += f"for{half}"
    verdict += f"{capital(brief)}."
    return [Answer("Texts of one emotion", "", [said, rest], verdict, brief)]


def clusters(space: Space, arm: str) -> list[Answer]:
    """Whether emotions form clusters, beside what else the texts differ in."""
    own = Reading(space, Asked("silhouette", "silhouette", "emotion", arm), space.primary)
    if not own.lines:
        return []
    said: Said = [f"{at(own)}, the silhouette by emotion is ", *beside(own)]
    said += ["; above the words’ own ", *with_q(own.above)]
    rest: Said = []
    for factor, target in (("domain", arm), ("arm", "")):
        other = Reading(space, own.asked._replace(source=factor, target=target), space.primary)
        if other.here:
            name = "by arm, over the texts of all arms" if factor == "arm" else f"by {factor}"
            rest += [f"; {name} " if rest else f"{capital(name)} ", *figure(other)]
    verdict = (
        f"Above relabeled emotions {counted(own.beside_chance(1), own, level=True)}, above the "
        f"words’ own {counted(own.above.upheld(), own.above, level=True)}. "
    )
    # Draws of scenarios lower a silhouette, so only an interval above 0 says something of its side.
    apart = [layer for layer, line in own.lines.items() if line.estimate.side == 1]
    nearer = "a text is nearer to its own emotion than to the nearest other one"
    if apart:
        verdict += f"Above 0 (the interval) at {len(apart)} of {layers_text(len(own.lines))}: "
        verdict += f"there, {nearer}."
    else:
        verdict += f"No interval lies above 0: that {nearer} is not shown."
    return [Answer("Clusters", arm, [said, *([rest] if rest else [])], verdict)]


def theories(space: Space, arm: str) -> list[Answer]:
    """Whether a theory orders the emotions, alone and given the words; each is one more look."""
    asked = [each for each in space.asked("rsa", ALONE, target=arm) if each.source]
    if not asked:
        return []
    own = {each.source: Reading(space, each, space.primary) for each in asked}
    first, bound = own[asked[0].source], ALPHA / len(asked)
    said: list[Said] = [
        [
            f"{at(first)}, rank correlation of their distances with those of the emotions; noise "
            f"ceiling {ceiling_text(first)}"
        ]
    ]
    for name, reading in own.items():
        beyond = reading.by(BEYOND)
        level = f"; given the words {q_text(beyond)}" if beyond.tested else ""
        told = f" ({q_text(reading)}; {words_text(reading)}{level})"
        said.append([f"{capital(say_theory(name))}: ", *figure(reading), told])
    alone = {name: each.upheld(bound) for name, each in own.items() if each.upheld(bound)}
    beyond = {n: r.by(BEYOND).upheld(bound) for n, r in own.items() if r.by(BEYOND).upheld(bound)}
    level = f"q < {number(bound, digits=3)}, that is .05 over {len(asked)} theories"
    held = beyond or alone
    if held:
        named = [f"{say_theory(name)} (at {layers_text(len(v))})" for name, v in held.items()]
        more = ", given the words" if beyond else ", which is not shown beyond the words"
        brief = f"the emotions of {say_texts(arm)} lie as {listed(named)} orders them{more}"
        verdict = f"{capital(brief)}; {level}."
    else:
        brief = f"none of {len(asked)} theories is shown to order the emotions of {say_texts(arm)}"
        verdict = f"{capital(brief)}, at any layer ({level})."
    return [Answer("Theories", arm, said, f"{verdict}{_power(space, own, bound)}", brief)]


def _power(space: Space, own: dict[str, Reading], bound: float) -> str:
    """What few different relabelings keep from being shown, at all or at a single layer."""
    never, only = [], []
    for name, reading in own.items():
        smallest, layers = space.smallest_p(name), len(reading.tested)
        if smallest is None or not layers:
            continue
        needed = floor(smallest * layers / bound) + 1
        if needed > layers:
            never.append(f"{say_theory(name)} (smallest possible p {p_text(smallest)})")
        elif needed > 1:
            only.append(f"{say_theory(name)} at no fewer than {layers_text(needed)}")
    said = [f" That of {listed(never)} could not have been shown."] if never else []
    said += [f" The smallest p there is could show {listed(only)}."] if only else []
    return "".join(said)


def axis(space: Space, arm: str, unit: str) -> list[Answer]:
    """Whether an axis follows ratings within an emotion, and of emotions it was learned without."""
    found = space.asked("axis", WITHIN, source=arm, target=arm, unit=unit)
    return [_axis(Reading(space, asked, space.primary)) for asked in found]


def _axis(within: Reading) -> Answer:
    told, arm = say_judge(within.asked.judge), within.asked.target
    readings = {"within an emotion": within, "on unseen emotions": within.by(UNSEEN)}
    said: list[Said] = []
    verdict, follows = [], []
    for where, own in readings.items():
        start = f"{at(own)}, correlation {where} " if not said else f"{capital(where)} "
        said.append([start, *beside(own), "; above the words’ own ", *with_q(own.above)])
        layers, more = own.upheld(), own.above.upheld()
        beyond = f"above the words’ own {counted(more, own.above)}"
        verdict.append(
            f"{where}, above 0 {counted(layers, own, level=True)}{_against(own)}, {beyond}"
        )
        if layers:
            follows.append(f"{where} {counted(layers, own)} ({beyond})")
    every = within.by(ALONE)
    if every.here:
        rest = "Over all texts, where it suffices that the emotions are apart, "
        said.append([rest, *figure(every), f" ({words_text(every)})"])
    name = f"the {within.asked.unit} axis of {say_texts(arm)}"
    brief = f"{name} follows {told} {listed(follows)}" if follows else ""
    title = f"{capital(within.asked.unit)} axis and {told}"
    return Answer(title, arm, said, f"{capital('; '.join(verdict))}.", brief)


def _against(reading: Reading) -> str:
    """At how many layers it runs the other way."""
    layers = reading.against()
    return f" (the interval below 0 at {len(layers)})" if layers else ""


def dimensions(space: Space, arm: str) -> list[Answer]:
    """Over how many dimensions the emotions' means spread, against relabeled ones."""
    asked = Asked("dimensions", "participation_ratio", target=arm, unit="centroids")
    own = Reading(space, asked, space.primary)
    if not own.lines:
        return []
    within = Reading(space, asked._replace(unit="within"), space.primary)
    said: Said = [f"{at(own)}, the means of {len(space.labels)} emotions spread over "]
    said += [*beside(own, signed=False), " dimensions; texts within an emotion over "]
    said += [*figure(within, signed=False), f" ({words_text(within, signed=False)})"]
    sides = {"fewer": own.beside_chance(-1), "more": own.beside_chance(1)}
    kept = [
        f"over {side} dimensions than relabeled ones {counted(layers, own, level=True)}"
        for side, layers in sides.items()
        if layers
    ]
    none = "That the means spread over fewer or more dimensions than relabeled ones is not shown."
    verdict = f"The means spread {listed(kept)}." if kept else none
    return [Answer("Dimensions", arm, [said], f"{verdict} {UNTESTED}")]
