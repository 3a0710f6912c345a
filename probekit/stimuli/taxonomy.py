"""Taxonomies of emotion as data: labels, their tiers, maps between them, and affect norms.

The files are in `stimuli/taxonomies`; each names its source.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from types import MappingProxyType
from typing import Any

from probekit.errors import UserError, unknown
from probekit.runs import read_json
from probekit.stimuli.reading import home

TAXONOMIES = ("ekman", "plutchik", "goemotions", "parrott", "probekit")


@dataclass(frozen=True)
class Taxonomy:
    """A closed list of labels.

    Attributes:
        name: what it is called here.
        source: where it was published.
        labels: all labels, of every tier or intensity, in their order.
        parents: label -> the label above it (Parrott's tiers, Plutchik's basic emotion).
        levels: label -> its tier or intensity, counted from the top or the mildest, from 1.
    """

    name: str
    source: str
    labels: tuple[str, ...]
    parents: Mapping[str, str]
    levels: Mapping[str, int]

    @classmethod
    def load(cls, name: str) -> "Taxonomy":
        """A taxonomy by name.

        Raises:
            UserError: not one of `TAXONOMIES`.
        """
        if name not in TAXONOMIES:
            raise unknown("taxonomy", name, TAXONOMIES)
        return _read(name)

    def check(self, label: str) -> str:
        """The label, if it is one of this taxonomy.

        Raises:
            UserError: it is not; names the nearest.
        """
        if label in self.labels:
            return label
        raise outside(label, self.labels, f"the taxonomy {self.name!r}")

    def root(self, label: str) -> str:
        """The label at the top of its branch."""
        label = self.check(label)
        while label in self.parents:
            label = self.parents[label]
        return label

    def to(self, other: str, label: str) -> str:
        """The nearest label of another taxonomy.

        Raises:
            UserError: the label is not in this taxonomy, or there is no map, or the map has
                nothing for it.
        """
        found = self.nearest(other, label)
        if found is None:
            raise UserError(
                f"the map {self.name}->{other} has nothing for {label!r}: leave such rows out"
            )
        return found

    def nearest(self, other: str, label: str) -> str | None:
        """The same, and None where the map has nothing for the label."""
        label, maps = self.check(label), _maps()
        Taxonomy.load(other)
        if other == self.name:
            return label
        if (key := f"{self.name}->{other}") not in maps:
            there = ", ".join(maps)
            raise UserError(f"no map {key}: there are {there}")
        return maps[key].get(label)

    def back(self, other: str, label: str) -> tuple[str, ...]:
        """Labels of this taxonomy whose nearest label in another one is `label`; often none."""
        there = _maps().get(f"{self.name}->{other}", {})
        return tuple(own for own in self.labels if there.get(own) == label)


def outside(label: str, accepted: Iterable[str], where: str) -> UserError:
    """The error for a label that is not one of those in use; names the nearest."""
    accepted = sorted(set(accepted))
    near = get_close_matches(label.lower(), accepted, n=1, cutoff=0.0)
    return UserError(
        f"{label!r} is no label of {where}; the nearest is {near[0]!r}: accepted are "
        f"{', '.join(accepted)}"
    )


def affect_norms() -> dict[str, tuple[float, float, float]]:
    """Word -> mean valence, arousal and dominance on 1-9 (source in the file)."""
    table = read_json(home() / "taxonomies" / "affect_norms.json")["means"]
    return {word: (means[0], means[1], means[2]) for word, means in table.items()}


@cache
def _read(name: str) -> Taxonomy:
    data: dict[str, Any] = read_json(home() / "taxonomies" / f"{name}.json")
    labels = tuple(data["labels"])
    parents = MappingProxyType(data.get("parents", {}))
    levels = MappingProxyType(data.get("levels", {}))
    return Taxonomy(data["name"], data["source"], labels, parents, levels)


@cache
def _maps() -> dict[str, dict[str, str]]:
    return read_json(home() / "taxonomies" / "maps.json")["maps"]
