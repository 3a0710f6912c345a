"""Activation patching with its controls: whose state, put where, moves which read-out.

The state of another text's last token is put in the place of a text's own, at every layer and
site. Sources: a text of the same emotion, of another one (also from the other keyword arm), the
neutral control of the same scenario, a random vector of equal length, the text's own state at
another position; and none.
Every source is measured by the same figures, so base rates and placebos stand in the same table.

- `source_shift`: change of the log-odds of the source's emotion among the emotion words (for
  controls and for "same": of the emotion that the text of another emotion has).
- `target_shift`: the same of the patched text's own emotion.
- `source_shift_probe`: `source_shift` by an eight-class probe at the last block.
- `flip`: share of texts whose first word among the labels is the source's emotion.
- `reception_shift`: change of the log-odds "emotional" of a probe at the last block.

On pairs whose tokens can be aligned, the states of the changed words, of what follows them and of
the read-out token are patched from one arm into the other.
"""

from dataclasses import dataclass, field
from pathlib import Path

from probekit import runs
from probekit.causal import Sizes, Subject
from probekit.models import Model
from probekit.patching.figures import shifts
from probekit.patching.last_token import LastToken
from probekit.patching.pairs import Aligned, aligned_pairs
from probekit.runs import Progress
from probekit.sites import Kind
from probekit.stimuli import StimulusSet
from probekit.tasks import NEUTRAL

__all__ = ["Patching", "aligned_pairs", "run_patching", "shifts"]


@dataclass(frozen=True)
class Patching:
    """What a patching run is asked for.

    Attributes:
        sites: kinds, every layer of which is patched.
        heads: patch single heads too, from another emotion and at random.
        sizes: template, draws and seed.
    """

    sites: tuple[Kind, ...] = ("resid_post", "attn_out", "mlp_out")
    heads: bool = False
    sizes: Sizes = field(default_factory=Sizes)


def run_patching(
    model: Model,
    stimuli: StimulusSet,
    out: Path,
    options: Patching,
    *,
    command: str = "",
    progress: Progress = lambda *_: None,
) -> Path:
    """Run the study and write its run folder; one that was killed goes on.

    Args:
        stimuli: a set with emotions; its test split is patched, its dev split fits the probes.

    Raises:
        UserError: a set without labels, a site the model lacks, no text left to patch, or `out`
            holds another run.
    """
    model.sites.expand(options.sites)
    kinds = [*options.sites, *(["z"] if options.heads else [])]
    subject = Subject(model, stimuli, options.sizes, progress, kinds)
    identity = subject.identity("patch", {"sites": list(options.sites), "heads": options.heads})
    runs.open_run(out, identity)
    rows = list(subject.base)
    notes: list[str] = []
    for arm in [*subject.arms, *([NEUTRAL] if NEUTRAL in subject.arm else [])]:
        targets = subject.rows(arm, learned=False)
        if len(targets):
            rows += LastToken(
                subject, arm, targets, options.sites, options.heads, out / runs.STAGES
            ).rows(notes)
    pairs = aligned_pairs(subject)
    if pairs:
        rows += Aligned(subject, pairs, out / runs.STAGES).rows()
    elif stimuli.has("pair"):
        notes.append("no pair whose two texts have as many tokens: positions were not patched")
    subject.write(out, rows, "patch")
    manifest = subject.manifest("patch", command, identity, notes=list(dict.fromkeys(notes)))
    runs.write_json(out / runs.MANIFEST, manifest)
    return out
