"""`steer --sweep`: one emotion over doses and layers, scored by a judge, on a page."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from probekit.cli.application import bars, finish, numbered, numbers, run_folder
from probekit.cli.scorecard import held_to_readers
from probekit.depth import middle_third
from probekit.errors import UserError

if TYPE_CHECKING:
    from probekit.directions import Directions
    from probekit.models import Model
    from probekit.steering import Decoding, Setting

DOSES = "0.02,0.04,0.08,0.16"
PROMPTS = 12


def sweep(
    model: "Model",
    directions: "Directions",
    emotion: str,
    setting: "Setting",
    decoding: "Decoding",
    options: dict[str, Any],
    *,
    doses: str,
    layers: str,
    judge: str,
    force: bool,
    out: Path | None,
) -> None:
    """Steer held-out prompts at every dose and group of layers, beside random directions.

    Args:
        options: of `Steering`: how, positions, gate.
        layers: groups with a semicolon between them: "10;15;10-19".
    """
    from probekit.scorecard import Scorecard, run_scorecard
    from probekit.steering import Plain, Random, Steered
    from probekit.steering.methods import held_out

    groups = _groups(layers, model.n_layers)
    methods: list[Any] = [Plain(setting)]
    for told, group in groups.items():
        methods.append(Steered(setting, f"steer {told}", model, directions, group, options))
        methods.append(Random(setting, f"random {told}", model, directions, group, options))
    card = Scorecard((emotion,), numbers("--doses", doses), decoding, effects_of=("none",))
    card.check()
    read, validity = held_to_readers(judge, "", None, force)
    folder = run_folder(out, f"steer/{emotion}", model.name)
    with bars() as progress:
        run_scorecard(
            model,
            folder,
            card,
            methods=methods,
            judge=read,
            prompts=held_out(PROMPTS),
            prompts_name="scenarios",
            validity=validity,
            command=shlex.join(sys.argv[1:]),
            progress=progress,
        )
    finish(folder)


def _groups(given: str, n_layers: int) -> dict[str, tuple[int, ...]]:
    """Groups of layers by how they are written; default three single layers and the middle."""
    if not given:
        middle = middle_third(n_layers)
        quarters = tuple(n_layers * part // 4 for part in (1, 2, 3))
        singles = {str(layer): (layer,) for layer in quarters}
        return {**singles, f"{middle[0]}-{middle[-1]}": middle}
    groups = {part.strip(): numbered("--layers", part) for part in given.split(";")}
    for told, group in groups.items():
        if not group or max(group) >= n_layers:
            raise UserError(f"--layers {told or given}: give layers from 0 to {n_layers - 1}")
    return groups
