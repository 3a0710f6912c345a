"""Execute the notebooks in a real Jupyter kernel, and keep each NAME.py's outputs as NAME.ipynb.

    python notebooks/rebuild.py [NAME ...]     # every notebook, or those whose names begin so

Figures are kept twice: as plotly's data, which Jupyter draws, and as an image, which a forge
shows. Images need kaleido and a Chromium; running a notebook needs neither.
"""

import os
import re
import sys
import tempfile
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

FOLDER = Path(__file__).parent
SOURCES = sorted(FOLDER.glob("[0-9][0-9]_*.py"))
WITH_IMAGES, DATA_ALONE = "plotly_mimetype+png", "plotly_mimetype"
"""Renderers of plotly: what is kept needs an image, a test does not."""
SHARP = "import plotly.io; plotly.io.renderers['png'].scale = 2"
"""What a kernel runs first: twice the pixels, for screens that have them."""
PARAMETERS = "parameters"
"""The tag of the one cell whose values may be changed from outside."""


def read(source: Path) -> NotebookNode:
    """A notebook without outputs; the same source gives the same notebook, ids of cells too."""
    notebook = jupytext.read(source)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02}"
    return notebook


def reduce(notebook: NotebookNode) -> None:
    """Set `REDUCED = True` in the cell of parameters.

    Raises:
        ValueError: not exactly one cell of parameters, or none that holds `REDUCED = False`.
    """
    tagged = [cell for cell in notebook.cells if PARAMETERS in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        raise ValueError(f"{len(tagged)} cells are tagged {PARAMETERS!r}: tag one")
    (cell,) = tagged
    cell.source, changed = re.subn(
        r"^REDUCED = False$", "REDUCED = True", cell.source, flags=re.MULTILINE
    )
    if changed != 1:
        raise ValueError(f"the cell tagged {PARAMETERS!r} holds no line REDUCED = False")


def execute(notebook: NotebookNode, renderer: str) -> None:
    """Run every cell in a fresh kernel, in an empty folder; outputs go into the notebook.

    Raises:
        CellExecutionError: a cell raised.
    """
    # Progress bars of other libraries are drawn by widgets, which a saved file cannot show.
    settings = {"PLOTLY_RENDERER": renderer, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=None,
            kernel_name="python3",
            record_timing=False,
            extra_arguments=[f"--IPKernelApp.exec_lines={SHARP}"],
            resources={"metadata": {"path": folder}},
        )
        client.execute(env={**os.environ, **settings})


def main(wanted: list[str]) -> None:
    """Rebuild the notebooks whose names begin as asked; without a name, all of them."""
    chosen = [s for s in SOURCES if not wanted or s.stem.startswith(tuple(wanted))]
    if not chosen:
        sys.exit(f"no notebook begins with {', '.join(wanted)}: {', '.join(map(str, SOURCES))}")
    for source in chosen:
        started = time.monotonic()
        notebook = read(source)
        execute(notebook, WITH_IMAGES)
        built = source.with_suffix(".ipynb")
        nbformat.write(notebook, built)
        size, took = built.stat().st_size / 1e6, time.monotonic() - started
        print(f"{built.name}: {took:.0f} s, {size:.2f} MB")


if __name__ == "__main__":
    main(sys.argv[1:])
