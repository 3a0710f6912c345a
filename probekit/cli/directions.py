"""Commands about directions of emotions: `directions`, `export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    bars,
    load,
    numbered,
    out,
    run_study,
    split,
)
from probekit.errors import UserError

if TYPE_CHECKING:
    from probekit.directions import Directions


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
        str,
        typer.Option(
            help="Such as 19, or 10,15, or 10-19. Default: all; with --dose, the middle third."
        ),
    ] = "",
    scale: Annotated[
        float | None, typer.Option(help="Length of each vector. Default: its raw norm.")
    ] = None,
    dose: Annotated[
        float | None,
        typer.Option(
            help="Length of each vector over that of neutral states at its layer, as in `steer`."
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            help="For --dose: the model that the directions are of, to measure its neutral states "
            "where the file does not hold them."
        ),
    ] = "",
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> None:
    """Write one emotion's directions for another engine."""
    from probekit.directions import Directions, write_gguf, write_tensors

    writers = {".gguf": write_gguf, ".safetensors": write_tensors}
    if path.suffix not in writers:
        raise UserError(f"--out {path}: give a name that ends in {' or '.join(writers)}")
    if model and dose is None:
        raise UserError(f"--model {model}: it is for --dose, which it measures the unit of")
    chosen = numbered("--layers", layers) or None
    loaded = Directions.load(file)
    if dose is not None:
        loaded = _dosed(loaded, dose, model, device, dtype)
    written = writers[path.suffix](loaded, emotion, path, layers=chosen, scale=scale, dose=dose)
    out.print(f"{emotion} at layers {written[0]} to {written[-1]} in {path}", soft_wrap=True)


def _dosed(
    directions: "Directions", dose: float, model: str, device: str, dtype: str
) -> "Directions":
    """Directions with the unit of a dose, measured on the model if one is named."""
    from probekit.runs import counting
    from probekit.steering import checked_dose, residual_scale, with_scale

    checked_dose(dose)
    if not model:
        return directions
    loaded = load(model, device, dtype)
    directions.for_model(loaded)
    with bars() as progress:
        advance = counting(progress, "neutral texts")
        return with_scale(directions, residual_scale(loaded, directions.kind, advance=advance))
