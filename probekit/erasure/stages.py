"""The stages of an erasure run: erasers, what is left and lost at each layer, what it costs."""

from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from probekit import runs
from probekit.depth import headline_layer, nearest
from probekit.directions.identity import Identity
from probekit.erasure.artefact import Erasers
from probekit.erasure.eraser import Eraser
from probekit.erasure.loss import language_loss, unedited_nats
from probekit.erasure.options import Erasure, chosen
from probekit.erasure.questions import Question
from probekit.erasure.refit import fit
from probekit.erasure.study import evaluate_erasure
from probekit.models import Model
from probekit.pooling import parse
from probekit.questions import Material
from probekit.runs import Progress
from probekit.sites import Site
from probekit.stimuli import StimulusSet
from probekit.store import ActivationStore
from probekit.tasks import NEUTRAL

Floats = NDArray[np.float64]
Row = dict[str, Any]
Block = tuple[str, str]
"""A kind of site and a pooling."""
ERASERS = "erasers"
"""The folder of the erasers themselves, in the run folder."""


class Study:
    """One set on one model."""

    def __init__(
        self,
        model: Model,
        stimuli: StimulusSet,
        questions: Sequence[Question],
        layers: dict[str, list[int]],
        options: Erasure,
        out: Path,
        identity: dict[str, Any],
        progress: Progress,
    ) -> None:
        self.model, self.stimuli, self.questions = model, stimuli, questions
        self.layers, self.options, self.out = layers, options, out
        self.identity, self.progress = identity, progress
        self.headline = headline_layer(model.n_layers)
        self.notes: list[str] = []
        self.neutral = self._neutral()

    @property
    def blocks(self) -> list[Block]:
        """Kinds of site and poolings."""
        return [(kind, pool) for kind in self.layers for pool in parse(self.options.positions)]

    def loss_layers(self, kind: str) -> list[int]:
        """Where the loss is measured."""
        return chosen(self.options.loss_layers, self.layers[kind], self.headline)

    def rows(self) -> Iterator[Row]:
        """Every concept at every layer, then what the erasers cost."""
        kept = [self.erasers(question) for question in self.questions]
        for question in self.questions:
            yield from self._erased(question)
        yield from self._losses(kept)

    @cached_property
    def store(self) -> ActivationStore:
        """The set's activations, in the cache."""
        options = self.options
        capture = (options.sites, options.positions, options.template)
        return Material(
            self.model,
            self.stimuli,
            *capture,
            truncate=options.truncate,
            progress=self.progress,
        ).store

    def _states(self, question: Question, block: Block, layer: int) -> Floats:
        """`[row, d]` of a question's rows."""
        kind, pooling = block
        return self.store.layer(kind, layer, pooling)[question.rows].astype(np.float64)

    def _stage(self, make: Any, *part: object) -> Any:
        key = {**self.identity, "part": "/".join(map(str, part))}
        return runs.stage(self.out, key, make)

    # What is left, and what else is lost

    def _erased(self, question: Question) -> Iterator[Row]:
        places = [(block, layer) for block in self.blocks for layer in self.layers[block[0]]]
        label = f"erasing {question.name}"
        split = "test" if question.held_out.any() else "all"
        for done, (block, layer) in enumerate(places):
            self.progress(label, done, len(places))
            make = partial(self._evaluate, question, block, layer, label, done, len(places))
            place = {"site": block[0], "pooling": block[1], "split": split}
            found = self._stage(make, question.name, *block, layer)
            yield from ({**row, **place} for row in found)
        self.progress(label, len(places), len(places))

    def _evaluate(
        self, question: Question, block: Block, layer: int, label: str, done: int, total: int
    ) -> list[Row]:
        finished = [float(done)]

        def advance(share: float) -> None:
            finished.append(share)
            self.progress(label, sum(finished), total)

        return evaluate_erasure(
            self._states(question, block, layer),
            question.erased,
            question.groups,
            question.folds,
            kept=question.kept,
            held_out=question.held_out,
            layers=[layer],
            permutations=self.options.permutations,
            bootstraps=self.options.bootstraps,
            seed=self.options.seed,
            advance=advance,
        )

    # The erasers themselves

    def path_of(self, question: Question) -> str:
        """The file of a concept's erasers, in the run folder."""
        return f"{ERASERS}/{question.name.replace('/', '-')}.safetensors"

    def erasers(self, question: Question) -> Erasers:
        """Those of every place, fitted on all learned rows; kept in the run folder."""
        path = self.out / self.path_of(question)
        if path.exists():
            return Erasers.load(path, self.model)
        places = [(block, layer) for block in self.blocks for layer in self.layers[block[0]]]
        label, fitted = f"fitting {question.name}", {}
        for done, ((kind, pooling), layer) in enumerate(places):
            self.progress(label, done, len(places))
            states = self._states(question, (kind, pooling), layer)
            fitted[f"{kind}.{layer}/{pooling}"] = self._fit(question, states)
        self.progress(label, len(places), len(places))
        template, stimuli = self.options.template.describe(), self.stimuli.describe()
        rows, whose = int(question.fitted.sum()), Identity.of(self.model)
        made = Erasers(fitted, question.name, "leace", whose, template, stimuli, rows)
        made.save(path)
        return made

    def _fit(self, question: Question, states: Floats) -> Eraser:
        labels = question.erased.drawn(question.groups, 0, self.options.seed)
        x = torch.as_tensor(states)
        leace = fit(x, labels, question.fitted, shrinkage=True, seed=self.options.seed)["leace"]
        used = leace.read[0].abs().amax(-1) > 0
        return Eraser(leace.read[0, used].numpy(), leace.write[0, used].numpy(), leace.mean.numpy())

    # What it costs

    def _neutral(self) -> list[int]:
        """Rows whose loss is measured: neutral ones of the test split, two tokens or longer."""
        column = {name: self.stimuli.column(name) for name in ("arm", "emotion", "split")}
        held = (column["split"] == "test") & (column["split"] != "test").any()
        rows = np.flatnonzero(
            ((column["arm"] == NEUTRAL) | (column["emotion"] == NEUTRAL)) & (held | ~held.any())
        )
        truncate = self.options.truncate
        prompts = self.model.encode([self.stimuli.texts[row] for row in rows], truncate=truncate)
        found = [int(row) for row, prompt in zip(rows, prompts, strict=True) if len(prompt) > 1]
        if len(set(self._clusters(found))) < 2:
            self.notes.append(
                f"{self.stimuli.name} has no two neutral texts, so the loss was not measured"
            )
            return []
        if not held.any():
            self.notes.append("no test split: the loss is of texts that erasers may have seen")
        return found

    def _clusters(self, rows: Sequence[int]) -> list[str]:
        scenario, ids = self.stimuli.column("scenario"), self.stimuli.ids
        return [str(scenario[row]) or f"row {ids[row]}" for row in rows]

    def _losses(self, kept: Sequence[Erasers]) -> Iterator[Row]:
        places = [
            (question, erasers, block, layer)
            for question, erasers in zip(self.questions, kept, strict=True)
            for block in self.blocks
            for layer in (self.loss_layers(block[0]) if self.neutral else [])
        ]
        if not places:
            return
        count = len(self.neutral)
        # Stages count by texts, so that the bar moves within one.
        total = count * (1 + len(places))
        before = self._stage(partial(self._unedited, total), "unedited")
        for done, (question, erasers, block, layer) in enumerate(places, 1):
            self.progress("loss", done * count, total)
            eraser, at = erasers.of(f"{block[0]}.{layer}", block[1]), Site(block[0], layer)  # type: ignore[arg-type]
            make = partial(self._loss, eraser, at, np.array(before), done * count, total)
            found = self._stage(make, "loss", question.name, *block, layer)
            split = "test" if question.held_out.any() else "all"
            place = {"source": question.name, "pooling": block[1], "split": split}
            yield from ({**row, **place} for row in found)
        self.progress("loss", total, total)

    @property
    def _texts(self) -> list[str]:
        return [self.stimuli.texts[row] for row in self.neutral]

    def _counting(self, done: int, total: int) -> Any:
        finished = [done]

        def advance(count: int) -> None:
            finished.append(count)
            self.progress("loss", sum(finished), total)

        return advance

    def _unedited(self, total: int) -> list[float]:
        more = {"batch": self.options.batch, "truncate": self.options.truncate}
        advance = self._counting(0, total)
        return unedited_nats(self.model, self._texts, advance=advance, **more).tolist()

    def _loss(self, eraser: Eraser, at: Site, before: Floats, done: int, total: int) -> list[Row]:
        return language_loss(
            self.model,
            self._texts,
            at,
            eraser,
            clusters=self._clusters(self.neutral),
            bootstraps=self.options.bootstraps,
            seed=self.options.seed,
            batch=self.options.batch,
            truncate=self.options.truncate,
            unedited=before,
            advance=self._counting(done, total),
        )

    def describe(self) -> dict[str, Any]:
        """What was erased where, for the manifest."""
        concepts = {
            question.name: {
                "classes": len(set(question.erased.labels) - {""}),
                "fitted_rows": int(question.fitted.sum()),
                "kept": [concept.name for concept in question.kept],
                "erasers": self.path_of(question),
            }
            for question in self.questions
        }
        headline = {kind: nearest(own, self.headline) for kind, own in self.layers.items()}
        losses = {kind: self.loss_layers(kind) if self.neutral else [] for kind in self.layers}
        return {
            "concepts": concepts,
            "layers": self.layers,
            "loss_layers": losses,
            "headline_layer": headline,
            "loss_texts": len(self.neutral),
        }
