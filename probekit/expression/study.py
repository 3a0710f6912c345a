"""The study of expression, stage by stage: replies are written, read, judged.

Words and probes are fitted on development posts; everything that is reported is of test posts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probekit import stats
from probekit.edits import Edit
from probekit.errors import UserError
from probekit.expression.asking import Asked, ask
from probekit.expression.changing import CHANGES, CONTROL, KIND, Change, Changing
from probekit.expression.options import Expression
from probekit.expression.readers import Reader, fit_reader, intercepts
from probekit.expression.reading import PLACES, States, read
from probekit.expression.systems import KINDS, SYSTEMS
from probekit.expression.texts import Posts, judged, shape
from probekit.folds import check_labels
from probekit.judges.judge import Judge
from probekit.models import Model
from probekit.prompts import Encoded
from probekit.questions import Material, Question
from probekit.runs import Progress, counting
from probekit.sites import Site
from probekit.stages import Made, Stages
from probekit.steering.generation import Decoding, Reply, check_room, generate
from probekit.steering.methods import Setting
from probekit.steering.steering import Drive
from probekit.stimuli import StimulusSet
from probekit.tasks import tasks_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Replies:
    """What was written after some prompts.

    Attributes:
        texts: `[reply]`.
        judged: `[reply, class + 1]`, see `texts.judged`.
        logits: place -> `[reply, class]`, what the probe of each of `PLACES` says.
    """

    texts: list[str]
    judged: Floats
    logits: dict[str, Floats]


class Study:
    """One study; each stage is made when it is first asked for, and kept in the run folder.

    Args:
        model: the model.
        stimuli: posts with `emotion`, `scenario`, and `split` dev or test.
        judge: of replies.
        options: what is asked for.
        folder: the run folder.
        progress: receives what is done.
        say: told which stages are made anew.

    Raises:
        UserError: bad options or posts, a chat of a model without a template, or prompts that
            leave no room for a reply.
    """

    def __init__(
        self,
        model: Model,
        stimuli: StimulusSet,
        judge: Judge,
        options: Expression,
        folder: Path,
        progress: Progress = lambda *_: None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        options.check()
        self.model, self.judge, self.options, self.progress = model, judge, options, progress
        self.posts = Posts(stimuli)
        self._check_scenarios()
        self.chat = Setting.of(model, options.chat).chat
        self.decoding = Decoding(max_new_tokens=options.tokens)
        self.sites = [Site(KIND, layer) for layer in range(model.n_layers)]
        # Made here, so that what cannot be is said before anything is written.
        self.prompts = self._prompts(range(len(stimuli)))
        check_room(model, self.prompts, self.decoding)
        self._check_parts()
        written = ["base", *map(_told, self.systems), *self.changes]
        kept = [f"{what} {name}" for name in written for what in ("replies", "judged")]
        self.stages = Stages(folder, ("words", "asked", "readers", *kept), say)

    def _check_scenarios(self) -> None:
        """Raise a `UserError` for too few scenarios to fit on, or to report on."""
        posts, dev = self.posts, ~self.posts.test
        labels, folds = posts.stimuli.column("emotion"), max(3, self.options.folds)
        check_labels(posts.groups[dev], labels[dev], folds)
        if len(np.unique(posts.groups[self.test])) < 2:
            raise UserError(
                f"{posts.stimuli.name}: one test scenario alone: give more, intervals are over them"
            )

    def _check_parts(self) -> None:
        """Raise a `UserError` for what a part needs and is not there."""
        posts, options = self.posts, self.options
        if {"malleable", "expressed"} & set(options.parts):
            _ = posts.neutral
        if "malleable" in options.parts:
            for kind, number in self.systems:
                some = self._prompts(self.few.tolist(), SYSTEMS[kind][number])
                check_room(self.model, some, self.decoding)
        if "expressed" in options.parts:
            groups, neutral = posts.groups[self.test], posts.labels[self.test] == posts.neutral
            if len(set(groups[neutral]) & set(groups[~neutral])) < 2:
                raise UserError(
                    f"{posts.stimuli.name}: fewer than two test scenarios hold a neutral and an "
                    "emotional text: give `scenario`, or leave the part expressed out"
                )

    def _prompts(self, rows: Sequence[int], system: str = "") -> list[Encoded]:
        return self.posts.prompts(self.model, rows, chat=self.chat, system=system)

    @property
    def systems(self) -> list[tuple[str, int]]:
        """Kind and number of every system prompt."""
        return [(kind, n) for kind in KINDS for n in range(self.options.paraphrases)]

    @property
    def changes(self) -> list[str]:
        """Every change and its control."""
        return [name + end for name in CHANGES for end in ("", CONTROL)]

    @cached_property
    def test(self) -> Ints:
        """Rows of test posts."""
        return np.flatnonzero(self.posts.test)

    @cached_property
    def few(self) -> Ints:
        """Rows of the test posts that are answered under every system prompt: whole scenarios."""
        names = np.unique(self.posts.groups[self.test])
        count = min(self.options.posts, len(names))
        drawn = np.random.default_rng(self.options.seed).choice(names, count, replace=False)
        return np.flatnonzero(self.posts.test & np.isin(self.posts.groups, drawn))

    @cached_property
    def words(self) -> Floats:
        """Probabilities `[test post, class]` of the text baseline that dev scenarios chose."""
        options, stimuli = self.options, self.posts.stimuli
        own = {"model": self.model.fingerprint, "stimuli": stimuli.sha256}
        own |= {"seed": options.seed, "folds": options.folds}
        return self.stages.run("words", own, (), self._read_words).arrays["probabilities"]

    def _read_words(self) -> Made:
        options, stimuli = self.options, self.posts.stimuli
        (task,), _ = tasks_of(stimuli, max(3, options.folds), classes=True)
        question = Question(task, max(3, options.folds), options.bootstraps, options.seed)
        material = Material(
            self.model, stimuli, (KIND,), ("last",), shape(self.chat), progress=self.progress
        )
        found = np.array(question.words(material)["text"]["/test"], dtype=np.float64)
        return Made(None, {"probabilities": stats.full_probabilities(found)})

    @cached_property
    def asked(self) -> Asked:
        """Answers about every post."""
        own = {"model": self.model.fingerprint, "stimuli": self.posts.stimuli.sha256}
        made = self.stages.run("asked", {**own, "chat": self.chat}, (), self._ask)
        return Asked(made.arrays["likelihood"], made.arrays["answers"], made.told)

    def _ask(self) -> Made:
        found = ask(self.model, self.posts, chat=self.chat, progress=self.progress)
        return Made(found.texts, {"likelihood": found.likelihood, "answers": found.answers})

    @cached_property
    def states(self) -> States:
        """`[post, place, layer, d]` of every post and its reply, nothing changed."""
        made = self._written("base", {}, (), self.prompts, partial(self._states, self.prompts))
        return made.arrays["states"]

    def _states(self, prompts: Sequence[Encoded], replies: Sequence[Reply]) -> dict[str, Any]:
        advance = counting(self.progress, "reading replies", len(prompts))
        ids = [reply.ids for reply in replies]
        return {"states": read(self.model, prompts, ids, self.sites, advance=advance)}

    @cached_property
    def readers(self) -> dict[str, Reader]:
        """A probe of the post's label at each of `PLACES`, fitted on development posts."""
        options, states, dev = self.options, self.states, ~self.posts.test
        own = {"folds": options.folds, "seed": options.seed}

        def make() -> Made:
            told, arrays = {}, {}
            for place, name in enumerate(PLACES):
                self.progress("fitting probes", place, len(PLACES))
                self._check_read(name, place)
                found = fit_reader(
                    states[dev, place], self.posts.labels[dev], self.posts.groups[dev],
                    options.folds, options.seed,
                )  # fmt: skip
                told[name] = found.place
                arrays |= {
                    f"{name} coefficients": found.coefficients,
                    f"{name} mean": found.mean,
                    f"{name} inner": found.inner,
                }
            self.progress("fitting probes", len(PLACES), len(PLACES))
            return Made(told, arrays)

        made = self.stages.run("readers", own, ("replies base",), make)
        return {
            name: Reader(
                made.told[name],
                *(made.arrays[f"{name} {what}"] for what in ("coefficients", "mean", "inner")),
            )
            for name in PLACES
        }

    def _check_read(self, name: str, place: int) -> None:
        """Raise a `UserError` where too little was replied to learn from."""
        posts, dev = self.posts, ~self.posts.test
        read = dev & ~np.isnan(self.states[:, place]).any((1, 2))
        held = [set(posts.groups[read & (posts.labels == k)]) for k in range(len(posts.names))]
        if min(map(len, held)) < self.options.folds:
            raise UserError(
                f"{self.model.public_name} replies nothing to {int(dev.sum() - read.sum())} of "
                f"{int(dev.sum())} development posts: too few of a label are left for a probe of "
                f"the {name}; give a model that replies, or other --chat/--no-chat"
            )

    @cached_property
    def _logits(self) -> dict[str, Floats]:
        """Place -> `[post, class]`, nothing changed, without intercepts."""
        return {
            name: self.readers[name].logits(self.states[:, place])
            for place, name in enumerate(PLACES)
        }

    def _whole(self, logits: dict[str, Floats]) -> dict[str, Floats]:
        """Logits with the intercepts that development posts give."""
        dev = ~self.posts.test
        return {
            name: table + intercepts(self._logits[name][dev], self.posts.labels[dev])
            for name, table in logits.items()
        }

    @cached_property
    def base(self) -> Replies:
        """Replies to every post, nothing changed."""
        logits = self._whole(self._logits)
        made = self._written("base", {}, (), self.prompts, partial(self._states, self.prompts))
        return Replies(made.told, self._judged("base", made.told), logits)

    def under(self, kind: str, number: int) -> Replies:
        """Replies to `few` under a system prompt."""
        system = SYSTEMS[kind][number]
        prompts = self._prompts([int(row) for row in self.few], system)
        own = {"system": system, "rows": self.few.tolist()}
        return self._changed(_told((kind, number)), own, prompts, None, ())

    def changed(self, name: str) -> tuple[Change, Replies]:
        """A change, and the replies under it."""
        changing = Changing(
            self.model, self.posts, self.states[:, 0], self.readers["prompt"],
            self.options.dose, self.options.seed,
        )  # fmt: skip
        change = changing.of(name)
        prompts = [self.prompts[row] for row in change.rows]
        own = {"seed": self.options.seed, "how": change.how}
        return change, self._changed(name, own, prompts, change.drives, change.edits)

    def _changed(
        self,
        name: str,
        own: dict[str, Any],
        prompts: Sequence[Encoded],
        drives: Sequence[Drive] | None,
        edits: Sequence[Edit],
    ) -> Replies:
        def logits(replies: Sequence[Reply]) -> dict[str, Any]:
            sites = [self.sites[self.readers[place].place] for place in PLACES]
            ids = [reply.ids for reply in replies]
            states = read(self.model, prompts, ids, sites, drives, edits)
            found = {}
            for place, where in enumerate(PLACES):
                # Each probe's own layer stands at its own place.
                reader = self.readers[where]
                found[where] = (states[:, place, place] - reader.mean) @ reader.coefficients.T
            return found

        made = self._written(name, own, ("readers",), prompts, logits, drives, edits)
        return Replies(made.told, self._judged(name, made.told), self._whole(made.arrays))

    def _written(
        self,
        name: str,
        own: dict[str, Any],
        needs: Sequence[str],
        prompts: Sequence[Encoded],
        keep: Callable[[Sequence[Reply]], dict[str, Any]],
        drives: Sequence[Drive] | None = None,
        edits: Sequence[Edit] = (),
    ) -> Made:
        """The stage that writes replies, with what is kept of their states."""
        own = {**own, "model": self.model.fingerprint, "stimuli": self.posts.stimuli.sha256}
        own |= {"chat": self.chat, "tokens": self.options.tokens}

        def make() -> Made:
            advance = counting(self.progress, f"writing: {name}", len(prompts))
            replies = generate(
                self.model, prompts, drives, self.decoding, edits=edits, advance=advance
            )
            return Made([reply.text for reply in replies], keep(replies))

        return self.stages.run(f"replies {name}", own, needs, make)

    def _judged(self, name: str, texts: Sequence[str]) -> Floats:
        own = {"judge": list(self.judge.identity) or [self.judge.name]}

        def make() -> Made:
            self.progress(f"judging: {name}", 0, len(texts))
            found = judged(self.judge, texts, self.posts.names)
            self.progress(f"judging: {name}", len(texts), len(texts))
            return Made(None, {"judged": found})

        made = self.stages.run(f"judged {name}", own, (f"replies {name}",), make)
        return made.arrays["judged"]


def _told(system: tuple[str, int]) -> str:
    """The name of a system prompt's stages."""
    return f"{system[0]} {system[1]}"
