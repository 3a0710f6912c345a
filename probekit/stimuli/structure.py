"""What a design asks of its rows: pairs, quads and scenarios that are whole.

Each check passes over rows that do not declare its column, and names the first group that is not
what it claims to be.
"""

from collections import Counter
from collections.abc import Iterable
from itertools import groupby
from operator import attrgetter

from probekit.errors import UserError
from probekit.stimuli.rows import Stimulus


class Misfit(UserError):
    """A row or group that is not what it claims to be; `row` is the id of (the first of) it."""

    def __init__(self, row: str, message: str) -> None:
        super().__init__(message)
        self.row = row


def check_pairs(rows: Iterable[Stimulus]) -> None:
    """Check that each `pair` is two rows of one scenario that differ in arm, emotion or valence.

    Raises:
        UserError: a pair is not.
    """
    for pair, members in _groups(rows, "pair"):
        if len(members) != 2:
            raise Misfit(members[0].id, f"pair {pair!r} has {_ids(members)}: a pair is two rows")
        _check_scenario("pair", pair, members)
        if len({(row.arm, row.emotion, row.valence) for row in members}) != 2:
            raise Misfit(
                members[0].id,
                f"pair {pair!r} has one label twice ({_ids(members)}): its rows differ in arm, "
                "emotion or valence",
            )


def check_quads(rows: Iterable[Stimulus]) -> None:
    """Check that each `quad` crosses two contexts with two outcomes, and valence is what crosses.

    Exactly: each of the four combinations stands once, `text == context + " " + outcome`, and an
    outcome has in one context the valence (or the emotion, where one is given) that the other
    outcome has in the other, so that neither phrase alone tells it.

    Raises:
        UserError: a quad is not so.
    """
    for quad, members in _groups(rows, "quad"):
        for row in members:
            if row.text != f"{row.context} {row.outcome}":
                raise Misfit(
                    row.id,
                    f"quad {quad!r}: the text of {row.id!r} is not its context, a space and its "
                    "outcome: write it exactly so",
                )
        # What crosses is the valence, and where an emotion is given, the emotion.
        valence = {(row.context, row.outcome): row.emotion or row.valence for row in members}
        contexts, outcomes = (sorted({phrases[part] for phrases in valence}) for part in (0, 1))
        if not (len(members) == len(valence) == 4 and len(contexts) == len(outcomes) == 2):
            raise Misfit(
                members[0].id,
                f"quad {quad!r} has {_ids(members)}, {len(contexts)} contexts and {len(outcomes)} "
                "outcomes: a quad is two contexts by two outcomes, each combination once",
            )
        _check_scenario("quad", quad, members)
        same = {valence[contexts[0], outcomes[0]], valence[contexts[1], outcomes[1]]}
        crossed = {valence[contexts[0], outcomes[1]], valence[contexts[1], outcomes[0]]}
        if not (len(same) == len(crossed) == 1 and same != crossed):
            raise Misfit(
                members[0].id,
                f"quad {quad!r}: valence or emotion is no interaction of context and outcome: "
                "each phrase needs one text of either label",
            )


def check_triplets(rows: Iterable[Stimulus]) -> None:
    """Check that each `scenario` has every arm of its set, in one proportion throughout.

    A file may hold several sets (column `set`), each with arms of its own.

    Raises:
        UserError: an arm is missing or is rarer or more frequent than in most scenarios, or some
            rows with an arm lack a scenario.
    """
    with_arm = [row for row in rows if row.arm]
    for name in dict.fromkeys(row.set for row in with_arm):
        _check_arms([row for row in with_arm if row.set == name])


def _check_arms(rows: list[Stimulus]) -> None:
    arms = sorted({row.arm for row in rows})
    scenarios = _groups(rows, "scenario")
    counts = [Counter(row.arm for row in members) for _, members in scenarios]
    shares = [tuple(count[arm] / count.total() for arm in arms) for count in counts]
    times = Counter(shares)
    usual = max(shares, key=lambda share: (times[share], -max(share)), default=())
    for (scenario, members), count, share in zip(scenarios, counts, shares, strict=True):
        if share != usual or not all(share):
            held = ", ".join(f"{count[arm]} {arm}" for arm in arms)
            raise Misfit(
                members[0].id,
                f"scenario {scenario!r} has {held}: give each scenario every arm, in the same "
                "proportion",
            )
    if scenarios and (lost := [row for row in rows if not row.scenario]):
        raise Misfit(
            lost[0].id,
            f"the row {lost[0].id!r} has no scenario and others have: give every row of an arm one",
        )


def _groups(rows: Iterable[Stimulus], column: str) -> list[tuple[str, list[Stimulus]]]:
    """The rows by their value in `column`, those without one left out."""
    key = attrgetter(column)
    ordered = sorted((row for row in rows if key(row)), key=key)
    return [(value, list(members)) for value, members in groupby(ordered, key=key)]


def _check_scenario(kind: str, name: str, members: list[Stimulus]) -> None:
    """Folds keep scenarios whole: a group that spans two would be parted."""
    if len(scenarios := sorted({row.scenario for row in members})) > 1:
        raise Misfit(
            members[0].id, f"{kind} {name!r} spans the scenarios {scenarios}: give its rows one"
        )


def _ids(members: list[Stimulus]) -> str:
    named = ", ".join(row.id for row in members[:5])
    return f"{len(members)} rows ({named}{', ...' if len(members) > 5 else ''})"
