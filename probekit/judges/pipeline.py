"""A judge from any Hugging Face text classifier, its labels mapped to ours by the taxonomies."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch

from probekit.bundled.conversion import quiet_transformers
from probekit.errors import UserError
from probekit.judges.judge import LABELS, NEUTRAL, Floats, Judge
from probekit.models import model_folder
from probekit.stimuli import Taxonomy

TAXONOMIES = ("goemotions", "ekman", "plutchik")
"""Where a label that is not ours is looked up, in this order."""
BATCH = 16
LONGEST = 512
"""Tokens of a text that are read."""


def mapped(labels: Sequence[str]) -> dict[str, str]:
    """Label of a classifier -> ours, for those that have a counterpart.

    A label of ours is itself; any other is the one of ours whose nearest label in GoEmotions,
    Ekman's or Plutchik's taxonomy it is (`stimuli/taxonomies/maps.json`).
    """
    ours, found = Taxonomy.load("probekit"), {}
    for label in labels:
        word = label.strip().lower()
        near = [own for other in TAXONOMIES for own in ours.back(other, word) if own in LABELS]
        if word in LABELS:
            found[label] = word
        elif near:
            found[label] = near[0]
    return found


class PipelineJudge(Judge):
    """A text-classification model of a local folder or the Hub; safetensors, no remote code.

    Args:
        name_or_path: a folder in Hugging Face format, or a Hub id.
        unmapped: what becomes of the probability of labels without a counterpart: "refuse" the
            model, or count it as "neutral" (which errs: love is not neutral).
        say: receives a line whenever something is fetched.

    Raises:
        UserError: no such model, no classifier, none of its labels is one of ours, or labels
            without a counterpart that are to be refused.
    """

    def __init__(
        self,
        name_or_path: str | Path,
        *,
        unmapped: Literal["refuse", "neutral"] = "refuse",
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.name = f"pipeline({Path(name_or_path).name})"
        self._tokenizer, self._model = _load(str(name_or_path), say)
        config = self._model.config
        labels = [str(config.id2label[place]) for place in range(config.num_labels)]
        found = mapped(labels)
        self._columns = _columns(self.name, labels, found, unmapped)
        self._sigmoid = config.problem_type == "multi_label_classification"
        left = [label for label in labels if label not in found]
        said = ", ".join(f"{label} is {ours}" for label, ours in found.items() if label != ours)
        never = [label for label in LABELS if label not in found.values()]
        notes = [f"{self.name}: what trained it is not known"]
        notes += [f"{self.name}: {said}"] if said else []
        notes += [f"{self.name}: counted as neutral: {', '.join(left)}"] if left else []
        notes += [f"{self.name} has no {', '.join(never)}: it cannot give them"] if never else []
        self.notes = tuple(notes)

    @torch.no_grad()
    def read(self, texts: Sequence[str]) -> Floats:
        found = np.zeros((len(texts), len(LABELS)))
        for start in range(0, len(texts), BATCH):
            batch = self._tokenizer(
                list(texts[start : start + BATCH]),
                padding=True,
                truncation=True,
                max_length=LONGEST,
                return_tensors="pt",
            )
            scores = self._model(**batch).logits.double()
            # A multi-label model says yes or no to each label: their shares are what is comparable.
            shares = scores.sigmoid() if self._sigmoid else scores.softmax(-1)
            np.add.at(found[start : start + BATCH].T, self._columns, shares.numpy().T)
        return found / found.sum(1, keepdims=True)


def _load(name: str, say: Callable[[str], None]) -> tuple[Any, Any]:
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    folder = model_folder(name, say)
    how = {"trust_remote_code": False, "local_files_only": True}
    try:
        architectures = AutoConfig.from_pretrained(folder, **how).architectures or [""]
        if not any("SequenceClassification" in str(kind) for kind in architectures):
            raise UserError(
                f"{name} is no text classifier ({', '.join(architectures)}): give a model that "
                "was saved as ...ForSequenceClassification"
            )
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(folder, **how)
            model = AutoModelForSequenceClassification.from_pretrained(
                folder, use_safetensors=True, dtype=torch.float32, **how
            )
    except (ValueError, OSError) as error:
        if isinstance(error, UserError):
            raise
        reason = str(error).strip().splitlines()[0][:160]
        raise UserError(f"{name} cannot be loaded as a classifier: {reason}") from error
    return tokenizer, cast(Any, model).eval().requires_grad_(False)


def _columns(
    name: str, labels: Sequence[str], found: Mapping[str, str], unmapped: str
) -> list[int]:
    """[label of the classifier] The column of ours that takes its probability."""
    left = [label for label in labels if label not in found]
    if not set(found.values()) - {NEUTRAL}:
        raise UserError(
            f"{name} has the labels {', '.join(labels)}, none of which is one of "
            f"{', '.join(LABELS)} or near one: give a classifier of emotions"
        )
    if left and unmapped != "neutral":
        raise UserError(
            f"{name} has labels without a counterpart here: {', '.join(left)}; count them as "
            "neutral (--unmapped neutral), or give another classifier"
        )
    return [LABELS.index(found.get(label, NEUTRAL)) for label in labels]
