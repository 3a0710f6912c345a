"""The machine-readable head of a set's datasheet: what the set declares and claims."""

import re
from pathlib import Path
from typing import Any

from probekit.errors import UserError, unknown
from probekit.stimuli.taxonomy import TAXONOMIES, Taxonomy


def read_datasheet(stimuli: Path) -> dict[str, Any]:
    """The YAML head of `README.md` beside a `stimuli.jsonl`; empty where there is none.

    Raises:
        UserError: the head is broken.
    """
    path = stimuli.with_name("README.md")
    if stimuli.name != "stimuli.jsonl" or not path.is_file():
        return {}
    import yaml

    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 ({error.reason}): save it as UTF-8") from error
    # A plain README, as any folder may hold, declares nothing.
    parts = re.split(r"^---[ \t]*$", text, maxsplit=2, flags=re.MULTILINE)
    if parts[0].strip() or len(parts) < 3:
        return {}
    try:
        head = yaml.safe_load(parts[1])
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: broken YAML in its head ({reason})") from error
    if not isinstance(head, dict):
        raise UserError(f"{path}: the head is no mapping: write `name: ...` and so on")
    _check(path, head)
    return head


def _check(path: Path, head: dict[str, Any]) -> None:
    labels = head.get("labels", [])
    if not (isinstance(labels, list) and all(isinstance(label, str) for label in labels)):
        raise UserError(
            f"{path}: `labels` is {labels!r}: write a list of words, such as [joy, 'no']"
        )
    if "taxonomy" in head and head["taxonomy"] not in TAXONOMIES:
        raise UserError(f"{path}: {unknown('taxonomy', head['taxonomy'], TAXONOMIES)}")
    claims = head.get("claims") or {}
    if not (isinstance(claims, dict) and isinstance(claims.get("words_alone", []), list)):
        raise UserError(
            f"{path}: `claims` is a mapping of checks to bounds, and `words_alone` in it a list"
        )


def declared_labels(head: dict[str, Any]) -> list[str]:
    """The emotions that a datasheet declares: its own list, or those of the taxonomy it names."""
    if "labels" in head:
        return list(head["labels"])
    return list(Taxonomy.load(head["taxonomy"]).labels) if "taxonomy" in head else []
