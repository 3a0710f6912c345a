"""A run of probes of a corpus as its page reads it: each method's layer, controls and classes."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from probekit.plots import Estimate
from probekit.report.lines import Lines
from probekit.report.reading import Line, Recorded

PROBE, NULL, BASELINE, REFERENCE = "probe", "null", "baseline", "reference"
ABOVE_TEXT, SELECTIVITY, ABOVE_LINEAR = "above_text", "selectivity", "above_linear"
METHODS = {"linear": "linear probe", "mlp": "MLP"}
"""Probes, and how the page calls them."""
BASELINES = {
    "hashed_words": "words, hashed",
    "hashed_ngrams": "1–2-grams, hashed",
    "static_embedding": "mean input embedding",
}


@dataclass(frozen=True)
class Probed(Lines):
    """A run's figures by what they are of."""

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """The probes of this run."""
        return tuple(name for name in METHODS if name in self.chosen)

    @cached_property
    def chosen(self) -> dict[str, int]:
        """Method -> the layer that validation chose."""
        return dict(self.manifest.get("chosen_layer") or {})

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Every class."""
        return tuple(str(name) for name in self.manifest.get("classes") or ())

    @cached_property
    def reference(self) -> str:
        """The text baseline that validation chose, in words."""
        name = str(self.manifest.get("reference"))
        return BASELINES.get(name, name)

    def at(
        self, method: str, condition: str = PROBE, metric: str = "auroc", emotion: str = ""
    ) -> Line | None:
        """A figure of a probe, or of what stands beside it, at the probe's layer on test."""
        cells: dict[str, Any] = {"split": "test", "layer": self.chosen.get(method)}
        return self.line(metric, condition=condition, method=method, emotion=emotion, **cells)

    def words(self, metric: str = "auroc", emotion: str = "") -> Estimate:
        """What the reference tells of the test part."""
        cells = {"condition": BASELINE, "method": REFERENCE, "split": "test"}
        return self.value(metric, emotion=emotion, **cells)

    def baseline(self, name: str, split: str) -> Estimate:
        """The AUROC of one text baseline on one part."""
        return self.value("auroc", condition=BASELINE, method=name, split=split, emotion="")

    def curve(self, method: str, condition: str, split: str = "test") -> list[Line]:
        """The AUROC of every layer."""
        cells = {"condition": condition, "method": method, "split": split, "emotion": ""}
        return self.of("auroc", **cells)


def probed_of(recorded: Recorded) -> Probed:
    """The rows of a run of probes of a corpus."""
    return Probed(recorded.manifest, recorded.lines)
