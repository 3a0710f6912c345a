"""What a study of circuits is asked for."""

from dataclasses import asdict, dataclass, field
from typing import Any

from probekit.circuits.assembly import ALLOCATIONS, Allocation, Spread
from probekit.circuits.texts import Source
from probekit.errors import UserError, unknown
from probekit.steering import Decoding

STAGES = (
    "texts",
    "activity",
    "scores",
    "heads",
    "influence",
    "circuits",
    "validate",
    "edges",
    "modulate",
)
"""In their order; each needs those before it."""
EMOTIONS = ("rage", "grief", "terror", "ecstasy", "amazement", "loathing")
"""Ekman's six, as the vignettes and the judges call them."""
WRITING = Decoding(max_new_tokens=32, temperature=0.8, top_p=0.9)


@dataclass(frozen=True)
class Circuits:
    """What a study of circuits is asked for, beside model and judge.

    Attributes:
        emotions: which.
        source: of scores and directions, "expressing" or "reading" (vignettes).
        scenarios: from which expressions are elicited; every_event: all three events of each.
        held_out: test scenarios whose accepted expressions are read under ablation.
        seeds: of sampling; each context is answered once a seed.
        chat: in the chat template (default: where the model has one).
        decoding: how expressions are written.
        k: size of the circuits; ks: sizes of the curve (default: powers of four).
        allocation, spread: how the budget is spread.
        zero: heads are scored by setting them to zero, not to their neutral mean.
        head_texts: texts of an emotion and half by which heads are ablated.
        injected: neutral texts at whose last token directions are injected.
        replies: held-out expressions of an emotion that are read under ablation, at most.
        draws: random sets of components beside every circuit of size k.
        edges: heads and neurons of each emotion between which paths are measured.
        prompts: test scenarios that methods write after, each with its three events.
        scales: doses of modulation; doses: of steering, relative to the residual norm.
        bootstraps, permutations, seed: draws.
    """

    emotions: tuple[str, ...] = EMOTIONS
    source: Source = "expressing"
    scenarios: int = 80
    every_event: bool = False
    held_out: int = 24
    seeds: tuple[int, ...] = (0,)
    chat: bool | None = None
    decoding: Decoding = WRITING
    k: int = 140
    ks: tuple[int, ...] = ()
    allocation: Allocation = "influence"
    spread: Spread = field(default_factory=Spread)
    zero: bool = False
    head_texts: int = 8
    injected: int = 16
    replies: int = 8
    draws: int = 2
    edges: int = 12
    prompts: int = 4
    scales: tuple[float, ...] = (1.0, 2.0)
    doses: tuple[float, ...] = (0.08,)
    bootstraps: int = 1000
    permutations: int = 1000
    seed: int = 0

    def check(self) -> None:
        """Raise a `UserError` where something is none, twice, unknown or out of range."""
        for name in ("emotions", "seeds", "scales", "doses"):
            given = getattr(self, name)
            if not given or len(set(given)) < len(given):
                said = ", ".join(map(str, given)) or "none"
                raise UserError(f"{name} {said}: give one or more, each once")
        if len(self.emotions) < 2:
            raise UserError(
                f"emotions {', '.join(self.emotions)}: a direction is of one emotion against "
                "others; give two or more"
            )
        if self.source not in ("expressing", "reading"):
            raise unknown("source", self.source, ("expressing", "reading"))
        if self.allocation not in ALLOCATIONS:
            raise unknown("allocation", self.allocation, ALLOCATIONS)
        for name in (
            "held_out",
            "replies",
            "head_texts",
            "draws",
            "edges",
            "prompts",
            "bootstraps",
        ):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}: give 1 or more")

    def describe(self) -> dict[str, Any]:
        """JSON-able, for the manifest."""
        return asdict(self)
