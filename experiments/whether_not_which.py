"""Study A ("Whether, Not Which", arXiv:2603.22295) whole, with its controls: is it noticed *that* a
text matters emotionally, and is that carried apart from *which* emotion it is?

    python experiments/whether_not_which.py smollm2-135m
    python experiments/whether_not_which.py gemma3-270m --foreign affect_reception.jsonl

1. Probes by layer, from arm to arm, beside what words alone achieve.
2. Patching at the read-out token: every source with its controls; aligned minimal pairs.
3. Knockout of heads, sublayers, layers and neurons, ranked on one half and measured on the other.

Each part is a run folder under --out with its own page, and goes on where it was stopped;
`index.html` gathers their headlines, `findings.json` the answers to the study's questions.
"""

import argparse
import csv
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from probekit import Options, StimulusSet, Template, load_model, run_probing
from probekit.ablation import Ablation, run_ablation
from probekit.causal import Sizes
from probekit.models import Model
from probekit.patching import Patching, run_patching
from probekit.report.index import write_index
from probekit.runs import RESULTS, write_json

PARTS = ("probe", "patch", "ablate")
SETS = ("vignettes", "minimal_pairs")


def main() -> None:
    """Run what is missing, then gather."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--foreign", type=Path, help="the paper's own stimuli, if you have them")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--sets", nargs="+", default=SETS, help="stimuli that are patched")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    out = given.out or Path("runs/whether_not_which") / given.model.replace("/", "--")
    model = load_model(given.model, dtype=given.dtype)
    with Progress(console=Console(stderr=True)) as bars:
        parts = list(run(model, given, out, bars))
    page = write_index(out, "Whether, and which", parts)
    write_json(out / "findings.json", {title: answers(folder) for title, folder in parts})
    print(page)


def run(model: Model, given: argparse.Namespace, out: Path, bars: Progress) -> Any:
    """Every part of the study, as (title, folder)."""
    tasks: dict[str, Any] = {}

    def progress(stage: str, done: float, total: float) -> None:
        task = tasks.setdefault(stage, bars.add_task(stage) if stage not in tasks else None)
        bars.update(task, completed=done, total=total or None)

    sizes = Sizes(seed=given.seed)
    extra = [StimulusSet.load(given.foreign)] if given.foreign else []
    sets = [*map(StimulusSet.load, given.sets), *extra]
    if "probe" in given.parts:
        template = Template.load("feeling")
        options = Options(sites=("resid_post",), template=template, seed=given.seed)
        yield "Probes", run_probing(model, sets, out / "probe", options, progress=progress)
    for stimuli in sets if "patch" in given.parts else []:
        folder, patching = out / f"patch-{stimuli.name}", Patching(sizes=sizes)
        run_patching(model, stimuli, folder, patching, progress=progress)
        yield f"Patching: {stimuli.name}", folder
    # Aligned pairs are for patching; what a unit is needed for is asked on whole texts.
    for stimuli in sets if "ablate" in given.parts else []:
        if stimuli.name != "minimal_pairs":
            folder = out / f"ablate-{stimuli.name}"
            units = ("heads", "sublayers", "layers", "neurons")
            ablation = Ablation(units, ("zero", "mean"), sizes=sizes)
            run_ablation(model, stimuli, folder, ablation, progress=progress)
            yield f"Knockout: {stimuli.name}", folder


def answers(folder: Path) -> dict[str, Any]:
    """What a part says to the study's questions, read from its results."""
    with (folder / RESULTS).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    study = rows[0]["study"] if rows else ""
    if study == "patch":
        return patch_answers(rows)
    if study == "ablate":
        return ablate_answers(rows)
    return {}


def patch_answers(rows: list[dict[str, str]]) -> dict[str, Any]:
    """Layers at which a patch differs from a control, by source, control, arm, figure and site."""
    out: dict[str, Any] = {}
    for row in rows:
        if not row["method"].startswith("above_") or row["unit"]:
            continue
        key = f"{row['source']} {row['method']}, {row['target']}, {row['metric']}, {row['site']}"
        told = out.setdefault(key, {"layers": 0, "higher": 0, "lower": 0})
        told["layers"] += 1
        if float(row["q"] or 1) < 0.05:
            told["higher" if float(row["value"]) > 0 else "lower"] += 1
    return out


def ablate_answers(rows: list[dict[str, str]]) -> dict[str, Any]:
    """Units at q < .05 on the test half: of the ablation, its placebo, their difference, and both
    the first and the last."""
    out: dict[str, Any] = {
        f"{row['source']} {row['metric']}": float(row["value"])
        for row in rows
        if row["metric"] in ("smallest_p", "fdr_bound", "attribution_r")
    }
    found: dict[str, dict[str, set[tuple[str, str]]]] = {}
    for row in rows:
        if row["split"] != "dev" and row["q"]:
            key = f"{row['site']}, {row['method']}, {row['metric']}"
            told = found.setdefault(key, {"units": set()})
            unit = (row["layer"], row["unit"])
            told["units"].add(unit)
            alive = told.setdefault(row["condition"], set())
            if float(row["q"]) < 0.05:
                alive.add(unit)
    for key, told in found.items():
        out[key] = {name: len(units) for name, units in told.items()}
        if "difference" in told:
            out[key]["both"] = len(told["ablation"] & told["difference"])
    return out


if __name__ == "__main__":
    main()
