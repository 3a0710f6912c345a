"""Colours for light and dark pages: Okabe and Ito's hues, at 3:1 or more against the page."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Theme:
    """Colours of a drawing, all `#rrggbb`, so that one theme can be swapped for another.

    `sequential` and `diverging` are the stops of the colour scales, evenly spaced, each of which
    the ink can be read on.
    """

    page: str
    ink: str
    muted: str
    grid: str
    words: str
    series: tuple[str, ...]
    sequential: tuple[str, ...]
    diverging: tuple[str, ...]

    @property
    def colours(self) -> tuple[str, ...]:
        """Every colour, in an order that is the same in every theme."""
        plain = (self.page, self.ink, self.muted, self.grid, self.words)
        return (*plain, *self.series, *self.sequential, *self.diverging)


LIGHT = Theme(
    page="#fdfcfa",
    ink="#1f2328",
    muted="#6b7078",
    grid="#e4e2dd",
    words="#c45500",
    series=("#0067a3", "#00795a", "#a64d86", "#2f93cb", "#8a6d00", "#5b3fa0", "#3f4650"),
    sequential=("#f3f6f9", "#d3e3ef", "#afcfe6", "#7db4dc"),
    diverging=("#e9a06b", "#f3cfb3", "#f6f4f0", "#c0d9ea", "#7eb5dd"),
)
DARK = Theme(
    page="#14161a",
    ink="#e8e6e1",
    muted="#989da6",
    grid="#2b2f36",
    words="#f0993e",
    series=("#62b5e8", "#33c297", "#e09bc4", "#a9d5f2", "#e0cb55", "#b3a1ee", "#c6cbd3"),
    sequential=("#1a2027", "#1d3446", "#214b69", "#2a658f"),
    diverging=("#8f4e17", "#593718", "#1e2126", "#1f4159", "#29648e"),
)
"""The two themes of the report. No colour occurs twice in one, so a swap is unambiguous."""
