"""The command that probes a captured corpus: `probe-corpus`."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from probekit.cli.application import Device, Folder, app, bars, finish, numbers, run_folder, say


@app.command("probe-corpus")
def probe_corpus(
    store: Annotated[Path, typer.Argument(help="Folder that `probekit capture --label` made.")],
    site: Annotated[str, typer.Option(help="One kind of site; all its layers are probed.")] = (
        "resid_post"
    ),
    pooling: Annotated[str, typer.Option(help="One of the poolings captured.")] = "last",
    parts: Annotated[
        str, typer.Option(help="Shares of the groups for training, validation and test.")
    ] = "80,10,10",
    balance_train: Annotated[
        str, typer.Option(help="mean: every class has the mean class's size, or keep.")
    ] = "mean",
    balance_test: Annotated[
        str, typer.Option(help="smallest: every class has the smallest's size, or keep.")
    ] = "smallest",
    hidden: Annotated[int, typer.Option(help="Units of the MLP; 0 leaves it out.")] = 256,
    penalty: Annotated[float, typer.Option("--C", help="Inverse L2 penalty, linear probe.")] = 1.0,
    epochs: Annotated[
        int | None, typer.Option(help="Of the linear probe. Default: 1,000 steps at least.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Of the linear probe. Default: 0.02.")
    ] = None,
    mlp_epochs: Annotated[
        int | None, typer.Option(help="Of the MLP. Default: 1,000 steps at least.")
    ] = None,
    mlp_learning_rate: Annotated[
        float | None, typer.Option(help="Of the MLP. Default: 0.0001.")
    ] = None,
    batch: Annotated[int, typer.Option(help="Rows of a mini-batch.")] = 256,
    buffer: Annotated[int, typer.Option(help="Megabytes of activations held at once.")] = 512,
    bootstraps: Annotated[int, typer.Option(help="Draws of groups.")] = 1000,
    out_: Folder = None,
    seed: Annotated[int, typer.Option(help="Of parts, draws and orders.")] = 0,
    device: Device = "auto",
) -> None:
    """Train probes of every layer on a captured corpus, a few shards at a time.

    A linear probe and an MLP stand beside the same probes of permuted labels and beside what words
    alone tell; the layer is chosen on validation. Writes results.csv and report.html. Stopped, the
    same command goes on.
    """
    from probekit.minibatch import Options, run_probe_corpus
    from probekit.models import device_of

    options = Options(
        site=site,
        pooling=pooling,
        shares=numbers("--parts", parts),
        balance_train=balance_train,
        balance_test=balance_test,
        hidden=hidden,
        C=penalty,
        epochs=epochs,
        learning_rate=learning_rate,
        mlp_epochs=mlp_epochs,
        mlp_learning_rate=mlp_learning_rate,
        batch=batch,
        buffer_bytes=buffer * 1_000_000,
        bootstraps=bootstraps,
        seed=seed,
    )
    folder = run_folder(out_, "probe-corpus", store.resolve().name)
    with bars() as progress:
        run_probe_corpus(
            store,
            folder,
            options,
            device=device_of(device),
            command=shlex.join(sys.argv[1:]),
            progress=progress,
            say=say,
        )
    finish(folder)
