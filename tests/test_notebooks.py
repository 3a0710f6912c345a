"""The notebooks: each runs in a real kernel, and what is kept of it is what its source says."""

import re

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from rebuild import DATA_ALONE, SOURCES, execute, read, reduce

PLOTLY = "application/vnd.plotly.v1+json"
IMAGES = {"image/png", "image/svg+xml"}
LARGEST = 1.5e6
"""Bytes: a forge shows no larger notebook at once."""
OF_A_MACHINE = re.compile(r"(?<![\w.])(/(home|root|tmp|Users|work|opt|var|mnt)/|[A-Z]:\\)")

each = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def said(output):
    """The text of an output; images are left out, in whose base64 anything may occur."""
    data = {kind: value for kind, value in output.get("data", {}).items() if kind not in IMAGES}
    return "".join([output.get("text", ""), *map(str, data.values())])


@pytest.mark.slow
@each
def test_notebook_runs_reduced(source):
    notebook = read(source)
    reduce(notebook)
    execute(notebook, DATA_ALONE)  # Raises where a cell does: notebooks assert what they claim.
    assert outputs(notebook)
    drawn = any(PLOTLY in output.get("data", {}) for output in outputs(notebook))
    draws = any("draw(" in cell.source or ".figure()" in cell.source for cell in notebook.cells)
    assert drawn == draws


@each
def test_kept_notebook_is_in_step(source):
    kept = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    nbformat.validate(kept)

    def cells(notebook):
        return [(c.cell_type, c.source, c.metadata.get("tags", [])) for c in notebook.cells]

    assert cells(kept) == cells(read(source)), "make notebooks"


@each
def test_kept_notebook_shows_a_whole_run(source):
    path = source.with_suffix(".ipynb")
    kept = nbformat.read(path, as_version=4)
    code = [cell for cell in kept.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    for output in outputs(kept):
        assert output.output_type != "error"
        assert output.get("name") != "stderr", said(output)
        data = output.get("data", {})
        assert PLOTLY not in data or IMAGES & set(data), "a figure without an image"
        assert not OF_A_MACHINE.search(said(output)), said(output)
    assert path.stat().st_size < LARGEST


@each
def test_notebook_reads_nothing_but_its_parameters(source):
    notebook = read(source)
    reduce(notebook)
    whole = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert "environ" not in whole
    assert "getenv" not in whole
    assert len(re.findall(r"^REDUCED = ", whole, re.MULTILINE)) == 1


PARAMETERS = '# %% tags=["parameters"]\nREDUCED = False\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# %%\nREDUCED = False\n", "0 cells are tagged"),
        (PARAMETERS + PARAMETERS, "2 cells are tagged"),
        (PARAMETERS.replace("False", "0"), "no line REDUCED = False"),
    ],
)
def test_a_notebook_that_cannot_be_reduced_is_refused(text, said, tmp_path):
    source = tmp_path / "00_some.py"
    source.write_text(text)
    with pytest.raises(ValueError, match=said):
        reduce(read(source))


def test_an_error_in_a_cell_stops_the_notebook(tmp_path):
    source = tmp_path / "00_some.py"
    source.write_text("# %%\nassert 1 + 1 == 3, 'sums'\n")
    with pytest.raises(CellExecutionError, match="sums"):
        execute(read(source), DATA_ALONE)


def test_progress_leaves_one_line_a_stage(tmp_path):
    source = tmp_path / "00_some.py"
    source.write_text(
        "# %%\n"
        "from probekit.progress import notebook_progress\n"
        "progress = notebook_progress()\n"
        "for done in range(1001):\n"
        "    progress('reading', done, 1000)\n"
        "progress('counting', 7, 0)\n"
    )
    notebook = read(source)
    execute(notebook, DATA_ALONE)
    lines = [output["data"]["text/plain"] for output in outputs(notebook)]
    assert lines == ["reading: 1000 of 1000", "counting: 7"]
