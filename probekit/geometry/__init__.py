"""The geometry of emotion in a model: how emotions lie to one another, held against theories.

1. Items are texts that name an emotion; their states give one Gram matrix for each layer, and so do
   their words (bag of words, mean input embedding): every figure is computed of both, and where it
   answers a question its difference from words is a figure too.
2. `centroids`: cosines between emotions, around their mean. `silhouette`: by emotion, beside the
   same by domain and by arm. `components`: principal components of the texts.
3. `rsa`: cross-validated distances between emotions against theories: the circumplex of published
   valence and arousal, and Plutchik's wheel; alone, given length and domain, and given the words.
   `rsa_items`: distances between texts of different scenarios against emotion, arm, domain, length.
4. `axis`: valence and arousal, learned from labels and norms on dev, tried on the ratings of test.
5. `dimensions`: the participation ratio between and within emotions.

Nothing is chosen by these figures, so all but the axes rest on every text of the set; a layer that
is picked from them must be shown on other texts.
"""

import csv
from importlib.metadata import version
from pathlib import Path
from typing import Any

from probekit import runs
from probekit.geometry.alignment import Alignment, align, cka
from probekit.geometry.design import Design, design_of
from probekit.geometry.options import Geometry
from probekit.geometry.stack import allowed
from probekit.geometry.study import WORDS, Study
from probekit.models import Model
from probekit.runs import Progress
from probekit.stimuli import StimulusSet

__all__ = ["Alignment", "Geometry", "align", "cka", "run_geometry"]


def run_geometry(
    model: Model,
    stimuli: StimulusSet,
    out: Path,
    options: Geometry,
    *,
    command: str = "",
    progress: Progress = lambda *_: None,
) -> Path:
    """Run the study and write its run folder; one that was killed goes on.

    Args:
        model: the model.
        stimuli: a set whose rows name emotions.
        out: the run folder.
        options: sites, poolings, template and sizes.
        command: what the user typed, for the manifest.
        progress: receives what is done.

    Returns:
        `out`, which then holds `results.csv`, `coordinates.csv` and `manifest.json`.

    Raises:
        UserError: a set that names fewer than two emotions, bad options, or `out` holds another
            run; nothing is written then.
    """
    options.check()
    model.sites.expand(options.sites)
    design = design_of(stimuli, options.permutations, options.seed)
    model.encode(stimuli.texts, options.template, ids=stimuli.ids, truncate=options.truncate)
    identity = {
        "study": "geometry",
        "version": version("emotion-probekit"),
        "model": model.fingerprint,
        "stimuli": {stimuli.name: stimuli.sha256},
        "ratings": runs.digest({k: [repr(v) for v in r] for k, r in design.ratings.items()}),
        **options.describe(),
    }
    runs.open_run(out, identity)
    rows, places = Study(model, design, options, out, identity, progress).rows()
    common = {
        "study": "geometry",
        "model": model.describe()["name"],
        "set": stimuli.name,
        "split": "all",
    }
    seed = {"seed": options.seed}
    runs.write_results(out / runs.RESULTS, [{**common, **row, **seed} for row in rows])
    _write_coordinates(out / runs.COORDINATES, places)
    manifest = _manifest(model, stimuli, design, options, command, identity)
    runs.write_json(out / runs.MANIFEST, manifest)
    return out


def _write_coordinates(path: Path, places: list[dict[str, Any]]) -> None:
    """A table of its own: a coordinate has no meaning but beside the others."""
    with (
        runs.atomic_write(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as f,
    ):
        writer = csv.writer(f, lineterminator="\n")
        writer.writerow(list(places[0]))
        writer.writerows([runs.cell(value) for value in row.values()] for row in places)


def _manifest(
    model: Model,
    stimuli: StimulusSet,
    design: Design,
    options: Geometry,
    command: str,
    identity: dict[str, Any],
) -> dict[str, Any]:
    theories, notes = allowed(design.labels)
    given = options.describe()
    kinds = dict.fromkeys(site.kind for site in model.sites.expand(options.sites))
    return runs.manifest(
        "geometry",
        model=model.describe(),
        stimuli=[stimuli.describe()],
        command=command,
        seed=options.seed,
        identity=identity,
        **{name: value for name, value in given.items() if name not in ("sites", "seed")},
        sites=list(kinds),
        labels=list(design.labels),
        arms=list(design.arms),
        held_out=design.held_out,
        theories=list(theories),
        words=list(WORDS),
        ratings=list(design.ratings),
        notes=[*design.notes, *notes],
    )
