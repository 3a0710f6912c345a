"""Heads scored by exact ablation: `sweep` against one full pass a head.

    python experiments/bench_circuits.py --model smollm2-135m --tokens 64 --rounds 5

Every head of every layer is set to its mean at the last token, and the state at the last block is
read along a direction, by `ablate_heads` as a study of circuits calls it and by the scheme of "Do
LLMs 'Feel'?" (arXiv 2510.11328): a hook on o_proj's input, and a pass of the decoder body over all
prompts in one batch for each head. A round runs all heads by the sweep and a sample of heads by
passes, on the same random tokens; medians of the rounds, and the largest difference of a figure.
"""

import argparse
import platform
import statistics
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from bench_sweep import random_prompts, timed

from probekit import load_model
from probekit.circuits.activities import ReadOut, activity
from probekit.circuits.heads import ablate_heads
from probekit.circuits.scores import halves, learn
from probekit.models import Batch, Model
from probekit.sites import Site
from probekit.stimuli import Stimulus, StimulusSet

EMOTIONS = ("rage", "grief", "neutral")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--prompts", type=int, default=24, help="twice as many of the two emotions")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sample", type=int, default=4, help="heads that are scored by passes")
    given = parser.parse_args()
    model = load_model(given.model)
    print(
        f"{given.model} float32 on {model.device}, {torch.get_num_threads()} threads, "
        f"{platform.machine()}, torch {version('torch')}, transformers {version('transformers')}"
    )
    prompts = random_prompts(model, 3 * given.prompts // 2, given.tokens)
    rows = tuple(
        Stimulus(p.id, p.id, emotion=EMOTIONS[n % 3], scenario=f"s{n // 3}")
        for n, p in enumerate(prompts)
    )
    stimuli = StimulusSet("random tokens", rows)
    texts = [ReadOut(prompt, (len(prompt) - 1,)) for prompt in prompts]
    states = activity(model, texts)
    sides = halves(stimuli)
    one, other = (learn(model, stimuli, states, rows=side) for side in sides)
    scored = [p for p, row in zip(prompts, rows, strict=True) if row.emotion != "neutral"]
    batch, count = model.collate(scored), model.sites.units("z")
    means = torch.tensor((one.neutral["z"] + other.neutral["z"]) / 2).float()
    last = Site("resid_post", model.n_layers - 1)
    swept: list[float] = []
    passed: list[float] = []
    gap = 0.0
    for number in range(given.rounds):
        took, drops = timed(
            model, lambda: ablate_heads(model, stimuli, texts, (one, other), sides, each=10**6)
        )
        swept.append(took / (model.n_layers * count))
        clean = by_pass(model, batch, None, means, last)
        for place in range(given.sample):
            flat = (number * 7 + place * model.n_layers * count // given.sample) % (
                model.n_layers * count
            )
            head = divmod(flat, count)
            took, state = timed(model, by_pass, model, batch, head, means, last)
            passed.append(took)
            found = _drops(clean - state, stimuli, scored, (one, other), sides, last.layer)
            gap = max(gap, float(np.abs(found - drops[:, head[0], head[1]]).max()))
    mine, theirs = statistics.median(swept), statistics.median(passed)
    print(
        f"T={given.tokens}, {len(scored)} prompts, {model.n_layers * count} heads, "
        f"{given.rounds} rounds: sweep {mine * 1e3:.2f} ms a head, a pass {theirs * 1e3:.1f} ms, "
        f"{theirs / mine:.1f} x; largest difference of a figure {gap:.1e}"
    )


@torch.no_grad()
def by_pass(
    model: Model, batch: Batch, head: tuple[int, int] | None, means: torch.Tensor, last: Site
) -> torch.Tensor:
    """States `[prompt, d]` at the last block's last token, with a head at its mean."""
    seen: list[torch.Tensor] = []
    block = model.sites.tap(last).module
    handles = [block.register_forward_hook(lambda *a: seen.append(_first(a[2])[:, -1]))]
    if head is not None:
        layer, unit = head
        each = means.shape[1] // model.sites.units("z")
        part = slice(unit * each, (unit + 1) * each)

        def cut(_: Any, args: tuple) -> tuple:
            value = args[0].clone()
            value[:, -1, part] = means[layer, part].to(value)
            return (value, *args[1:])

        handles.append(model.sites.tap(Site("z", layer)).module.register_forward_pre_hook(cut))
    try:
        model.hf.base_model(**batch.inputs(), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return seen[0]


def _first(output: Any) -> torch.Tensor:
    return output[0] if isinstance(output, tuple) else output


def _drops(
    change: torch.Tensor,
    stimuli: StimulusSet,
    scored: list,
    learned: tuple,
    sides: tuple,
    layer: int,
) -> np.ndarray:
    """`[emotion]`, as `ablate_heads` has it: along the direction of the other half."""
    ids = list(stimuli.ids)
    rows = [ids.index(prompt.id) for prompt in scored]
    emotion = stimuli.column("emotion")
    out = []
    for name in learned[0].directions["resid_post"].emotions:
        own = [n for n, row in enumerate(rows) if emotion[row] == name]
        along = [
            float(
                change[n].double().numpy()
                @ learned[int(sides[0][rows[n]])].directions["resid_post"].of(name, layer)
            )
            for n in own
        ]
        out.append(np.mean(along))
    return np.array(out)


if __name__ == "__main__":
    main()
