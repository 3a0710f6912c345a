"""Lines of a run by what they are of: the look-ups that pages of several studies share."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from probekit.plots import Estimate
from probekit.report.causal import picked
from probekit.report.reading import NOTHING, Line, twice


@dataclass(frozen=True)
class Lines:
    """A run's manifest and its lines."""

    manifest: dict[str, Any]
    lines: tuple[Line, ...]

    @cached_property
    def _by_metric(self) -> dict[str, list[Line]]:
        found: dict[str, list[Line]] = {}
        for line in self.lines:
            found.setdefault(line.metric, []).append(line)
        return found

    def of(self, metric: str, **cells: Any) -> list[Line]:
        """Lines of a metric whose cells are these; a tuple accepts any of its members."""
        return picked(self._by_metric.get(metric, ()), **cells)

    def line(self, metric: str, **cells: Any) -> Line | None:
        """The one line of a metric with these cells.

        Raises:
            UserError: there is more than one.
        """
        found = self.of(metric, **cells)
        if len(found) > 1:
            raise twice(found[1])
        return found[0] if found else None

    def value(self, metric: str, **cells: Any) -> Estimate:
        """The figure of `line`, or a missing one."""
        found = self.line(metric, **cells)
        return found.estimate if found else NOTHING

    @cached_property
    def options(self) -> dict[str, Any]:
        """What the study was asked for."""
        return dict(self.manifest.get("options") or {})
