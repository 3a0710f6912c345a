"""`sweep`: thousands of edits, evaluated exactly, without running the model once for each.

1. Every prompt runs once, unedited; its keys, values and the streams between blocks are kept.
2. An edit runs from the first block and the first token that it changes, on the stored keys.
   Edits and prompts go together, sorted by layer; see `probekit.sweep.packing`.
3. Readouts take the last token of each prompt, and of the unembedding the rows that they need.

Every sweep also runs the shortest and the longest prompt of a group unchanged through the same
machinery, from the first and from the last layer that edits enter; where that differs from the
model's own pass, the architecture cannot share, and the whole model runs for every edit.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from probekit.activations import is_out_of_memory
from probekit.edits import Edit
from probekit.errors import UserError
from probekit.models import Model
from probekit.prompts import Encoded
from probekit.readouts import Readout
from probekit.runs import Progress, counting
from probekit.sweep import naive
from probekit.sweep.kept import Kept, Key
from probekit.sweep.packing import ROW_TOKENS, Member, Tails, chunks, pack
from probekit.sweep.panel import Panel, States
from probekit.sweep.trunk import Trunk, bytes_of
from probekit.validation import TOLERANCE

Floats = NDArray[np.float64]
Intervention = Edit | Sequence[Edit]
GROUP_BYTES = 1e9
"""Memory for the stored keys, values and streams of one group of prompts."""

__all__ = ["Intervention", "Swept", "sweep"]


@dataclass(frozen=True)
class Swept:
    """What a sweep found.

    Attributes:
        values: readout -> `[edit, item, column]`.
        clean: readout -> `[item, column]`, without an edit.
        columns: readout -> names of its columns.
        items: ids of the prompts.
        shared: whether the prefix was shared; False: the whole model ran for every edit.
        notes: what a reader should know: split labels, why nothing could be shared.
    """

    values: Mapping[str, Floats]
    clean: Mapping[str, Floats]
    columns: Mapping[str, tuple[str, ...]]
    items: tuple[str, ...]
    shared: bool
    notes: tuple[str, ...]

    def effects(self, readout: str) -> Floats:
        """Edited minus unedited, `[edit, item, column]`."""
        return self.values[readout] - self.clean[readout]


def sweep(
    model: Model,
    prompts: Sequence[Encoded],
    edits: Sequence[Intervention],
    readouts: Mapping[str, Readout],
    *,
    share: bool = True,
    keep: Path | None = None,
    batch_tokens: int | None = None,
    progress: Progress = lambda *_: None,
) -> Swept:
    """Evaluate edits on prompts: every edit on every prompt.

    Args:
        prompts: from `model.encode`; of any lengths.
        edits: single edits, or several that act together; `rows` of an edit are prompts, and its
            values `[item, width]` belong to the prompts in their order.
        readouts: name -> what is measured.
        share: False runs the whole model for every edit (the reference).
        keep: a folder: finished parts are written there, and a sweep that was killed goes on.
        batch_tokens: tokens in one forward pass (default 2,048; CUDA 16,384).
        progress: told of edits of prompts that are finished.

    Raises:
        UserError: no prompt, edit or readout; an edit that the model or a prompt does not allow.
    """
    if not prompts or not edits:
        raise UserError("a sweep needs at least one prompt and one edit")
    lists = [[edit] if isinstance(edit, Edit) else list(edit) for edit in edits]
    panel = Panel(readouts, model.sites)
    for edit in (edit for several in lists for edit in several):
        edit.check(model.sites, gated=False)
        edit.check_rows(len(prompts))
    job = _Sweep(model, prompts, lists, panel, batch_tokens, keep, progress)
    job.run(share)
    return Swept(
        job.values,
        job.clean,
        {name: readout.columns for name, readout in readouts.items()},
        tuple(prompt.id for prompt in prompts),
        job.shared,
        (*panel.notes, *job.notes),
    )


class _Sweep:
    """One sweep: its plan, and its figures as they come."""

    def __init__(
        self,
        model: Model,
        prompts: Sequence[Encoded],
        edits: list[list[Edit]],
        panel: Panel,
        batch_tokens: int | None,
        keep: Path | None,
        progress: Progress,
    ) -> None:
        self.model, self.prompts, self.edits, self.panel = model, prompts, edits, panel
        self.batch_tokens = batch_tokens or model.pass_tokens
        self.kept = Kept.open(keep, model, prompts, edits, panel) if keep else None
        self.advance = counting(progress, "edits", len(edits) * len(prompts))
        self.notes: list[str] = []
        self.shared = True
        sizes = {name: len(readout.columns) for name, readout in panel.readouts.items()}
        shape = (len(edits), len(prompts))
        self.values = {name: np.full((*shape, k), np.nan) for name, k in sizes.items()}
        self.clean = {name: np.full((len(prompts), k), np.nan) for name, k in sizes.items()}

    def run(self, share: bool) -> None:
        """Fill in all figures."""
        members = [
            self._member(number, item)
            for number in range(len(self.edits))
            for item in range(len(self.prompts))
        ]
        entries = sorted({member.entry for member in members})
        for group in self._groups(len(entries)):
            reason = "as asked"
            if share and self.shared:
                reason = self._run_halved(group, members, entries)
                self.notes += [f"nothing was shared: {reason}"] if reason else []
            if reason:
                self.shared = False
                self._run_whole(group)

    def _run_halved(
        self, group: range, members: list[Member], entries: Sequence[int]
    ) -> str | None:
        """Run a group; where memory does not suffice for its prompts, the halves of it."""
        own = [member for member in members if member.item in group]
        try:
            return self._run_group(group, own, entries)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error) or len(group) == 1:
                raise
        half = group.start + len(group) // 2
        parts = (range(group.start, half), range(half, group.stop))
        reasons = [self._run_halved(part, members, entries) for part in parts]
        return next((reason for reason in reasons if reason), None)

    def _member(self, number: int, item: int) -> Member:
        """Where an edit begins in a prompt: its first token and its first layer."""
        start, entry = len(self.prompts[item]) - 1, self.panel.deepest
        for edit in self.edits[number]:
            tokens = edit.tokens(item, len(self.prompts[item]))
            if tokens:
                start, entry = min(start, *tokens), min(entry, self._entry(edit))
        return Member(number, item, start, entry)

    def _entry(self, edit: Edit) -> int:
        """The first block to run. What a block hands on is changed at the door of the next."""
        layer = edit.site.layer
        after = edit.site.kind == "resid_post" and edit.site not in self.panel.sites
        return min(layer + after, self.panel.deepest)

    def _groups(self, streams: int) -> list[range]:
        """Consecutive prompts whose stored values fit the memory."""
        cuda = self.model.device.type == "cuda"
        # Of all memory, not of what is free: groups, and what is kept of them, stay the same.
        budget = torch.cuda.mem_get_info(self.model.device)[1] / 8 if cuda else GROUP_BYTES
        out, start, longest = [], 0, 0
        for stop, prompt in enumerate(self.prompts, 1):
            longest = max(longest, len(prompt))
            if (
                start < stop - 1
                and bytes_of(self.model, (stop - start) * longest, streams) > budget
            ):
                out.append(range(start, stop - 1))
                start, longest = stop - 1, len(prompt)
        return [*out, range(start, len(self.prompts))]

    def _run_group(self, group: range, members: list[Member], entries: Sequence[int]) -> str | None:
        """Run a group with a shared prefix; a reason where the architecture does not allow it."""
        prompts = [self.prompts[item] for item in group]
        local = [Member(m.edit, m.item - group.start, m.start, m.entry) for m in members]
        tails = Tails.of(prompts, self.panel.branch_tokens)
        parts = chunks(local, tails, self.model.n_layers, self.batch_tokens)
        if self._restored(group, parts):
            return None
        try:
            first = min(member.start for member in members)
            trunk = Trunk(self.model, prompts, tails, self.panel, entries, first, group.start)
            for entry in dict.fromkeys((entries[0], entries[-1])):
                if reason := self._differs(trunk, entry):
                    return reason
        except (TypeError, ValueError, KeyError, AttributeError, IndexError, RuntimeError) as error:
            if isinstance(error, UserError) or is_out_of_memory(error):
                raise
            said = str(error).strip().splitlines() or ["no word of why"]
            return f"{type(error).__name__}: {said[0][:120]}"
        self._put_clean(group, trunk.clean)
        for part in parts:
            self._run_chunk(trunk, part)
        return None

    def _restored(self, group: range, parts: Sequence[Sequence[Member]]) -> bool:
        """Whether every part of a group was kept, and then put in: no pass is needed."""
        if not self.kept:
            return False
        clean = self.kept.read(_clean_key(group))
        found = [self.kept.read(_part_key(group, part)) for part in parts]
        if clean is None or any(figures is None for figures in found):
            return False
        for name, value in clean.items():
            self.clean[name][group.start : group.stop] = value
        for part, figures in zip(parts, found, strict=True):
            self._put(part, figures or {}, group.start)
        return True

    def _differs(self, trunk: Trunk, entry: int) -> str | None:
        """Whether prompts run unchanged through the shared machinery come out as they should.

        The longest and the shortest prompt, each from the first edited token on and, beside it in
        the same row, from its last; the longest until its row is full.
        """
        lengths = trunk.tails.lengths
        order = sorted(range(len(lengths)), key=lambda item: lengths[item])
        nothing: list[Member] = []
        for item in dict.fromkeys((order[0], order[-1])):
            whole, last = (
                Member(-1, item, start, entry) for start in (trunk.first, lengths[item] - 1)
            )
            room = (ROW_TOKENS - trunk.tails.size(whole)) // trunk.tails.size(last)
            nothing += [whole] + [last] * (max(1, room) if item == order[-1] else 2)
        found = trunk.states(pack(nothing, trunk.tails), [])
        items = torch.tensor([member.item for member in nothing])
        # Double precision is not double everywhere: norms and softmaxes often stay in single.
        accepted = TOLERANCE.get(self.model.dtype, 1e-6)
        for place, value in found.items():
            was = trunk.clean[place][items.to(value.device)]
            gap = float(((value - was).abs().amax(-1) / was.abs().amax(-1)).max())
            if not gap <= accepted:
                return f"an unchanged prompt differs by {gap:.2g} (accepted {accepted:.0e})"
        return None

    def _run_chunk(self, trunk: Trunk, members: list[Member]) -> None:
        """Figures of a chunk, halved for want of memory."""
        group = range(trunk.base, trunk.base + len(trunk.tails.lengths))
        figures = None
        try:
            figures = self._kept(_part_key(group, members), lambda: trunk.run(members, self.edits))
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error) or len(members) == 1:
                raise
        if figures is None:  # Outside the handler, whose traceback holds what did not fit.
            half = len(members) // 2
            self._run_chunk(trunk, members[:half])
            self._run_chunk(trunk, members[half:])
            return
        self._put(members, figures, trunk.base)

    def _put(self, members: Sequence[Member], figures: Mapping[str, Floats], base: int) -> None:
        rows = [member.edit for member in members]
        items = [member.item + base for member in members]
        for name, value in figures.items():
            self.values[name][rows, items] = value
        self.advance(len(members))

    def _run_whole(self, group: range) -> None:
        """Run the whole model for every edit, as many prompts at a time as the budget allows."""
        longest = max(len(self.prompts[item]) for item in group)
        size = max(1, self.batch_tokens // longest)
        for start in range(group.start, group.stop, size):
            self._run_part(range(start, min(start + size, group.stop)))

    def _run_part(self, group: range) -> None:
        prompts = [self.prompts[item] for item in group]
        clean = naive.states(self.model, prompts, self.panel, [])
        self._put_clean(group, clean)
        for number, several in enumerate(self.edits):

            def run(several: list[Edit] = several) -> dict[str, Tensor]:
                at = naive.states(self.model, prompts, self.panel, several, first=group.start)
                return self.panel.read(at, clean)

            key = (group.start, len(group), Member(number, -1, 0, 0), 1)
            for name, value in self._kept(key, run).items():
                self.values[name][number, group.start : group.stop] = value
            self.advance(len(group))

    def _put_clean(self, group: range, clean: States) -> None:
        figures = self._kept(_clean_key(group), lambda: self.panel.read(clean, clean))
        for name, value in figures.items():
            self.clean[name][group.start : group.stop] = value

    def _kept(self, key: Key, make: Callable[[], dict[str, Tensor]]) -> dict[str, Floats]:
        """Figures of a part, from disk where they were kept."""
        figures = self.kept.read(key) if self.kept else None
        if figures is None:
            figures = {name: value.double().cpu().numpy() for name, value in make().items()}
            if self.kept:
                self.kept.write(key, figures)
        return figures


def _part_key(group: range, members: Sequence[Member]) -> Key:
    """What a finished part is kept under."""
    return (group.start, len(group), members[0], len(members))


def _clean_key(group: range) -> Key:
    return (group.start, len(group), Member(-1, -1, 0, 0), 0)
