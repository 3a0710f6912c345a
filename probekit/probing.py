"""The layer-wise probing study: which layers tell emotional from neutral, and which emotion.

1. Capture each stimulus set (or find its activations in the cache).
2. For every task of a set, cross-validate the text baselines, and choose the reference.
3. For every site and pooling, cross-validate the probes of all layers with the permutation null.
4. Write `results.csv` and `manifest.json`.
Steps 2 and 3 are stages of the run folder: a run that was killed goes on from the last one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from probekit import evaluation, runs
from probekit.evaluation import Row
from probekit.models import Model
from probekit.pooling import parse
from probekit.prompts import NO_TEMPLATE, Template
from probekit.questions import Material, Question
from probekit.runs import Progress
from probekit.stimuli import StimulusSet
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
        classes: ask only which label a text has, neutral among them, whatever its arm.
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
    classes: bool = False
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
            # Left out where it is not asked: runs made without it go on.
            **({"classes": True} if self.classes else {}),
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
    alarms = StimulusSet.load(ALARM) if options.alarms and not options.classes else None
    joined = [with_alarms(each, alarms) if alarms else each for each in sets]
    asked = [
        (
            each,
            *tasks_of(
                each, options.folds, ratings=own, hold_out=options.hold_out, classes=options.classes
            ),
        )
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
        capture = (options.sites, options.positions, options.template)
        material = Material(model, each, *capture, truncate=options.truncate, progress=progress)
        for row in _SetStudy(material, options, out, identity).rows(tasks):
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
    """One stimulus set with all its tasks."""

    def __init__(
        self, material: Material, options: Options, out: Path, identity: dict[str, Any]
    ) -> None:
        self.material, self.options = material, options
        self.out, self.identity = out, identity

    def rows(self, tasks: Sequence[Task]) -> Iterator[Row]:
        """Result rows of all tasks, keyword effects last."""
        model, options = self.material.model, self.options
        kinds = dict.fromkeys(site.kind for site in model.sites.expand(options.sites))
        blocks = [(kind, pooling) for kind in kinds for pooling in parse(options.positions)]
        total = len(tasks) * (1 + len(blocks))
        label, done, effects = f"probing {self.material.stimuli.name}", 0, []
        for task in tasks:
            self.material.progress(label, done, total)
            question = Question(task, options.folds, options.bootstraps, options.seed)
            words = self._stage(partial(question.words, self.material), task, "baselines")
            yield from words["rows"]
            for kind, pooling in blocks:
                done += 1
                self.material.progress(label, done, total)

                def make(
                    kind: str = kind, pooling: str = pooling, words: Any = words, q: Any = question
                ) -> dict[str, Any]:
                    return self._probes(q, kind, pooling, words["text"])

                found = self._stage(make, task, f"{kind}/{pooling}")
                place = {"site": kind, "pooling": pooling}
                yield from ({**place, **row} for row in found["rows"])
                effects.append((question, place, found["own"]))
            done += 1
        self.material.progress(label, total, total)
        yield from _keyword_effects(effects)

    def _stage(self, make: Any, task: Task, part: str) -> Any:
        key = {**self.identity, "set": self.material.stimuli.name, "task": task.name}
        return runs.stage(self.out, {**key, "source": task.source, "part": part}, make)

    def _probes(
        self, question: Question, kind: str, pooling: str, text: dict[str, Any]
    ) -> dict[str, Any]:
        """Rows of one site and pooling, and by split the headline's draws on the own arm."""
        store, options = self.material.store, self.options
        results = question.validate(
            store.load(kind, pooling).stack(kind, pooling),
            [scorer.mask for scorer in question.scorers.values()],
            permuted=question.task.permuted(options.permutations, options.seed),
        )
        rows: list[Row] = []
        own: dict[str, list[float]] = {}
        scored = zip(question.scorers.items(), results, strict=True)
        for ((target, split), scorer), result in scored:
            if target == ALARM:
                rows += evaluation.alarm_rows(scorer, result.nested, method="probe")
                continue
            words = np.array(text[f"{target}/{split}"])
            rows += evaluation.probe_rows(scorer, result, store.layers[kind], words)
            if target == question.task.source:
                own[split] = scorer.primary(result.nested).tolist()
        return {"rows": rows, "own": own}


def _keyword_effects(
    found: list[tuple[Question, Row, dict[str, list[float]]]],
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
