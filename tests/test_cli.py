"""The command line: what it prints, what it refuses, and that it goes on where it stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from probekit import runs
from probekit.bundled import DEFAULT, fetch
from probekit.cli import run

ROW = {"id": "a", "text": "The bus was late and the stop had no roof.", "emotion": "rage"}


def refused(capsys, *arguments) -> str:
    """The one line on standard error of a command that must exit with 2 and no traceback."""
    code = run([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert code == 2, captured
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    assert "Traceback" not in captured.err
    return lines[0]


def jsonl(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_help_answers_within_a_second_of_work():
    code = "import sys, probekit.cli; sys.exit(any(m in sys.modules for m in ('torch', 'pandas')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_help_names_every_command(capsys):
    assert run(["--help"]) == 0
    shown = capsys.readouterr().out
    names = ("models", "fetch", "probe", "capture", "patch", "ablate", "directions", "export")
    names += ("read", "geometry", "erase", "lint", "annotate", "judge")
    assert all(name in shown for name in names)


def test_models_lists_bundled_models_and_the_cache(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("PROBEKIT_CACHE", str(tmp_path))
    assert run(["models"]) == 0
    shown = capsys.readouterr().out
    assert DEFAULT in shown
    assert "0 captures" in shown


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["probe", "no-such-model"], "unknown model"),
        (["fetch", "no-such-model"], "no-such-model"),
        (["probe", DEFAULT, "--stimuli", "no-such-set"], "no stimulus set"),
        (["probe", DEFAULT, "--template", "no-such-template"], "unknown template"),
        (["probe", DEFAULT, "--folds", "1"], "--folds"),
        (["probe", DEFAULT, "--no-such-option"], "--no-such-option"),
        (["probe", DEFAULT, "--device", "quantum"], "device"),
        (["probe", DEFAULT, "--dtype", "int3"], "dtype"),
        (["patch", DEFAULT, "--sites", "resid_middle"], "unknown site"),
        (["patch", DEFAULT, "--stimuli", "complex_neutral"], "fewer than two emotions"),
        (["ablate", DEFAULT, "--units", "circuits"], "unknown kind of unit"),
        (["ablate", DEFAULT, "--positions", "first"], "unknown positions"),
        (["erase", DEFAULT, "--layers", "third"], "layers 'third'"),
        (["erase", DEFAULT, "--concepts", "arousal"], "unknown concept"),
        (["no-such-command"], "no-such-command"),
    ],
)
def test_refuses_bad_words_in_one_line(capsys, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    assert says in refused(capsys, *arguments)
    assert list(tmp_path.iterdir()) == []


def test_refuses_a_hub_id_without_a_network(tmp_path):
    command = [sys.executable, "-m", "probekit", "probe", "nobody/no-model"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    found = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert found.returncode == 2
    assert "could not be reached" in found.stderr
    assert "Traceback" not in found.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
class TestOnTheDefaultModel:
    """Bad input that only a loaded model can tell, and the pipeline in reduced form."""

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            (["--sites", "resid_nowhere"], "unknown site"),
            (["--sites", "resid_post.30"], "layers 0 to 29"),
            (["--pooling", "loudest"], "unknown pooling"),
            (["--rating", "loudness"], "unknown column 'loudness'"),
        ],
    )
    def test_refuses_what_the_model_or_the_set_lacks(
        self, capsys, tmp_path, monkeypatch, options, says
    ):
        monkeypatch.chdir(tmp_path)
        line = refused(capsys, "probe", DEFAULT, "--stimuli", "crossed", *options)
        assert says in line
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("rows", "says"),
        [
            ([ROW], "one class only"),
            ([ROW, {**ROW, "id": "b", "emotion": "grief"}], "label seen once"),
            ([{"id": "a", "text": "No label at all here."}], "allow no task"),
            ([{**ROW, "text": "word " * 9000}, *[{**ROW, "id": str(i)} for i in range(9)]], ""),
        ],
    )
    def test_refuses_sets_that_allow_no_probe(self, capsys, tmp_path, monkeypatch, rows, says):
        monkeypatch.chdir(tmp_path)
        file = jsonl(tmp_path / "own.jsonl", rows)
        assert says in refused(capsys, "probe", DEFAULT, "--stimuli", file)
        assert [path.name for path in tmp_path.iterdir()] == ["own.jsonl"]

    def test_names_the_text_that_is_too_long(self, capsys, tmp_path):
        file = jsonl(tmp_path / "long.jsonl", [ROW, {**ROW, "id": "huge", "text": "word " * 9000}])
        line = refused(capsys, "capture", DEFAULT, file, "--out", tmp_path / "store")
        assert "'huge'" in line
        assert "--truncate" in line

    def test_probe_reuses_and_repeats_itself(self, capsys, tmp_path, monkeypatch):
        """Reduced demo: a second run reads no text again; a cold cache gives the same bytes."""
        job = ["probe", DEFAULT, "--stimuli", "perspective", "--sites", "resid_post.9,mlp_out.9"]
        job += ["--pooling", "last", "--permutations", "5"]
        results = []
        for cache in ("one", "two"):
            share_models(tmp_path / cache)
            monkeypatch.setenv("PROBEKIT_CACHE", str(tmp_path / cache))
            out = tmp_path / f"run-{cache}"
            assert run([*job, "--out", str(out)]) == 0
            results.append((out / runs.RESULTS).read_bytes())
        assert results[0] == results[1]
        shown = capsys.readouterr().out
        assert "above text" in shown
        assert "report.html" in shown

        shards = list((tmp_path / "two" / "activations").glob("*/*.safetensors"))
        before = [shard.stat().st_mtime_ns for shard in shards]
        again = tmp_path / "run-again"
        assert run([*job, "--out", str(again)]) == 0
        assert [shard.stat().st_mtime_ns for shard in shards] == before
        assert (again / runs.RESULTS).read_bytes() == results[0]

        capsys.readouterr()
        other = [*job, "--seed", "1", "--out", str(out)]
        assert "another run" in refused(capsys, *other)

    def test_capture_stopped_by_the_user_goes_on(self, tmp_path):
        texts = [{"id": str(i), "text": f"{i} {ROW['text']} " * 8} for i in range(600)]
        file, store = jsonl(tmp_path / "texts.jsonl", texts), tmp_path / "store"
        command = [sys.executable, "-m", "probekit", "capture", DEFAULT, str(file)]
        command += ["--out", str(store), "--sites", "resid_post.2"]
        # A test runner in the background may pass on an ignored SIGINT: a user's shell does not.
        handler = signal.signal(signal.SIGINT, signal.default_int_handler)
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        signal.signal(signal.SIGINT, handler)
        deadline = time.monotonic() + 120
        while not list(store.glob("0*.safetensors")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "go on with: probekit capture" in said
        assert "Traceback" not in said
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0
        assert "600 items" in done.stdout


def share_models(cache: Path) -> None:
    """A cache of its own that shares the converted models of the user's cache."""
    models = fetch(DEFAULT).parent
    cache.mkdir()
    (cache / "models").symlink_to(models)
