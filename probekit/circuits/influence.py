"""`measure_influence`: how far each sublayer can bring an emotion to what the model says next.

α·σ·v is added to what a sublayer writes at the last token of neutral texts (σ: the median residual
norm there, v: the emotion's direction right behind it). Two readouts that no scored layer or item
went into say what comes of it: the log-odds of the emotion's word as the next one, and a probe of
which emotion that was fitted on another arm of the vignettes. The paper reads the mean direction of
layers 21 to 25 and finds that layers 21 to 25 have the most influence.

Influence is the slope of the response where it is linear in α; both are kept, so that it can be
seen. The null is the slope of random directions of equal length.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from probekit.causal import Sizes, Subject, log_odds
from probekit.circuits.components import INNER, OUTER, Values, stream_kind
from probekit.circuits.scores import Floats
from probekit.directions import Directions
from probekit.edits import Add, Edit
from probekit.models import Model
from probekit.runs import Progress
from probekit.sites import Kind, Site
from probekit.steering import residual_scale
from probekit.stimuli import StimulusSet

ALPHAS = (0.05, 0.1, 0.2, 0.4)
NULL_ALPHA, PEERS = 0.1, 2
READOUTS = ("labels", "category")
NEAR_LINEAR = 0.25
"""A median response that differs by less from what the smallest α says is called linear."""


@dataclass(frozen=True, eq=False)
class Influence:
    """Responses of every sublayer.

    Attributes:
        emotions: in the arrays' order.
        responses: readout -> `[emotion, sublayer, layer, alpha, item]`, change of the emotion's
            log-odds in nats; sublayers are attention and MLP.
        null: readout -> `[peer, emotion, sublayer, layer, item]`, of random directions at
            `NULL_ALPHA`.
        items: scenarios of the neutral texts.
        notes: what a reader should know.
    """

    emotions: tuple[str, ...]
    responses: dict[str, Floats]
    null: dict[str, Floats]
    items: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def linearity(self, readout: str = "labels") -> Floats:
        """`[alpha]`: response over α, as a share of that at the smallest; median over sublayers."""
        mean = self.responses[readout].mean(-1) / np.array(ALPHAS)
        # Sublayers without a response say nothing of how it bends.
        strong = np.abs(mean[..., 0]) >= np.median(np.abs(mean[..., 0]))
        return np.median(mean[strong] / mean[strong][:, :1], axis=0)

    def linear(self, readout: str = "labels") -> tuple[float, ...]:
        """The α up to which the response is linear; the smallest always counts."""
        near = np.abs(self.linearity(readout) - 1) <= NEAR_LINEAR
        return tuple(np.array(ALPHAS)[np.cumprod(near).astype(bool)].tolist())

    def slopes(self, readout: str = "labels") -> Floats:
        """`[emotion, sublayer, layer, item]`, nats per σ, least squares through zero."""
        alphas = np.array(self.linear(readout))
        given = self.responses[readout][..., : len(alphas), :]
        return np.einsum("eslai,a->esli", given, alphas) / (alphas**2).sum()

    def null_slopes(self, readout: str = "labels") -> Floats:
        """`[peer, emotion, sublayer, layer]` of random directions."""
        return self.null[readout].mean(-1) / NULL_ALPHA

    def of(self, emotion: str, readout: str = "labels") -> Values:
        """Kind -> `[layer]`, mean slope of one emotion's sublayers."""
        found = self.slopes(readout)[self.emotions.index(emotion)].mean(-1)
        return dict(zip(INNER, found, strict=True))


def measure_influence(
    model: Model,
    directions: dict[Kind, Directions],
    *,
    prompts: int = 16,
    seed: int = 0,
    keep: Path | None = None,
    progress: Progress = lambda *_: None,
) -> Influence:
    """Inject every emotion's direction behind every sublayer, at every α, and random ones.

    Args:
        directions: kind of stream -> directions, from `learn`.
        prompts: neutral test vignettes, the first; no direction was learned from them.
        seed: of random directions and the probe's halves.
        keep: a folder; a sweep that was killed goes on.
        progress: told of edits of prompts.
    """
    emotions = next(iter(directions.values())).emotions
    # The probe is of the arm that names emotions; what was scored is of texts that do not.
    texts = StimulusSet.load("vignettes")
    subject = Subject(model, texts, Sizes(seed=seed), progress, arm="keyword_rich")
    rows = subject.rows("neutral", learned=False)[:prompts]
    peers = {
        kind: [each.peer(seed + 1 + n) for n in range(PEERS)] for kind, each in directions.items()
    }
    sigma = {kind: residual_scale(model, each.kind) for kind, each in directions.items()}
    edits: list[Edit] = []
    for kind in INNER:
        stream = stream_kind(model, kind)
        sets = [(directions[stream], alpha) for alpha in ALPHAS]
        sets += [(peer, NULL_ALPHA) for peer in peers[stream]]
        edits += [
            Edit(
                Site(OUTER[kind], layer),
                -1,
                Add(alpha * sigma[stream].norm(layer) * given.of(emotion, layer)),
            )
            for given, alpha in sets
            for emotion in emotions
            for layer in range(model.n_layers)
        ]
    swept = subject.sweep(rows, edits, readouts=READOUTS, keep=keep, what="influence")
    shape = (len(INNER), len(ALPHAS) + PEERS, len(emotions), model.n_layers, len(rows))
    responses, null = {}, {}
    for name in swept.values:
        gains = _gains(swept.values[name], swept.clean[name], subject.labels, emotions)
        # An edit is for one emotion, and read for it.
        table = gains.reshape(*shape[:-1], len(rows), len(emotions))
        own = np.einsum("saelie->saeli", table)
        responses[name] = np.moveaxis(own[:, : len(ALPHAS)], (2, 0, 3, 1), (0, 1, 2, 3))
        null[name] = np.moveaxis(own[:, len(ALPHAS) :], (1, 2, 0, 3), (0, 1, 2, 3))
    scenarios = tuple(map(str, subject.scenario[rows]))
    return Influence(emotions, responses, null, scenarios, tuple(swept.notes))


def _gains(values: Floats, clean: Floats, labels: Sequence[str], emotions: Sequence[str]) -> Any:
    """Change of each emotion's log-odds, `[edit, item, emotion]`."""
    found = []
    for emotion in emotions:
        place = np.full(values.shape[1], labels.index(emotion))
        found.append(log_odds(values, place) - log_odds(clean, place))
    return np.stack(found, axis=-1)
