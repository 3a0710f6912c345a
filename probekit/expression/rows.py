"""Rows of `results.csv` of a study of expression: each figure with its interval and its control."""

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from probekit import stats
from probekit.evaluation import Row
from probekit.expression import measures
from probekit.expression.asking import ways
from probekit.expression.changing import CHANGES, CONTROL, GIVEN, TAKEN
from probekit.expression.measures import centred, crossed, log, related, swapped
from probekit.expression.readers import probabilities
from probekit.expression.reading import PLACES
from probekit.expression.study import Replies, Study
from probekit.expression.systems import KINDS, NOTHING, UNRELATED
from probekit.folds import permute_labels
from probekit.stats import Estimate

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
READ, JUDGED = "read_out", "judge"


def found(study: Study) -> Iterator[Row]:
    """Every row of the parts that were asked for, in their order."""
    parts = {"asking": Asking, "malleable": Malleable, "expressed": Expressed}
    for name in study.options.parts:
        for row in parts[name](study).rows():
            yield {"task": name, "split": "test", **row}


class _Part:
    """What the parts share: draws over scenarios of some test posts."""

    def __init__(self, study: Study) -> None:
        self.study, self.posts, self.options = study, study.posts, study.options

    def weights(self, rows: Ints) -> Floats:
        """`[1 + draw, row]`; one draw of a scenario whatever the rows."""
        clusters = [str(name) for name in self.posts.groups[rows]]
        return stats.bootstrap_weights(clusters, self.options.bootstraps, self.options.seed)

    def sizes(self, rows: Ints) -> Row:
        return {"n": len(rows), "clusters": len(np.unique(self.posts.groups[rows]))}

    def hit(self, table: Floats, labels: Ints) -> Floats:
        """`[row]`, 1 where the largest is the label; NaN where nothing was read."""
        best = np.where(np.isnan(table), -np.inf, table).argmax(1)
        return np.where(np.isnan(table).any(1), np.nan, (best == labels).astype(np.float64))

    def shuffled(self, rows: Ints) -> Ints:
        """`[permutation, row]`, labels permuted within each scenario."""
        labels, groups = self.posts.labels[rows], self.posts.groups[rows]
        return permute_labels(
            labels.astype(np.str_), "within", groups, np.full(len(rows), ""),
            self.options.permutations, self.options.seed,
        ).astype(np.int64)  # fmt: skip


def mean(values: Floats, weights: Floats) -> Floats:
    """`[draw]` mean of what is not NaN."""
    known = ~np.isnan(values)
    return stats.weighted_mean(values[known], weights[:, known])


class Asking(_Part):
    """The probe, the model when asked, and words alone, on the same posts."""

    def rows(self) -> Iterator[Row]:
        rows, hits = self.study.test, self._hits
        weights, sizes = self.weights(rows), self.sizes(rows)
        draws = {name: mean(hit, weights) for name, (_, hit) in hits.items()}
        for name, (cells, _) in hits.items():
            yield {"metric": "accuracy", **cells, **sizes, **Estimate.of(draws[name]).cells}
        yield from self._null(rows, sizes)
        for name, (cells, _) in hits.items():
            if name != "probe":
                above = Estimate.of(draws["probe"] - draws[name], against_zero=True).cells
                probe = {"condition": "probe", "method": "logistic", "target": cells["method"]}
                yield {"metric": "accuracy_above", **probe, **sizes, **above}
        for name, table in self._tables.items():
            cells = hits[name][0]
            one = np.zeros(len(rows), np.int64)
            auroc = stats.macro_auroc(table, self.posts.labels[rows], one, weights)
            yield {"metric": "auroc", **cells, **sizes, **Estimate.of(auroc).cells}
        yield from self._generated(rows, weights, sizes)

    @cached_property
    def _tables(self) -> dict[str, Floats]:
        """Scores `[test post, class]` of those that give some."""
        study = self.study
        return {
            "probe": study.base.logits["prompt"][study.test],
            "words": study.words,
            "likelihood": study.asked.likelihood[self._way][study.test],
        }

    @cached_property
    def _dev(self) -> Ints:
        return np.flatnonzero(~self.posts.test)

    @cached_property
    def _way(self) -> int:
        """The way of asking by likelihood that development posts chose."""
        tables, labels = self.study.asked.likelihood[:, self._dev], self.posts.labels[self._dev]
        return int(np.argmax([(table.argmax(1) == labels).mean() for table in tables]))

    @cached_property
    def _question(self) -> int:
        """The question whose written answers do best on development posts."""
        answers = self.study.asked.answers[:, self._dev]
        return int((answers == self.posts.labels[self._dev]).mean(1).argmax())

    @cached_property
    def _hits(self) -> dict[str, tuple[Row, Floats]]:
        labels, test = self.posts.labels[self.study.test], self.study.test
        said = self.study.asked.answers[self._question, test]
        cells = {
            "probe": {"condition": "probe", "method": "logistic"},
            "words": {"condition": "baseline", "method": "reference"},
            "likelihood": {"condition": "asking", "method": "likelihood",
                           "unit": ways()[self._way]},
        }  # fmt: skip
        found = {n: (cells[n], self.hit(table, labels)) for n, table in self._tables.items()}
        asked = {"condition": "asking", "method": "generation", "unit": str(self._question)}
        return {**found, "generation": (asked, (said == labels).astype(np.float64))}

    def _null(self, rows: Ints, sizes: Row) -> Iterator[Row]:
        best = self._tables["probe"].argmax(1)
        null = (self.shuffled(rows) == best).mean(1)
        cells = {"condition": "null", "method": "permutation", "k": len(null)}
        yield {"metric": "accuracy", **cells, **sizes, **Estimate.of_null(null).cells}

    def _generated(self, rows: Ints, weights: Floats, sizes: Row) -> Iterator[Row]:
        said, labels = self.study.asked.answers[self._question, rows], self.posts.labels[rows]
        cells = {"condition": "asking", "method": "generation", "unit": str(self._question)}
        valid = (said >= 0).astype(np.float64)
        yield {"metric": "coverage", **cells, **sizes,
               **Estimate.of(mean(valid, weights)).cells}  # fmt: skip
        right = np.where(said >= 0, said == labels, np.nan).astype(np.float64)
        if np.isnan(right).all():
            yield {"metric": "accuracy_of_valid", **cells, **sizes, "value": None}
            return
        told = Estimate.of(mean(right, weights)).cells
        yield {"metric": "accuracy_of_valid", **cells, **sizes, **told, "n": int(valid.sum())}


class Malleable(_Part):
    """What a system prompt does to the read-out, and to the reply."""

    def rows(self) -> Iterator[Row]:
        rows, count = self.study.few, self.options.paraphrases
        weights = self.weights(rows)
        versions = measures.resampled_versions(count, self.options.bootstraps, self.options.seed)
        tables = {NOTHING: [self._figures(self._without)]}
        for kind in KINDS:
            replies = [self.study.under(kind, number) for number in range(count)]
            tables[kind] = [self._figures(each) for each in replies]
        sizes = self.sizes(rows)
        for kind, each in tables.items():
            for key in each[0]:
                values = {name: np.stack([one[key] for one in t]) for name, t in tables.items()}
                place = {"position": key[0], "method": key[1], "metric": key[2]}
                own = self._draws(values[kind], weights, versions)
                common = {**place, "condition": kind, **sizes, "k": len(each)}
                yield {**common, **Estimate.of(own).cells}
                if kind != UNRELATED:
                    # Of one number they are built alike: the difference is paired.
                    shift = self._draws(values[kind] - values[UNRELATED], weights, versions)
                    told = Estimate.of(shift, against_zero=True).cells
                    yield {**common, "metric": f"{key[2]}_shift", **told}

    def _draws(self, values: Floats, weights: Floats, versions: Floats) -> Floats:
        own = versions if len(values) > 1 or versions.shape[1] == 1 else np.ones((len(weights), 1))
        return crossed(values, weights, own)

    @cached_property
    def _without(self) -> Replies:
        """Replies to the same posts without a system prompt of ours."""
        base, rows = self.study.base, self.study.few
        logits = {place: table[rows] for place, table in base.logits.items()}
        return Replies([base.texts[row] for row in rows], base.judged[rows], logits)

    def _figures(self, replies: Replies) -> dict[tuple[str, str, str], Floats]:
        """(position, method, metric) -> `[row]`."""
        labels, neutral = self.posts.labels[self.study.few], self.posts.neutral
        tables = {(place, READ): probabilities(replies.logits[place]) for place in PLACES}
        tables["reply", JUDGED] = replies.judged
        found = {}
        for key, table in tables.items():
            found[(*key, "own_probability")] = table[np.arange(len(labels)), labels]
            found[(*key, "emotionality")] = 1 - table[:, neutral]
            found[(*key, "agreement")] = self.hit(table, labels)
        return found


class Expressed(_Part):
    """Whether the reply follows what is read: correlation, and what changes do."""

    def rows(self) -> Iterator[Row]:
        yield from self._agreement()
        for within in (False, True):
            yield from self._predicted(within=within)
        for name in CHANGES:
            yield from self._changed(name)
        yield from self._mediated()

    @cached_property
    def _base(self) -> Replies:
        return self.study.base

    def _agreement(self) -> Iterator[Row]:
        """How often the reply's judged label is that of the post."""
        for name in ("", *self.posts.names):
            own = self.study.test
            if name:
                own = own[self.posts.labels[own] == self.posts.names.index(name)]
            hit = self.hit(self._base.judged[own], self.posts.labels[own])
            cells = {"condition": NOTHING, "method": JUDGED, "emotion": name, **self.sizes(own)}
            told = Estimate.of(mean(hit, self.weights(own))).cells
            yield {"metric": "agreement", **cells, **told}
        rows = self.study.test
        best = self._base.judged[rows].argmax(1)
        null = (self.shuffled(rows) == best).mean(1)
        cells = {"condition": "null", "method": "permutation", "k": len(null), **self.sizes(rows)}
        yield {"metric": "agreement", **cells, **Estimate.of_null(null).cells}

    def _predicted(self, *, within: bool) -> Iterator[Row]:
        """What is judged against what is read, and words; of posts of one label alone, or all."""
        rows = self.study.test[~np.isnan(self._base.judged[self.study.test]).any(1)]
        labels = self.posts.labels[rows] if within else None
        place = np.searchsorted(self.study.test, rows)
        tables = (
            log(self._base.judged[rows, : len(self.posts.names)]),
            self._base.logits["prompt"][rows],
            log(self.study.words[place]),
        )
        judged, read, words = (centred(table, labels) for table in tables)
        found = related(judged, read, words, self.weights(rows))
        ones = np.ones((1, len(rows)))
        order = swapped(labels, self.options.permutations, len(rows), self.options.seed)
        null = np.array([float(related(judged, read[o], words, ones).given[0]) for o in order])
        cells = {"source": "same_label" if within else "", **self.sizes(rows)}
        for metric, draws in found._asdict().items():
            p = stats.permutation_p(float(draws[0]), null) if metric == "given" else None
            told = {**Estimate.of(draws).cells, **({} if p is None else {"p": p})}
            yield {"metric": f"correlation_{metric}", "condition": "probe", **cells, **told}
        own = {"condition": "null", "method": "permutation", "k": len(null), **cells}
        yield {"metric": "correlation_given", **own, **Estimate.of_null(null).cells}

    def _changed(self, name: str) -> Iterator[Row]:
        """What a change does to the judged target, beside its control."""
        differences: dict[tuple[str, str], dict[str, Floats]] = {}
        sizes: Row = {}
        for condition in (name, name + CONTROL):
            change, replies = self.study.changed(condition)
            weights = self.weights(change.beside)
            sizes = self.sizes(change.beside)
            cells = {"condition": condition, **sizes}
            before = self._figures(self._base, change.beside, change.target)
            after = self._figures(replies, np.arange(len(change.rows)), change.target)
            for key, values in after.items():
                place = {"method": key[0], "metric": key[1], **cells}
                yield {**place, **Estimate.of(mean(values, weights)).cells}
                moved = mean(values - before[key], weights)
                differences.setdefault(key, {})[condition] = moved
                told = Estimate.of(moved, against_zero=True).cells
                yield {**place, "metric": f"{key[1]}_change", **told}
            same = [
                text == self._base.texts[row]
                for text, row in zip(replies.texts, change.beside, strict=True)
            ]
            told = Estimate.of(mean(np.array(same, dtype=np.float64), weights)).cells
            yield {"metric": "unchanged", "method": "text", **cells, **told}
        for key, own in differences.items():
            beyond = Estimate.of(own[name] - own[name + CONTROL], against_zero=True).cells
            place = {"method": key[0], "metric": f"{key[1]}_change_beyond_control"}
            yield {**place, "condition": name, **sizes, **beyond}

    def _figures(self, replies: Replies, rows: Ints, target: Ints) -> dict[tuple[str, str], Floats]:
        """(method, metric) -> `[row]`: the target's probability, judged and read."""
        every = np.arange(len(rows))
        read = probabilities(replies.logits["prompt"][rows])
        judged = replies.judged[rows]
        return {
            (JUDGED, "target_probability"): judged[every, target],
            (JUDGED, "agreement"): self.hit(judged, target),
            (READ, "target_probability"): read[every, target],
        }

    def _mediated(self) -> Iterator[Row]:
        """The effect of an emotional post instead of a neutral one, and what is given of it.

        Interventional effects of a mediator (Vig et al. 2020, arXiv 2004.12265): *given*, the
        neutral post with what the emotional one has in the classes' subspace; *taken*, the
        emotional post with what the neutral one has.
        """
        given, with_it = self.study.changed(GIVEN)
        taken, without = self.study.changed(TAKEN)
        weights, every = self.weights(taken.beside), np.arange(len(given.target))
        target, sizes = given.target, self.sizes(taken.beside)
        emotional, neutral = (self._base.judged[each.beside, target] for each in (taken, given))
        total = mean(emotional - neutral, weights)
        parts = {
            GIVEN: mean(with_it.judged[every, target] - neutral, weights),
            TAKEN: mean(emotional - without.judged[every, target], weights),
        }
        whole = Estimate.of(total, against_zero=True)
        yield {"metric": "total_effect", "method": JUDGED, **sizes, **whole.cells}
        for name, effect in parts.items():
            cells = {"method": JUDGED, "condition": name, **sizes}
            told = Estimate.of(effect, against_zero=True).cells
            yield {"metric": "indirect_effect", **cells, **told}
            if whole.low > 0:
                share = np.divide(effect, total, out=np.full_like(total, np.nan), where=total > 0)
                yield {"metric": "share_mediated", **cells, **Estimate.of(share).cells}
            else:  # A share of an effect that is not there means nothing.
                yield {"metric": "share_mediated", **cells, "value": None}
