"""`run_scorecard`: methods write, a judge reads, and every score stands beside its controls."""

import csv
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from probekit import runs
from probekit.errors import UserError
from probekit.models import Model
from probekit.runs import Progress, digest
from probekit.scorecard.cells import Board
from probekit.scorecard.curves import curves, equal_fluency, front, monotonicity
from probekit.scorecard.options import Scorecard
from probekit.scorecard.relevance import Encode
from probekit.scorecard.scores import PLAIN, Scores, score
from probekit.scorecard.side_effects import changes, effect_rows
from probekit.scorecard.stages import CellKey, Judge, Prompts, Stages, method_key, unseen
from probekit.scorecard.table import rows, with_q
from probekit.steering.methods import Method

Row = dict[str, Any]
COLUMNS = (
    "method", "emotion", "dose", "seed", "prompt", "asked", "judged", "probability", "incoherent",
    "perplexity", "perplexity_other", "tokens", "ended", "text",
)  # fmt: skip


def run_scorecard(
    model: Model,
    out: Path,
    options: Scorecard,
    *,
    methods: Sequence[Method],
    judge: Judge,
    prompts: Prompts,
    prompts_name: str = "prompts",
    other: Model | None = None,
    encode: Encode | None = None,
    validity: Mapping[str, Mapping[str, Any]] | None = None,
    command: str = "",
    progress: Progress = lambda *_: None,
) -> Path:
    """Run the study and write its run folder; one that was killed goes on.

    Args:
        model: writes, and reads its replies unsteered for their perplexity.
        out: the run folder.
        options: emotions, doses, decoding and sizes.
        methods: `Plain` among them; a random method is the control of steering.
        judge: of emotion, not trained on these texts (such texts are left out).
        prompts: (id, text); ids are the clusters of every interval.
        prompts_name: what results call them.
        other: another model, whose perplexity the rule of incoherence asks for.
        encode: sentence encoder, for relevance.
        validity: what the judge and the rule are worth by readers, metric -> cells, such as
            {"judge_kappa": {"value": .6, "low": .5, "high": .7, "n": 300, "clusters": 40}}.
        command: what the user typed, for the manifest.
        progress: receives what is done.

    Returns:
        `out`, which then holds `results.csv`, `samples.csv` (every text) and `manifest.json`.

    Raises:
        UserError: bad options, no plain method, a judge without these emotions, or `out` holds
            another run; nothing is written then.
    """
    options.check()
    _check(options, methods, judge, prompts)
    identity = {
        "study": "scorecard",
        "version": version("emotion-probekit"),
        "model": model.fingerprint,
        "other": other.fingerprint if other else None,
        "prompts": digest(list(prompts)),
        "methods": [method_key(each) for each in methods],
        "judge": judge.name,
        "encoder": encode is not None,
        **options.describe(),
    }
    runs.open_run(out, identity)
    stages = Stages(model, methods, prompts, options, out, progress)
    written = stages.samples()
    samples = unseen(judge, written)
    notes = _notes(other, encode, len(written) - len(samples))
    scores = score(
        samples,
        judge.labels,
        stages.probabilities(judge, samples),
        nats=stages.nats(model, samples),
        nats_other=stages.nats(other, samples) if other else None,
        encode=encode,
        rule=options.rule,
    )
    common = {"study": "scorecard", "model": model.describe()["name"], "set": prompts_name}
    common |= {"judge": judge.name, "seed": options.seed}
    found = [*card_rows(scores, options), *effects_rows(stages.effects(), options)]
    found += [{"metric": metric, **cells} for metric, cells in (validity or {}).items()]
    runs.write_results(out / runs.RESULTS, [{**common, **row} for row in found])
    _write_samples(out / runs.SAMPLES, scores)
    stimuli = {"name": prompts_name, "sha256": digest(list(prompts)), "rows": len(prompts)}
    manifest = runs.manifest(
        "scorecard",
        model=model.describe(),
        stimuli=[stimuli],
        command=command,
        seed=options.seed,
        identity=identity,
        judge=judge.name,
        other=other.describe()["name"] if other else None,
        methods=[each.describe() for each in methods],
        **{name: value for name, value in options.describe().items() if name != "seed"},
        notes=notes,
    )
    runs.write_json(out / runs.MANIFEST, manifest)
    return out


def card_rows(scores: Scores, options: Scorecard) -> list[Row]:
    """Everything that is said of the texts: cells, monotonicity, the front, equal fluency."""
    board = Board(scores, options.bootstraps, options.seed)
    over, count = curves(board), options.permutations
    return [
        *rows(board, permutations=count, seed=options.seed),
        *monotonicity(board, permutations=count, seed=options.seed),
        *front(over),
        *equal_fluency(over, options.bound),
    ]


def effects_rows(
    found: Mapping[CellKey, Mapping[str, Sequence[float]]], options: Scorecard
) -> list[Row]:
    """Side effects of each cell, and of each method and dose in the mean over emotions."""
    sizes = {"bootstraps": options.bootstraps, "permutations": options.permutations}
    draws = {**sizes, "seed": options.seed}
    before = found.get((PLAIN, "", None), {})
    pooled: dict[CellKey, list[Mapping[str, Sequence[float]]]] = {}
    for (method, emotion, dose), given in found.items():
        if method != PLAIN:
            pooled.setdefault((method, "", dose), []).append(given)
            pooled.setdefault((method, emotion, dose), []).append(given)
    out: list[Row] = []
    for (method, emotion, dose), given in pooled.items():
        common = {"method": method, "emotion": emotion, "dose": dose}
        mean = {name: np.mean([each[name] for each in given], axis=0) for name in given[0]}
        told = effect_rows(mean["kl"], before["quiz"], list(mean["quiz"]), **draws)
        if "refusals" in mean:
            told += changes(before["refusals"], list(mean["refusals"]), "refusals", **draws)
        out += [{**common, **row} for row in told]
    return with_q(out)


def _check(options: Scorecard, methods: Sequence[Method], judge: Judge, prompts: Prompts) -> None:
    names = [each.name for each in methods]
    if PLAIN not in names or len(set(names)) < len(names):
        raise UserError(f"methods {', '.join(names)}: give each once, {PLAIN} among them")
    if strange := [each for each in options.emotions if each not in judge.labels]:
        raise UserError(
            f"judge {judge.name} knows no {strange[0]!r}: it knows {', '.join(judge.labels)}"
        )
    ids = [id_ for id_, _ in prompts]
    if len(ids) < 2 or len(set(ids)) < len(ids):
        raise UserError(f"{len(ids)} prompts: give two or more, each with an id of its own")


def _notes(other: Model | None, encode: Encode | None, known: int) -> list[str]:
    notes = []
    if other is None:
        notes.append("No other model read the texts: incoherence is loops and repetition alone.")
    if encode is None:
        notes.append("No encoder read the texts: relevance is missing.")
    if known:
        notes.append(f"{known} texts that the judge was trained on are left out.")
    return notes


def _write_samples(path: Path, scores: Scores) -> None:
    measures = scores.measures
    with (
        runs.atomic_write(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as f,
    ):
        writer = csv.writer(f, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row, each in enumerate(scores.samples):
            place = scores.labels.index(each.emotion) if each.emotion else None
            own = None if place is None else float(scores.probabilities[row, place])
            reads = (float(measures[f"perplexity{side}"][row]) for side in ("", "_other"))
            cells = (
                each.method, each.emotion, each.dose, each.seed, each.prompt, each.asked,
                str(scores.judged[row]), own, scores.reasons[row], *reads, each.tokens,
                int(each.ended), each.text,
            )  # fmt: skip
            writer.writerow([runs.cell(cell) for cell in cells])
