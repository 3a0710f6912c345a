"""Progress under a notebook's cell."""

import time

from probekit.runs import Progress

SECONDS = 0.2
"""Between two updates of one line: a front end that is told of every text falls behind."""


def notebook_progress() -> Progress:
    """Progress as lines of text under the cell, one a stage, rewritten in place.

    No widget is needed, so that every front end shows it, and what a saved notebook keeps is the
    last state of each line.
    """
    from IPython.display import DisplayHandle

    lines: dict[str, DisplayHandle] = {}
    shown: dict[str, float] = {}

    def progress(stage: str, done: float, total: float) -> None:
        now = time.monotonic()
        known = stage in lines
        if known and done < (total or float("inf")) and now - shown[stage] < SECONDS:
            return
        shown[stage] = now
        text = f"{stage}: {done:.0f}" + (f" of {total:.0f}" if total else "")
        line = lines.setdefault(stage, DisplayHandle())
        (line.update if known else line.display)({"text/plain": text}, raw=True)

    return progress
