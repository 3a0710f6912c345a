"""Several workers on one store: whoever is killed, nothing is lost, doubled or done again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from families import TEXTS, network, tokenizer
from safetensors.numpy import load_file
from test_cli import refused
from test_corpus import written

from probekit import load_model
from probekit.activations import SHARD_ITEMS
from probekit.cli import run
from probekit.corpus import Corpus, Filters, Items, capture_corpus
from probekit.corpus.cluster import _start, _threads, check_workers
from probekit.corpus.workers import _Worker
from probekit.errors import UserError
from probekit.store import ActivationStore

pytest.importorskip("ray", reason="pip install 'emotion-probekit[ray]'")
pytestmark = pytest.mark.usefixtures("one_thread")

ROWS, SHARD = 480, 16
KEEP = Filters(fewest_words=0, repeats="keep")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a tiny model, a corpus, and the store that one worker makes of it."""
    home = tmp_path_factory.mktemp("home")
    network("llama").save_pretrained(home / "tiny")
    tokenizer().save_pretrained(home / "tiny")
    rows = [{"id": f"t{n}", "text": f"{TEXTS[n % 6]} {n}", "label": "ab"[n % 2]}
            for n in range(ROWS)]  # fmt: skip
    written(home / "corpus.jsonl", rows)
    captured(home, home / "single")
    return home


@pytest.fixture(scope="module")
def cluster(home):
    """A Ray that runs already: it is used, and left running."""
    import ray

    check_workers(2)
    before = Path.cwd()
    os.chdir(home)
    _start(2)
    os.chdir(before)
    yield
    assert ray.is_initialized()
    ray.shutdown()
    assert not wait_for_the_end_of(home)


def captured(home: Path, out: Path, **options) -> ActivationStore:
    model, corpus = load_model(home / "tiny"), Corpus(home / "corpus.jsonl", filters=KEEP)
    return capture_corpus(
        model, corpus, out, ["resid_post"], ["last", "mean"], shard_items=SHARD, **options
    )


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a store, hidden ones too, but its lock and the manifest."""
    files = [p for p in folder.iterdir() if p.name not in ("store.lock", "manifest.json")]
    return {p.name: p.read_bytes() for p in files}


def processes(folder: Path, name: str = "") -> list[int]:
    """Those that run in a folder, such as Ray and its workers; zombies are in none."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            here = (process / "cwd").readlink() == folder
            if here and name in (process / "cmdline").read_text():
                found.append(int(process.name))
        except OSError:
            continue  # It ended meanwhile, or it is not ours.
    return [pid for pid in found if pid != os.getpid()]


def wait_for_the_end_of(folder: Path, name: str = "", seconds: float = 15) -> list[int]:
    end = time.monotonic() + seconds
    while (left := processes(folder, name)) and time.monotonic() < end:
        time.sleep(0.1)
    return left


def test_two_workers_make_the_store_of_one_though_one_is_killed(home, cluster, tmp_path):
    killed, told = [], []

    def kill(count):
        told.append(count)
        if not killed:
            missing = ROWS // SHARD - len(list((tmp_path / "store").glob("*.safetensors")))
            assert missing > 2, "the kill must land in the middle"
            killed.append(processes(home, "ray::MapWorker")[0])
            os.kill(killed[0], signal.SIGKILL)

    captured(home, tmp_path / "store", workers=2, advance=kill)
    assert killed
    assert sum(told) == ROWS
    # As one thread reads in both, they are alike to the bit; else to rounding.
    assert content(tmp_path / "store") == content(home / "single")
    manifest = json.loads((tmp_path / "store" / "manifest.json").read_text())
    assert manifest["workers"] == 2
    assert manifest["model"]["name"] == "tiny"


def test_what_is_wrong_in_a_worker_is_one_line(home, cluster, tmp_path, capfd):
    # Short enough for words, too long for the context of 64 tokens.
    rows = [{"id": f"t{n}", "text": "rain fell"} for n in range(2 * SHARD_ITEMS)]
    rows[400]["text"] = "rain fell on the roof " * 30
    path = written(tmp_path / "long.jsonl", rows)
    asked = ["capture", home / "tiny", path, "--out", tmp_path / "store", "--workers", "2"]
    code = run([str(word) for word in asked])
    lines = [line for line in capfd.readouterr().err.splitlines() if not line.startswith("reading")]
    assert code == 2
    assert len(lines) == 1, lines
    assert "t400" in lines[0]


def test_a_killed_driver_goes_on_without_doing_anything_again(home, cluster, tmp_path):
    out, here = tmp_path / "store", tmp_path / "here"
    here.mkdir()
    code = "import sys; from test_workers import *; captured(*map(Path, sys.argv[1:]), workers=2)"
    tests = Path(__file__).parent
    paths = os.pathsep.join([str(tests), str(tests.parent), os.environ.get("PYTHONPATH", "")])
    driver = subprocess.Popen(
        [sys.executable, "-c", code, home, out],
        cwd=here,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while len(list(out.glob("*.safetensors"))) < 4 and driver.poll() is None:
        time.sleep(0.01)
    driver.kill()
    assert driver.wait() == -signal.SIGKILL
    assert not wait_for_the_end_of(here, "ray::MapWorker"), "workers end with their driver"
    done = {p.name: p.stat().st_mtime_ns for p in out.glob("*.safetensors")}
    assert 4 <= len(done) < ROWS // SHARD, "the kill must land in the middle"
    (out / ".00029.safetensors.4711.tmp").write_bytes(b"half")
    store = captured(home, out, workers=2)
    assert {name: (out / name).stat().st_mtime_ns for name in done} == done
    assert content(out) == content(home / "single")
    assert store.ids == tuple(Items(out).column("id"))


class Deadly(_Worker):
    """Dies on window 3, whenever it is tried."""

    def _fill(self, number):
        if number == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._fill(number)


@pytest.mark.slow
def test_texts_on_which_every_worker_dies_end_the_run(home, cluster, tmp_path, monkeypatch):
    monkeypatch.setattr("probekit.corpus.workers._Worker", Deadly)
    with pytest.raises(UserError, match="a worker died 4 times on the same texts"):
        captured(home, tmp_path / "store", workers=2)


def test_a_store_with_a_hole_is_read_up_to_it_and_one_worker_fills_it(home, tmp_path):
    out = tmp_path / "store"
    captured(home, out)
    (out / "00003.safetensors").unlink()
    assert len(ActivationStore(out)) == 3 * SHARD
    assert len(captured(home, out)) == ROWS
    assert content(out) == content(home / "single")
    assert load_file(out / "00003.safetensors")["resid_post/last"].shape == (3, SHARD, 32)


def test_workers_that_cannot_be_are_refused(home, tmp_path, capsys, monkeypatch):
    asked = ("capture", home / "tiny", home / "corpus.jsonl", "--out", tmp_path / "s", "--workers")
    assert "0 workers: give 1 or more" in refused(capsys, *asked, "0")
    with pytest.raises(UserError, match="2 workers and 1 GPUs: give at most 1"):
        _threads({"CPU": 8, "GPU": 1}, 2, "cuda")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(UserError, match=r"no Ray cluster answers at RAY_ADDRESS 127\.0\.0\.1:1"):
        _start(2)
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "pip install 'emotion-probekit[ray]'" in refused(capsys, *asked, "2")
    assert not (tmp_path / "s").exists()
