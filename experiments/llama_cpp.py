"""Does llama.cpp do with an exported control vector what `probekit steer` does?

The same prompt, greedily, in llama.cpp (its own loader of control vectors, its own kernels) and
here, with the same vectors: the dose at ten layers, then a vector at one layer only, held against
ours at the layers around it. llama.cpp runs the GGUF that the bundled model comes from, and the
same weights de-quantised by itself to float32, which ours are.

    python experiments/llama_cpp.py --libs FOLDER --gguf SmolLM2-135M-Instruct.Q4_1.gguf

`--libs` is a folder with libllama*.so, libllama-common.so, libggml*.so, such as
`package/bins/linux-x64` of the npm package @node-llama-cpp/linux-x64; g++ is needed.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch

from probekit.directions import sources, write_gguf
from probekit.edits import Edit
from probekit.models import Model, load_model
from probekit.steering import Decoding, Steering, edits_of, generate, residual_scale, with_scale

PROMPT, TOKENS, EMOTION = "My week at work was", 24, "grief"
DOSE, LAYERS = 0.08, tuple(range(10, 20))
ALONE, ALONE_DOSE = (1, 2, 10, 19, 28), 0.3


class Engine:
    """llama.cpp on one GGUF."""

    def __init__(self, libs: Path, gguf: Path, work: Path) -> None:
        self.libs, self.gguf, self.work, self.program = libs, gguf, work, work / "run"
        if not self.program.exists():
            linked = [*libs.glob("libllama*.so"), *libs.glob("libggml*.so")]
            linked = [str(each) for each in linked if "ggml-cpu" not in each.name]
            source = Path(__file__).with_suffix(".cpp")
            made = ["g++", "-std=c++17", "-O1", str(source), "-o", str(self.program), *linked]
            subprocess.run([*made, f"-Wl,-rpath,{libs}"], check=True)

    def float32(self) -> "Engine":
        """The same weights, de-quantised by llama.cpp."""
        path = self.work / "float32.gguf"
        told = [str(self.program), str(self.libs), "f32", str(self.gguf), str(path)]
        subprocess.run(told, check=True, capture_output=True)
        return Engine(self.libs, path, self.work)

    def write(self, vector: Path | None = None) -> tuple[list[int], list[int], np.ndarray]:
        """Tokens of the prompt, tokens written, and logits `[token, vocabulary]`."""
        logits = self.work / "logits.bin"
        told = [str(self.program), str(self.libs), str(self.gguf), PROMPT, str(TOKENS), str(logits)]
        told += [str(vector), "1", "-1", "-1"] if vector else []
        ran = subprocess.run(told, check=True, capture_output=True, text=True)
        found = json.loads(ran.stdout)
        return found["prompt"], found["ids"], np.fromfile(logits, np.float32).reshape(TOKENS, -1)


def logits(model: Model, edits: list[Edit]) -> np.ndarray:
    """Ours after the prompt."""
    with torch.no_grad(), model.edited(edits):
        out = model.hf(**model.collate(model.encode([PROMPT])).inputs())
    return out.logits[0, -1].float().numpy()


def agree(left: list[int], right: list[int]) -> int:
    """How many tokens are the same before the first that is not."""
    pairs = zip(left, right, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(left), len(right)))


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--libs", type=Path, required=True)
    parser.add_argument("--gguf", type=Path, required=True)
    given = parser.parse_args()
    model = load_model("smollm2-135m", device="cpu", dtype="float32")
    directions = with_scale(sources.from_vignettes(model), residual_scale(model))

    def steering(dose: float, layers: tuple[int, ...]) -> Steering:
        return Steering.along(model, directions, EMOTION, dose, layers=layers, positions="all")

    prompts, decoding = model.encode([PROMPT]), Decoding(max_new_tokens=TOKENS)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        quantised = Engine(given.libs.resolve(), given.gguf.resolve(), work)
        engines = {"Q4_1": quantised, "float32": quantised.float32()}
        for name, engine in engines.items():
            plain = {}
            for dose in (0.0, DOSE):
                path = work / "dose.gguf"
                if dose:
                    write_gguf(directions, EMOTION, path, layers=LAYERS, dose=dose)
                asked, written, there = engine.write(path if dose else None)
                assert asked == list(prompts[0].input_ids), "the prompts' tokens differ"
                row = steering(dose, LAYERS)
                ours = generate(model, prompts, row, decoding)[0]
                here = logits(model, edits_of(model, [row]))
                plain.setdefault("there", there[0])
                plain.setdefault("here", here)
                print(f"{name}, dose {dose:g}: first {agree(written, list(ours.ids))} of {TOKENS}")
                print(f"  llama.cpp {model.tokenizer.decode(written)!r}")
                print(f"  probekit  {ours.text!r}")
                apart = np.abs(there[0] - here).max()
                moved = np.abs(here - plain["here"]).max()
                print(
                    f"  logits apart by at most {apart:.3f}; the vector moves ours by {moved:.3f}"
                )
            for layer in ALONE:
                path = work / "alone.gguf"
                write_gguf(directions, EMOTION, path, layers=[layer], dose=ALONE_DOSE)
                moved = engine.write(path)[2][0] - plain["there"]
                own = edits_of(model, [steering(ALONE_DOSE, (layer,))])[0]
                told = ""
                for near in (layer - 1, layer, layer + 1):
                    at = Edit(f"resid_post.{near}", "all", own.operation, rows=own.rows)
                    mine = logits(model, [at]) - plain["here"]
                    distance = np.linalg.norm(moved - mine) / np.linalg.norm(mine)
                    told += f" at {near} {distance:.3f}"
                print(f"{name}, layer {layer} alone, relative distance of effects:{told}")


if __name__ == "__main__":
    main()
