"""Ablation with its controls: which heads, sublayers, layers and neurons a read-out needs.

Units are ranked on one half of the texts (dev) and measured on the other (test), so that the best
of many is not reported with its luck. Beside every ablation stands its placebo: the same change of
the same unit, turned by one random rotation for all texts, so that it is as long and has as much in
common over texts; and their difference is tested text by text. The share of placebos that survive
is what any disturbance of that size does; the difference is from one rotation drawn. Beside the
best k together stand k random units of the same kind, 20 times. A neuron is one number, without
another direction: k random ones are its control.

With `positions="all"` the text's own tokens are changed (not the first, an attention sink), and
what replaces a unit is a mean over such tokens.

- `own_label`: change of the log-odds of the text's own emotion among the emotion words. Emotions
  are balanced, so what only pushes one word nearly cancels; what flattens or sharpens all of them
  does not, and shows in the random control too. Negative: the unit helps.
- `reception_shift`: change of the log-odds "emotional" of a probe at the last block.
- `top1_changed`: share of texts whose first emotion word changes. `kl`: of the next token, nats.
"""

from pathlib import Path

from probekit import runs
from probekit.ablation.replacing import METHODS, READ, UNITS
from probekit.ablation.study import Ablation, Study
from probekit.causal import Subject
from probekit.errors import unknown
from probekit.models import Model
from probekit.runs import Progress
from probekit.stimuli import StimulusSet

__all__ = ["Ablation", "run_ablation"]


def run_ablation(
    model: Model,
    stimuli: StimulusSet,
    out: Path,
    options: Ablation,
    *,
    command: str = "",
    progress: Progress = lambda *_: None,
) -> Path:
    """Run the study and write its run folder; one that was killed goes on.

    Raises:
        UserError: a set without labels, an unknown kind of unit or method, or `out` holds another
            run.
    """
    for given, accepted, what in (
        (options.units, UNITS, "kind of unit"),
        (options.methods, METHODS, "method"),
        ((options.positions,), ("last", "all"), "positions"),
    ):
        if strange := [name for name in given if name not in accepted]:
            raise unknown(what, strange[0], accepted)
    kinds = [site for kind in options.units for site in READ[kind]]
    subject = Subject(model, stimuli, options.sizes, progress, kinds)
    asked = {name: getattr(options, name) for name in ("units", "methods", "positions")}
    identity = subject.identity("ablate", asked)
    runs.open_run(out, identity)
    study = Study(subject, options, out / runs.STAGES)
    effects = [row for kind in options.units for row in study.rows(kind)]
    rows = [*subject.base, *study.base(), *effects]
    subject.write(out, [{"target": subject.arms[0], **row} for row in rows], "ablate")
    manifest = subject.manifest(
        "ablate", command, identity, notes=list(dict.fromkeys(study.notes)), **asked
    )
    runs.write_json(out / runs.MANIFEST, manifest)
    return out
