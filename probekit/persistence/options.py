"""What a study of retention is asked for."""

from dataclasses import asdict, dataclass
from typing import Any

from probekit.errors import UserError
from probekit.persistence.passages import windows


@dataclass(frozen=True)
class Retention:
    """What a study of retention is asked for, beside model and stimuli.

    Attributes:
        tokens: of the continuation; offsets run from 0, the prompt's last token, to this.
        cuts: offsets at which a part of the past is removed.
        learned: continuations that probes are fitted on.
        tested: other continuations, on which everything is reported.
        layers: those that are read (default: nine, evenly from the first to the last).
        chat: in the chat template (default: where the model has one).
        folds: in which the penalty and the layer are chosen.
        bootstraps, permutations: draws of intervals; of the null.
        seed: of continuations, folds, draws and what is removed at random.
    """

    tokens: int = 511
    cuts: tuple[int, ...] = (0, 7, 63)
    learned: int = 2
    tested: int = 1
    layers: tuple[int, ...] = ()
    chat: bool | None = None
    folds: int = 3
    bootstraps: int = 1000
    permutations: int = 1000
    seed: int = 0

    def check(self) -> None:
        """Raise a `UserError` where something is out of range."""
        for name in ("tokens", "learned", "tested", "bootstraps", "permutations"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}: give 1 or more")
        if self.folds < 2:
            raise UserError(f"{self.folds} folds: give two or more")
        if len(set(self.cuts)) < len(self.cuts):
            raise UserError(f"cuts {', '.join(map(str, self.cuts))}: give each once")
        last = windows(self.tokens)[-1].start - 1
        for cut in self.cuts:
            if not 0 <= cut <= last:
                raise UserError(
                    f"cut at offset {cut}: of {self.tokens} tokens the last window begins at "
                    f"{last + 1}; cut at 0 to {last}, or give a longer continuation"
                )

    def describe(self) -> dict[str, Any]:
        """JSON-able, for the manifest."""
        return asdict(self)
