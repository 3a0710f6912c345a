"""Rows of `results.csv` of a study of expression: each figure with its interval and its control."""

from collections.abc import Iterator

from probekit.evaluation import Row
from probekit.expression.rows.asking import Asking
from probekit.expression.rows.expressed import Expressed
from probekit.expression.rows.malleable import Malleable
from probekit.expression.study import Study


def found(study: Study) -> Iterator[Row]:
    """Every row of the parts that were asked for, in their order."""
    parts = {"asking": Asking, "malleable": Malleable, "expressed": Expressed}
    for name in study.options.parts:
        for row in parts[name](study).rows():
            yield {"task": name, "split": "test", **row}
