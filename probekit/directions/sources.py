"""Where directions come from that a text is read along: a file, a run folder, or the vignettes."""

from collections.abc import Callable
from pathlib import Path

from probekit import runs
from probekit.activations import capture_cached
from probekit.depth import headline_layer, nearest
from probekit.directions.artefact import Directions
from probekit.directions.extraction import extract
from probekit.errors import UserError
from probekit.models import Model
from probekit.prompts import NO_TEMPLATE
from probekit.stimuli import StimulusSet

SET, ARM, NEUTRAL_ARM = "vignettes", "keyword_free", "neutral"
FOLDER, SUFFIX = "directions", ".safetensors"


def neutral_texts() -> StimulusSet:
    """The neutral texts that scores are standardised by: those of the vignettes' dev split."""
    return StimulusSet.load(SET).select(arm=NEUTRAL_ARM, split="dev")


def emotions() -> tuple[str, ...]:
    """The emotions of `from_vignettes`."""
    return tuple(sorted(set(StimulusSet.load(SET).select(arm=ARM).column("emotion").tolist())))


def from_vignettes(model: Model, advance: Callable[[int], None] = lambda _: None) -> Directions:
    """Grouped directions of the vignettes' dev split, `resid_post`, averaged over tokens.

    Args:
        advance: called with the number of texts just read; the states are kept in the cache.
    """
    stimuli = StimulusSet.load(SET).select(arm=[ARM, NEUTRAL_ARM], split="dev")
    states = capture_cached(model, stimuli, ["resid_post"], ["mean"], NO_TEMPLATE, advance=advance)
    return extract(model, stimuli, states)


def from_path(path: Path) -> tuple[Directions, int | None]:
    """Directions from a file, or from a run folder that holds one; the layer that its run chose.

    Raises:
        UserError: no such path, no directions in it, or several files and none picked.
    """
    file = _only_file(path) if path.is_dir() else path
    directions = Directions.load(file)
    manifest = file.parent.parent / runs.MANIFEST
    if file.parent.name != FOLDER or not manifest.is_file():
        return directions, None
    told = runs.read_json(manifest)
    made = told.get("directions", []) if isinstance(told, dict) else []
    chosen = {Path(entry["file"]).name: entry["layer"] for entry in made}
    layer = chosen.get(file.name)
    return directions, layer if layer in directions.layers else None


def pick_layer(directions: Directions, model: Model, chosen: int | None) -> tuple[int, str]:
    """The layer to read at when none is given, and why: the run's choice, or two thirds up."""
    if chosen is not None:
        return chosen, "chosen by its run"
    wanted = headline_layer(model.n_layers)
    found = nearest(directions.layers, wanted)
    of = "two thirds of depth"
    return found, of if found == wanted else f"the nearest to {of} that the file has"


def notes(text: str) -> list[str]:
    """What a reader should know of a text that is to be read."""
    dev = StimulusSet.load(SET).select(split="dev")
    if text.strip() not in set(dev.texts):
        return []
    return [
        f"This text stands in the dev split of {SET}, from which the directions, or the unit, were "
        "made: its scores say nothing about other texts."
    ]


def _only_file(folder: Path) -> Path:
    """The one file of directions in a run folder."""
    inside = folder / FOLDER if (folder / FOLDER).is_dir() else folder
    files = sorted(file for file in inside.iterdir() if file.suffix == SUFFIX)
    if not files:
        raise UserError(
            f"{folder} holds no file of directions ({FOLDER}/*{SUFFIX}): give such a file, or a "
            "run folder of `probekit directions`"
        )
    if len(files) > 1:
        names = ", ".join(str(file.relative_to(folder)) for file in files)
        raise UserError(f"{folder} holds {len(files)} files of directions: give one of {names}")
    return files[0]
