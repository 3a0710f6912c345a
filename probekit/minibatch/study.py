"""The study of a corpus, stage by stage: probes of all layers, their nulls, and what words tell.

1. Moments of the features over the training rows.
2. The linear probe and the MLP, each beside the same probe of permuted labels, in one reading.
3. Text baselines on the same rows, and the mean input embedding where the store holds it.

Each stage keeps what it says of validation and test items. The layer, and which baseline is the
reference, are chosen on validation; everything is reported on test.
"""

from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from probekit.corpus import Items
from probekit.errors import UserError
from probekit.minibatch.batches import Batches
from probekit.minibatch.blocks import Blocks, Scaling
from probekit.minibatch.options import Options
from probekit.minibatch.parts import Parts, parts_of
from probekit.minibatch.probes import MiniBatchProbes, decide_together, fit_together
from probekit.minibatch.scoring import Floats, aurocs, log_odds
from probekit.minibatch.words import learn_words
from probekit.runs import MANIFEST, Progress, counting, digest, read_json
from probekit.stages import Made, Stages
from probekit.store import ActivationStore

LINEAR, MLP, STATIC = "linear", "mlp", "static_embedding"
STAGES = ("scaling", LINEAR, MLP, "words", STATIC)


class Said(NamedTuple):
    """Logits of a probe and of its null, `[held-out item, layer, class]`."""

    probe: NDArray[np.float32]
    null: NDArray[np.float32]


class Study:
    """One study; each stage is made when it is first asked for, and kept in the run folder.

    Memory: what `Blocks` holds, some numbers for each item, and of each held-out item the logits
    of all layers, twice for the probe at hand.

    Args:
        folder: of the store.
        options: what is asked for.
        out: the run folder.
        device: where probes are fitted.
        progress: receives what is done.
        say: told which stages are made anew.

    Raises:
        UserError: bad options, a store that is not whole, or without labels, site or pooling, or
            a part without one of the classes.
    """

    def __init__(
        self,
        folder: Path,
        options: Options,
        out: Path,
        device: torch.device | str = "cpu",
        progress: Progress = lambda *_: None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        options.check()
        self.options, self.progress, self.device = options, progress, device
        self.items = Items(folder)
        self.store = ActivationStore(folder)
        refuse_broken(self.store, self.items)
        self.captured: dict[str, Any] = read_json(folder / MANIFEST)
        self.blocks = self._blocks(options.site, options.pooling)
        self.parts: Parts = parts_of(self.items, options)
        held = np.flatnonzero(self.parts.held_out)
        self.validation, self.test = self.parts.validation[held], self.parts.test[held]
        self.numbers = np.searchsorted(self.parts.classes, self.parts.labels[held])
        self.groups = self.parts.groups[held]
        wanted = STAGES if options.hidden else [name for name in STAGES if name != MLP]
        self.stages = Stages(out, wanted, say)

    @property
    def methods(self) -> tuple[str, ...]:
        """The probes of this study."""
        return (LINEAR, MLP) if self.options.hidden else (LINEAR,)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What the activations, their texts and their parts are."""
        names = ("shares", "balance_train", "balance_test", "seed")
        described = self.options.describe()
        return {
            "store": digest(self.store.header),
            "items": digest(self.items.key),
            **{name: described[name] for name in names},
        }

    def _blocks(self, kind: str, pooling: str, layers: tuple[int, ...] = ()) -> Blocks:
        return Blocks(
            self.store,
            kind,
            pooling,
            layers,
            buffer_bytes=self.options.buffer_bytes,
            device=self.device,
        )

    def _batches(self, blocks: Blocks, *, null: bool = False) -> Batches:
        parts, size, seed = self.parts, self.options.batch, self.options.seed
        labels = parts.null_labels if null else parts.labels
        times = parts.null_times if null else parts.times
        return Batches(blocks, labels, times, size=size, seed=seed)

    @cached_property
    def scaling(self) -> Scaling:
        """Moments over the training rows, of the true labels' balance."""
        place = {"site": self.options.site, "pooling": self.options.pooling}

        def make() -> Made:
            found = self._batches(self.blocks).moments()
            return Made(None, {"mean": found.mean.numpy(), "deviation": found.deviation.numpy()})

        arrays = self.stages.run("scaling", {**self.identity, **place}, (), make).arrays
        return Scaling(torch.from_numpy(arrays["mean"]), torch.from_numpy(arrays["deviation"]))

    def probe_of(self, method: str) -> MiniBatchProbes:
        """A probe as asked for, not fitted."""
        o = self.options
        if method == MLP:
            given = {"epochs": o.mlp_epochs, "learning_rate": o.mlp_learning_rate}
            return MiniBatchProbes(o.hidden, seed=o.seed, **given)
        return MiniBatchProbes(C=o.C, epochs=o.epochs, learning_rate=o.learning_rate, seed=o.seed)

    def said(self, method: str) -> Said:
        """What a probe and its null say of the held-out items."""
        arrays = self._fitted(method).arrays
        return Said(arrays["probe"], arrays["null"])

    def epochs(self, method: str) -> int:
        """Passes over the training rows that a probe took."""
        return int(self._fitted(method).told["epochs"])

    def _fitted(self, method: str) -> Made:
        _ = self.scaling  # Its stage comes first.
        return self.stages.run(method, self._own(method), ("scaling",), partial(self._fit, method))

    def _own(self, method: str) -> dict[str, Any]:
        """What a probe is, and the order in which it sees the rows."""
        sizes = {"batch": self.options.batch, "buffer_bytes": self.options.buffer_bytes}
        return {**self.probe_of(method).get_params(), **sizes}

    def _fit(self, method: str) -> Made:
        probes = [self.probe_of(method), self.probe_of(method)]
        batches = [self._batches(self.blocks), self._batches(self.blocks, null=True)]
        advance = counting(self.progress, f"fitting {method} probes")
        fit_together(probes, batches, self.scaling, advance)
        logits = decide_together(probes, self.blocks, self.parts.held_out)
        arrays: dict[str, NDArray[Any]] = {"probe": logits[0], "null": logits[1]}
        if method == LINEAR:
            arrays |= {"coefficients": probes[0].coef_, "intercepts": probes[0].intercept_}
        return Made({"epochs": probes[0].n_epochs_}, arrays)

    @cached_property
    def words(self) -> dict[str, Floats]:
        """Text baseline -> log-odds `[held-out item, class]`, its penalty chosen on validation."""
        made = self.stages.run("words", self.identity, (), self._read_words).arrays
        found: dict[str, Floats] = {}
        for name in sorted(made):
            baseline = name.partition("/")[0]
            if baseline not in found or self.chosen_on(made[name]) > self.chosen_on(
                found[baseline]
            ):
                found[baseline] = made[name]
        if 0 in self.store.layers.get("resid_pre", ()) and "mean" in self.store.poolings:
            own = {**self.identity, **self._own(LINEAR)}
            made = self.stages.run(STATIC, own, (), self._read_static).arrays
            found[STATIC] = log_odds(made["probe"][:, 0])
        return found

    def _read_words(self) -> Made:
        parts = self.parts
        advance = counting(self.progress, "learning words")
        given = (parts.labels, parts.times, parts.held_out, self.options.seed, advance)
        return Made(None, dict(learn_words(self.items, *given)))

    def _read_static(self) -> Made:
        blocks = self._blocks("resid_pre", "mean", (0,))
        probe = self.probe_of(LINEAR).fit(self._batches(blocks))
        return Made(None, {"probe": probe.decision(blocks, self.parts.held_out)})

    def chosen_on(self, scores: Floats) -> float:
        """The figure that choices are made by: mean AUROC on validation."""
        return float(aurocs(scores[self.validation], self.numbers[self.validation]).mean())

    @cached_property
    def reference(self) -> str:
        """The text baseline that does best on validation."""
        return max(self.words, key=lambda name: self.chosen_on(self.words[name]))


def refuse_broken(store: ActivationStore, items: Items) -> None:
    """Raise a `UserError` for a store whose capture has not finished, or is of other texts."""
    again = "run the same `probekit capture` again, it goes on"
    if (count := len(store.numbers)) < items.windows:
        raise UserError(
            f"{store.folder} is not whole: it has {count} of {items.windows} shards; {again}"
        )
    if list(store.ids) != items.column("id"):
        raise UserError(f"{store.folder} holds other items than its texts are: capture it anew")
    if not (store.folder / MANIFEST).is_file():
        raise UserError(f"{store.folder} has no {MANIFEST}: {again}")
