"""Directions of emotions on several models: how good they are, how stable, what they write.

    python experiments/directions.py smollm2-135m gemma3-270m
    python experiments/directions.py --gather

1. `directions`: every estimator on the vignettes, held out, above text, stable or not; then with
   the neutral texts' leading components taken out, and whitened.
2. `geometry`: how emotions lie to one another.
3. `cka`: how alike the models' states of the same texts are.

Each part is a run folder under --out with its own page, and goes on where it was stopped.
`--gather` reads what is there and prints the tables of the log.
"""

import argparse
import csv
import json
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from probekit import Geometry, StimulusSet, load_model, run_geometry, write_report
from probekit.activations import capture_cached
from probekit.geometry import align
from probekit.models import Model
from probekit.prompts import NO_TEMPLATE
from probekit.quality import Extraction, run_directions
from probekit.runs import MANIFEST, RESULTS, write_json
from probekit.store import ActivationStore

MODELS = ("smollm2-135m", "gemma3-270m", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b")
PARTS = ("directions", "options", "geometry", "cka")
ESTIMATORS = ("grouped", "mean", "control", "pca", "lda")
OPTIONS = {
    "neutral components": Extraction(estimators=("grouped", "mean"), neutral_components=0.5),
    "whitened": Extraction(estimators=("mean",), whiten=True, permutations=20, halves=10),
    "logistic": Extraction(estimators=("logistic",), permutations=20, halves=10),
}
"""Variants that are run beside; the share of variance is that of arXiv 2604.07729."""


def main() -> None:
    """Run what is missing, then gather."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("models", nargs="*", default=[])
    parser.add_argument("--out", type=Path, default=Path("runs/directions_study"))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--gather", action="store_true", help="print tables of all that is there")
    parser.add_argument("--dtype", default="auto")
    given = parser.parse_args()
    stimuli = StimulusSet.load("vignettes")
    states: dict[str, ActivationStore] = {}
    with Progress(console=Console(stderr=True)) as bars:
        tasks: dict[str, int] = {}

        def progress(stage: str, done: float, total: float) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage)
            bars.update(tasks[stage], completed=done, total=total or None)

        for name in given.models:
            model = load_model(name, dtype=given.dtype)
            for folder in run(model, stimuli, given.out / name, given.parts, progress):
                print(write_report(folder))
            if "cka" in given.parts:
                states[name] = capture_cached(model, stimuli, ["resid_post"], ["mean"], NO_TEMPLATE)
    for one, other in combinations(states, 2):
        compare(states[one], states[other], stimuli, given.out / f"cka {one} {other}.json")
    if given.gather:
        for line in gather(given.out):
            print(line)


def run(
    model: Model,
    stimuli: StimulusSet,
    out: Path,
    parts: list[str],
    progress: Callable[[str, float, float], None],
) -> Iterator[Path]:
    """The run folders of one model."""
    if "directions" in parts:
        options = Extraction(estimators=ESTIMATORS)
        yield run_directions(model, stimuli, out / "directions", options, progress=progress)
    for name, options in OPTIONS.items() if "options" in parts else ():
        yield run_directions(model, stimuli, out / name, options, progress=progress)
    if "geometry" in parts:
        yield run_geometry(model, stimuli, out / "geometry", Geometry(), progress=progress)


def compare(one: ActivationStore, other: ActivationStore, stimuli: StimulusSet, out: Path) -> None:
    """CKA of two models' layers, texts of a scenario moved together for chance."""
    found = align(one, other, "resid_post", "mean", scenarios=stimuli.column("scenario").tolist())
    best = np.unravel_index(found.values.argmax(), found.values.shape)
    diagonal = [
        found.values[row, round(row / (len(found.values) - 1) * (found.values.shape[1] - 1))]
        for row in range(len(found.values))
    ]
    told = {
        "largest": float(found.values[best]),
        "at": [found.layers[0][best[0]], found.layers[1][best[1]]],
        "null_there": float(found.null[best]),
        "p_there": float(found.p[best]),
        "same_depth": [float(value) for value in diagonal],
    }
    write_json(out, told)


def gather(out: Path) -> Iterator[str]:
    """Tables in Markdown of every run folder under `out`."""
    columns = ("model", "estimator", "arm", "layer", "depth", "categorisation", "above text")
    columns += ("chance", "reception", "above text", "halves", "pairs", "above others")
    yield f"| {' | '.join(columns)} |"
    yield "|" + "---|" * len(columns)
    tokens = []
    for folder in sorted(path.parent for path in out.glob(f"*/*/{RESULTS}")):
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest["study"] != "directions":
            continue
        with (folder / RESULTS).open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if not row["emotion"]]
        for made in manifest["directions"]:
            yield quality_line(folder, manifest, made, rows)
            tokens += list(token_lines(folder, made))
        tokens += list(arm_lines(folder, rows))
    yield from ("", *tokens)
    for path in sorted(out.glob("cka *.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        depth = max(found["same_depth"])
        yield f"{path.stem}: largest {found['largest']:.2f} at {found['at']}, "
        yield f"chance {found['null_there']:.2f}, p {found['p_there']:.3f}; same depth {depth:.2f}"


def quality_line(folder: Path, manifest: dict, made: dict, rows: list[dict[str, str]]) -> str:
    """One line of the table: directions of one arm by one estimator, at their layer."""
    arm, layer = made["source"], made["layer"]
    own = [row for row in rows if row["source"] == row["target"] == arm]
    own = [row for row in own if row["method"] == made["estimator"] and row["split"] != "dev"]

    def figure(metric: str, condition: str = "direction", at: str = "", **cells: str) -> str:
        wanted = {"metric": metric, "condition": condition, "layer": at, **cells}
        return shown(row for row in own if all(row[k] == v for k, v in wanted.items()))

    stable = [row for row in rows if row["source"] == row["target"] == arm]
    halves = {"metric": "cosine_halves", "condition": "direction", "layer": str(layer)}
    halves["method"] = made["estimator"]
    cells = [folder.parent.name, f"{made['estimator']} ({folder.name})", arm, str(layer)]
    cells.append(f"{(layer + 1) / manifest['model']['n_layers']:.2f}")
    for task in ("categorisation", "reception"):
        cells += [figure("auroc", task=task), figure("auroc_above_text", task=task)]
        cells += [figure("auroc", "null", task=task)] if task == "categorisation" else []
    cells.append(shown(r for r in stable if all(r[k] == v for k, v in halves.items())))
    cells.append(figure("pair_cosine", at=str(layer)))
    cells.append(figure("pair_cosine_above_others", at=str(layer)))
    return f"| {' | '.join(cells)} |"


def arm_lines(folder: Path, rows: list[dict[str, str]]) -> Iterator[str]:
    """Between arms: halves' cosines, disattenuated ones and transfer, at every fifth layer."""
    across = [row for row in rows if row["source"] != row["target"] and row["source"]]
    for row in across:
        told = f"{row['method']} {row['source']} → {row['target']}"
        if row["task"] == "stability" and int(row["layer"]) % 5 == 0:
            yield f"{folder}: {told}, layer {row['layer']}, {row['metric']} {shown([row])}"
        if row["task"] == "categorisation" and not row["layer"] and row["split"] == "test":
            yield f"{folder}: {told}, {row['condition']} {row['metric']} {shown([row])}"


def token_lines(folder: Path, made: dict) -> Iterator[str]:
    """What each direction writes, as it comes."""
    for emotion, written in made.get("top_tokens", {}).items():
        yield f"{folder}: {made['estimator']} {made['source']} {emotion}: {written}"
    yield f"{folder}: random: {made.get('random_tokens')}"


def shown(rows: Iterator[dict[str, str]] | list[dict[str, str]]) -> str:
    """The first row's figure with its interval; missing is said."""
    row = next(iter(rows), None)
    if row is None or not row["value"]:
        return "missing"
    text = f"{float(row['value']):.2f}"
    if row["low"]:
        text += f" [{float(row['low']):.2f}, {float(row['high']):.2f}]"
    return text


if __name__ == "__main__":
    main()
