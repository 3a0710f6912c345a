"""Audit of the stimuli: what words alone and four models achieve on every set, and on foreign ones.

    python experiments/stimuli_audit.py --out runs/audit                     # all of it
    python experiments/stimuli_audit.py --foreign FILE --models smollm2-135m --sets crossed

Every (model, set) is a run folder of `probekit probe` under --out and goes on where it stopped; the
table (audit.csv, audit.md) and the page (audit.html) are made of what is there. `--picture FILE`
draws the README's picture with a Chromium that playwright finds.
"""

import argparse
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from probekit import Options, StimulusSet, Template, load_model, run_probing, write_report
from probekit.runs import MANIFEST, RESULTS, atomic_write, read_json

MODELS = {
    "smollm2-135m": ("SmolLM2 135M", "float32"),
    "gemma3-270m": ("Gemma 3 270M", "float32"),
    "qwen2.5-coder-0.5b": ("Qwen 2.5 0.5B", "bfloat16"),
    "qwen2.5-coder-1.5b": ("Qwen 2.5 1.5B", "bfloat16"),
}
SETS = ("vignettes", "minimal_pairs", "crossed", "scenarios", "perspective")
SITE, POOLING = "resid_post", "last"
SHOWN = (
    ("affect_reception", "reception", "keyword_free", "published set: emotional or neutral"),
    ("vignettes", "reception", "keyword_free", "vignettes: emotional or neutral"),
    ("minimal_pairs", "reception", "keyword_free", "minimal pairs: emotional or neutral"),
    ("crossed", "valence", "", "crossed quads: good or bad"),
    ("crossed", "categorisation", "", "crossed quads: which emotion"),
    ("vignettes", "categorisation", "keyword_free", "vignettes: which of 8 emotions"),
)
"""Set, task, source arm and caption of the rows of the picture."""
COLOURS = ("#8a94a3", "#7cc08a", "#3f9f7f", "#2a7f9e", "#16425b")


@dataclass(frozen=True)
class Line:
    """One question on one set: the text reference, a model's probe, and their difference."""

    set: str
    task: str
    source: str
    target: str
    split: str
    model: str
    figures: dict[str, tuple[float, float, float]]
    clusters: int


def main() -> None:
    """Run what is missing, then write the table and the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/audit"))
    parser.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--sets", nargs="*", default=list(SETS))
    parser.add_argument("--foreign", type=Path, help="a file in the affect-reception schema")
    parser.add_argument("--permutations", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    sets = [StimulusSet.load(name) for name in given.sets]
    if given.foreign:
        # Its keyword-free texts and their controls; its keyword-rich ones come from elsewhere.
        clinical = StimulusSet.load(given.foreign).select(set="clinical")
        sets.append(StimulusSet("affect_reception", clinical.rows))
    for name in given.models:
        run(name, sets, given)
    lines = list(collect(given.out))
    write_table(given.out / "audit.csv", lines)
    write_markdown(given.out / "audit.md", lines)
    page = write_page(given.out / "audit.html", lines)
    print(page)
    if given.picture:
        photograph(page, given.picture)


def run(name: str, sets: list[StimulusSet], given: argparse.Namespace) -> None:
    """Probe one model on every set, each in a folder of its own."""
    options = Options(
        sites=(SITE,),
        positions=(POOLING,),
        template=Template.load("feeling"),
        permutations=given.permutations,
        seed=given.seed,
    )
    folders = {each.name: given.out / name / each.name for each in sets}
    done = {key for key, folder in folders.items() if _complete(folder)}
    missing = [each for each in sets if each.name not in done]
    if not missing:
        return
    model = load_model(name, dtype=MODELS[name][1])
    for each in missing:
        print(f"{name} on {each.name}", flush=True)
        run_probing(model, [each], folders[each.name], options, command="stimuli_audit")
        write_report(folders[each.name])


def _complete(folder: Path) -> bool:
    manifest = folder / MANIFEST
    return manifest.exists() and bool(read_json(manifest).get("complete"))


def collect(out: Path) -> Iterator[Line]:
    """The headline figures of every run, on the split that is the last look."""
    for name in MODELS:
        for path in sorted(out.glob(f"{name}/*/{RESULTS}")):
            yield from _headlines(name, path)


def _headlines(model: str, path: Path) -> Iterator[Line]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["layer"] == ""]
    found: dict[tuple[str, ...], dict[str, tuple[float, float, float]]] = {}
    clusters: dict[tuple[str, ...], int] = {}
    for row in rows:
        if not row["value"] or row["pooling"] not in ("", POOLING, "mean"):
            continue
        key = tuple(row[name] for name in ("set", "task", "source", "target", "split"))
        kind = row["method"] if row["condition"] == "baseline" else row["condition"]
        kind += "" if row["pooling"] in ("", POOLING) else f" ({row['pooling']})"
        metric = row["metric"] if kind.startswith(("probe", "control")) else kind
        if row["condition"] in ("baseline", "null"):
            if row["metric"] != "auroc":
                continue
            metric = kind
        elif row["condition"] == "probe":
            metric = kind.replace("probe", row["metric"])
        else:
            metric = f"{row['metric']} {row['method']}{kind.removeprefix('control')}"
        low, high = (float(row[end]) if row[end] else float("nan") for end in ("low", "high"))
        found.setdefault(key, {})[metric] = (float(row["value"]), low, high)
        clusters[key] = int(row["clusters"] or 0)
    tested = {key[:4] for key in found if key[4] == "test" and key[3] != "complex_neutral"}
    for key, figures in found.items():
        if key[4] == "test" or key[:4] not in tested:
            yield Line(*key, model=model, figures=figures, clusters=clusters[key])


def write_table(path: Path, lines: list[Line]) -> None:
    """Every figure as a row of a CSV."""
    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        head = ("set", "task", "source", "target", "split", "model", "clusters", "figure")
        writer.writerow([*head, "value", "low", "high"])
        for line in lines:
            place = (line.set, line.task, line.source, line.target, line.split, line.model)
            for figure, values in line.figures.items():
                shown = ["" if v != v else f"{v:.4f}" for v in values]
                writer.writerow([*place, line.clusters, figure, *shown])


def write_markdown(path: Path, lines: list[Line]) -> None:
    """The headline table: words, probe and above text, one row a question and model."""
    out = [
        "| set | question | model | words | character n-grams | probe | above text | chance |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for line in lines:
        if line.target == "complex_neutral" or "auroc" not in line.figures:
            continue
        arms = " → ".join(dict.fromkeys(arm for arm in (line.source, line.target) if arm))
        cells = [
            line.set,
            f"{line.task} {arms}".strip(),
            MODELS[line.model][0],
            said(line, "reference"),
            said(line, "char_ngrams"),
            said(line, "auroc", interval=True),
            said(line, "auroc_above_text", interval=True, signed=True),
            said(line, "null"),
        ]
        out.append(f"| {' | '.join(cells)} |")
    with atomic_write(path) as temporary:
        temporary.write_text("\n".join(out) + "\n", encoding="utf-8")


def said(line: Line, figure: str, *, interval: bool = False, signed: bool = False) -> str:
    """A figure to two digits, `—` where it is missing."""
    if figure not in line.figures:
        return "—"
    value, low, high = line.figures[figure]
    form = "{:+.2f}" if signed else "{:.2f}"
    text = form.format(value)
    return f"{text} [{form.format(low)}, {form.format(high)}]" if interval and low == low else text


def write_page(path: Path, lines: list[Line]) -> Path:
    """One offline page: the picture, and layer by layer what each model's probe reaches."""
    figures = [overview(lines), *curves(path.parent)]
    parts = [
        figure.to_html(full_html=False, include_plotlyjs=place == 0, default_width="1000px")
        for place, figure in enumerate(figures)
    ]
    body = "\n".join(parts)
    with atomic_write(path) as temporary:
        temporary.write_text(
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Audit of the '
            f"stimuli</title></head><body>{body}</body></html>\n",
            encoding="utf-8",
        )
    return path


def overview(lines: list[Line]) -> go.Figure:
    """Words alone, then the models by size, on the kinds of set."""
    shown = [row for row in SHOWN if any(_asks(line, *row[:3]) for line in lines)]
    figure = go.Figure()
    first = next(name for name in MODELS if any(line.model == name for line in lines))
    series = [("words alone", "reference", first)]
    there = {line.model for line in lines}
    series += [(title, "auroc", name) for name, (title, _) in MODELS.items() if name in there]
    for place, (title, key, model) in enumerate(series):
        x, y, less, more = [], [], [], []
        for row in shown:
            line = next((ln for ln in lines if ln.model == model and _asks(ln, *row[:3])), None)
            if line is None or key not in line.figures:
                continue
            value, low, high = line.figures[key]
            x.append(value)
            y.append(len(shown) - shown.index(row) - 1 + 0.16 * ((len(series) - 1) / 2 - place))
            less.append(value - low)
            more.append(high - value)
        bars = {"type": "data", "symmetric": False, "array": more, "arrayminus": less, "width": 2}
        symbol = "diamond" if key == "reference" else "circle"
        shade = COLOURS[0] if key == "reference" else COLOURS[1 + list(MODELS).index(model)]
        marker = {"size": 11, "color": shade, "symbol": symbol}
        figure.add_scatter(x=x, y=y, mode="markers", name=title, error_x=bars, marker=marker)
    figure.add_vline(x=0.5, line_dash="dot", line_color="#888")
    ticks = [row[3] for row in reversed(shown)]
    figure.update_yaxes(
        tickvals=list(range(len(shown))), ticktext=ticks, showgrid=False, zeroline=False
    )
    figure.update_xaxes(
        title="AUROC (95 % interval over scenarios); .5 is chance", range=[0.3, 1.02]
    )
    figure.update_layout(
        template="plotly_white",
        height=90 * len(shown) + 140,
        legend={"orientation": "h", "y": 1.08, "traceorder": "normal"},
        margin={"l": 250, "r": 20, "t": 60, "b": 60},
        font={"size": 14},
    )
    return figure


def _asks(line: Line, name: str, task: str, source: str) -> bool:
    return (line.set, line.task, line.source, line.target) == (name, task, source, source)


def curves(out: Path) -> Iterator[go.Figure]:
    """For each question of the picture, AUROC over relative depth, one curve a model."""
    for name, task, source, title in SHOWN:
        figure = make_subplots()
        for place, (model, (called, _)) in enumerate(MODELS.items()):
            path = out / model / name / RESULTS
            if not path.exists():
                continue
            with path.open(encoding="utf-8", newline="") as file:
                rows = [
                    row
                    for row in csv.DictReader(file)
                    if (row["task"], row["source"], row["target"]) == (task, source, source)
                    and (row["condition"], row["metric"]) == ("probe", "auroc")
                    and row["layer"] and row["pooling"] == POOLING and row["split"] != "dev"
                ]  # fmt: skip
            depth = [int(row["layer"]) / max(1, len(rows) - 1) for row in rows]
            values = [float(row["value"]) for row in rows]
            line = {"color": COLOURS[place + 1]}
            figure.add_scatter(x=depth, y=values, name=called, mode="lines", line=line)
        figure.add_hline(y=0.5, line_dash="dot", line_color="#888")
        figure.update_xaxes(title="depth (share of layers)")
        figure.update_yaxes(title="AUROC", range=[0.3, 1.02])
        figure.update_layout(template="plotly_white", title=title, height=380)
        yield figure


def photograph(page: Path, picture: Path) -> None:
    """The first figure of the page as a PNG."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )
        sheet = browser.new_page(viewport={"width": 1040, "height": 900}, device_scale_factor=2)
        sheet.goto(page.absolute().as_uri())
        sheet.locator(".plotly-graph-div").first.screenshot(path=str(picture))
        browser.close()


if __name__ == "__main__":
    main()
