"""`Run`: a finished run folder as an object that a notebook can show."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from probekit.errors import UserError
from probekit.markup import Html, tag
from probekit.report import headline_of
from probekit.report.parts import Table
from probekit.report.reading import Recorded, read_folder
from probekit.runs import COLUMNS, REPORT, RESULTS
from probekit.shown import card, grid

if TYPE_CHECKING:
    import pandas

FIGURES = ("layer", "k", "dose", "value", "low", "high", "p", "q", "n", "clusters", "seed")
"""Columns of `results.csv` that hold numbers."""


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run; made by `Run.open`.

    Attributes:
        folder: where it lies.
        recorded: its files as they were read.
    """

    folder: Path
    recorded: Recorded

    @classmethod
    def open(cls, folder: str | Path) -> "Run":
        """Read the folder of a finished run of any study.

        Raises:
            UserError: a file is missing or broken, or the run has not come to its end.
        """
        recorded = read_folder(Path(folder))
        if recorded.manifest.get("complete") is not True:
            raise UserError(
                f"{folder} holds a run that is not finished: give its command again, and it goes on"
            )
        return cls(Path(folder), recorded)

    @property
    def manifest(self) -> dict[str, Any]:
        """What made it: study, model, stimuli, options, versions."""
        return self.recorded.manifest

    @cached_property
    def results(self) -> "pandas.DataFrame":
        """`results.csv`; text is empty, a number NaN where a column has no meaning."""
        import pandas

        text: dict[Any, Any] = {name: str for name in COLUMNS if name not in FIGURES}
        empty = {name: [""] for name in FIGURES}
        path = self.folder / RESULTS
        return pandas.read_csv(path, dtype=text, na_values=empty, keep_default_na=False)

    @cached_property
    def headline(self) -> Table:
        """Title, columns and rows of what its page says first."""
        return headline_of(self.recorded)

    @property
    def page(self) -> Path:
        """Its page; `write_report(run.folder)` writes it."""
        return self.folder / REPORT

    @property
    def model(self) -> str:
        """The name of the model it is of."""
        return str(self.manifest.get("model", {}).get("name", "a model without a name"))

    def __repr__(self) -> str:
        return f"Run({self.folder.name!r}, {self.recorded.study} of {self.model})"

    def _repr_html_(self) -> str:
        title, columns, rows = self.headline
        facts = {
            "model": self.model,
            "stimuli": ", ".join(
                str(each.get("name")) for each in self.manifest.get("stimuli", ())
            ),
            "seed": self.manifest.get("seed"),
            "page": self._link(),
        }
        return card(f"{self.recorded.study}: {title}", facts, grid(columns, rows))

    def _link(self) -> Html | str:
        """From where the notebook runs: a browser follows no path of the disk."""
        if not self.page.is_file():
            return f"none yet; write_report({str(self.folder)!r}) writes it"
        return tag("a", REPORT, href=quote(Path(os.path.relpath(self.page)).as_posix()))
