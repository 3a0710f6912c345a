"""The README's own code: it runs, and prints what the README says it prints."""

import contextlib
import io
import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```\s*```text\n(.*?)```", README.read_text(), re.DOTALL)
NUMBER = re.compile(r"-?\d*\.\d+|-?\d+")
TOLERANCE = 0.04
"""Figures may differ in the second decimal on another processor."""


def test_readme_has_code_with_output():
    assert BLOCKS
    assert len(re.findall(r"```python", README.read_text())) == len(BLOCKS)


@pytest.mark.slow
@pytest.mark.parametrize(("code", "printed"), BLOCKS)
def test_readme_code_prints_what_it_says(code, printed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        exec(compile(code, "README.md", "exec"), {})
    said, found = printed.strip().splitlines(), shown.getvalue().strip().splitlines()
    assert [NUMBER.sub("#", line) for line in found] == [NUMBER.sub("#", line) for line in said]
    for line, other in zip(said, found, strict=True):
        numbers, others = map(NUMBER.findall, (line, other))
        assert [float(n) for n in others] == pytest.approx(
            [float(n) for n in numbers], abs=TOLERANCE
        )


def test_readme_names_only_commands_and_modules_that_exist():
    text = README.read_text()
    package = README.parent / "probekit"
    table = text.split("## The map of the house")[1]
    for cell in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE):
        for name in re.findall(r"`(\w+)`", cell):
            assert (package / f"{name}.py").exists() or (package / name).is_dir(), name
    for link in re.findall(r"\]\((?!http)([^)]+)\)", text):
        assert (README.parent / link).exists(), link
