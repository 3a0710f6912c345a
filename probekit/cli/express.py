"""The command that asks what a model says of an emotional post: `express`."""

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
    run_study,
    say,
    split,
)


@app.command()
def express(
    model: ModelName,
    stimuli: Stimuli = "utterances",
    parts: Annotated[
        str, typer.Option(help="Some of asking, malleable, expressed.")
    ] = "asking,malleable,expressed",
    tokens: Annotated[int, typer.Option(help="Of a reply, at most.")] = 40,
    posts: Annotated[
        int, typer.Option(help="Scenarios that are answered under every system prompt.")
    ] = 10,
    paraphrases: Annotated[int, typer.Option(help="Of each kind of system prompt.")] = 10,
    dose: Annotated[float, typer.Option(help="Of an added direction.")] = 0.08,
    chat: Annotated[
        bool | None, typer.Option("--chat/--no-chat", help="Default: where there is a template.")
    ] = None,
    judge: Annotated[str, typer.Option(help="Who judges replies.")] = "ensemble",
    reader: Annotated[str, typer.Option(help="The model that the judge reads with.")] = "",
    out_: Folder = None,
    seed: Annotated[int, typer.Option(help="Of folds, draws and random directions.")] = 0,
    bootstraps: Annotated[int, typer.Option(min=1, help="Draws of scenarios.")] = 1000,
    permutations: Annotated[int, typer.Option(min=1, help="Of the null.")] = 1000,
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> None:
    """Ask for a post’s label, tell the model to be emotional, change what is read: what is replied?

    Probes are fitted on other scenarios than everything is reported on; each figure stands beside
    its control. Writes results.csv and report.html. Stopped, the same command goes on.
    """
    from probekit.cli.scorecard import held_to_readers
    from probekit.expression import Expression, run_expression

    options = Expression(
        parts=split(parts),
        chat=chat,
        tokens=tokens,
        posts=posts,
        paraphrases=paraphrases,
        dose=dose,
        bootstraps=bootstraps,
        permutations=permutations,
        seed=seed,
    )
    options.check()
    made, _ = held_to_readers(judge, reader, None, False)
    run = partial(run_expression, judge=made, say=say)
    run_study(run, "express", model, stimuli, options, out_, device, dtype)
