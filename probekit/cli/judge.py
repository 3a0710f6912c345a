"""The command that says which emotion texts express, and how far to believe it: `judge`."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from probekit.cli.application import app, out, say, split
from probekit.errors import UserError

if TYPE_CHECKING:
    from probekit.judges import GeneratedReadings, Judge, Validation
    from probekit.stats import Estimate

KAPPA = ("judge", "kappa", "its labels dealt out", "p", "Brier", "ECE")
SHOWN = 60
"""Characters of a text that stand in the table."""


@app.command()
def judge(
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT]...", help="Each is one text.")
    ] = None,
    file: Annotated[
        str, typer.Option(help="A file of texts: CSV, JSONL, ... with a text column.")
    ] = "",
    judges: Annotated[
        str,
        typer.Option(
            "--judge",
            "--judges",
            help="Comma-separated: lexicon, words, embedding, probe, ensemble, likelihood. "
            "Default: ensemble; with --validate all.",
        ),
    ] = "",
    validate: Annotated[
        bool, typer.Option("--validate", help="Hold the judges against blind readings instead.")
    ] = False,
    readings: Annotated[
        Path | None,
        typer.Option(help="A folder with generated.csv and readings.csv. Default: the shipped."),
    ] = None,
    half: Annotated[
        str,
        typer.Option(
            help="Prompts to validate on: report (default; judges were chosen on the others), dev, "
            "all."
        ),
    ] = "",
    reader: Annotated[
        str, typer.Option(help="The model that judges read with; not the one that wrote the texts.")
    ] = "",
    pipeline: Annotated[
        str, typer.Option(help="Also a text classifier: a local folder or a Hub id.")
    ] = "",
    unmapped: Annotated[
        str, typer.Option(help="Labels of --pipeline that are not ours: refuse, or neutral.")
    ] = "refuse",
    endpoint: Annotated[
        str, typer.Option(help="Also an OpenAI-compatible endpoint; texts are sent there.")
    ] = "",
    endpoint_model: Annotated[str, typer.Option(help="The model's name at --endpoint.")] = "",
    allow_network: Annotated[
        bool, typer.Option("--allow-network", help="Allow texts to be sent to --endpoint.")
    ] = False,
    per_minute: Annotated[float, typer.Option(min=0.1, help="Requests to --endpoint.")] = 60,
    force: Annotated[
        bool, typer.Option("--force", help="Use a judge that blind readers do not agree with.")
    ] = False,
    table: Annotated[
        Path | None, typer.Option("--out", help="Also write all probabilities, as CSV.")
    ] = None,
) -> None:
    """Say which of eight emotions each text expresses, or none, as judges see it.

    A judge sees the text alone. Beside each stands its agreement (Cohen's kappa) with blind
    readers of generated text; below .4 it is refused without --force.
    """  # fmt: skip
    ids, given = ([], []) if validate else _texts(texts or [], file)
    if unmapped not in ("refuse", "neutral"):
        raise UserError(f"--unmapped {unmapped!r}: accepted are refuse, neutral")
    made = _judges(
        split(judges) or (() if pipeline or endpoint else None), validate, reader,
        pipeline, unmapped == "neutral", endpoint, endpoint_model, allow_network, per_minute,
    )  # fmt: skip
    for note in dict.fromkeys(note for one in made for note in one.notes):
        say(note)
    if validate:
        _validate(made, _readings(readings, half))
        return
    against = readings_if_any(readings, half)
    kappas = [kappa_of(one, against, force) for one in made]
    _show(made, kappas, ids, given, table)


def _judges(
    names: tuple[str, ...] | None,
    every: bool,
    reader: str,
    pipeline: str,
    as_neutral: bool,
    endpoint: str,
    endpoint_model: str,
    allow_network: bool,
    per_minute: float,
) -> "list[Judge]":
    """The judges asked for, in the order of the options."""
    from transformers.utils import logging

    from probekit.judges import JUDGES, EndpointJudge, PipelineJudge, by_names
    from probekit.judges.naming import DEFAULT, READER

    logging.disable_progress_bar()
    made: list[Judge] = []
    # What can be refused is, before anything that takes long.
    if endpoint:
        allow: dict[str, Any] = {"allow_network": allow_network, "per_minute": per_minute}
        made.append(EndpointJudge(endpoint, endpoint_model, say=say, **allow))
    if pipeline:
        unmapped = "neutral" if as_neutral else "refuse"
        made.append(PipelineJudge(pipeline, unmapped=unmapped, say=say))
    if names is None:
        names = JUDGES if every else (DEFAULT,)
    if every and "lexicon" not in names:
        names = ("lexicon", *names)
    return [*by_names(names, reader or READER, say), *made]


def _texts(words: list[str], file: str) -> tuple[list[str], list[str]]:
    """Ids and texts, from the arguments or from a file."""
    if bool(words) == bool(file):
        what = "both texts and --file" if words else "no text"
        raise UserError(f"{what}: give texts, or --file FILE, or --validate")
    if words:
        return [str(number) for number in range(1, len(words) + 1)], words
    from probekit.stimuli import stream_texts

    ids, texts = zip(*stream_texts(file), strict=True)
    return list(ids), list(texts)


def _readings(folder: Path | None, half: str = "") -> "GeneratedReadings":
    from probekit.judges import GeneratedReadings

    found = GeneratedReadings.load(folder)
    return found if half == "all" else found.half(half or "report")


def readings_if_any(folder: Path | None, half: str = "") -> "GeneratedReadings | None":
    """The readings; None where none are shipped and none were given."""
    from probekit.judges import GeneratedReadings

    if folder is None and not GeneratedReadings.are_shipped():
        return None
    return _readings(folder, half)


def kappa_of(one: "Judge", against: "GeneratedReadings | None", force: bool) -> "Estimate | None":
    from probekit.judges import kept_kappa, require_kappa

    if against is None:
        if not force:
            raise UserError(
                f"the judge {one.name} was not held against readers: there are no readings; give "
                "--readings FOLDER, or --force"
            )
        return None
    return require_kappa(one.name, kept_kappa(one, against), forced=force)


def _show(
    made: "Sequence[Judge]",
    kappas: "Sequence[Estimate | None]",
    ids: Sequence[str],
    texts: Sequence[str],
    path: Path | None,
) -> None:
    """Label and probability of each text by each judge; kappa stands with the judge's name."""
    from probekit.judges.judge import best

    found = [one.probabilities(texts) for one in made]
    shown = Table(box=None)
    for column in ("text", "judge", "label", "probability", "kappa with readers"):
        shown.add_column(column, overflow="fold")
    for row, text in enumerate(texts):
        for one, kappa, each in zip(made, kappas, found, strict=True):
            label = best(each[row : row + 1], one.labels)[0]
            said = f"{each[row].max():.2f}" if label else "-"
            cut = text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
            shown.add_row(cut, one.name, label or "-", said, _estimate(kappa))
    out.print(shown, markup=False)
    if path is not None:
        _write(path, made, kappas, ids, found)


def _write(
    path: Path,
    made: "Sequence[Judge]",
    kappas: "Sequence[Estimate | None]",
    ids: Sequence[str],
    found: Sequence,
) -> None:
    """All probabilities, a row for each text and judge; missing ones are empty."""
    from probekit.judges.judge import best
    from probekit.runs import atomic_write, cell

    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        labels = made[0].labels
        writer.writerow(["id", "judge", "kappa", "kappa_low", "kappa_high", "label", *labels])
        for one, kappa, each in zip(made, kappas, found, strict=True):
            figures = [None] * 3 if kappa is None else [kappa.value, kappa.low, kappa.high]
            for name, label, row in zip(ids, best(each, labels), each, strict=True):
                cells = [*figures, label, *map(float, row)]
                writer.writerow([name, one.name, *map(cell, cells)])
    out.print(f"probabilities: {path}", markup=False, highlight=False, soft_wrap=True)


def _validate(made: "Sequence[Judge]", readings: "GeneratedReadings") -> None:
    """The table of judges against blind readers, with controls and ceiling."""
    from probekit.judges import validate

    found = [validate(one, readings) for one in made]
    first = found[0]
    agreement = _table("Cohen's kappa with what most readers said", KAPPA)
    for each in found:
        ece = "-" if each.ece is None else f"{each.ece:.2f}"
        kappas = [_estimate(each.kappa), _estimate(each.permuted), f"{each.p:.3f}"]
        agreement.add_row(each.judge, *kappas, f"{each.brier:.2f}", ece)
    agreement.add_row("the commonest label", _share(first.constant))
    for pair, kappa in first.ceiling.items():
        agreement.add_row(f"readers {' and '.join(pair)}", _estimate(kappa))
    out.print(agreement, markup=False)
    methods = list(dict.fromkeys(name for each in found for name in each.method_recall))
    by_method = _table("kappa by the method that made the texts", ("judge", *methods))
    for each in found:
        by_method.add_row(each.judge, *(_estimate(each.methods.get(name)) for name in methods))
    out.print(by_method, markup=False)
    out.print(_recalls(found), markup=False)
    out.print(
        f"{first.n} texts of {first.clusters} prompts, intervals over prompts; readers have no "
        f"majority in {first.undecided:.0%} of texts, which are left out",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    for each in found:
        with_each = ", ".join(f"{name} {_estimate(kappa)}" for name, kappa in each.readers.items())
        missing = f"; {each.missing} texts without an answer" if each.missing else ""
        said = f"{each.judge} with each reader: {with_each}{missing}"
        out.print(said, markup=False, highlight=False, soft_wrap=True)


def _recalls(found: "Sequence[Validation]") -> Table:
    """Recall and precision of each judge, a row for each label."""
    judges = [each.judge for each in found]
    shown = _table("recall / precision by what most readers said", ("label", "texts", *judges))
    for label, count in zip(found[0].recall, found[0].confusion.sum(1), strict=True):
        pairs = [
            f"{_share(each.recall[label])} / {_share(each.precision[label])}" for each in found
        ]
        shown.add_row(label, str(count), *pairs)
    return shown


def _table(title: str, columns: Sequence[str]) -> Table:
    shown = Table(title=title, box=None, title_justify="left")
    for column in columns:
        shown.add_column(column, overflow="fold")
    return shown


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _estimate(found: "Estimate | None") -> str:
    """A figure with its interval; a missing one is a dash."""
    if found is None or found.value != found.value:
        return "-"
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"
