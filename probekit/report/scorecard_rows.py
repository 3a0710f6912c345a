"""A scorecard run as its page reads it: figures by method, emotion and dose."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from probekit.plots import Estimate, number
from probekit.report.reading import NOTHING, Line, Recorded, twice

PLAIN, RANDOM, NEUTRAL = "plain", "random", "neutral"
EFFECTS = ("kl", "quiz", "refusals")
OUTCOMES = {
    "target_accuracy": "target",
    "wrong_emotion": "wrong emotion",
    "neutral_rate": "neutral",
    "incoherent_rate": "incoherent",
}
"""What becomes of a text; the four sum to 1."""
ALPHA = 0.05
NAMES = {
    "plain": "plain (no method)",
    "random": "random directions",
    "prompt ablated": "prompt with the circuit ablated",
    "random prompt ablated": "prompt with random components ablated",
    "random circuit": "random components",
}


class Setting(NamedTuple):
    """A method at a dose, `None` for one without."""

    method: str
    dose: float | None

    def __str__(self) -> str:
        if self.dose is None:
            return name_of(self.method)
        return f"{name_of(self.method)}, dose {dose_text(self.dose)}"


@dataclass(frozen=True)
class Card:
    """A run's manifest, its lines by what they are of, and its texts."""

    manifest: dict[str, Any]
    lines: tuple[Line, ...]
    samples: tuple[dict[str, str], ...]

    @cached_property
    def _index(self) -> dict[tuple[Any, ...], Line]:
        found: dict[tuple[Any, ...], Line] = {}
        for line in self.lines:
            key = (line.metric, line.method, line.emotion, line.dose, _kind(line))
            if key in found:
                raise twice(line)
            found[key] = line
        return found

    def line(
        self, metric: str, setting: Setting, emotion: str = "", condition: str = ""
    ) -> Line | None:
        """The line of a figure; "" is all emotions together."""
        return self._index.get((metric, *setting[:1], emotion, setting.dose, condition))

    def value(
        self, metric: str, setting: Setting, emotion: str = "", condition: str = ""
    ) -> Estimate:
        """The figure of `line`, or a missing one."""
        found = self.line(metric, setting, emotion, condition)
        return found.estimate if found else NOTHING

    def chance(self, emotion: str = "") -> Estimate:
        """Share of plain texts that are judged as the emotion."""
        return self.value("target_accuracy", Setting(PLAIN, None), emotion)

    def fluent(self, metric: str, method: str, emotion: str = "") -> Line | None:
        """A line at equal fluency, whatever its dose and however it was reached."""
        return self._fluent.get((metric, method, emotion))

    @cached_property
    def _fluent(self) -> dict[tuple[str, str, str], Line]:
        metrics = ("accuracy_at_fluency", "ratio_at_fluency", "draws_at_fluency")
        metrics += ("accuracy_at_fluency_above_random",)
        found = [line for line in self.lines if line.metric in metrics]
        return {(line.metric, line.method, line.emotion): line for line in found}

    @cached_property
    def settings(self) -> tuple[Setting, ...]:
        """Every method and dose, as they come in the results."""
        found = (Setting(x.method, x.dose) for x in self.lines if x.metric == "target_accuracy")
        return tuple(dict.fromkeys(found))

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """Every method, controls included."""
        return tuple(dict.fromkeys(each.method for each in self.settings))

    @cached_property
    def emotions(self) -> tuple[str, ...]:
        """Emotions that texts were made for."""
        found = (line.emotion for line in self.lines if line.metric == "target_accuracy")
        return tuple(dict.fromkeys(name for name in found if name))

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """What the judge may say."""
        found = (line.metric for line in self.lines if line.metric.startswith("judged:"))
        return tuple(dict.fromkeys(metric.removeprefix("judged:") for metric in found))

    def of(self, method: str) -> list[Setting]:
        """A method's settings, doses rising."""
        own = [each for each in self.settings if each.method == method]
        return sorted(own, key=lambda each: -1.0 if each.dose is None else each.dose)

    def control_of(self, method: str) -> str:
        """The random method that another is held against: "random NAME" where it was run."""
        own = f"{RANDOM} {method}"
        return own if own in self.methods else RANDOM

    @property
    def bound(self) -> float:
        """The perplexity ratio of equal fluency."""
        return float(self.manifest.get("bound", 1.5))

    @property
    def judge(self) -> str:
        """The judge's name."""
        return next((line.judge for line in self.lines if line.judge), "a judge without a name")

    def validity(self, metric: str) -> Line | None:
        """A figure of the judge or of the rule against readers, such as "judge_kappa"."""
        return next((line for line in self.lines if line.metric == metric), None)

    def standing(self, method: str) -> Setting | None:
        """The setting that was run nearest below equal fluency: where texts are looked at.

        The largest dose whose median ratio is within the bound; the only one of a method without a
        dose; None where the smallest dose is beyond already.
        """
        own = self.of(method)
        if own and own[0].dose is None:
            return own[0]
        within = []
        for each in own:
            ratio = self.value("perplexity_ratio", each).value
            if ratio is None or ratio > self.bound:
                break
            within.append(each)
        return within[-1] if within else None


def card_of(recorded: Recorded) -> Card:
    """The rows of a scorecard run."""
    return Card(recorded.manifest, recorded.lines, recorded.samples or ())


def is_control(method: str) -> bool:
    """Whether a method is none: plain, or random directions or components in place of its own."""
    return method == PLAIN or method.split()[:1] == [RANDOM]


def name_of(method: str) -> str:
    """A method in words."""
    return NAMES.get(method, method)


def dose_text(dose: float) -> str:
    """A dose as it was given."""
    text = f"{dose:.3g}"
    return text.removeprefix("0") if text != "0" else text


def shown_apart(line: Line | None) -> bool:
    """Whether a difference may be claimed: its interval excludes 0, and q (or a lone p) < .05."""
    if line is None or not line.estimate.side:
        return False
    told = line.q if line.q is not None else line.p
    return told is not None and told < ALPHA


def said_ratio(estimate: Estimate) -> str:
    """A ratio with its interval."""
    return estimate.text(digits=2)


def q_text(line: Line | None) -> str:
    """`q .010`, or `p .010` of a lone test."""
    if line is None or (line.q is None and line.p is None):
        return "not tested"
    name, value = ("q", line.q) if line.q is not None else ("p", line.p)
    return f"{name} {number(value, digits=3)}"


def _kind(line: Line) -> str:
    """Conditions that tell figures apart; those that only say what a method is do not."""
    return line.condition if line.condition in ("before", "after", "null") else ""


def only(lines: Iterable[Line], metric: str) -> list[Line]:
    """Lines of one metric."""
    return [line for line in lines if line.metric == metric]
