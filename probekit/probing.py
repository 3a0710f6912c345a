"""The layer-wise probing study: which layers tell emotional from neutral, and which emotion.

1. Capture each stimulus set (or find its activations in the cache).
2. For every task of a set, cross-validate the text baselines, and choose the reference.
3. For every site and pooling, cross-validate the probes of all layers with the permutation null.
4. Write `results.csv` and `manifest.json`.
Steps 2 and 3 are stages of the run folder: a run that was killed goes on from the last one.
"""

import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from probekit import baselines, evaluation, runs
from probekit.activations import capture
from probekit.evaluation import Row, Scorer
from probekit.models import Model
from probekit.pooling import parse
from probekit.crossval import CrossValidated, cross_validate
from probekit.prompts import NO_TEMPLATE, Template
from probekit.runs import Progress
from probekit.stimuli import StimulusSet
from probekit.store import ActivationStore
from probekit.tasks import Task, tasks_of

VERSIONED = (
    "emotion-probekit",
    "torch",
    "transformers",
    "transformer-lens",
    "scikit-learn",
    "numpy",
)


@dataclass(frozen=True)
class Options:
    """What a probing run is asked for, beside its model and stimuli.

    Attributes:
        sites: kinds ("resid_post") or "kind.layer" strings.
        positions: poolings; see `probekit.pooling`.
        template: the prompt around each text.
        folds, permutations, bootstraps: sizes of the validation.
        seed: of folds, permutations and bootstraps.
        truncate: cut texts that do not fit the context.
    """

    sites: tuple[str, ...] = ("resid_post", "attn_out", "mlp_out")
    positions: tuple[str, ...] = ("last", "mean")
    template: Template = NO_TEMPLATE
    folds: int = 6
    permutations: int = 100
    bootstraps: int = 1000
    seed: int = 0
    truncate: bool = False

    def describe(self) -> dict[str, Any]:
        """JSON-able options, for the manifest and the keys of stages."""
        return {
            "sites": list(self.sites),
            "poolings": list(parse(self.positions)),
            "template": self.template.describe(),
            "folds": self.folds,
            "permutations": self.permutations,
            "bootstrap": self.bootstraps,
            "seed": self.seed,
            "truncate": self.truncate,
        }


def run_probing(
    model: Model,
    sets: Sequence[StimulusSet],
    out: Path,
    options: Options,
    *,
    command: str = "",
    progress: Progress = lambda *_: None,
) -> Path:
    """Run the study and write its run folder.

    Args:
        model: the model.
        sets: stimulus sets, with different names.
        out: the run folder; an interrupted run of the same job goes on.
        options: sites, poolings, template and validation.
        command: what the user typed, for the manifest.
        progress: receives what is done.

    Returns:
        `out`, which then holds `results.csv` and `manifest.json`.

    Raises:
        UserError: bad options or stimuli, or `out` holds another run; nothing is written then.
    """
    model.sites.expand(options.sites)
    asked = [(each, *tasks_of(each, options.folds)) for each in sets]
    for each in sets:
        model.encode(each.texts, options.template, ids=each.ids, truncate=options.truncate)
    identity = {
        "study": "probe",
        "version": version("emotion-probekit"),
        "model": model.fingerprint,
        "stimuli": {each.name: each.sha256 for each in sets},
        **options.describe(),
    }
    runs.open_run(out, identity)
    name = model.describe()["name"]
    rows: list[Row] = []
    for each, tasks, _ in asked:
        study = _SetStudy(model, each, options, out, identity, progress)
        for row in study.rows(tasks):
            common = {"study": "probe", "model": name, "set": each.name}
            rows.append({**common, "split": "all", **row, "seed": options.seed})
    runs.write_results(out / runs.RESULTS, rows)
    notes = [note for _, _, found in asked for note in found]
    runs.write_json(out / runs.MANIFEST, _manifest(model, sets, options, identity, command, notes))
    return out


def _manifest(
    model: Model,
    sets: Sequence[StimulusSet],
    options: Options,
    identity: dict[str, Any],
    command: str,
    notes: list[str],
) -> dict[str, Any]:
    described = model.describe()
    asked = options.describe()
    return {
        "study": "probe",
        "complete": True,
        "created_with": {"python": platform.python_version(), **{n: version(n) for n in VERSIONED}},
        "machine": f"{platform.system()} {platform.machine()}",
        "command": command,
        "seed": options.seed,
        "model": {**described, "quantisation_note": "; ".join(model.notes)},
        "sites": list(dict.fromkeys(s.kind for s in model.sites.expand(options.sites))),
        **{key: asked[key] for key in ("template", "poolings", "folds", "permutations")},
        "bootstrap": options.bootstraps,
        "stimuli": [{"name": s.name, "sha256": s.sha256, "rows": len(s)} for s in sets],
        "notes": notes,
        "identity": identity,
    }


class _SetStudy:
    """One stimulus set: its activations, its baselines, its tasks."""

    def __init__(
        self,
        model: Model,
        stimuli: StimulusSet,
        options: Options,
        out: Path,
        identity: dict[str, Any],
        progress: Progress,
    ) -> None:
        self.model, self.stimuli, self.options = model, stimuli, options
        self.out, self.identity, self.progress = out, identity, progress

    @cached_property
    def store(self) -> ActivationStore:
        """The set's activations, in the cache under the digest of all that makes them."""
        asked = self.options.describe()
        key = {
            "model": self.model.fingerprint,
            "stimuli": self.stimuli.sha256,
            **{name: asked[name] for name in ("sites", "poolings", "template", "truncate")},
        }
        return capture(
            self.model,
            self.stimuli,
            self.options.sites,
            self.options.positions,
            store=runs.cache_home() / "activations" / runs.digest(key)[:24],
            template=self.options.template,
            truncate=self.options.truncate,
            advance=self._counting("reading"),
        )

    @cached_property
    def text(self) -> list[baselines.Baseline]:
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

    def rows(self, tasks: Sequence[Task]) -> Iterator[Row]:
        """Result rows of all tasks, keyword effects last."""
        kinds = dict.fromkeys(site.kind for site in self.model.sites.expand(self.options.sites))
        blocks = [(kind, pooling) for kind in kinds for pooling in parse(self.options.positions)]
        total = len(tasks) * (1 + len(blocks))
        label, done, effects = f"probing {self.stimuli.name}", 0, []
        store = self.store
        for task in tasks:
            self.progress(label, done, total)
            question = _Question(task, self)
            words = self._stage(question.baselines, task, "baselines")
            yield from words["rows"]
            for kind, pooling in blocks:
                done += 1
                self.progress(label, done, total)

                def make(
                    kind: str = kind, pooling: str = pooling, words: Any = words, q: Any = question
                ) -> dict[str, Any]:
                    return q.probes(store, kind, pooling, words["text"])

                found = self._stage(make, task, f"{kind}/{pooling}")
                place = {"site": kind, "pooling": pooling}
                yield from ({**place, **row} for row in found["rows"])
                effects.append((task, place, question, found["auroc"]))
            done += 1
        self.progress(label, total, total)
        yield from _keyword_effects(effects)

    def _stage(self, make: Any, task: Task, part: str) -> Any:
        key = {**self.identity, "set": self.stimuli.name, "task": task.name}
        return runs.stage(self.out, {**key, "source": task.source, "part": part}, make)


class _Question:
    """One task with its folds, its permutations and its scorers."""

    def __init__(self, task: Task, study: _SetStudy) -> None:
        options = study.options
        self.task, self.study = task, study
        self.folds = task.folds(options.folds, options.seed)
        self.scorers = {
            target: Scorer(task, target, self.folds, options.bootstraps, options.seed)
            for target in task.targets
        }

    def _validate(
        self, features: NDArray[Any], targets: Sequence[str], **extra: Any
    ) -> list[CrossValidated]:
        return cross_validate(
            features[self.task.rows],
            self.task.label_numbers,
            self.folds,
            train=self.task.mask(self.task.source),
            tests=[self.task.mask(target) for target in targets],
            **extra,
        )

    def _words(self, target: str) -> dict[str, CrossValidated]:
        """Baseline -> results on a target arm.

        In a transfer, a baseline's C (and the reference) is chosen on the *target* arm of the
        inner folds, a help that the probe does not get: *above text* errs on the safe side.
        """
        return {
            each.name: self._validate(
                each.features,
                [target],
                select=self.task.mask(target),
                standardize=each.standardize,
            )[0]
            for each in self.study.text
        }

    def baselines(self) -> dict[str, Any]:
        """Rows of the baselines, and the reference's predictions by target."""
        rows: list[Row] = []
        text: dict[str, list[list[float]]] = {}
        for target, scorer in self.scorers.items():
            words = self._words(target)
            picked = evaluation.composite(words, evaluation.reference(words), scorer.strata)
            rows += evaluation.baseline_rows(scorer, words, picked)
            text[target] = picked.tolist()
        return {"rows": rows, "text": text}

    def probes(
        self, store: ActivationStore, kind: str, pooling: str, text: dict[str, Any]
    ) -> dict[str, Any]:
        """Rows of one site and pooling, and the headline's AUROC draws on the own arm."""
        options = self.study.options
        results = self._validate(
            store.load(kind, pooling).stack(kind, pooling),
            self.task.targets,
            permuted=self.task.permuted(options.permutations, options.seed),
        )
        rows: list[Row] = []
        for (target, scorer), result in zip(self.scorers.items(), results, strict=True):
            words = np.array(text[target])
            rows += evaluation.probe_rows(scorer, result, store.layers[kind], words)
        own = self.scorers[self.task.source].auroc_draws(results[0].nested)
        return {"rows": rows, "auroc": own.tolist()}


def _keyword_effects(found: list[tuple[Task, Row, _Question, list[float]]]) -> Iterator[Row]:
    """Keyword-rich minus keyword-free, where a set asks the same question of both arms."""
    free = {
        (task.name, *place.values()): auroc
        for task, place, _, auroc in found
        if task.source == "keyword_free"
    }
    for task, place, question, auroc in found:
        other = free.get((task.name, *place.values()))
        if task.source == "keyword_rich" and other is not None:
            scorer = question.scorers["keyword_rich"]
            row = evaluation.keyword_effect_row(scorer, np.array(auroc), np.array(other))
            yield {**place, **row}
