"""A figure with its interval, and how figures are printed."""

import math
from dataclasses import dataclass, fields

from probekit.errors import UserError

MISSING = "–"
ROUNDING = 1e-12
"""What float64 leaves of a figure that is 0."""


def number(value: float | None, *, signed: bool = False, digits: int = 2) -> str:
    """A figure as the field prints it: `.78`, `1.00`, `−.05`, `+.23`; a missing one is `–`.

    A figure that is not 0 is never shown as `.00`: it keeps its first significant digit. What is
    no more than rounding is 0.
    """
    if value is None:
        return MISSING
    value = 0.0 if abs(value) < ROUNDING else value
    if value and abs(value) < 0.5 * 10**-digits:
        digits = -math.floor(math.log10(abs(value)))
    text = f"{abs(value):.{digits}f}".removeprefix("0")
    sign = "−" if value < 0 else "+" if signed and value > 0 else ""
    return sign + text


@dataclass(frozen=True)
class Estimate:
    """A figure and its interval.

    Args:
        value: the figure; `None` where it is missing.
        low: lower end of the interval, `None` where there is no interval.
        high: upper end, likewise.

    Raises:
        UserError: a figure is not finite, an interval has one end only or has no value, or the
            value lies outside its interval.
    """

    value: float | None
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            given = getattr(self, field.name)
            if given is not None and not math.isfinite(given):
                raise UserError(
                    f"{field.name} is {given}: give a finite number, or None if missing"
                )
        if self.low is None or self.high is None:
            if self.low is not self.high:
                raise UserError(
                    f"interval [{self.low}, {self.high}] has one end: give both or none"
                )
        elif self.value is None or not self.low <= self.value <= self.high:
            raise UserError(f"interval [{self.low}, {self.high}] must hold its value {self.value}")

    @property
    def side(self) -> int | None:
        """1 or -1 where the whole interval is above or below 0, 0 where it holds 0, else `None`."""
        if self.low is None or self.high is None:
            return None
        return int(self.low > 0) - int(self.high < 0)

    def text(self, *, signed: bool = False, digits: int = 2) -> str:
        """For people: `.78 [.70, .86]`, without brackets where there is no interval."""
        shown, low, high = (
            number(each, signed=signed, digits=digits) for each in (self.value, self.low, self.high)
        )
        return shown if self.low is None else f"{shown} [{low}, {high}]"
