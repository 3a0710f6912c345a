"""Stages of a run, each a file that holds what it was made from.

A stage's key holds its own settings and the digests of the stages before it, so that a change
upstream makes everything after it anew, and is told. A stage that is needed and not there is an
error; nothing is ever filled in for it.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from probekit.errors import UserError
from probekit.runs import STAGES, atomic_write, digest, without_nan

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Made:
    """What a stage made: JSON-able values, and arrays by name."""

    told: Any = None
    arrays: Arrays = field(default_factory=dict)


class Stages:
    """The stages of one run folder.

    Args:
        folder: of the run.
        wanted: stages that may be made; the others must be there already.
        say: told when a stage is made anew, and why.
    """

    def __init__(
        self, folder: Path, wanted: Collection[str], say: Callable[[str], None] = lambda _: None
    ) -> None:
        self.folder, self.wanted, self.say = folder / STAGES, set(wanted), say
        self.digests: dict[str, str] = {}

    def require(self, names: Sequence[str]) -> None:
        """Raise a `UserError` unless these have been made, in whatever way."""
        for name in names:
            if not self._file(name).exists():
                raise self._lacking(name, "has not been made")

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"

    def _lacking(self, name: str, state: str) -> UserError:
        return UserError(
            f"stage {name} {state} in {self.folder.parent}, and what you ask for needs it: add it "
            "to --stages, before the others"
        )

    def run(
        self, name: str, own: Mapping[str, Any], needs: Sequence[str], make: Callable[[], Made]
    ) -> Made:
        """What a stage made, from its file where that is of the same key.

        Args:
            own: JSON-able settings of this stage.
            needs: stages before it that it uses; they have run.
            make: makes it.

        Raises:
            UserError: it is not wanted, and not there or of another key.
        """
        key = json.loads(json.dumps({**own, "needs": {each: self.digests[each] for each in needs}}))
        self.digests[name] = digest({"stage": name, **key})
        path = self._file(name)
        found = self._read(path)
        if found is not None and found[0] == key:
            return found[1]
        changed = _changed(found[0], key) if found else ""
        if name not in self.wanted:
            state = f"was made with other {changed}" if found else "has not been made"
            raise self._lacking(name, state)
        if found:
            self.say(f"{name} is made anew: {changed} changed")
        made = make()
        made = Made(without_nan(made.told), made.arrays)
        header = {"stage": json.dumps({"key": key, "told": made.told}, allow_nan=False)}
        with atomic_write(path) as temporary:
            arrays = {name: np.ascontiguousarray(array) for name, array in made.arrays.items()}
            save_file(arrays or {"none": np.zeros(1)}, temporary, metadata=header)
        return made

    def _read(self, path: Path) -> tuple[dict[str, Any], Made] | None:
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="numpy") as file:
                kept = json.loads((file.metadata() or {})["stage"])
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, KeyError, ValueError) as error:
            raise UserError(
                f"{path} is broken ({error}): delete it, and it is made anew"
            ) from error
        arrays.pop("none", None)
        return kept["key"], Made(kept["told"], arrays)


def _changed(was: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What differs between two keys, in words."""
    before, after = ({**each, **each["needs"]} for each in (was, now))
    names = [n for n in {**before, **after} if n != "needs" and before.get(n) != after.get(n)]
    return ", ".join(sorted(names))
