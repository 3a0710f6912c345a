"""`connect`: which heads feed which neurons, by exact path effects.

What a head writes at the last read-out token, less what it writes in neutral texts, is taken out of
the input of one MLP alone; its neurons' activations say what came along this path. Every other
component stays as it was, so the effect is of the path from the head straight to the neuron (path
patching; Goldowsky-Dill et al. 2023, arXiv 2304.05969). Heads are query heads: keys and values that
several of them share (GQA) are not touched.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from probekit import stats
from probekit.circuits.activities import POOLING, SCALED, ReadOut, activity
from probekit.circuits.circuit import Circuit, random_like
from probekit.circuits.components import (
    INNER,
    Component,
    Values,
    columns,
    stream_kind,
    written_by,
)
from probekit.circuits.graph import Edge, Graph, Node
from probekit.circuits.heads import until_read
from probekit.circuits.scores import Floats
from probekit.directions import Directions
from probekit.directions.words import tokens_written
from probekit.edits import Add, Edit
from probekit.head import Head
from probekit.models import Model
from probekit.prompts import Encoded
from probekit.readouts import Projection
from probekit.sites import Kind, Site
from probekit.stimuli import StimulusSet
from probekit.store import Activations
from probekit.sweep import sweep

TOKENS, TEXTS = 6, 3


@dataclass(frozen=True, eq=False)
class Material:
    """What paths are measured on.

    Attributes:
        model: the model.
        prompts: `[item]` texts of the emotion, up to their last read-out token.
        clusters: `[item]` scenarios.
        states: activations at that token.
        neutral: kind -> `[layer, width]`, scaled activations in neutral texts.
        directions: kind of stream -> directions.
    """

    model: Model
    prompts: tuple[Encoded, ...]
    clusters: tuple[str, ...]
    states: Activations
    neutral: Values
    directions: Mapping[Kind, Directions]

    @classmethod
    def of(
        cls,
        model: Model,
        texts: Sequence[ReadOut],
        clusters: Sequence[str],
        neutral: Values,
        directions: Mapping[Kind, Directions],
    ) -> "Material":
        """Read the texts at their last read-out token."""
        prompts = tuple(until_read(text) for text in texts)
        ends = [ReadOut(prompt, (len(prompt) - 1,)) for prompt in prompts]
        states = activity(model, ends)
        return cls(model, prompts, tuple(clusters), states, neutral, directions)

    def write(self, head: Component) -> Floats:
        """`[item, d_model]`, what a head writes beyond what it writes in neutral texts."""
        where = columns(self.model, head.site, [head.unit])
        given = self.states.layer("z", head.layer, SCALED)[:, where].astype(np.float64)
        beyond = given - self.neutral["z"][head.layer][where]
        return beyond @ written_by(self.model, head.site, [head.unit])

    def worth(self, neuron: Component, emotion: str) -> Floats:
        """`[item]`, what a neuron writes along the emotion's direction per unit of activation."""
        vector = self.directions["resid_post"].of(emotion, neuron.layer).astype(np.float64)
        (weight,) = written_by(self.model, neuron.site, [neuron.unit])
        own, scaled = (
            self.states.layer("mlp_post", neuron.layer, pooling)[:, neuron.unit].astype(np.float64)
            for pooling in (POOLING, SCALED)
        )
        scale = np.divide(scaled, own, out=np.ones_like(own), where=own != 0)
        return scale * float(weight @ vector)


def path_effects(
    given: Material, emotion: str, heads: Sequence[Component], neurons: Sequence[Component]
) -> dict[tuple[Component, Component], Floats]:
    """(head, neuron) -> `[item]`, what the neuron writes along the direction because of the head.

    Pairs in which the neuron cannot see the head are left out.
    """
    model, found = given.model, {}
    entry: Kind = "resid_mid" if "resid_mid" in model.sites.kinds else "resid_pre"
    writes = {head: given.write(head) for head in heads}
    for layer in sorted({neuron.layer for neuron in neurons}):
        own = [neuron for neuron in neurons if neuron.layer == layer]
        # A parallel block's MLP reads the stream before its own attention has written.
        before = [
            h for h in heads if h.layer < layer or (h.layer == layer and entry == "resid_mid")
        ]
        if not before:
            continue
        one_hot = np.eye(model.sites.width(Site("mlp_post", layer)))[[n.unit for n in own]]
        swept = sweep(
            model,
            given.prompts,
            [Edit(Site(entry, layer), -1, Add(-writes[head])) for head in before],
            {"neurons": Projection(Site("mlp_post", layer), one_hot, [str(n) for n in own])},
        )
        for place, neuron in enumerate(own):
            worth = given.worth(neuron, emotion)
            for row, head in enumerate(before):
                found[head, neuron] = -swept.effects("neurons")[row, :, place] * worth
    return found


def connect(
    given: Material,
    circuit: Circuit,
    count: int,
    vignettes: tuple[StimulusSet, Activations],
    *,
    bootstraps: int = 1000,
    seed: int = 0,
) -> Graph:
    """The graph of a circuit's best heads and neurons.

    Args:
        count: of heads and of neurons, at most.
        vignettes: texts and their activations, to say on which a component writes most.
        bootstraps, seed: of intervals, over scenarios, and of random heads.
    """
    heads, neurons = (
        [each for each in circuit.components if each.kind == kind][:count] for kind in INNER
    )
    found = path_effects(given, circuit.emotion, heads, neurons)
    drawn = random_like(given.model, heads, seed, without=heads)
    null = path_effects(given, circuit.emotion, drawn, neurons)
    weights = stats.bootstrap_weights(given.clusters, bootstraps, seed)
    edges = []
    for (head, neuron), values in found.items():
        draws = weights @ values / weights.sum(1)
        low, high = np.quantile(draws[1:], [0.025, 0.975])
        edges.append(Edge(str(head), str(neuron), float(values.mean()), float(low), float(high)))
    sizes = [abs(float(values.mean())) for values in null.values()]
    scores = dict(zip(circuit.components, circuit.scores, strict=True))
    unembedding = Head(given.model)
    nodes = tuple(
        _node(given, circuit.emotion, each, scores[each], vignettes, unembedding)
        for each in (*heads, *neurons)
    )
    return Graph(
        circuit.emotion,
        given.model.public_name,
        nodes,
        tuple(edges),
        float(np.quantile(sizes, 0.95)) if sizes else None,
        len(given.prompts),
    )


def _node(
    given: Material,
    emotion: str,
    component: Component,
    score: float,
    vignettes: tuple[StimulusSet, Activations],
    unembedding: Head,
) -> Node:
    model = given.model
    where = columns(model, component.site, [component.unit])
    weight = written_by(model, component.site, [component.unit])
    stimuli, states = vignettes
    stream = stream_kind(model, component.kind)
    vector = given.directions[stream].of(emotion, component.layer).astype(np.float64)
    along = states.layer(component.kind, component.layer, SCALED)[:, where] @ (weight @ vector)
    order = np.argsort(-along, kind="stable")[:TEXTS]
    texts = [
        (float(along[n]), stimuli.rows[n].emotion or "neutral", stimuli.texts[n]) for n in order
    ]
    # A neuron writes one vector; of a head the part that is along its mean write in the emotion.
    own = given.states.layer(component.kind, component.layer, SCALED)[:, where].mean(0) @ weight
    words = tokens_written(model, own.astype(np.float32), TOKENS, head=unembedding)
    return Node(
        str(component),
        component.kind,
        component.layer,
        component.unit,
        score,
        tuple(word.text for word in words),
        tuple(texts),
    )
