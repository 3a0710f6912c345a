"""`run_erasure`: concepts of a set erased at every layer, what is left, lost and paid for it."""

from collections import defaultdict
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from probekit import runs, stats
from probekit.depth import headline_layer
from probekit.erasure.options import Erasure, chosen
from probekit.erasure.questions import questions_of
from probekit.erasure.stages import Study
from probekit.models import Model
from probekit.runs import Progress
from probekit.stimuli import StimulusSet

Row = dict[str, Any]
FIGURES = {"value", "low", "high", "p", "q", "k", "layer"}
"""Cells in which rows of one family of tests differ."""


def run_erasure(
    model: Model,
    stimuli: StimulusSet,
    out: Path,
    options: Erasure,
    *,
    command: str = "",
    progress: Progress = lambda *_: None,
) -> Path:
    """Run the study and write its run folder; one that was killed goes on.

    Args:
        model: the model.
        stimuli: a set with reception, categorisation or another task of classes.
        out: the run folder.
        options: concepts, sites, layers and sizes.
        command: what the user typed, for the manifest.
        progress: receives what is done.

    Returns:
        `out`, which then holds `results.csv`, `manifest.json` and the erasers of each concept in
        `erasers/`, fitted on every learned row; see `Erasers`. In the results, `source` is the
        concept erased and `target` the one read, both with their arm.

    Raises:
        UserError: a set without such a task, bad options, or `out` holds another run; nothing is
            written then.
    """
    options.check()
    layers = _layers(model, options)
    asked = questions_of(stimuli, options.concepts, options.folds, options.seed)
    model.encode(stimuli.texts, options.template, ids=stimuli.ids, truncate=options.truncate)
    identity = {
        "study": "erase",
        "version": version("emotion-probekit"),
        "model": model.fingerprint,
        "stimuli": {stimuli.name: stimuli.sha256},
        **options.describe(),
    }
    runs.open_run(out, identity)
    study = Study(model, stimuli, asked[0], layers, options, out, identity, progress)
    common = {"study": "erase", "model": model.describe()["name"], "set": stimuli.name}
    found = [{**common, **row, "seed": options.seed} for row in study.rows()]
    runs.write_results(out / runs.RESULTS, over_layers(found))
    notes = [*asked[1], *study.notes]
    runs.write_json(out / runs.MANIFEST, _manifest(study, command, notes))
    return out


def over_layers(rows: Sequence[Row]) -> list[Row]:
    """The rows with q of their p-values over the layers of each figure.

    Layers come from stages of their own, so only here they are together.
    """
    families: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        if row.get("p") is not None:
            cells = {k: v for k, v in row.items() if k not in FIGURES}
            families[tuple(sorted(cells.items()))].append(place)
    out = [{**row, "q": None} for row in rows]
    for places in families.values():
        adjusted = stats.adjusted([rows[place]["p"] for place in places])
        for place, q in zip(places, adjusted, strict=True):
            out[place]["q"] = q
    return out


def _layers(model: Model, options: Erasure) -> dict[str, list[int]]:
    """Kind of site -> layers to erase at, of those that the sites name."""
    named: dict[str, list[int]] = defaultdict(list)
    for site in model.sites.expand(options.sites):
        named[site.kind].append(site.layer)
    headline = headline_layer(model.n_layers)
    found = {kind: chosen(options.layers, own, headline) for kind, own in named.items()}
    for own in found.values():
        chosen(options.loss_layers, own, headline)  # Refused before anything is written.
    return found


def _manifest(study: Study, command: str, notes: Sequence[str]) -> dict[str, Any]:
    given = study.options.describe()
    own = ("poolings", "template", "folds", "permutations", "bootstrap", "truncate")
    return runs.manifest(
        "erase",
        model=study.model.describe(),
        stimuli=[study.stimuli.describe()],
        command=command,
        seed=study.options.seed,
        identity=study.identity,
        sites=list(study.layers),
        **{name: given[name] for name in own},
        **study.describe(),
        notes=list(dict.fromkeys(notes)),
    )
