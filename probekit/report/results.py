"""A probe run as the report reads it: typed rows, and the question each of them answers."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from probekit.errors import UserError
from probekit.plots import Estimate
from probekit.report.reading import NOTHING, Line, Recorded, read_folder
from probekit.runs import RESULTS

ALARM = "complex_neutral"
"""The target of false alarms: vivid texts with nothing at stake."""


class Question(NamedTuple):
    """What a probe was asked: a task on one set, trained on one arm and tested on another."""

    set: str
    task: str
    source: str
    target: str
    measure: str = "auroc"

    @property
    def within(self) -> bool:
        """Trained and tested on the same arm, or on a set that has no arms."""
        return self.source == self.target


class Block(NamedTuple):
    """Where in the model it was asked: empty for figures that need no model layer."""

    site: str = ""
    pooling: str = ""


class Kind(NamedTuple):
    """What a figure is: its metric, and the method and condition it was measured under."""

    metric: str = "auroc"
    method: str = "logistic"
    condition: str = "probe"


MEASURES = {
    "auroc": "AUROC",
    "spearman": "rank correlation",
    "cross_entropy": "cross-entropy",
}
"""What answers a question: classes, ratings, or soft labels. The last is better when smaller."""

IN_TEXT = Block()
PROBE, ABOVE, CHOSEN_LAYER = Kind(), Kind("auroc_above_text"), Kind("chosen_layer")
NULL = Kind(method="permutation", condition="null")
REFERENCE = Kind(method="reference", condition="baseline")
OF_CLASS, OF_CLASS_ABOVE = Kind("auroc_of_class"), Kind("auroc_of_class_above_text")
OF_CLASS_WORDS = Kind("auroc_of_class", "reference", "baseline")
"""Of one class against all others, at the headline's layer."""
KEYWORD_EFFECT = Kind("auroc_keyword_effect", "keyword_effect", "control")


class Row(NamedTuple):
    """One line of `results.csv`; `None` where a cell is empty."""

    question: Question
    block: Block
    kind: Kind
    layer: int | None
    emotion: str
    unit: str
    estimate: Estimate
    p: float | None
    q: float | None
    n: int | None
    clusters: int | None
    k: int | None
    split: str = "all"


@dataclass(frozen=True)
class Run:
    """A run's manifest and its rows, with the look-ups that the sections share."""

    manifest: dict[str, Any]
    rows: tuple[Row, ...]

    @cached_property
    def _index(self) -> dict[tuple[Any, ...], Row]:
        index: dict[tuple[Any, ...], Row] = {}
        for row in self.rows:
            # Confusion rows differ in emotion and unit only, and are read by `confusion`.
            if row.kind.metric == "confusion" or _alarm(row):
                continue
            key = row[:5]
            if key in index:
                given = ", ".join(str(part) for part in (*row.question, *row.block, *row.kind))
                raise UserError(f"{RESULTS} gives one figure twice ({given}): run again")
            index[key] = row
        return index

    def row(
        self,
        question: Question,
        block: Block,
        kind: Kind,
        layer: int | None = None,
        emotion: str = "",
    ) -> Row | None:
        """The row of one figure; `layer=None` is the headline, its layer chosen in inner folds."""
        return self._index.get((question, block, kind, layer, emotion))

    def estimate(
        self,
        question: Question,
        block: Block,
        kind: Kind,
        layer: int | None = None,
        emotion: str = "",
    ) -> Estimate:
        """The figure of `row`, or a missing one."""
        found = self.row(question, block, kind, layer, emotion)
        return found.estimate if found else NOTHING

    def over_layers(self, question: Question, block: Block, kind: Kind) -> dict[int, Estimate]:
        """A figure at each layer that has it."""
        found = {layer: self.row(question, block, kind, layer) for layer in self._layers}
        return {layer: row.estimate for layer, row in found.items() if row}

    @cached_property
    def _layers(self) -> list[int]:
        return sorted({row.layer for row in self.rows if row.layer is not None})

    @cached_property
    def questions(self) -> tuple[Question, ...]:
        """Questions a probe or a baseline answers, as they come in the results."""
        return _distinct(row.question for row in self.rows if row.kind.condition != "control")

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """Sites and poolings at which there is a probe, the primary one first."""
        found = _distinct(row.block for row in self.rows if row.kind.condition == "probe")
        return tuple(sorted(found, key=lambda block: block != self.primary))

    @cached_property
    def primary(self) -> Block:
        """The block that is headlined: named beforehand, never chosen by its figures.

        `resid_post` and `last` where the manifest names them, otherwise its first of each.
        """
        probed = [row.block for row in self.rows if row.kind.condition == "probe"]
        sites = self.manifest.get("sites") or [block.site for block in probed] or [""]
        poolings = self.manifest.get("poolings") or [block.pooling for block in probed] or [""]
        return Block(
            "resid_post" if "resid_post" in sites else str(sites[0]),
            "last" if "last" in poolings else str(poolings[0]),
        )

    @cached_property
    def headlines(self) -> tuple[Question, ...]:
        """One question for each set and task: the keyword-free arm, where there are arms."""
        within = [question for question in self.questions if question.within]
        free = {question[:2] for question in within if question.source == "keyword_free"}
        return tuple(q for q in within if q.source == "keyword_free" or q[:2] not in free)

    @cached_property
    def alarms(self) -> tuple[Row, ...]:
        """False alarms on vivid neutral texts, of the words and of the probes at the primary block.

        Each has its set and the arm that was learned from in its question.
        """
        found = [row for row in self.rows if row.question.target == ALARM]
        return tuple(row for row in found if row.block in (IN_TEXT, self.primary))

    @cached_property
    def held_out(self) -> tuple[str, ...]:
        """Sets whose figures are those of a test split."""
        return _distinct(
            row.question.set
            for row in self.rows
            if row.split == "test" and row.question.target != ALARM
        )

    @cached_property
    def sets(self) -> tuple[str, ...]:
        """Names of the stimulus sets, as they come in the results."""
        return _distinct(question.set for question in self.questions)

    def confusion(self, question: Question, block: Block) -> dict[tuple[str, str], float | None]:
        """Share of each true class that is taken for each class, by (true, predicted)."""
        return {
            (row.emotion, row.unit): row.estimate.value
            for row in self.rows
            if row.kind.metric == "confusion" and (row.question, row.block) == (question, block)
        }


def _distinct(items: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(items))


def read_run(folder: Path) -> Run:
    """Read the folder of a probe run.

    Raises:
        UserError: a file is missing or broken; the message names the file, and the line of a row.
    """
    return as_run(read_folder(folder))


def as_run(recorded: Recorded) -> Run:
    """The rows that the page of a probe run shows.

    Where a set has a test split, its rows are shown; the rest stays in the table.
    """
    measures = {
        (line.set, line.task): line.metric for line in recorded.lines if line.metric in MEASURES
    }
    rows = [_row(line, measures.get((line.set, line.task), "auroc")) for line in recorded.lines]
    tested = {row.question[:3] for row in rows if row.split == "test" and not _alarm(row)}
    shown = [row for row in rows if row.question[:3] not in tested or row.split == "test"]
    return Run(recorded.manifest, tuple(shown))


def _alarm(row: Row) -> bool:
    return row.question.target == ALARM


def _row(line: Line, measure: str) -> Row:
    # The figure that answers a question has one name here, whatever it measures.
    metric = line.metric.replace(measure, "auroc") if measure != "auroc" else line.metric
    method = PROBE.method if line.condition == PROBE.condition else line.method
    return Row(
        question=Question(line.set, line.task, line.source, line.target, measure),
        block=Block(line.site, line.pooling),
        kind=Kind(metric, method, line.condition),
        layer=line.layer,
        emotion=line.emotion,
        unit=line.unit,
        estimate=line.estimate,
        p=line.p,
        q=line.q,
        n=line.n,
        clusters=line.clusters,
        k=line.k,
        split=line.split,
    )
