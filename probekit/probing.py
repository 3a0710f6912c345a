"""The layer-wise probing study: which layers tell emotional from neutral, and which emotion.

1. Capture each stimulus set (or find its activations in the cache).
2. For every task of a set, cross-validate the text baselines, and choose the reference.
3. For every site and pooling, cross-validate the probes of all layers with the permutation null.
4. Write `results.csv` and `manifest.json`.
Steps 2 and 3 are stages of the run folder: a run that was killed goes on from the last one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from probekit import baselines, evaluation, runs
from probekit.activations import capture_cached
from probekit.crossval import CrossValidated, cross_validate
from probekit.evaluation import Row, Scorer
from probekit.models import Model
from probekit.pooling import parse
from probekit.prompts import NO_TEMPLATE, Template
from probekit.runs import Progress
from probekit.stimuli import StimulusSet
from probekit.store import ActivationStore
from probekit.tasks import ALARM, Task, tasks_of


@dataclass(frozen=True)
class Options:
    """What a probing run is asked for, beside its model and stimuli.

    Attributes:
        sites: kinds ("resid_post") or "kind.layer" strings.
        positions: poolings; see `probekit.pooling`.
        template: the prompt around each text.
        folds, permutations, bootstraps: sizes of the validation.
        seed: of folds, permutations and bootstraps.
        ratings: columns of numbers to predict, beside what the set's labels ask.
        hold_out: learn and choose on the dev split, and predict the test split once; without it,
            every row is learned from and chosen on.
        alarms: predict `complex_neutral` with every reception probe.
        truncate: cut texts that do not fit the context.
    """

    sites: tuple[str, ...] = ("resid_post", "attn_out", "mlp_out")
    positions: tuple[str, ...] = ("last", "mean")
    template: Template = NO_TEMPLATE
    folds: int = 6
    permutations: int = 100
    bootstraps: int = 1000
    seed: int = 0
    ratings: tuple[str, ...] = ()
    hold_out: bool = True
    alarms: bool = True
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
            "ratings": list(self.ratings),
            "hold_out": self.hold_out,
            "alarms": self.alarms,
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
    for each in sets if not options.hold_out else []:
        each.warn_if_test("layer and penalty")
    ratings = _ratings(sets, options.ratings)
    alarms = StimulusSet.load(ALARM) if options.alarms else None
    joined = [with_alarms(each, alarms) if alarms else each for each in sets]
    asked = [
        (each, *tasks_of(each, options.folds, ratings=own, hold_out=options.hold_out))
        for each, own in zip(joined, ratings, strict=True)
    ]
    for each in joined:
        model.encode(each.texts, options.template, ids=each.ids, truncate=options.truncate)
    identity = {
        "study": "probe",
        "version": version("emotion-probekit"),
        "model": model.fingerprint,
        "stimuli": {each.name: each.sha256 for each in sets},
        "false_alarms": alarms.sha256 if alarms else "",
        **options.describe(),
    }
    runs.open_run(out, identity)
    name = model.describe()["name"]
    rows: list[Row] = []
    for each, tasks, _ in asked:
        study = _SetStudy(model, each, options, out, identity, progress)
        for row in study.rows(tasks):
            common = {"study": "probe", "model": name, "set": each.name}
            rows.append({**common, **row, "seed": options.seed})
    runs.write_results(out / runs.RESULTS, rows)
    described = options.describe()
    manifest = runs.manifest(
        "probe",
        model=model.describe(),
        stimuli=[each.describe() for each in sets],
        command=command,
        seed=options.seed,
        identity=identity,
        sites=list(dict.fromkeys(s.kind for s in model.sites.expand(options.sites))),
        **{key: described[key] for key in ("template", "poolings", "folds", "permutations")},
        bootstrap=options.bootstraps,
        notes=[note for _, _, found in asked for note in found],
    )
    runs.write_json(out / runs.MANIFEST, manifest)
    return out


def _ratings(sets: Sequence[StimulusSet], wanted: Sequence[str]) -> list[list[str]]:
    """The ratings that each set has a column for.

    Raises:
        UserError: no set has one of them.
    """
    found = [[name for name in wanted if each.has(name)] for each in sets]
    for name in wanted:
        if not any(name in own for own in found):
            sets[0].column(name)  # Says which columns there are.
    return found


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
        """The set's activations, in the cache."""
        return capture_cached(
            self.model,
            self.stimuli,
            self.options.sites,
            self.options.positions,
            self.options.template,
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
                effects.append((question, place, found["own"]))
            done += 1
        self.progress(label, total, total)
        yield from _keyword_effects(effects)

    def _stage(self, make: Any, task: Task, part: str) -> Any:
        key = {**self.identity, "set": self.stimuli.name, "task": task.name}
        return runs.stage(self.out, {**key, "source": task.source, "part": part}, make)


class _Question:
    """One task with its folds, its permutations and its scorers, one for each arm and split."""

    def __init__(self, task: Task, study: _SetStudy) -> None:
        options = study.options
        self.task, self.study = task, study
        self.folds = task.folds(options.folds, options.seed)
        own = task.held_out & task.mask(task.source)
        self.splits = ("dev", "test") if own.any() else ("all",)
        self.scorers = {
            (target, split): Scorer(
                task, target, self.folds, options.bootstraps, options.seed, split
            )
            for target in task.targets
            for split in (("test",) if target == ALARM else self.splits)
            if (task.mask(target) & (task.held_out == (split == "test"))).any()
        }

    def _validate(
        self, features: NDArray[Any], tests: Sequence[NDArray[np.bool_]], **extra: Any
    ) -> list[CrossValidated]:
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

    def _words(self, chosen_on: str) -> dict[tuple[str, str], dict[str, CrossValidated]]:
        """(target, split) -> baseline -> results, for the targets whose choices this arm makes.

        In a transfer, a baseline's C (and the reference) is chosen on the *target* arm of the
        inner folds, a help that the probe does not get: *above text* errs on the safe side. False
        alarms are read by the very fits of the source arm.
        """
        keys = [key for key in self.scorers if self._chosen_on(key[0]) == chosen_on]
        found = {
            each.name: self._validate(
                each.compact,
                [self.scorers[key].mask for key in keys],
                select=self.task.mask(chosen_on),
                standardize=each.standardize,
            )
            for each in self.study.text
        }
        return {
            key: {name: results[place] for name, results in found.items()}
            for place, key in enumerate(keys)
        }

    def _chosen_on(self, target: str) -> str:
        return self.task.source if target == ALARM else target

    def baselines(self) -> dict[str, Any]:
        """Rows of the baselines, and the reference's predictions by target and split."""
        rows: list[Row] = []
        text: dict[str, list[list[float]]] = {}
        for chosen_on in dict.fromkeys(map(self._chosen_on, self.task.targets)):
            for (target, split), words in self._words(chosen_on).items():
                scorer = self.scorers[target, split]
                picked = evaluation.composite(words, evaluation.reference(words))
                if target == ALARM:
                    rows += evaluation.alarm_rows(scorer, picked, method="words")
                    continue
                rows += evaluation.baseline_rows(scorer, words, picked)
                text[f"{target}/{split}"] = picked.tolist()
        return {"rows": rows, "text": text}

    def probes(
        self, store: ActivationStore, kind: str, pooling: str, text: dict[str, Any]
    ) -> dict[str, Any]:
        """Rows of one site and pooling, and by split the headline's draws on the own arm."""
        options = self.study.options
        results = self._validate(
            store.load(kind, pooling).stack(kind, pooling),
            [scorer.mask for scorer in self.scorers.values()],
            permuted=self.task.permuted(options.permutations, options.seed),
        )
        rows: list[Row] = []
        own: dict[str, list[float]] = {}
        for ((target, split), scorer), result in zip(self.scorers.items(), results, strict=True):
            if target == ALARM:
                rows += evaluation.alarm_rows(scorer, result.nested, method="probe")
                continue
            words = np.array(text[f"{target}/{split}"])
            rows += evaluation.probe_rows(scorer, result, store.layers[kind], words)
            if target == self.task.source:
                own[split] = scorer.primary(result.nested).tolist()
        return {"rows": rows, "own": own}


def _keyword_effects(
    found: list[tuple[_Question, Row, dict[str, list[float]]]],
) -> Iterator[Row]:
    """Keyword-rich minus keyword-free, where a set asks the same question of both arms."""
    free = {
        (question.task.name, *place.values()): own
        for question, place, own in found
        if question.task.source == "keyword_free"
    }
    for question, place, own in found:
        other = free.get((question.task.name, *place.values()))
        if question.task.source != "keyword_rich" or other is None:
            continue
        for split, draws in own.items():
            if split not in other:
                continue
            scorer = question.scorers["keyword_rich", split]
            both = (np.array(each, dtype=np.float64) for each in (draws, other[split]))
            row = evaluation.keyword_effect_row(scorer, *both)
            yield {**place, **row}


def with_alarms(stimuli: StimulusSet, alarms: StimulusSet) -> StimulusSet:
    """The set with the texts of `complex_neutral` behind it, where it asks about reception.

    The texts come as an arm of their own that is held out: they are predicted, and never learned
    from, by the probes of each reception task.
    """
    arms = set(stimuli.column("arm"))
    if "neutral" not in arms or arms == {"neutral"}:
        return stimuli
    added = [replace(row, id=f"{ALARM}/{row.id}", arm=ALARM, domain=ALARM) for row in alarms.rows]
    return StimulusSet(stimuli.name, (*stimuli.rows, *added))
