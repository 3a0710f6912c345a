"""What is read from a prompt, changed: erased, added, given to another post, or taken away.

Every change reaches the prompt's last token and what is written after it, and stands beside a
control that is as large and has nothing to do with the label.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probekit.depth import middle_third
from probekit.edits import Edit, Response, Rotated
from probekit.erasure import LEACE
from probekit.expression.readers import Reader
from probekit.expression.reading import States
from probekit.expression.texts import Posts
from probekit.models import Model
from probekit.sites import Site
from probekit.steering.scale import residual_scale
from probekit.steering.steering import Drive, Part, Steering

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
KIND = "resid_post"
ERASED, ADDED, GIVEN, TAKEN = "erased", "added", "given", "taken"
CHANGES = (ERASED, ADDED, GIVEN, TAKEN)
CONTROL = " control"


@dataclass(frozen=True, eq=False)
class Moved(Drive):
    """A vector added at one layer.

    Attributes:
        of: fingerprint of the model.
        layer: where; vector: `[d]`.
    """

    of: str
    layer: int
    vector: NDArray[np.float32]

    @property
    def fingerprint(self) -> str:
        return self.of

    @property
    def idle(self) -> bool:
        return not self.vector.any()

    def parts(self) -> Iterator[Part]:
        yield Part(Site(KIND, self.layer), "add", self.vector, 1.0)


@dataclass(frozen=True)
class Change:
    """Posts that are replied to while something is changed.

    Attributes:
        name: what results call it; how: in words, for the key of its stage.
        rows: `[reply]`, which post is the prompt.
        beside: `[reply]`, the post whose reply, nothing changed, it is held against.
        target: `[reply]`, the class that the change is about.
        drives: what is done to each row; edits: to all of them.
    """

    name: str
    how: str
    rows: Ints
    beside: Ints
    target: Ints
    drives: Sequence[Drive] | None = None
    edits: Sequence[Edit] = ()


@dataclass(frozen=True)
class Changing:
    """Makes the changes of a study.

    Attributes:
        states: `[post, layer, d]` at each prompt's last token, of all layers.
        reader: the probe of these states.
        dose: of what is added, at every layer of the middle third.
    """

    model: Model
    posts: Posts
    states: States
    reader: Reader
    dose: float
    seed: int

    def of(self, name: str) -> Change:
        """A change by its name, or its control."""
        kind, control = name.removesuffix(CONTROL), name.endswith(CONTROL)
        if kind == ERASED:
            return self._erased(name, control=control)
        if kind == ADDED:
            return self._added(name, control=control)
        return self._moved(name, kind, control=control)

    @property
    def _layers(self) -> tuple[int, ...]:
        return middle_third(self.model.n_layers)

    def _erased(self, name: str, *, control: bool) -> Change:
        """LEACE of the classes; the control turns each of its changes in a random direction."""
        posts, dev, layers = self.posts, ~self.posts.test, self._layers
        found = LEACE().update(self.states[dev][:, list(layers)], posts.labels[dev]).erasers
        erasing = [eraser.operation() for eraser in found]
        turned = [Rotated(each, self.seed + n) for n, each in enumerate(erasing)]
        edits = [
            Edit(Site(KIND, layer), Response(), operation)
            for layer, operation in zip(layers, turned if control else erasing, strict=True)
        ]
        rows = np.flatnonzero(posts.test & (posts.labels != posts.neutral))
        how = f"LEACE{', each change turned' if control else ''}"
        return Change(name, how, rows, rows, posts.labels[rows], edits=edits)

    def _added(self, name: str, *, control: bool) -> Change:
        """Every class's direction in neutral posts; the control, a random one for each reply."""
        posts = self.posts
        neutral = np.flatnonzero(posts.test & (posts.labels == posts.neutral))
        classes = [k for k in range(len(posts.names)) if k != posts.neutral]
        scale, dev = residual_scale(self.model, KIND), ~posts.test
        states, labels = self.states[dev].astype(np.float64), posts.labels[dev]
        apart = [states[labels == k].mean(0) - states.mean(0) for k in classes]
        steered = []
        for vectors in apart:
            unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
            own = {layer: unit[layer].astype(np.float32) for layer in self._layers}
            steered.append(Steering(own, scale, self.dose))
        rows, target = np.repeat(neutral, len(classes)), np.tile(classes, len(neutral))
        drives = steered * len(neutral)
        if control:
            drives = [drive.random(self.seed + n) for n, drive in enumerate(drives)]
        how = f"dose {self.dose}{', a random direction a reply' if control else ''}"
        return Change(name, how, rows, rows, target.astype(np.int64), drives)

    def _moved(self, name: str, kind: str, *, control: bool) -> Change:
        """What a post and its scenario's neutral one differ in, along the classes' subspace."""
        posts, place = self.posts, self.reader.place
        pairs = list(self._pairs())
        emotional, neutral = (np.array(side, dtype=np.int64) for side in zip(*pairs, strict=True))
        dev = ~posts.test
        basis = self.reader.subspace(self.states[dev], posts.labels[dev])
        gap = self.states[emotional, place].astype(np.float64) - self.states[neutral, place]
        vectors = gap @ basis.T @ basis
        if control:
            drawn = np.random.default_rng([self.seed, 1]).standard_normal(vectors.shape)
            sizes = np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors = drawn / np.linalg.norm(drawn, axis=1, keepdims=True) * sizes
        rows, sign = (neutral, 1) if kind == GIVEN else (emotional, -1)
        drives = [
            Moved(self.model.fingerprint, place, sign * vector)
            for vector in vectors.astype(np.float32)
        ]
        how = "subspace of class means"
        return Change(name, how, rows, rows, posts.labels[emotional], drives)

    def _pairs(self) -> Iterator[tuple[int, int]]:
        """Every emotional test post with the neutral one of its scenario."""
        posts = self.posts
        neutral = {
            str(posts.groups[row]): int(row)
            for row in np.flatnonzero(posts.test & (posts.labels == posts.neutral))
        }
        for row in np.flatnonzero(posts.test & (posts.labels != posts.neutral)):
            if (group := str(posts.groups[row])) in neutral:
                yield int(row), neutral[group]
