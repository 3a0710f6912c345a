"""Text baselines: what words alone achieve, as features for the same probe on the same folds.

| name | features of a text |
|---|---|
| `bag_of_words` | word counts |
| `ngrams` | counts of words and pairs of neighbouring words |
| `char_ngrams` | counts of 2 to 4 characters inside words |
| `stop_words` | counts of function words only |
| `surface` | lengths, punctuation, capitals, digits, type-token ratio |
| `lexicon` | VADER's valence scores (Hutto & Gilbert 2014) |
| `static_embedding` | mean input embedding of the model |
| `surprisal` | mean, spread, largest, last and total surprisal under the model, in nats |

Vocabularies come from all texts, which leaks nothing: a word that training folds do not hold is a
constant column there and gets no weight.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from probekit.models import Model

Floats = NDArray[np.float64]
NAMES = (
    "bag_of_words",
    "ngrams",
    "char_ngrams",
    "stop_words",
    "surface",
    "lexicon",
    "static_embedding",
    "surprisal",
)
WITHOUT_MODEL = NAMES[:-2]
"""Those that need no model."""
COUNTS = frozenset({"bag_of_words", "ngrams", "char_ngrams", "stop_words"})
"""Baselines of counts: fitted as they are, since z-scores would blow up words seen once."""
SURPRISAL_LOGITS = 6e7
"""Most logits held at once when surprisal is computed (0.24 GB in float32)."""


@dataclass(frozen=True)
class Baseline:
    """One baseline's features `[item, d]`, and whether the probe z-scores them."""

    name: str
    features: Floats

    @property
    def standardize(self) -> bool:
        """Counts are left as they are."""
        return self.name not in COUNTS

    @cached_property
    def compact(self) -> Floats:
        """Features of the same fits in at most as many columns as there are texts.

        Turning columns onto their principal axes changes no L2-penalised fit, as long as they are
        not z-scored; standardised features are returned as they are.
        """
        n, d = self.features.shape
        if self.standardize or d <= n:
            return self.features
        left, sizes, _ = np.linalg.svd(self.features, full_matrices=False)
        kept = sizes > 1e-10 * sizes[0]
        kept[0] = True  # Texts without any stop word have a column of zeros, and tell nothing.
        return (left * sizes)[:, kept]


def text_baselines(
    texts: Sequence[str], model: Model, surprisals: Sequence[Floats] | None = None
) -> list[Baseline]:
    """All baselines of `NAMES`, in that order.

    Args:
        texts: `[item]`, without any template.
        model: gives the input embeddings and the surprisal.
        surprisals: `[item][token]` from `token_surprisals`, if already computed.
    """
    return [*word_baselines(texts), *model_baselines(texts, model, surprisals)]


def model_baselines(
    texts: Sequence[str], model: Model, surprisals: Sequence[Floats] | None = None
) -> list[Baseline]:
    """The baselines that need a model: mean input embedding, surprisal."""
    if surprisals is None:
        surprisals = token_surprisals(model, texts)
    static = Baseline("static_embedding", static_embeddings(model, texts))
    return [static, Baseline("surprisal", np.array([_summary(values) for values in surprisals]))]


def word_baselines(texts: Sequence[str]) -> list[Baseline]:
    """The baselines of `WITHOUT_MODEL`, in that order; `texts` is `[item]`."""
    tables = (
        _counts(texts),
        _counts(texts, ngram_range=(1, 2)),
        _counts(texts, analyzer="char_wb", ngram_range=(2, 4)),
        _stop_words(texts),
        np.array([_surface(text) for text in texts]),
        _valence(texts),
    )
    return [Baseline(name, table) for name, table in zip(WITHOUT_MODEL, tables, strict=True)]


def _counts(
    texts: Sequence[str],
    ngram_range: tuple[int, int] = (1, 1),
    analyzer: Literal["word", "char_wb"] = "word",
) -> Floats:
    from sklearn.feature_extraction.text import CountVectorizer

    if analyzer == "word":
        # One-letter words such as "I" count too.
        counter = CountVectorizer(ngram_range=ngram_range, token_pattern=r"(?u)\b\w+\b")
    else:
        counter = CountVectorizer(ngram_range=ngram_range, analyzer=analyzer)
    return counter.fit_transform(texts).toarray().astype(np.float64)  # type: ignore[union-attr]


def _stop_words(texts: Sequence[str]) -> Floats:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer

    counter = CountVectorizer(vocabulary=sorted(ENGLISH_STOP_WORDS), token_pattern=r"(?u)\b\w+\b")
    return counter.transform(texts).toarray().astype(np.float64)


def _surface(text: str) -> list[float]:
    words = re.findall(r"\w+", text)
    sentences = re.findall(r"[.!?]+(?:\s|$)", text)
    lengths = [len(word) for word in words] or [0]
    marks = [text.count(mark) for mark in (",", ".", "?", "!", ";", ":", "'", '"', "-")]
    return [
        float(len(text)),
        float(len(words)),
        float(len(sentences)),
        len(words) / max(1, len(sentences)),
        float(np.mean(lengths)),
        float(max(lengths)),
        len({word.lower() for word in words}) / max(1, len(words)),
        float(sum(character.isupper() for character in text)),
        float(sum(character.isdigit() for character in text)),
        *map(float, marks),
    ]


def _valence(texts: Sequence[str]) -> Floats:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    analyzer = SentimentIntensityAnalyzer()
    scores = [analyzer.polarity_scores(text) for text in texts]
    return np.array([[score[key] for key in ("compound", "neg", "neu", "pos")] for score in scores])


def static_embeddings(model: Model, texts: Sequence[str]) -> Floats:
    """Mean input embedding of each text's tokens, `[item, d_model]`, without special tokens."""
    table = model.hf.get_input_embeddings()
    rows = []
    for prompt in model.encode(texts, truncate=True):
        ids = [
            i for i, special in zip(prompt.input_ids, prompt.special, strict=True) if not special
        ]
        with torch.no_grad():
            values = table(torch.tensor(ids, device=model.device))
        rows.append(values.float().mean(0).cpu().numpy())
    return np.stack(rows).astype(np.float64)


@torch.no_grad()
def token_surprisals(
    model: Model, texts: Sequence[str], advance: Callable[[int], None] = lambda _: None
) -> list[Floats]:
    """Surprisal of each token given those before it, in nats, `[item][token]`.

    The first token has none; a text of one token gives an empty row. The whole model is run, so
    logit soft-caps and scalings count.
    """
    prompts = model.encode(texts, truncate=True)
    order = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))
    out: list[Floats] = [np.empty(0)] * len(prompts)
    vocabulary = int(model.config.vocab_size)
    start = 0
    while start < len(order):
        stop = start + 1
        while (
            stop < len(order)
            and (stop + 1 - start) * len(prompts[order[stop]]) * vocabulary <= SURPRISAL_LOGITS
        ):
            stop += 1
        rows = order[start:stop]
        batch = model.collate([prompts[row] for row in rows])
        logits = model.hf(**batch.inputs(), use_cache=False).logits.float()
        # The logits are the largest thing in the room: no copy of them is made.
        given = logits[:, :-1].gather(-1, batch.input_ids[:, 1:, None])[..., 0]
        nats = logits.logsumexp(-1)[:, :-1] - given
        for place, row in enumerate(rows):
            out[row] = nats[place, : len(prompts[row]) - 1].double().cpu().numpy()
        advance(len(rows))
        start = stop
    return out


def _summary(nats: Floats) -> list[float]:
    if not len(nats):
        return [0.0] * 5
    return [float(f) for f in (nats.mean(), nats.std(), nats.max(), nats[-1], nats.sum())]
