"""Study C ("Decoding Emotion in the Deep", arXiv:2510.04064) whole, with its controls.

At what depth is an emotion read, in models of which size; what does asking tell; how long is it
kept; what does a system prompt change; and does the reply follow what is read?

    python experiments/decoding_emotion.py smollm2-135m
    python experiments/decoding_emotion.py smollm2-135m qwen2.5-coder-0.5b --parts depth

1. depth: which of seven labels, at the embeddings and at every layer, last token and mean, without
   and with the chat template (with one, every text ends with the same tokens: at the embeddings
   the last token is chance by force).
2. retain: while a neutral text goes on, and after the turn was removed from the past.
3. express: asked for the label, told to be emotional or calm, and with what is read changed.

Each part is a run folder under --out with its own page, and goes on where it was stopped;
`index.html` gathers the headlines of all models; figures by model and depth are printed.
"""

import argparse
import csv
import shlex
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from probekit import Options, StimulusSet, Template, run_probing
from probekit.cli.application import bars, load, say
from probekit.cli.scorecard import held_to_readers
from probekit.errors import UserError
from probekit.expression import PARTS as EXPRESSED
from probekit.expression import Expression, run_expression
from probekit.models import Model
from probekit.persistence import Retention, run_retention
from probekit.report.index import write_index
from probekit.runs import RESULTS

PARTS = ("depth", "retain", "express")
TEMPLATES = ("none", "chat")
TITLES = {
    "depth-none": "depth, without a chat template",
    "depth-chat": "depth, with the chat template",
    "retain": "retained",
    "express": "asked, told, expressed",
}
"""Folder of a part -> its title."""
SHARES = (0, 25, 50, 75, 100)
"""Per cent of depth: 0 is the embeddings, 100 the last block."""
TELLERS = {
    "probe": ("probe", "logistic"),
    "words": ("baseline", "reference"),
    "asked, by likelihood": ("asking", "likelihood"),
    "asked, in its own words": ("asking", "generation"),
    "chance": ("null", "permutation"),
}
"""Condition and method of those who tell a label."""


def main() -> None:
    """Run what is missing of every model, then gather and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("models", nargs="+")
    parser.add_argument("--out", type=Path, default=Path("runs/decoding_emotion"))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--templates", nargs="+", choices=TEMPLATES, default=TEMPLATES)
    parser.add_argument("--express", nargs="+", choices=EXPRESSED, default=EXPRESSED)
    parser.add_argument("--stimuli", default="utterances")
    parser.add_argument("--scenarios", type=int, help="drawn from each split (default: all)")
    parser.add_argument("--tokens", type=int, default=511, help="of the neutral continuation")
    parser.add_argument("--learned", type=int, default=2, help="continuations for probes")
    parser.add_argument("--cuts", nargs="+", type=int, default=[0, 7, 63])
    parser.add_argument("--posts", type=int, default=10, help="scenarios under every system prompt")
    parser.add_argument("--paraphrases", type=int, default=10)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    try:
        stimuli = some(StimulusSet.load(given.stimuli), given.scenarios, given.seed)
        for name in given.models:
            model = load(name, given.device, given.dtype)
            run(model, stimuli, given.out / model.public_name, given)
            del model
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(write_index(given.out, "Decoding emotion", finished(given.out)))
    print("\n".join([*by_model(given.out), *by_teller(given.out)]))


def some(stimuli: StimulusSet, count: int | None, seed: int) -> StimulusSet:
    """So many scenarios of each split, drawn; all where no number is given."""
    if count is None:
        return stimuli
    rng, drawn = np.random.default_rng(seed), set[str]()
    for split in stimuli.splits:
        names = np.unique(stimuli.select(split=split).column("scenario"))
        drawn |= set(rng.choice(names, min(count, len(names)), replace=False))
    return stimuli.select(scenario=sorted(drawn))


def finished(out: Path) -> list[tuple[str, Path]]:
    """Every part that has been run of every model, now or before, as (title, folder)."""
    return [
        (f"{path.parent.parent.name}: {title}", path.parent)
        for name, title in TITLES.items()
        for path in sorted(out.glob(f"*/{name}/{RESULTS}"))
    ]


def run(model: Model, stimuli: StimulusSet, out: Path, given: argparse.Namespace) -> None:
    """Every part of one model that is asked for."""
    command, able = shlex.join(sys.argv), bool(model.tokenizer.chat_template)
    with bars() as progress:
        for name in given.templates if "depth" in given.parts else ():
            if name == "chat" and not able:
                continue
            options = Options(
                sites=("resid_pre.0", "resid_post"),
                template=Template.load(name),
                classes=True,
                seed=given.seed,
            )
            folder = out / f"depth-{name}"
            run_probing(model, [stimuli], folder, options, command=command, progress=progress)
        if "retain" in given.parts:
            retention = Retention(
                tokens=given.tokens, cuts=tuple(given.cuts), learned=given.learned, seed=given.seed
            )
            keep = partial(run_retention, command=command, progress=progress, say=say)
            keep(model, stimuli, out / "retain", retention)
        if "express" in given.parts:
            expression = Expression(
                parts=tuple(given.express),
                posts=given.posts,
                paraphrases=given.paraphrases,
                seed=given.seed,
            )
            judge, _ = held_to_readers("ensemble", "", None, False)
            write = partial(run_expression, command=command, progress=progress, say=say)
            write(model, stimuli, out / "express", expression, judge=judge)


def by_model(out: Path) -> Iterator[str]:
    """Depth and size: a line for each model, template and pooling that has been run."""
    for folder in sorted(path.parent for path in out.glob(f"*/depth-*/{RESULTS}")):
        rows = test_rows(folder)
        words = value(rows, condition="baseline", method="reference", metric="auroc")
        words += f"; {sizes(rows)}"
        for pooling in ("last", "mean"):
            own = [row for row in rows if row["pooling"] == pooling]
            yield f"{folder.parent.name}, {folder.name}, {pooling}; words alone {words}"
            yield from by_depth(own)


def by_teller(out: Path) -> Iterator[str]:
    """Who tells the label, probe, words or the model when asked: a line for each model."""
    for folder in sorted(path.parent for path in out.glob(f"*/express/{RESULTS}")):
        if not (rows := [row for row in test_rows(folder) if row["task"] == "asking"]):
            continue
        said = [
            f"{name} {value(rows, metric='accuracy', condition=condition, method=method)}"
            for name, (condition, method) in TELLERS.items()
        ]
        yield f"{folder.parent.name}, accuracy: {', '.join(said)}; {sizes(rows)}"


def sizes(rows: Sequence[dict[str, str]]) -> str:
    """How many items and scenarios figures rest on: runs of other sizes are not to be compared."""
    return f"{rows[0]['n']} posts of {rows[0]['clusters']} scenarios"


def test_rows(folder: Path) -> list[dict[str, str]]:
    """Results of test items."""
    with (folder / RESULTS).open(encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["split"] == "test"]


def by_depth(rows: Sequence[dict[str, str]]) -> Iterator[str]:
    """Accuracy and AUROC at shares of depth, and where the AUROC peaks."""
    layers = {int(row["layer"]) for row in rows if row["site"] == "resid_post" and row["layer"]}
    for share in SHARES:
        # After block l stands at (l + 1) / blocks of depth.
        site, layer = ("resid_pre", 0) if not share else ("resid_post", place(share, len(layers)))
        at = {"site": site, "layer": str(layer), "condition": "probe"}
        figures = [f"{m} {value(rows, metric=m, **at)}" for m in ("accuracy", "auroc")]
        above = value(rows, metric="auroc_above_text", **at)
        yield f"  {share:3} % ({site}.{layer}): {', '.join(figures)}, above text {above}"
    (peak,) = [r for r in rows if r["metric"] == "peak_layer" and r["site"] == "resid_post"]
    ends = [(float(peak[name]) + 1) / len(layers) for name in ("value", "low", "high")]
    yield f"  peak at {ends[0]:.2f} of depth [{ends[1]:.2f}, {ends[2]:.2f}]"


def place(share: int, blocks: int) -> int:
    """The block after which so many per cent of depth are done."""
    return max(0, round(share / 100 * blocks) - 1)


def value(rows: Sequence[dict[str, str]], **cells: str) -> str:
    """A figure with its interval."""
    cells = {"layer": "", "emotion": "", **cells}
    (row,) = [r for r in rows if all(r[name] == cell for name, cell in cells.items())]
    return f"{float(row['value']):.3f} [{float(row['low']):.3f}, {float(row['high']):.3f}]"


if __name__ == "__main__":
    main()
