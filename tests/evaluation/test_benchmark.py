"""The table of results, from given reports."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest

from worldmodel.errors import WorldModelError
from worldmodel.evaluation.benchmark import HEAD, BenchmarkRow, BenchmarkTable, Failures
from worldmodel.evaluation.interval import wilson
from worldmodel.evaluation.pool import Pool
from worldmodel.evaluation.recipes import RECIPES, recipe_of
from worldmodel.tasks import TASKS

POOL = Pool(
    env="worldmodel/TwoRoom-v0",
    env_arguments="{}",
    shifted=False,
    planner="cem",
    ahead=25,
    budget=50,
    training_seeds=(0, 1),
    success=wilson(150, 200),
    success_ever=wilson(180, 200),
    floors={"uniform": wilson(10, 200), "zero": wilson(0, 200), "smooth-noise": wilson(4, 200)},
    floors_ever={"uniform": wilson(40, 200), "zero": wilson(2, 200), "smooth-noise": wilson(9, 200)},
    by_seed=(0.7, 0.8),
    oracle=wilson(19, 20),
    oracle_ever=wilson(20, 20),
    oracle_planner="icem",
    imagined_cost=0.1,
    achieved_cost=0.2,
    milliseconds_for_one=31.4,
)
FAILURES = (
    Failures(0, "TwoRoom/seed-0/plan/videos", ("trial-003-missed.mp4", "trial-041-missed.mp4")),
    Failures(1, "TwoRoom/seed-1/plan/videos", ()),
)
ROW = BenchmarkRow("TwoRoom", 10.01, POOL, FAILURES)


def test_a_row_says_it_all() -> None:
    told = dict(zip(HEAD, ROW.cells(), strict=True))
    assert told == {
        "task": "TwoRoom",
        "training, min": "10",
        "planner": "cem",
        "at the goal in the end [95 %]": "75 % [69, 80]",
        "by seed": "70, 80 %",
        "touched at any time": "90 % [85, 93]",
        "uniform": "5 / 20 %",
        "zero": "0 / 1 %",
        "explore": "–",
        "oracle": "95 / 100 % of 20 (icem)",
        "ms per plan": "31",
        "trials": "2 × 100",
    }
    without = BenchmarkRow("TwoRoom", 10.01, replace(POOL, oracle=None), FAILURES)
    assert dict(zip(HEAD, without.cells(), strict=True))["oracle"] == "–"


def test_the_table_is_markdown_with_its_failures_below(tmp_path: Path) -> None:
    assert BenchmarkTable.read(tmp_path) == BenchmarkTable()
    table = BenchmarkTable((ROW,))
    table.write(tmp_path)
    lines = (tmp_path / "table.md").read_text(encoding="utf-8").splitlines()
    assert [line.count("|") for line in lines[:3]] == [len(HEAD) + 1] * 3
    assert lines[2].startswith("| TwoRoom | 10 | cem | 75 % [69, 80] |")
    assert "25 control steps ahead with a budget of 50" in lines[4]
    seen = "- TwoRoom, seed 0, in TwoRoom/seed-0/plan/videos: trial-003-missed.mp4, trial-041-missed.mp4"
    assert lines[-1] == seen
    assert BenchmarkTable.read(tmp_path) == table


def test_a_task_has_one_row() -> None:
    other, again = replace(ROW, task="Reacher"), replace(ROW, minutes=20.0)
    table = BenchmarkTable().with_row(ROW).with_row(other).with_row(again)
    assert table.rows == (again, other)


def test_rows_of_several_commands_come_into_one_table(tmp_path: Path) -> None:
    other = replace(ROW, task="Reacher")
    spawn = multiprocessing.get_context("spawn")  # a fork would share the locks of other threads
    with spawn.Pool(2) as pool:
        pool.starmap_async(BenchmarkTable.put, [(ROW, tmp_path), (other, tmp_path)], chunksize=1).get(timeout=120)
    assert {row.task for row in BenchmarkTable.read(tmp_path).rows} == {"TwoRoom", "Reacher"}
    BenchmarkTable.put(replace(other, minutes=2.0), tmp_path)
    assert len(BenchmarkTable.read(tmp_path).rows) == 2


def test_a_damaged_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "table.json").write_text("{}")
    with pytest.raises(WorldModelError, match="is no table of results"):
        BenchmarkTable.read(tmp_path)


def test_recipes_are_of_our_tasks() -> None:
    assert {f"worldmodel/{task}-v0" for task in RECIPES} <= set(TASKS)
    with pytest.raises(WorldModelError, match=r"'TwoRooms'.*Did you mean 'TwoRoom'.*Cartpole.*Rope"):
        recipe_of("TwoRooms")
