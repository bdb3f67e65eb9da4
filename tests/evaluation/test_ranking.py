"""Which metric foretells planning success, over runs whose order is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from worldmodel.cli.main import run
from worldmodel.errors import WorldModelError
from worldmodel.evaluation.evaluate import ControlReport
from worldmodel.evaluation.interval import wilson
from worldmodel.evaluation.measure import MeasureReport
from worldmodel.evaluation.metrics.action_probe import ActionTransfer
from worldmodel.evaluation.ranking import METRICS, rank_metrics

REPORT = MeasureReport(
    env="somewhere",
    episodes=1,
    frames=10,
    clips=5,
    latent=8,
    rankme=1.0,
    lidar=1.0,
    alpha_req=1.0,
    straightness=0.0,
    alignment=1.0,
    uniformity=-1.0,
    distance_correlation=0.0,
    visible=3,
    rollout_error=(0.1, 0.2),
    copy_last=(0.5, 1.0),
    shuffled_actions=(0.3, 0.4),
    actions=ActionTransfer(0.5, 0.4, 0.3, 0.2),
    state_cka=0.5,
    seconds=1.0,
)
SUCCESSES = (0.2, 0.4, 0.6, 0.8, 0.9)


def test_metrics_are_turned_so_that_one_is_good() -> None:
    reports = [
        replace(
            REPORT,
            rankme=float(i**3),  # rises with success
            rollout_error=(1.0 - 0.1 * i, 0.2),  # falls, which is good
            straightness=-float(i),  # falls, which is bad
            alpha_req=1.0 + (-1) ** i * (5 - i),  # comes nearer to 1 from both sides
            lidar=(2.0, 1.0, 4.0, 3.0, 5.0)[i],  # two neighbours changed places, twice
        )
        for i in range(5)
    ]
    ranked = {r.name: r for r in rank_metrics(reports, SUCCESSES, torch.Generator().manual_seed(0))}
    for name in ("rankme", "rollout_error_first", "alpha_req"):
        assert ranked[name].correlation == pytest.approx(1)
        assert ranked[name].chance == pytest.approx(2 / 120, abs=0.006)  # of 5! orders, two are as good
    assert ranked["straightness"].correlation == pytest.approx(-1)
    assert ranked["lidar"].correlation == pytest.approx(0.8)
    assert ranked["uniformity"].correlation == 0  # the same for all
    assert ranked["uniformity"].chance == 1
    assert set(ranked) == set(METRICS) - {"state_cka"}  # which needs states
    assert ranked["rankme"].runs == 5


def test_the_best_comes_first() -> None:
    reports = [replace(REPORT, lidar=float(i)) for i in range(5)]
    assert rank_metrics(reports, SUCCESSES, torch.Generator().manual_seed(0))[0].name == "lidar"


def test_without_actions_there_is_less_to_rank() -> None:
    reports = [replace(REPORT, lidar=float(i), actions=None, shuffled_actions=None) for i in range(5)]
    ranked = rank_metrics(reports, SUCCESSES, torch.Generator().manual_seed(0))
    assert {metric.name for metric in ranked} == {name for name, metric in METRICS.items() if not metric.needs}
    assert ranked[0].name == "lidar"


@pytest.mark.parametrize(("runs", "successes"), [(2, 2), (3, 4)])
def test_too_few_runs_are_refused(runs: int, successes: int) -> None:
    with pytest.raises(WorldModelError, match=f"{runs} measure reports and {successes} planning"):
        rank_metrics([REPORT] * runs, [0.5] * successes, torch.Generator())


def test_there_and_back(tmp_path: Path) -> None:
    for report in (REPORT, replace(REPORT, actions=None, shuffled_actions=None, state_cka=None)):
        report.write(tmp_path / "report.json")
        assert MeasureReport.read(tmp_path / "report.json") == report
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(WorldModelError, match=r"missing fields.*worldmodel measure"):
        MeasureReport.read(tmp_path / "report.json")


@pytest.fixture
def control(control_report: ControlReport) -> ControlReport:
    return replace(control_report, env="somewhere")


@pytest.fixture
def runs(control: ControlReport, tmp_path: Path) -> list[str]:
    """The folders of three runs: the higher RankMe and the lower LiDAR, the better they plan."""
    for index, name in enumerate("abc"):
        report = replace(REPORT, rankme=float(index), lidar=-float(index))
        put(tmp_path / name, report, replace(control, training_seed=index, success=wilson(3 * index, 10)))
    return [str(tmp_path / name) for name in "abc"]


def put(folder: Path, *reports: MeasureReport | ControlReport) -> None:
    for report in reports:
        place = folder / ("measure" if isinstance(report, MeasureReport) else "plan")
        place.mkdir(parents=True, exist_ok=True)
        report.write(place / "report.json")


def test_the_command_ranks_and_writes_nothing(
    runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert run(["rank", *runs]) == 0
    text = capsys.readouterr().out
    assert "over 3 runs" in text
    told = {line.split()[1]: line.split()[3] for line in text.splitlines() if "." in line}
    assert (told["rankme"], told["lidar"], told["alignment"]) == ("+1.00", "-1.00", "+0.00")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"env": "elsewhere"}, ("2 tasks", "somewhere with {}: '", "elsewhere with {}: '", "b'")),
        ({"env_arguments": '{"cubes": 3}'}, ("2 tasks", 'somewhere with {"cubes": 3}')),
        ({"budget": 150}, ("budget is 150 in one and 50 in another",)),
    ],
)
def test_runs_of_different_tasks_are_refused(
    runs: list[str],
    control: ControlReport,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, Any],
    named: tuple[str, ...],
) -> None:
    put(Path(runs[1]), replace(control, **change))
    assert run(["rank", *runs]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert all(part in error for part in named)


def test_runs_that_cannot_be_ranked_are_refused(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    def error_of(*folders: str) -> str:
        assert run(["rank", *folders]) == 2
        return " ".join(capsys.readouterr().err.split())

    assert "at least 3" in error_of(*runs[:2])
    assert "a run counts once" in error_of(*runs, f"{runs[0]}/../a")
    put(Path(runs[2]), replace(REPORT, visible=2))
    assert "measured with 2 frames visible" in error_of(*runs)
    (Path(runs[2]) / "measure" / "report.json").unlink()
    assert "worldmodel measure" in error_of(*runs)
