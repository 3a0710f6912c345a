"""A corpus, text by text: filtered, its labels in one taxonomy, in memory that does not grow."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from probekit.corpus.repeats import Repeats, key_of
from probekit.errors import UserError, unknown
from probekit.stimuli import Taxonomy, locate, stream_rows
from probekit.stimuli.hygiene import SURE, language_of
from probekit.stimuli.reading import NumberedRow, unit
from probekit.stimuli.rows import identified
from probekit.stimuli.schemas import adapt


class Item(NamedTuple):
    """One text of a corpus; its label is empty where the corpus has none.

    `group` names what is never parted: the text's scenario, or all that repeat it exactly.
    """

    id: str
    text: str
    label: str
    group: str


@dataclass(frozen=True)
class Filters:
    """Which texts of a corpus are kept.

    Attributes:
        fewest_words: texts with fewer are dropped; at 0 a row without text is an error.
        language: ISO 639-1 code; texts that are surely in another language are dropped.
        repeats: "keep" all, drop "exact" repeats, or "near" ones too.
        labels: those that are kept (default all).
    """

    fewest_words: int = 3
    language: str = ""
    repeats: str = "near"
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.repeats not in ("keep", "exact", "near"):
            raise unknown("way with repeats", self.repeats, ("keep", "exact", "near"))

    def describe(self) -> dict[str, Any]:
        """JSON-able, for a manifest."""
        return asdict(self)


@dataclass
class Corpus:
    """A file, folder or Hub dataset of texts, streamed.

    Args:
        name_or_path: a shipped set, a .jsonl, .csv, .tsv or .parquet file, a folder that
            `save_to_disk` wrote, or hf://datasets/OWNER/NAME/SPLIT.
        text: the column of texts.
        label: the column of labels (default: `emotion` or `label` where there is one).
        filters: which texts are kept.
        taxonomy: the labels' taxonomy, and to: the one that they are mapped to.

    Attributes:
        counts: of the last pass, how many rows were read, kept, and dropped for what reason.
    """

    name_or_path: str | Path
    text: str = "text"
    label: str = ""
    filters: Filters = field(default_factory=Filters)
    taxonomy: str = ""
    to: str = ""
    counts: Counter[str] = field(default_factory=Counter, init=False)

    def check(self) -> None:
        """Raise a `UserError` for a file or a taxonomy that is not there, before anything runs."""
        locate(self.name_or_path)
        for name in filter(None, (self.taxonomy, self.to)):
            Taxonomy.load(name)
        if self.to and not self.taxonomy:
            raise UserError(f"labels to {self.to}: say which taxonomy they are of")

    def __iter__(self) -> Iterator[Item]:
        """Stream what is kept; ids are those of the file, or row numbers.

        Raises:
            UserError: no such file or column, a row without text where such are not dropped, a
                label outside the taxonomy, or nothing is kept.
        """
        path, self.counts = locate(self.name_or_path), Counter()
        repeats = Repeats(near=self.filters.repeats == "near")
        rows = self._with_text(adapt(path, self._renamed(path)))
        # Where every row is kept, ids are few enough to be held against one another.
        unique = self.filters.repeats == "keep"
        for where, identity, text, row in identified(path, rows, unique=unique):
            label = self._label(where, _told(row, "emotion"))
            reason = self._dropped(text, label, repeats)
            self.counts[reason or "kept"] += 1
            if not reason:
                yield Item(identity, text, label or "", _told(row, "scenario") or key_of(text))
        if not self.counts["kept"]:
            told = ", ".join(f"{n} {why}" for why, n in self.counts.items() if why != "read")
            raise UserError(f"{path}: no text is left after the filters ({told}): loosen them")

    def _renamed(self, path: Path) -> Iterator[NumberedRow]:
        """Rows whose columns of texts and labels have the names that every set has."""
        for number, row in stream_rows(path):
            self.counts["read"] += 1
            for column, name in ((self.text, "text"), (self.label, "emotion")):
                if column and column not in row and (column, name) != ("text", "text"):
                    held = ", ".join(map(repr, row))
                    raise UserError(
                        f"{path}, {unit(path)} {number}: no column {column!r} (it has {held}): "
                        "name one of these"
                    )
                if column and column != name:
                    row = {**row, name: row[column]}
            yield number, row

    def _with_text(self, rows: Iterator[NumberedRow]) -> Iterator[NumberedRow]:
        """Rows without those that have no text, where short texts are dropped."""
        for number, row in rows:
            if self.filters.fewest_words and not str(row.get("text") or "").strip():
                self.counts["no text"] += 1
            else:
                yield number, row

    def describe(self) -> dict[str, Any]:
        """What a manifest says: columns, filters and labels."""
        return {
            "filters": self.filters.describe(),
            "text": self.text,
            "label": self.label,
            "taxonomy": self.taxonomy,
            "to": self.to,
        }

    def _label(self, where: str, label: str) -> str | None:
        """The label in the taxonomy asked for; None where its map has nothing for it."""
        if not label or not self.taxonomy:
            return label
        try:
            return Taxonomy.load(self.taxonomy).nearest(self.to or self.taxonomy, label)
        except UserError as error:
            raise UserError(f"{where}: {error}") from error

    def _dropped(self, text: str, label: str | None, repeats: Repeats) -> str:
        """Why a text is dropped; "" if it is kept."""
        filters = self.filters
        if len(re.findall(r"\w+", text)) < filters.fewest_words:
            return "too short"
        if label is None:
            return f"no label in {self.to}"
        if filters.labels and label not in filters.labels:
            return "another label"
        if filters.language:
            language, sure = language_of(text)
            if language != filters.language and sure >= SURE:
                return "another language"
        if filters.repeats != "keep" and (kind := repeats.kind(text)):
            return f"{kind} repeat"
        return ""


def _told(row: Mapping[str, Any], column: str) -> str:
    """A cell as a word, "" where there is none; 0 is one."""
    value = row.get(column)
    return "" if value is None else str(value)
