"""`Graph`: a circuit's strongest heads and neurons, and which head feeds which neuron."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from probekit.errors import UserError
from probekit.runs import read_json, write_json

FORMAT = "probekit-circuit-graph-1"


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


@dataclass(frozen=True)
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


def _node(told: dict[str, Any]) -> Node:
    texts: Sequence[Any] = told.pop("texts")
    tokens = tuple(told.pop("tokens"))
    return Node(**told, tokens=tokens, texts=tuple(tuple(each) for each in texts))
