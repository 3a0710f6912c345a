"""What the edits of a group of prompts share: one unedited pass, its keys, values and streams."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from probekit.edits import Edit, Where
from probekit.hooks import Change, reading, stopping_after, writing
from probekit.masks import masks
from probekit.models import Model
from probekit.prompts import Encoded
from probekit.sites import Site
from probekit.sweep.packing import Member, Packed, Tails, pack
from probekit.sweep.panel import Panel


class Trunk:
    """One unedited pass over a group of prompts, and members run from its stored values.

    Args:
        prompts: the group, together in memory; `tails` are their tokens and branches.
        entries: layers from whose start members will run.
        first: the first token whose stream is kept.
        base: number of the first prompt among those that the edits speak of.

    Attributes:
        clean: what the readouts see without an edit.
    """

    def __init__(
        self,
        model: Model,
        prompts: Sequence[Encoded],
        tails: Tails,
        panel: Panel,
        entries: Sequence[int],
        first: int,
        base: int = 0,
    ) -> None:
        self.model, self.panel, self.first, self.base = model, panel, first, base
        self.tails = tails
        self._read_prompts(prompts, entries)
        if len(tails.branch):
            self._read_branches(entries)

    @torch.no_grad()
    def _read_prompts(self, prompts: Sequence[Encoded], entries: Sequence[int]) -> None:
        """The model's own pass over the prompts: nothing here is packed."""
        model, batch = self.model, self.model.collate(prompts)
        self.width = batch.input_ids.shape[1]
        last = torch.tensor(self.tails.lengths) - 1
        rows = torch.arange(len(prompts))
        self.streams: dict[int, Tensor] = {}
        self.clean: dict[Site | None, Tensor] = {}
        places = [Site("resid_pre", entry) for entry in entries]

        def receive(site: Site, value: Tensor) -> None:
            if site in places:
                self.streams[site.layer] = value[:, self.first :].clone()
            if site in self.panel.sites:
                self.clean[site] = value[rows, last][:, None].clone()

        cache = DynamicCache()
        with (
            reading(model.sites, list(dict.fromkeys([*places, *self.panel.sites])), receive),
            _ending(model, self.panel),
        ):
            out = model.hf.base_model(**batch.inputs(), past_key_values=cache, use_cache=True)
            self.clean[None] = out.last_hidden_state[rows, last][:, None]
        layers: list[Any] = cache.layers
        self.keys: list[Tensor] = [layer.keys for layer in layers]
        self.values: list[Tensor] = [layer.values for layer in layers]

    @torch.no_grad()
    def _read_branches(self, entries: Sequence[int]) -> None:
        """Run what readouts append to the prompts, from the embedding on."""
        members = [Member(-1, item, n, 0) for item, n in enumerate(self.tails.lengths)]
        packed = pack(members, self.tails)
        appended: dict[int, Tensor] = {}
        rows, columns = self._places(packed, 0)

        def receive(site: Site, value: Tensor) -> None:
            appended[site.layer] = value[rows, columns].clone()

        with reading(self.model.sites, [Site("resid_pre", entry) for entry in entries], receive):
            states = self._body(packed)
        for entry in entries:
            self.streams[entry] = torch.cat([self.streams[entry], appended[entry]], 1)
        self.clean[None] = torch.cat([self.clean[None], states[rows, columns]], 1)

    @torch.no_grad()
    def run(self, members: Sequence[Member], edits: Sequence[Sequence[Edit]]) -> dict[str, Tensor]:
        """Figures `[member, column]` of members; edit -1 is none."""
        packed = pack(members, self.tails)
        states = self.states(packed, edits)
        items = torch.tensor([member.item for member in members])
        return self.panel.read(states, self.clean, items)

    @torch.no_grad()
    def states(self, packed: Packed, edits: Sequence[Sequence[Edit]]) -> dict[Site | None, Tensor]:
        """What the readouts see of packed members, `[member, 1 + branch token, d]`."""
        model, out = self.model, {}
        entry = min(member.entry for member in packed.members)
        rows, columns = self._places(packed, 1)

        def receive(site: Site, value: Tensor) -> None:
            out[site] = value[rows[:, :1], columns[:, :1]]

        # A block that is skipped is passed all the same: what lies below the entry is unchanged.
        run = [site for site in self.panel.sites if site.layer >= entry]
        stream = self._stream(packed, entry)
        changes: list[tuple[Site, Change]] = [(Site("resid_pre", entry), lambda _: stream)]
        changes += self._changes(packed, edits, entry)
        with (
            _skipping(model, entry),
            writing(model.sites, changes),
            reading(model.sites, run, receive),
            _ending(model, self.panel),
        ):
            out[None] = self._body(packed)[rows, columns]
        items = torch.tensor([member.item for member in packed.members])
        return {site: out[site] if site in out else self.clean[site][items] for site in self.clean}

    def _body(self, packed: Packed) -> Tensor:
        """The decoder body over packed members, forking the stored keys and values."""
        device = self.model.device
        ids = np.zeros_like(packed.token)
        for row, item in enumerate(packed.items):
            ids[row] = np.asarray(self.tails.ids[item])[packed.token[row]]
        cache = _Fork(self.keys, self.values, torch.tensor(packed.items), packed.prefix)
        return self.model.hf.base_model(
            input_ids=torch.tensor(ids, device=device),
            attention_mask=masks(self.model, packed.seen),
            position_ids=torch.tensor(packed.position, device=device),
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state

    def _stream(self, packed: Packed, entry: int) -> Tensor:
        """The stored stream of every column at the start of a layer."""
        stored = self.streams[entry]
        lengths = np.array(self.tails.lengths)[packed.items][:, None]
        branch = packed.token - lengths + self.width  # Branches lie after the padded prompts.
        column = np.where(packed.token < lengths, packed.token, branch) - self.first
        column[packed.member < 0] = 0
        rows = torch.tensor(packed.items, device=stored.device)[:, None]
        return stored[rows, torch.tensor(column, device=stored.device)]

    def _places(self, packed: Packed, before: int) -> tuple[Tensor, Tensor]:
        """Rows and columns `[member, token]` of the last tokens of prompts and of the branches."""
        lengths = np.array([self.tails.lengths[m.item] - m.start for m in packed.members])
        step = np.arange(-before, len(self.tails.branch))
        columns = torch.tensor((packed.offsets + lengths)[:, None] + step)
        return torch.tensor(packed.rows)[:, None].expand_as(columns), columns

    def _changes(
        self, packed: Packed, edits: Sequence[Sequence[Edit]], entry: int
    ) -> list[tuple[Site, Change]]:
        """Every edit of the members at the places that it reaches, in the order it was given.

        What the block below the entry hands on is changed at the door of the entry, and so before
        anything that is done there.
        """
        of_edit: dict[int, list[int]] = {}
        for n, member in enumerate(packed.members):
            of_edit.setdefault(member.edit, []).append(n)
        of_edit.pop(-1, None)
        handed: list[tuple[Site, Change]] = []
        inside: list[tuple[Site, Change]] = []
        for number, own in of_edit.items():
            for edit in edits[number]:
                where = self._where(packed, own, edit)
                if not len(where.rows):
                    continue
                site, below = edit.site, edit.site.layer < entry
                edit = replace(edit, site=Site("resid_pre", site.layer + 1)) if below else edit
                change = edit.change(self.model.sites, where)
                (handed if below else inside).append((edit.site, change))
        return handed + inside

    def _where(self, packed: Packed, own: Sequence[int], edit: Edit) -> Where:
        found: list[tuple[int, int, int, int]] = []
        for n in own:
            member = packed.members[n]
            item, begin = member.item + self.base, int(packed.offsets[n]) - member.start
            tokens, row = edit.tokens(item, self.tails.lengths[member.item]), int(packed.rows[n])
            found += [(row, begin + token, item, k) for k, token in enumerate(tokens)]
        return Where.of(found)


class _Fork(DynamicCache):
    """Stored keys and values, to which a pass appends without keeping what it appends."""

    def __init__(self, keys: list[Tensor], values: list[Tensor], rows: Tensor, width: int) -> None:
        super().__init__()
        self._stored, self._rows, self._width = (keys, values), rows, width
        self._whole = torch.equal(rows, torch.arange(len(keys[0])))

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """The stored prefix of this layer with the new keys and values after it."""
        new = (key_states, value_states)
        if not self._width:
            return new
        out = []
        for stored, fresh in zip(self._stored, new, strict=True):
            part = stored[layer_idx][:, :, : self._width]
            part = part if self._whole else part[self._rows.to(part.device)]
            out.append(torch.cat([part, fresh], -2))
        return out[0], out[1]

    def get_seq_length(self, layer_idx: int = 0) -> int:  # noqa: ARG002
        """Number of stored tokens."""
        return self._width


@contextmanager
def _ending(model: Model, panel: Panel) -> Iterator[None]:
    """End each pass where nothing further is read."""
    if panel.final:
        yield
        return
    with stopping_after(model.sites, panel.deepest):
        yield


@contextmanager
def _skipping(model: Model, entry: int) -> Iterator[None]:
    """Within the block, the blocks below `entry` hand on what they are given.

    A hook cannot keep a module from running, so their `forward` is covered on these very objects
    and uncovered whatever is raised.
    """

    def cover(block: Any) -> None:
        if "forward" in vars(block):
            stack.callback(setattr, block, "forward", block.forward)
        else:
            stack.callback(delattr, block, "forward")
        block.forward = lambda hidden_states, *_, **__: hidden_states

    with ExitStack() as stack:
        for layer in range(entry):
            cover(model.sites.block(layer))
        yield


def bytes_of(model: Model, tokens: int, streams: int) -> int:
    """Memory of a trunk of so many tokens with so many layers' streams kept."""
    config = model.config
    size = torch.empty((), dtype=model.dtype).element_size()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    each = getattr(config, "head_dim", None) or model.d_model // config.num_attention_heads
    return tokens * size * (2 * model.n_layers * heads * each + streams * model.d_model)
