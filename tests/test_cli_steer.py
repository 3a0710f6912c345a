"""`probekit steer`: what it prints, and what it refuses in one line."""

import re

import pytest
from test_cli import refused

from probekit.bundled import DEFAULT
from probekit.cli import run
from probekit.cli.application import numbered
from probekit.cli.steer import _again
from probekit.cli.sweeping import _groups
from probekit.errors import UserError
from probekit.scorecard.auto import GRID

GRIEF = ["--emotion", "grief"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--emotion", "sorrow"], "unknown emotion 'sorrow': accepted are admiration"),
        ([*GRIEF, "--dose", "much"], "give a number from 0 to 2"),
        ([*GRIEF, "--dose=-0.1"], "give a number from 0 to 2"),
        ([*GRIEF, "--dose", "2.1"], "give a number from 0 to 2"),
        ([*GRIEF, "--tokens", "first"], "unknown --tokens 'first'"),
        ([*GRIEF, "--max-new-tokens", "0"], "give 1 or more"),
        ([*GRIEF, "--top-p", "0"], "top-p"),
        ([*GRIEF, "--gate", "grief"], "EMOTION:THRESHOLD"),
        ([*GRIEF, "--gate", "sorrow:1"], "unknown emotion 'sorrow'"),
        ([*GRIEF, "--tokens", "all", "--decay", "0.5"], "--tokens response"),
        ([*GRIEF, "--decay", "2"], "decay"),
        ([*GRIEF, "--how", "push"], "way of steering"),
        ([*GRIEF, "--directions", "nowhere.safetensors"], "nowhere.safetensors"),
    ],
)
def test_refuses_bad_input_before_a_model_is_loaded(capsys, options, says):
    assert says in refused(capsys, "steer", "no-such-model", "My week", *options)


def test_refuses_an_empty_prompt(capsys):
    assert "empty" in refused(capsys, "steer", DEFAULT, "  ", *GRIEF)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["My week"], "leave the prompt out"),
        (["--gate", "grief:1"], "no --gate"),
    ],
)
def test_refuses_what_a_sweep_does_not_take(capsys, arguments, says):
    assert says in refused(capsys, "steer", DEFAULT, *arguments, *GRIEF, "--sweep")


def test_layers_of_a_sweep_are_groups():
    assert _groups("", 30) == {
        "7": (7,),
        "15": (15,),
        "22": (22,),
        "10-19": tuple(range(10, 20)),
    }
    assert _groups("3; 4-5", 6) == {"3": (3,), "4-5": (4, 5)}
    with pytest.raises(UserError, match="layers from 0 to 5"):
        _groups("6", 6)


def test_layers_are_numbers_and_ranges():
    assert numbered("--layers", "10-12, 15,11") == (10, 11, 12, 15)
    assert numbered("--layers", "") == ()
    with pytest.raises(UserError, match="give numbers such as 19"):
        numbered("--layers", "ten")


def test_the_command_to_repeat_holds_the_dose_that_was_found(monkeypatch):
    monkeypatch.setattr("sys.argv", ["probekit", "steer", "m", "a b", "--dose", "auto", "--chat"])
    assert _again(["--dose=0.08"]) == "probekit steer m 'a b' --chat --dose=0.08"
    monkeypatch.setattr("sys.argv", ["probekit", "steer", "m", "--dose=auto"])
    assert _again(["--dose=0.08"]) == "probekit steer m --dose=0.08"


@pytest.mark.slow
class TestOnTheDefaultModel:
    def test_prints_plain_steered_and_random_beside_each_other(self, capsys):
        job = ["steer", DEFAULT, "My week at work was", *GRIEF, "--dose", "0.08"]
        assert run([*job, "--max-new-tokens", "6", "--stream"]) == 0
        captured = capsys.readouterr()
        shown = " ".join(captured.out.split())
        assert "dose 0.08 (total 0.8) added at resid_post, layers 10," in shown
        for part in ("plain", "steered, dose 0.08", "random direction, same dose", "again: "):
            assert part in shown
        assert shown.count("perplexity without steering") == 3
        assert "read along grief at layer 10, without steering" in shown

    def test_dose_zero_writes_the_plain_text_three_times(self, capsys):
        job = ["steer", DEFAULT, "My week at work was", *GRIEF, "--dose", "0"]
        assert run([*job, "--max-new-tokens", "4", "--layers", "10"]) == 0
        shown = capsys.readouterr().out
        row = next(
            line for line in shown.splitlines() if line.count(" a mix") >= 2 or "mix" in line
        )
        assert row.count("a mix of work") == 3

    def test_finds_the_dose_that_costs_what_is_allowed(self, capsys):
        job = ["steer", DEFAULT, "My week at work was", *GRIEF, "--dose", "auto"]
        assert run([*job, "--bound", "1.05", "--max-new-tokens", "4"]) == 0
        shown = capsys.readouterr().out
        ratios = [float(each) for each in re.findall(r"perplexity ratio ([\d.]+)", shown)]
        assert ratios[-1] > 1.05 or len(ratios) == len(GRID)
        assert all(ratio <= 1.05 for ratio in ratios[:-1])
        assert f"--dose={GRID[len(ratios) - 2]:g}" in shown

    def test_sweep_writes_a_page(self, capsys, tmp_path):
        job = ["steer", DEFAULT, *GRIEF, "--sweep", "--doses", "0.05", "--layers", "12"]
        job += ["--judge", "lexicon", "--force", "--max-new-tokens", "3", "--out", str(tmp_path)]
        assert run(job) == 0
        shown = capsys.readouterr().out
        assert "steer 12" in shown
        assert (tmp_path / "report.html").is_file()

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            (["--layers", "40"], "unknown layer 40"),
            (["--max-new-tokens", "9000"], "the context holds"),
        ],
    )
    def test_refuses_what_only_the_model_can_tell(self, capsys, options, says):
        assert says in refused(capsys, "steer", DEFAULT, "My week", *GRIEF, *options)
