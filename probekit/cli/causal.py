"""Commands that change a model and measure what follows: `patch`, `ablate`."""

from typing import Annotated, Any

import typer

from probekit.cli.application import (
    Device,
    Dtype,
    Folder,
    ModelName,
    Stimuli,
    TemplateName,
    app,
    run_study,
    split,
)

Seed = Annotated[int, typer.Option(help="Of sources, controls, bootstraps and sign flips.")]
Permutations = Annotated[int, typer.Option(min=1, help="Sign flips of every p.")]


@app.command()
def patch(
    model: ModelName,
    stimuli: Stimuli = "vignettes",
    sites: Annotated[
        str, typer.Option(help="Kinds of site, comma-separated; every layer is patched.")
    ] = "resid_post,attn_out,mlp_out",
    heads: Annotated[bool, typer.Option("--heads", help="Patch every single head too.")] = False,
    template: TemplateName = "feeling",
    out_: Folder = None,
    seed: Seed = 0,
    permutations: Permutations = 9999,
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> None:
    """Put the state of another text in a text's place: does its emotion come along?

    Sources: same emotion, another one, neutral control, random vector, another position, none.
    Writes manifest.json, results.csv and report.html. Stopped, the same command goes on.
    """
    from probekit.patching import Patching, run_patching

    options = Patching(split(sites), heads, _sizes(template, seed, permutations))  # type: ignore[arg-type]
    run_study(run_patching, "patch", model, stimuli, options, out_, device, dtype)


@app.command()
def ablate(
    model: ModelName,
    stimuli: Stimuli = "vignettes",
    units: Annotated[
        str, typer.Option(help="heads, sublayers, layers, neurons; comma-separated.")
    ] = "heads,sublayers,layers",
    methods: Annotated[
        str, typer.Option(help="zero, mean, resample, project, random; each beside its placebo.")
    ] = "zero,mean,resample",
    positions: Annotated[str, typer.Option(help="last or all tokens.")] = "last",
    template: TemplateName = "feeling",
    out_: Folder = None,
    seed: Seed = 0,
    permutations: Permutations = 9999,
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> None:
    """Take heads, sublayers, layers or neurons out: which does the read-out of emotion need?

    Units are ranked on the dev half and measured on the test half, beside random controls.
    Writes manifest.json, results.csv and report.html. Stopped, the same command goes on.
    """
    from probekit.ablation import Ablation, run_ablation

    sizes = _sizes(template, seed, permutations)
    options = Ablation(split(units), split(methods), positions, sizes)  # type: ignore[arg-type]
    run_study(run_ablation, "ablate", model, stimuli, options, out_, device, dtype)


def _sizes(template: str, seed: int, permutations: int) -> Any:
    from probekit.causal import Sizes
    from probekit.prompts import Template

    return Sizes(Template.load(template), permutations=permutations, seed=seed)
