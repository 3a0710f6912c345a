"""What a study of expression is asked for."""

from dataclasses import asdict, dataclass
from typing import Any

from probekit.errors import UserError, unknown
from probekit.expression.systems import PARAPHRASES
from probekit.steering.steering import checked_dose

PARTS = ("asking", "malleable", "expressed")


@dataclass(frozen=True)
class Expression:
    """What a study of expression is asked for, beside model, stimuli and judge.

    Attributes:
        parts: which are done; "expressed" also makes what the others read with.
        chat: in the chat template (default: where the model has one).
        tokens: of a reply, at most.
        posts: scenarios, all of whose test posts are answered under every system prompt.
        paraphrases: of each kind of system prompt.
        dose: of an added direction, over the length of the states it is added to.
        folds: in which probes choose penalty and layer.
        bootstraps, permutations: draws of intervals; of the null.
        seed: of folds, draws and random directions.
    """

    parts: tuple[str, ...] = PARTS
    chat: bool | None = None
    tokens: int = 40
    posts: int = 10
    paraphrases: int = PARAPHRASES
    dose: float = 0.08
    folds: int = 3
    bootstraps: int = 1000
    permutations: int = 1000
    seed: int = 0

    def check(self) -> None:
        """Raise a `UserError` where something is out of range."""
        for part in self.parts:
            if part not in PARTS:
                raise unknown("part", part, PARTS)
        if not self.parts:
            raise UserError(f"no part: give some of {', '.join(PARTS)}")
        # An interval over scenarios needs two of them.
        least = {"tokens": 1, "posts": 2, "paraphrases": 1, "bootstraps": 1, "permutations": 1}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise UserError(f"{name} is {getattr(self, name)}: give {bound} or more")
        if self.paraphrases > PARAPHRASES:
            raise UserError(f"{self.paraphrases} paraphrases: there are {PARAPHRASES}")
        if self.folds < 2:
            raise UserError(f"{self.folds} folds: give two or more")
        checked_dose(self.dose)

    def describe(self) -> dict[str, Any]:
        """JSON-able, for the manifest."""
        return asdict(self)
