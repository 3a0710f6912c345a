"""What words alone achieve on a corpus: hashed counts, learned window by window.

Texts are never in memory together, nor is a vocabulary: words are hashed into a fixed number of
columns, and one logistic regression against the rest is learned for each class by stochastic
gradient descent, at a few penalties. Which of them is the reference, the validation part says.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from probekit.corpus import Items
from probekit.minibatch.blocks import Bools, Ints

COLUMNS = 2**18
GRAMS = {"hashed_words": (1, 1), "hashed_ngrams": (1, 2)}
"""Baselines: words; words and pairs of neighbours."""
PENALTIES = (1e-4, 1e-5, 1e-6)
LEAST_ROWS, LEAST_EPOCHS = 20_000, 5
"""Rows that a fit sees at least, and epochs."""
Scores = NDArray[np.float64]


def learn_words(
    items: Items,
    labels: NDArray[np.str_],
    times: Ints,
    held_out: Bools,
    seed: int,
    advance: Callable[[int], None] = lambda _: None,
) -> dict[str, Scores]:
    """Log-odds of every text baseline at every penalty on the held-out items.

    Args:
        items: texts of the store.
        labels: `[item]`.
        times: `[item]`, how often an item is learned from in an epoch.
        held_out: `[item]`, what is predicted.
        seed: of the order.
        advance: called with the number of items read.

    Returns:
        "baseline/penalty" -> `[held-out row, class]`.
    """
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.linear_model import SGDClassifier

    readers = {
        # One-letter words such as "I" count too.
        name: HashingVectorizer(
            n_features=COLUMNS, ngram_range=grams, token_pattern=r"(?u)\b\w+\b", norm="l2"
        )
        for name, grams in GRAMS.items()
    }
    fits = {
        (name, penalty): SGDClassifier(loss="log_loss", alpha=penalty, random_state=seed)
        for name in GRAMS
        for penalty in PENALTIES
    }
    classes = np.unique(labels[times > 0])
    starts = np.cumsum([0, *(items.window_rows(n) for n in range(items.windows))])
    for epoch in range(max(LEAST_EPOCHS, -(-LEAST_ROWS // int(times.sum())))):
        random = np.random.default_rng([seed, epoch])
        for window in random.permutation(items.windows):
            rows = np.arange(int(starts[window]), int(starts[window + 1]))
            drawn = random.permutation(np.repeat(rows, times[rows]))
            if not len(drawn):
                continue
            texts = [item.text for item in items.window(int(window))]
            for name, reader in readers.items():
                counts = reader.transform(texts)[drawn - starts[window]]
                for penalty in PENALTIES:
                    fits[name, penalty].partial_fit(counts, labels[drawn], classes=classes)
            advance(len(drawn))
    found: dict[str, list[Scores]] = {f"{name}/{penalty:g}": [] for name, penalty in fits}
    for texts in _texts(items, held_out, starts):
        counts = {name: reader.transform(texts) for name, reader in readers.items()}
        for (name, penalty), fit in fits.items():
            said = fit.decision_function(counts[name])
            two = said if said.ndim == 2 else np.stack([-said, said], 1)
            found[f"{name}/{penalty:g}"].append(two)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _texts(items: Items, wanted: Bools, starts: Ints) -> Iterator[list[str]]:
    for window in range(items.windows):
        own = np.flatnonzero(wanted[starts[window] : starts[window + 1]])
        if len(own):
            held = items.window(window)
            yield [held[place].text for place in own]
