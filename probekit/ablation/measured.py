"""Figures of single units, as rows."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from probekit.ablation.replacing import Unit
from probekit.causal import RECEPTION, Floats, Row, Subject, adjusted, task_of

TESTED = ("own_label", RECEPTION)


class Measured:
    """Figures of single units on one half, `[place, item]` each; perhaps of their placebos."""

    def __init__(
        self,
        subject: Subject,
        rows: NDArray[np.int64],
        half: str,
        places: Sequence[tuple[Unit, str]],
        figures: dict[str, Floats],
        placebo: dict[str, Floats],
        position: str,
    ) -> None:
        self.subject, self.texts, self.half = subject, rows, half
        self.places, self.figures, self.position = places, figures, position
        self.placebo = placebo

    def means(self, metric: str) -> Floats:
        """`[place]`, the mean effect of each unit."""
        return self.figures[metric].mean(1)

    def only(self, kept: Sequence[int]) -> "Measured":
        """The same of some places."""
        figures, placebo = (
            {name: values[list(kept)] for name, values in each.items()}
            for each in (self.figures, self.placebo)
        )
        places = [self.places[n] for n in kept]
        return Measured(
            self.subject, self.texts, self.half, places, figures, placebo, self.position
        )

    @property
    def rows(self) -> list[Row]:
        """One row a unit, method and figure; on the test half with p and q."""
        out: list[Row] = []
        for metric, values in self.figures.items():
            if self.half == "dev" and metric == RECEPTION:
                continue  # Its probe was fitted on these very texts.
            out += self._tested("ablation", metric, values)
            if metric in self.placebo:
                out += self._tested("control", metric, self.placebo[metric])
                if metric in TESTED:
                    out += self._tested("difference", metric, values - self.placebo[metric])
        return out

    def _tested(self, condition: str, metric: str, values: Floats) -> list[Row]:
        """Rows of one figure; q over the units of a method."""
        tested = self.half == "test" and metric in TESTED
        found = self.subject.effects(values.T, self.texts, test=tested)
        rows = [
            self._place(condition, metric, *place) | estimate
            for place, estimate in zip(self.places, found, strict=True)
        ]
        for method in {method for _, method in self.places} if tested else ():
            adjusted([row for row in rows if row["method"] == method])
        return rows

    def _place(self, condition: str, metric: str, unit: Unit, method: str) -> Row:
        site = unit.sites[0]
        return {
            "task": task_of(metric),
            "metric": metric,
            "site": site.kind if len(unit.sites) == 1 else "resid_post",
            "layer": site.layer,
            "unit": "" if unit.unit is None else unit.unit,
            "position": self.position,
            "source": "" if condition == "ablation" else "random",
            "condition": condition,
            "method": method,
            "split": self.half,
        }
