"""A run of directions as its page reads it: each estimation, and every figure beside its controls.

An estimation is the directions of one arm at one site, pooling and estimator. What is shown of it
comes from texts that it was not learned from; the figures of dev, which choose the layer, are kept
apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from probekit.plots import Estimate
from probekit.report.causal import ALPHA, figure_of
from probekit.report.reading import Line, Recorded, twice
from probekit.report.words import say

WHICH, WHETHER = "categorisation", "reception"
FREE = "keyword_free"
MOSTLY = 1 / 3
"""Cosine of halves below which the directions of all scenarios are less than half shared.

By the formula of Spearman (1910) and Brown (1910), halves of cosine c make a whole of 2c / (1 + c).
"""


class Figure(NamedTuple):
    """What a figure of an estimation is; `method` is empty for the estimator itself."""

    task: str
    metric: str
    condition: str = "direction"
    unit: str = ""
    method: str = ""

    def random(self) -> "Figure":
        """The same of random directions."""
        return self._replace(condition="control", unit="random")

    def others(self) -> "Figure":
        """The same with the directions of the other emotions."""
        return self._replace(condition="control", unit="other_emotions")


AUROC, ABOVE = Figure(WHICH, "auroc"), Figure(WHICH, "auroc_above_text")
CHANCE, RANDOM = AUROC._replace(condition="null"), AUROC.random()
WORDS = Figure(WHICH, "auroc", "baseline", method="reference")
CHOSEN = Figure(WHICH, "chosen_layer")
HALVES, DISATTENUATED = (
    Figure("stability", "cosine_halves"),
    Figure("stability", "cosine_disattenuated"),
)
LEFT_OUT = Figure("stability", "cosine_left_out")
AS_MANY = LEFT_OUT._replace(condition="control", unit="as_many_at_random")
PAIRS, PAIRS_ABOVE = (
    Figure("steerability", name) for name in ("pair_cosine", "pair_cosine_above_others")
)
WEIGHTS, RANKS = Figure("probe", "probe_cosine"), Figure("probe", "probe_spearman")


class Key(NamedTuple):
    """All that tells a figure from others, but for its layer."""

    set: str
    site: str
    pooling: str
    source: str
    target: str
    emotion: str
    method: str
    task: str
    metric: str
    condition: str
    unit: str

    @classmethod
    def of(cls, line: Line) -> "Key":
        """The key of a line."""
        return cls(*(getattr(line, name) for name in cls._fields))


class Place(NamedTuple):
    """Where directions were learned, and how."""

    site: str
    pooling: str
    estimator: str

    def __str__(self) -> str:
        return ", ".join(part for part in self if part)


Index = dict[Key, dict[int | None, Line]]


@dataclass(frozen=True)
class Study:
    """A run of directions: its manifest, what is shown, and the figures of dev."""

    manifest: dict[str, Any]
    shown: Index
    dev: Index

    @property
    def entries(self) -> list[Mapping[str, Any]]:
        """What the manifest says of each estimation."""
        given = self.manifest.get("directions")
        return [each for each in given or () if isinstance(each, Mapping)]

    @cached_property
    def learned(self) -> tuple["Learned", ...]:
        """Every estimation, the headlined one first, its arms beside it."""
        keys = [key for key in self.shown if key.condition == "direction"]
        found = dict.fromkeys(
            (key.set, key.source, Place(key.site, key.pooling, key.method)) for key in keys
        )
        said = [Place(*(str(e.get(n)) for n in Place._fields)) for e in self.entries]
        places = list(dict.fromkeys([*said, *(place for *_, place in found)]))

        def order(each: tuple[str, str, Place]) -> tuple[int, bool]:
            return places.index(each[2]), each[1] != FREE

        return tuple(Learned(self, *each) for each in sorted(found, key=order))


def study_of(recorded: Recorded) -> Study:
    """The figures of a run.

    Raises:
        UserError: a figure is given twice.
    """
    study = Study(recorded.manifest, {}, {})
    for line in recorded.lines:
        chooses = line.split == "dev" and line.task in (WHICH, WHETHER)
        index = study.dev if chooses else study.shown
        layers = index.setdefault(Key.of(line), {})
        if line.layer in layers:
            raise twice(line)
        layers[line.layer] = line
    return study


@dataclass(frozen=True)
class Learned:
    """The directions of one arm at one place, and what was measured of them."""

    study: Study
    set: str
    source: str
    place: Place

    def __str__(self) -> str:
        return " ".join(say(name) for name in (self.source, self.set) if name)

    def over(
        self, figure: Figure, emotion: str = "", target: str | None = None, *, dev: bool = False
    ) -> dict[int, Line]:
        """A figure by layer; `target` is another arm that is read, `dev` the dev split."""
        found = (self.study.dev if dev else self.study.shown).get(
            self._key(figure, emotion, target)
        )
        return {layer: line for layer, line in (found or {}).items() if layer is not None}

    def line(self, figure: Figure, emotion: str = "", target: str | None = None) -> Line | None:
        """A figure at the chosen layer: as tested there, else from its curve."""
        found = self.study.shown.get(self._key(figure, emotion, target), {})
        return found.get(None) or (None if self.layer is None else found.get(self.layer))

    def at(self, figure: Figure, emotion: str = "", target: str | None = None) -> Estimate:
        """The figure of `line`, or a missing one."""
        return figure_of(self.line(figure, emotion, target))

    def _key(self, figure: Figure, emotion: str, target: str | None) -> Key:
        own = self.source if target is None else target
        method = figure.method or self.place.estimator
        # Words are of no place in the model.
        in_text = figure.condition == WORDS.condition
        site, pooling = ("", "") if in_text else self.place[:2]
        where = (self.set, site, pooling, self.source, own, emotion, method)
        return Key(*where, figure.task, figure.metric, figure.condition, figure.unit)

    @cached_property
    def entry(self) -> Mapping[str, Any]:
        """What the manifest says of it."""
        own = (self.source, *self.place)
        names = ("source", *Place._fields)
        found = (e for e in self.study.entries if tuple(e.get(name) for name in names) == own)
        return next(found, {})

    @cached_property
    def layer(self) -> int | None:
        """The chosen layer."""
        key = self._key(CHOSEN, "", None)
        lines = {**self.study.dev.get(key, {}), **self.study.shown.get(key, {})}
        value = figure_of(next(iter(lines.values()), None)).value
        return int(value) if value is not None else self.entry.get("layer")

    @property
    def by_dev(self) -> bool:
        """Whether the layer was chosen on a dev split."""
        return self._key(CHOSEN, "", None) in self.study.dev

    @cached_property
    def emotions(self) -> tuple[str, ...]:
        """The emotions, in the order of the results."""
        found = dict.fromkeys(
            key.emotion
            for key in self.study.shown
            if (key.set, key.source, key.site, key.pooling)
            == (self.set, self.source, *self.place[:2])
            and key.method == self.place.estimator
        )
        return tuple(name for name in found if name)

    @cached_property
    def targets(self) -> tuple[str, ...]:
        """The arms that are read, its own first."""
        own = (self.set, self.source, *self.place)
        found = dict.fromkeys(
            key.target
            for key in self.study.shown
            if (key.set, key.source, key.site, key.pooling, key.method) == own
            and (key.task, key.metric) == AUROC[:2]
        )
        return tuple(sorted(found, key=lambda target: target != self.source))

    @property
    def beside(self) -> list["Learned"]:
        """The other arms, at the same place."""
        own = (self.set, self.place)
        every = self.study.learned
        return [e for e in every if (e.set, e.place) == own and e.source != self.source]

    def said(self, target: str | None = None) -> str:
        """`keyword-free vignettes`, or `keyword-free → keyword-rich vignettes`."""
        if target in (None, self.source):
            return str(self)
        return f"{say(self.source)} → {say(target or '')} {say(self.set)}"


def significant(line: Line | None) -> bool | None:
    """Whether p is below .05; `None` where there is none."""
    return None if line is None or line.p is None else line.p < ALPHA


def beyond(own: Estimate, band: Estimate) -> int | None:
    """1 or -1 where a figure lies above or below a control's band, 0 within it."""
    if own.value is None or band.low is None or band.high is None:
        return None
    return int(own.value > band.high) - int(own.value < band.low)
