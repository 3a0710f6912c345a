"""The command that makes a model write with an emotion: `steer`."""

import math
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
    load,
    numbered,
    out,
)
from probekit.cli.sweeping import DOSES
from probekit.cli.sweeping import sweep as swept
from probekit.errors import UserError, unknown

if TYPE_CHECKING:
    from probekit.directions import Directions
    from probekit.edits import Gate
    from probekit.models import Model
    from probekit.steering import Steering
    from probekit.steering.methods import Setting

AUTO = "auto"
TOKENS = ("response", "prompt", "all")


@app.command()
def steer(
    model: ModelName,
    prompt: Annotated[
        str, typer.Argument(help="What the model writes on after, or replies to; none for --sweep.")
    ] = "",
    *,
    emotion: Annotated[str, typer.Option(help="One of the directions' emotions.")],
    dose: Annotated[
        str,
        typer.Option(
            help="Added length over that of neutral states, 0 to 2, at each layer; auto: the "
            "largest whose perplexity ratio stays within --bound."
        ),
    ] = "0.1",
    bound: Annotated[
        float, typer.Option(help="For --dose auto: the perplexity ratio that is allowed.")
    ] = 1.5,
    directions: Annotated[
        Path | None,
        typer.Option(
            help="A file of directions or a run folder that holds one. Default: grouped directions "
            "of the vignettes' dev split."
        ),
    ] = None,
    layers: Annotated[
        str,
        typer.Option(
            help="Such as 19, or 10,15, or 10-19; of --sweep several, as 10;15;10-19. Default: "
            "the middle third."
        ),
    ] = "",
    how: Annotated[str, typer.Option(help="add, clamp, project_out or replace.")] = "add",
    tokens: Annotated[str, typer.Option(help="response, prompt or all.")] = "response",
    start: Annotated[int, typer.Option(help="Of response: the first token that is steered.")] = 0,
    decay: Annotated[
        float, typer.Option(help="Of response: the change is this many times as large each token.")
    ] = 1.0,
    gate: Annotated[
        str,
        typer.Option(
            help="EMOTION:THRESHOLD: only tokens whose state reads above so many standard "
            "deviations of neutral tokens along that emotion."
        ),
    ] = "",
    chat: Annotated[
        bool, typer.Option("--chat", help="Reply in the chat template instead of writing on.")
    ] = False,
    max_new_tokens: Annotated[int, typer.Option(help="How many tokens to write.")] = 40,
    temperature: Annotated[float, typer.Option(help="0: the likeliest token.")] = 0.0,
    top_p: Annotated[float, typer.Option(help="Of sampling.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of sampling, and of the random direction.")] = 0,
    stream: Annotated[
        bool, typer.Option("--stream", help="Show the steered text while it is written.")
    ] = False,
    sweep: Annotated[
        bool, typer.Option("--sweep", help="All --doses at all groups of --layers; a page.")
    ] = False,
    doses: Annotated[str, typer.Option(help="For --sweep.")] = DOSES,
    judge: Annotated[str, typer.Option(help="For --sweep; see probekit judge.")] = "ensemble",
    force: Annotated[
        bool, typer.Option("--force", help="A judge that blind readers do not agree with, too.")
    ] = False,
    out_: Folder = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> None:
    """Write plainly, steered, and along a random direction as long; say what it cost.

    The three are rows of one batch with the same decoding. The trace reads each text without
    steering, token by token, along the emotion's direction.
    """
    from probekit.directions import sources
    from probekit.runs import counting
    from probekit.steering import (
        HOW,
        Decoding,
        Setting,
        Steering,
        check_room,
        checked_dose,
        default_layers,
        generate,
    )

    if bool(prompt.strip()) == sweep:
        what = "--sweep has prompts of its own: leave the prompt out"
        raise UserError(what if sweep else "the prompt is empty: give some words")
    if sweep and gate:
        raise UserError("--sweep takes no --gate: try a gate at one dose")
    if dose != AUTO:
        checked_dose(dose)
    if tokens not in TOKENS:
        raise unknown("--tokens", tokens, TOKENS)
    if how not in HOW:
        raise unknown("way of steering", how, HOW)
    decoding = Decoding(max_new_tokens, temperature, top_p)
    positions = _positions(tokens, start, decay)
    condition = _condition(gate) if gate else None
    found = sources.from_path(directions)[0] if directions else None
    known = found.emotions if found else sources.emotions()
    if strange := [name for name in (emotion, *(condition or ())[:1]) if name not in known]:
        raise unknown("emotion", strange[0], known)
    loaded = load(model, device, dtype)
    setting = Setting.of(loaded, chat)
    if sweep:
        found = found or sources.from_vignettes(loaded)
        told: dict[str, Any] = {"how": how, "positions": positions}
        swept(
            loaded, found.for_model(loaded), emotion, setting, decoding, told,
            doses=doses, layers=layers, judge=judge, force=force, out=out_,
        )  # fmt: skip
        return
    chosen = numbered("--layers", layers)
    if strange := [layer for layer in chosen if layer >= loaded.n_layers]:
        raise unknown("layer", strange[0], [f"0 to {loaded.n_layers - 1}"])
    encoded = loaded.encode([prompt], setting.template("plain"))
    check_room(loaded, encoded, decoding)
    with bars() as progress:
        if found is None:
            found = sources.from_vignettes(loaded, counting(progress, "reading"))
        chosen = chosen or default_layers(loaded, found)
        options: dict[str, Any] = {"how": how, "positions": positions}
        if condition:
            options["gate"] = _gate(condition, loaded, found, chosen[0])
        steering = Steering.along(loaded, found, emotion, 0.0, layers=chosen, **options)
        steering = _dosed(loaded, steering, dose, bound, setting, decoding, progress)
    rows = [None, steering, steering.random(seed)]
    listen = _listen if stream else None
    replies = generate(loaded, encoded * 3, rows, decoding, seed=seed, stream=listen)
    _show(loaded, setting, prompt, steering, [reply.text for reply in replies])
    _trace(loaded, found, emotion, chosen[0], [reply.text for reply in replies])
    _say(f"again: {_again([f'--dose={steering.dose:g}'] if dose == AUTO else [])}")


def _positions(tokens: str, start: int, decay: float) -> Any:
    from probekit.edits import Response

    if tokens == "response":
        return Response(start, decay)
    if start or decay != 1:
        raise UserError(f"--start and --decay are of --tokens response, not of {tokens}")
    return tokens


def _condition(given: str) -> tuple[str, float]:
    """Emotion and threshold of a gate."""
    name, _, number = given.partition(":")
    try:
        return name, float(number)
    except ValueError:
        raise UserError(f"--gate {given}: give EMOTION:THRESHOLD, such as grief:1.5") from None


def _gate(
    condition: tuple[str, float], model: "Model", directions: "Directions", layer: int
) -> "Gate":
    """A gate on the state at the first steered layer, before it is steered."""
    from probekit.directions import Reference, sources
    from probekit.edits import Gate

    name, threshold = condition
    place = directions.place(name, layer)[0]
    reference = Reference.measure(model, directions, sources.neutral_texts(), layer)
    raw = float(reference.mean[place] + threshold * reference.deviation[place])
    return Gate(f"{directions.kind}.{layer}", directions.of(name, layer), raw)


def _dosed(
    model: "Model",
    steering: "Steering",
    dose: str,
    bound: float,
    setting: "Setting",
    decoding: Any,
    progress: Any,
) -> "Steering":
    """The steering at its dose, the largest within the bound where it is to be found."""
    from probekit.runs import counting
    from probekit.scorecard.auto import auto_dose

    if dose != AUTO:
        return steering.at(float(dose))

    found = auto_dose(
        model, steering, setting, decoding, bound, advance=counting(progress, "doses tried")
    )
    for each in found.tried:
        _say(f"dose {each.dose:g}: median perplexity ratio {each.ratio:.2f}")
    return steering.at(found.dose)


def _listen(row: int, piece: str) -> None:
    """The steered row, as it is written."""
    if row == 1:
        sys.stderr.write(piece)
        sys.stderr.flush()


def _show(
    model: "Model", setting: "Setting", prompt: str, steering: "Steering", texts: list[str]
) -> None:
    """The three texts side by side, and how expected each is without steering."""
    from rich.table import Table
    from rich.text import Text

    from probekit.scorecard.fluency import reply_nats

    _say(f"{model.name}: {steering.explain()}")
    names = ("plain", f"steered, dose {steering.dose:g}", "random direction, same dose")
    table = Table(box=None, expand=True, padding=(0, 2, 0, 0))
    for name in names:
        table.add_column(name, ratio=1)
    table.add_row(*(Text(text.strip() or "(nothing written)") for text in texts))
    nats = reply_nats(model, [prompt] * 3, texts, setting.template("plain"))
    told = ["missing" if math.isnan(value) else f"{math.exp(value):.1f}" for value in nats]
    table.add_row(*(Text(f"perplexity without steering: {value}") for value in told))
    out.print(table)


def _trace(
    model: "Model", directions: "Directions", emotion: str, layer: int, texts: list[str]
) -> None:
    """What each text reads like along the emotion, and the steered one token by token."""
    from probekit.steering import trace

    found = trace(model, directions, emotion, layer, texts)
    _say(
        f"read along {emotion} at layer {layer}, without steering, in standard deviations of "
        "neutral tokens:"
    )
    for name, each in zip(("plain", "steered", "random direction"), found, strict=True):
        _say(f"  {name}: " + ("nothing to read" if each is None else f"mean {each.mean:+.2f}"))
    if found[1] is not None:
        _say("  steered: " + " ".join(f"{piece} {value:+.1f}" for piece, value in found[1].tokens))


def _again(told: list[str]) -> str:
    """The command with what was found out for it."""
    given = sys.argv[1:]
    if told:
        kept, skip = [], False
        for word in given:
            if skip or word.startswith("--dose="):
                skip = False
            elif word == "--dose":
                skip = True
            else:
                kept.append(word)
        given = [*kept, *told]
    return shlex.join(["probekit", *given])


def _say(text: str) -> None:
    out.print(text, markup=False, highlight=False, soft_wrap=True)
