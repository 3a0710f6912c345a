"""`run_retention`: the study of retention into one run folder."""

from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

from probekit import runs
from probekit.causal import adjusted
from probekit.models import Model
from probekit.persistence import rows
from probekit.persistence.following import batch_budget
from probekit.persistence.measures import Measures
from probekit.persistence.options import Retention
from probekit.persistence.retention import Study
from probekit.runs import Progress
from probekit.shown import sized
from probekit.stimuli import StimulusSet
from probekit.sweep.trunk import bytes_of

STUDY = "retain"


def memory_plan(study: Study) -> Iterator[str]:
    """Lines that say what is needed, from the model's shape and what is asked for."""
    model, options = study.model, study.options
    weights = sum(p.numel() * p.element_size() for p in model.hf.parameters())
    yield f"{model.public_name}: weights {sized(weights)} on {model.device.type}"
    held = bytes_of(model, batch_budget(model), 0)
    yield f"keys and values of a batch: {sized(held)}, three times that where some are removed"
    dev = int((~study.test).sum())
    floats = dev * options.learned * len(study.windows) * len(study.sites) * model.d_model
    yield f"states of {dev} texts to learn from: {sized(4 * floats)} on disk, three times in memory"
    longest = max(len(turn.prompt) for turn in study.turns) + options.tokens
    tokens = longest * (dev * options.learned + (len(study.test) - dev) * options.tested)
    cuts = sum(map(len, study.cuts.values()))
    yield f"at most {tokens:,} tokens to read, and the test texts' after each of {cuts} cuts"


def run_retention(
    model: Model,
    stimuli: StimulusSet,
    out: Path,
    options: Retention,
    *,
    command: str = "",
    progress: Progress = lambda *_: None,
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """Run the study and write its run folder; one that was killed goes on.

    Args:
        model: the model.
        stimuli: texts with `emotion`, `scenario`, and `split` dev or test.
        out: the run folder.
        options: what is asked for.
        command: what the user typed, for the manifest.
        progress: receives what is done.
        say: told the memory plan, and which stages are made anew.

    Returns:
        `out`, with `results.csv`.

    Raises:
        UserError: bad options, texts without two emotions in each split, a continuation that the
            context does not hold, or `out` holds another run.
    """
    study = Study(model, stimuli, options, out, progress, say)
    identity = {
        "study": STUDY,
        "version": version("emotion-probekit"),
        "model": model.fingerprint,
        "stimuli": stimuli.sha256,
        "options": options.describe(),
    }
    runs.open_run(out, identity)
    for line in memory_plan(study):
        say(line)
    measures = Measures(study)
    common = {"study": STUDY, "model": model.public_name, "set": stimuli.name}
    table = [{**common, "seed": options.seed, **row} for row in rows.found(study, measures)]
    adjusted(table)
    runs.write_results(out / runs.RESULTS, table)
    manifest = runs.manifest(
        STUDY,
        model=model.describe(),
        stimuli=[stimuli.describe()],
        command=command,
        seed=options.seed,
        identity=identity,
        options=options.describe(),
        chat=study.chat,
        words=study.words[0],
        scheme=measures.scheme,
        permutations=options.permutations,
        chosen_layer=study.sites[study.probe.place].layer,
        layers=[site.layer for site in study.sites],
        continuations=[study.model.tokenizer.decode(each) for each in study.continuations],
        notes=list(model.notes),
    )
    runs.write_json(out / runs.MANIFEST, manifest)
    return out
