"""Judges of emotion in generated text: they see the text alone, never what it was made for.

    judge ──► lexicon, likelihood, pipeline, endpoint ──┐
      └──► encoder ──► features ──► trained ──► calibrated ──► ensemble ──► naming
    readings ──► agreement ──► validation: kappa against blind readers, beside controls

No judge's score is worth more than its agreement with people who read the same kind of text:
`validate` measures that, `require` refuses a judge that lacks it, and texts that trained a judge
are refused in its validation.
"""

from probekit.judges.calibrated import Calibrated
from probekit.judges.encoder import SentenceEncoder
from probekit.judges.endpoint import EndpointJudge
from probekit.judges.ensemble import Ensemble
from probekit.judges.features import Embedding, Features, States, Words
from probekit.judges.judge import EMOTIONS, LABELS, NEUTRAL, Judge
from probekit.judges.lexicon import LexiconJudge
from probekit.judges.likelihood import LikelihoodJudge
from probekit.judges.naming import JUDGES, Bench, by_name, by_names
from probekit.judges.pipeline import PipelineJudge
from probekit.judges.readings import GeneratedReadings
from probekit.judges.trained import (
    TRAINING_SETS,
    Lesson,
    SameModelWarning,
    TrainedJudge,
    warn_if_steered,
)
from probekit.judges.validation import (
    ENOUGH,
    Validation,
    kept_kappa,
    require,
    require_kappa,
    validate,
)

__all__ = [
    "EMOTIONS",
    "ENOUGH",
    "JUDGES",
    "LABELS",
    "NEUTRAL",
    "TRAINING_SETS",
    "Bench",
    "Calibrated",
    "Embedding",
    "EndpointJudge",
    "Ensemble",
    "Features",
    "GeneratedReadings",
    "Judge",
    "Lesson",
    "LexiconJudge",
    "LikelihoodJudge",
    "PipelineJudge",
    "SameModelWarning",
    "SentenceEncoder",
    "States",
    "TrainedJudge",
    "Validation",
    "Words",
    "by_name",
    "by_names",
    "kept_kappa",
    "require",
    "require_kappa",
    "validate",
    "warn_if_steered",
]
