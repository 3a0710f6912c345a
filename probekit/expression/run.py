"""`run_expression`: the study of expression into one run folder."""

from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np

from probekit import runs
from probekit.causal import adjusted
from probekit.expression import rows
from probekit.expression.asking import ANSWERED, QUESTIONS
from probekit.expression.options import Expression
from probekit.expression.study import Study
from probekit.expression.systems import KINDS, NOTHING, SYSTEMS
from probekit.judges.judge import Judge
from probekit.models import Model
from probekit.runs import Progress
from probekit.shown import sized
from probekit.stimuli import StimulusSet

STUDY = "express"


def memory_plan(study: Study) -> Iterator[str]:
    """Lines that say what is needed, from the model's shape and what is asked for."""
    model, options = study.model, study.options
    weights = sum(p.numel() * p.element_size() for p in model.hf.parameters())
    yield f"{model.public_name}: weights {sized(weights)} on {model.device.type}"
    many = len(study.prompts)
    held = 4 * many * 2 * len(study.sites) * model.d_model
    yield f"states of {many} posts and replies: {sized(held)} on disk, three times in memory"
    replies = many
    if "malleable" in options.parts:
        replies += len(study.systems) * len(study.few)
    if "expressed" in options.parts:
        emotional = study.posts.labels[study.test] != study.posts.neutral
        replies += len(study.changes) * int(emotional.sum())
    yield f"about {replies:,} replies of at most {options.tokens} tokens"
    if "asking" in options.parts:
        asked = len(QUESTIONS) * many
        yield f"{asked:,} questions, answered in at most {ANSWERED.max_new_tokens} tokens"


def run_expression(
    model: Model,
    stimuli: StimulusSet,
    out: Path,
    options: Expression,
    *,
    judge: Judge,
    command: str = "",
    progress: Progress = lambda *_: None,
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """Run the study and write its run folder; one that was killed goes on.

    Args:
        model: the model.
        stimuli: posts with `emotion`, `scenario`, and `split` dev or test.
        out: the run folder.
        options: what is asked for.
        judge: of replies.
        command: what the user typed, for the manifest.
        progress: receives what is done.
        say: told the memory plan, and which stages are made anew.

    Returns:
        `out`, with `results.csv`.

    Raises:
        UserError: bad options or posts, or `out` holds another run.
    """
    study = Study(model, stimuli, judge, options, out, progress, say)
    identity = {
        "study": STUDY,
        "version": version("emotion-probekit"),
        "model": model.fingerprint,
        "stimuli": stimuli.sha256,
        "judge": list(judge.identity) or [judge.name],
        "options": options.describe(),
    }
    runs.open_run(out, identity)
    for line in memory_plan(study):
        say(line)
    common = {"study": STUDY, "model": model.public_name, "set": stimuli.name}
    table = [{**common, "seed": options.seed, **row} for row in rows.found(study)]
    adjusted(table)
    runs.write_results(out / runs.RESULTS, table)
    manifest = runs.manifest(
        STUDY,
        model=model.describe(),
        stimuli=[stimuli.describe()],
        command=command,
        seed=options.seed,
        identity=identity,
        options=options.describe(),
        chat=study.chat,
        judge=judge.name,
        judge_reads_with_the_model=model.fingerprint in judge.reads_with,
        layers={place: reader.place for place, reader in study.readers.items()},
        questions=list(QUESTIONS),
        systems={kind: list(texts[: options.paraphrases]) for kind, texts in SYSTEMS.items()},
        examples=examples(study) if "malleable" in options.parts else [],
        notes=[*model.notes, *judge.notes],
    )
    runs.write_json(out / runs.MANIFEST, manifest)
    return out


def examples(study: Study) -> list[dict[str, str]]:
    """A post of every label with what is replied to it under the first prompt of each kind.

    Each is of another scenario, while there are enough, whatever was written.
    """
    posts, rows = study.posts, study.few
    scenarios = np.unique(posts.groups[rows])
    under = {kind: study.under(kind, 0).texts for kind in KINDS}
    found = []
    for label, name in enumerate(posts.names):
        # The first scenario, from the label's own on, that holds the label.
        wanted = np.roll(scenarios, -label).tolist()
        own = np.flatnonzero(posts.labels[rows] == label).tolist()
        if not own:
            continue
        place = min(own, key=lambda at: wanted.index(posts.groups[rows[at]]))
        replies = {kind: texts[place] for kind, texts in under.items()}
        row = rows[place]
        told = {"post": posts.stimuli.texts[row], "label": name, NOTHING: study.base.texts[row]}
        found.append({**told, **replies})
    return found
