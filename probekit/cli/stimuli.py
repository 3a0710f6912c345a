"""Commands that need texts alone: `lint` and `annotate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from probekit.cli.application import app, bars, load, out, say

if TYPE_CHECKING:
    from probekit.baselines import Baseline
    from probekit.lint import Finding

SetName = Annotated[str, typer.Argument(metavar="SET|FILE", help="A shipped set or a file.")]
SHOWN = 3
"""Items named below a check that fails."""


@app.command()
def lint(
    name: SetName,
    model: Annotated[
        str | None,
        typer.Option(help="A model: adds static embeddings and surprisal to the baselines."),
    ] = None,
    folds: Annotated[int, typer.Option(min=3, help="Cross-validation folds.")] = 6,
    permutations: Annotated[int, typer.Option(min=0, help="Relabelings of the null.")] = 60,
    seed: Annotated[int, typer.Option(help="Of folds, permutations and bootstraps.")] = 0,
    readings: Annotated[
        list[Path] | None, typer.Option(help="Further files of readings; repeatable.")
    ] = None,
    details: Annotated[
        bool, typer.Option("--details", help="Name what made every figure.")
    ] = False,
) -> None:
    """Measure a set, and hold the claims of its datasheet against the figures.

    Exit code 1 if a claim does not hold.
    """
    from probekit.lint import Design
    from probekit.lint import lint as measure

    extra = _with_model(name, model) if model else []
    with bars() as progress:
        found = measure(
            name,
            design=Design(folds=folds, permutations=permutations, seed=seed),
            extra=extra,
            readings=readings or (),
            progress=progress,
        )
    _show(found, details=details)
    failed = sum(finding.passed is False for finding in found)
    claimed = sum(finding.passed is not None for finding in found)
    if not claimed:
        out.print("\nthe set claims nothing: figures are shown, none is judged")
    elif failed:
        out.print(f"\n{failed} of {claimed} claims do not hold")
        raise typer.Exit(1)
    else:
        out.print(f"\nall {claimed} claims hold")


def _with_model(name: str, model: str) -> "list[Baseline]":
    """The baselines that need a model, of a set's texts."""
    from probekit.baselines import model_baselines
    from probekit.stimuli import StimulusSet

    texts = StimulusSet.load(name).texts
    return model_baselines(texts, load(model, "auto", "auto"))


def _show(found: "list[Finding]", *, details: bool) -> None:
    table = Table(box=None)
    for column in ("measured", "figure", "claim", ""):
        table.add_column(column, overflow="fold")
    for finding in found:
        verdict = {None: "", True: "holds", False: "FAILS"}[finding.passed]
        table.add_row(finding.name, finding.said, finding.claim, verdict)
    out.print(table, markup=False)
    for finding in found:
        if finding.where and (details or finding.passed is False):
            some = "; ".join(finding.where if details else finding.where[:SHOWN])
            out.print(f"{finding.name}: {some}", markup=False, highlight=False, soft_wrap=True)


@app.command()
def annotate(
    name: SetName,
    page: Annotated[Path | None, typer.Option("--out", help="Default: SET.html here.")] = None,
    which: Annotated[
        int, typer.Option("--list", help="Texts of one scenario are dealt to different lists.")
    ] = 1,
    part: Annotated[str, typer.Option("--split", help="Only texts of this split.")] = "",
    check: Annotated[
        list[Path] | None,
        typer.Option("--check", help="Saved readings to check and count instead; repeatable."),
    ] = None,
) -> None:
    """Write one offline page on which a person reads texts blind and saves a CSV.

    The loader merges what was saved: put it beside the set as readings.csv, or give it to
    `StimulusSet.with_readings` or to `probekit lint --readings`.
    """
    from probekit.annotate import write_page
    from probekit.stimuli import StimulusSet

    stimuli = StimulusSet.load(name)
    if check:
        merged = stimuli.with_readings(*check)
        count = sum("readers" in row.extra or "readers_a" in row.extra for row in merged.rows)
        out.print(f"{count} of {len(merged)} texts of {stimuli.name} have readings")
        return
    path = page or Path(f"{stimuli.name}-{which}.html")
    lists = write_page(stimuli, path, which=which, split=part)
    say(f"list {which} of {lists}; open it in a browser, and give each reader one list")
    out.print(str(path), soft_wrap=True)
