"""Circuits of emotions in one model, from what it writes and from what it reads.

    python experiments/emotion_circuits.py smollm2-135m --no-chat --seeds 0 1
    python experiments/emotion_circuits.py qwen2.5-coder-1.5b --dtype bfloat16 --scenarios 24

1. Expressions are elicited in every emotion; emotions with fewer than four accepted replies are
   left out of the expressing circuits, and said to be.
2. The whole study twice: scores from the accepted expressions, and from vignettes that nobody was
   asked to write. Both are held against the same held-out expressions, where there are any.
3. What the log needs is printed: needs, stability, modulation, each beside its control.

Killed, the same command goes on.
"""

import argparse
import csv
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from probekit.circuits import Circuits, Study, run_circuits
from probekit.circuits.options import EMOTIONS
from probekit.circuits.texts import NEEDED
from probekit.cli.application import bars, load, say
from probekit.cli.scorecard import held_to_readers
from probekit.report import write_report
from probekit.runs import RESULTS, STAGES

SOURCES = ("expressing", "reading")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--out", type=Path, default=Path("runs/emotion_circuits"))
    parser.add_argument("--emotions", nargs="+", default=list(EMOTIONS))
    parser.add_argument("--sources", nargs="+", choices=SOURCES, default=list(SOURCES))
    parser.add_argument("--scenarios", type=int, default=80)
    parser.add_argument("--held-out", type=int, default=24)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--prompts", type=int, default=4)
    parser.add_argument("--k", type=int, default=140)
    parser.add_argument("--scales", nargs="+", type=float, default=[1.0, 2.0])
    parser.add_argument("--doses", nargs="+", type=float, default=[0.08])
    parser.add_argument("--chat", action=argparse.BooleanOptionalAction, default=None)
    parser.add_argument("--reader", default="")
    parser.add_argument("--other-model", default="qwen2.5-coder-0.5b")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    model = load(given.model, given.device, given.dtype)
    judge, _ = held_to_readers("ensemble", given.reader, None, False)
    other = None if given.other_model == "none" else load(given.other_model, given.device, "auto")
    options = Circuits(
        tuple(given.emotions),
        scenarios=given.scenarios,
        held_out=given.held_out,
        seeds=tuple(given.seeds),
        prompts=given.prompts,
        k=given.k,
        scales=tuple(given.scales),
        doses=tuple(given.doses),
        chat=given.chat,
        seed=given.seed,
    )
    folder = given.out / model.public_name
    with bars() as progress:
        first = Study(model, judge, options, folder / "texts", ("texts",), progress, say)
        rates, texts = first.rates, first.expressions
    print("accepted:", ", ".join(f"{name} {rate:.2f}" for name, rate in rates.items()))
    dev = [each for each in texts if each.split == "dev" and each.accepted]
    enough = [e for e in options.emotions if sum(t.emotion == e for t in dev) >= NEEDED]
    for source in given.sources:
        emotions = tuple(enough) if source == "expressing" else options.emotions
        if len(emotions) < 2:
            print(f"{source}: {len(emotions)} emotions with {NEEDED} accepted texts; left out")
            continue
        out = folder / source
        if not (out / STAGES).exists():
            shutil.copytree(folder / "texts" / STAGES, out / STAGES)
        with bars() as progress:
            run_circuits(
                model,
                out,
                replace(options, emotions=emotions, source=source),
                judge=judge,
                other=other,
                command=shlex.join(sys.argv),
                progress=progress,
                say=say,
            )
        print(f"\n{source}: {', '.join(emotions)}; page: {write_report(out)}")
        for line in told(out):
            print(line)


def told(out: Path) -> Iterator[str]:
    """Lines of the figures that the log holds."""
    with (out / RESULTS).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for metric in ("accepted", "lift", "lift_share", "lift_above_random", "nats_added"):
        yield from _lines(rows, metric, ("split", "emotion", "condition", "method", "k"))
    for metric in ("own_label", "reception_shift"):
        yield from _lines(rows, metric, ("emotion", "condition", "target"))
    for metric in ("reliability", "ablation_against_write", "effect_against_mean"):
        yield from _lines(rows, metric, ("site", "emotion"))
    yield from _lines(rows, "jaccard", ("method", "emotion", "target", "condition"))
    yield from _lines(rows, "linearity", ("target", "dose", "condition"))
    for metric in ("target_accuracy", "perplexity_ratio", "target_accuracy_by_event"):
        yield from _lines(rows, metric, ("method", "dose", "emotion", "source"))
    for metric in ("accuracy_at_fluency", "accuracy_at_fluency_above_random"):
        yield from _lines(rows, metric, ("method", "dose", "emotion", "condition"))


def _lines(rows: Sequence[dict[str, str]], metric: str, names: Sequence[str]) -> Iterator[str]:
    for row in rows:
        if row["metric"] == metric:
            place = " ".join(row[name] for name in names if row[name])
            interval = f" [{row['low']}, {row['high']}]" if row["low"] else ""
            q = f" q {row['q']}" if row["q"] else ""
            yield f"{metric:24} {place:44} {row['value'] or 'missing'}{interval}{q} n {row['n']}"


if __name__ == "__main__":
    main()
