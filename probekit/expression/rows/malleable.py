"""What system prompts do to the read-out and to the reply, beside unrelated ones."""

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from probekit.evaluation import Row
from probekit.expression.measures import crossed, crossed_p, resampled_versions
from probekit.expression.readers import probabilities
from probekit.expression.reading import PLACES
from probekit.expression.rows.part import JUDGED, READ, Part
from probekit.expression.study import Replies
from probekit.expression.systems import CALM, EMOTIONAL, KINDS, NOTHING, UNRELATED
from probekit.stats import Estimate

Floats = NDArray[np.float64]
LESS = {
    NOTHING: {UNRELATED: "shift"},
    EMOTIONAL: {UNRELATED: "shift", CALM: "less_calm"},
    CALM: {UNRELATED: "shift"},
}
"""Kind -> kinds that it is held against -> what its metrics are called then."""


class Malleable(Part):
    """What a system prompt does to the read-out, and to the reply."""

    def rows(self) -> Iterator[Row]:
        rows, options, count = self.study.few, self.options, self.options.paraphrases
        weights, scenarios = self.weights(rows), self.posts.groups[rows].tolist()
        versions = resampled_versions(count, options.bootstraps, options.seed)
        tables = {NOTHING: [self._figures(self._without)]}
        for kind in KINDS:
            replies = [self.study.under(kind, number) for number in range(count)]
            tables[kind] = [self._figures(each) for each in replies]
        for kind, each in tables.items():
            for key in each[0]:
                values = {name: np.stack([one[key] for one in t]) for name, t in tables.items()}
                common = {"position": key[0], "method": key[1], "condition": kind,
                          **self.sizes(rows), "k": len(each)}  # fmt: skip
                own = self._draws(values[kind], weights, versions)
                yield {**common, "metric": key[2], **Estimate.of(own).cells}
                for other, name in LESS.get(kind, {}).items():
                    # Of one number they are built alike: the difference is paired.
                    apart = values[kind] - values[other]
                    told = Estimate.of(self._draws(apart, weights, versions)).cells
                    p = crossed_p(apart, scenarios, options.permutations, options.seed)
                    yield {**common, "metric": f"{key[2]}_{name}", **told, "p": p}

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
