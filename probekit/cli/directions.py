"""Commands about directions of emotions: `directions`, `export`."""

from pathlib import Path
from typing import Annotated

import typer

from probekit.cli.application import (
    Device,
    Dtype,
    Folder,
    ModelName,
    Pooling,
    Sites,
    Stimuli,
    TemplateName,
    Truncate,
    app,
    out,
    run_study,
    split,
)
from probekit.errors import UserError


@app.command()
def directions(
    model: ModelName,
    stimuli: Stimuli = "vignettes",
    sites: Sites = "resid_post",
    pooling: Pooling = "mean",
    estimators: Annotated[
        str,
        typer.Option(help="grouped, mean, control, lda, logistic, pca, random; comma-separated."),
    ] = "grouped",
    neutral_components: Annotated[
        float | None,
        typer.Option(help="Share of neutral texts' variance whose components are taken out."),
    ] = None,
    whiten: Annotated[
        bool, typer.Option("--whiten", help="Estimate where spread within emotions is alike.")
    ] = False,
    template: TemplateName = "none",
    out_: Folder = None,
    seed: Annotated[int, typer.Option(help="Of folds, halves, random directions, draws.")] = 0,
    folds: Annotated[int, typer.Option(min=3, help="Folds of the dev split.")] = 6,
    permutations: Annotated[int, typer.Option(min=0, help="Relabelings of the null.")] = 100,
    truncate: Truncate = False,
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> None:
    """Extract a direction for every emotion, and measure it on texts it was not learned from.

    Writes directions/, manifest.json, results.csv and report.html. Stopped, the same command goes
    on.
    """
    from probekit.prompts import Template
    from probekit.quality import Extraction, run_directions

    options = Extraction(
        sites=split(sites),
        positions=split(pooling),
        template=Template.load(template),
        estimators=split(estimators),
        neutral_components=neutral_components,
        whiten=whiten,
        folds=folds,
        permutations=permutations,
        seed=seed,
        truncate=truncate,
    )
    run_study(run_directions, "directions", model, stimuli, options, out_, device, dtype)


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="Directions: a .safetensors of `directions`.")],
    emotion: Annotated[str, typer.Argument(help="The emotion whose vectors are written.")],
    path: Annotated[
        Path, typer.Option("--out", help="FILE.gguf (llama.cpp) or FILE.safetensors (layers.N).")
    ],
    layers: Annotated[
        str, typer.Option(help="Numbers of layers, comma-separated. Default: all.")
    ] = "",
    scale: Annotated[
        float | None, typer.Option(help="Length of each vector. Default: its raw norm.")
    ] = None,
) -> None:
    """Write one emotion's directions for another engine."""
    from probekit.directions import Directions, write_gguf, write_tensors

    writers = {".gguf": write_gguf, ".safetensors": write_tensors}
    if path.suffix not in writers:
        raise UserError(f"--out {path}: give a name that ends in {' or '.join(writers)}")
    if strange := [n for n in split(layers) if not n.isdecimal()]:
        raise UserError(f"--layers {strange[0]!r}: give numbers, such as 10,11,12")
    chosen = [int(n) for n in split(layers)] or None
    loaded = Directions.load(file)
    written = writers[path.suffix](loaded, emotion, path, layers=chosen, scale=scale)
    out.print(f"{emotion} at layers {written[0]} to {written[-1]} in {path}", soft_wrap=True)
