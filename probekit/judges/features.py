"""What a trained judge reads of a text: emotion words, a sentence embedding, a model's states."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from probekit.activations import capture
from probekit.errors import UserError
from probekit.judges.encoder import SentenceEncoder
from probekit.judges.lexicon import LexiconJudge
from probekit.models import Model
from probekit.prompts import SLOT, Template

KIND, POOLING = "resid_post", "mean"
FRAME = Template("judge", f"Someone wrote: {SLOT}")
"""Around each text, so that even a text of one token has a token that is not the prompt's first.

The last token of a question about the feeling reads no better (Gemma 3 270M, layer 11, out of fold
on readings of generated text: kappa .53, the mean .55; at layer 13 .57 and .55).
"""


class Features(ABC):
    """Numbers of a text.

    Attributes:
        name: what the judge is called by.
        key: what makes the numbers, for the cache.
        reads_with: fingerprints of the causal models that are read.
    """

    name: str
    key: tuple[str, ...]
    reads_with: frozenset[str] = frozenset()
    _last: tuple[tuple[str, ...], NDArray[np.float32]] | None = None

    def of(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """`[text, d]`; asked for the same texts again, as judges that share features are, it is
        not read again.
        """
        asked = tuple(texts)
        if self._last is None or self._last[0] != asked:
            self._last = asked, self.read(asked)
        return self._last[1]

    @abstractmethod
    def read(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The same, read."""


class Words(Features):
    """Logarithms of the shares of the words that name each emotion, as `LexiconJudge` counts."""

    name = "words"

    def __init__(self) -> None:
        self.counts = LexiconJudge()
        self.key = ("words", *self.counts.identity)

    def read(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.log(self.counts.read(texts)).astype(np.float32)


class Embedding(Features):
    """Sentence embeddings, 384 numbers."""

    name = "embedding"

    def __init__(self, encoder: SentenceEncoder | None = None) -> None:
        self.encoder = encoder or SentenceEncoder()
        self.key = ("embedding", self.encoder.fingerprint)

    def read(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.encoder.encode(texts)


class States(Features):
    """States of a causal model at one layer (`resid_post`), their mean over a text's tokens.

    Raises:
        UserError: a layer that the model does not have.
    """

    def __init__(self, model: Model, layer: int) -> None:
        if not 0 <= layer < model.n_layers:
            raise UserError(f"layer {layer}: {model.name} has layers 0 to {model.n_layers - 1}")
        self.model, self.layer = model, layer
        self.name = f"probe({model.describe()['name']})"
        self.reads_with = frozenset({model.fingerprint})
        site = f"{KIND}.{layer}"
        self.key = (
            "states",
            model.fingerprint,
            str(model.dtype),
            site,
            POOLING,
            str(FRAME.pattern),
        )

    def read(self, texts: Sequence[str]) -> NDArray[np.float32]:
        read = capture(
            self.model,
            list(texts),
            [f"{KIND}.{self.layer}"],
            [POOLING],
            template=FRAME,
            truncate=True,
        )
        return read.layer(KIND, self.layer, POOLING)
