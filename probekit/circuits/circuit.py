"""`Circuit`: the heads and neurons of one emotion in one model, as a file and as edits."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from probekit.circuits.components import INNER, OUTER, Component, Values, by_site
from probekit.directions.identity import Identity
from probekit.edits import Edit, Positions, Set
from probekit.errors import UserError
from probekit.models import Model
from probekit.runs import read_json, write_json
from probekit.shown import card
from probekit.sites import Kind, Site

FORMAT = "probekit-circuit-1"


@dataclass(frozen=True, repr=False)
class Circuit:
    """Components that carry an emotion.

    Attributes:
        emotion: which.
        components: by falling score.
        scores: `[component]`, what each writes along the emotion's direction.
        allocation: how the budget was spread: "influence", "global" or "random".
        source: what the scores were learned from, "expressing" or "reading".
        model: whose components they are.
        stimuli: name, sha256 and number of the texts.
        options: what else made it.
    """

    emotion: str
    components: tuple[Component, ...]
    scores: tuple[float, ...]
    allocation: str
    source: str
    model: Identity
    stimuli: Mapping[str, Any]
    options: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.components)

    def counts(self) -> dict[tuple[Kind, int], int]:
        """(kind, layer) -> number of components."""
        found: dict[tuple[Kind, int], int] = {}
        for each in self.components:
            found[each.kind, each.layer] = found.get((each.kind, each.layer), 0) + 1
        return found

    def for_model(self, model: Model) -> "Circuit":
        """This circuit, if it is the model's own.

        Raises:
            UserError: another model, or the same in another dtype.
        """
        self.model.require(
            model,
            "this circuit is of {own}, not of {here}: assemble one on this model, or load the one "
            "it is of, in its dtype",
        )
        return self

    def ablation(self, neutral: Values, positions: Positions = "after_first") -> list[Edit]:
        """Edits that set its components to what they are in neutral texts, `[layer, width]`."""
        return ablation(self.components, neutral, positions)

    def jaccard(self, other: "Circuit") -> float:
        """Shared components over all components of the two."""
        return jaccard(self.components, other.components)

    def save(self, path: str | Path) -> None:
        """Write one JSON file."""
        told = asdict(self)
        told["components"] = [str(each) for each in self.components]
        write_json(Path(path), {"format": FORMAT, **told})

    @classmethod
    def load(cls, path: str | Path, model: Model | None = None) -> "Circuit":
        """Read what `save` wrote.

        Args:
            model: refuse a circuit of another one.

        Raises:
            UserError: no such file, no circuit in it, another format, another model.
        """
        if not Path(path).is_file():
            raise UserError(f"{path} is no file: give one that Circuit.save wrote")
        told = read_json(Path(path))
        if not isinstance(told, dict) or told.pop("format", None) != FORMAT:
            raise UserError(f"{path} holds no circuit of format {FORMAT!r}: give what save wrote")
        told["components"] = tuple(map(_component, told["components"]))
        told["scores"] = tuple(told["scores"])
        loaded = cls(**{**told, "model": Identity(**told["model"])})
        return loaded if model is None else loaded.for_model(model)

    def __repr__(self) -> str:
        size = f"{self._counted} ({self.allocation}, {self.source})"
        return f"Circuit({self.emotion!r}, {size}, {self.model.name})"

    def _repr_html_(self) -> str:
        facts = {
            "model": str(self.model),
            "components": f"{self._counted} (spread by: {self.allocation})",
            "learned from": f"{self.source}: {self.stimuli.get('rows')} texts",
            "first": ", ".join(each.word for each in self.components[:6]),
        }
        return card(f"circuit of {self.emotion}", facts)

    @property
    def _counted(self) -> str:
        heads = sum(each.kind == "z" for each in self.components)
        return f"{heads} heads, {len(self) - heads} neurons"


def ablation(
    components: Sequence[Component], neutral: Values, positions: Positions = "after_first"
) -> list[Edit]:
    """Edits that set components to given activations `[layer, width]` of their sites."""
    return [
        Edit(
            site,
            positions,
            Set(neutral[site.kind][site.layer].astype(np.float32), "the neutral mean"),
            units=units,
        )
        for site, units in by_site(components).items()
    ]


def complement(model: Model, components: Sequence[Component]) -> tuple[Component, ...]:
    """Every head and neuron that is not among these."""
    own = set(components)
    return tuple(each for each in every(model) if each not in own)


def every(model: Model) -> list[Component]:
    """All heads and neurons of a model."""
    return [
        Component(kind, layer, unit)
        for kind in INNER
        for layer in range(model.n_layers)
        for unit in range(model.sites.units(kind))
    ]


def jaccard(one: Sequence[Component], other: Sequence[Component]) -> float:
    """Shared components over all components of the two; NaN where both are empty."""
    union = {*one, *other}
    return len({*one} & {*other}) / len(union) if union else float("nan")


def random_like(
    model: Model, components: Sequence[Component], seed: int, *, without: Sequence[Component] = ()
) -> tuple[Component, ...]:
    """As many components in each sublayer, drawn at random, those in `without` left out.

    Where too few others are left, some of `without` come in.
    """
    rng, found = np.random.default_rng([seed, 13]), []
    avoided = by_site(list(without))
    for site, units in by_site(list(components)).items():
        count = model.sites.units(site.kind)
        order = rng.permutation(count)
        last = np.isin(order, avoided.get(site, ()))
        taken = order[np.argsort(last, kind="stable")][: len(units)]
        found += [Component(site.kind, site.layer, int(unit)) for unit in taken]
    return tuple(sorted(found))


def _component(text: str) -> Component:
    site, unit = Site.parse(text)
    if unit is None or site.kind not in OUTER:
        raise UserError(f"{text!r} is no head or neuron: a circuit's components are like z.3.5")
    return Component(site.kind, site.layer, unit)
