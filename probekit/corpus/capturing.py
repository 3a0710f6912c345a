"""`capture_corpus`: activations of a whole corpus into one store, its texts and labels beside."""

from collections.abc import Callable, Sequence
from pathlib import Path

from probekit import runs
from probekit.activations import SHARD_ITEMS, Job, capture
from probekit.corpus.cluster import check_workers
from probekit.corpus.items import prepare
from probekit.corpus.streaming import Corpus
from probekit.corpus.workers import capture_by_workers
from probekit.models import Model
from probekit.prompts import NO_TEMPLATE, Template
from probekit.store import ActivationStore


def capture_corpus(
    model: Model,
    corpus: Corpus,
    out: Path,
    sites: Sequence[str],
    positions: Sequence[str],
    *,
    template: Template = NO_TEMPLATE,
    truncate: bool = False,
    shard_items: int = SHARD_ITEMS,
    workers: int = 1,
    command: str = "",
    advance: Callable[[int], None] = lambda _: None,
) -> ActivationStore:
    """Read a corpus and write its store; one that was killed goes on at its first missing shard.

    The corpus is filtered first, into `items.parquet`. Texts and activations are streamed: memory
    does not grow with the corpus.

    Args:
        model: the model.
        corpus: what is read.
        out: the folder of the store; `items.parquet` and `manifest.json` are written there too.
        sites, positions, template: as in `capture`.
        truncate: cut texts that do not fit the context, instead of refusing them.
        shard_items: texts of a shard.
        workers: processes that read; more than one need Ray and load the model each, by its name,
            on a device of the kind that this model is on. In a cluster of several machines the
            model, the store and the cache must lie on a disk that all share.
        command: what the user typed, for the manifest.
        advance: called with the number of texts finished.

    Raises:
        UserError: as `prepare` and `capture`; workers that cannot be, or no Ray for them.
    """
    check_workers(workers)
    items = prepare(corpus, out, shard_items)
    if workers > 1:
        job = Job(model, sites, positions, template=template, truncate=truncate)
        store = capture_by_workers(job, items, out, shard_items, workers, advance)
    else:
        store = capture(
            model,
            items.texts(),
            sites,
            positions,
            store=out,
            template=template,
            truncate=truncate,
            shard_items=shard_items,
            advance=advance,
        )
    manifest = {
        "corpus": Path(corpus.name_or_path).name,
        **items.key,
        "counts": items.counts,
        "model": model.describe(),
        "template": template.describe(),
        "truncate": truncate,
        "workers": workers,
        "command": command,
    }
    runs.write_json(out / runs.MANIFEST, manifest)
    return store
