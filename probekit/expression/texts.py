"""Posts with labels as prompts of a model, and what a judge says of replies in the same labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from probekit.errors import UserError
from probekit.judges.judge import LABELS, NEUTRAL, Judge
from probekit.models import Model
from probekit.prompts import SLOT, Encoded, Template
from probekit.stimuli import StimulusSet, Taxonomy

Floats = NDArray[np.float64]
TAXONOMY = "ekman"
END = "\n\n"
"""What stands between an instruction, a post and its reply where there is no chat template."""


@dataclass(frozen=True)
class Posts:
    """Texts with labels, some to learn from and some to report on.

    Raises:
        UserError: a text without a label, a label that the judges' emotions do not map to, or a
            split that lacks labels which the other has.
    """

    stimuli: StimulusSet

    def __post_init__(self) -> None:
        known = {*_counterparts().values()} - {""}
        for identity, name in zip(self.stimuli.ids, self.stimuli.column("emotion"), strict=True):
            if name not in known:
                raise UserError(
                    f"{self.stimuli.name}: item {identity!r} has the label {str(name)!r}; accepted "
                    f"are {', '.join(sorted(known))}"
                )
        for name, own in (("dev", ~self.test), ("test", self.test)):
            if len(held := set(self.labels[own])) < len(self.names) or len(held) < 2:
                raise UserError(
                    f"{self.stimuli.name}: the {name} split lacks labels that others have, or has "
                    "one alone; give rows with `emotion`, `scenario` and `split` dev or test"
                )

    @cached_property
    def names(self) -> list[str]:
        """`[class]`."""
        return [str(name) for name in np.unique(self.stimuli.column("emotion"))]

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """`[post]`, places in `names`."""
        return np.searchsorted(self.names, self.stimuli.column("emotion"))

    @cached_property
    def test(self) -> NDArray[np.bool_]:
        """`[post]`, those that are reported on."""
        return self.stimuli.column("split") == "test"

    @property
    def groups(self) -> NDArray[np.str_]:
        """`[post]` scenarios."""
        return self.stimuli.groups

    @property
    def neutral(self) -> int:
        """The place of the neutral class.

        Raises:
            UserError: there is none.
        """
        if NEUTRAL not in self.names:
            raise UserError(f"{self.stimuli.name}: no text is {NEUTRAL}; give some")
        return self.names.index(NEUTRAL)

    def prompts(
        self, model: Model, rows: Sequence[int], *, chat: bool, system: str = ""
    ) -> list[Encoded]:
        """Some posts as what the model is to reply to.

        Args:
            system: an instruction before it ("": what the model's own template does).
        """
        texts = [self.stimuli.texts[row] for row in rows]
        ids = [self.stimuli.ids[row] for row in rows]
        return model.encode(texts, shape(chat, system), ids=ids)


def shape(chat: bool, system: str = "") -> Template:
    """What stands around a post."""
    if chat:
        return Template("chat", None, system)
    return Template("plain", END.join([*([system] if system else []), SLOT]) + END)


def judged(judge: Judge, texts: Sequence[str], names: Sequence[str]) -> Floats:
    """Probabilities `[text, class + 1]`, the last of what is none of the classes; NaN if unread.

    A judge's label counts for the class whose nearest emotion in Ekman's taxonomy it is.
    """
    said, counterpart = judge.probabilities(texts), _counterparts()
    found = np.zeros((len(texts), len(names) + 1))
    for place, label in enumerate(judge.labels):
        name = counterpart[label]
        found[:, names.index(name) if name in names else -1] += said[:, place]
    return found


def _counterparts() -> dict[str, str]:
    """A judge's label -> the name of its class, "" where there is none."""
    wheel = Taxonomy.load("plutchik")
    named = {label: wheel.nearest(TAXONOMY, label) or "" for label in LABELS if label != NEUTRAL}
    return {**named, NEUTRAL: NEUTRAL}
