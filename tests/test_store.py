"""Activations on disk: nothing lost, nothing repeated, whatever kills the writer."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from families import TEXTS, build
from safetensors import safe_open
from safetensors.numpy import load_file

from probekit.activations import capture
from probekit.errors import UserError
from probekit.store import ActivationStore, sole_writer

SITES, POOLINGS, SHARD = ["resid_post.2", "resid_post.0", "z"], ["last", "mean"], 4
MANY = [f"{text} {count}" for count in range(6) for text in TEXTS]
"""36 texts: nine shards of four."""


@pytest.fixture(scope="module")
def model():
    return build("qwen3")


def stored(model, texts, folder: Path, **options) -> ActivationStore:
    options = {"positions": POOLINGS, "sites": SITES, "shard_items": SHARD, **options}
    return capture(model, texts, options.pop("sites"), options.pop("positions"),
                   store=folder, **options)  # fmt: skip


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a store but its lock, hidden ones too."""
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != "store.lock"}


# Killed writers


KILLED_AT_RANDOM = """
import os, random, signal, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from families import build
from test_store import MANY, stored

model, whole, killed = build("qwen3"), Path(sys.argv[1]), Path(sys.argv[2])
slowly = lambda _: time.sleep(0.02)  # Some milliseconds a batch, so that kills land inside.
begun = time.monotonic()
stored(model, MANY, whole, advance=slowly)
wanted = time.monotonic() - begun
moments = random.Random(int(sys.argv[3]))
for _ in range(8):
    child = os.fork()
    if not child:
        stored(model, MANY, killed, advance=slowly)
        os._exit(0)
    time.sleep(moments.uniform(0.05, 0.5) * wanted)
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    state = {p.name: p.stat().st_mtime_ns for p in killed.glob("*.safetensors")}
    print(os.WIFSIGNALED(status), state, flush=True)
stored(model, MANY, killed)
print(True, {p.name: p.stat().st_mtime_ns for p in killed.glob("*.safetensors")})
"""


def test_what_a_killed_writer_left_is_cleared_away(tmp_path):
    model = build("llama")
    stored(model, MANY, tmp_path / "store")
    left = [tmp_path / "store" / name for name in (".tmpgh6HtA", ".00000.safetensors.7.tmp")]
    for file in left:
        file.write_bytes(b"half")
    stored(model, MANY, tmp_path / "store")
    assert not any(file.exists() for file in left)


def test_killed_and_resumed_equals_uninterrupted_byte_for_byte(tmp_path):
    here = Path(__file__).parent
    paths = os.pathsep.join([str(here), str(here.parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", KILLED_AT_RANDOM, tmp_path / "whole", tmp_path / "killed", "3"]
    run = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stderr
    assert content(tmp_path / "killed") == content(tmp_path / "whole")
    assert len(ActivationStore(tmp_path / "killed").shards) == len(MANY) // SHARD

    states = [
        line.split(" ", 1) for line in run.stdout.splitlines() if line[:4] in ("True", "Fals")
    ]
    written = [json.loads(state.replace("'", '"')) for _, state in states]
    assert any(
        killed == "True" and 0 < len(shards) < len(MANY) // SHARD
        for (killed, _), shards in zip(states[:-1], written[:-1], strict=True)
    ), "no kill landed in the middle"
    for before, after in itertools.pairwise(written):
        assert before.items() <= after.items(), "a shard that was whole was written again"


def test_half_written_shard_is_swept_and_done_again(model, tmp_path):
    whole = content(stored(model, MANY[:10], tmp_path / "whole").folder)
    folder = stored(model, MANY[:8], tmp_path / "killed").folder
    (folder / "00001.safetensors").unlink()
    (folder / ".00001.safetensors.4711.tmp").write_bytes(whole["00001.safetensors"][:100])
    stored(model, MANY[:10], folder)
    assert content(folder) == whole


# What is on disk


def test_store_holds_what_capture_gives_in_memory(model, tmp_path):
    store = stored(model, MANY[:10], tmp_path / "store")
    memory = capture(model, MANY[:10], SITES, POOLINGS, shard_items=SHARD)
    assert store.ids == memory.ids
    assert len(store) == 10
    assert store.layers == memory.layers == {"resid_post": (2, 0), "z": (0, 1, 2)}
    for kind, layers in store.layers.items():
        for pooling in POOLINGS:
            np.testing.assert_array_equal(
                store.load(kind, pooling).stack(kind, pooling), memory.stack(kind, pooling)
            )
            for layer in layers:
                np.testing.assert_array_equal(
                    store.layer(kind, layer, pooling), memory.layer(kind, layer, pooling)
                )


def test_store_is_read_by_safetensors_alone(model, tmp_path):
    store = stored(model, MANY[:6], tmp_path / "store")
    shard = load_file(tmp_path / "store" / "00001.safetensors")
    assert {name: value.shape for name, value in shard.items()} == {
        "resid_post/last": (2, 2, 32),
        "resid_post/mean": (2, 2, 32),
        "z/last": (3, 2, 32),
        "z/mean": (3, 2, 32),
    }
    np.testing.assert_array_equal(shard["z/mean"][1], store.layer("z", 1, "mean")[4:])
    with safe_open(tmp_path / "store" / "00001.safetensors", framework="numpy") as file:
        assert json.loads(file.metadata()["items"])["ids"] == ["4", "5"]


def test_uncaptured_parts_are_refused_by_name(model, tmp_path):
    store = stored(model, MANY[:3], tmp_path / "store")
    with pytest.raises(UserError, match="layer of resid_post 1: accepted are 2, 0"):
        store.layer("resid_post", 1, "mean")
    with pytest.raises(UserError, match="site and pooling 'z/span': accepted are resid_post/last"):
        store.load("z", "span")


# More texts, other texts, other captures


def test_more_texts_extend_the_last_shard(model, tmp_path):
    whole = content(stored(model, MANY[:14], tmp_path / "whole").folder)
    grown = tmp_path / "grown"
    for count in (2, 6, 8, 14):
        store = stored(model, MANY[:count], grown)
        assert len(store) == count
        assert store.ids == tuple(str(n) for n in range(count))
    assert content(grown) == whole


def test_finished_store_runs_no_forward_pass(model, tmp_path):
    stored(model, MANY[:6], tmp_path / "store")
    ran, finished = [], []
    handle = model.hf.base_model.register_forward_pre_hook(lambda *_: ran.append(1))
    stored(model, MANY[:6], tmp_path / "store", advance=finished.append)
    handle.remove()
    assert not ran
    assert sum(finished) == 6


@pytest.mark.parametrize(
    "texts",
    [
        ["another", *MANY[1:6]],
        [*MANY[:5], "another"],
        [*MANY[:5], "another", *MANY[6:8]],
        MANY[:4],
        MANY[:5],
        [("x", MANY[0]), *MANY[1:6]],
    ],
    ids=["first", "last", "last of more", "a shard fewer", "one fewer", "another id"],
)
def test_other_texts_are_refused_and_nothing_changes(model, tmp_path, texts):
    before = content(stored(model, MANY[:6], tmp_path / "store").folder)
    with pytest.raises(UserError, match=r"other texts|more items than these texts") as refusal:
        stored(model, texts, tmp_path / "store")
    assert "\n" not in str(refusal.value)
    assert content(tmp_path / "store") == before


def test_other_spans_are_other_items(model, tmp_path):
    options = {"positions": ["span"], "sites": ["z"]}
    first = [(0, 8)] * 3
    stored(model, MANY[:3], tmp_path / "store", spans=first, **options)
    stored(model, MANY[:3], tmp_path / "store", spans=first, **options)
    with pytest.raises(UserError, match="other texts or spans"):
        stored(model, MANY[:3], tmp_path / "store", spans=[(4, 12)] * 3, **options)


def test_another_capture_is_refused_by_what_differs(model, tmp_path):
    import torch

    from probekit.prompts import TEMPLATES

    before = content(stored(model, MANY[:6], tmp_path / "store").folder)
    changed = build("qwen3")
    changed.hf.get_input_embeddings().weight[7, 3] += 1e-3
    chatty = build("qwen3")
    chatty.tokenizer.chat_template += " "
    for other, options, differs in [
        (changed, {}, "model"),
        (chatty, {}, "model"),
        (build("gpt2"), {}, "model"),
        (build("qwen3", torch.bfloat16), {}, "model, dtype"),
        (model, {"template": TEMPLATES["feeling"]}, "template"),
        (model, {"truncate": True}, "truncate"),
        (model, {"positions": ["last"]}, "poolings"),
        (model, {"sites": ["z"]}, "layers"),
        (model, {"shard_items": 5}, "shard_items"),
    ]:
        with pytest.raises(UserError, match=rf"another capture \(it differs in {differs}\)"):
            stored(other, MANY[:6], tmp_path / "store", **options)
    assert content(tmp_path / "store") == before
    stored(build("qwen3"), MANY[:6], tmp_path / "store")


# Folders that are no store, and two writers


def test_folder_with_other_files_is_refused_and_left_alone(model, tmp_path):
    (tmp_path / "thesis.txt").write_text("all of it")
    with pytest.raises(UserError, match="is not empty and holds no store; give another folder"):
        stored(model, MANY[:3], tmp_path)
    assert content(tmp_path) == {"thesis.txt": b"all of it"}
    with pytest.raises(UserError, match="holds no activation store"):
        ActivationStore(tmp_path)


def test_file_in_place_of_the_folder_is_refused(model, tmp_path):
    (tmp_path / "thesis.txt").write_text("all of it")
    with pytest.raises(UserError, match=r"thesis.txt is a file; give a folder"):
        stored(model, MANY[:3], tmp_path / "thesis.txt")


def test_store_of_another_format_or_a_broken_header_is_refused(model, tmp_path):
    folder = stored(model, MANY[:3], tmp_path / "store").folder
    header = json.loads((folder / "store.json").read_text())
    (folder / "store.json").write_text(json.dumps({**header, "format": "probekit-activations-0"}))
    with pytest.raises(UserError, match="is a store of format 'probekit-activations-0'"):
        stored(model, MANY[:3], folder)
    (folder / "store.json").write_text("{")
    with pytest.raises(UserError, match=r"store\.json is not readable JSON"):
        ActivationStore(folder)


def test_second_writer_is_refused_at_once(model, tmp_path):
    stored(model, MANY[:3], tmp_path / "store")
    with sole_writer(tmp_path / "store"):
        with pytest.raises(UserError, match="is being written by another process; wait for it"):
            stored(model, MANY[:6], tmp_path / "store")
        assert len(ActivationStore(tmp_path / "store")) == 3, "readers need no lock"
    assert len(stored(model, MANY[:6], tmp_path / "store")) == 6
