"""Several seeds in one row."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from worldmodel.cli.main import run
from worldmodel.errors import WorldModelError
from worldmodel.evaluation.evaluate import ControlReport
from worldmodel.evaluation.interval import wilson
from worldmodel.evaluation.pool import pool
from worldmodel.planning.policy import PlanningConfig


@pytest.fixture
def other(control_report: ControlReport) -> ControlReport:
    """Of another training seed."""
    return replace(
        control_report,
        training_seed=1,
        success=wilson(12, 20),
        success_ever=wilson(15, 20),
        achieved_cost=0.4,
        floors={"zero": wilson(0, 20)},
        floors_ever={"zero": wilson(3, 20)},
    )


def test_all_trials_count_once(control_report: ControlReport, other: ControlReport) -> None:
    row = pool([control_report, other])
    assert row.success == wilson(21, 30)
    assert row.success_ever == wilson(25, 30)
    assert row.floors == {"zero": wilson(1, 30)}
    assert row.floors_ever == {"zero": wilson(4, 30)}
    assert row.by_seed == (0.9, 0.6)
    assert row.training_seeds == (0, 1)
    assert (row.imagined_cost, row.achieved_cost) == pytest.approx((0.1, 0.3))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"planning": PlanningConfig(planner="cem")}, "planning is .*'cem'.*'icem'"),
        ({"planning": PlanningConfig(planner="icem", horizon=3)}, "planning is .*horizon=3"),
        ({"env_arguments": '{"cubes": 3}'}, "env_arguments is .*cubes"),
        ({"shifted": True}, "shifted is True"),
        ({"env": "other"}, "env is 'other'"),
        ({"budget": 150}, "budget is 150"),
        ({"training_seed": 0}, "count trials twice"),
    ],
)
def test_what_does_not_belong_together_is_refused(
    control_report: ControlReport, other: ControlReport, change: dict[str, Any], named: str
) -> None:
    with pytest.raises(WorldModelError, match=named):
        pool([control_report, replace(other, **change)])


def test_the_command_reads_and_writes(
    control_report: ControlReport, other: ControlReport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, report in (("a", control_report), ("b", other)):
        (tmp_path / name).mkdir()
        report.write(tmp_path / name / "report.json")
    assert run(["pool", str(tmp_path / "a"), str(tmp_path / "b" / "report.json"), "--out", str(tmp_path / "row")]) == 0
    assert "70% [52%, 83%] of 30 trials" in capsys.readouterr().out
    assert (tmp_path / "row").is_file()
    (tmp_path / "b" / "report.json").write_text("{}")
    assert run(["pool", str(tmp_path / "b")]) == 2
    assert "no report of control" in " ".join(capsys.readouterr().err.split())
