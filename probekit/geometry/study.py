"""The study itself: words once, then every site and pooling beside them, as stages of a run."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probekit import baselines, runs
from probekit.evaluation import Row
from probekit.geometry import grams, rsa
from probekit.geometry.design import Design
from probekit.geometry.figures import state_rows, word_rows
from probekit.geometry.measures import COMPONENTS, Measures
from probekit.geometry.options import Geometry
from probekit.geometry.stack import FEWEST, Stack
from probekit.models import Model
from probekit.questions import Material
from probekit.runs import Progress
from probekit.store import ActivationStore

Floats = NDArray[np.float64]
WORDS = ("bag_of_words", "static_embedding")


class Study:
    """One set on one model."""

    def __init__(
        self,
        model: Model,
        design: Design,
        options: Geometry,
        out: Path,
        identity: dict[str, Any],
        progress: Progress,
    ) -> None:
        self.model, self.design, self.options = model, design, options
        self.out, self.identity, self.progress = out, identity, progress
        self.items = np.concatenate([design.rows, design.neutral])
        self.learned = self._learned()

    def _learned(self) -> NDArray[np.bool_]:
        """`[item]`, neutral texts of learned scenarios (or of dev) included."""
        design = self.design
        scenarios = design.stimuli.column("scenario")[design.neutral]
        dev = np.isin(scenarios, design.scenario[design.learned])
        return np.concatenate([design.learned, dev])

    @cached_property
    def store(self) -> ActivationStore:
        """The set's activations, in the cache."""
        options = self.options
        capture = (options.sites, options.positions, options.template)
        return Material(
            self.model,
            self.design.stimuli,
            *capture,
            truncate=options.truncate,
            progress=self.progress,
        ).store

    @cached_property
    def words(self) -> Floats:
        """Gram matrices of the baselines, `[baseline, item, item]`."""
        texts = [self.design.stimuli.texts[item] for item in self.items]
        found = {each.name: each for each in baselines.word_baselines(texts)}
        static = baselines.static_embeddings(self.model, texts)
        found["static_embedding"] = baselines.Baseline("static_embedding", static)
        return np.concatenate(
            [
                grams.grams(each.features[:, None], self.learned, standardize=each.standardize)
                for each in (found[name] for name in WORDS)
            ]
        )

    def rows(self) -> tuple[list[Row], list[Row]]:
        """Rows of `results.csv` and of `coordinates.csv`."""
        store = self.store
        blocks = [(kind, pooling) for kind in store.layers for pooling in store.poolings]
        label, total = f"geometry of {self.design.stimuli.name}", 1 + len(blocks)
        self.progress(label, 0, total)
        rows: list[Row] = runs.stage(self.out, {**self.identity, "part": "words"}, self._of_words)
        places: list[Row] = []
        for done, (kind, pooling) in enumerate(blocks, 1):
            self.progress(label, done, total)

            def make(kind: str = kind, pooling: str = pooling) -> dict[str, Any]:
                return self._of_states(kind, pooling)

            found = runs.stage(self.out, {**self.identity, "part": f"{kind}/{pooling}"}, make)
            at = {"site": kind, "pooling": pooling}
            rows += [{**at, **row} for row in found["rows"]]
            places += [{**at, **row} for row in found["places"]]
        self.progress(label, total, total)
        return rows, places

    def _of_words(self) -> list[Row]:
        stack = Stack(self.design, self.words, range(len(WORDS)), self.options)
        rows = [row for figure in Measures(stack).figures() for row in word_rows(figure, WORDS)]
        return [*rows, *self._smallest(stack)]

    def _smallest(self, stack: Stack) -> Iterator[Row]:
        """The smallest p that relabeling the emotions allows each theory."""
        orders = stack.orders
        for name, theory in stack.allowed.items() if len(self.design.labels) >= FEWEST else ():
            own = theory[np.triu_indices(len(theory), 1)]
            # A wheel that is turned by one emotion is the same wheel.
            same = int((np.abs(rsa.moved(theory, orders) - own) < rsa.ROUNDING).all(1).sum())
            yield {
                "task": "rsa",
                "source": name,
                "condition": "control",
                "metric": "smallest_p",
                "value": (1 + same) / (1 + len(orders)),
                "k": len(orders),
            }

    def _of_states(self, kind: str, pooling: str) -> dict[str, Any]:
        states = self.store.load(kind, pooling).stack(kind, pooling)[self.items]
        layers = self.store.layers[kind]
        own = grams.grams(states, self.learned, standardize=self.options.standardize)
        whole = np.concatenate([own, self.words])
        stack = Stack(self.design, whole, range(len(layers), len(whole)), self.options)
        rows = [row for f in Measures(stack).figures() for row in state_rows(f, layers, WORDS)]
        return {"rows": rows, "places": list(self._coordinates(own, layers))}

    def _coordinates(self, own: Floats, layers: tuple[int, ...]) -> Iterator[Row]:
        places, _ = grams.principal(own, COMPONENTS)
        stimuli = self.design.stimuli
        for layer, table in zip(layers, places.tolist(), strict=True):
            for item, given in zip(self.items, table, strict=True):
                row = stimuli.rows[item]
                told = {name: getattr(row, name) for name in ("id", "arm", "emotion", "domain")}
                named = {f"pc{number + 1}": value for number, value in enumerate(given)}
                yield {"layer": layer, **told, **named}
