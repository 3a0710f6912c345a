"""The command that measures ways of expressing an emotion: `scorecard`."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    numbered,
    numbers,
    run_folder,
    say,
    split,
)
from probekit.cli.judge import kappa_of, readings_if_any
from probekit.errors import unknown

if TYPE_CHECKING:
    from probekit.directions import Directions
    from probekit.judges import Judge
    from probekit.models import Model
    from probekit.scorecard import Rule
    from probekit.steering.methods import Method

METHODS = ("plain", "prompt", "few-shot", "steer", "random")
DOSED = ("steer", "random")


@app.command()
def scorecard(
    model: ModelName,
    prompts: Annotated[
        str,
        typer.Option(
            help="A file of plain prompts: CSV, JSONL, ... with a text column. Default: 24 test "
            "scenarios with their indifferent events."
        ),
    ] = "",
    emotions: Annotated[
        str, typer.Option(help="Comma-separated. Default: those of the directions.")
    ] = "",
    doses: Annotated[
        str, typer.Option(help="Added length over that of neutral states, 0 to 2.")
    ] = "0.05,0.1,0.2,0.4",
    methods: Annotated[str, typer.Option(help=f"Of {', '.join(METHODS)}.")] = ",".join(METHODS),
    judge: Annotated[
        str, typer.Option(help="lexicon, words, embedding, probe, ensemble or likelihood.")
    ] = "ensemble",
    reader: Annotated[str, typer.Option(help="The model that the judge reads with.")] = "",
    readings: Annotated[
        Path | None,
        typer.Option(help="A folder with generated.csv and readings.csv. Default: the shipped."),
    ] = None,
    other_model: Annotated[
        str, typer.Option(help="Whose perplexity calls a text incoherent; none: nobody's.")
    ] = "qwen2.5-coder-0.5b",
    directions: Annotated[
        Path | None, typer.Option(help="A file or a run folder. Default: the vignettes' dev split.")
    ] = None,
    layers: Annotated[
        str, typer.Option(help="Such as 19, or 10,15, or 10-19. Default: the middle third.")
    ] = "",
    chat: Annotated[
        bool | None, typer.Option("--chat/--no-chat", help="Default: where there is a template.")
    ] = None,
    bound: Annotated[float, typer.Option(help="Perplexity ratio of equal fluency.")] = 1.5,
    max_new_tokens: Annotated[int, typer.Option(help="How many tokens to write.")] = 48,
    side_effects: Annotated[
        str, typer.Option(help="Emotions under which they are measured; none. Default: all.")
    ] = "",
    refusals: Annotated[
        bool, typer.Option("--refusals", help="Also write replies to harmless prompts.")
    ] = False,
    relevance: Annotated[
        bool, typer.Option("--relevance/--no-relevance", help="Read by a sentence encoder.")
    ] = True,
    out_: Folder = None,
    seed: Annotated[int, typer.Option(help="Of bootstraps, permutations, random directions.")] = 0,
    bootstraps: Annotated[int, typer.Option(min=1, help="Draws of prompts.")] = 1000,
    permutations: Annotated[
        int, typer.Option(min=1, help="Sign flips, and doses permuted.")
    ] = 1000,
    force: Annotated[
        bool, typer.Option("--force", help="Use a judge that blind readers do not agree with.")
    ] = False,
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> None:
    """Score what each way of asking for an emotion achieves, and what it costs.

    Target accuracy (a miss is a wrong emotion or an incoherent text) beside plain texts and random
    directions, at equal fluency; side effects; a page. Stopped, the same command goes on.
    """
    from probekit.scorecard import Scorecard, run_scorecard
    from probekit.steering import Decoding
    from probekit.steering.methods import held_out
    from probekit.stimuli import stream_texts

    named = split(methods)
    if strange := [name for name in named if name not in METHODS]:
        raise unknown("method", strange[0], METHODS)
    told: dict[str, Any] = {
        "doses": numbers("--doses", doses),
        "decoding": Decoding(max_new_tokens),
        "effects_of": split(side_effects),
        "refusals": refusals,
        "bound": bound,
        "bootstraps": bootstraps,
        "permutations": permutations,
        "seed": seed,
    }
    given = list(stream_texts(prompts)) if prompts else held_out()
    if emotions:
        Scorecard(split(emotions), **told).check()
    read, validity = held_to_readers(judge, reader, readings, force)
    loaded = load(model, device, dtype)
    found = _directions(directions, loaded)
    options = Scorecard(split(emotions) or tuple(found.emotions), **told)
    options.check()
    chosen = numbered("--layers", layers)
    other = None if other_model == "none" else load(other_model, device, dtype)
    validity |= _rule(options.rule, readings, other)
    with bars() as progress:
        folder = run_scorecard(
            loaded,
            run_folder(out_, "scorecard", model),
            options,
            methods=_methods(named, loaded, found, chosen, chat, seed),
            judge=read,
            prompts=given,
            prompts_name=Path(prompts).stem if prompts else "scenarios",
            other=other,
            encode=_encoder() if relevance else None,
            validity=validity,
            command=shlex.join(sys.argv[1:]),
            progress=progress,
        )
    finish(folder)


def _directions(given: Path | None, model: "Model") -> "Directions":
    from probekit.directions import sources

    found = sources.from_path(given)[0] if given else sources.from_vignettes(model)
    found.for_model(model)
    return found


def _methods(
    names: tuple[str, ...],
    model: "Model",
    directions: "Directions",
    layers: tuple[int, ...],
    chat: bool | None,
    seed: int,
) -> "list[Method]":
    from probekit.steering.methods import FewShot, Plain, Prompted, Random, Setting, Steered

    setting = Setting.of(model, chat)
    asked = {"plain": Plain, "prompt": Prompted, "few-shot": FewShot}
    made: list[Method] = [asked[name](setting) for name in names if name in asked]
    if "steer" in names:
        made.append(Steered(setting, "steer", model, directions, layers))
    if "random" in names:
        made.append(Random(setting, "random", model, directions, layers, seed=seed))
    return made


def held_to_readers(
    name: str, reader: str, folder: Path | None, force: bool
) -> "tuple[Judge, dict[str, dict[str, Any]]]":
    """The judge, and its kappa with blind readers where there are readings."""
    from probekit.judges import by_names
    from probekit.judges.naming import READER

    (made,) = by_names((name,), reader or READER, say)
    for note in made.notes:
        say(note)
    kappa = kappa_of(made, readings_if_any(folder), force)
    return made, {"judge_kappa": kappa.cells} if kappa else {}


def _rule(rule: "Rule", folder: Path | None, other: "Model | None") -> dict[str, dict[str, Any]]:
    """What the rule of incoherence is worth, where there are readings."""
    from probekit.scorecard import rule_validity

    against = readings_if_any(folder, "all")
    return rule_validity(rule, against, other) if against else {}


def _encoder() -> Any:
    from probekit.judges import SentenceEncoder

    return SentenceEncoder(say=say).encode
