"""Whose feeling does a model carry, and where: probes at each person's last mention, and the end.

    python experiments/perspective.py smollm2-135m qwen2.5-coder-1.5b

In each text of `perspective` two people feel differently, and its mirror exchanges their roles. The
question is always the same (whose feeling is the better one), read at four places. All 60 texts are
cross-validated in six folds of whole couples, layer and C chosen in inner folds: the set is too
small to be halved, so this is exploration and not a last look.
"""

import argparse
from collections.abc import Sequence

import numpy as np

from probekit import Options, StimulusSet, Template, capture, cross_validate, load_model, stats
from probekit.baselines import text_baselines
from probekit.crossval import CrossValidated
from probekit.evaluation import Scorer, composite, reference
from probekit.stats import Estimate
from probekit.tasks import Task, tasks_of

DTYPES = {"qwen2.5-coder-0.5b": "bfloat16", "qwen2.5-coder-1.5b": "bfloat16"}


def main() -> None:
    """Print a table for every model named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("models", nargs="+")
    parser.add_argument("--permutations", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    stimuli = StimulusSet.load("perspective")
    (task,) = tasks_of(stimuli, 6, hold_out=False)[0]
    print("| model | read at | words | probe | above text | chance | p | layer |")
    print("|---|---|---|---|---|---|---|---|")
    for name in given.models:
        for line in study(name, stimuli, task, given.permutations, given.seed):
            print(line, flush=True)


def study(name: str, stimuli: StimulusSet, task: Task, permutations: int, seed: int) -> list[str]:
    """Lines of the table for one model."""
    model = load_model(name, dtype=DTYPES.get(name, "float32"))
    folds = task.folds(6, seed)
    scorer = Scorer(task, "", folds, Options().bootstraps, seed)
    target = task.probe_target
    words = {
        each.name: cross_validate(each.compact, target, folds, standardize=each.standardize)[0]
        for each in text_baselines(stimuli.texts, model)
    }
    text = composite(words, reference(words))
    template = Template.load("feeling")
    found = []
    for place, holder in (
        ("name of a", "holder_a"),
        ("name of b", "holder_b"),
        ("end", None),
        ("mean", None),
    ):
        pooling = "span" if holder else {"end": "last", "mean": "mean"}[place]
        spans = last_mentions(stimuli, holder) if holder else None
        states = capture(model, stimuli, ["resid_post"], [pooling], template=template, spans=spans)
        result = cross_validate(
            states.stack("resid_post", pooling),
            target,
            folds,
            permuted=task.permuted(permutations, seed),
        )[0]
        found.append(line(name, place, scorer, result, text, states.layers["resid_post"]))
    return found


def last_mentions(stimuli: StimulusSet, holder: str) -> list[tuple[int, int]]:
    """Characters of the last place at which each text names this person."""
    spans = []
    for row in stimuli.rows:
        who = str(row.extra[holder])
        start = row.text.lower().rfind(who.lower())
        if who in ("I", "you"):  # Words of their own, not letters inside others.
            padded = f" {row.text} ".replace(".", " ").replace(",", " ").replace("'", " ")
            start = padded.lower().rfind(f" {who.lower()} ")
        spans.append((start, start + len(who)))
    return spans


def line(
    name: str,
    place: str,
    scorer: Scorer,
    result: CrossValidated,
    text: np.ndarray,
    layers: Sequence[int],
) -> str:
    """One row: words, probe, difference, null and the layer chosen (median over folds)."""
    probe, words, above = (
        Estimate.of(draws)
        for draws in (
            scorer.primary(result.nested),
            scorer.primary(text),
            scorer.above(result.nested, text),
        )
    )
    cells = [
        name,
        place,
        f"{words.value:.2f}",
        f"{probe.value:.2f} [{probe.low:.2f}, {probe.high:.2f}]",
        f"{above.value:+.2f} [{above.low:+.2f}, {above.high:+.2f}]",
        f"{result.null_nested.mean():.2f}",
        f"{stats.permutation_p(probe.value, result.null_nested):.3f}",
        str(int(np.median(np.asarray(layers)[result.layers]))),
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
