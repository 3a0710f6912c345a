"""What the rule of incoherence is worth by blind readers of generated text."""

from typing import Any

import numpy as np

from probekit import runs
from probekit.judges import GeneratedReadings
from probekit.judges.readings import TEST
from probekit.models import Model
from probekit.scorecard.coherence import Rule, validate
from probekit.scorecard.fluency import reply_nats
from probekit.stimuli import StimulusSet

Cells = dict[str, Any]


def rule_validity(
    rule: Rule, readings: GeneratedReadings, other: Model | None = None
) -> dict[str, Cells]:
    """`validate` of a rule on test texts that readers saw, as `run_scorecard` takes it.

    The rule's bounds were chosen on the others, the training texts.

    Args:
        readings: of texts; those whose prompts are shipped scenarios have a perplexity.
        other: the model whose perplexity the rule asks for (None: it is not asked).

    Returns:
        metric -> cells: "rule_kappa", "rule_sensitivity", "rule_specificity".

    Raises:
        UserError: no test text, or fewer than two prompts.
    """
    readings = readings.select(split=TEST)
    texts = [text.text for text in readings.texts]
    nats = _nats(readings, other) if other and rule.perplexity is not None else [None] * len(texts)
    perplexities = [None if value is None else float(np.exp(value)) for value in nats]
    called = [bool(rule.reason(*pair)) for pair in zip(texts, perplexities, strict=True)]
    prompts = [text.prompt for text in readings.texts]
    found = validate(called, readings.coherence().tolist(), prompts)
    sizes = {"n": found.n, "clusters": found.clusters}
    return {
        f"rule_{name}": {**getattr(found, name).cells, **sizes}
        for name in ("kappa", "sensitivity", "specificity")
    }


def _nats(readings: GeneratedReadings, other: Model) -> list[float | None]:
    """Mean nats of each text after its scenario, None for other prompts; kept in the cache."""
    scenarios = {row.id: row.text for row in StimulusSet.load("scenarios").rows}
    known = [n for n, text in enumerate(readings.texts) if text.prompt in scenarios]
    asked = [scenarios[readings.texts[n].prompt] for n in known]
    replies = [readings.texts[n].text for n in known]
    key = {
        "nats of generated texts": 1,
        "reader": other.fingerprint,
        "dtype": str(other.dtype),
        "texts": runs.digest([asked, replies]),
    }
    kept = runs.stage(
        runs.cache_home() / "judges", key, lambda: reply_nats(other, asked, replies).tolist()
    )
    found: list[float | None] = [None] * len(readings.texts)
    for place, value in zip(known, kept, strict=True):
        found[place] = value
    return found
