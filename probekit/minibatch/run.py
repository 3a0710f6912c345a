"""`run_probe_corpus`: the study of a corpus into one run folder."""

from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import torch

from probekit import runs
from probekit.minibatch import rows
from probekit.minibatch.options import Options
from probekit.minibatch.study import Study
from probekit.runs import Progress
from probekit.shown import sized

STUDY = "probe-corpus"


def memory_plan(study: Study) -> Iterator[str]:
    """Lines that say what is read and held."""
    blocks, parts = study.blocks, study.parts
    item = 4 * len(blocks.layers) * blocks.width
    yield f"{len(blocks)} items, {len(blocks.layers)} layers: {sized(item * len(blocks))} on disk"
    held = min(study.options.buffer_bytes, item * int((parts.times > 0).sum()))
    scores = 8 * len(blocks.layers) * len(parts.classes) * int(parts.held_out.sum())
    yield f"held at once: {sized(held)} of them, and {sized(scores)} of what probes say"


def run_probe_corpus(
    store: Path,
    out: Path,
    options: Options,
    *,
    device: torch.device | str = "cpu",
    command: str = "",
    progress: Progress = lambda *_: None,
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """Run the study and write its run folder; one that was killed goes on.

    Args:
        store: a folder that `capture_corpus` made, with labels.
        out: the run folder.
        options: what is asked for.
        device: where probes are fitted.
        command: what the user typed, for the manifest.
        progress: receives what is done.
        say: told the memory plan, and which stages are made anew.

    Returns:
        `out`, with `results.csv`.

    Raises:
        UserError: as `Study`, or `out` holds another run.
    """
    study = Study(store, options, out, device, progress, say)
    captured = study.captured
    identity = {
        "study": STUDY,
        "version": version("emotion-probekit"),
        **study.identity,
        "options": options.describe(),
    }
    runs.open_run(out, identity)
    for line in memory_plan(study):
        say(line)
    name = str(captured.get("corpus", store.name))
    table, chosen = rows.found(study)
    common = {"study": STUDY, "model": captured["model"]["name"], "set": name}
    common |= {"seed": options.seed}
    runs.write_results(out / runs.RESULTS, [{**common, **row} for row in table])
    parts = study.parts
    notes = list(captured["model"]["notes"])
    if parts.unlabelled:
        notes.append(f"{parts.unlabelled} items have no label and were left out.")
    manifest = runs.manifest(
        STUDY,
        model=captured["model"],
        stimuli=[{"name": name, "sha256": study.items.key["source"], "rows": len(study.items)}],
        command=command,
        seed=options.seed,
        identity=identity,
        options=options.describe(),
        device=str(torch.device(device).type),
        template=captured.get("template"),
        classes=[str(each) for each in parts.classes],
        counts=parts.counts,
        layers=list(study.blocks.layers),
        chosen_layer=chosen,
        reference=study.reference,
        epochs={method: study.epochs(method) for method in study.methods},
        notes=notes,
    )
    runs.write_json(out / runs.MANIFEST, manifest)
    return out
