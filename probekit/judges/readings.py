"""Blind readings of generated text: what the judges are held against.

Two files lie together (`stimuli/generated`). `generated.csv` has one row for each text: `id`,
`text` and how it was made (`model`, `method`, `emotion`, `dose`, `prompt`), which no reader and no
judge is shown, and `split`: "training" where judges may learn from what readers said of it, "test"
(or nothing) where they are held against it. `readings.csv` has one row for each reader and text:
`id`, `text_sha256` (the first 12 hex digits of the text's SHA-256), `round`, `reader`, `kind`,
`emotion` (one of the judges' labels, "other", or empty where the reader could not tell), `second`,
`coherence` (0 broken, 1 partly, 2 fine), `note`.
"""

import math
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from probekit.errors import UserError, unknown
from probekit.judges.judge import LABELS, text_key
from probekit.runs import digest
from probekit.stimuli import home, stream_rows
from probekit.stimuli.readings import text_hash

OTHER = "other"
CHOICES = (*LABELS, OTHER)
"""What a reader chooses from; "other" is an emotion that no judge can name."""
UNTOLD = ""
"""The answer of a reader who could not tell."""
COHERENCE = {"0", "1", "2"}
HALVES = ("dev", "report")
TRAINING, TEST = SPLITS = ("training", "test")
TEXTS, READINGS = "generated.csv", "readings.csv"


@dataclass(frozen=True)
class Generated:
    """A generated text and how it was made; `dose` is NaN where a method has none."""

    id: str
    text: str
    model: str
    method: str
    emotion: str
    dose: float
    prompt: str
    split: str = TEST


@dataclass(frozen=True)
class BlindReading:
    """What one reader said of one text; `coherence` is NaN where the reader gave none."""

    id: str
    round: int
    reader: str
    kind: str
    emotion: str
    second: str
    coherence: float


@dataclass(frozen=True)
class GeneratedReadings:
    """Generated texts, and the readings of them."""

    texts: tuple[Generated, ...]
    readings: tuple[BlindReading, ...]

    @staticmethod
    def are_shipped() -> bool:
        """Whether probekit comes with readings."""
        return (home() / "generated" / READINGS).is_file()

    @classmethod
    def load(cls, folder: str | Path | None = None) -> "GeneratedReadings":
        """Read both files of a folder; default the shipped one.

        Raises:
            UserError: a file is missing or broken, a reading of a text that is not there or that
                was changed since it was read.
        """
        where = home() / "generated" if folder is None else Path(folder)
        for name in (TEXTS, READINGS):
            if not (where / name).is_file():
                raise UserError(f"{where} holds no {name}: give a folder with {TEXTS}, {READINGS}")
        path = where / TEXTS
        texts = tuple(_text(f"{path}, line {n}", row) for n, row in stream_rows(path))
        by_id = {text.id: text for text in texts}
        if len(by_id) < len(texts):
            twice = Counter(text.id for text in texts).most_common(1)[0][0]
            raise UserError(f"{path}: the id {twice!r} stands twice: give each text its own")
        path = where / READINGS
        found = [_reading(f"{path}, line {n}", row, by_id) for n, row in stream_rows(path)]
        places = Counter((reading.id, reading.reader, reading.round) for reading in found)
        (name, reader, turn), count = places.most_common(1)[0]
        if count > 1:
            raise UserError(
                f"{path}: {reader} reads {name} {count} times in round {turn}: keep one"
            )
        return cls(texts, tuple(found))

    def half(self, which: str) -> "GeneratedReadings":
        """The test texts of every other prompt, by the digest of its id: "dev" or "report".

        What is chosen about judges is chosen on "dev"; figures that are told are of "report".

        Raises:
            UserError: another name, or a half without a text.
        """
        if which not in HALVES:
            raise unknown("half", which, HALVES)
        held = self.select(split=TEST)
        prompts = sorted({text.prompt for text in held.texts}, key=digest)
        other = held.select(prompt=prompts[1::2])
        if which == "report":
            return other
        # A text that was generated from two prompts must not be known on the half that is told of.
        told = {text.text for text in other.texts}
        own = [t.id for t in held.texts if t.prompt in prompts[::2] and t.text not in told]
        return held.select(id=own)

    def training(self) -> "GeneratedReadings":
        """The texts that judges may learn from: none of a prompt, or with words, of the others.

        Raises:
            UserError: there is none.
        """
        held = [text for text in self.texts if text.split == TEST]
        prompts, words = {text.prompt for text in held}, {text.text for text in held}
        kept = [t.id for t in self.texts if t.prompt not in prompts and t.text not in words]
        return self.select(id=kept, split=TRAINING)

    def select(self, **conditions: Any) -> "GeneratedReadings":
        """The texts whose fields have one of the given values, and their readings.

        Raises:
            UserError: none is left.
        """
        wanted = {
            name: set(values) if isinstance(values, (list, tuple, set)) else {values}
            for name, values in conditions.items()
        }
        kept = tuple(
            text
            for text in self.texts
            if all(getattr(text, name) in values for name, values in wanted.items())
        )
        if not kept:
            raise UserError(f"no generated text is left at {conditions}")
        ids = {text.id for text in kept}
        return replace(self, texts=kept, readings=tuple(r for r in self.readings if r.id in ids))

    def unseen_by(self, trained_on: Collection[str]) -> "GeneratedReadings":
        """The texts of prompts none of whose texts trained a judge.

        Raises:
            UserError: none is left.
        """
        seen = {text.prompt for text in self.texts if text_key(text.text) in trained_on}
        left = [text.prompt for text in self.texts if text.prompt not in seen]
        return self.select(prompt=left) if seen else self

    @cached_property
    def sha256(self) -> str:
        """Digest of texts, prompts and what readers said of the emotion."""
        said = [[r.id, r.round, r.reader, r.emotion] for r in self.readings]
        return digest([[[text.id, text.text, text.prompt] for text in self.texts], said])

    @cached_property
    def readers(self) -> tuple[str, ...]:
        """Names of the readers."""
        return tuple(sorted({reading.reader for reading in self.readings}))

    def answers(self, reader: str) -> list[str | None]:
        """[text] What a reader said at last, None where the text was not read."""
        last: dict[str, str] = {}
        for reading in sorted(self.readings, key=lambda reading: reading.round):
            if reading.reader == reader:
                last[reading.id] = reading.emotion
        return [last.get(text.id) for text in self.texts]

    def majority(self) -> list[str | None]:
        """[text] What more than half of its readers said; None where there is no such answer.

        A reader who could not tell has a voice too: such texts have no label.
        """
        found: list[str | None] = []
        for given in zip(*map(self.answers, self.readers), strict=True):
            voices = [answer for answer in given if answer is not None]
            answer, count = Counter(voices).most_common(1)[0] if voices else (UNTOLD, 0)
            found.append(answer if answer and 2 * count > len(voices) else None)
        return found

    def coherence(self) -> NDArray[np.float64]:
        """[text] Mean coherence over the readings of each reader's last round, NaN where none."""
        last: dict[tuple[str, str], float] = {}
        for reading in sorted(self.readings, key=lambda reading: reading.round):
            last[reading.id, reading.reader] = reading.coherence
        given: dict[str, list[float]] = {}
        for (name, _), value in last.items():
            if not math.isnan(value):
                given.setdefault(name, []).append(value)
        means = [np.mean(given[t.id]) if t.id in given else np.nan for t in self.texts]
        return np.array(means, dtype=np.float64)


def _text(where: str, row: dict[str, Any]) -> Generated:
    for name in ("id", "model", "method", "prompt"):
        if not row.get(name):
            raise UserError(f"{where}: no {name!r}: give id, text, model, method, prompt")
    if "text" not in row:
        raise UserError(f"{where}: no 'text': give id, text, model, method, prompt")
    try:
        dose = float(row["dose"]) if row.get("dose") else math.nan
    except ValueError as error:
        raise UserError(f"{where}: dose is {row['dose']!r}: give a number or nothing") from error
    if (split := row.get("split") or TEST) not in SPLITS:
        raise UserError(f"{where}: {unknown('split', split, [*SPLITS, 'or nothing'])}")
    return Generated(
        row["id"], row["text"] or "", row["model"], row["method"], row.get("emotion") or "", dose,
        row["prompt"], split,
    )  # fmt: skip


def _reading(where: str, row: dict[str, Any], texts: dict[str, Generated]) -> BlindReading:
    for name in ("id", "text_sha256", "reader"):
        if not row.get(name):
            raise UserError(f"{where}: no {name!r}: give id, text_sha256, reader, emotion")
    if (text := texts.get(row["id"])) is None:
        raise UserError(f"{where}: {row['id']!r} is no id of {TEXTS}: give readings of its texts")
    if str(row["text_sha256"])[:12].lower() != text_hash(text.text):
        raise UserError(
            f"{where}: the text {row['id']!r} is not the one that was read (its hash is "
            f"{text_hash(text.text)}, the reading's {row['text_sha256']}): read it again"
        )
    for name in ("emotion", "second"):
        if (given := row.get(name) or UNTOLD) and given not in CHOICES:
            raise UserError(f"{where}: {unknown(name, given, [*CHOICES, 'or nothing'])}")
    coherence = str(row.get("coherence") or "")
    if coherence and coherence not in COHERENCE:
        raise UserError(f"{where}: coherence is {coherence!r}: accepted are 0, 1, 2 or nothing")
    turn = str(row.get("round") or 1)
    if not turn.isdigit():
        raise UserError(f"{where}: round is {turn!r}: give a number from 1")
    return BlindReading(
        row["id"],
        int(turn),
        row["reader"],
        row.get("kind") or "person",
        row.get("emotion") or UNTOLD,
        row.get("second") or "",
        float(coherence) if coherence else math.nan,
    )
