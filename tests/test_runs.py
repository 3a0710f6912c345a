"""Run folders: exact figures, whole files, refusals, stages that are made once."""

import csv
import hashlib
import json

import pytest

from probekit import runs
from probekit.errors import UserError


def table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_columns_are_those_of_every_study():
    assert ",".join(runs.COLUMNS) == (
        "study,model,set,split,task,site,layer,unit,position,pooling,source,target,emotion,"
        "condition,method,k,dose,judge,metric,value,low,high,p,q,n,clusters,seed"
    )


def test_results_have_six_digits_and_empty_cells_for_what_is_missing(tmp_path):
    rows = [
        {"study": "probe", "layer": 3, "value": 2 / 3, "low": 1e-9 / 3, "high": float("nan")},
        {"layer": "", "value": 1234567.0, "p": None, "n": 1234567, "emotion": 'a,"b"\nc'},
        {"value": 0.0, "seed": 0},
    ]
    runs.write_results(tmp_path / "results.csv", rows)
    head, *body = table(tmp_path / "results.csv")
    assert tuple(head) == runs.COLUMNS
    first, second, third = (dict(zip(head, row, strict=True)) for row in body)
    assert (first["value"], first["low"], first["high"]) == ("0.666667", "3.33333e-10", "")
    assert (first["study"], first["layer"], first["model"]) == ("probe", "3", "")
    assert (second["value"], second["n"], second["p"]) == ("1.23457e+06", "1234567", "")
    assert second["emotion"] == 'a,"b"\nc'
    assert (third["value"], third["seed"], third["low"]) == ("0", "0", "")


def test_numpy_figures_are_written_like_pythons(tmp_path):
    import numpy as np

    assert runs.cell(np.float64(2 / 3)) == "0.666667"
    assert runs.cell(np.float64("nan")) == ""
    assert runs.cell(np.int64(7)) == "7"


def test_a_strange_column_is_refused_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "results.csv"
    runs.write_results(path, [{"value": 1.0}])
    before = path.read_bytes()
    with pytest.raises(KeyError, match="valeu"):
        runs.write_results(path, [{"value": 2.0}, {"valeu": 2.0}])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_atomic_write_leaves_the_old_file_whatever_is_raised(tmp_path, error):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(error), runs.atomic_write(path) as temporary:  # noqa: PT012
        temporary.write_text("half")
        assert path.read_text() == "old"
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_atomic_write_replaces_and_makes_folders(tmp_path):
    path = tmp_path / "deep" / "er" / "file.txt"
    for text in ("one", "two"):
        with runs.atomic_write(path) as temporary:
            assert temporary.parent == path.parent
            temporary.write_text(text)
        assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]


def test_json_keeps_letters_and_refuses_nan(tmp_path):
    path = tmp_path / "a.json"
    runs.write_json(path, {"ä": [1, None]})
    assert runs.read_json(path) == {"ä": [1, None]}
    assert "ä" in path.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="JSON"):
        runs.write_json(path, float("nan"))
    assert runs.read_json(path) == {"ä": [1, None]}


@pytest.mark.parametrize("content", [b'{"a": ', b"\xff\xfe{}"])
def test_broken_json_names_its_file(tmp_path, content):
    path = tmp_path / "manifest.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"manifest\.json is not readable JSON"):
        runs.read_json(path)


def test_hashes(tmp_path):
    path = tmp_path / "bytes"
    path.write_bytes(b"abc" * 100_000)
    assert runs.sha256_of(path) == hashlib.sha256(b"abc" * 100_000).hexdigest()
    assert runs.digest({"a": 1, "b": [2]}) == runs.digest({"b": [2], "a": 1})
    assert runs.digest({"a": 1}) != runs.digest({"a": "1"})


def test_cache_moves_with_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("PROBEKIT_CACHE", str(tmp_path))
    assert runs.cache_home() == tmp_path
    monkeypatch.delenv("PROBEKIT_CACHE")
    assert runs.cache_home().name == "probekit"


# Run folders


IDENTITY = {"study": "probe", "seed": 0, "sites": ("resid_post",)}


def test_a_run_is_made_and_reopened(tmp_path):
    folder = tmp_path / "run"
    runs.open_run(folder, IDENTITY)
    manifest = folder / runs.MANIFEST
    assert runs.read_json(manifest)["complete"] is False
    before = manifest.read_bytes()
    runs.open_run(folder, IDENTITY)
    assert manifest.read_bytes() == before


def test_another_run_is_refused_and_told_apart(tmp_path):
    runs.open_run(tmp_path / "run", IDENTITY)
    before = (tmp_path / "run" / runs.MANIFEST).read_bytes()
    with pytest.raises(UserError, match=r"another run \(it differs in seed, width\)"):
        runs.open_run(tmp_path / "run", {**IDENTITY, "seed": 1, "width": 2})
    with pytest.raises(UserError, match=r"differs in sites"):
        runs.open_run(tmp_path / "run", {key: IDENTITY[key] for key in ("study", "seed")})
    assert (tmp_path / "run" / runs.MANIFEST).read_bytes() == before


def test_a_file_and_a_foreign_folder_are_refused(tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(UserError, match="is a file: give a folder"):
        runs.open_run(file, IDENTITY)
    with pytest.raises(UserError, match="not empty and holds no run"):
        runs.open_run(tmp_path, IDENTITY)
    assert list(tmp_path.iterdir()) == [file]
    assert file.read_text() == "mine"


def test_an_empty_folder_becomes_a_run(tmp_path):
    runs.open_run(tmp_path, IDENTITY)
    assert (tmp_path / runs.MANIFEST).exists()


def test_a_stage_is_made_once_and_again_when_its_key_changes(tmp_path):
    made = []

    def make():
        made.append(1)
        return {"rows": [len(made), 1 / 3, ""]}

    first = runs.stage(tmp_path, {"part": "a", "seed": 0}, make)
    assert runs.stage(tmp_path, {"seed": 0, "part": "a"}, make) == first
    assert len(made) == 1
    changed = runs.stage(tmp_path, {"part": "a", "seed": 1}, make)
    assert (len(made), changed["rows"][0]) == (2, 2)
    assert runs.stage(tmp_path, {"part": "a", "seed": 0}, make) == first
    assert len(made) == 2


def test_a_stage_that_fails_leaves_nothing(tmp_path):
    def fail():
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        runs.stage(tmp_path, {"part": "a"}, fail)
    assert runs.stage(tmp_path, {"part": "a"}, lambda: 5) == 5
    assert json.loads(next((tmp_path / runs.STAGES).iterdir()).read_text()) == 5
