"""What the causal studies share: a set as prompts, its readouts, and effects with intervals.

Three readouts stand side by side, all at the prompt's last token: the log-odds of the emotion
words as the next ones, a probe of which emotion, and a probe of emotional against neutral. The
probes are fitted at the last block, at or above every edit, on rows that no effect is claimed of.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from probekit import runs, stats
from probekit.activations import capture_cached
from probekit.errors import UserError
from probekit.folds import grouped_folds
from probekit.models import Model
from probekit.probes import LayerProbes
from probekit.prompts import TEMPLATES, Encoded, Template
from probekit.readouts import LabelLogits, NextTokenKL, Readout, probe_score
from probekit.runs import Progress
from probekit.sites import Site
from probekit.stimuli import StimulusSet, Taxonomy
from probekit.store import Activations, ActivationStore
from probekit.sweep import Intervention, Swept, sweep
from probekit.tasks import EMOTIONAL_ARMS, NEUTRAL

Floats = NDArray[np.float64]
Row = dict[str, Any]
LAST = "-1"
RECEPTION = "reception_shift"
PROBE_C = 0.01
"""Penalty of the probes that read an edit's effect: fixed, so that nothing is chosen for them."""


@dataclass(frozen=True)
class Sizes:
    """What a causal study is asked for beside its own choices.

    Attributes:
        template: the prompt around each text; its end is where everything is read.
        bootstraps, permutations: draws of intervals; sign flips of p-values.
        seed: of sources, controls, draws and flips.
    """

    template: Template = TEMPLATES["feeling"]
    bootstraps: int = 1000
    permutations: int = 9999
    seed: int = 0

    def describe(self) -> dict[str, Any]:
        """JSON-able, for the manifest."""
        return {
            "template": self.template.describe(),
            "bootstrap": self.bootstraps,
            "permutations": self.permutations,
            "seed": self.seed,
        }


class Subject:
    """A model and a set, ready for edits.

    Attributes:
        prompts: `[row]`.
        learned: `[row]`, rows that probes and rankings learn from; effects come from the others.
        labels: the set's emotions.
        words: the word for each of them, the vocabulary of the log-odds.
        emotion: `[row]`, place of each row's emotion in `labels`, -1 for neutral rows.
        readouts: "labels", "category", "reception", "kl"; the middle two where the set allows.
        read_at: the site of the probes.

    Args:
        kinds: sites whose states are needed, every layer of them; read in one pass.
        arm: the emotional arm that the probes learn from (default: the set's first).
    """

    def __init__(
        self,
        model: Model,
        stimuli: StimulusSet,
        sizes: Sizes,
        progress: Progress,
        kinds: Iterable[str] = (),
        arm: str | None = None,
    ) -> None:
        self.model, self.stimuli, self.sizes, self.progress = model, stimuli, sizes, progress
        self.kinds = sorted({"resid_post", *kinds})
        self._loaded: dict[tuple[str, str], Activations] = {}
        self.arm, self.scenario = stimuli.column("arm"), stimuli.groups
        emotions = stimuli.column("emotion")
        self.labels = tuple(sorted(set(emotions) - {NEUTRAL, ""}))
        if len(self.labels) < 2:
            raise UserError(
                f"{stimuli.name} names fewer than two emotions: patching and ablation need labels"
            )
        self.emotion = np.array([_place(self.labels, name) for name in emotions])
        self.prompts = model.encode(stimuli.texts, sizes.template, ids=stimuli.ids)
        self.learned = self._learned()
        self.read_at = Site("resid_post", model.n_layers - 1)
        self.words = spoken(self.labels)
        self.readouts: dict[str, Readout] = {"labels": LabelLogits(model, self.words)}
        self.base: list[Row] = []
        self._fit_probes(self.arms[0] if arm is None else arm)
        self.readouts["kl"] = NextTokenKL(model)

    def _learned(self) -> NDArray[np.bool_]:
        """The dev split, or every second fold of scenarios where a set has no split."""
        split = self.stimuli.column("split")
        if "test" in split and (split != "test").any():
            return split != "test"
        names = np.array([*self.labels, NEUTRAL])[self.emotion]
        return grouped_folds(self.scenario, names, 4, self.sizes.seed) % 2 == 0

    def rows(self, arm: str, *, learned: bool) -> NDArray[np.int64]:
        """Places of an arm's rows, of the half that is learned from or of the other."""
        named = (self.emotion >= 0) | (arm == NEUTRAL)
        return np.flatnonzero((self.arm == arm) & (self.learned == learned) & named)

    @property
    def arms(self) -> list[str]:
        """Emotional arms of the set ("" where it has none)."""
        there = [arm for arm in EMOTIONAL_ARMS if arm in self.arm]
        return there or [""]

    def state(
        self, site: Site, unit: int | None = None, pooling: str = LAST
    ) -> NDArray[np.float32]:
        """`[row, d]` of all texts at a site, or at one head or neuron of it.

        At the last token of the prompt, or the `mean` over the text's own.
        """
        key = (site.kind, pooling)
        if key not in self._loaded:
            self._loaded[key] = self._store.load(*key)
        states = self._loaded[key].layer(site.kind, site.layer, pooling)
        if unit is None:
            return states
        each = states.shape[1] // self.model.sites.units(site.kind)
        return states[:, unit * each : (unit + 1) * each]

    @cached_property
    def _store(self) -> ActivationStore:
        return capture_cached(
            self.model,
            self.stimuli,
            self.kinds,
            [LAST, "mean"],
            self.sizes.template,
            advance=runs.counting(self.progress, "reading", len(self.stimuli)),
        )

    def _fit_probes(self, arm: str) -> None:
        """Probes of category and reception at the last block, and what they reach on new rows."""
        states = self.state(self.read_at)
        print_ = self.model.fingerprint
        questions = {
            "category": (
                (self.arm == arm) & (self.emotion >= 0),
                np.array([*self.labels, NEUTRAL])[self.emotion],
            ),
            "reception": (
                (self.arm == arm) | (self.arm == NEUTRAL),
                np.where(self.arm == NEUTRAL, "0", "emotional"),
            ),
        }
        for name, (asked, classes) in questions.items():
            train, test = asked & self.learned, asked & ~self.learned
            if len(np.unique(classes[train])) < 2:
                continue
            probe = LayerProbes(C=PROBE_C).fit(states[train][:, None], classes[train])
            self.readouts[name] = probe_score(self.model, probe, self.read_at, fingerprint=print_)
            scores = probe.decision_function(states[test][:, None])[:, 0]
            scores = scores if scores.ndim == 2 else scores[:, None]
            truth = np.searchsorted(probe.classes_, classes[test])
            self.base.append(
                {
                    "task": name,
                    "condition": "baseline",
                    "metric": "auroc",
                    "method": "probe",
                    "source": arm,
                    **self.interval(
                        lambda w, s=scores, t=truth: stats.macro_auroc(
                            s, t, np.zeros(len(t), np.int64), w
                        ),
                        test.nonzero()[0],
                    ),
                }
            )

    def interval(self, figure: Any, rows: NDArray[np.int64]) -> Row:
        """Value, interval, n and clusters of a figure of bootstrap weights."""
        clusters = list(self.scenario[rows])
        weights = stats.bootstrap_weights(clusters, self.sizes.bootstraps, self.sizes.seed)
        return _estimated(figure(weights), clusters)

    def sweep(
        self,
        rows: NDArray[np.int64],
        edits: Sequence[Intervention],
        *,
        readouts: Sequence[str] = (),
        keep: Path | None = None,
        what: str = "edits",
    ) -> Swept:
        """Edits on some rows of the set; see `probekit.sweep`."""
        chosen = {name: r for name, r in self.readouts.items() if not readouts or name in readouts}
        prompts: list[Encoded] = [self.prompts[row] for row in rows]
        return sweep(
            self.model,
            prompts,
            edits,
            chosen,
            keep=keep,
            progress=lambda _, done, total: self.progress(what, done, total),
        )

    def effects(self, values: Floats, rows: NDArray[np.int64], *, test: bool = False) -> list[Row]:
        """Mean, interval and, where asked, p of `[row, column]`; rows with NaN are left out."""
        out: list[Row] = []
        given = ~np.isnan(values).any(1)
        values, rows = values[given], rows[given]
        clusters = list(self.scenario[rows])
        if len(set(clusters)) < 2:
            return [{"n": len(rows), "clusters": len(set(clusters))} for _ in values.T]
        weights = stats.bootstrap_weights(clusters, self.sizes.bootstraps, self.sizes.seed)
        draws = weights @ values / weights.sum(1, keepdims=True)
        p = np.full(values.shape[1], np.nan)
        if test:
            flips, seed = self.sizes.permutations, self.sizes.seed
            p = stats.sign_flip_p(values, clusters, flips, seed)
        for column in range(values.shape[1]):
            row = _estimated(draws[:, column], clusters)
            out.append(row | ({"p": float(p[column])} if test else {}))
        return out

    def identity(self, study: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """What the run is, for its manifest."""
        return {
            "study": study,
            "version": version("emotion-probekit"),
            "model": self.model.fingerprint,
            "stimuli": {self.stimuli.name: self.stimuli.sha256},
            **self.sizes.describe(),
            **options,
        }

    def manifest(
        self, study: str, command: str, identity: Mapping[str, Any], **more: Any
    ) -> dict[str, Any]:
        """The manifest of a finished run."""
        sizes = self.sizes.describe()
        return runs.manifest(
            study,
            model=self.model.describe(),
            stimuli=[self.stimuli.describe()],
            command=command,
            seed=self.sizes.seed,
            identity=identity,
            template=sizes["template"],
            bootstrap=sizes["bootstrap"],
            permutations=sizes["permutations"],
            labels=list(self.labels),
            words=list(self.words),
            read_at=str(self.read_at),
            **more,
        )

    def write(self, out: Path, rows: Sequence[Row], study: str) -> None:
        """`results.csv`, with what is the same in every row filled in."""
        test = "test" if "test" in self.stimuli.column("split") else "held_out"
        common = {
            "study": study,
            "model": self.model.describe()["name"],
            "set": self.stimuli.name,
            "split": test,
            "seed": self.sizes.seed,
        }
        runs.write_results(out / runs.RESULTS, [{**common, **row} for row in rows])


def spoken(labels: Sequence[str]) -> tuple[str, ...]:
    """The words that a model is asked for: Plutchik's basic emotion of each label.

    Intense names ("loathing", "vigilance") are split by most tokenizers and rare as a next word.
    Labels outside his taxonomy, or two of one basic emotion, stand for themselves.
    """
    plutchik = Taxonomy.load("plutchik")
    if not all(label in plutchik.labels for label in labels):
        return tuple(labels)
    basic = tuple(plutchik.root(label) for label in labels)
    return basic if len(set(basic)) == len(basic) else tuple(labels)


def log_odds(scores: Floats, label: NDArray[np.int64]) -> Floats:
    """Log-odds of each item's label against all the others.

    Args:
        scores: `[..., item, label]`, log-probabilities up to a constant of the item; one column
            is the log-odds of the second of two labels.
        label: `[item]`.

    Returns:
        `[..., item]`, in nats.
    """
    if scores.shape[-1] == 1:
        scores = np.concatenate([np.zeros_like(scores), scores], -1)
    items = np.arange(len(label))
    own = scores[..., items, label]
    others = scores.copy()
    others[..., items, label] = -np.inf
    return own - logsumexp(others, axis=-1)


def shift(swept: Swept, readout: str, label: NDArray[np.int64]) -> Floats:
    """`[edit, item]`: by how much edits change the log-odds of each item's label."""
    return log_odds(swept.values[readout], label) - log_odds(swept.clean[readout], label)


def task_of(metric: str) -> str:
    """The task that a figure belongs to."""
    return "reception" if metric == RECEPTION else "category"


def norm_matched(reference: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Random directions `[item, d]`, each as long as the reference's vector of that item."""
    drawn = rng.standard_normal(reference.shape)
    drawn /= np.linalg.norm(drawn, axis=-1, keepdims=True)
    return (drawn * np.linalg.norm(reference, axis=-1, keepdims=True)).astype(np.float32)


def adjusted(rows: Sequence[Row]) -> None:
    """Give rows that were tested together their Benjamini–Hochberg `q`."""
    tested = [row for row in rows if row.get("p") is not None and not np.isnan(row["p"])]
    if tested:
        for row, q in zip(tested, stats.benjamini_hochberg([r["p"] for r in tested]), strict=True):
            row["q"] = float(q)


def _estimated(draws: Floats, clusters: Sequence[str]) -> Row:
    """Value, interval, n and clusters of bootstrap draws."""
    size = {"n": len(clusters), "clusters": len(set(clusters))}
    return {**stats.Estimate.of(draws).cells, **size}


def _place(labels: Sequence[str], name: str) -> int:
    return labels.index(name) if name in labels else -1
