"""Whether the reply follows what is read: agreement, correlation, changes, mediation."""

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from probekit import stats
from probekit.evaluation import Row
from probekit.expression.changing import CHANGES, CONTROL, GIVEN, TAKEN
from probekit.expression.measures import centred, log, related, swapped
from probekit.expression.readers import probabilities
from probekit.expression.rows.part import JUDGED, READ, Part, mean
from probekit.expression.study import Replies
from probekit.expression.systems import NOTHING
from probekit.stats import Estimate

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Expressed(Part):
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
        rows = self.study.test[~np.isnan(self._base.judged[self.study.test]).any(1)]
        best = self._base.judged[rows].argmax(1)
        null = (self.shuffled(rows) == best).mean(1)
        cells = {"condition": "null", "method": "permutation", "k": len(null), **self.sizes(rows)}
        yield {"metric": "agreement", **cells, **Estimate.of_null(null).cells}

    def _predicted(self, *, within: bool) -> Iterator[Row]:
        """What is judged against what is read, and words; of posts of one label alone, or all."""
        rows = self.study.test[~np.isnan(self._base.judged[self.study.test]).any(1)]
        labels, groups = self.posts.labels[rows], self.posts.groups[rows]
        place = np.searchsorted(self.study.test, rows)
        tables = (
            log(self._base.judged[rows, : len(self.posts.names)]),
            self._base.logits["prompt"][rows],
            log(self.study.words[place]),
        )
        judged, read, words = (centred(table, labels if within else None) for table in tables)
        found = related(judged, read, words, self.weights(rows))
        ones = np.ones((1, len(rows)))
        count, seed = self.options.permutations, self.options.seed
        order = swapped(labels, groups, count, seed, within=within)
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
