"""`StimulusSet`: rows that belong together, with a hash of what they say."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probekit.errors import UserError, unknown
from probekit.stimuli.reading import locate, shipped, stream_rows
from probekit.stimuli.rows import COLUMNS, Stimulus, identified, stimulus
from probekit.stimuli.structure import check_pairs, check_quads, check_triplets


@dataclass(frozen=True)
class StimulusSet:
    """Rows in their order, and the name they go by."""

    name: str
    rows: tuple[Stimulus, ...]

    @classmethod
    def load(cls, name_or_path: str | Path) -> "StimulusSet":
        """Load a shipped set by name, or any accepted file or folder, and check its structure.

        A set from a path is named after the file, without the extension.

        Raises:
            UserError: anything in the file that is not as it should be, in one line with its place.
        """
        path = locate(name_or_path)
        rows = tuple(stimulus(*row) for row in identified(path, stream_rows(path)))
        for check in (check_pairs, check_quads, check_triplets):
            try:
                check(rows)
            except UserError as error:
                raise UserError(f"{path}: {error}") from error
        return cls(str(name_or_path) if name_or_path in shipped() else path.stem, rows)

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def sha256(self) -> str:
        """Hex SHA-256 of the rows in canonical form, in their order; the name is no part of it."""
        content = hashlib.sha256()
        for row in self.rows:
            # Columns of a Parquet file may hold dates or bytes, which JSON has no form for.
            line = json.dumps(asdict(row), sort_keys=True, ensure_ascii=False, default=repr)
            content.update(line.encode() + b"\n")
        return content.hexdigest()

    @property
    def texts(self) -> list[str]:
        return [row.text for row in self.rows]

    @property
    def ids(self) -> list[str]:
        return [row.id for row in self.rows]

    def column(self, name: str) -> NDArray[np.str_]:
        """[row] The values of a column as strings, empty where a row has none.

        Raises:
            UserError: no row has such a column.
        """
        if name in COLUMNS:
            return np.array([getattr(row, name) for row in self.rows], dtype=np.str_)
        extra = sorted({key for row in self.rows for key in row.extra})
        if name not in extra:
            names = [*COLUMNS, *extra]
            near = get_close_matches(name, names, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise UserError(f"{unknown('column', name, names)}{hint}")
        return np.array([str(row.extra.get(name, "")) for row in self.rows], dtype=np.str_)

    def select(self, **conditions: Any) -> "StimulusSet":
        """The rows that meet every condition, each a column with a value or several.

        Raises:
            UserError: an unknown column, or no row is left.
        """
        kept = np.ones(len(self), dtype=bool)
        for name, wanted in conditions.items():
            several = isinstance(wanted, Iterable) and not isinstance(wanted, str)
            column = self.column(name)
            met = np.isin(column, [str(value) for value in (wanted if several else [wanted])])
            if not (kept & met).any():
                there = ", ".join(repr(str(value)) for value in np.unique(column[kept])[:12])
                raise UserError(
                    f"no row of {self.name} is left at {name}={wanted!r}: "
                    f"{name} is {there} in the rows so far"
                )
            kept &= met
        return StimulusSet(self.name, tuple(self.rows[index] for index in np.flatnonzero(kept)))
