"""What a scorecard is asked for."""

from dataclasses import asdict, dataclass, field
from typing import Any

from probekit.errors import UserError
from probekit.scorecard.coherence import Rule
from probekit.scorecard.curves import BOUND
from probekit.steering import Decoding, checked_dose

DOSES = (0.05, 0.1, 0.2, 0.4)


@dataclass(frozen=True)
class Scorecard:
    """What a scorecard is asked for, beside model, methods, prompts and judge.

    Attributes:
        emotions: what texts are to express.
        doses: of methods that have one.
        decoding: the same for every method.
        seeds: of sampling; each prompt is answered once a seed.
        effects_of: emotions under whose steering side effects are measured; "none" for none
            (default: all).
        refusals: whether replies to harmless prompts are written under steering, too.
        rule: what is called incoherent.
        bound: the perplexity ratio at which methods are compared.
        bootstraps, permutations, seed: draws of intervals and of p.
        batch: rows in one pass of generation.
    """

    emotions: tuple[str, ...]
    doses: tuple[float, ...] = DOSES
    decoding: Decoding = field(default_factory=Decoding)
    seeds: tuple[int, ...] = (0,)
    effects_of: tuple[str, ...] = ()
    refusals: bool = False
    rule: Rule = field(default_factory=Rule)
    bound: float = BOUND
    bootstraps: int = 1000
    permutations: int = 1000
    seed: int = 0
    batch: int = 16

    def check(self) -> None:
        """Raise a `UserError` where something is none, twice, or out of range."""
        for name in ("emotions", "doses", "seeds"):
            given = getattr(self, name)
            if not given or len(set(given)) < len(given):
                said = ", ".join(map(str, given)) or "none"
                raise UserError(f"{name} {said}: give one or more, each once")
        for dose in self.doses:
            checked_dose(dose)
        for name in ("bootstraps", "permutations", "batch"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}: give 1 or more")
        if not self.bound > 0:
            raise UserError(f"bound {self.bound}: give a perplexity ratio above 0, such as {BOUND}")
        if len(self.seeds) > 1 and not self.decoding.temperature:
            raise UserError("several seeds at temperature 0 write the same: give a temperature")
        if strange := [e for e in self.effects_of if e not in (*self.emotions, "none")]:
            raise UserError(f"side effects of {strange[0]}: it is none of the run's emotions")

    @property
    def measured(self) -> tuple[str, ...]:
        """Emotions under whose steering side effects are measured."""
        return () if "none" in self.effects_of else self.effects_of or self.emotions

    def describe(self) -> dict[str, Any]:
        """JSON-able options, for the manifest."""
        lists = {name: list(getattr(self, name)) for name in ("emotions", "doses", "seeds")}
        sizes = ("bound", "bootstraps", "permutations", "seed", "refusals")
        return {
            **lists,
            "decoding": asdict(self.decoding),
            "effects_of": list(self.measured),
            "rule": self.rule.describe(),
            **{name: getattr(self, name) for name in sizes},
        }
