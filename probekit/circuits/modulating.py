"""Methods of expressing an emotion, the circuit among them, in a scorecard of their own."""

import csv
from collections.abc import Iterator
from pathlib import Path

from probekit.causal import Row
from probekit.circuits.modulation import Ablated, Modulated
from probekit.circuits.rows import estimated
from probekit.circuits.study import Study
from probekit.circuits.texts import EVENTS, contexts
from probekit.models import Model
from probekit.runs import MANIFEST, REPORT, RESULTS, SAMPLES
from probekit.scorecard import Scorecard, run_scorecard
from probekit.steering import Method, Plain, Prompted, Random, Steered

FOLDER = "scorecard"
COPIED = (
    "target_accuracy",
    "target_probability_above_random",
    "target_accuracy_above_random",
    "perplexity_ratio",
    "incoherent_rate",
    "accuracy_at_fluency",
    "accuracy_at_fluency_above_random",
    "ratio_at_fluency",
)
"""Figures of the scorecard that the study's own results repeat."""


def methods(study: Study) -> list[Method]:
    """Asking, with and without the circuit; steering; modulation; and what is random of each."""
    model, options, setting = study.model, study.options, study.setting
    circuits = {emotion: study.circuit(emotion) for emotion in options.emotions}
    effects = {emotion: study.effects(emotion) for emotion in options.emotions}
    neutral, seed = study.learned.neutral, options.seed
    directions = study.learned.directions["resid_post"]
    held = {"model": model, "circuits": circuits, "neutral": neutral}
    through = (model, circuits, effects, options.scales)
    return [
        Plain(setting),
        Prompted(setting),
        Ablated(setting, "prompt ablated", **held),
        Ablated(setting, "random prompt ablated", **held, seed=seed),
        Steered(setting, "steer", model, directions),
        Random(setting, "random", model, directions, seed=seed),
        Modulated(setting, "circuit", *through),
        Modulated(setting, "random circuit", *through, seed=seed),
    ]


def modulate(study: Study, other: Model | None, command: str = "") -> Path:
    """Run the scorecard on test scenarios, each with its three events.

    Args:
        other: another model, whose perplexity calls a text incoherent.
    """
    options = study.options
    rows = contexts(options.prompts, "test", every_event=True)
    prompts = list(zip([row.id for row in rows], study.asked(rows), strict=True))
    card = Scorecard(
        options.emotions,
        options.doses,
        options.decoding,
        effects_of=("none",),
        bootstraps=options.bootstraps,
        permutations=options.permutations,
        seed=options.seed,
    )
    folder = study.folder / FOLDER
    # What was written is kept in its stages, whatever it was written for.
    for name in (MANIFEST, RESULTS, SAMPLES, REPORT):
        (folder / name).unlink(missing_ok=True)
    return run_scorecard(
        study.model,
        folder,
        card,
        methods=methods(study),
        judge=study.judge,
        prompts=prompts,
        prompts_name="scenarios",
        other=other,
        command=command,
        progress=study.progress,
    )


def modulation(study: Study) -> Iterator[Row]:
    """The scorecard's main figures, and target accuracy by the event's valence."""
    folder = study.folder / FOLDER
    with (folder / RESULTS).open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["metric"] in COPIED:
                told = {name: value for name, value in row.items() if value}
                yield {**told, "task": "modulation", "study": "circuit"}
    yield from by_event(study)


def by_event(study: Study) -> Iterator[Row]:
    """Target accuracy of every method and dose, by the valence of the event."""
    rows = {row.id: row for row in contexts(study.options.prompts, "test", every_event=True)}
    found: dict[tuple[str, str], list[tuple[str, str, bool]]] = {}
    with (study.folder / FOLDER / SAMPLES).open(encoding="utf-8") as file:
        for text in csv.DictReader(file):
            row = rows[text["prompt"]]
            for target in [text["emotion"]] if text["emotion"] else study.options.emotions:
                hit = text["judged"] == target and not text["incoherent"]
                cell = found.setdefault((text["method"], text["dose"]), [])
                cell.append((row.scenario, row.valence, hit))
    for (method, dose), members in sorted(found.items()):
        for event in EVENTS:
            own = [(scenario, hit) for scenario, valence, hit in members if valence == event]
            yield {
                "task": "modulation",
                "metric": "target_accuracy_by_event",
                "method": method,
                "dose": dose or None,
                "source": event,
                "judge": study.judge.name,
                **estimated(study, [hit for _, hit in own], [name for name, _ in own]),
            }
