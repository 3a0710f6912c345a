"""`Edit`: one operation at one site, at some tokens, on a part of the vector."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from probekit.edits.operations import Operation, as_values
from probekit.edits.places import Gate, Positions, Response, Where, as_positions
from probekit.errors import UserError
from probekit.hooks import Change
from probekit.sites import Site, SiteMap


@dataclass(frozen=True, eq=False)
class Edit:
    """One operation at one site.

    Args:
        site: a `Site` or a string: "resid_post.3", "z.3.5" (head 5), "mlp_post.3.17" (neuron 17).
        positions: "all", a token's index in the prompt (-1: its last), several, or several for
            each row. Pads are never counted; a token has the same index with a KV cache. "all"
            are also the tokens that are generated after the prompt; a number never is (without a
            cache every pass is a new prompt, and -1 moves along). "after_first": all but the
            first, an attention sink in most models; "prompt": its tokens only; "response" or a
            `Response`: its last token, and those that are generated.
        operation: what is done there.
        units: heads of `z` or neurons of `mlp_post` (all: None).
        direction: `[d]`: only the coordinate along it is changed; scaled to unit length.
        rows: rows of the batch that are changed (all: None).
        gate: only tokens where a probe reads above a threshold (all: None).

    Raises:
        UserError: a site that cannot be read, or both units and a direction.
    """

    site: Site
    positions: Positions
    operation: Operation
    units: tuple[int, ...] | None = None
    direction: Tensor | None = None
    rows: tuple[int, ...] | None = None
    gate: Gate | None = None

    def __init__(
        self,
        site: str | Site,
        positions: Positions | Literal["response"] | Sequence[int] | Sequence[Sequence[int]],
        operation: Operation,
        *,
        units: Sequence[int] | None = None,
        direction: Any = None,
        rows: Sequence[int] | None = None,
        gate: Gate | None = None,
    ) -> None:
        place, unit = (site, None) if isinstance(site, Site) else Site.parse(site)
        if unit is not None and units is not None:
            raise UserError(f"site {site} names a unit already; leave units out")
        units = (unit,) if unit is not None else units
        if units is not None and direction is not None:
            raise UserError("an edit changes units or the part along a direction, not both")
        if direction is not None:
            vector = as_values(direction).double()
            if vector.dim() != 1 or not float(vector.norm()) > 0:
                raise UserError("an edit's direction is one vector [d] that is not zero")
            direction = vector / vector.norm()
        settle = partial(object.__setattr__, self)
        settle("site", place)
        settle("positions", as_positions(positions))
        settle("operation", operation)
        settle("units", None if units is None else tuple(int(unit) for unit in units))
        settle("direction", direction)
        settle("rows", None if rows is None else tuple(int(row) for row in rows))
        settle("gate", gate)

    def check(self, sites: SiteMap, *, gated: bool = True) -> None:
        """Raise a `UserError` unless the model has the site, the units and the width.

        Args:
            gated: whether a gate is allowed.
        """
        sites.tap(self.site)
        if self.gate is not None and not gated:
            raise UserError("a gated edit cannot be swept: run it with model.edited or generate")
        if self.gate is not None:
            self.gate.check(sites, self.site)
        width = sites.width(self.site)
        if self.units is not None:
            count, word = sites.units(self.site.kind), "head" if self.site.kind == "z" else "neuron"
            for unit in self.units:
                if not 0 <= unit < count:
                    raise UserError(
                        f"{word} {unit} of layer {self.site.layer}: this model has {word}s 0 to "
                        f"{count - 1}; give one of them"
                    )
        own = len(self._columns(sites)) if self.direction is None else 1
        if self.direction is not None and len(self.direction) != width:
            raise UserError(
                f"site {self.site} is {width} wide, the direction {len(self.direction)}"
            )
        given = [value.shape[-1] for value in self.operation.values if value.dim()]
        if (spanned := self.operation.spanned) not in (None, own):
            raise UserError(f"values for {self.site} are {spanned} wide: give {own}")
        if wrong := [size for size in given if size not in (1, own, width)]:
            raise UserError(
                f"values for {self.site} are {wrong[0]} wide: give {own} (its part) or {width}"
            )

    def check_rows(self, count: int) -> None:
        """Raise a `UserError` unless a batch of so many rows has its rows, and values for each."""
        if strange := [row for row in self.rows or () if not 0 <= row < count]:
            raise UserError(f"row {strange[0]}: the batch has rows 0 to {count - 1}")
        rows = self.rows if self.rows is not None else range(count)
        for value in self.operation.values:
            if value.dim() > 1 and rows and max(rows) >= len(value):
                raise UserError(f"values for {len(value)} items, and the batch has {count} rows")

    def change(self, sites: SiteMap, where: Where) -> Change:
        """The function from the site's value `[row, token, d]` to the edited one."""

        def change(value: Tensor) -> Tensor:
            place = (where.rows.to(value.device), where.columns.to(value.device))
            old = value[place]
            new = self._new(old, sites, where)
            if isinstance(self.positions, Response) and self.positions.decay < 1:
                share = self.positions.decay ** where.ordinals.to(value.device)
                new = old + share[:, None].to(old) * (new - old)
            return value.index_put(place, new)

        return change

    def _new(self, old: Tensor, sites: SiteMap, where: Where) -> Tensor:
        """The edited vectors `[n, d]`."""
        if self.direction is not None:
            vector = self.direction.to(old)
            part = (old @ vector)[:, None]
            values = tuple(_at(_along(v, vector), where, part) for v in self.operation.values)
            return old + (self.operation(part, *values) - part) * vector
        if self.units is None:
            values = tuple(_at(v, where, old) for v in self.operation.values)
            return self.operation(old, *values)
        columns = self._columns(sites).to(old.device)
        part = old[:, columns]
        values = tuple(
            _at(
                v[..., columns.to(v.device)] if v.dim() and v.shape[-1] > len(columns) else v,
                where,
                part,
            )
            for v in self.operation.values
        )
        return old.index_copy(1, columns, self.operation(part, *values).to(old.dtype))

    def _columns(self, sites: SiteMap) -> Tensor:
        """Places of the units in the site's last axis."""
        width = sites.width(self.site)
        if self.units is None:
            return torch.arange(width)
        each = width // sites.units(self.site.kind)
        return (torch.tensor(self.units)[:, None] * each + torch.arange(each)).flatten()

    def tokens(self, item: int, length: int, end: int | None = None) -> Sequence[int]:
        """Indices of the tokens it reaches in item `item` of a batch.

        Args:
            length: of the prompt, in tokens.
            end: of the prompt and what has been written after it (default: nothing has).

        Raises:
            UserError: an index outside the prompt, or positions for fewer rows.
        """
        end = length if end is None else end
        if self.rows is not None and item not in self.rows:
            return ()
        if isinstance(self.positions, Response):
            return range(self.positions.first(length), end)
        if isinstance(self.positions, str):
            first = int(self.positions == "after_first")
            return range(first, length if self.positions == "prompt" else end)
        wanted: Any = (self.positions,) if isinstance(self.positions, int) else self.positions
        if wanted and isinstance(wanted[0], tuple):
            if item >= len(wanted):
                raise UserError(f"positions for {len(wanted)} rows, and row {item} is asked for")
            wanted = wanted[item]
        out = [index + length if index < 0 else index for index in wanted]
        if strange := [i for i, index in enumerate(out) if not 0 <= index < length]:
            raise UserError(
                f"position {wanted[strange[0]]}: row {item} has {length} tokens, 0 to {length - 1}"
            )
        return out

    def explain(self) -> str:
        """What will happen, in words."""
        part = "the whole vector"
        if self.units is not None:
            word = "head" if self.site.kind == "z" else "neuron"
            part = f"{word}{'s' * (len(self.units) > 1)} {', '.join(map(str, self.units))}"
        elif self.direction is not None:
            part = "the part along a direction"
        rows = "every row" if self.rows is None else f"rows {', '.join(map(str, self.rows))}"
        gated = (
            ""
            if self.gate is None
            else f", only where a probe at {self.gate.site} reads above {self.gate.threshold:g}"
        )
        return (
            f"layer {self.site.layer}, {self.site.kind}, {part}, {self._tokens_in_words()}, "
            f"{rows}{gated}: {self.operation.explain()}"
        )

    def _tokens_in_words(self) -> str:
        match self.positions:
            case "all":
                return "every token"
            case "after_first":
                return "every token but the first"
            case "prompt":
                return "every token of the prompt"
            case Response(start, decay):
                fading = "" if decay == 1 else f", times {decay:g} with each token"
                since = "of the reply" if start == 0 else f"of the reply from token {start} on"
                return f"the writing {since}{fading}"
            case -1:
                return "the last token of the prompt"
            case int(index):
                return f"token {index}"
            case [tuple(), *_]:
                return "tokens of its own in each row"
            case _:
                return f"tokens {', '.join(map(str, self.positions))}"


def _along(value: Tensor, vector: Tensor) -> Tensor:
    """Coordinates `[..., 1]` of whole vectors; a number or a coordinate stays as it is."""
    whole = value.dim() and value.shape[-1] == len(vector)
    return (value @ vector.to(value))[..., None] if whole else value


def _at(value: Tensor, where: Where, part: Tensor) -> Tensor:
    """An operation's values at the places of an edit, `[n, width]` or broadcastable to it."""
    value = value.to(part)
    if value.dim() < 2:
        return value
    for name, count, asked in (
        ("items", len(value), where.items),
        ("positions", value.shape[1], where.ordinals if value.dim() == 3 else where.items[:0]),
    ):
        if len(asked) and int(asked.max()) >= count:
            raise UserError(f"values for {count} {name}, and number {int(asked.max())} is edited")
    items = where.items.to(part.device)
    return value[items] if value.dim() == 2 else value[items, where.ordinals.to(part.device)]
