"""The study of directions: what each one tells of new texts, how stable it is, what it writes.

1. The directions of every emotional arm, site, pooling and estimator are extracted from the dev
   split (from all texts where a set has none), and saved.
2. `heldout`: AUROC of the projection alone on the test split, above text, beside the whole
   estimation with chance's labels and random directions.
3. `stability`: cosines between halves of the scenarios, without a domain, and between arms.
4. `pairs`: cosine of single pairs' differences with the mean; agreement with a probe.
The layer is chosen on dev by the mean AUROC of `categorisation`; a set without a split takes the
one at two thirds of the depth.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.metadata import version
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from probekit import runs
from probekit.depth import headline_layer, nearest
from probekit.directions import Directions, extract, top_tokens
from probekit.errors import UserError
from probekit.evaluation import Row
from probekit.head import Head
from probekit.models import Model
from probekit.pooling import parse
from probekit.quality import heldout, stability
from probekit.quality.fits import Fits
from probekit.quality.options import Extraction
from probekit.quality.pairs import Screens
from probekit.quality.sample import Sample
from probekit.questions import Material, Question
from probekit.runs import Progress
from probekit.stimuli import StimulusSet
from probekit.tasks import tasks_of

__all__ = ["DIRECTIONS", "Extraction", "run_directions"]

DIRECTIONS = "directions"
"""The folder of a run's directions."""
TOP = 10
"""Tokens that the manifest gives of each direction."""


def run_directions(
    model: Model,
    stimuli: StimulusSet,
    out: Path,
    options: Extraction,
    *,
    command: str = "",
    progress: Progress = lambda *_: None,
) -> Path:
    """Extract directions, measure them, and write the run folder; one that was killed goes on.

    Args:
        model: the model.
        stimuli: a set whose rows name emotions.
        out: the run folder.
        options: sites, poolings, estimators and sizes.
        command: what the user typed, for the manifest.
        progress: receives what is done.

    Returns:
        `out`, which then holds `directions/`, `results.csv` and `manifest.json`.

    Raises:
        UserError: a set that names fewer than two emotions, a design that an estimator cannot
            use, bad options, or `out` holds another run; nothing is written then.
    """
    options.check()
    model.sites.expand(options.sites)
    study = _Study(model, stimuli, out, options, progress)
    study.rehearse()
    model.encode(stimuli.texts, options.template, ids=stimuli.ids, truncate=options.truncate)
    runs.open_run(out, study.identity)
    rows = list(study.rows())
    common = {"study": "directions", "model": model.describe()["name"], "set": stimuli.name}
    seed = {"seed": options.seed}
    runs.write_results(out / runs.RESULTS, [{**common, **row, **seed} for row in rows])
    given = options.describe()
    kinds = dict.fromkeys(site.kind for site in model.sites.expand(options.sites))
    manifest = runs.manifest(
        "directions",
        model=model.describe(),
        stimuli=[stimuli.describe()],
        command=command,
        seed=options.seed,
        identity=study.identity,
        **{name: value for name, value in given.items() if name not in ("sites", "seed")},
        sites=list(kinds),
        directions=study.made,
        notes=list(dict.fromkeys(study.notes)),
    )
    runs.write_json(out / runs.MANIFEST, manifest)
    return out


class _Study:
    """One set on one model."""

    def __init__(
        self,
        model: Model,
        stimuli: StimulusSet,
        out: Path,
        options: Extraction,
        progress: Progress,
    ) -> None:
        self.model, self.stimuli, self.out, self.options = model, stimuli, out, options
        capture = (options.sites, options.positions, options.template)
        self.material = Material(
            model, stimuli, *capture, truncate=options.truncate, progress=progress
        )
        self.identity = {
            "study": "directions",
            "version": version("emotion-probekit"),
            "model": model.fingerprint,
            "stimuli": {stimuli.name: stimuli.sha256},
            **options.describe(),
        }
        self.questions, self.notes = self._questions()
        self.samples = [Sample.of(which, whether) for which, whether in self.questions]
        self.made: list[dict[str, Any]] = []

    def _questions(self) -> tuple[list[tuple[Question, Question | None]], list[str]]:
        """Of each arm, the question of which emotion and, if there is one, of whether any."""
        options = self.options
        needed = f"{self.stimuli.name}: directions need two or more emotions"
        try:
            tasks, notes = tasks_of(self.stimuli, options.folds)
        except UserError as why:
            raise UserError(f"{needed}: {why}") from why
        asked = {
            (task.name, task.source): Question(
                task, options.folds, options.bootstraps, options.seed
            )
            for task in tasks
            if task.name in ("reception", "categorisation")
        }
        found = [
            (question, asked.get(("reception", source)))
            for (name, source), question in asked.items()
            if name == "categorisation"
        ]
        if not found:
            raise UserError(": ".join([needed, *notes]))
        return found, [note for note in notes if "categorisation" in note or "reception" in note]

    def rehearse(self) -> None:
        """Fit every estimator on numbers without meaning: designs are refused before any work."""
        for sample in self.samples:
            states = np.random.default_rng(0).standard_normal((len(sample), 1, 8))
            for estimator in self.options.estimators:
                fits = Fits(sample, states.astype(np.float32), [0], estimator, self.options)
                fits.folds  # noqa: B018 - the fits are what is tried

    def rows(self) -> Iterator[Row]:
        """Rows of every arm, site, pooling and estimator; directions are saved on the way."""
        kinds = dict.fromkeys(s.kind for s in self.model.sites.expand(self.options.sites))
        places = [(kind, pooling) for kind in kinds for pooling in parse(self.options.positions)]
        blocks = [(*place, name) for place in places for name in self.options.estimators]
        total, done = len(self.samples) * (1 + len(blocks)), 0
        label = f"directions of {self.stimuli.name}"
        self.material.progress(label, done, total)
        words = []
        for pair in self.questions:
            words.append([q.words(self.material) if q else None for q in pair])
            done += 1
            self.material.progress(label, done, total)
        for kind, pooling, estimator in blocks:
            fits = [self._fits(sample, kind, pooling, estimator) for sample in self.samples]
            at = {"site": kind, "pooling": pooling}
            for number, each in enumerate(fits):
                found = self._stage(
                    f"{kind}/{pooling}/{estimator}/{each.sample.source}",
                    lambda n=number, f=each: self._measure(f, self.questions[n], words[n]),
                )
                yield from ({**at, **row} for row in found["rows"])
                self.notes += found["notes"]
                self._save(each, kind, pooling, found["layer"])
                done += 1
                self.material.progress(label, done, total)
            found = self._stage(
                f"{kind}/{pooling}/{estimator}/arms", lambda fits=fits: list(_between(fits))
            )
            yield from ({**at, **row} for row in found)
        for pair, sample, found in zip(self.questions, self.samples, words, strict=True):
            # The reference's own figures are given again, emotion by emotion.
            yield from (row for row in found[0]["rows"] if row["method"] != "reference")
            for question, read in zip(pair, found, strict=True):
                if question is not None and read is not None:
                    yield from heldout.word_rows(question, sample, read["text"])

    def _stage(self, part: str, make: Any) -> Any:
        return runs.stage(self.out, {**self.identity, "part": part}, make)

    def _fits(self, sample: Sample, kind: str, pooling: str, estimator: str) -> Fits:
        store = self.material.store
        states = store.load(kind, pooling).stack(kind, pooling)[sample.rows]
        return Fits(sample, states, store.layers[kind], estimator, self.options)

    def _measure(
        self, fits: Fits, questions: tuple[Question, Question | None], words: list[Any]
    ) -> dict[str, Any]:
        which, whether = questions
        rows: list[Row] = []
        layer, notes = nearest(fits.layers, headline_layer(self.model.n_layers)), []
        place = fits.layers.index(layer)
        if "dev" in which.splits:
            dev = heldout.Reader(which.scorers[fits.sample.source, "dev"], fits.sample)
            place = heldout.best_layer(heldout.curve(dev, fits.scores(fits.folds)))
            layer = fits.layers[place]
        asked = [(which, words[0])]
        if whether is not None and (fits.sample.of_scenario() != "").all():
            asked.append((whether, words[1]))
        for question, found in asked:
            for chosen in (None, place):
                rows += heldout.rows(fits, question, found["text"], chosen)
        more, said = stability.rows(fits)
        rows += [*more, *Screens(fits).rows()]
        told = {"source": fits.sample.source, "target": fits.sample.source}
        told |= {"task": "categorisation", "split": which.splits[0], "method": fits.estimator}
        rows.append({**told, "condition": "direction", "metric": "chosen_layer", "value": layer})
        return {"rows": rows, "layer": layer, "notes": [*notes, *said]}

    def _save(self, fits: Fits, kind: str, pooling: str, layer: int) -> None:
        """Save the directions of what may be learned from, and note what they write."""
        sample = fits.sample
        kept = [self.stimuli.rows[row] for row in sample.rows[sample.learned]]
        parts = (fits.estimator, kind, pooling, sample.source)
        path = Path(DIRECTIONS) / f"{'.'.join(part for part in parts if part)}.safetensors"
        directions = extract(
            self.model,
            StimulusSet(self.stimuli.name, tuple(kept)),
            self.material.store,
            kind=kind,  # type: ignore[arg-type]
            pooling=pooling,
            template=self.options.template,
            estimator=fits.estimator,
            neutral_components=self.options.neutral_components,
            whiten=self.options.whiten,
        )
        directions.save(self.out / path)
        told = {"file": str(path), "source": sample.source, "site": kind, "pooling": pooling}
        told |= {"estimator": fits.estimator, "layer": layer, "emotions": list(sample.emotions)}
        self.made.append({**told, **self._tokens(directions, layer)})

    @cached_property
    def _head(self) -> Head:
        return Head(self.model)

    def _tokens(self, directions: Directions, layer: int) -> Mapping[str, Any]:
        if directions.kind in ("z", "mlp_post"):
            return {}
        random = directions.peer(self.options.seed)

        def written(of: Directions, emotion: str) -> list[str]:
            found = top_tokens(self.model, of, emotion, layer, TOP, head=self._head)
            return [word.text for word in found]

        own = {emotion: written(directions, emotion) for emotion in directions.emotions}
        return {"top_tokens": own, "random_tokens": written(random, directions.emotions[0])}


def _between(fits: list[Fits]) -> Iterator[Row]:
    """Rows of every two arms that tell the same scenarios."""
    for one, other in combinations(fits, 2):
        same = set(one.sample.group[one.sample.learned]) == set(
            other.sample.group[other.sample.learned]
        )
        if same and stability.halvable(one):
            yield from stability.between(one, other)
