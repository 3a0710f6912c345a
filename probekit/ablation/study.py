"""The study itself: rank on one half, measure on the other, then the best together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from probekit.ablation.measured import Measured
from probekit.ablation.replacing import (
    Replacing,
    Unit,
    Units,
    allowed,
    every,
    ranking_method,
)
from probekit.causal import RECEPTION, Floats, Row, Sizes, Subject, shift, task_of
from probekit.errors import UserError
from probekit.readouts import LabelLogOdds
from probekit.sweep import Swept
from probekit.sweep.attribution import attribute_units

LEVEL = 0.05
DRAWS = 20
TOGETHER = (1, 2, 4, 8, 16, 32, 64)
CANDIDATES, NEURONS, CHECKED = 512, 64, 64
"""Of all neurons, so many are picked by attribution, so many of these by their effect on dev; and
on so many at random attribution is compared with exact effects."""


@dataclass(frozen=True)
class Ablation:
    """What an ablation run is asked for.

    Attributes:
        units: kinds of unit.
        methods: what replaces a unit; "random" is a vector of equal length. Each runs beside its
            placebo.
        positions: "last" token of the prompt, or "all" of the text's own.
        sizes: template, draws and seed.
    """

    units: tuple[Units, ...] = ("heads", "sublayers", "layers")
    methods: tuple[str, ...] = ("zero", "mean", "resample")
    positions: Literal["last", "all"] = "last"
    sizes: Sizes = field(default_factory=Sizes)


class Study:
    """Ablations on the texts of the set's first emotional arm."""

    def __init__(self, subject: Subject, options: Ablation, keep: Path) -> None:
        self.subject, self.options, self.keep = subject, options, keep
        self.replacing = Replacing(subject, options.positions)
        self.notes: list[str] = []
        self.first_words: dict[str, NDArray[np.int64]] = {}
        arm = subject.arms[0]
        self.halves = {
            "dev": subject.rows(arm, learned=True),
            "test": subject.rows(arm, learned=False),
        }
        if empty := [name for name, rows in self.halves.items() if not len(rows)]:
            raise UserError(
                f"{subject.stimuli.name}: no text of arm {arm!r} in its {empty[0]} half"
            )

    def base(self) -> Iterator[Row]:
        """How often the first emotion word is the text's own, as the sweeps read it unedited."""
        for half, first in self.first_words.items():
            rows = self.halves[half]
            hit = (first == self.subject.emotion[rows]).astype(np.float64)
            found = self.subject.effects(hit[:, None], rows)[0]
            yield {
                "task": "category",
                "metric": "top1",
                "condition": "baseline",
                "split": half,
                **found,
            }

    def rows(self, kind: Units) -> list[Row]:
        """Single units on both halves, then the best together on the test half."""
        units = every(kind, self.subject.model.sites)
        if kind == "neurons":
            return self._neurons(units)
        ranking = self._measure(units, [self._ranked_by(kind)], "dev")
        effects = self._measure(units, allowed(kind, self.options.methods), "test", placebo=True)
        rows = [*ranking.rows, *effects.rows, *self._bounds(kind, len(units))]
        return rows + (self._together(kind, ranking, units) if kind == "heads" else [])

    def _neurons(self, units: list[Unit]) -> list[Row]:
        """Those that attribution picks, then dev, and at last the best together."""
        picked, attributed = self._attributed(units)
        ranking = self._measure(picked, [self._ranked_by("neurons")], "dev")
        best = sorted(np.argsort(ranking.means("own_label"))[:NEURONS].tolist())
        methods = allowed("neurons", self.options.methods)
        effects = self._measure([picked[n] for n in best], methods, "test")
        rows = [*ranking.only(best).rows, *effects.rows, *self._bounds("neurons", len(best))]
        return [*attributed, *rows, *self._together("neurons", ranking, units)]

    def _attributed(self, units: list[Unit]) -> tuple[list[Unit], list[Row]]:
        """The neurons that help most on dev to first order, and how good an estimate that is."""
        rows = self.halves["dev"]
        try:
            readout = LabelLogOdds(self.subject.model, self.subject.words, first_token=True)
        except UserError as why:
            self.notes.append(f"neurons were drawn at random, not picked by attribution: {why}")
            rng = np.random.default_rng([self.options.sizes.seed, 3])
            drawn = rng.choice(len(units), min(len(units), CANDIDATES), replace=False)
            return [units[n] for n in sorted(drawn.tolist())], []
        self.notes += [f"attribution reads the {note}" for note in readout.notes]
        whole = [Unit((site,)) for site in self.subject.model.sites.expand(["mlp_post"])]
        edits = self.replacing.edits(whole, self._ranked_by("neurons"), rows)
        found = attribute_units(
            self.subject.model,
            [self.subject.prompts[row] for row in rows],
            edits,
            readout,
            [self.subject.words[n] for n in self.subject.emotion[rows]],
            sample=CHECKED,
            seed=self.options.sizes.seed,
        )
        strongest = np.argsort(found.effects.mean(1).ravel())[:CANDIDATES]
        row = {"condition": "baseline", "source": "neurons", "metric": "attribution_r"}
        row |= {"value": found.correlation, "n": len(found.sample), "split": "dev"}
        return [units[n] for n in sorted(strongest.tolist())], [row]

    def _ranked_by(self, kind: Units) -> str:
        return ranking_method(kind, self.options.methods)

    def _measure(
        self, units: Sequence[Unit], methods: Sequence[str], half: str, *, placebo: bool = False
    ) -> Measured:
        """Every unit by every method on one half, and beside its placebo where asked."""
        rows = self.halves[half]
        places = [(unit, method) for method in methods for unit in units]
        edits = [
            self.replacing.edits([unit], method, rows, placebo=turned)
            for turned in (False, True)[: 1 + placebo]
            for unit, method in places
        ]
        figures = self._figures(self._sweep(half, edits, f"ablating on {half}"), rows)
        own = {name: values[: len(places)] for name, values in figures.items()}
        other = {name: values[len(places) :] for name, values in figures.items() if placebo}
        return Measured(self.subject, rows, half, places, own, other, self.options.positions)

    def _sweep(self, half: str, edits: Sequence[Any], what: str) -> Swept:
        readouts, rows = ("labels", "reception", "kl"), self.halves[half]
        swept = self.subject.sweep(rows, edits, readouts=readouts, keep=self.keep, what=what)
        self.notes += swept.notes
        self.first_words[half] = swept.clean["labels"].argmax(-1)
        return swept

    def _figures(self, swept: Swept, rows: NDArray[np.int64]) -> dict[str, Floats]:
        after, before = swept.values["labels"], swept.clean["labels"]
        out = {
            "own_label": shift(swept, "labels", self.subject.emotion[rows]),
            "top1_changed": (after.argmax(-1) != before.argmax(-1)).astype(np.float64),
            "kl": swept.values["kl"][..., 0],
        }
        if "reception" in swept.values:
            out[RECEPTION] = swept.effects("reception")[..., 0]
        return out

    def _bounds(self, kind: Units, count: int) -> list[Row]:
        """The smallest p there can be, and what it must stay below for one unit to survive."""
        clusters = len(set(self.subject.scenario[self.halves["test"]]))
        flips = self.options.sizes.permutations
        smallest = max(1 / (1 + flips), 2.0 ** (1 - clusters))
        place = {"condition": "baseline", "source": kind, "clusters": clusters, "n": count}
        return [
            {**place, "metric": "smallest_p", "value": smallest},
            {**place, "metric": "fdr_bound", "value": LEVEL / count},
        ]

    def _together(self, kind: Units, ranking: Measured, units: Sequence[Unit]) -> list[Row]:
        """The best k units at once against k random ones of them all, on the test half."""
        rows = self.halves["test"]
        order = np.argsort(ranking.means("own_label"))
        sizes = [k for k in TOGETHER if k < len(order)]
        rng = np.random.default_rng([self.options.sizes.seed, 6])
        sets = [(k, [ranking.places[n][0] for n in order[:k]]) for k in sizes]
        for k in sizes:
            draws = [rng.choice(len(units), k, replace=False) for _ in range(DRAWS)]
            sets += [(k, [units[n] for n in draw]) for draw in draws]
        edits = [self.replacing.edits(chosen, self._ranked_by(kind), rows) for _, chosen in sets]
        figures = self._figures(self._sweep("test", edits, f"ablating {kind} together"), rows)
        out: list[Row] = []
        for metric, values in figures.items():
            found = self.subject.effects(values[: len(sizes)].T, rows)
            means = values[len(sizes) :].mean(1).reshape(len(sizes), DRAWS)
            for place, k in enumerate(sizes):
                common = self._joint(kind, metric, k)
                out.append(common | {"condition": "ablation", "method": "top"} | found[place])
                low, high = np.quantile(means[place], [0.025, 0.975])
                drawn = {
                    "value": float(means[place].mean()),
                    "low": float(low),
                    "high": float(high),
                }
                out.append(
                    common | {"condition": "control", "method": "random_k", "n": len(rows)} | drawn
                )
        return out

    def _joint(self, kind: Units, metric: str, k: int) -> Row:
        return {
            "task": task_of(metric),
            "metric": metric,
            "site": "z" if kind == "heads" else "mlp_post",
            "position": self.options.positions,
            "k": k,
            "split": "test",
        }
