"""The command that asks how emotions lie to one another: `geometry`."""

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
    run_study,
    split,
)


@app.command()
def geometry(
    model: ModelName,
    stimuli: Stimuli = "vignettes",
    sites: Sites = "resid_post",
    pooling: Pooling = "last,mean",
    template: TemplateName = "feeling",
    out_: Folder = None,
    seed: Annotated[int, typer.Option(help="Of halves, relabelings and bootstraps.")] = 0,
    permutations: Annotated[int, typer.Option(min=1, help="Relabelings of every p.")] = 1000,
    device: Device = "auto",
    dtype: Dtype = "auto",
    truncate: Truncate = False,
) -> None:
    """Hold the distances of emotions against theories, and against those of the words.

    Writes manifest.json, results.csv, coordinates.csv and report.html. Stopped, the same command
    goes on.
    """
    from probekit.geometry import Geometry, run_geometry
    from probekit.prompts import Template

    options = Geometry(
        sites=split(sites),
        positions=split(pooling),
        template=Template.load(template),
        permutations=permutations,
        seed=seed,
        truncate=truncate,
    )
    run_study(run_geometry, "geometry", model, stimuli, options, out_, device, dtype)
