"""The texts on which judges are validated: what models write, plainly, asked to, steered, broken.

    python experiments/generated_texts.py --out stimuli/generated/generated.csv

Conditions of each model: plain replies; replies that it is asked to give in an emotion, with
examples or without; replies steered along the vignettes' directions at doses at which it still
writes; and at a dose at which it does not (degenerate). Three parts, in one file:

- *first*: prompts are the test scenarios with their good, bad and indifferent events, in turn;
- *further*: the same prompts, and more of what has an emotion (two thirds of the first part have
  none): for figures too;
- *training*: prompts are dev scenarios, for judges to learn from how models write.

Nothing is picked by hand or by result.
"""

import argparse
import csv
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from probekit.circuits.study import BRIEF, OPENERS
from probekit.cli.application import load
from probekit.directions import sources
from probekit.judges import EMOTIONS
from probekit.models import Model
from probekit.runs import atomic_write
from probekit.steering import (
    Decoding,
    FewShot,
    Method,
    Plain,
    Prompted,
    Sample,
    Setting,
    Steered,
    generate,
)
from probekit.steering.methods import sample
from probekit.stimuli import StimulusSet

SMALL, MIDDLE, LARGE = "smollm2-135m", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"
PARTS: dict[str, list[tuple[str, bool]]] = {
    "first": [(SMALL, False), (MIDDLE, False), (LARGE, True)],
    "further": [(SMALL, True), (MIDDLE, True), (LARGE, True)],
    "training": [(SMALL, False), (SMALL, True), (MIDDLE, True), (LARGE, True)],
}
"""Part -> its models, and whether each is used in its chat template."""
SHARES = {
    ("further", SMALL): {"plain": 8, "prompt": 1, "few-shot": 2, 0.08: 1},
    ("further", MIDDLE): {"plain": 0, "prompt": 2, "few-shot": 2, 0.08: 1},
    ("further", LARGE): {"plain": 0, "prompt": 4, "few-shot": 4, 0.08: 1, 0.16: 1},
    ("training", SMALL): {"plain": 8, "prompt": 3, "few-shot": 3, 0.08: 2, 0.16: 1},
    ("training", MIDDLE): {"plain": 8, "prompt": 6, "few-shot": 5, 0.08: 2},
    ("training", LARGE): {"plain": 16, "prompt": 16, "few-shot": 12, 0.08: 3, 0.16: 3},
}
"""How many texts: plain ones, and of each emotion by method or dose."""
DOSES, BROKEN = (0.04, 0.08), 0.6
DECODING = Decoding(max_new_tokens=36, temperature=0.8, top_p=0.9)
COLUMNS = ("id", "text", "model", "method", "emotion", "dose", "prompt", "split")


def prompts(part: str, chat: bool) -> list[tuple[str, str]]:
    """Scenarios, the valence of their event in turn; to train on, good and bad events of dev."""
    training = part == "training"
    rows = StimulusSet.load("scenarios").select(split="dev" if training else "test").rows
    valences = ("negative", "positive") if training else ("negative", "positive", "neutral")
    by_key = {(row.scenario, row.valence): row for row in rows}
    names = sorted({row.scenario for row in rows})
    taken = [by_key[name, valences[n % len(valences)]] for n, name in enumerate(names)]
    return [
        (row.id, row.text if chat else row.text + OPENERS[(n // len(valences)) % len(OPENERS)])
        for n, row in enumerate(taken)
    ]


Cell = tuple[str, Method, str, float | None, int]
"""(condition, method, emotion, dose, number of prompts)."""


def cells(part: str, model: Model, chat: bool) -> Iterator[Cell]:
    """Those of a part, for one model."""
    setting = Setting(chat, BRIEF)
    middle = tuple(range(model.n_layers // 3, 2 * model.n_layers // 3))
    steered = Steered(setting, "steer", model, sources.from_vignettes(model), middle)
    if part == "first":
        yield "plain", Plain(setting), "", None, 16
        for emotion in EMOTIONS:
            yield "prompt", Prompted(setting), emotion, None, 4
        for number, emotion in enumerate(EMOTIONS):
            for place, dose in enumerate(DOSES):
                yield "steer", steered, emotion, dose, 2 if (number + place) % 2 else 3
            yield "degenerate", steered, emotion, BROKEN, 1
        return
    shares = SHARES[part, model.name]
    yield "plain", Plain(setting), "", None, shares["plain"]
    for emotion, (name, count) in product(EMOTIONS, list(shares.items())[1:]):
        match name:
            case "prompt":
                yield name, Prompted(setting), emotion, None, count
            case "few-shot":
                yield name, FewShot(setting), emotion, None, count
            case _:
                yield "steer", steered, emotion, float(name), count


def written(part: str, model: Model, chat: bool) -> list[dict[str, str]]:
    """Rows of the file; each cell goes on in the prompts where the one before it stopped.

    All cells are rows of the same batches: each row has its own prompt, vector and dose.
    """
    given, jobs = prompts(part, chat), []
    # The first part's seeds count from 0, the others' from thousands: no reply is written twice.
    first = 1000 * (2 * list(PARTS).index(part) + chat) * (part != "first")
    # Later parts start elsewhere, so that a condition does not meet the same prompts again.
    begin = 0 if part == "first" else 7 * ((SMALL, MIDDLE, LARGE).index(model.name) * 2 + chat + 1)
    for condition, method, emotion, dose, count in cells(part, model, chat):
        for _ in range(count):
            prompt = given[(begin + len(jobs)) % len(given)]
            encoded = model.encode([prompt[1]], method.template(emotion))[0]
            jobs.append((condition, method, emotion, dose, prompt, encoded))
    seeds = [first + number for number in range(len(jobs))]
    replies = generate(
        model,
        [encoded for *_, encoded in jobs],
        [method.steering(emotion, dose) for _, method, emotion, dose, *_ in jobs],
        DECODING,
        seed=seeds,
        batch_size=32,
    )
    return [
        row(part, model.name, condition, sample(prompt, reply, method, emotion, dose, seed))
        for seed, ((condition, method, emotion, dose, prompt, _), reply) in zip(
            seeds, zip(jobs, replies, strict=True), strict=True
        )
    ]


def row(part: str, model: str, condition: str, made: Sample) -> dict[str, str]:
    """A line of the file; the text begins with the words that the model was given to begin with."""
    dose = "" if made.dose is None else f"{made.dose:g}"
    number = "" if part == "first" else str(made.seed)
    parts = (model, condition, made.emotion, dose, made.prompt, number)
    name = "-".join(each for each in parts if each)
    opener = next((each for each in OPENERS if made.asked.endswith(each)), "")
    text = (opener + made.text).strip() if made.text.strip() else ""
    split = "training" if part == "training" else "test"
    values = (name, text, model, condition, made.emotion, dose, made.prompt, split)
    return dict(zip(COLUMNS, values, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("stimuli/generated/generated.csv"))
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    options = parser.parse_args()
    rows: list[dict[str, str]] = []
    todo = [(part, *each) for part in options.parts for each in PARTS[part]]
    for part, name, chat in todo:
        model = load(name, "auto", "float32" if name == SMALL else "bfloat16")
        rows += written(part, model, chat)
        print(part, name, "chat" if chat else "text", len(rows), flush=True)
    with atomic_write(options.out) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
