"""A set on a model, and a question put to it: where studies of probes and directions start.

`Material` holds a set's activations and its text baselines, `Question` a task with its folds and
its scorers. The text baselines of a question are cross-validated here, for any study that wants
to say what stands above text.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import cached_property, partial
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from probekit import baselines, evaluation, runs
from probekit.activations import capture_cached
from probekit.baselines import Baseline
from probekit.crossval import CrossValidated, cross_validate
from probekit.evaluation import Row, Scorer
from probekit.models import Model
from probekit.prompts import Template
from probekit.runs import Progress
from probekit.stimuli import StimulusSet
from probekit.store import ActivationStore
from probekit.tasks import ALARM, Task


class Material:
    """One stimulus set on one model: its activations, its text baselines, both made once.

    Args:
        model: the model.
        stimuli: the set.
        sites: kinds ("resid_post") or "kind.layer" strings.
        positions: poolings; see `probekit.pooling`.
        template: the prompt around each text.
        truncate: cut texts that do not fit the context.
        progress: receives what is done.
    """

    def __init__(
        self,
        model: Model,
        stimuli: StimulusSet,
        sites: Sequence[str],
        positions: Sequence[str],
        template: Template,
        *,
        truncate: bool = False,
        progress: Progress = lambda *_: None,
    ) -> None:
        self.model, self.stimuli, self.progress = model, stimuli, progress
        self._capture = (sites, positions, template)
        self._truncate = truncate

    @cached_property
    def store(self) -> ActivationStore:
        """The set's activations, in the cache."""
        return capture_cached(
            self.model,
            self.stimuli,
            *self._capture,
            truncate=self._truncate,
            advance=self._counting("reading"),
        )

    @cached_property
    def text(self) -> list[Baseline]:
        """The text baselines of all rows of the set."""
        return baselines.text_baselines(self.stimuli.texts, self.model, self._surprisals())

    def _counting(self, what: str) -> Callable[[int], None]:
        return runs.counting(self.progress, f"{what} {self.stimuli.name}", len(self.stimuli))

    def _surprisals(self) -> list[NDArray[np.float64]]:
        key = {"model": self.model.fingerprint, "texts": self.stimuli.texts}
        path = runs.cache_home() / "surprisal" / f"{runs.digest(key)[:24]}.safetensors"
        if not path.exists():
            advance = self._counting("surprisal of")
            found = baselines.token_surprisals(self.model, self.stimuli.texts, advance)
            lengths = np.array([len(values) for values in found])
            with runs.atomic_write(path) as temporary:
                save_file({"nats": np.concatenate(found), "lengths": lengths}, temporary)
        stored = load_file(path)
        return np.split(stored["nats"], np.cumsum(stored["lengths"])[:-1])


class Question:
    """One task with its folds and its scorers, one for each arm and split.

    Args:
        task: what is asked.
        folds: how many.
        bootstraps: draws of every interval.
        seed: of folds and draws.

    Attributes:
        folds: `[item]`, fold numbers.
        splits: "dev" and "test" where the task holds rows out, else "all".
        scorers: by (target arm, split).
    """

    def __init__(self, task: Task, folds: int, bootstraps: int, seed: int) -> None:
        self.task = task
        self._draws = [bootstraps, seed]
        self.folds = task.folds(folds, seed)
        own = task.held_out & task.mask(task.source)
        self.splits = ("dev", "test") if own.any() else ("all",)
        self.scorers = {
            (target, split): Scorer(task, target, self.folds, bootstraps, seed, split)
            for target in task.targets
            for split in (("test",) if target == ALARM else self.splits)
            if (task.mask(target) & (task.held_out == (split == "test"))).any()
        }

    def validate(
        self, features: NDArray[Any], tests: Sequence[NDArray[np.bool_]], **extra: Any
    ) -> list[CrossValidated]:
        """`cross_validate` of the set's features `[row, ...]` on this task's rows and folds."""
        return cross_validate(
            features[self.task.rows],
            self.task.probe_target,
            self.folds,
            train=self.task.mask(self.task.source),
            tests=tests,
            held_out=self.task.held_out,
            compare=self.task.compare,
            **extra,
        )

    def words(self, material: Material) -> dict[str, Any]:
        """Rows of the text baselines, and the reference's predictions by "target/split".

        They take minutes and are the same for every study that asks this question of a model, so
        they are kept in the cache.
        """
        task = self.task
        arrays = {
            field.name: value.tolist() if isinstance(value, np.ndarray) else value
            for field in fields(task)
            if (value := getattr(task, field.name)) is not None
        }
        key = {
            "version": version("emotion-probekit"),
            "model": material.model.fingerprint,
            "texts": material.stimuli.texts,
            "task": {name: arrays[name] for name in sorted(arrays)},
            "folds": self.folds.tolist(),
            "draws": self._draws,
        }
        made = partial(self._baselines, material)
        return runs.stage(runs.cache_home() / "words", {"words": runs.digest(key)}, made)

    def _baselines(self, material: Material) -> dict[str, Any]:
        rows: list[Row] = []
        picks: dict[str, list[list[float]]] = {}
        for chosen_on in dict.fromkeys(map(self._chosen_on, self.task.targets)):
            for (target, split), words in self._words(material.text, chosen_on).items():
                scorer = self.scorers[target, split]
                picked = evaluation.composite(words, evaluation.reference(words))
                if target == ALARM:
                    rows += evaluation.alarm_rows(scorer, picked, method="words")
                    continue
                rows += evaluation.baseline_rows(scorer, words, picked)
                picks[f"{target}/{split}"] = picked.tolist()
        return {"rows": rows, "text": picks}

    def _words(
        self, text: Sequence[Baseline], chosen_on: str
    ) -> dict[tuple[str, str], dict[str, CrossValidated]]:
        """(target, split) -> baseline -> results, for the targets whose choices this arm makes.

        In a transfer, a baseline's C (and the reference) is chosen on the *target* arm of the
        inner folds, a help that the probe does not get: *above text* errs on the safe side. False
        alarms are read by the very fits of the source arm.
        """
        keys = [key for key in self.scorers if self._chosen_on(key[0]) == chosen_on]
        found = {
            each.name: self.validate(
                each.compact,
                [self.scorers[key].mask for key in keys],
                select=self.task.mask(chosen_on),
                standardize=each.standardize,
            )
            for each in text
        }
        return {
            key: {name: results[place] for name, results in found.items()}
            for place, key in enumerate(keys)
        }

    def _chosen_on(self, target: str) -> str:
        return self.task.source if target == ALARM else target
