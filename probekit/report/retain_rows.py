"""A run of retention as its page reads it: the probe by offset and layer, and what cuts leave."""

from dataclasses import dataclass
from functools import cached_property

from probekit.plots import Estimate
from probekit.report.lines import Lines
from probekit.report.reading import Line, Recorded

PROBE, NULL, WORDS, CUT = "probe", "null", "baseline", "cut"
REMOVED = {
    "turn": "the turn removed",
    "header": "the header after the turn removed",
    "turn_and_header": "the turn and the header after it removed",
    "neutral_text": "as much neutral text removed",
    "random": "as many tokens at random removed",
    "random_header": "as many tokens as the header has, at random, removed",
}
"""What is taken out of the past, and how the page calls it."""
ARMS = {"keyword_free": "without emotion words", "keyword_rich": "with emotion words"}


def first(window: str) -> int:
    """The first offset of a window."""
    return int(window.partition("-")[0])


def start(line: Line) -> int:
    """The first offset of a line's window."""
    return first(line.position)


@dataclass(frozen=True)
class Retained(Lines):
    """A run's figures by what they are of."""

    @cached_property
    def layer(self) -> int | None:
        """The layer that inner folds chose."""
        return self.manifest.get("chosen_layer")

    @cached_property
    def emotions(self) -> tuple[str, ...]:
        """Every emotion that was read."""
        return tuple(dict.fromkeys(x.emotion for x in self.lines if x.emotion))

    @cached_property
    def windows(self) -> tuple[str, ...]:
        """Names of the windows, from the first offset on."""
        lines = self.of("auroc", condition=PROBE, layer=self.layer, emotion="", target="")
        return tuple(x.position for x in sorted(lines, key=start))

    @cached_property
    def cuts(self) -> tuple[int, ...]:
        """Offsets at which something was removed."""
        return tuple(sorted({x.k for x in self.of("auroc", condition=CUT) if x.k is not None}))

    def probe(
        self, window: str, emotion: str = "", metric: str = "auroc", arm: str = ""
    ) -> Line | None:
        """The probe's figure at the chosen layer; of an arm's emotional texts alone."""
        cells = {"layer": self.layer, "position": window, "emotion": emotion, "target": arm}
        return self.line(metric, condition=PROBE, **cells)

    def null(self, window: str, emotion: str = "", arm: str = "") -> Line | None:
        """Its permutation null."""
        cells = {"layer": self.layer, "position": window, "emotion": emotion, "target": arm}
        return self.line("auroc", condition=NULL, **cells)

    def words(self, emotion: str = "", arm: str = "") -> Estimate:
        """What words alone tell of the turn."""
        return self.value("auroc", condition=WORDS, emotion=emotion, target=arm)

    @cached_property
    def arms(self) -> tuple[str, ...]:
        """Arms whose emotional texts are read by themselves."""
        return tuple(arm for arm in ARMS if self.of("auroc", condition=WORDS, target=arm))

    def after(
        self, metric: str, removed: str, cut: int, window: str, emotion: str = ""
    ) -> Line | None:
        """A figure after a cut."""
        cells = {"condition": CUT, "method": removed, "k": cut, "position": window}
        return self.line(metric, emotion=emotion, **cells)

    def following(self, cut: int) -> tuple[str, ...]:
        """Windows that begin after a cut."""
        return tuple(w for w in self.windows if first(w) > cut)

    @cached_property
    def spoken_of(self) -> str:
        """The window that the findings of all cuts speak of: the first after the last cut."""
        return self.following(max(self.cuts))[0]


def retained_of(recorded: Recorded) -> Retained:
    """The rows of a run of retention."""
    return Retained(recorded.manifest, recorded.lines)
