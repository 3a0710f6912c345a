"""The texts on which judges are validated: what models write, plainly, asked to, steered, broken.

    python experiments/generated_texts.py --out stimuli/generated/generated.csv

Four conditions of each model: plain replies; replies that it is asked to give in an emotion;
replies steered along the vignettes' directions at doses at which it still writes; and at a dose at
which it does not (degenerate). Prompts are the test scenarios with their good, bad and indifferent
events, in turn. Nothing is picked by hand or by result.
"""

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

from probekit.cli.application import load
from probekit.directions import sources
from probekit.judges import EMOTIONS
from probekit.models import Model
from probekit.runs import atomic_write
from probekit.steering import Decoding, Method, Plain, Prompted, Sample, Setting, Steered, generate
from probekit.steering.methods import sample
from probekit.stimuli import StimulusSet

MODELS = {"smollm2-135m": False, "qwen2.5-coder-0.5b": False, "qwen2.5-coder-1.5b": True}
"""Model -> whether it is used in its chat template."""
OPENERS = (" I felt", " When I got home, I", " I said to my sister: “I", " All that night I")
"""What a text that is written on begins with, in turn."""
BRIEF = "You are the person who tells this. Say in one or two sentences what goes on inside you."
DOSES, BROKEN = (0.04, 0.08), 0.6
DECODING = Decoding(max_new_tokens=36, temperature=0.8, top_p=0.9)
COLUMNS = ("id", "text", "model", "method", "emotion", "dose", "prompt")


def prompts(chat: bool) -> list[tuple[str, str]]:
    """Test scenarios, the valence of their event in turn."""
    rows = StimulusSet.load("scenarios").select(split="test").rows
    valences = ("negative", "positive", "neutral")
    by_key = {(row.scenario, row.valence): row for row in rows}
    names = sorted({row.scenario for row in rows})
    taken = [by_key[name, valences[n % 3]] for n, name in enumerate(names)]
    return [
        (row.id, row.text if chat else row.text + OPENERS[(n // 3) % len(OPENERS)])
        for n, row in enumerate(taken)
    ]


def cells(model: Model, chat: bool) -> Iterator[tuple[str, Method, str, float | None, int]]:
    """(condition, method, emotion, dose, number of prompts)."""
    setting = Setting(chat, BRIEF)
    middle = tuple(range(model.n_layers // 3, 2 * model.n_layers // 3))
    steered = Steered(setting, "steer", model, sources.from_vignettes(model), middle)
    yield "plain", Plain(setting), "", None, 16
    for emotion in EMOTIONS:
        yield "prompt", Prompted(setting), emotion, None, 4
    for number, emotion in enumerate(EMOTIONS):
        for place, dose in enumerate(DOSES):
            yield "steer", steered, emotion, dose, 2 if (number + place) % 2 else 3
        yield "degenerate", steered, emotion, BROKEN, 1


def written(model: Model, chat: bool) -> list[dict[str, str]]:
    """Rows of the file; each cell goes on in the prompts where the one before it stopped.

    All cells are rows of the same batches: each row has its own prompt, vector and dose.
    """
    given, jobs = prompts(chat), []
    for condition, method, emotion, dose, count in cells(model, chat):
        for _ in range(count):
            prompt = given[len(jobs) % len(given)]
            encoded = model.encode([prompt[1]], method.template(emotion))[0]
            jobs.append((condition, method, emotion, dose, prompt, encoded))
    replies = generate(
        model,
        [encoded for *_, encoded in jobs],
        [method.steering(emotion, dose) for _, method, emotion, dose, *_ in jobs],
        DECODING,
        seed=list(range(len(jobs))),
        batch_size=32,
    )
    return [
        row(model.name, condition, sample(prompt, reply, method, emotion, dose, seed))
        for seed, ((condition, method, emotion, dose, prompt, _), reply) in enumerate(
            zip(jobs, replies, strict=True)
        )
    ]


def row(model: str, condition: str, made: Sample) -> dict[str, str]:
    """A line of the file; the text begins with the words that the model was given to begin with."""
    dose = "" if made.dose is None else f"{made.dose:g}"
    name = "-".join(part for part in (model, condition, made.emotion, dose, made.prompt) if part)
    opener = next((each for each in OPENERS if made.asked.endswith(each)), "")
    text = (opener + made.text).strip() if made.text.strip() else ""
    values = (name, text, model, condition, made.emotion, dose, made.prompt)
    return dict(zip(COLUMNS, values, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("stimuli/generated/generated.csv"))
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    options = parser.parse_args()
    rows: list[dict[str, str]] = []
    for name in options.models:
        dtype = "float32" if name == "smollm2-135m" else "bfloat16"
        rows += written(load(name, "auto", dtype), MODELS[name])
        print(name, len(rows), flush=True)
    with atomic_write(options.out) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
