"""`probekit patch` and `probekit ablate` on the real default model and real texts."""

import csv
import json
from pathlib import Path

import pytest

from probekit.bundled import DEFAULT
from probekit.cli import run
from probekit.stimuli import StimulusSet

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> Path:
    """Sixteen vignettes of two emotions and their neutral controls, half of them dev."""
    stimuli = StimulusSet.load("vignettes").select(
        arm=["keyword_free", "neutral"],
        domain=str(StimulusSet.load("vignettes").column("domain")[0]),
    )
    scenarios = {
        row.scenario
        for row in stimuli.rows
        if row.emotion in ("grief", "rage") and row.arm == "keyword_free"
    }
    path = tmp_path_factory.mktemp("texts") / "some.jsonl"
    fields = ("id", "text", "arm", "emotion", "scenario", "split")
    with path.open("w", encoding="utf-8") as file:
        for row in stimuli.rows:
            if row.scenario in scenarios:
                file.write(json.dumps({name: getattr(row, name) for name in fields}) + "\n")
    return path


def results(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def stages(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (folder / "stages").rglob("*.safetensors")}


def test_patch_writes_figures_with_controls_and_a_page(texts, tmp_path, capsys):
    command = ["patch", DEFAULT, "--stimuli", str(texts), "--sites", "resid_post"]
    command += ["--permutations", "99", "--out", str(tmp_path / "run")]
    assert run(command) == 0
    shown = capsys.readouterr().out
    assert "report:" in shown
    assert (tmp_path / "run" / "report.html").read_text(encoding="utf-8").startswith("<!doctype")
    rows = [r for r in results(tmp_path / "run") if r["metric"] == "source_shift"]
    layers = {(r["source"], r["layer"]) for r in rows if r["target"] == "keyword_free"}
    assert layers == {
        (source, str(layer))
        for source in ("same", "other", "neutral", "random", "shuffled")
        for layer in range(30)
    }
    # The trivial bound: overwriting the read-out token at the top hands over the source's answer.
    shift = {
        (r["source"], int(r["layer"])): float(r["value"])
        for r in rows
        if r["target"] == "keyword_free" and not r["method"]
    }
    assert shift["other", 29] > shift["other", 2]

    before, figures = stages(tmp_path / "run"), (tmp_path / "run" / "results.csv").read_bytes()
    assert run(command) == 0
    assert stages(tmp_path / "run") == before, "a second run reuses every part"
    assert (tmp_path / "run" / "results.csv").read_bytes() == figures


def test_ablate_ranks_on_dev_and_measures_on_test(texts, tmp_path, capsys):
    command = ["ablate", DEFAULT, "--stimuli", str(texts), "--units", "sublayers,neurons"]
    command += ["--methods", "zero", "--permutations", "99", "--out", str(tmp_path / "run")]
    assert run(command) == 0
    assert "report:" in capsys.readouterr().out
    every = results(tmp_path / "run")
    rows = [r for r in every if r["metric"] == "kl" and r["split"] == "test" and not r["k"]]
    zeroed, placebo = (
        {
            (r["site"], int(r["layer"])): float(r["value"])
            for r in rows
            if r["condition"] == condition and r["site"] != "mlp_post"
        }
        for condition in ("ablation", "control")
    )
    assert zeroed.keys() == placebo.keys()
    assert len(zeroed) == 60
    assert min(zeroed.values()) >= 0
    # What the first block's MLP writes is what a small model cannot do without.
    assert zeroed["mlp_out", 0] > sorted(zeroed.values())[30]
    assert sum(r["site"] == "mlp_post" for r in rows) == 64
    attributed = [r for r in every if r["metric"] == "attribution_r"]
    assert len(attributed) == 1, "the basic emotions begin with tokens of their own"


def test_a_run_folder_of_another_job_is_refused(texts, tmp_path, capsys):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    assert run(["patch", DEFAULT, "--stimuli", str(texts), "--out", str(folder)]) == 2
    assert "is not empty and holds no run" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
