"""`worldmodel earn`: a table to read, a report to keep, and mistakes in one paragraph."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from worldmodel.cli.main import run
from worldmodel.evaluation.returns import ReturnsReport

QUICK = ["--episodes", "2", "--steps", "3", "--horizon", "3", "--history", "2", "--cem.candidates", "6", "--cem.rounds"]


def test_it_prints_and_writes(capsys: pytest.CaptureFixture[str], rewarded: Path, tmp_path: Path) -> None:
    quick = [*QUICK, "1", "--cem.elites", "2", "--cost.disagreement", "0.5", "--device", "cpu"]
    assert run(["earn", str(rewarded), "--out", str(tmp_path), *quick]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Reacher-v5: 2 episodes of at most 3 control steps" in text
    for part in ("cem, world model", "uniform actions", "zero actions", "smooth-noise actions", "Student's t"):
        assert part in text
    assert ReturnsReport.read(tmp_path / "report.json").planned.count == 2
    cost = json.loads((tmp_path / "config.json").read_text())["planning"]["cost"]
    assert (cost["away"], cost["last"], cost["reward"], cost["disagreement"]) == (0, 0, 1, 0.5)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--planner", "proposal"], "'proposal' proposes ways to a goal"),
        (["--cost.away", "1"], "weighs a reward and no goal"),
        (["--episodes", "1"], "episodes is 1"),
    ],
)
def test_mistakes_are_told(
    capsys: pytest.CaptureFixture[str], rewarded: Path, tmp_path: Path, options: list[str], what: str
) -> None:
    arguments = ["earn", str(rewarded), "--out", str(tmp_path / "out"), "--horizon", "3", "--history", "2", *options]
    assert run([*arguments, "--device", "cpu"]) == 2
    assert what in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_an_environment_without_a_reward_is_refused(
    capsys: pytest.CaptureFixture[str], trained: Path, tmp_path: Path
) -> None:
    arguments = ["earn", str(trained), "--out", str(tmp_path / "out"), "--horizon", "3", "--device", "cpu"]
    assert run(arguments) == 2
    assert "'worldmodel/Reacher-v0' has none that varies" in " ".join(capsys.readouterr().err.split())
