"""The command that erases concepts: `erase`."""

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

LAYERS = "all, every:3 (steps from the layer at two thirds of the depth), or numbers, 6,12"


@app.command()
def erase(
    model: ModelName,
    stimuli: Stimuli = "vignettes",
    concepts: Annotated[
        str,
        typer.Option(
            help="Comma-separated, such as reception or categorisation/keyword_free. Default: "
            "both, of every arm."
        ),
    ] = "",
    sites: Sites = "resid_post",
    pooling: Pooling = "mean",
    template: TemplateName = "none",
    layers: Annotated[str, typer.Option(help=f"{LAYERS}.")] = "all",
    loss_layers: Annotated[
        str, typer.Option(help="Of these, where the model's loss is measured; none: nowhere.")
    ] = "all",
    out_: Folder = None,
    seed: Annotated[int, typer.Option(help="Of folds, permutations, controls, bootstraps.")] = 0,
    folds: Annotated[int, typer.Option(min=3, help="Half for the eraser, half to probe.")] = 6,
    permutations: Annotated[int, typer.Option(min=1, help="Relabelings of the null.")] = 100,
    device: Device = "auto",
    dtype: Dtype = "auto",
    truncate: Truncate = False,
) -> None:
    """Erase reception and emotion: what does a new probe still find, and what else is lost?

    LEACE beside projection, random erasing and chance; the loss beside a placebo. The erasers are
    kept. Writes manifest.json, results.csv and report.html. Stopped, the same command goes on.
    """
    from probekit.erasure import Erasure, run_erasure
    from probekit.prompts import Template

    options = Erasure(
        sites=split(sites),
        positions=split(pooling),
        template=Template.load(template),
        concepts=split(concepts),
        layers=layers,
        loss_layers=loss_layers,
        folds=folds,
        permutations=permutations,
        seed=seed,
        truncate=truncate,
    )
    options.check()
    run_study(run_erasure, "erase", model, stimuli, options, out_, device, dtype)
