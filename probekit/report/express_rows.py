"""A run of expression as its page reads it: who tells the label, shifts, changes, mediation."""

from dataclasses import dataclass
from functools import cached_property

from probekit.plots import Estimate
from probekit.report.lines import Lines
from probekit.report.reading import NOTHING, Line, Recorded

JUDGED, READ = "judge", "read_out"
NONE, UNRELATED, KINDS = "none", "unrelated", ("emotional", "calm")
CONTROL = " control"
TELLERS = {
    "logistic": "probe",
    "reference": "words alone",
    "likelihood": "asked, by likelihood",
    "generation": "asked, in its own words",
}
CHANGES = {
    "erased": "erased",
    "added": "added to neutral posts",
    "given": "given to the neutral post",
    "taken": "taken from the emotional post",
}
"""What is done to the read-out, and how the page calls it."""
SHIFTS = {
    ("prompt", READ, "emotionality"): "emotionality read at the prompt’s last token",
    ("reply", READ, "emotionality"): "emotionality read over the reply",
    ("reply", JUDGED, "emotionality"): "emotionality of the reply as judged",
    ("reply", JUDGED, "agreement"): "agreement of the reply with the post",
    ("prompt", READ, "agreement"): "label read at the prompt’s last token",
    ("reply", READ, "agreement"): "label read over the reply",
}
"""Position, method and metric of what a system prompt may shift."""


@dataclass(frozen=True)
class Expressed(Lines):
    """A run's figures by what they are of."""

    @property
    def parts(self) -> tuple[str, ...]:
        """Parts that were run."""
        return tuple(self.options.get("parts") or ())

    def told(self, metric: str, method: str) -> Line | None:
        """A figure of who tells the label."""
        return self.line(metric, task="asking", method=method, condition=NOT_NULL, target="")

    def above(self, method: str) -> Line | None:
        """The probe less another."""
        return self.line("accuracy_above", task="asking", target=method)

    def chance(self, task: str) -> Line | None:
        """The permutation null of accuracy or agreement."""
        metric = "accuracy" if task == "asking" else "agreement"
        return self.line(metric, task=task, condition="null")

    def under(self, kind: str, key: tuple[str, str, str], *, shift: bool = False) -> Line | None:
        """A figure under a kind of system prompt, or its shift from unrelated ones."""
        position, method, metric = key
        metric = f"{metric}_shift" if shift else metric
        return self.line(metric, task="malleable", condition=kind, position=position, method=method)

    def apart(self, key: tuple[str, str, str]) -> Line | None:
        """A figure under emotional system prompts less that under calm ones."""
        position, method, metric = key
        cells = {"condition": KINDS[0], "position": position, "method": method}
        return self.line(f"{metric}_less_calm", task="malleable", **cells)

    def agreement(self, emotion: str = "") -> Line | None:
        """How often replies are judged to be of the post's label."""
        cells = {"condition": NONE, "method": JUDGED, "emotion": emotion}
        return self.line("agreement", task="expressed", **cells)

    def correlation(self, of: str, within: bool, condition: str = "probe") -> Line | None:
        """A correlation of what is judged, of all posts or of those of one label."""
        source = "same_label" if within else ""
        return self.line(f"correlation_{of}", condition=condition, source=source)

    def change(self, name: str, metric: str, method: str = JUDGED) -> Line | None:
        """A figure under a change."""
        return self.line(metric, task="expressed", condition=name, method=method)

    def effect(self, metric: str, condition: str = "") -> Line | None:
        """A figure of mediation."""
        return self.line(metric, condition=condition, method=JUDGED)

    @cached_property
    def emotions(self) -> tuple[str, ...]:
        """Every label of posts."""
        return tuple(dict.fromkeys(x.emotion for x in self.of("agreement") if x.emotion))


NOT_NULL = ("probe", "baseline", "asking")


def estimate(line: Line | None) -> Estimate:
    """A line's figure, or a missing one."""
    return line.estimate if line else NOTHING


def expressed_of(recorded: Recorded) -> Expressed:
    """The rows of a run of expression."""
    return Expressed(recorded.manifest, recorded.lines)
