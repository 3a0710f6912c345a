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
TOGETHER = 8192
"""Texts in memory at once: every call of the fit goes over all columns some times."""
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
        for windows in _together(random.permutation(items.windows), starts):
            rows, texts = _texts(items, windows, times > 0, starts)
            drawn = random.permutation(np.repeat(np.arange(len(rows)), times[rows]))
            if not len(drawn):
                continue
            for name, reader in readers.items():
                counts = reader.transform(texts)[drawn]
                for penalty in PENALTIES:
                    fit = fits[name, penalty]
                    fit.partial_fit(counts, labels[rows[drawn]], classes=classes)
            advance(len(drawn))
    found: dict[str, list[Scores]] = {f"{name}/{penalty:g}": [] for name, penalty in fits}
    for windows in _together(np.arange(items.windows), starts):
        _, texts = _texts(items, windows, held_out, starts)
        if not texts:
            continue
        counts = {name: reader.transform(texts) for name, reader in readers.items()}
        for (name, penalty), fit in fits.items():
            said = fit.decision_function(counts[name])
            two = said if said.ndim == 2 else np.stack([-said, said], 1)
            found[f"{name}/{penalty:g}"].append(two)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _together(order: Ints, starts: Ints) -> Iterator[list[int]]:
    """Windows in their order, as many as make enough items."""
    held: list[int] = []
    for window in order.tolist():
        held.append(window)
        if sum(int(starts[each + 1] - starts[each]) for each in held) >= TOGETHER:
            yield held
            held = []
    if held:
        yield held


def _texts(items: Items, windows: list[int], wanted: Bools, starts: Ints) -> tuple[Ints, list[str]]:
    """Places and texts of the wanted items of some windows."""
    rows: list[int] = []
    texts: list[str] = []
    for window in windows:
        for place, item in enumerate(items.window(window), int(starts[window])):
            if wanted[place]:
                rows.append(place)
                texts.append(item.text)
    return np.array(rows, np.int64), texts
