"""The command that finds the heads and neurons that carry an emotion: `circuit`."""

import shlex
import sys
from typing import Annotated, Any

import typer

from probekit.cli.application import (
    Device,
    Dtype,
    Folder,
    ModelName,
    app,
    bars,
    finish,
    load,
    numbers,
    out,
    run_folder,
    say,
    split,
)
from probekit.cli.scorecard import held_to_readers

STAGE_NAMES = "texts, activity, scores, heads, influence, circuits, validate, edges, modulate"


@app.command()
def circuit(
    model: ModelName,
    emotions: Annotated[
        str, typer.Option(help="Comma-separated, two or more.")
    ] = "rage,grief,terror,ecstasy,amazement,loathing",
    source: Annotated[
        str,
        typer.Option(help="expressing (what the model writes when asked) or reading (vignettes)."),
    ] = "expressing",
    scenarios: Annotated[int, typer.Option(help="Dev scenarios that expressions are of.")] = 80,
    every_event: Annotated[
        bool, typer.Option("--every-event", help="All three events of each scenario, not one.")
    ] = False,
    held_out: Annotated[int, typer.Option(help="Test scenarios to hold circuits against.")] = 24,
    seeds: Annotated[
        str, typer.Option(help="Of what is written, comma-separated; two compare circuits.")
    ] = "0",
    k: Annotated[int, typer.Option("--k", help="Heads and neurons of a circuit.")] = 140,
    ks: Annotated[
        str, typer.Option(help="Sizes of the curve. Default: powers of four, to half the model.")
    ] = "",
    allocation: Annotated[
        str, typer.Option(help="influence (over sublayers, the paper's way) or global.")
    ] = "influence",
    zero: Annotated[
        bool, typer.Option("--zero", help="Score heads by setting them to zero, not the mean.")
    ] = False,
    prompts: Annotated[int, typer.Option(help="Test scenarios that methods write after.")] = 4,
    scales: Annotated[str, typer.Option(help="Doses of modulation.")] = "1,2",
    doses: Annotated[str, typer.Option(help="Doses of steering, 0 to 2.")] = "0.08",
    judge: Annotated[
        str, typer.Option(help="lexicon, words, embedding, probe, ensemble or likelihood.")
    ] = "ensemble",
    reader: Annotated[str, typer.Option(help="The model that the judge reads with.")] = "",
    other_model: Annotated[
        str, typer.Option(help="Whose perplexity calls a text incoherent; none: nobody's.")
    ] = "qwen2.5-coder-0.5b",
    chat: Annotated[
        bool | None, typer.Option("--chat/--no-chat", help="Default: where there is a template.")
    ] = None,
    stages: Annotated[
        str, typer.Option(help=f"Those to make, of {STAGE_NAMES}. Default: all.")
    ] = "",
    out_: Folder = None,
    seed: Annotated[int, typer.Option(help="Of halves, random components and draws.")] = 0,
    bootstraps: Annotated[int, typer.Option(min=1, help="Draws of scenarios.")] = 1000,
    permutations: Annotated[int, typer.Option(min=1, help="Sign flips of every p.")] = 1000,
    force: Annotated[
        bool, typer.Option("--force", help="Use a judge that blind readers do not agree with.")
    ] = False,
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> None:
    """Find the heads and neurons that carry each emotion, and what they are needed for.

    Elicit, score, assemble, ablate, modulate: every circuit beside random components of the same
    size. Writes results.csv, circuits/, graphs/ and report.html. Stopped, the same command goes on.
    """
    from probekit.circuits import Circuits, run_circuits
    from probekit.circuits.options import STAGES

    told: dict[str, Any] = {
        "emotions": split(emotions),
        "source": source,
        "scenarios": scenarios,
        "every_event": every_event,
        "held_out": held_out,
        "seeds": numbers("--seeds", seeds, int),
        "chat": chat,
        "k": k,
        "ks": numbers("--ks", ks, int),
        "allocation": allocation,
        "zero": zero,
        "prompts": prompts,
        "scales": numbers("--scales", scales),
        "doses": numbers("--doses", doses),
        "bootstraps": bootstraps,
        "permutations": permutations,
        "seed": seed,
    }
    options = Circuits(**told)
    options.check()
    read, _ = held_to_readers(judge, reader, None, force)
    loaded = load(model, device, dtype)
    other = None if other_model == "none" else load(other_model, device, dtype)
    wanted = split(stages) or STAGES
    with bars() as progress:
        folder = run_circuits(
            loaded,
            run_folder(out_, "circuit", model),
            options,
            judge=read,
            other=other,
            stages=wanted,
            command=shlex.join(sys.argv[1:]),
            progress=progress,
            say=say,
        )
    if folder is None:
        out.print(f"made: {', '.join(wanted)}; the page is written with the last stage")
        return
    finish(folder)
