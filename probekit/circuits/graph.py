"""`Graph`: a circuit's strongest heads and neurons, and which head feeds which neuron."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probekit.directions.pieces import written
from probekit.errors import UserError
from probekit.markup import Html
from probekit.plots import LIGHT, Estimate, Link, Network, Theme, Vertex, draw, number
from probekit.runs import read_json, write_json
from probekit.shown import card, grid

if TYPE_CHECKING:
    import plotly.graph_objects as go

FORMAT = "probekit-circuit-graph-1"
KINDS = {"z": "head", "mlp_post": "neuron"}
"""What a node of each kind is called, in the order in which a layer applies them."""
UNIT = "along the emotion’s direction"
FIRST = 6
"""Paths that a notebook is shown."""


@dataclass(frozen=True)
class Node:
    """A head or neuron.

    Attributes:
        name: such as "z.3.5".
        kind, layer, unit: the same in parts.
        score: what it writes along the emotion's direction.
        tokens: what its write makes likelier, the first few.
        texts: vignettes on which it writes most along the direction: (activation, emotion, text).
    """

    name: str
    kind: str
    layer: int
    unit: int
    score: float
    tokens: tuple[str, ...]
    texts: tuple[tuple[float, str, str], ...]


@dataclass(frozen=True)
class Edge:
    """A path from a head to a neuron, that no other component is part of.

    Attributes:
        source, target: names of nodes.
        weight: what the neuron writes along the emotion's direction because of the head.
        low, high: 95 % interval over scenarios.
    """

    source: str
    target: str
    weight: float
    low: float
    high: float

    @property
    def estimate(self) -> Estimate:
        """The weight with its interval, which holds it: quantiles of few draws may not."""
        return Estimate(self.weight, min(self.low, self.weight), max(self.high, self.weight))


@dataclass(frozen=True, repr=False)
class Graph:
    """The strongest components of an emotion's circuit, and paths between them.

    Attributes:
        emotion, model: whose.
        nodes, edges: see there.
        null: 95 % quantile of the sizes of paths from random heads to the same neurons; None where
            there is no such path.
        items: number of texts that paths were measured on.
    """

    emotion: str
    model: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    null: float | None
    items: int

    def strong(self) -> tuple[Edge, ...]:
        """Edges beyond the null whose interval leaves zero out, largest first."""
        bound = float("inf") if self.null is None else self.null
        kept = [e for e in self.edges if abs(e.weight) > bound and e.low * e.high > 0]
        return tuple(sorted(kept, key=lambda edge: -abs(edge.weight)))

    @property
    def network(self) -> Network:
        """What is drawn of it: paths that are not `strong` are faint."""
        strong = set(self.strong())
        vertices = [
            Vertex(n.name, KINDS[n.kind], n.layer, _told(n), str(n.unit)) for n in self.nodes
        ]
        links = [Link(e.source, e.target, e.estimate, e in strong) for e in self.edges]
        return Network(vertices, links, list(KINDS.values()), UNIT)

    def figure(self, theme: Theme = LIGHT) -> "go.Figure":
        """Layers upwards, heads and neurons as nodes, paths by sign and size."""
        return draw(self.network, theme)

    def save(self, path: str | Path) -> None:
        """Write one JSON file."""
        write_json(Path(path), {"format": FORMAT, **asdict(self)})

    @classmethod
    def load(cls, path: str | Path) -> "Graph":
        """Read what `save` wrote.

        Raises:
            UserError: no such file, or no graph in it.
        """
        told: Any = read_json(Path(path)) if Path(path).is_file() else None
        if not isinstance(told, dict) or told.pop("format", None) != FORMAT:
            raise UserError(f"{path} holds no circuit graph: give what Graph.save wrote")
        nodes = tuple(_node(each) for each in told.pop("nodes"))
        return cls(nodes=nodes, edges=tuple(Edge(**each) for each in told.pop("edges")), **told)

    def __repr__(self) -> str:
        size = f"{self._counted}, {len(self.edges)} paths, {len(self.strong())} beyond chance"
        return f"Graph({self.emotion!r}, {size}, {self.model})"

    def _repr_html_(self) -> str:
        facts = {
            "model": self.model,
            "nodes": self._counted,
            "paths": f"{len(self.edges)}, {len(self.strong())} beyond chance",
            "chance": None if self.null is None else f"sizes up to {number(self.null)} ({UNIT})",
            "measured on": f"{self.items} texts",
        }
        rows = [(e.source, e.target, e.estimate.text(signed=True)) for e in self.strong()[:FIRST]]
        parts: list[Html] = [grid(("from", "to", "weight"), rows)] if rows else []
        return card(f"circuit of {self.emotion}", facts, *parts)

    @property
    def _counted(self) -> str:
        heads = sum(node.kind == "z" for node in self.nodes)
        return f"{heads} heads, {len(self.nodes) - heads} neurons"


def _told(node: Node) -> list[str]:
    """What is said of a node: its score, what it makes likelier, on which texts it writes most."""
    lines = [
        f"{KINDS[node.kind]} {node.layer}.{node.unit}, score {number(node.score, signed=True)}"
    ]
    if node.tokens:
        lines.append("makes likelier: " + ", ".join(map(written, node.tokens)))
    for value, emotion, text in node.texts:
        lines += ["", f"{number(value, signed=True)} on ({emotion}) {text}"]
    return lines


def _node(told: dict[str, Any]) -> Node:
    texts: Sequence[Any] = told.pop("texts")
    tokens = tuple(told.pop("tokens"))
    return Node(**told, tokens=tokens, texts=tuple(tuple(each) for each in texts))
