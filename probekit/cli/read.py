"""The command that reads one text along directions: `read`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from probekit.cli.application import (
    Device,
    Dtype,
    ModelName,
    TemplateName,
    app,
    bars,
    load,
    out,
    split,
)
from probekit.errors import UserError
from probekit.runs import counting

if TYPE_CHECKING:
    from probekit.directions import Band, Reading

NAMED, STRONGEST = 3, 5
"""Emotions whose strongest tokens are printed, and how many of them."""


@app.command()
def read(
    model: ModelName,
    text: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT]...", help="Several are joined by spaces.")
    ] = None,
    file: Annotated[
        str, typer.Option(help="A UTF-8 file that holds the text; - is standard input.")
    ] = "",
    directions: Annotated[
        Path | None,
        typer.Option(
            help="A file of directions or a run folder that holds one. Default: grouped directions "
            "of the vignettes' dev split."
        ),
    ] = None,
    emotions: Annotated[str, typer.Option(help="Comma-separated. Default: all.")] = "",
    layer: Annotated[
        int | None, typer.Option(help="Default: the run folder's choice, or two thirds of depth.")
    ] = None,
    template: TemplateName = "none",
    out_: Annotated[
        Path | None, typer.Option("--out", help="The page. Default: runs/read/MODEL.html.")
    ] = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> None:
    """Score a text token by token along directions of emotions, beside what means nothing.

    The unit is the standard deviation of tokens in neutral texts. Prints a table and writes a page
    on which the text is highlighted.
    """
    given, page = _text(text or [], file), _page(out_, model)
    from probekit.directions import Reference, read_text, sources
    from probekit.prompts import Template
    from probekit.report.read import write_reading

    prompt = Template.load(template)
    found, chosen = sources.from_path(directions) if directions else (None, None)
    loaded = load(model, device, dtype)
    with bars() as progress:
        if found is None:
            found = sources.from_vignettes(loaded, counting(progress, "reading"))
        place, why = sources.pick_layer(found.for_model(loaded), loaded, chosen)
        if layer is not None:
            place, why = layer, "as asked for"
        neutral = sources.neutral_texts()
        advance = counting(progress, "neutral texts", len(neutral))
        reference = Reference.measure(loaded, found, neutral, place, prompt, advance=advance)
    reading = read_text(loaded, reference, given)
    if wanted := split(emotions):
        reading = reading.only(wanted)
    notes = sources.notes(given)
    write_reading(page, loaded, reading, why, notes)
    _show(reading, loaded.name, why)
    for note in notes:
        out.print(note, markup=False, highlight=False, soft_wrap=True)
    out.print(f"page: {page}", markup=False, highlight=False, soft_wrap=True)


def _text(words: list[str], file: str) -> str:
    """The text, from the arguments or from a file."""
    if bool(words) == bool(file):
        what = "both a text and --file" if words else "no text"
        raise UserError(f"{what}: give the words, or --file PATH, or --file - for standard input")
    if words:
        return _some(" ".join(words), "the text")
    try:
        if file == "-":
            data, name = sys.stdin.buffer.read(), "standard input"
        elif Path(file).is_file():
            data, name = Path(file).read_bytes(), file
        else:
            raise UserError(f"--file {file}: no such file; give a text file, or -")
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"--file {file} is not UTF-8 text: save it as UTF-8") from error
    # Editors end a file with a line's end, which is not the text's.
    return _some(text.replace("\r\n", "\n").removesuffix("\n"), name)


def _some(text: str, name: str) -> str:
    if not text.strip():
        raise UserError(f"{name} is empty: give some words")
    return text


def _page(given: Path | None, model: str) -> Path:
    """`--out`, or runs/read/MODEL.html."""
    page = given or Path("runs") / "read" / f"{model.strip('/').replace('/', '--')}.html"
    if page.is_dir():
        raise UserError(f"--out {page} is a folder: give a file such as {page / 'read.html'}")
    return page


def _show(reading: "Reading", model: str, why: str) -> None:
    """The table of means beside the controls, and the strongest tokens of the highest."""
    reference = reading.reference
    of = reference.directions
    made = of.stimuli.get("name", "?")
    arm = f" {of.arm}".replace("_", "-") if of.arm else ""
    layer = f"layer {reference.layer} ({why})"
    _say(f"{model}, {layer}, {of.kind}; {of.estimator} directions of {made}{arm}, {of.pooling}")
    table = Table(box=None)
    for column in ("emotion", "mean", "neutral texts", "random directions", "stands"):
        table.add_column(column, no_wrap=True, justify="right" if column == "mean" else "left")
    said = {1: "above both", -1: "below both", 0: ""}
    styles = {1: "bold blue", -1: "bold dark_orange", 0: ""}
    for place in reading.ranked():
        side = reading.side(place)
        cells = [
            Text(reading.emotions[place]),
            Text(f"{reading.means[place]:+.2f}"),
            Text(_band(reading.neutral_bands[place])),
            Text(_band(reading.random_band)),
            Text(said[side]),
        ]
        table.add_row(*cells, style=styles[side])
    out.print(table)
    texts = len(reference.texts)
    _say(
        f"mean of {reading.n_tokens} tokens; 1 is a standard deviation of tokens in {texts} "
        "neutral texts, 0 their mean"
    )
    _say(
        "in brackets the middle 95 % of those texts, cut to this length, and of "
        f"{reading.n_random} random directions"
    )
    low, high = reading.token_band
    _say(f"strongest tokens (95 % of tokens lie in [{low:+.1f}, {high:+.1f}] by chance):")
    for place in reading.ranked()[:NAMED]:
        _say(f"  {reading.emotions[place]}: {_strongest(reading, place)}")


def _strongest(reading: "Reading", emotion: int) -> str:
    from probekit.directions.pieces import written

    named = []
    for place in reading.strongest(emotion, STRONGEST):
        piece = reading.pieces[place]
        shown = written(reading.text[piece.start : piece.end])
        named.append(f"“{shown}” {reading.values[place, emotion]:+.1f}")
    return ", ".join(named)


def _band(band: "Band") -> str:
    return f"[{band.low:+.2f}, {band.high:+.2f}]"


def _say(text: str) -> None:
    out.print(text, markup=False, highlight=False, soft_wrap=True)
