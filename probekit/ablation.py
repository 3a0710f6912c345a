"""Ablation with its controls: which heads, sublayers, layers and neurons a read-out needs.

Units are ranked on one half of the texts (dev) and measured on the other (test), so that the best
of many is not reported with its luck. Beside every unit stands the same unit replaced by a random
vector of equal length, and beside the best k together, k random units of the same kind, 20 times.

With `positions="all"` the text's own tokens are changed (not the first, an attention sink), and
what replaces a unit is a mean over such tokens.

- `own_label`: change of the log-odds of the text's own emotion among the emotion words. Emotions
  are balanced, so what only pushes one word nearly cancels; what flattens or sharpens all of them
  does not, and shows in the random control too. Negative: the unit helps.
- `reception_shift`: change of the log-odds "emotional" of a probe at the last block.
- `top1_changed`: share of texts whose first emotion word changes. `kl`: of the next token, nats.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from probekit import runs
from probekit.causal import (
    LAST,
    RECEPTION,
    Floats,
    Row,
    Sizes,
    Subject,
    adjusted,
    norm_matched,
    shift,
    task_of,
)
from probekit.edits import Edit, Operation, ProjectOut, Set, Zero
from probekit.errors import UserError, unknown
from probekit.models import Model
from probekit.pooling import tokens
from probekit.runs import Progress
from probekit.sites import KINDS, Site
from probekit.stimuli import StimulusSet
from probekit.sweep import Swept

Units = Literal["heads", "sublayers", "layers", "neurons"]
UNITS: tuple[Units, ...] = ("heads", "sublayers", "layers", "neurons")
READ = {
    "heads": ("z",),
    "sublayers": ("attn_out", "mlp_out"),
    "layers": ("attn_out", "mlp_out"),
    "neurons": ("mlp_post",),
}
"""Sites whose states replace a unit."""
METHODS = ("zero", "mean", "resample", "project", "random")
RANKED_BY = "mean"
LEVEL = 0.05
DRAWS = 20
TOGETHER = (1, 2, 4, 8, 16, 32, 64)
NEURONS = 64
"""Neurons measured on the test half, the strongest of eight times as many drawn at random."""


@dataclass(frozen=True)
class Unit:
    """What is ablated: heads or neurons of a site, or all of it; a layer is both its sublayers."""

    sites: tuple[Site, ...]
    unit: int | None = None


@dataclass(frozen=True)
class Ablation:
    """What an ablation run is asked for.

    Attributes:
        units: kinds of unit.
        methods: what replaces a unit; "random" is the control and always runs.
        positions: "last" token of the prompt, or "all" of the text's own.
        sizes: template, draws and seed.
    """

    units: tuple[Units, ...] = ("heads", "sublayers", "layers")
    methods: tuple[str, ...] = ("zero", "mean", "resample")
    positions: Literal["last", "all"] = "last"
    sizes: Sizes = field(default_factory=Sizes)


def run_ablation(
    model: Model,
    stimuli: StimulusSet,
    out: Path,
    options: Ablation,
    *,
    command: str = "",
    progress: Progress = lambda *_: None,
) -> Path:
    """Run the study and write its run folder; one that was killed goes on.

    Raises:
        UserError: a set without labels, an unknown kind of unit or method, or `out` holds another
            run.
    """
    for given, accepted, what in (
        (options.units, UNITS, "kind of unit"),
        (options.methods, METHODS, "method"),
        ((options.positions,), ("last", "all"), "positions"),
    ):
        if strange := [name for name in given if name not in accepted]:
            raise unknown(what, strange[0], accepted)
    kinds = [site for kind in options.units for site in READ[kind]]
    subject = Subject(model, stimuli, options.sizes, progress, kinds)
    asked = {name: getattr(options, name) for name in ("units", "methods", "positions")}
    identity = subject.identity("ablate", asked)
    runs.open_run(out, identity)
    study = _Study(subject, options, out / runs.STAGES)
    effects = [row for kind in options.units for row in study.rows(kind)]
    rows = [*subject.base, *study.base(), *effects]
    subject.write(out, [{"target": subject.arms[0], **row} for row in rows], "ablate")
    manifest = subject.manifest(
        "ablate", command, identity, notes=list(dict.fromkeys(study.notes)), **asked
    )
    runs.write_json(out / runs.MANIFEST, manifest)
    return out


class _Study:
    """Ablations on the texts of the set's first emotional arm."""

    def __init__(self, subject: Subject, options: Ablation, keep: Path) -> None:
        self.subject, self.options, self.keep = subject, options, keep
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
        units = self._units(kind)
        ranking = self._measure(units, [self._ranking_method(kind)], "dev")
        methods = [m for m in (*self.options.methods, "random") if self._allows(kind, m)]
        measured, shown = units, ranking
        if kind == "neurons":
            best = sorted(np.argsort(ranking.means("own_label"))[:NEURONS])
            measured, shown = [units[n] for n in best], ranking.only(best)
        effects = self._measure(measured, list(dict.fromkeys(methods)), "test")
        rows = [*shown.rows, *effects.rows, *self._bounds(kind, len(measured))]
        if kind in ("heads", "neurons"):
            rows += self._together(kind, units, ranking)
        return rows

    def _units(self, kind: Units) -> list[Unit]:
        sites = self.subject.model.sites
        layers = range(sites.n_layers)
        match kind:
            case "heads":
                heads = range(sites.units("z"))
                return [Unit((Site("z", layer),), head) for layer in layers for head in heads]
            case "sublayers":
                return [Unit((site,)) for site in sites.expand(["attn_out", "mlp_out"])]
            case "layers":
                both = [(Site("attn_out", layer), Site("mlp_out", layer)) for layer in layers]
                return [Unit(pair) for pair in both]
            case _:
                return self._neurons()

    def _neurons(self) -> list[Unit]:
        """A random sample of neurons, from which the dev half picks the strongest."""
        sites, rng = self.subject.model.sites, self._rng(3)
        width = sites.units("mlp_post")
        every = sites.n_layers * width
        flat = rng.choice(every, min(every, 8 * NEURONS), replace=False)
        return [Unit((Site("mlp_post", int(n) // width),), int(n) % width) for n in sorted(flat)]

    def _allows(self, kind: Units, method: str) -> bool:
        """Whether a method says something of a kind: no direction is taken out of a head."""
        if method == "random":  # One number has no direction: k random neurons are the control.
            return kind != "neurons"
        return method != "project" or kind in ("sublayers", "layers")

    def _ranking_method(self, kind: Units) -> str:
        allowed = [m for m in self.options.methods if m != "random" and self._allows(kind, m)]
        return RANKED_BY if RANKED_BY in allowed else [*allowed, "zero"][0]

    def _measure(self, units: Sequence[Unit], methods: Sequence[str], half: str) -> "_Measured":
        """Every unit by every method on one half."""
        rows = self.halves[half]
        places = [(unit, method) for method in methods for unit in units]
        edits = [self._edits([unit], method, rows) for unit, method in places]
        swept = self._sweep(half, edits, f"ablating on {half}")
        return _Measured(self.subject, rows, half, places, self._figures(swept, rows), self.options)

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

    def _edits(self, units: Sequence[Unit], method: str, rows: NDArray[np.int64]) -> list[Edit]:
        where: Any = -1
        if self.options.positions == "all":  # Those that the replacing states are the mean of.
            where = [tokens(self.subject.prompts[row], "mean") for row in rows]
        return [
            Edit(
                site,
                where,
                self._operation(site, unit.unit, method, rows),
                units=None if unit.unit is None else (unit.unit,),
            )
            for unit in units
            for site in unit.sites
        ]

    def _operation(
        self, site: Site, unit: int | None, method: str, rows: NDArray[np.int64]
    ) -> Operation:
        """What a unit is replaced by; means and directions come from the dev half."""
        if method == "zero":
            return Zero()
        states = self.subject.state(site, unit, self._pooling)
        learned = self.subject.learned
        match method:
            case "mean":
                return Set.mean(states[learned])
            case "resample":
                return Set.resample(states, self._others(rows))
            case "project":
                neutral = learned & (self.subject.emotion < 0)
                emotional = learned & (self.subject.emotion >= 0)
                if not neutral.any():
                    raise UserError("projecting reception out needs neutral texts in the set")
                return ProjectOut(states[emotional].mean(0) - states[neutral].mean(0))
            case _:
                return Set(norm_matched(states[rows], self._noise(site, unit)), "random")

    def _others(self, rows: NDArray[np.int64]) -> list[int]:
        """For each text another one of the dev half."""
        order = self._rng(4).permutation(self.halves["dev"])
        after = dict(zip(order.tolist(), np.roll(order, 1).tolist(), strict=True))
        spare = np.resize(order, len(rows)).tolist()
        return [after.get(row, other) for row, other in zip(rows.tolist(), spare, strict=True)]

    @property
    def _pooling(self) -> str:
        return LAST if self.options.positions == "last" else "mean"

    def _noise(self, site: Site, unit: int | None) -> np.random.Generator:
        """Of the unit alone: the two sublayers of a layer get directions of their own."""
        whole = (0, KINDS.index(site.kind)) if unit is None else (unit,)
        return self._rng(5, site.layer, *whole)

    def _rng(self, *what: int) -> np.random.Generator:
        return np.random.default_rng([self.options.sizes.seed, *what])

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

    def _together(self, kind: Units, units: Sequence[Unit], ranking: "_Measured") -> list[Row]:
        """The best k units at once against k random ones of them all, on the test half."""
        rows = self.halves["test"]
        order = np.argsort(ranking.means("own_label"))
        method = self._ranking_method(kind)
        sizes = [k for k in TOGETHER if k < len(units)]
        rng = self._rng(6)
        sets = [(k, [units[n] for n in order[:k]]) for k in sizes]
        for k in sizes:
            draws = [rng.choice(len(units), k, replace=False) for _ in range(DRAWS)]
            sets += [(k, [units[n] for n in draw]) for draw in draws]
        edits = [self._edits(chosen, method, rows) for _, chosen in sets]
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


class _Measured:
    """Figures of single units on one half."""

    def __init__(
        self,
        subject: Subject,
        rows: NDArray[np.int64],
        half: str,
        places: Sequence[tuple[Unit, str]],
        figures: dict[str, Floats],
        options: Ablation,
    ) -> None:
        self.subject, self.texts, self.half = subject, rows, half
        self.places, self.figures, self.options = places, figures, options

    def means(self, metric: str) -> Floats:
        """`[place]`, the mean effect of each unit."""
        return self.figures[metric].mean(1)

    def only(self, kept: Sequence[int]) -> "_Measured":
        """The same of some places."""
        figures = {name: values[list(kept)] for name, values in self.figures.items()}
        places = [self.places[n] for n in kept]
        return _Measured(self.subject, self.texts, self.half, places, figures, self.options)

    @property
    def rows(self) -> list[Row]:
        """One row a unit, method and figure; on the test half with p and q."""
        out: list[Row] = []
        for metric, values in self.figures.items():
            if self.half == "dev" and metric == RECEPTION:
                continue  # Its probe was fitted on these very texts.
            tested = self.half == "test" and metric in ("own_label", RECEPTION)
            found = self.subject.effects(values.T, self.texts, test=tested)
            own = [
                self._place(metric, *place) | estimate
                for place, estimate in zip(self.places, found, strict=True)
            ]
            for method in {row["method"] for row in own} if tested else ():
                adjusted([row for row in own if row["method"] == method])
            out += own
        return out

    def _place(self, metric: str, unit: Unit, method: str) -> Row:
        site = unit.sites[0]
        return {
            "task": task_of(metric),
            "metric": metric,
            "site": site.kind if len(unit.sites) == 1 else "resid_post",
            "layer": site.layer,
            "unit": "" if unit.unit is None else unit.unit,
            "position": self.options.positions,
            "condition": "control" if method == "random" else "ablation",
            "method": method,
            "split": self.half,
        }
