"""`StimulusSet`: rows that belong together, with a hash of what they say."""

import hashlib
import json
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probekit.errors import UserError, unknown
from probekit.markup import Html
from probekit.shown import card, grid, short
from probekit.stimuli.datasheet import declared_labels, read_datasheet
from probekit.stimuli.hygiene import check_labels, check_languages, check_markup
from probekit.stimuli.reading import locate, shipped, stream_rows
from probekit.stimuli.readings import READ_COLUMNS, read_readings, summarise
from probekit.stimuli.rows import COLUMNS, Stimulus, identified, stimulus
from probekit.stimuli.schemas import SHARES, adapt
from probekit.stimuli.structure import Misfit, check_pairs, check_quads, check_triplets
from probekit.stimuli.taxonomy import Taxonomy


class TestSplitWarning(UserWarning):
    """Something is about to be chosen on rows that were set aside for the last look."""

    __test__ = False  # Not a test, whatever pytest makes of its name.


@dataclass(frozen=True)
class StimulusSet:
    """Rows in their order, and the name they go by."""

    name: str
    rows: tuple[Stimulus, ...]

    @classmethod
    def load(cls, name_or_path: str | Path, *, taxonomy: str | None = None) -> "StimulusSet":
        """Load a shipped set by name, or any accepted file or folder, and check it.

        A set from a path is named after the file, without the extension. Files of other studies
        are known by their columns (`probekit.stimuli.schemas`). Blind readings that lie beside a
        set as `readings.csv` are merged; see `with_readings`.

        Args:
            name_or_path: what to load.
            taxonomy: one of `TAXONOMIES`, to hold the emotions against; default what the set's
                datasheet declares, or nothing.

        Raises:
            UserError: anything in the file that is not as it should be, in one line with its place.
        """
        path = locate(name_or_path)
        places, found = {}, []
        for row in identified(path, adapt(path, stream_rows(path))):
            found.append(stimulus(*row))
            places[found[-1].id] = row[0]
        declared, where = declared_labels(read_datasheet(path)), "the set's datasheet"
        if taxonomy is not None:
            declared, where = list(Taxonomy.load(taxonomy).labels), f"the taxonomy {taxonomy!r}"
        try:
            for check in (check_pairs, check_quads, check_triplets, check_markup, check_languages):
                check(found)
            if declared:
                check_labels(found, declared, where)
        except Misfit as error:
            raise UserError(f"{places[error.row]}: {error}") from error
        named = name_or_path if name_or_path in shipped() else _stem(path)
        loaded = cls(str(named), tuple(found))
        readings = path.with_name("readings.csv")
        beside = path.name == "stimuli.jsonl" and readings.is_file()
        return loaded.with_readings(readings) if beside else loaded

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"StimulusSet({self.name!r}, {len(self)} rows)"

    def _repr_html_(self) -> str:
        """Its size, two of its texts, and its rows by emotion and arm."""
        examples = [self.rows[0], self.rows[len(self) // 2]] if self.rows else []
        facts = {"rows": len(self), "splits": ", ".join(self.splits)}
        facts |= {f"text {row.id}": short(row.text) for row in examples}
        return card(self.name, facts, _counts(self))

    @cached_property
    def sha256(self) -> str:
        """Hex SHA-256 of the rows in canonical form, in their order.

        The name is no part of it, and neither is what readings add.
        """
        content = hashlib.sha256()
        for row in self.rows:
            fields = asdict(row)
            fields["extra"] = {k: v for k, v in row.extra.items() if k not in READ_COLUMNS}
            # Columns of a Parquet file may hold dates or bytes, which JSON has no form for.
            line = json.dumps(fields, sort_keys=True, ensure_ascii=False, default=repr)
            content.update(line.encode() + b"\n")
        return content.hexdigest()

    def describe(self) -> dict[str, Any]:
        """Name, digest and number of rows, for a manifest."""
        return {"name": self.name, "sha256": self.sha256, "rows": len(self)}

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

    def has(self, name: str) -> bool:
        """Whether a row has this column."""
        return any(getattr(row, name, "") or name in row.extra for row in self.rows)

    def numbers(self, name: str) -> NDArray[np.float64]:
        """[row] The values of a column as numbers, NaN where a row has none.

        Raises:
            UserError: no row has such a column, or it holds something else than numbers.
        """
        values = self.column(name)
        try:
            return np.array([float(value) if value else np.nan for value in values])
        except ValueError:
            strange = next(value for value in values if value and not _is_number(value))
            raise UserError(
                f"the column {name!r} of {self.name} holds {str(strange)!r}: a scale holds numbers"
            ) from None

    def shares(self) -> tuple[list[str], NDArray[np.float64]]:
        """Classes, and `[row, class]` shares of the soft labels, NaN where a row has none.

        Raises:
            UserError: no row has a soft label.
        """
        found = [row.extra.get(SHARES) for row in self.rows]
        given = [shares if isinstance(shares, Mapping) else None for shares in found]
        classes = sorted({name for shares in given if shares for name in shares})
        if not classes:
            raise UserError(
                f"{self.name} has no soft labels: give one column of votes for each label"
            )
        table = [
            [shares.get(c) or 0.0 for c in classes] if shares else [np.nan] * len(classes)
            for shares in given
        ]
        return classes, np.array(table, dtype=np.float64)

    def with_readings(self, *files: str | Path) -> "StimulusSet":
        """The set with what blind readers said, in columns of its own.

        Adds `read_emotion` (the choice of most), `read_valence` and `read_arousal` (means, 1 to 9)
        and `readers`. A reading is tied to the very words that were read, so readings of a text
        that was changed since are passed over. What was merged before is replaced: give all files
        at once.

        Raises:
            UserError: a file is broken, or none of its readings is of a text of this set.
        """
        readings = []
        for file in files:
            readings += (own := read_readings(Path(file)))
            if not summarise(self.rows, own):
                raise UserError(f"{file} holds no reading of a text of {self.name}: give its own")
        added = summarise(self.rows, readings)
        own = ({k: v for k, v in r.extra.items() if k not in READ_COLUMNS} for r in self.rows)
        rows = [
            replace(r, extra={**extra, **added.get(r.id, {})})
            for r, extra in zip(self.rows, own, strict=True)
        ]
        return StimulusSet(self.name, tuple(rows))

    @property
    def groups(self) -> NDArray[np.str_]:
        """`[row]`, what folds must not part: the scenario, else the quad, the pair, the row."""
        found = np.array(self.ids, dtype=np.str_)
        for name in ("pair", "quad", "scenario"):
            column = self.column(name) if self.has(name) else found
            found = np.where(column != "", column, found)
        return found

    @property
    def splits(self) -> list[str]:
        """The parts that the set is divided into for good, such as dev and test; often none."""
        return sorted({row.split for row in self.rows} - {""})

    def warn_if_test(self, what: str) -> None:
        """Warn if `what` (a layer, a penalty, a dose) is about to be chosen on test rows."""
        count = int((self.column("split") == "test").sum())
        if count:
            warnings.warn(
                f"{what} of {self.name} would be chosen on {count} rows of its test split: choose "
                "on select(split='dev'), and keep test for one last look",
                TestSplitWarning,
                stacklevel=3,
            )

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


def _counts(stimuli: StimulusSet) -> Html:
    """How many rows each emotion has in each arm."""
    pairs = Counter((row.emotion, row.arm) for row in stimuli.rows)
    emotions, arms = (sorted({pair[axis] for pair in pairs}) for axis in (0, 1))
    lines = [(e or "no emotion", *[pairs[e, arm] or "" for arm in arms]) for e in emotions]
    return grid(["rows", *[arm or "no arm" for arm in arms]], lines)


def _stem(path: Path) -> str:
    """What a set from a path is called: its file, or for a datasheet folder the folder."""
    return path.parent.name if path.name == "stimuli.jsonl" else path.stem


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True
