"""The study of retention, stage by stage: what is read after an emotional turn, and why it can be.

1. Probes of the turn's emotion are fitted on development scenarios, at every window of offsets of
   some continuations.
2. They read test scenarios at every offset of *other* continuations; and again, at the layer that
   inner folds chose, after the turn or what stands beside it has been removed from the past.
3. What words alone tell of the turn stands beside.
"""

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from probekit import evaluation, stats
from probekit.baselines import text_baselines
from probekit.crossval import CS, cross_validate
from probekit.errors import UserError
from probekit.folds import grouped_folds
from probekit.models import Model
from probekit.persistence.following import Cut, check_context, follow
from probekit.persistence.options import Retention
from probekit.persistence.passages import WHOLE, Pooled, Projected, windows
from probekit.persistence.passages import Floats as Said
from probekit.persistence.probe import Probe, States, fit_probe
from probekit.persistence.turns import Turn, continuations, removals, turns
from probekit.runs import Progress, counting, digest
from probekit.sites import Site
from probekit.stages import Made, Stages
from probekit.stimuli import StimulusSet

Floats = NDArray[np.float64]
READ = 9
"""Layers that are read, where none are named."""


class Study:
    """One study; each stage is made when it is first asked for, and kept in the run folder.

    Args:
        model: the model.
        stimuli: texts with emotions, in the splits "dev" and "test".
        options: what is asked for.
        folder: the run folder.
        progress: receives what is done.
        say: told which stages are made anew.

    Raises:
        UserError: bad options, a layer that the model lacks, texts without an emotion or without
            two of them in each split, or a continuation that the context does not hold.
    """

    def __init__(
        self,
        model: Model,
        stimuli: StimulusSet,
        options: Retention,
        folder: Path,
        progress: Progress = lambda *_: None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        options.check()
        self.model, self.stimuli, self.options = model, stimuli, options
        self.progress = progress
        named = stimuli.column("emotion")
        if missing := [id_ for id_, name in zip(stimuli.ids, named, strict=True) if not name]:
            raise UserError(
                f"{stimuli.name}: {len(missing)} rows, {missing[0]!r} first, have no "
                "emotion; give one, or leave them out"
            )
        self.emotions, self.labels = np.unique(named, return_inverse=True)
        self.test, self.groups = stimuli.column("split") == "test", stimuli.groups
        for name, own in (("dev", ~self.test), ("test", self.test)):
            if len(held := set(self.labels[own])) < len(self.emotions) or len(held) < 2:
                raise UserError(
                    f"{stimuli.name}: the {name} split lacks emotions that others have, or has one "
                    "alone; give rows with `emotion`, `scenario` and `split` dev or test"
                )
        layers = options.layers or spread(model.n_layers)
        self.sites = list(model.sites.expand([Site("resid_post", layer) for layer in layers]))
        self.windows = windows(options.tokens)
        chat = options.chat
        self.chat = bool(model.tokenizer.chat_template) if chat is None else chat
        # Made here, so that what cannot be is said before anything is written.
        self.turns: list[Turn] = turns(model, stimuli, chat=self.chat)
        count = options.learned + options.tested
        self.continuations = continuations(
            model, count, options.tokens, options.seed, stimuli.texts
        )
        check_context(model, [turn.prompt for turn in self.turns], options.tokens)
        kept = [f"states {n}" for n in range(options.learned)]
        kept += [_passage(n, at) for n in range(options.tested) for at in (None, *options.cuts)]
        self.stages = Stages(folder, ("words", *kept, "probe"), say)

    @cached_property
    def _read(self) -> dict[str, str]:
        """What all reading depends on: the model, and every token of the prompts."""
        tokens = [list(turn.prompt.input_ids) for turn in self.turns]
        return {"model": self.model.fingerprint, "prompts": digest(tokens)}

    def _prompts(self, rows: NDArray[np.bool_]) -> list[Turn]:
        return [self.turns[row] for row in np.flatnonzero(rows)]

    @cached_property
    def words(self) -> tuple[str, Floats]:
        """The best text baseline, chosen on dev scenarios, and what it gives: `[test row, class]`.

        Log-probabilities, each row less its mean: logits, as the probe's are.
        """
        options = self.options
        own = {"model": self.model.fingerprint, "stimuli": self.stimuli.sha256}
        own |= {"seed": options.seed, "folds": options.folds}
        made = self.stages.run("words", own, (), self._read_words)
        return str(made.told), made.arrays["logits"]

    def _read_words(self) -> Made:
        n_folds, dev = max(3, self.options.folds), ~self.test
        folds = np.full(len(self.labels), n_folds)
        emotions = self.stimuli.column("emotion")
        folds[dev] = grouped_folds(self.groups[dev], emotions[dev], n_folds, self.options.seed)
        results = {
            each.name: cross_validate(
                each.compact,
                self.labels,
                folds,
                tests=[self.test],
                held_out=self.test,
                standardize=each.standardize,
            )[0]
            for each in text_baselines(self.stimuli.texts, self.model)
        }
        chosen = evaluation.reference(results)
        found = stats.full_probabilities(evaluation.composite(results, chosen))
        logits = np.log(found.clip(1e-12))
        return Made(str(chosen[-1]), {"logits": logits - logits.mean(1, keepdims=True)})

    def _states(self, number: int) -> States:
        """`[dev row, window, site, d]` of one continuation that is learned from."""
        forced = self.continuations[number]
        layers = [site.layer for site in self.sites]
        own = {**self._read, "continuation": list(forced), "layers": layers}

        def make() -> Made:
            rows = self._prompts(~self.test)
            pooled = Pooled(len(rows), self.windows, self.sites, self.model.d_model)
            self._follow(rows, forced, self.sites, pooled.receive, (), f"reading on, dev {number}")
            return Made(None, {"states": pooled.states})

        return self.stages.run(f"states {number}", own, (), make).arrays["states"]

    def _follow(
        self,
        rows: Sequence[Turn],
        forced: Sequence[int],
        sites: Sequence[Site],
        receive: Callable[..., None],
        cuts: Sequence[Cut],
        said: str,
    ) -> None:
        longest = max(len(turn.prompt) for turn in rows) + len(forced)
        total = len(rows) * (longest + sum(len(forced) - cut.at for cut in cuts))
        advance = counting(self.progress, said, total)
        prompts = [turn.prompt for turn in rows]
        follow(self.model, prompts, forced, sites, receive, cuts, advance=advance)

    @cached_property
    def probe(self) -> Probe:
        """One fit for each site, the same for every offset."""
        numbers = range(self.options.learned)
        states = np.stack([self._states(number) for number in numbers])
        own = {
            "folds": self.options.folds,
            "seed": self.options.seed,
            "stimuli": self.stimuli.sha256,
        }
        needs = [f"states {number}" for number in numbers]
        made = self.stages.run("probe", own, needs, partial(self._fit, states))
        return Probe(made.arrays["coefficients"], made.arrays["inner"], made.told)

    def _fit(self, states: States) -> Made:
        folds, dev = self.options.folds, ~self.test
        advance = counting(self.progress, "fitting probes", folds * len(CS))
        found = fit_probe(
            states, self.labels[dev], self.groups[dev], folds, self.options.seed, advance
        )
        return Made(found.place, {"coefficients": found.coefficients, "inner": found.inner})

    @cached_property
    def cuts(self) -> dict[int, list[Cut]]:
        """Offset -> what is removed there, from the test rows' turns."""
        rows, seed = self._prompts(self.test), self.options.seed
        return {
            at: [Cut(name, at, tuple(own)) for name, own in removals(rows, at, seed).items()]
            for at in self.options.cuts
        }

    @cached_property
    def whole(self) -> Said:
        """`[continuation, test row, offset, site, class]`, nothing removed."""
        parts = [self._passage(n, None, self.sites) for n in range(self.options.tested)]
        return np.stack([part[WHOLE] for part in parts])

    def after(self, at: int) -> dict[str, Said]:
        """What was removed -> `[continuation, test row, offset, class]` at the chosen site."""
        site = [self.sites[self.probe.place]]
        parts = [self._passage(n, at, site) for n in range(self.options.tested)]
        names = [cut.name for cut in self.cuts[at]]  # A file gives them in an order of its own.
        return {name: np.stack([part[name][:, :, 0] for part in parts]) for name in names}

    def _passage(self, number: int, at: int | None, sites: Sequence[Site]) -> dict[str, Said]:
        """What the probe says of one continuation, whole or after what is removed at an offset."""
        forced, probe = self.continuations[self.options.learned + number], self.probe
        cuts = [] if at is None else self.cuts[at]
        own = {**self._read, "continuation": list(forced)}
        own |= {cut.name: digest([list(each) for each in cut.removed]) for cut in cuts}
        places = [self.sites.index(site) for site in sites]

        def make() -> Made:
            rows = self._prompts(self.test)
            names = [cut.name for cut in cuts] or [WHOLE]
            said = Projected(len(rows), len(forced) + 1, sites, probe.coefficients[places], names)
            title = f"reading on, test {number}" + ("" if at is None else f", cut at {at}")
            self._follow(rows, forced, sites, said.receive, cuts, title)
            return Made(None, said.said)

        return self.stages.run(_passage(number, at), own, ("probe",), make).arrays


def _passage(number: int, at: int | None) -> str:
    """The name of a stage."""
    return f"passage {number}" + ("" if at is None else f" cut {at}")


def spread(n_layers: int, count: int = READ) -> tuple[int, ...]:
    """So many layers, evenly from the first to the last."""
    return tuple(int(layer) for layer in np.unique(np.linspace(0, n_layers - 1, count).round()))
