"""What circuits are needed for: ablated, kept alone, and beside random ones of the same size.

Every set of components is measured in the same ways (see `measures`): a circuit, its complement
(everything else), random sets with as many components in each sublayer, the circuits of other
emotions, and the one of another allocation. Sets are held at what they are in neutral texts, at
every token but the first. Texts are held out: accepted replies to test scenarios, test vignettes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from probekit import runs
from probekit.causal import RECEPTION, Sizes, Subject, shift
from probekit.circuits.circuit import Circuit, ablation, complement, random_like
from probekit.circuits.components import Component, Values
from probekit.circuits.measures import Floats, Lift, neutral_nats
from probekit.edits import Edit
from probekit.models import Model
from probekit.runs import Progress
from probekit.stimuli import StimulusSet

CIRCUIT, COMPLEMENT, OTHER = "circuit", "complement", "other emotion's"
RANDOM, RANDOM_COMPLEMENT, NOTHING = "random", "random complement", "nothing"
NEUTRAL_TEXTS = 16


@dataclass(frozen=True)
class Ablation:
    """One set of components that is ablated.

    Attributes:
        emotion: whose circuit it stands beside.
        condition: "circuit", "complement", "random", "random complement", "other emotion's",
            "nothing".
        source: of "other emotion's" which; of random ones the number of the draw.
        allocation, k: of the circuit.
        components: what is ablated.
    """

    emotion: str
    condition: str
    source: str
    allocation: str
    k: int
    components: tuple[Component, ...]


class Validation:
    """Ablations on held-out texts.

    Args:
        model: the model.
        neutral: kind -> `[layer, width]`, what components are held at.
        emotions: of the study.
        lifts: emotion -> held-out expressions; an emotion without any is left out.
        folder: finished parts are kept there.
        key: what the parts were made from.
        sizes: draws and seed.
        progress: told of what is done.
    """

    def __init__(
        self,
        model: Model,
        neutral: Values,
        emotions: Sequence[str],
        lifts: Mapping[str, Lift],
        folder: Path,
        key: str,
        sizes: Sizes,
        progress: Progress = lambda *_: None,
    ) -> None:
        self.model, self.neutral, self.emotions, self.lifts = model, neutral, emotions, lifts
        self.folder, self.key, self.sizes, self.progress = folder, key, sizes, progress

    @cached_property
    def subject(self) -> Subject:
        """The vignettes, and probes of those without emotion words and of their controls."""
        texts = StimulusSet.load("vignettes")
        return Subject(self.model, texts, self.sizes, self.progress)

    @cached_property
    def plain_texts(self) -> StimulusSet:
        """Neutral test vignettes: plain language."""
        found = StimulusSet.load("vignettes").select(arm="neutral", split="test")
        return StimulusSet(found.name, found.rows[:NEUTRAL_TEXTS])

    def edits(self, components: Sequence[Component]) -> list[Edit]:
        """What holds components at their neutral means."""
        return ablation(components, self.neutral)

    def lift(self, ablated: Ablation) -> Floats:
        """`[reply]`, lift of the emotion's held-out expressions under an ablation."""
        lift = self.lifts[ablated.emotion]
        of = [ablated.emotion, *(each.id for each in lift.replies)]
        return self._kept(ablated, "lift", of, lambda edits: lift.measure(edits).tolist())

    def language(self, ablated: Ablation) -> Floats:
        """`[text]`, nats per token of neutral texts."""
        texts = self.plain_texts
        return self._kept(
            ablated, "language", texts.ids, lambda e: neutral_nats(self.model, texts, e).tolist()
        )

    def reading(self, ablated: Sequence[Ablation]) -> list[dict[str, Floats]]:
        """Of each ablation metric -> `[row]` of test vignettes: shifts of their own label and of
        reception; in one sweep.
        """
        subject = self.subject
        swept = subject.sweep(
            self.rows,
            [self.edits(each.components) for each in ablated],
            readouts=("labels", "reception"),
            keep=self.folder / runs.STAGES,
            what="ablating for reading",
        )
        own = shift(swept, "labels", subject.emotion[self.rows])
        felt = swept.effects("reception")[..., 0]
        return [{"own_label": own[n], RECEPTION: felt[n]} for n in range(len(ablated))]

    @cached_property
    def rows(self) -> Any:
        """Rows of the subject that are read: test vignettes of the study's emotions."""
        rows, names = self.subject.rows("keyword_free", learned=False), self.subject.labels
        asked = [names.index(name) for name in self.emotions]
        return rows[np.isin(self.subject.emotion[rows], asked)]

    def _kept(self, ablated: Ablation, what: str, of: Sequence[str], measure: Any) -> Floats:
        names = [str(each) for each in ablated.components]
        key = {"stage": "validate", "what": what, "of": list(of), "key": self.key, "units": names}
        made = runs.stage(self.folder, key, lambda: measure(self.edits(ablated.components)))
        return np.array(made, dtype=np.float64)


def planned(
    model: Model,
    circuits: Mapping[tuple[str, str, int], Circuit],
    k: int,
    allocation: str,
    draws: int,
    seed: int,
) -> Iterator[Ablation]:
    """Everything that is ablated: curves of all sizes, and at size k every control.

    Args:
        circuits: (emotion, allocation, k) -> circuit.
        draws: random sets at size k; one at the others.
    """
    for (emotion, way, size), circuit in circuits.items():
        own = circuit.components
        yield Ablation(emotion, CIRCUIT, "", way, size, own)
        if way != allocation:
            continue
        yield Ablation(emotion, COMPLEMENT, "", way, size, complement(model, own))
        for draw in range(draws if size == k else 1):
            drawn = random_like(model, own, seed + draw, without=own)
            rest = complement(model, drawn)
            yield Ablation(emotion, RANDOM, str(draw), way, size, drawn)
            yield Ablation(emotion, RANDOM_COMPLEMENT, str(draw), way, size, rest)
        if size == k:
            for (other, _, _), theirs in circuits.items():
                if other != emotion and theirs.allocation == way and len(theirs) == k:
                    yield Ablation(emotion, OTHER, other, way, size, theirs.components)
