"""`Study`: the stages of a study of circuits, each made from those before it.

    texts ──► activity ──► scores ──► heads ──► circuits ──► validate
                  │           └──► influence ──────┘ └──► edges, modulate

Everything a stage needs is taken from its file; see `stages`.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probekit import runs
from probekit.circuits.activities import POOLING, SCALED, ReadOut, activity, kinds_of
from probekit.circuits.assembly import ALLOCATIONS, assemble, budgets, check_budget
from probekit.circuits.circuit import Circuit
from probekit.circuits.components import INNER, Values, stream_kind
from probekit.circuits.heads import ablate_heads
from probekit.circuits.influence import Influence, measure_influence
from probekit.circuits.measures import Lift
from probekit.circuits.options import STAGES, Circuits
from probekit.circuits.scores import Learned, Scores, halves, learn, score
from probekit.circuits.texts import (
    NEEDED,
    Expression,
    Source,
    contexts,
    expressed,
    rates,
    vignettes,
)
from probekit.directions.design import NEUTRAL
from probekit.judges import Judge
from probekit.models import Model
from probekit.runs import Progress, digest
from probekit.stages import Made, Stages
from probekit.steering import Method, Plain, Prompted, Setting, residual_scale
from probekit.steering.methods import produce
from probekit.stimuli import Stimulus, StimulusSet
from probekit.store import Activations

BRIEF = "You are the person who tells this. Say in one or two sentences what goes on inside you."
OPENERS = (" I felt", " When I got home, I", " I said to my sister: “I", " All that night I")
"""What a reply begins with where there is no chat: in turn, so that a text is not just told on."""

TOGETHER = 40
"""Texts that are written side by side: a pass over the weights costs as much for few."""


class Study:
    """A study of circuits of one model in one run folder.

    Attributes:
        contexts: scenarios with their events by split.
        notes: what a reader should know: what could not be measured, and why.

    Args:
        model: the model.
        judge: says what emotion a reply is of, and is told nothing but the reply.
        options: what is asked for.
        folder: of the run.
        stages: those that may be made.
        progress: told of what is done.
        say: told when a stage is made anew.
    """

    def __init__(
        self,
        model: Model,
        judge: Judge,
        options: Circuits,
        folder: Path,
        stages: Sequence[str] = STAGES,
        progress: Progress = lambda *_: None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.model, self.judge, self.options, self.folder = model, judge, options, folder
        # What the model does at the vignettes is a file of its own beside that at its expressions.
        wanted = (*stages, "vignettes") if "activity" in stages else stages
        self.stages, self.progress = Stages(folder, wanted, say), progress
        self.setting = Setting.of(model, options.chat)
        self.setting = replace(self.setting, brief=BRIEF)
        check_budget(model, options.k)
        self.ks = budgets(model, options.ks)
        self.contexts = {
            split: contexts(count, split, every_event=options.every_event)
            for split, count in (("dev", options.scenarios), ("test", options.held_out))
        }
        self.base = {"model": model.fingerprint}
        self.notes: list[str] = []

    # Texts

    @cached_property
    def expressions(self) -> list[Expression]:
        """Everything that was elicited, on dev and on test scenarios, plain replies among it."""
        options = self.options
        own = {
            **self.base,
            "emotions": list(options.emotions),
            "scenarios": {
                split: [[row.id, row.text] for row in rows] for split, rows in self.contexts.items()
            },
            "seeds": list(options.seeds),
            "decoding": asdict(options.decoding),
            "chat": self.setting.chat,
            "judge": [self.judge.name, *self.judge.identity],
        }
        made = self.stages.run("texts", own, (), lambda: Made(self._elicit()))
        return [Expression(**each) for each in made.told]

    def _elicit(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        wanted = [
            (split, emotion, seed)
            for split in self.contexts
            for emotion in (NEUTRAL, *self.options.emotions)
            for seed in self.options.seeds
        ]
        for place, each in enumerate(wanted):
            self.progress("texts written", place, len(wanted))
            found += self._written(*each)
        self.progress("texts written", len(wanted), len(wanted))
        return found

    def _written(self, split: str, emotion: str, seed: int) -> list[dict[str, Any]]:
        """Texts of one emotion; kept, so that a run that was killed goes on."""
        rows = self.contexts[split]
        prompts = [(row.id, text) for row, text in zip(rows, self.asked(rows), strict=True)]
        method: Method = Plain(self.setting) if emotion == NEUTRAL else Prompted(self.setting)
        told = "" if emotion == NEUTRAL else emotion
        key = {
            "stage": "elicit",
            **self.base,
            "method": method.describe(),
            "emotion": told,
            "prompts": prompts,
            "seed": seed,
            "decoding": asdict(self.options.decoding),
            "judge": [self.judge.name, *self.judge.identity],
        }

        def write() -> list[dict[str, Any]]:
            samples = produce(
                self.model,
                method,
                told,
                None,
                prompts,
                self.options.decoding,
                seed=seed,
                batch_size=TOGETHER,
            )
            judged = self.judge.judge([sample.text for sample in samples])
            return [
                asdict(
                    Expression(
                        emotion, row.id, row.scenario, row.valence, row.domain, split, seed,
                        sample.asked, sample.text, label,
                    )
                )
                for row, sample, label in zip(rows, samples, judged, strict=True)
            ]  # fmt: skip

        return runs.stage(self.folder, key, write)

    def asked(self, rows: Sequence[Stimulus]) -> list[str]:
        """Contexts as the model gets them: in a text that is written on, with an opener."""
        if self.setting.chat:
            return [row.text for row in rows]
        return [row.text + OPENERS[place % len(OPENERS)] for place, row in enumerate(rows)]

    @property
    def rates(self) -> dict[str, float]:
        """Share of accepted texts by emotion, dev scenarios."""
        return rates([each for each in self.expressions if each.split == "dev"])

    # Activations

    def texts(self, source: Source) -> tuple[StimulusSet, list[ReadOut]]:
        """What scores are learned from."""
        if source == "reading":
            return vignettes(self.model, self.options.emotions)
        dev = [each for each in self.expressions if each.split == "dev"]
        return expressed(self.model, dev, self.setting, self.options.emotions)

    @cached_property
    def material(self) -> tuple[StimulusSet, list[ReadOut], Activations]:
        """Texts of the study's source, and what the model does at them."""
        stimuli, where = self.texts(self.options.source)
        needs = ("texts",) if self.options.source == "expressing" else ()
        return stimuli, where, self._activity("activity", stimuli, where, needs)

    @cached_property
    def vignettes(self) -> tuple[StimulusSet, list[ReadOut], Activations]:
        """The vignettes, and what the model does at them."""
        if self.options.source == "reading":
            return self.material
        stimuli, where = self.texts("reading")
        return stimuli, where, self._activity("vignettes", stimuli, where, ())

    def _activity(
        self, name: str, stimuli: StimulusSet, where: Sequence[ReadOut], needs: Sequence[str]
    ) -> Activations:
        own = {
            **self.base,
            "stimuli": digest([[each.prompt.id, *each.prompt.input_ids] for each in where]),
            "tokens": digest([list(each.tokens) for each in where]),
        }
        advance = runs.counting(self.progress, f"reading {stimuli.name}", len(where))

        def make() -> Made:
            found = activity(self.model, where, advance=advance)
            kept = {
                key: array
                for key, array in found.arrays.items()
                # Without a post-norm the scaled ones are the same arrays.
                if not (key.endswith(SCALED) and array is found.arrays[_plain(key)])
            }
            return Made(None, dict(kept))

        made = self.stages.run(name, own, needs, make)
        arrays = dict(made.arrays)
        for kind in INNER:
            arrays.setdefault(f"{kind}/{SCALED}", arrays[f"{kind}/{POOLING}"])
        layers = {kind: tuple(range(self.model.n_layers)) for kind in kinds_of(self.model)}
        return Activations(tuple(each.prompt.id for each in where), layers, arrays)

    # Scores

    @cached_property
    def learned(self) -> Learned:
        """Directions and effects from all texts of the source."""
        stimuli, _, states = self.material
        return learn(self.model, stimuli, states)

    @cached_property
    def scores(self) -> Scores:
        """Of every head and neuron: what each writes."""
        stimuli, _, states = self.material
        own = {"seed": self.options.seed}
        emotions = tuple(sorted(self.options.emotions))

        def make() -> Made:
            found = score(self.model, stimuli, states, seed=self.options.seed)
            groups = {"values": found.values, "halves": found.halves, "raw": found.raw}
            return Made(
                None,
                {f"{name}/{kind}": each[kind] for name, each in groups.items() for kind in INNER},
            )

        made = self.stages.run("scores", own, ("activity",), make)

        def part(name: str) -> Values:
            return {kind: made.arrays[f"{name}/{kind}"] for kind in INNER}

        return Scores(emotions, part("values"), part("halves"), part("raw"))

    @cached_property
    def heads(self) -> NDArray[np.float64]:
        """`[emotion, layer, head]`, drop of the projection at the end by exact ablation."""
        options = self.options
        own = {"seed": options.seed, "zero": options.zero, "texts": options.head_texts}
        sigma = residual_scale(self.model).norm(self.model.n_layers - 1)

        def make() -> Made:
            stimuli, where, states = self.material
            sides = halves(stimuli, options.seed)
            one, other = (learn(self.model, stimuli, states, rows=side) for side in sides)
            found = ablate_heads(
                self.model, stimuli, where, (one, other), sides, sigma=sigma,
                each=options.head_texts, zero=options.zero, keep=self.stages.folder,
                progress=lambda _, done, total: self.progress("heads ablated", done, total),
            )  # fmt: skip
            return Made(None, {"drops": found})

        return self.stages.run("heads", own, ("activity",), make).arrays["drops"]

    @cached_property
    def influence(self) -> Influence:
        """Of every sublayer."""

        def make() -> Made:
            found = measure_influence(
                self.model, self.learned.directions, prompts=self.options.injected,
                seed=self.options.seed, keep=self.stages.folder, progress=self.progress,
            )  # fmt: skip
            arrays = {f"responses/{name}": each for name, each in found.responses.items()}
            arrays |= {f"null/{name}": each for name, each in found.null.items()}
            told = [list(found.emotions), list(found.items), list(found.notes)]
            return Made(told, arrays)

        own = {"seed": self.options.seed, "injected": self.options.injected}
        made = self.stages.run("influence", own, ("activity",), make)
        emotions, items, notes = map(tuple, made.told)
        parts = [
            {n.removeprefix(f"{p}/"): a for n, a in made.arrays.items() if n.startswith(f"{p}/")}
            for p in ("responses", "null")
        ]
        return Influence(emotions, parts[0], parts[1], items, notes)

    # Circuits

    @cached_property
    def relative(self) -> Scores:
        """The scores in units of median residual norms."""
        return self.scores.relative(self.norms)

    def ranking(self, emotion: str, allocation: str) -> Values:
        """What components are ranked by: neurons by what they write, heads by exact ablation.

        Where heads and neurons are ranked together ("global") heads too are by what they write.
        Both are in units of median residual norms.
        """
        scores = self.relative
        place = scores.emotions.index(emotion)
        heads = scores.values["z"] if allocation == "global" else self.heads
        return {"z": heads[place], "mlp_post": scores.values["mlp_post"][place]}

    def assemble(self, emotion: str, k: int, ranking: Values, allocation: str) -> Circuit:
        """A circuit from any ranking, with the study's influence."""
        way: Any = allocation
        return assemble(
            self.model,
            emotion,
            ranking,
            k,
            influence=self.influence.of(emotion),
            allocation=way,
            spread=self.options.spread,
            source=self.options.source,
            stimuli=self.material[0].describe(),
        )

    @cached_property
    def norms(self) -> Values:
        """Kind -> `[layer]`, median residual norms behind each sublayer."""
        return {
            kind: residual_scale(self.model, stream_kind(self.model, kind)).norms for kind in INNER
        }

    @cached_property
    def circuits(self) -> dict[tuple[str, str, int], Circuit]:
        """(emotion, allocation, k) -> circuit: all sizes, both allocations; as files too."""
        own = {
            "ks": list(self.ks),
            "k": self.options.k,
            "spread": asdict(self.options.spread),
            "emotions": list(self.options.emotions),
        }

        def make() -> Made:
            rankings = {
                (emotion, way): self.ranking(emotion, way)
                for emotion in self.options.emotions
                for way in ALLOCATIONS
            }
            found = [
                self.assemble(emotion, k, ranking, way)
                for (emotion, way), ranking in rankings.items()
                for k in sorted({*self.ks, self.options.k})
            ]
            for each in found:
                each.save(self.circuit_file(each.emotion, each.allocation, len(each)))
            return Made([[each.emotion, each.allocation, len(each)] for each in found])

        # What it is made from, in their order.
        _ = self.scores, self.heads, self.influence
        made = self.stages.run("circuits", own, ("scores", "heads", "influence"), make)
        return {
            (emotion, way, k): Circuit.load(self.circuit_file(emotion, way, k), self.model)
            for emotion, way, k in made.told
        }

    def circuit_file(self, emotion: str, allocation: str, k: int) -> Path:
        """Where a circuit lies."""
        return self.folder / "circuits" / f"{emotion}-{allocation}-{k}.json"

    def circuit(self, emotion: str) -> Circuit:
        """The one of the study's own size and allocation."""
        return self.circuits[emotion, self.options.allocation, self.options.k]

    def effects(self, emotion: str) -> Values:
        """Kind -> `[layer, width]`, the emotion's effect on activations."""
        place = self.scores.emotions.index(emotion)
        return {kind: self.learned.effects[kind][place] for kind in INNER}

    @cached_property
    def lifts(self) -> dict[str, Lift]:
        """Emotion -> accepted expressions that no score was learned from.

        Those of test scenarios; where scores are of vignettes, those of dev scenarios too. Emotions
        with fewer than `NEEDED` are left out.
        """
        splits = ("test",) if self.options.source == "expressing" else ("dev", "test")
        found = {}
        for emotion in self.options.emotions:
            taken = [
                each
                for each in self.expressions
                if each.split in splits and each.emotion == emotion and each.accepted
            ]
            if len({each.scenario for each in taken}) < NEEDED:
                continue
            places = np.linspace(0, len(taken) - 1, min(len(taken), self.options.replies))
            some = [taken[place] for place in np.unique(places.round().astype(int))]
            asked = Prompted(self.setting).template(emotion)
            found[emotion] = Lift.of(self.model, some, asked, self.setting.template("plain"))
        return found


def _plain(key: str) -> str:
    return key.replace(SCALED, POOLING)
