"""The command that reads a whole corpus into a store of activations: `capture`."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from probekit import runs
from probekit.cli.application import (
    Device,
    Dtype,
    ModelName,
    Pooling,
    Sites,
    TemplateName,
    Truncate,
    app,
    bars,
    load,
    out,
    split,
)


@app.command()
def capture(
    model: ModelName,
    corpus: Annotated[
        str,
        typer.Argument(help="A shipped set, a file, a folder, or hf://datasets/OWNER/NAME/SPLIT."),
    ],
    store: Annotated[Path, typer.Option("--out", help="Folder of the store.")],
    sites: Sites = "resid_post",
    pooling: Pooling = "last,mean",
    template: TemplateName = "none",
    text: Annotated[str, typer.Option(help="The column of texts.")] = "text",
    label: Annotated[
        str, typer.Option(help="The column of labels. Default: emotion, or label.")
    ] = "",
    taxonomy: Annotated[str, typer.Option(help="What the labels are of, such as goemotions.")] = "",
    to: Annotated[str, typer.Option(help="The taxonomy they are mapped to, such as ekman.")] = "",
    fewest_words: Annotated[int, typer.Option(help="Texts with fewer are dropped.")] = 0,
    language: Annotated[
        str, typer.Option(help="Texts surely in another one are dropped; such as en.")
    ] = "",
    repeats: Annotated[
        str, typer.Option(help="keep all, drop exact ones, or near ones too.")
    ] = "keep",
    workers: Annotated[
        int, typer.Option(help="Processes that read; more than one need emotion-probekit[ray].")
    ] = 1,
    device: Device = "auto",
    dtype: Dtype = "auto",
    truncate: Truncate = False,
) -> None:
    """Stream pooled activations of texts into a store, their labels beside; stopped, it goes on.

    What is dropped is counted in the store's manifest.json.
    """
    from probekit.corpus import Corpus, Filters, Items, capture_corpus
    from probekit.corpus.cluster import check_workers
    from probekit.prompts import Template

    check_workers(workers)
    filters = Filters(fewest_words, language, repeats)
    asked = Corpus(corpus, text, label, filters, taxonomy, to)
    asked.check()
    shape = Template.load(template)
    loaded = load(model, device, dtype)
    with bars() as progress:
        found = capture_corpus(
            loaded,
            asked,
            store,
            split(sites),
            split(pooling),
            template=shape,
            truncate=truncate,
            workers=workers,
            command=shlex.join(sys.argv[1:]),
            advance=runs.counting(progress, "reading"),
        )
    counts = Items(store).counts
    dropped = [f"{n} {why}" for why, n in counts.items() if why not in ("read", "kept")]
    told = f" (dropped: {', '.join(dropped)})" if dropped else ""
    out.print(f"{len(found)} items in {store}{told}", soft_wrap=True)
