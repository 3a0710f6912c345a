"""What the commands share: the application, its options, consoles, progress bars."""

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from probekit import runs
from probekit.errors import UserError

if TYPE_CHECKING:
    from probekit.models import Model

app = typer.Typer(
    help="Show how emotion works inside a language model, beside what words alone achieve.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
WIDE = 120
"""Columns of what is printed into a file or a pipe, where nothing else says how wide it may be."""
out = Console(width=None if sys.stdout.isatty() else WIDE)
err = Console(stderr=True)

ModelName = Annotated[
    str, typer.Argument(metavar="MODEL", help="A bundled name, a local folder, or a Hub id.")
]
Sites = Annotated[
    str,
    typer.Option(help="Sites, comma-separated: kinds (all layers), or one as resid_post.3."),
]
Pooling = Annotated[
    str, typer.Option(help="Poolings, comma-separated: last, mean, or a token's index such as -2.")
]
TemplateName = Annotated[
    str, typer.Option(help="none, chat, feeling, two-shot, or a file that holds {text} once.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")]
Stimuli = Annotated[str, typer.Option(help="A shipped set or a file with emotions.")]
Folder = Annotated[
    Path | None, typer.Option("--out", help="Run folder. Default: runs/STUDY/MODEL.")
]
Truncate = Annotated[bool, typer.Option("--truncate", help="Cut texts longer than the context.")]


def run_study(
    run: Callable[..., Path],
    study: str,
    model: str,
    stimuli: str,
    options: Any,
    given: Path | None,
    device: str,
    dtype: str,
) -> None:
    """Run a study of one set, write its page, print its headline."""
    from probekit.stimuli import StimulusSet

    texts, folder = StimulusSet.load(stimuli), run_folder(given, study, model)
    loaded = load(model, device, dtype)
    with bars() as progress:
        run(loaded, texts, folder, options, command=shlex.join(sys.argv[1:]), progress=progress)
    finish(folder)


def finish(folder: Path) -> None:
    """Write the page of a run, print its headline figures, and say where the page is."""
    from rich.table import Table

    from probekit.report import headline_table, write_report

    page = write_report(folder)
    title, columns, rows = headline_table(folder)
    table = Table(title=title, box=None)
    for column in columns:
        table.add_column(column, no_wrap=True, overflow="ignore")
    for row in rows:
        table.add_row(*row)
    out.print(table)
    out.print(f"\nreport: {page}", soft_wrap=True)


def run_folder(given: Path | None, study: str, model: str) -> Path:
    """`--out`, or runs/MODEL for probing and runs/STUDY/MODEL for the others."""
    return given or Path("runs") / study / model.strip("/").replace("/", "--")


def split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def numbered(option: str, text: str) -> tuple[int, ...]:
    """Layers from text such as "19", "10,15" or "10-19", each once."""
    found: list[int] = []
    try:
        for part in split(text):
            first, _, last = part.partition("-")
            found += range(int(first), int(last or first) + 1)
    except ValueError:
        found = []
    if text and not found:
        raise UserError(f"{option} {text}: give numbers such as 19, or 10,15, or 10-19")
    return tuple(dict.fromkeys(found))


def numbers(option: str, text: str, kind: type = float) -> tuple[Any, ...]:
    """Numbers from text such as "0.05,0.1"."""
    try:
        return tuple(kind(part) for part in split(text))
    except ValueError as error:
        raise UserError(f"{option} {text}: give numbers, comma-separated") from error


def say(line: str) -> None:
    err.print(line, markup=False, highlight=False, soft_wrap=True)


def load(name: str, device: str, dtype: str) -> "Model":
    """Load a model without the chatter of the libraries below."""
    import warnings

    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    warnings.filterwarnings("ignore", module="transformers|transformer_lens")
    from probekit.models import load_model

    return load_model(name, device=device, dtype=dtype, say=say)


@contextmanager
def bars() -> Iterator[runs.Progress]:
    """Progress bars on standard error, one a stage."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = [TextColumn("{task.description:28}"), BarColumn(), TextColumn("{task.completed:.0f}")]
    with Progress(*columns, TimeElapsedColumn(), console=err) as shown:
        known: dict[str, Any] = {}

        def progress(stage: str, done: float, total: float) -> None:
            if stage not in known:
                known[stage] = shown.add_task(stage, total=total or None)
            shown.update(known[stage], completed=done)

        yield progress
