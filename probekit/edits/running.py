"""Edits during ordinary forward passes, under a KV cache too."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from probekit.edits.edit import Edit
from probekit.edits.places import Gate, Response, Where
from probekit.errors import UserError
from probekit.hooks import reading, writing
from probekit.sites import Site

if TYPE_CHECKING:
    from probekit.models import Model


_ENDLESS = (str, Response)
"""Positions that reach, or may reach, what is written after the prompt."""


class _Layout:
    """Which token of its prompt each column of the current forward pass is.

    Args:
        first: number of the batch's first item, where the batch is a part of what edits speak of.
        lengths: of the prompts (default: of what the first pass under a cache holds).
        beyond: whether the tokens that follow those prompts are edited.
    """

    def __init__(self, first: int, lengths: Sequence[int] | None, beyond: bool) -> None:
        self.first, self.given, self.beyond = first, lengths, beyond
        self.index = torch.empty(0, 0, dtype=torch.long)
        self.lengths: list[int] = []
        self.cache: Any = None
        self.open: dict[Gate, Tensor] = {}
        """`[row, token]` of this pass: where each gate is open."""

    def enter(self, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Forward pre-hook of the decoder body."""
        ids = kwargs.get("inputs_embeds")
        ids = ids if ids is not None else kwargs.get("input_ids", args[0] if args else None)
        mask, cache = kwargs.get("attention_mask"), kwargs.get("past_key_values")
        past = int(cache.get_seq_length()) if cache is not None else 0
        if ids is None or not (mask is None or (isinstance(mask, Tensor) and mask.dim() == 2)):
            raise UserError("an edited model needs input_ids, and a mask [row, token] if any")
        rows, width = ids.shape[:2]
        if mask is None:
            mask = torch.ones(rows, past + width, dtype=torch.long)
        mask = mask.long().cpu()
        self.index = torch.where(mask > 0, mask.cumsum(-1) - 1, -1)[:, -width:]
        if self.given is not None:
            self.lengths = list(self.given)
            if not self.beyond:
                self.index[self.index >= torch.tensor(self.lengths)[:, None]] = -1
        elif past == 0 or cache is not self.cache:
            # Positions are counted in the prompt, whatever is generated after it.
            self.lengths = mask.sum(-1).tolist()
        self.cache = cache

    def find(self, edit: Edit) -> Where:
        """The places that an edit reaches in this pass."""
        found: list[tuple[int, int, int, int]] = []
        if self.given is None:
            edit.check_rows(len(self.lengths))
        for row, length in enumerate(self.lengths):
            item, index = row + self.first, self.index[row].tolist()
            place = {token: column for column, token in enumerate(index) if token >= 0}
            end = max(place, default=-1) + 1 if isinstance(edit.positions, _ENDLESS) else None
            reached = edit.tokens(item, length, end)
            if isinstance(reached, range):  # A prompt may be long, and this pass one token.
                found += [(row, c, item, t - reached[0]) for t, c in place.items() if t in reached]
            else:
                found += [(row, place[t], item, n) for n, t in enumerate(reached) if t in place]
        where = Where.of(found)
        if edit.gate is None:
            return where
        return where.only(self.open[edit.gate][where.rows, where.columns])


@contextmanager
def applied(
    model: "Model",
    edits: Sequence[Edit],
    *,
    first: int = 0,
    lengths: Sequence[int] | None = None,
    beyond: bool = False,
) -> Iterator[None]:
    """Within the block, every forward pass of the model is edited; see `Model.edited`.

    Args:
        first: number of the batch's first item among those that the edits speak of.
        lengths: of the prompts, where the batch holds more than they (default: it does not).
        beyond: whether the tokens after those prompts are edited like generated ones, or left.
    """
    for edit in edits:
        edit.check(model.sites)
    layout = _Layout(first, lengths, beyond)
    gates = {edit.gate: edit.gate.site for edit in edits if edit.gate is not None}

    def receive(site: Site, value: Tensor) -> None:
        layout.open |= {gate: gate.open(value).cpu() for gate, at in gates.items() if at == site}

    def change(edit: Edit, value: Tensor) -> Tensor:
        where = layout.find(edit)
        return edit.change(model.sites, where)(value) if len(where.rows) else value

    enter = model.hf.base_model.register_forward_pre_hook(layout.enter, with_kwargs=True)
    try:
        # Gates are hooked first: at the site that is changed they see it as it was.
        with (
            reading(model.sites, list(dict.fromkeys(gates.values())), receive),
            writing(model.sites, [(edit.site, partial(change, edit)) for edit in edits]),
        ):
            yield
    finally:
        enter.remove()
