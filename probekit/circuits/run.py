"""`run_circuits`: the whole study, stage by stage, into one run folder."""

from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from probekit import runs
from probekit.causal import Row
from probekit.circuits import ablating, modulating, rows
from probekit.circuits.activities import SCALED
from probekit.circuits.components import INNER, Values
from probekit.circuits.edges import Material, connect
from probekit.circuits.options import STAGES, Circuits
from probekit.circuits.plan import memory_plan
from probekit.circuits.study import Study
from probekit.directions.design import NEUTRAL
from probekit.errors import unknown
from probekit.judges import Judge
from probekit.models import Model
from probekit.runs import Progress
from probekit.stages import Made


def run_circuits(
    model: Model,
    out: Path,
    options: Circuits,
    *,
    judge: Judge,
    other: Model | None = None,
    stages: Sequence[str] = STAGES,
    command: str = "",
    progress: Progress = lambda *_: None,
    say: Callable[[str], None] = lambda _: None,
) -> Path | None:
    """Run the study and write its run folder; one that was killed goes on.

    Args:
        model: the model.
        out: the run folder.
        options: what is asked for.
        judge: of emotion; it is given texts and nothing else.
        other: another model, whose perplexity calls a text incoherent.
        stages: those to make; what they need must be there.
        command: what the user typed, for the manifest.
        progress: receives what is done.
        say: told the memory plan, and which stages are made anew.

    Returns:
        `out`, with `results.csv`, `circuits/`, `graphs/` and `scorecard/`; None where stages are
        left to make.

    Raises:
        UserError: bad options, too few accepted texts, an earlier stage that is missing, or `out`
            holds another model's run.
    """
    options.check()
    for name in stages:
        if name not in STAGES:
            raise unknown("stage", name, STAGES)
    study = Study(model, judge, options, out, stages, progress, say)
    first = min(STAGES.index(name) for name in stages)
    study.stages.require(STAGES[:first])
    identity = {
        "study": "circuit",
        "version": version("emotion-probekit"),
        "model": model.fingerprint,
    }
    runs.open_run(out, identity)
    for line in memory_plan(model, options):
        say(line)
    makers = {
        "texts": lambda: study.expressions,
        "activity": lambda: (study.material, study.vignettes),
        "scores": lambda: study.scores,
        "heads": lambda: study.heads,
        "influence": lambda: study.influence,
        "circuits": lambda: study.circuits,
        "validate": lambda: _validated(study),
        "edges": lambda: _connected(study),
        "modulate": lambda: _modulated(study, other, command),
    }
    last = max(STAGES.index(name) for name in stages)
    for name in STAGES[: last + 1]:
        makers[name]()
    if last + 1 < len(STAGES):
        return None
    found: list[Row] = [*_described(study), *_validated(study), *modulating.modulation(study)]
    common = {"study": "circuit", "model": model.public_name, "seed": options.seed}
    runs.write_results(out / runs.RESULTS, [{**common, **row} for row in found])
    manifest = runs.manifest(
        "circuit",
        model=model.describe(),
        stimuli=[study.material[0].describe()],
        command=command,
        seed=options.seed,
        identity=identity,
        judge=judge.name,
        options=options.describe(),
        notes=list(dict.fromkeys(study.notes)),
    )
    runs.write_json(out / runs.MANIFEST, manifest)
    return out


def _described(study: Study) -> Iterator[Row]:
    """What was found on the way to the circuits."""
    yield from rows.acceptance(study)
    yield from rows.scoring(study)
    yield from rows.source_cosines(study)
    yield from rows.influences(study)
    yield from rows.stability(study)


def _validated(study: Study) -> list[Row]:
    options = study.options
    names = ("draws", "replies", "seed", "bootstraps", "permutations")
    own = {name: getattr(options, name) for name in names}
    made = study.stages.run(
        "validate", own, ("circuits", "texts"), lambda: Made(ablating.validate(study))
    )
    return made.told


def _connected(study: Study) -> None:
    """A graph of every emotion's circuit, in `graphs/`."""

    def make() -> Made:
        stimuli, where, states = study.material
        texts, _, read = study.vignettes
        emotion = stimuli.column("emotion")
        neutral: Values = {
            kind: states.stack(kind, SCALED)[emotion == NEUTRAL].mean(0, dtype=np.float64)
            for kind in INNER
        }
        for place, name in enumerate(study.options.emotions):
            study.progress("paths", place, len(study.options.emotions))
            own = np.flatnonzero(emotion == name)[: 2 * study.options.head_texts].tolist()
            material = Material.of(
                study.model,
                [where[row] for row in own],
                [str(stimuli.column("scenario")[row]) for row in own],
                neutral,
                study.learned.directions,
            )
            graph = connect(
                material,
                study.circuit(name),
                study.options.edges,
                (texts, read),
                bootstraps=study.options.bootstraps,
                seed=study.options.seed,
            )
            graph.save(study.folder / runs.GRAPHS / f"{name}.json")
        study.progress("paths", len(study.options.emotions), len(study.options.emotions))
        return Made(list(study.options.emotions))

    options = study.options
    own = {"edges": options.edges, "texts": options.head_texts, "seed": options.seed}
    study.stages.run("edges", own, ("circuits",), make)


def _modulated(study: Study, other: Model | None, command: str) -> None:
    options = study.options
    own = {
        "scales": list(options.scales),
        "doses": list(options.doses),
        "prompts": options.prompts,
        "other": other.fingerprint if other else None,
        "bootstraps": options.bootstraps,
        "permutations": options.permutations,
        "seed": options.seed,
    }

    def make() -> Made:
        modulating.modulate(study, other, command)
        return Made()

    study.stages.run("modulate", own, ("circuits", "texts"), make)
