"""What the pages of the causal studies share: effects by what they are of, and their names."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import Any, NamedTuple

from probekit.plots import Estimate, Heatmap, Series, number
from probekit.report.markup import Html, joined, tag
from probekit.report.parts import shown
from probekit.report.reading import NOTHING, Line, Recorded, twice
from probekit.report.words import listed, say

ALPHA = 0.05
MEASURES = {
    "source_shift": "log-odds of the source’s emotion",
    "source_shift_probe": "log-odds of the source’s emotion, by a probe",
    "target_shift": "log-odds of the text’s own emotion",
    "own_label": "log-odds of the text’s own emotion",
    "reception_shift": "log-odds of “emotional”, by a probe",
    "flip": "share whose top label is the source’s emotion",
    "top1_changed": "share whose top label changes",
    "kl": "KL from the unedited model, in nats",
}
"""What each figure counts. All but the last three are edited minus unedited."""

RATES = ("flip", "top1_changed", "kl")
"""Figures that are no differences, and so have no sign."""


class Arm(NamedTuple):
    """The texts that were edited: a set, and one of its arms where it has any."""

    set: str
    target: str

    def __str__(self) -> str:
        return " ".join(say(name) for name in (self.target, self.set) if name)


class Curve(NamedTuple):
    """What is drawn as one line over layers."""

    arm: Arm
    site: str
    position: str
    metric: str
    source: str
    condition: str
    method: str

    @classmethod
    def of(cls, line: Line) -> "Curve":
        """The curve that a line belongs to."""
        cells = (line.site, line.position, line.metric, line.source, line.condition, line.method)
        return cls(arm(line), *cells)


def arm(line: Line) -> Arm:
    """The texts that a line is about."""
    return Arm(line.set, line.target)


def headlined(arms: Iterable[Arm]) -> list[Arm]:
    """Each arm once; the keyword-rich arm only where the keyword-free one is missing."""
    found = list(dict.fromkeys(arms))
    free = {each.set for each in found if each.target == "keyword_free"}
    return [each for each in found if each.target != "keyword_rich" or each.set not in free]


@dataclass(frozen=True)
class Effects:
    """A causal run: its manifest, the lines that are shown, and those that units were ranked by."""

    manifest: dict[str, Any]
    lines: tuple[Line, ...]
    dev: tuple[Line, ...]

    def of(self, **cells: Any) -> list[Line]:
        """Lines whose cells are these."""
        return picked(self.lines, **cells)

    @cached_property
    def index(self) -> dict[tuple[Any, ...], Line]:
        """Lines by their key."""
        return {line.key: line for line in self.lines}

    def beside(self, line: Line, **cells: Any) -> Line | None:
        """The line that differs from another in these cells alone."""
        return self.index.get(line._replace(**cells).key)

    @cached_property
    def groups(self) -> dict["Curve", list[Line]]:
        """Lines of single places, by everything but layer and unit."""
        return _grouped(self.lines)

    @cached_property
    def dev_groups(self) -> dict["Curve", list[Line]]:
        """The same of the dev half."""
        return _grouped(self.dev)

    @cached_property
    def curves(self) -> dict["Curve", dict[int, Line]]:
        """Lines of whole sites by layer."""
        whole = {c: [line for line in lines if not line.unit] for c, lines in self.groups.items()}
        return {c: by_layer(lines) for c, lines in whole.items() if lines}

    @cached_property
    def layers(self) -> int:
        """How many layers the model has, or at least those in the results."""
        said = self.manifest.get("model", {}).get("n_layers")
        return int(said or max((1 + (line.layer or 0) for line in self.lines), default=0))

    @cached_property
    def bound(self) -> int:
        """First layer of the last quarter.

        What is put in there at the token that is read out wins, whatever the model does.
        """
        return ceil(self.layers * 3 / 4)


def _grouped(lines: Iterable[Line]) -> dict[Curve, list[Line]]:
    found: dict[Curve, list[Line]] = {}
    for line in lines:
        if line.layer is not None and line.k is None:
            found.setdefault(Curve.of(line), []).append(line)
    return found


def effects_of(recorded: Recorded) -> Effects:
    """The lines of a causal run; a figure of the test half stands for that of all texts.

    Raises:
        UserError: a figure is given twice.
    """
    seen: set[tuple[Any, ...]] = set()
    for line in recorded.lines:
        if (line.split, line.key) in seen:
            raise twice(line)
        seen.add((line.split, line.key))
    dev = tuple(line for line in recorded.lines if line.split == "dev")
    tested = {line.key for line in recorded.lines if line.split == "test"}
    rest = (line for line in recorded.lines if line.split != "dev")
    lines = tuple(line for line in rest if line.split == "test" or line.key not in tested)
    return Effects(recorded.manifest, lines, dev)


def picked(lines: Iterable[Line], **cells: Any) -> list[Line]:
    """Lines whose cells are these; a tuple accepts any of its members."""
    wanted = [(k, v if isinstance(v, tuple) else (v,)) for k, v in cells.items()]
    return [line for line in lines if all(getattr(line, name) in given for name, given in wanted)]


def by_layer(lines: Iterable[Line]) -> dict[int, Line]:
    """Lines at their layer, those without a layer left out."""
    return {line.layer: line for line in lines if line.layer is not None}


def curve(name: str, lines: Iterable[Line]) -> Series | None:
    """A series over layers; `None` if there is no line."""
    found = by_layer(lines)
    estimates = [line.estimate for line in found.values()]
    return Series(name, list(found), estimates) if found else None


def size(line: Line) -> float:
    """How far a figure is from 0; a missing one is nearest."""
    return -1.0 if line.estimate.value is None else abs(line.estimate.value)


def strongest(lines: Iterable[Line]) -> Line | None:
    """The line that is farthest from 0; `None` where every figure is missing."""
    best = max(lines, key=size, default=None)
    return best if best and best.estimate.value is not None else None


def figure_of(line: Line | None) -> Estimate:
    """The estimate of a line, or a missing one."""
    return line.estimate if line else NOTHING


def signed(metric: str) -> bool:
    """Whether a figure is a difference."""
    return metric not in RATES


def unit_of(metric: str) -> str:
    """What an axis counts."""
    return f"change in {MEASURES[metric]}" if signed(metric) else MEASURES[metric]


def varying(*parts: str) -> str:
    """Those parts of a name that are not empty."""
    return ", ".join(part for part in parts if part)


def grid(
    cells: Mapping[tuple[int, int], Estimate],
    columns: Mapping[int, str],
    metric: str,
    column_axis: str,
    bound: int | None,
) -> Heatmap:
    """Layers by something else, with the first layer of the trivial bound."""
    layers = sorted({layer for layer, _ in cells})
    trivial = [place for place, layer in enumerate(layers) if bound is not None and layer >= bound]
    return Heatmap(
        [str(layer) for layer in layers],
        list(columns.values()),
        [[cells.get((layer, column), NOTHING) for column in columns] for layer in layers],
        unit_of(metric),
        "layer",
        column_axis,
        trivial[0] if trivial else None,
    )


def by_head(lines: list[Line], metric: str, bound: int | None = None) -> tuple[Heatmap, str]:
    """Layers by heads, and the same in words."""
    cells = {(line.layer or 0, int(line.unit)): line.estimate for line in lines}
    heads = {head: str(head) for head in sorted({head for _, head in cells})}
    outside = [line for line in lines if bound is None or (line.layer or 0) < bound]
    most = strongest(outside)
    where = "" if bound is None else " before the trivial bound"
    said = f"No figure{where}."
    if most:
        said = f"Strongest{where}: {unit_name(most)}, {most.estimate.text(signed=True)}."
    sides = [line.estimate.side for line in outside if line.estimate.side is not None]
    if sides:
        said += f" Of {len(sides)} intervals{where}, {sum(map(bool, sides))} exclude 0."
    return grid(cells, heads, metric, "head", bound), said


def unit_name(line: Line) -> str:
    """`layer 5, head 3`; `layer 5` for a whole sublayer."""
    kind = {"z": "head", "mlp_post": "neuron"}.get(line.site, "unit")
    return f"layer {line.layer}" + (f", {kind} {line.unit}" if line.unit else "")


def base_rates(effects: Effects) -> Html:
    """What the unedited model and the probes reach, as an item of the findings."""
    names = {
        ("category", "top1"): "the top label is the text’s own emotion in a share of",
        ("category", "auroc"): "a category probe reaches AUROC",
        ("reception", "auroc"): "a reception probe reaches AUROC",
    }
    parts: list[Html] = []
    for (task, metric), name in names.items():
        lines = effects.of(layer=None, k=None, task=task, metric=metric)
        for line in lines:
            texts = str(Arm(line.set, line.target or line.source))
            on = f" ({texts})" if texts else ""
            parts.append(joined(f"{name} ", shown(line.estimate), on))
        if not lines:
            kind = "top label" if metric == "top1" else f"{task} probe"
            parts.append(joined(f"{kind} not measured"))
    said = [piece for part in parts for piece in ("; ", part)][1:]
    return tag("li", tag("p", tag("strong", "Base rates, unedited"), ": ", *said, "."))


def about_clusters(lines: Iterable[Line]) -> str:
    """On how many clusters the intervals rest."""
    counts = sorted({line.clusters for line in lines if line.clusters})
    if not counts:
        return "The number of clusters is not given."
    span = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"Intervals rest on {span} clusters (scenarios kept whole)."


def about_controls(absent: list[str]) -> str:
    """Which controls are missing."""
    if not absent:
        return ""
    return f"Controls are missing: {listed(absent)}. Without them no effect here is a finding."


def p_text(p: float | None) -> str:
    """A p or q as it stands in a table."""
    return number(p, digits=3)


def plain(estimate: Estimate, *, signed: bool = True) -> str:
    """A figure with its interval, for a terminal; `-` where it is missing.

    `signed` writes a plus, for differences.
    """
    form = "+.2f" if signed else ".2f"
    if estimate.value is None:
        return "-"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:{form}}"
    return f"{estimate.value:{form}} [{estimate.low:{form}}, {estimate.high:{form}}]"
