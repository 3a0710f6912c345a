"""A geometry run as its page reads it: figures over layers, beside chance and the words' own."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from probekit.depth import headline_layer, nearest
from probekit.plots import Estimate, Series
from probekit.report.causal import ALPHA, curve, figure_of
from probekit.report.reading import Line, Place, Recorded, twice
from probekit.report.results import Block
from probekit.stimuli import affect_norms

STATES, NULL, WORDS = "states", "null", "baseline"
ABOVE = "_above_text"
ALONE, GIVEN, BEYOND = "spearman", "spearman_partial", "spearman_beyond_words"
WITHIN, UNSEEN = "spearman_within_emotion", "spearman_unseen_emotion"
FREE = "keyword_free"


class Asked(NamedTuple):
    """What a figure is of, wherever in the model it is taken."""

    task: str
    metric: str
    source: str = ""
    target: str = ""
    emotion: str = ""
    unit: str = ""
    judge: str = ""

    @classmethod
    def of(cls, line: Line) -> "Asked":
        """What a line is of."""
        # Components are numbered by k, which elsewhere counts relabelings.
        unit = str(line.k) if line.task == "components" else line.unit
        return cls(line.task, line.metric, line.source, line.target, line.emotion, unit, line.judge)


@dataclass(frozen=True)
class Space:
    """A geometry run: its manifest, its figures, and where its texts lie."""

    manifest: dict[str, Any]
    lines: tuple[Line, ...]
    places: tuple[Place, ...] | None

    @cached_property
    def _index(self) -> dict[tuple[Asked, Block, str, str], dict[int | None, Line]]:
        found: dict[tuple[Asked, Block, str, str], dict[int | None, Line]] = {}
        for line in self.lines:
            # The method says how a figure was made; of words alone it tells two figures apart.
            method = line.method if line.condition == WORDS else ""
            key = (Asked.of(line), Block(line.site, line.pooling), line.condition, method)
            layers = found.setdefault(key, {})
            if line.layer in layers:
                raise twice(line)
            layers[line.layer] = line
        return found

    def over(self, asked: Asked, block: Block, condition: str = STATES) -> dict[int, Line]:
        """A figure of the states, or its null, by layer."""
        found = self._index.get((asked, block, condition, ""), {})
        return {layer: line for layer, line in found.items() if layer is not None}

    def words(self, asked: Asked) -> dict[str, Line]:
        """The same figure of each words' own geometry."""
        keys = {name: (asked, Block(), WORDS, name) for name in self.word_names}
        found = {name: self._index.get(key, {}).get(None) for name, key in keys.items()}
        return {name: line for name, line in found.items() if line}

    def best_words(self, asked: Asked) -> Line | None:
        """The larger of the words' figures, which *above text* is the difference from."""
        known = [line for line in self.words(asked).values() if line.estimate.value is not None]
        return max(known, key=lambda line: line.estimate.value or 0.0, default=None)

    @cached_property
    def word_names(self) -> tuple[str, ...]:
        """The words' baselines, as they come in the results."""
        return tuple(dict.fromkeys(each.method for each in self.lines if each.condition == WORDS))

    def asked(self, task: str, metric: str = "", **cells: str) -> list[Asked]:
        """What the states have figures of: of one task, of one metric, with these cells."""
        wanted = {"task": task, **({"metric": metric} if metric else {}), **cells}
        every = dict.fromkeys(key[0] for key in self._index if key[2] == STATES)
        return [
            each
            for each in every
            if all(getattr(each, name) == value for name, value in wanted.items())
        ]

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """Sites and poolings, the primary one first."""
        found = dict.fromkeys(
            block for _, block, condition, _ in self._index if condition == STATES
        )
        return tuple(sorted(found, key=lambda block: block != self.primary))

    @cached_property
    def primary(self) -> Block:
        """What the findings speak of: `resid_post` and `mean` where the run has them.

        Otherwise the first site and pooling of the manifest; never chosen by figures.
        """
        given = [Block(each.site, each.pooling) for each in self.lines if each.condition == STATES]
        sites = self.manifest.get("sites") or [block.site for block in given] or [""]
        poolings = self.manifest.get("poolings") or [block.pooling for block in given] or [""]
        return Block(
            "resid_post" if "resid_post" in sites else str(sites[0]),
            "mean" if "mean" in poolings else str(poolings[0]),
        )

    def layer(self, block: Block) -> int | None:
        """The layer of this block that is nearest to two thirds of the model's depth."""
        layers = {key for k, v in self._index.items() if k[1] == block for key in v}
        known = sorted(layer for layer in layers if layer is not None)
        depth = self.manifest.get("model", {}).get("n_layers") or (known[-1] + 1 if known else 0)
        return nearest(known, headline_layer(int(depth))) if known else None

    @cached_property
    def arms(self) -> tuple[str, ...]:
        """Emotional arms, the keyword-free one first; one without a name where a set has none."""
        found = dict.fromkeys(
            asked.target for asked in self.asked("dimensions") + self.asked("centroids")
        )
        return tuple(sorted(found, key=lambda arm: arm != FREE))

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The emotions, from the least to the most pleasant where published norms know them all."""
        cosines = self.asked("centroids")
        found = list(dict.fromkeys(n for each in cosines for n in (each.emotion, each.unit)))
        known = affect_norms()
        if all(label in known for label in found):
            found.sort(key=lambda label: known[label][0])
        return tuple(found)

    @cached_property
    def theories(self) -> tuple[str, ...]:
        """The theories that the emotions were held against."""
        return tuple(dict.fromkeys(each.source for each in self.asked("rsa") if each.source))

    def smallest_p(self, theory: str) -> float | None:
        """The smallest p that relabeling the emotions allows a theory."""
        key = (Asked("rsa", "smallest_p", theory), Block(), "control", "")
        return figure_of(self._index.get(key, {}).get(None)).value


def space_of(recorded: Recorded) -> Space:
    """The figures of a geometry run."""
    return Space(recorded.manifest, recorded.lines, recorded.places)


@dataclass(frozen=True)
class Reading:
    """One figure over the layers of one site and pooling."""

    space: Space
    asked: Asked
    block: Block

    @cached_property
    def lines(self) -> Mapping[int, Line]:
        """By layer."""
        return self.space.over(self.asked, self.block)

    @cached_property
    def null(self) -> Mapping[int, Line]:
        """Its chance, by layer."""
        return self.space.over(self.asked, self.block, NULL)

    @cached_property
    def above(self) -> "Reading":
        """Its difference from the words' own."""
        asked = self.asked._replace(metric=self.asked.metric + ABOVE)
        return Reading(self.space, asked, self.block)

    def by(self, metric: str) -> "Reading":
        """Another figure of the same."""
        return Reading(self.space, self.asked._replace(metric=metric), self.block)

    @property
    def here(self) -> Line | None:
        """At the layer that is fixed beforehand."""
        return self.lines.get(self.space.layer(self.block) or 0)

    @property
    def chance(self) -> Estimate:
        """Its null at that layer."""
        return figure_of(self.null.get(self.space.layer(self.block) or 0))

    @property
    def words(self) -> Estimate:
        """The words' own."""
        return figure_of(self.space.best_words(self.asked))

    @cached_property
    def tested(self) -> dict[int, float]:
        """q by layer; of a run of one layer, which needs no adjustment, p."""
        known = {layer: line for layer, line in self.lines.items() if line.p is not None}
        if len(known) == 1:
            return {layer: line.p for layer, line in known.items() if line.p is not None}
        return {layer: line.q for layer, line in known.items() if line.q is not None}

    def below(self, bound: float = ALPHA) -> list[int]:
        """Layers whose q is below a bound, whatever the side."""
        return [layer for layer, q in self.tested.items() if q < bound]

    def upheld(self, bound: float = ALPHA) -> list[int]:
        """Layers at which q is below a bound and the interval lies above 0."""
        return [each for each in self.below(bound) if self.lines[each].estimate.side == 1]

    def against(self) -> list[int]:
        """Layers whose interval lies below 0: the other way round."""
        return [layer for layer, line in self.lines.items() if line.estimate.side == -1]

    def beside_chance(self, side: int) -> list[int]:
        """Layers with q < .05 whose figure is above (1) or below (-1) the mean of chance."""

        def gap(layer: int) -> float:
            own = self.lines[layer].estimate.value
            chance = figure_of(self.null.get(layer)).value
            return 0.0 if own is None or chance is None else own - chance

        return [layer for layer in self.below() if gap(layer) * side > 0]

    def series(self, name: str) -> Series | None:
        """Its curve."""
        return curve(name, self.lines.values())

    def chance_series(self) -> Series | None:
        """The curve of its chance."""
        return curve("chance", self.null.values())
