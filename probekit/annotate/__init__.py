"""One offline page on which a person reads the texts of a set blind, and saves what they read.

The page knows texts by their hash: no label, id or arm is in it. Texts of one scenario are dealt to
different lists, so that a reader who is given one list sees one of them.
"""

import json
import random
from collections import defaultdict
from importlib.resources import files
from pathlib import Path
from typing import Any

from probekit.errors import UserError
from probekit.runs import atomic_write
from probekit.stimuli import StimulusSet
from probekit.stimuli.readings import COLUMNS, offered, text_hash

SEED = 0
"""Of the deal and the order: the same for all readers of a list, so that lists never overlap."""


def write_page(stimuli: StimulusSet, path: Path, *, which: int = 1, split: str = "") -> int:
    """Write the page of one list of a set.

    Args:
        stimuli: the set.
        path: the HTML file.
        which: the list, from 1; there are as many as a scenario has texts.
        split: only texts of this split.

    Returns:
        How many lists there are.

    Raises:
        UserError: no such list or split.
    """
    chosen = stimuli.select(split=split) if split else stimuli
    lists = deal(chosen)
    if not 1 <= which <= len(lists):
        raise UserError(f"no list {which}: {stimuli.name} has the lists 1 to {len(lists)}")
    data = {
        "set": stimuli.name,
        "list": which,
        "key": f"{stimuli.name}-{stimuli.sha256[:12]}-{which}{split}",
        "choices": offered(stimuli.column("emotion")),
        "columns": COLUMNS,
        "items": lists[which - 1],
    }
    # "</script>" in a text must not end the script that holds it.
    embedded = json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")
    page = files("probekit.annotate").joinpath("page.html").read_text(encoding="utf-8")
    with atomic_write(path) as temporary:
        temporary.write_text(page.replace("__DATA__", embedded), encoding="utf-8")
    return len(lists)


def deal(stimuli: StimulusSet) -> list[list[dict[str, Any]]]:
    """Items of each list: a text's hash, the text, and whom the question is about.

    The texts of a scenario go to different lists, so there are as many lists as the largest
    scenario has texts.
    """
    rng = random.Random(SEED)
    groups: dict[str, list[list[dict[str, Any]]]] = defaultdict(list)
    for row in stimuli.rows:
        holders = [("a", row.extra.get("holder_a")), ("b", row.extra.get("holder_b"))]
        asked = [(about, name) for about, name in holders if name] or [("", "")]
        item = {"sha": text_hash(row.text), "text": row.text}
        group = row.scenario or row.quad or row.pair or row.id
        groups[group].append([{**item, "about": about, "who": who} for about, who in asked])
    lists: list[list[list[dict[str, Any]]]] = [[] for _ in range(max(map(len, groups.values())))]
    for members in groups.values():
        for place, asked in zip(rng.sample(range(len(lists)), len(members)), members, strict=True):
            lists[place].append(asked)
    for texts in lists:
        rng.shuffle(texts)
    return [[item for asked in texts for item in asked] for texts in lists]
