"""What a projection alone tells of texts it was not learned from, emotion by emotion.

Two questions for each direction:
- *categorisation*: do texts of its emotion project farther than texts of the others?
- *reception*: do they project farther than the neutral texts of their own scenarios?
Each is an AUROC; beside it stand the text reference on the same rows, the whole estimation with
chance's labels, and random directions. The emotion "" is the mean over emotions.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from probekit import evaluation, stats
from probekit.evaluation import Row, Scorer
from probekit.quality.fits import Fits, project
from probekit.quality.sample import Sample, Strings
from probekit.questions import Question
from probekit.stats import Estimate
from probekit.tasks import NEUTRAL

Floats = NDArray[np.float64]
RANDOM = "random"
"""The control of random directions."""


class Reader:
    """One question's scored items, as places in the sample."""

    def __init__(self, scorer: Scorer, sample: Sample) -> None:
        self.scorer, self.sample = scorer, sample
        place = {int(row): item for item, row in enumerate(sample.rows)}
        asked = scorer.task.rows[scorer.mask]
        self.items = np.array([place[int(row)] for row in asked], dtype=np.int64)
        self.about = sample.of_scenario()[self.items]

    def figures(
        self, scores: Floats, emotion: Strings | None = None, *, draws: bool = True
    ) -> Floats:
        """AUROCs `[1 + emotion, 1 + draw]` of scores `[item, emotion]`; the first is their mean.

        Args:
            scores: of all items of the sample.
            emotion: `[item]` of the sample, those of chance.
            draws: also of bootstrap draws.
        """
        given = self.sample.emotion if emotion is None else emotion
        labels, scored = given[self.items], scores[self.items]
        weights = self.scorer.weights if draws else self.scorer.weights[:1]
        found = []
        for column, name in enumerate(self.sample.emotions):
            if self.scorer.task.name == "reception":
                inside, positive = self.about == name, labels != NEUTRAL
            else:
                inside, positive = np.ones(len(labels), bool), labels == name
            own = (scored[inside, column], positive[inside], self.scorer.strata[inside])
            found.append(stats.auroc(*own, weights[:, inside]))
        each = np.stack(found)
        return np.concatenate([stats.mean_known(each)[None], each])

    def words(self, predictions: Floats) -> Floats:
        """The same of the text reference's predictions `[scored item, output]`."""
        full = predictions
        if self.scorer.task.name == "reception":
            full = np.repeat(predictions, len(self.sample.emotions), axis=1)
        out = np.full((len(self.sample), len(self.sample.emotions)), np.nan)
        out[self.items] = stats.full_probabilities(full)
        return self.figures(out)


def curve(reader: Reader, scores: Floats) -> Floats:
    """AUROCs `[layer, 1 + emotion, 1 + draw]` of scores `[item, emotion, layer]`."""
    return np.stack([reader.figures(scores[..., n]) for n in range(scores.shape[-1])])


def best_layer(found: Floats) -> int:
    """The place of the layer whose mean AUROC is largest, from `curve`."""
    return int(found[:, 0, 0].argmax())


def shuffled(question: Question, sample: Sample, count: int, seed: int) -> Iterator[Strings]:
    """Emotions `[item]` of the sample as chance deals them out, as the question permutes."""
    task = question.task
    place = {int(row): item for item, row in enumerate(sample.rows)}
    items = np.array([place.get(int(row), -1) for row in task.rows], dtype=np.int64)
    about = sample.of_scenario()
    for numbers in task.permuted(count, seed):
        out = sample.emotion.copy()
        labels = task.classes[numbers]
        if task.name == "reception":
            labels = np.where(labels == NEUTRAL, NEUTRAL, about[items])
        out[items[items >= 0]] = labels[items >= 0]
        yield out


def rows(
    fits: Fits,
    question: Question,
    words: Mapping[str, Sequence[Sequence[float]]],
    chosen: int | None,
) -> Iterator[Row]:
    """Rows of one question: every target arm and split, every layer, and the chosen layer.

    Args:
        fits: of one estimator.
        question: of which emotion, or whether any.
        words: the text reference's predictions by "target/split".
        chosen: place of the layer that was chosen on dev; None for dev itself, whose figures
            choose it and so are given without tests.
    """
    sample = fits.sample
    shown = {
        key: Reader(scorer, sample)
        for key, scorer in question.scorers.items()
        if f"{key[0]}/{key[1]}" in words and (key[1] == "dev") == (chosen is None)
    }
    if not shown:
        return
    tests = np.unique(np.concatenate([sample.fold[each.items] for each in shown.values()]))
    scores = fits.scores({n: v for n, v in fits.folds.items() if n in tests})
    null, peers = _chance(fits, question, shown, chosen is not None)
    own = {"condition": "direction", "method": fits.estimator}
    chance = {**own, "condition": "null"}
    names = ("", *sample.emotions)
    for (target, split), reader in shown.items():
        found = curve(reader, scores)
        text = reader.words(np.array(words[f"{target}/{split}"]))
        random = peers[target, split]
        for column, name in enumerate(names):
            places = [{"layer": n, "emotion": name} for n in fits.layers]
            draws = [{"auroc": figure[column]} for figure in found]
            beside = [text[column]] * len(places)
            relabeled = null[target, split][:, column]
            args = (reader.scorer, draws, places, beside, relabeled, own, chance)
            yield from evaluation.curve_rows(*args)
            yield from _random_rows(reader.scorer, places, random[:, column], own)
        if chosen is not None:
            at = (found[chosen], text, null[target, split][..., chosen], random[..., chosen])
            yield from _headline(reader.scorer, names, *at, own, chance)


def _headline(
    scorer: Scorer,
    names: Sequence[str],
    found: Floats,
    text: Floats,
    null: Floats,
    random: Floats,
    own: Row,
    chance: Row,
) -> Iterator[Row]:
    """Rows of the chosen layer, without its number; q of the emotions is over them.

    Args:
        found, text: `[1 + emotion, 1 + draw]`.
        null, random: `[draw, 1 + emotion]`.
    """
    for part in (slice(0, 1), slice(1, None)):
        places = [{"layer": "", "emotion": name} for name in names[part]]
        draws = [{"auroc": figure} for figure in found[part]]
        beside = list(text[part])
        relabeled = null[:, part]
        yield from evaluation.curve_rows(scorer, draws, places, beside, relabeled, own, chance)
        yield from _random_rows(scorer, places, random[:, part], own)


def word_rows(
    question: Question, sample: Sample, words: Mapping[str, Sequence[Sequence[float]]]
) -> Iterator[Row]:
    """Rows of the text reference, emotion by emotion: they are of no layer and no estimator."""
    told = {"condition": "baseline", "method": "reference", "metric": "auroc"}
    for (target, split), scorer in question.scorers.items():
        if split == "dev" or f"{target}/{split}" not in words:
            continue
        found = Reader(scorer, sample).words(np.array(words[f"{target}/{split}"]))
        for name, draws in zip(("", *sample.emotions), found, strict=True):
            yield scorer.row(**told, emotion=name, **Estimate.of(draws).cells)


def _chance(
    fits: Fits, question: Question, shown: Mapping[tuple[str, str], Reader], tested: bool
) -> tuple[dict[tuple[str, str], Floats], dict[tuple[str, str], Floats]]:
    """AUROCs `[draw, 1 + emotion, layer]` with chance's labels, and of random directions."""
    sample, options = fits.sample, fits.options
    empty = np.empty((0, 1 + len(sample.emotions), len(fits.layers)))
    if not tested:
        return dict.fromkeys(shown, empty), dict.fromkeys(shown, empty)
    asked = np.zeros(len(sample), bool)
    for reader in shown.values():
        asked[reader.items] = True

    def figures(scores: Floats, emotion: Strings | None) -> dict[tuple[str, str], Floats]:
        layers = range(scores.shape[-1])
        return {
            key: np.stack(
                [each.figures(scores[..., n], emotion, draws=False)[:, 0] for n in layers], axis=-1
            )
            for key, each in shown.items()
        }

    relabeled = [
        figures(fits.scores(fits.by_fold(emotion, asked)), emotion)
        for emotion in shuffled(question, sample, options.permutations, options.seed)
    ]
    random = [
        figures(project(fits.states, fits.peer(number)), None) for number in range(options.peers)
    ]
    return tuple(
        {key: np.stack([each[key] for each in drawn]) if drawn else empty for key in shown}
        for drawn in (relabeled, random)
    )  # type: ignore[return-value]


def _random_rows(scorer: Scorer, places: Sequence[Row], drawn: Floats, own: Row) -> Iterator[Row]:
    """Rows of random directions, `[peer, place]`: their mean, and 95 % of them."""
    cells = {**own, "condition": "control", "unit": RANDOM, "metric": "auroc", "k": len(drawn)}
    for number, place in enumerate(places if len(drawn) else ()):
        yield scorer.row(**cells, **place, **Estimate.of_null(drawn[:, number]).cells)
