"""The command that asks how long a model keeps an emotional turn, and how: `retain`."""

from functools import partial
from typing import Annotated

import typer

from probekit.cli.application import (
    Device,
    Dtype,
    Folder,
    ModelName,
    Stimuli,
    app,
    numbered,
    numbers,
    run_study,
    say,
)


@app.command()
def retain(
    model: ModelName,
    stimuli: Stimuli = "utterances",
    tokens: Annotated[int, typer.Option(help="Of the neutral continuation that is forced.")] = 511,
    cuts: Annotated[
        str, typer.Option(help="Offsets at which the turn is removed from the past.")
    ] = "0,7,63",
    learned: Annotated[int, typer.Option(help="Continuations that probes are fitted on.")] = 2,
    tested: Annotated[int, typer.Option(help="Other continuations, that are reported on.")] = 1,
    layers: Annotated[
        str, typer.Option(help="Such as 10,20 or 10-19. Default: nine, evenly.")
    ] = "",
    chat: Annotated[
        bool | None, typer.Option("--chat/--no-chat", help="Default: where there is a template.")
    ] = None,
    out_: Folder = None,
    seed: Annotated[int, typer.Option(help="Of continuations, folds and draws.")] = 0,
    bootstraps: Annotated[int, typer.Option(min=1, help="Draws of scenarios.")] = 1000,
    permutations: Annotated[int, typer.Option(min=1, help="Of the null.")] = 1000,
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> None:
    """Read a turn's emotion while a neutral text goes on, and after the turn has been removed.

    The probe is fitted on other scenarios and other continuations than it is reported on, and
    stands beside what words alone tell. Writes results.csv and report.html. Stopped, the same
    command goes on.
    """
    from probekit.persistence import Retention, run_retention

    options = Retention(
        tokens=tokens,
        cuts=numbers("--cuts", cuts, int),
        learned=learned,
        tested=tested,
        layers=numbered("--layers", layers),
        chat=chat,
        bootstraps=bootstraps,
        permutations=permutations,
        seed=seed,
    )
    options.check()
    run = partial(run_retention, say=say)
    run_study(run, "retain", model, stimuli, options, out_, device, dtype)
