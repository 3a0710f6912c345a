"""Plot data with units, checked when made; nothing here needs plotly."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from probekit.errors import UserError
from probekit.plots.estimate import Estimate

HUES = 8
"""Colours of items that can be told apart; see `theme`."""


@dataclass(frozen=True)
class Series:
    """One estimate a layer, or at each of some other whole numbers.

    Args:
        name: what is drawn, e.g. a site.
        layers: layer numbers (or counts of units), in any order, each once.
        estimates: one for each of `layers`.
    """

    name: str
    layers: Sequence[int]
    estimates: Sequence[Estimate]

    def __post_init__(self) -> None:
        _same_length(f"series {self.name!r}", layers=self.layers, estimates=self.estimates)
        if len(set(self.layers)) < len(self.layers):
            raise UserError(f"series {self.name!r} names a layer twice: give each layer once")
        if strange := [layer for layer in self.layers if not isinstance(layer, int)]:
            raise UserError(f"series {self.name!r}: layers are whole numbers, not {strange[0]!r}")

    @property
    def by_layer(self) -> list[tuple[int, Estimate]]:
        """Pairs of layer and estimate, in the order of the layers."""
        return sorted(zip(self.layers, self.estimates, strict=True), key=lambda pair: pair[0])


@dataclass(frozen=True)
class LayerCurves:
    """A figure over layers, by site, beside what words alone reach and what chance reaches.

    Args:
        series: the curve of each site, or of whatever else is compared.
        unit: what the vertical axis counts, e.g. "AUROC".
        reference: a level that is the same at every layer; `None` if there is none.
        null: mean and percentiles of chance at each layer; `None` if there is none.
        axis: what the horizontal axis counts, e.g. "units ablated".
        log: whether that axis gives each doubling the same room, with ticks at the figures alone.
        signed: whether figures are differences: 0 is drawn, and a plus is written.
        bound: first layer from which the effect is trivial, shaded from there on; `None` for none.
        chosen: the layer whose figures are headlined, marked by a line; `None` for none.
        reference_name: what the legend calls the reference.
        null_name: what it calls chance.
        ceiling: what a perfect figure would reach at each layer, given the noise; `None` for none.
        ceiling_name: what the legend calls it.
    """

    series: Sequence[Series]
    unit: str
    reference: Estimate | None = None
    null: Series | None = None
    axis: str = "layer"
    log: bool = False
    signed: bool = False
    bound: int | None = None
    chosen: int | None = None
    reference_name: str = "words alone (text baseline)"
    null_name: str = "chance (permutation null)"
    ceiling: Series | None = None
    ceiling_name: str = "noise ceiling, lower to upper"

    def __post_init__(self) -> None:
        _filled("layer curves", self.series)
        names = [series.name for series in self.series]
        if len(set(names)) < len(names):
            raise UserError(f"two series have one name: {', '.join(names)}")
        if self.log and self.places and self.places[0] < 1:
            raise UserError(f"{self.axis} {self.places[0]} has no place on a log axis: start at 1")

    @property
    def places(self) -> list[int]:
        """Every layer that is drawn, in order, each once."""
        return sorted({layer for series in self.drawn for layer in series.layers})

    @property
    def drawn(self) -> list[Series]:
        """Everything that is drawn layer by layer."""
        return [*self.series, *(each for each in (self.null, self.ceiling) if each)]


@dataclass(frozen=True)
class Forest:
    """Estimates one below the other, against a line at 0.

    Args:
        labels: what each row is.
        estimates: one for each of `labels`; signed figures such as *above text*.
        unit: what the horizontal axis counts.
    """

    labels: Sequence[str]
    estimates: Sequence[Estimate]
    unit: str

    def __post_init__(self) -> None:
        _filled("forest", self.labels)
        _same_length("forest", labels=self.labels, estimates=self.estimates)


@dataclass(frozen=True)
class TransferMatrix:
    """A figure for each pair of arms.

    Args:
        train: arms trained on.
        test: arms tested on.
        cells: [train, test] estimates.
        unit: what is counted.
        scale: figures at the two ends of the colour scale; one that is symmetric about 0 takes
            two hues, for signed figures.
    """

    train: Sequence[str]
    test: Sequence[str]
    cells: Sequence[Sequence[Estimate]]
    unit: str
    scale: tuple[float, float] = (0.5, 1.0)

    def __post_init__(self) -> None:
        _grid("transfer matrix", self.cells, self.train, self.test)
        if not self.scale[0] < self.scale[1]:
            raise UserError(f"scale {self.scale} must rise")


@dataclass(frozen=True)
class Confusion:
    """Which class is taken for which.

    Args:
        classes: names, in the order of rows and columns.
        shares: [true, predicted] share of the true class, 0 to 1; a row without a missing share
            sums to 1.
    """

    classes: Sequence[str]
    shares: Sequence[Sequence[float | None]]
    unit: str = "share of the true class"

    def __post_init__(self) -> None:
        _grid("confusion", self.shares, self.classes, self.classes)
        for name, row in zip(self.classes, self.shares, strict=True):
            known = [share for share in row if share is not None]
            if any(not 0 <= share <= 1 for share in known):
                raise UserError(f"row {name!r} of the confusion has a share outside 0 to 1: {row}")
            if len(known) == len(row) and abs(sum(known) - 1) > 1e-3:
                raise UserError(f"row {name!r} of the confusion sums to {sum(known):g}, not to 1")


@dataclass(frozen=True)
class Heatmap:
    """Figures by row and column, in two hues about 0, or about what is chance.

    Args:
        rows: their names, top to bottom; names may repeat.
        columns: names of the columns, likewise.
        cells: [row, column] estimates.
        unit: what is counted.
        row_axis: what the rows are, e.g. "layer".
        column_axis: what the columns are, e.g. "head".
        bound: place of the first row from which the effect is trivial, set off by a labelled
            line; `None` for none.
        middle: the figure without a hue; figures about 0 are differences, and a plus is written.
        half: how far the ends of the colours are from it; `None` for as far as any figure is.
        share: whether figures are shares, which take one hue from 0 to 1.
    """

    rows: Sequence[str]
    columns: Sequence[str]
    cells: Sequence[Sequence[Estimate]]
    unit: str
    row_axis: str
    column_axis: str
    bound: int | None = None
    middle: float = 0.0
    half: float | None = None
    share: bool = False

    def __post_init__(self) -> None:
        _grid("heatmap", self.cells, self.rows, self.columns)
        if self.bound is not None and not 0 <= self.bound < len(self.rows):
            raise UserError(
                f"bound {self.bound} is none of {len(self.rows)} rows: give a row, or None"
            )

    @property
    def reach(self) -> float:
        """How far the ends of the colour scale are from its middle."""
        if self.half is not None:
            return self.half
        known = [cell.value for row in self.cells for cell in row if cell.value is not None]
        return max((abs(value - self.middle) for value in known), default=0.0) or 1.0

    @property
    def signed(self) -> bool:
        """Whether figures are differences."""
        return self.middle == 0 and not self.share

    @property
    def ends(self) -> tuple[float, float, float]:
        """Figures at the left end, in the middle and at the right end of the colours."""
        if self.share:
            return 0.0, 0.5, 1.0
        return self.middle - self.reach, self.middle, self.middle + self.reach


@dataclass(frozen=True)
class Points:
    """Items that are drawn alike.

    Args:
        colour: what their colour stands for, e.g. an emotion; empty for items in grey.
        marker: what their marker stands for, e.g. an arm.
        names: what each is, said on pointing.
        x, y: a coordinate for each of `names`.
    """

    colour: str
    marker: str
    names: Sequence[str]
    x: Sequence[float]
    y: Sequence[float]

    def __post_init__(self) -> None:
        what = f"points {self.colour or self.marker!r}"
        _same_length(what, names=self.names, x=self.x, y=self.y)
        if strange := [value for value in (*self.x, *self.y) if not math.isfinite(value)]:
            raise UserError(f"{what}: a coordinate is {strange[0]}: give finite numbers")


@dataclass(frozen=True)
class Scatter:
    """Items in a plane: a picture, which has no intervals and shows no figure.

    Args:
        points: at most `HUES` colours; what is in grey is drawn first.
        x_axis, y_axis: what the axes are; both have one scale.
    """

    points: Sequence[Points]
    x_axis: str
    y_axis: str

    def __post_init__(self) -> None:
        _filled("scatter", self.points)
        if len(self.colours) > HUES:
            raise UserError(
                f"{len(self.colours)} colours cannot be told apart: give {HUES} or fewer"
            )

    @property
    def colours(self) -> list[str]:
        """What colours stand for, each once."""
        return list(dict.fromkeys(each.colour for each in self.points if each.colour))

    @property
    def markers(self) -> list[str]:
        """What markers stand for, each once."""
        return list(dict.fromkeys(each.marker for each in self.points))


@dataclass(frozen=True)
class Trail:
    """Estimates of one thing at several settings, in their order.

    Args:
        name: what it is, e.g. a method.
        labels: the setting of each point, e.g. "dose 0.1".
        x, y: an estimate for each of `labels`; a point without one of them is a gap.
    """

    name: str
    labels: Sequence[str]
    x: Sequence[Estimate]
    y: Sequence[Estimate]

    def __post_init__(self) -> None:
        _same_length(f"trail {self.name!r}", labels=self.labels, x=self.x, y=self.y)


@dataclass(frozen=True)
class Trails:
    """One figure against another, or against a setting, both with intervals.

    Args:
        trails: at most `HUES` of them.
        x_unit, y_unit: what the axes count.
        log: whether equal ratios on the horizontal axis get equal room.
        level: a figure that is the same everywhere, e.g. chance; `None` if there is none.
        level_name: what the legend calls it.
        bound: a figure on the horizontal axis that is marked; `None` for none.
    """

    trails: Sequence[Trail]
    x_unit: str
    y_unit: str
    log: bool = False
    level: Estimate | None = None
    level_name: str = "chance"
    bound: float | None = None

    def __post_init__(self) -> None:
        _filled("trails", self.trails)
        if len(self.trails) > HUES:
            raise UserError(f"{len(self.trails)} trails cannot be told apart: give {HUES} or fewer")
        low = [e.value for trail in self.trails for e in trail.x if e.value is not None]
        if self.log and low and min(low) <= 0:
            raise UserError(f"{self.x_unit} {min(low)} has no place on a log axis")


@dataclass(frozen=True)
class Vertex:
    """A part of a model in a network.

    Args:
        name: what links call it; each once.
        kind: what it is, e.g. "head": kinds differ in shape.
        layer: where it stands.
        lines: what is said on pointing, below the name; long ones are wrapped.
        label: a few characters that are written beside it, where there is room.
    """

    name: str
    kind: str
    layer: int
    lines: Sequence[str] = ()
    label: str = ""


@dataclass(frozen=True)
class Link:
    """What goes from one vertex to another.

    Args:
        source, target: names of vertices.
        weight: how much.
        shown: whether it is more than chance gives; what is not is drawn faint.
    """

    source: str
    target: str
    weight: Estimate
    shown: bool


@dataclass(frozen=True)
class Network:
    """Parts of a model at their layers, and what goes from one to another.

    Args:
        vertices: of a few kinds; within a layer a later kind stands above an earlier one.
        links: between them, signed.
        kinds: names of the kinds, in the order in which a layer applies them.
        unit: what a link's weight counts.
    """

    vertices: Sequence[Vertex]
    links: Sequence[Link]
    kinds: Sequence[str]
    unit: str

    def __post_init__(self) -> None:
        _filled("network", self.vertices)
        names = [each.name for each in self.vertices]
        if len(set(names)) < len(names):
            raise UserError("a network names a vertex twice: give each once")
        if strange := sorted({each.kind for each in self.vertices} - set(self.kinds)):
            raise UserError(f"vertices of kind {strange[0]!r}, which is none of {self.kinds}")
        ends = {end for link in self.links for end in (link.source, link.target)}
        if strange := sorted(ends - set(names)):
            raise UserError(f"a link has an end {strange[0]!r} that is no vertex")
        if any(link.weight.value is None for link in self.links):
            raise UserError("a link without a weight cannot be drawn: leave it out")


PlotData = LayerCurves | Forest | TransferMatrix | Confusion | Heatmap | Scatter | Trails | Network


def _filled(what: str, given: Sequence[Any]) -> None:
    if not given:
        raise UserError(f"{what}: nothing to draw")


def _grid(
    what: str, cells: Sequence[Sequence[Any]], rows: Sequence[str], columns: Sequence[str]
) -> None:
    """As many rows of cells as rows are named, each with a cell for every column."""
    _filled(what, rows)
    _same_length(what, rows=rows, cells=cells)
    for name, row in zip(rows, cells, strict=True):
        _same_length(f"row {name!r} of the {what}", columns=columns, cells=row)


def _same_length(what: str, **parts: Sequence[Any]) -> None:
    if len({len(part) for part in parts.values()}) > 1:
        sizes = ", ".join(f"{len(part)} {name}" for name, part in parts.items())
        raise UserError(f"{what}: {sizes}; give as many of each")
