"""`capture_corpus`: activations of a whole corpus into one store, with its labels beside them."""

import csv
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryFile

from probekit import runs
from probekit.activations import SHARD_ITEMS, capture
from probekit.corpus.streaming import Corpus
from probekit.models import Model
from probekit.prompts import NO_TEMPLATE, Template
from probekit.store import ActivationStore

LABELS = "labels.csv"
"""In the store's folder: `id,label` of every text that was kept, in the order of the store."""


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
    command: str = "",
    advance: Callable[[int], None] = lambda _: None,
) -> ActivationStore:
    """Read a corpus and write its store; one that was killed goes on at its first missing shard.

    Texts, labels and activations are streamed: memory does not grow with the corpus.

    Args:
        model: the model.
        corpus: what is read; its counts are those of the whole pass.
        out: the folder of the store; `labels.csv` and `manifest.json` are written there too.
        sites, positions, template: as in `capture`.
        truncate: cut texts that do not fit the context, instead of refusing them.
        shard_items: texts of a shard.
        command: what the user typed, for the manifest.
        advance: called with the number of texts finished.

    Raises:
        UserError: as `Corpus` and `capture`.
    """
    with TemporaryFile("w+", newline="", encoding="utf-8") as labels:
        writer = csv.writer(labels, lineterminator="\n")
        writer.writerow(("id", "label"))

        def texts() -> Iterator[tuple[str, str]]:
            for item in corpus:
                writer.writerow((item.id, item.label))
                yield item.id, item.text

        store = capture(
            model,
            texts(),
            sites,
            positions,
            store=out,
            template=template,
            truncate=truncate,
            shard_items=shard_items,
            advance=advance,
        )
        labels.seek(0)
        # Only a whole pass has all labels: until then the folder holds shards alone.
        with runs.atomic_write(out / LABELS) as whole, whole.open("w", encoding="utf-8") as file:
            shutil.copyfileobj(labels, file)
    manifest = {
        "corpus": Path(corpus.name_or_path).name,
        **corpus.describe(),
        "model": model.describe(),
        "template": template.describe(),
        "truncate": truncate,
        "command": command,
    }
    runs.write_json(out / runs.MANIFEST, manifest)
    return store
