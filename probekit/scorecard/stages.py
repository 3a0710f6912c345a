"""The stages of a scorecard: each cell's texts, their figures, side effects; all resumable."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from probekit import runs
from probekit.directions.sources import neutral_texts
from probekit.errors import UserError
from probekit.models import Model
from probekit.runs import Progress, digest
from probekit.scorecard.fluency import reply_nats
from probekit.scorecard.likelihood import next_token_kl
from probekit.scorecard.options import Scorecard
from probekit.scorecard.scores import PLAIN
from probekit.scorecard.side_effects import harmless_prompts, quiz, refuses
from probekit.steering import Sample
from probekit.steering.methods import Method, Plain, Setting, Steered, produce

Floats = NDArray[np.float64]
Prompts = Sequence[tuple[str, str]]
CellKey = tuple[str, str, float | None]
NEUTRAL_TEXTS = 24
"""Neutral texts on which next tokens are compared: the first."""


class Judge(Protocol):
    """What a scorecard asks of a judge of emotion: it sees a text and nothing else.

    Attributes:
        name: what results call it.
        labels: emotions and "neutral".
        trained_on: SHA-256 of each text that trained it.
    """

    @property
    def name(self) -> str: ...
    @property
    def labels(self) -> tuple[str, ...]: ...
    @property
    def trained_on(self) -> frozenset[str]: ...
    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """`[text, label]`, rows sum to 1."""
        ...


class Stages:
    """What is kept of a scorecard in its run folder.

    Args:
        model: writes.
        methods: how; plain comes first.
        prompts: (id, text).
        options: what is asked for.
        folder: of the run.
        progress: receives what is done.
    """

    def __init__(
        self,
        model: Model,
        methods: Sequence[Method],
        prompts: Prompts,
        options: Scorecard,
        folder: Path,
        progress: Progress,
    ) -> None:
        self.model, self.prompts, self.options = model, list(prompts), options
        self.methods = {each.name: each for each in methods}
        self.folder, self.progress = folder, progress

    @cached_property
    def cells(self) -> list[CellKey]:
        """Every cell: plain once, others at every emotion and, where they have one, dose."""
        found: list[CellKey] = []
        for name, method in self.methods.items():
            doses = (method.doses or self.options.doses) if method.dosed else (None,)
            emotions = ("",) if name == PLAIN else self.options.emotions
            found += [(name, emotion, dose) for emotion in emotions for dose in doses]
        return found

    def samples(self) -> list[Sample]:
        """Every text, cell by cell; each cell is a stage of its own."""
        found: list[Sample] = []
        for place, (name, emotion, dose) in enumerate(self.cells):
            self.progress("cells written", place, len(self.cells))
            method = self.methods[name]
            key = {
                "stage": "write",
                **self._made(method, emotion, dose),
                "prompts": self.prompts,
                "seeds": list(self.options.seeds),
            }
            kept = runs.stage(
                self.folder, key, lambda m=method, e=emotion, d=dose: self._write(m, e, d)
            )
            found += [Sample(**each) for each in kept]
        self.progress("cells written", len(self.cells), len(self.cells))
        return found

    def _write(self, method: Method, emotion: str, dose: float | None) -> list[dict[str, Any]]:
        samples: list[Sample] = []
        for seed in self.options.seeds:
            samples += produce(
                self.model, method, emotion, dose, self.prompts, self.options.decoding,
                seed=seed, batch_size=self.options.batch,
            )  # fmt: skip
        return [asdict(each) for each in samples]

    def _made(self, method: Method, emotion: str, dose: float | None) -> dict[str, Any]:
        """What a text was made by, vectors included."""
        return {
            "model": self.model.fingerprint,
            "method": method_key(method),
            "emotion": emotion,
            "dose": dose,
            "decoding": asdict(self.options.decoding),
        }

    def nats(self, reader: Model, samples: Sequence[Sample]) -> Floats:
        """`reply_nats` of each text under a model, by its own plain prompt; a stage a cell."""
        own = self.methods[PLAIN].setting
        # Another model reads in the same setting, as far as it has one.
        chat = own.chat and bool(reader.tokenizer.chat_template)
        template = Plain(Setting(chat, own.brief)).template("")
        out, cells = np.full(len(samples), np.nan), by_cell(samples)
        for place, rows in enumerate(cells):
            self.progress(f"perplexity by {reader.name}", place, len(cells))
            asked, texts = zip(*[(samples[r].asked, samples[r].text) for r in rows], strict=True)
            key = {
                "stage": "nats",
                "reader": reader.fingerprint,
                "template": template.describe(),
                "texts": digest([asked, texts]),
            }
            kept = runs.stage(
                self.folder, key, lambda a=asked, t=texts: list(reply_nats(reader, a, t, template))
            )
            out[rows] = [np.nan if value is None else value for value in kept]
        self.progress(f"perplexity by {reader.name}", len(cells), len(cells))
        return out

    def probabilities(self, judge: Judge, samples: Sequence[Sample]) -> Floats:
        """The judge's probabilities of each text, `[text, label]`."""
        texts = [each.text for each in samples]
        key = {
            "identity": list(getattr(judge, "identity", ())),
            "stage": "judge",
            "judge": judge.name,
            "labels": judge.labels,
            "texts": digest(texts),
        }
        return np.array(
            runs.stage(self.folder, key, lambda: np.asarray(judge.probabilities(texts)).tolist()),
            dtype=np.float64,
        )

    def effects(self) -> dict[CellKey, dict[str, list[float]]]:
        """Side effects of every steered cell: KL `[text]`, quiz `[item]`, refusals `[prompt]`."""
        cells: list[CellKey] = [(PLAIN, "", None)] if self.options.measured else []
        cells += [
            (name, emotion, dose)
            for name, emotion, dose in self.cells
            if emotion in self.options.measured and self.methods[name].dosed
        ]
        found = {}
        for place, (name, emotion, dose) in enumerate(cells):
            self.progress("side effects", place, len(cells))
            method = self.methods[name]
            key = {"stage": "effects", **self._made(method, emotion, dose)}
            key |= {"refusals": self.options.refusals, "texts": NEUTRAL_TEXTS}
            found[name, emotion, dose] = runs.stage(
                self.folder, key, lambda m=method, e=emotion, d=dose: self._effects(m, e, d)
            )
        self.progress("side effects", len(cells), len(cells))
        return found

    def _effects(self, method: Method, emotion: str, dose: float | None) -> dict[str, list[float]]:
        steering = method.steering(emotion, dose) or ()
        found = {"quiz": quiz(self.model, steering).astype(float).tolist()}
        if steering:
            texts = neutral_texts().texts[:NEUTRAL_TEXTS]
            found["kl"] = list(map(float, next_token_kl(self.model, texts, steering)))
        if self.options.refusals:
            asked = [(kind, text) for kind, all_ in harmless_prompts().items() for text in all_]
            replies = produce(
                self.model, method, emotion, dose, asked, self.options.decoding,
                seed=self.options.seeds[0], batch_size=self.options.batch,
            )  # fmt: skip
            found["refusals"] = [float(refuses(each.text)) for each in replies]
        return found


def method_key(method: Method) -> dict[str, Any]:
    """What tells a method from any other, its vectors included."""
    told = method.describe()
    if isinstance(method, Steered):
        vectors = np.ascontiguousarray(method.directions.vectors)
        told["vectors"] = hashlib.sha256(vectors.tobytes()).hexdigest()[:24]
        told["kind_of_method"] = type(method).__name__
        told["draw"] = getattr(method, "seed", None)
    return told


def by_cell(samples: Sequence[Sample]) -> list[list[int]]:
    """Places of texts, cell by cell."""
    found: dict[CellKey, list[int]] = {}
    for row, each in enumerate(samples):
        found.setdefault((each.method, each.emotion, each.dose), []).append(row)
    return list(found.values())


def unseen(judge: Judge, samples: Sequence[Sample]) -> list[Sample]:
    """Those texts that the judge was not trained on.

    Raises:
        UserError: there is none.
    """
    kept = [
        each
        for each in samples
        if hashlib.sha256(each.text.encode()).hexdigest() not in judge.trained_on
    ]
    if not kept:
        raise UserError(f"judge {judge.name} was trained on every one of these texts: use another")
    return kept
