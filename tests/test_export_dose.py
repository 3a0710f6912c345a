"""A dose in exported vectors: the unit kept beside directions, and what other engines then add."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from families import LAYERS, TEXTS, WIDTH, build
from plain import logits
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from test_cli import refused as refused_by_command
from test_direction_files import made, read_back, same
from test_directions import refused

from probekit.bundled import DEFAULT
from probekit.cli import run
from probekit.directions import Directions, write_gguf, write_tensors
from probekit.directions.reference import at_layer, with_peers
from probekit.edits import applied
from probekit.sites import Kind
from probekit.steering import Scale, Steering, edits_of, residual_scale, with_scale

pytestmark = pytest.mark.usefixtures("one_thread")
NORMS = (3.0, 5.0, 7.0)
README = Path(__file__).parents[1] / "README.md"


def scale_of(model, kind: Kind = "resid_post") -> Scale:
    means = np.zeros((LAYERS, WIDTH), np.float32)
    return Scale(model.fingerprint, kind, np.array(NORMS), means)


def scaled(model=None) -> Directions:
    """Directions at layers 1 and 2, whose neutral states are 5 and 7 long."""
    model = model or build("llama")
    return with_scale(made(model), scale_of(model))


def test_the_unit_of_a_dose_goes_by_the_numbers_of_the_layers():
    model = build("llama")
    assert scaled(model).residual_norms == (5.0, 7.0)
    turned = made(model, layers=(2, 0))
    assert with_scale(turned, scale_of(model)).residual_norms == (7.0, 3.0)
    assert made(model).residual_norms == ()


def test_a_scale_of_something_else_is_refused():
    model = build("llama")
    refused(lambda: with_scale(made(model), scale_of(build("qwen2"))), "a scale of another model")
    other = scale_of(model, "mlp_out")
    refused(lambda: with_scale(made(model), other), "a scale at mlp_out for directions at resid_po")
    refused(lambda: with_scale(made(model, layers=(1, 9)), scale_of(model)), "unknown layer 9")
    for wrong in ((5.0,), (5.0, 0.0), (5.0, float("nan")), (5.0, float("inf"))):
        refused(lambda w=wrong: made(model, residual_norms=w), "one positive length for each layer")


def test_a_file_keeps_it_and_older_files_load(tmp_path):
    path, older = tmp_path / "d.safetensors", tmp_path / "older.safetensors"
    directions = replace(scaled(), residual_norms=(1 / 3, 0.1))
    directions.save(path)
    assert same(Directions.load(path), directions)
    with safe_open(path, framework="numpy") as file:
        told = json.loads(file.metadata()["directions"])
    assert told.pop("residual_norms") == [1 / 3, 0.1]
    save_file(load_file(path), older, metadata={"directions": json.dumps(told)})
    assert same(Directions.load(older), replace(directions, residual_norms=()))


def test_arithmetic_keeps_it_unless_two_disagree():
    a, bare = scaled(), made(seed=2)
    for found in (a + bare, bare - a, -2 * a, a.blend({"joy": 1.0}), a.peer(3), with_peers(a, 2)):
        assert found.residual_norms == (5.0, 7.0)
    assert (bare + bare).residual_norms == ()
    assert (a + replace(bare, residual_norms=(5.0, 7.5))).residual_norms == ()
    assert at_layer(a, 2).residual_norms == (7.0,)
    assert at_layer(bare, 2).residual_norms == ()


def test_a_dose_is_a_length_at_each_layer(tmp_path):
    directions, path = scaled(), tmp_path / "x.gguf"
    assert write_gguf(directions, "joy", path, layers=[1, 2], dose=0.2) == (1, 2)
    tensors, told = read_back(path)
    for layer, norm in ((1, 5.0), (2, 7.0)):
        assert np.allclose(tensors[layer], 0.2 * norm * directions.of("joy", layer), atol=1e-6)
    told = json.loads(str(told["probekit.directions"]))
    assert (told["dose"], told["scale"], told["residual_norms"]) == (0.2, None, [5.0, 7.0])
    weights = replace(directions, norm="weights", estimator="lda")
    assert write_gguf(weights, "joy", path, layers=[2], dose=0.2) == (2,)


def test_with_a_dose_the_usual_layers_are_those_of_steering(tmp_path):
    path = tmp_path / "x.gguf"
    directions = scaled()  # Three layers: the middle third is layer 1.
    assert write_gguf(directions, "joy", path, dose=0.2) == (1,)
    assert write_tensors(directions, "joy", path, dose=0.2) == (1,)
    assert write_gguf(directions, "joy", path) == (1, 2)
    assert write_gguf(at_layer(directions, 2), "joy", path, dose=0.2) == (2,)


@pytest.mark.parametrize("write", [write_gguf, write_tensors])
def test_a_dose_that_cannot_be_written_is_refused(tmp_path, write):
    path = tmp_path / "x"
    says = ("do not say how long the states of llama are", "`--model llama`", "with_scale(")
    refused(lambda: write(made(), "joy", path, dose=0.1), *says)
    refused(lambda: write(scaled(), "joy", path, dose=0.1, scale=2.0), "give one of them")
    for dose in (0.0, -0.1, float("nan")):
        refused(lambda d=dose: write(scaled(), "joy", path, dose=d), "give a number above 0")
    assert not path.exists()


def test_the_hook_of_the_readme_does_what_steering_does(tmp_path):
    """The README's function on plain transformers, and on blocks that return a tuple, as vLLM's."""
    code = next(c for c in re.findall(r"```py\n(.*?)```", README.read_text(), re.DOTALL))
    space: dict = {}
    exec(compile(code, "README.md", "exec"), space)
    model, path = build("llama"), tmp_path / "joy.safetensors"
    directions = scaled(model)
    write_tensors(directions, "joy", path, layers=[1, 2], dose=0.5)
    prompt = model.encode(TEXTS[2:3])[0]
    row = Steering(
        {n: directions.of("joy", n) for n in (1, 2)}, scale_of(model), 0.5, positions="all"
    )
    with applied(model, edits_of(model, [row]), lengths=[len(prompt)]):
        steered = logits(model, prompt.input_ids)
    plainly = logits(model, prompt.input_ids)
    space["steer"](model.hf, path)
    assert torch.allclose(logits(model, prompt.input_ids), steered, atol=1e-4)
    assert not torch.allclose(plainly, steered, atol=1e-2)

    class Block(torch.nn.Module):
        def forward(self, x):
            return x, 2 * x

    body = torch.nn.Module()
    body.layers = torch.nn.ModuleList(Block() for _ in range(3))
    outer = torch.nn.Module()
    outer.model = body
    space["steer"](outer, path)
    moved, residual = body.layers[2](torch.zeros(4, WIDTH))
    assert torch.allclose(moved[3], torch.tensor(3.5 * directions.of("joy", 2)), atol=1e-6)
    assert not residual.any()


def test_the_command_refuses_in_one_line(capsys, tmp_path):
    file, out = str(tmp_path / "d.safetensors"), ["--out", str(tmp_path / "x.gguf")]
    made().save(file)
    go = ("export", file, "joy", *out)
    assert "`--model llama`" in refused_by_command(capsys, *go, "--dose", "0.1")
    assert "from 0 to 2" in refused_by_command(capsys, *go, "--dose", "3")
    assert "--model" in refused_by_command(capsys, *go, "--model", DEFAULT)
    assert "numbers such as 19" in refused_by_command(capsys, *go, "--layers", "ten")


@pytest.mark.slow
def test_the_command_measures_the_default_model(capsys, tmp_path):
    from probekit.directions import sources
    from probekit.models import load_model

    model = load_model(DEFAULT, device="cpu")
    file, path = tmp_path / "d.safetensors", tmp_path / "grief.gguf"
    directions = sources.from_vignettes(model)
    directions.save(file)
    go = ["export", str(file), "grief", "--out", str(path), "--dose", "0.08", "--layers", "10-12"]
    assert run([*go, "--model", DEFAULT, "--device", "cpu"]) == 0
    assert "grief at layers 10 to 12" in capsys.readouterr().out
    tensors, _ = read_back(path)
    assert sorted(tensors) == [10, 11, 12]
    for layer, tensor in tensors.items():
        expected = 0.08 * residual_scale(model).norm(layer)
        assert np.linalg.norm(tensor) == pytest.approx(expected, rel=1e-5)
        assert tensor @ directions.of("grief", layer) == pytest.approx(expected, rel=1e-5)
