"""The machine-readable head of a set's datasheet: what the set declares and claims."""

from pathlib import Path
from typing import Any

from probekit.errors import UserError
from probekit.stimuli.taxonomy import Taxonomy

FENCE = "---\n"


def read_datasheet(stimuli: Path) -> dict[str, Any]:
    """The YAML head of `README.md` beside a `stimuli.jsonl`; empty where there is none.

    Raises:
        UserError: the head is broken.
    """
    path = stimuli.with_name("README.md")
    if stimuli.name != "stimuli.jsonl" or not path.is_file():
        return {}
    import yaml

    text = path.read_text(encoding="utf-8")
    if not text.startswith(FENCE) or FENCE not in text[len(FENCE) :]:
        raise UserError(
            f"{path} has no head: begin with the set's claims as YAML between --- lines"
        )
    try:
        head = yaml.safe_load(text[len(FENCE) :].split(FENCE)[0])
    except yaml.YAMLError as error:
        raise UserError(f"{path}: broken YAML in its head ({error})") from error
    if not isinstance(head, dict):
        raise UserError(f"{path}: the head is no mapping: write `name: ...` and so on")
    return head


def declared_labels(head: dict[str, Any]) -> list[str]:
    """The emotions that a datasheet declares: its own list, or those of the taxonomy it names."""
    if "labels" in head:
        return [str(label) for label in head["labels"]]
    return list(Taxonomy.load(head["taxonomy"]).labels) if "taxonomy" in head else []
