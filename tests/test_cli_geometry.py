"""`probekit geometry` on the real default model and real texts."""

import csv
import json
from pathlib import Path

import pytest

from probekit.bundled import DEFAULT
from probekit.cli import run
from probekit.runs import COORDINATES, MANIFEST, REPORT, RESULTS, STAGES, read_json
from probekit.stimuli import StimulusSet

pytestmark = pytest.mark.slow
FIELDS = ("id", "text", "arm", "emotion", "domain", "scenario", "split")
EMOTIONS = ("grief", "rage", "ecstasy", "terror")


def write(path: Path, fields=FIELDS) -> Path:
    """Vignettes of four emotions in two domains, with their neutral controls."""
    stimuli = StimulusSet.load("vignettes")
    domains = sorted(set(stimuli.column("domain").tolist()))[:2]
    scenarios = {
        row.scenario for row in stimuli.rows if row.emotion in EMOTIONS and row.domain in domains
    }
    kept = stimuli.select(scenario=scenarios, arm=["keyword_rich", "neutral"])
    with path.open("w", encoding="utf-8") as file:
        for row in kept.rows:
            file.write(json.dumps({name: getattr(row, name) for name in fields}) + "\n")
    return path


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_geometry_writes_figures_with_controls_and_a_page(tmp_path, capsys):
    folder = tmp_path / "run"
    command = ["geometry", DEFAULT, "--stimuli", str(write(tmp_path / "some.jsonl"))]
    command += ["--sites", "resid_post.0,resid_post.20", "--pooling", "mean"]
    command += ["--permutations", "49", "--out", str(folder)]
    assert run(command) == 0
    shown = capsys.readouterr().out
    assert "Geometry at resid_post, mean, layer 20" in shown
    assert "texts of one emotion" in shown
    assert "report:" in shown
    assert (folder / REPORT).read_text(encoding="utf-8").startswith("<!doctype")
    rows = read(folder / RESULTS)
    assert {row["layer"] for row in rows if row["condition"] == "states"} == {"0", "20"}
    assert {row["method"] for row in rows if row["condition"] == "baseline"} == {
        *("bag_of_words", "static_embedding"),
    }
    assert read_json(folder / MANIFEST)["permutations"] == 49
    # Where the emotion is named, its texts lie together.
    cells = {"task": "rsa_items", "source": "emotion", "metric": "spearman", "layer": "20"}
    (own,) = [r for r in rows if r["condition"] == "states" and cells.items() <= r.items()]
    (null,) = [r for r in rows if r["condition"] == "null" and cells.items() <= r.items()]
    assert float(own["value"]) > float(null["high"])
    assert {row["emotion"] for row in read(folder / COORDINATES)} == {*EMOTIONS, "neutral"}

    stages = {path: path.stat().st_mtime_ns for path in (folder / STAGES).iterdir()}
    figures = (folder / RESULTS).read_bytes()
    assert run(command) == 0
    assert {path: path.stat().st_mtime_ns for path in (folder / STAGES).iterdir()} == stages
    assert (folder / RESULTS).read_bytes() == figures


@pytest.mark.parametrize(
    ("fields", "options", "said"),
    [
        (("id", "text", "scenario"), [], "geometry needs two or more emotions"),
        (FIELDS, ["--sites", "nowhere"], "nowhere"),
        (FIELDS, ["--pooling", "middle"], "middle"),
        (FIELDS, ["--template", "no-such-template"], "no-such-template"),
        (FIELDS, ["--permutations", "0"], "permutations"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_folder(tmp_path, capsys, fields, options, said):
    folder = tmp_path / "run"
    command = ["geometry", DEFAULT, "--stimuli", str(write(tmp_path / "some.jsonl", fields))]
    assert run([*command, *options, "--out", str(folder)]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert [line for line in lines if line.startswith("error:")] == lines[-1:]
    assert said in lines[-1]
    assert not folder.exists()
