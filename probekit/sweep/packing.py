"""Members of a sweep, packed along the token axis.

A member is one edit of one prompt: the tokens from its first edited one to the prompt's end, and
the branches that a readout appends. Members of one prompt lie side by side in a row. A mask lets
each see the prompt's stored keys before its start and its own tokens, and nothing of its
neighbours; so the keys are not copied for every edit, and one matrix product serves them all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from probekit.prompts import Encoded

ROW_TOKENS = 128
"""Tokens side by side in a row: enough for the matrix products, few for the mask."""
CALL_TOKENS = 40
"""What calling a block costs whatever it is given, in tokens: its weights pass through memory."""
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Member:
    """Edit number `edit` on prompt number `item`, from token `start` and layer `entry` on."""

    edit: int
    item: int
    start: int
    entry: int


@dataclass(frozen=True)
class Tails:
    """The prompts' tokens, each followed by the branches that readouts append.

    Attributes:
        ids: for each prompt its token ids, branches included.
        lengths: `[item]`, without branches.
        branch: `[token]` number of each appended token's branch; depth: its place there.
    """

    ids: Sequence[Sequence[int]]
    lengths: Sequence[int]
    branch: Ints
    depth: Ints

    @classmethod
    def of(cls, prompts: Sequence[Encoded], appended: Sequence[tuple[int, int, int]]) -> "Tails":
        """From prompts and the branches' tokens: id, branch and depth of each."""
        return cls(
            [(*prompt.input_ids, *(token for token, _, _ in appended)) for prompt in prompts],
            [len(prompt) for prompt in prompts],
            np.array([branch for _, branch, _ in appended], np.int64),
            np.array([depth for _, _, depth in appended], np.int64),
        )

    def size(self, member: Member) -> int:
        """Number of tokens that a member runs."""
        return self.lengths[member.item] - member.start + len(self.branch)


@dataclass(frozen=True)
class Packed:
    """Members in rows; arrays are `[row, column]` and -1 where a row is padded.

    Attributes:
        items: `[row]`, each row's prompt.
        member: which member a column belongs to.
        token: the column's place in its prompt, branches counted on after the last token.
        position: its position id.
        branch: its branch, -1 in the prompt itself.
        rows, offsets: `[member]`, where each member begins.
        prefix: number of stored keys that any member sees.
    """

    members: tuple[Member, ...]
    items: Ints
    member: Ints
    token: Ints
    position: Ints
    branch: Ints
    rows: Ints
    offsets: Ints
    prefix: int

    def seen(self, window: int | None) -> Tensor:
        """What each column sees, `[row, column, prefix + column]`.

        Args:
            window: a sliding window sees this many tokens, itself counted; None: all before.
        """
        start = np.array([m.start for m in self.members] + [self.prefix])[self.member]
        position, member = torch.tensor(self.position), torch.tensor(self.member)
        branch = torch.tensor(self.branch)
        keys = torch.arange(self.prefix)
        past = keys < torch.tensor(start)[..., None]
        query, key = position[..., :, None], position[..., None, :]
        own = (member[..., :, None] == member[..., None, :]) & (key <= query)
        own &= (branch[..., None, :] < 0) | (branch[..., None, :] == branch[..., :, None])
        if window is not None:
            past &= query - keys < window
            own &= query - key < window
        # A padding column sees itself alone: an empty row would be NaN.
        padding = (member < 0)[..., None]
        past &= ~padding
        own = torch.where(padding, torch.eye(own.shape[-1], dtype=torch.bool), own)
        return torch.cat([past, own], -1)


def pack(members: Sequence[Member], tails: Tails) -> Packed:
    """Put members side by side, those of one prompt in as few rows as `ROW_TOKENS` allows."""
    limit = max(ROW_TOKENS, max(tails.size(member) for member in members))
    order = sorted(range(len(members)), key=lambda n: members[n].item)
    items, used = [], []
    rows, offsets = np.zeros(len(members), np.int64), np.zeros(len(members), np.int64)
    for n in order:
        size, item = tails.size(members[n]), members[n].item
        if not items or items[-1] != item or used[-1] + size > limit:
            items.append(item)
            used.append(0)
        rows[n], offsets[n] = len(items) - 1, used[-1]
        used[-1] += size
    shape = (len(items), max(used))
    member, token, branch = (np.full(shape, -1, np.int64) for _ in range(3))
    position = np.zeros(shape, np.int64)
    for n, one in enumerate(members):
        length, own = tails.lengths[one.item], np.arange(one.start, tails.lengths[one.item])
        place = (rows[n], slice(offsets[n], offsets[n] + tails.size(one)))
        member[place] = n
        token[place] = np.concatenate([own, length + np.arange(len(tails.branch))])
        position[place] = np.concatenate([own, length + tails.depth])
        branch[place] = np.concatenate([np.full(len(own), -1), tails.branch])
    prefix = max(one.start for one in members)
    return Packed(
        tuple(members), np.array(items), member, token, position, branch, rows, offsets, prefix
    )


def chunks(
    members: Sequence[Member], tails: Tails, n_layers: int, budget: int
) -> list[list[Member]]:
    """Members in the order of their layer, together as long as that is cheaper than apart.

    A member that joins a chunk of a lower layer runs through layers that it need not; a chunk of
    its own calls every block above it once more.
    """
    ordered = sorted(members, key=lambda m: (m.entry, m.start, m.edit, m.item))
    waiting: dict[int, int] = {}
    for member in ordered:
        waiting[member.entry] = waiting.get(member.entry, 0) + tails.size(member)
    out: list[list[Member]] = []
    used = 0
    for member in ordered:
        size = tails.size(member)
        if out:
            first = out[-1][0].entry
            tokens = min(waiting[member.entry], budget)
            dear = tokens * (member.entry - first) > CALL_TOKENS * (n_layers - member.entry)
            if used + size <= budget and not (member.entry != first and dear):
                out[-1].append(member)
                used += size
                continue
        out.append([member])
        used = size
    return out
