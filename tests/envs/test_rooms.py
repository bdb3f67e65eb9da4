"""Known answers for the two rooms and the maze."""

from __future__ import annotations

import numpy as np
import pytest

from worldmodel.envs.point_maze import CELL, CELLS, PointMaze
from worldmodel.envs.registry import make_task
from worldmodel.envs.task import Task
from worldmodel.envs.two_room import TwoRoom, TwoRoomConfig
from worldmodel.envs.world import State


def ball(task: Task, x: float, y: float, *door: float) -> State:
    nv = task.model.nv
    return State(np.array([x, y, *door]), np.zeros(nv), np.zeros(0), 0.0)


def roll(task: Task, start: State, x: float, y: float, steps: int) -> np.ndarray:
    task.set_state(start)
    for _ in range(steps):
        task.step(np.array([x, y], np.float32))
    return task.state().qpos


def test_a_ball_passes_the_door_and_not_the_wall() -> None:
    task = TwoRoom()
    assert roll(task, ball(task, -0.3, 0, 0), 1, 0, 40)[0] > 0.3
    stopped = roll(task, ball(task, -0.3, 0.2, 0), 1, 0, 40)
    assert stopped[0] == pytest.approx(-0.06, abs=0.01)  # its radius and half the wall from the middle


def test_a_step_goes_a_fortieth_of_a_metre() -> None:
    task = TwoRoom()
    assert roll(task, ball(task, -0.4, 0, 0), 1, 0, 20)[0] == pytest.approx(-0.4 + 20 * 0.025, abs=0.03)


def test_the_door_stands_where_the_state_says_and_nothing_moves_it() -> None:
    task = TwoRoom()
    assert roll(task, ball(task, -0.3, 0.3, 0.3), 1, 0, 40)[0] > 0.3
    leaning = roll(task, ball(task, 0, 0.3, 0.3), 0, 1, 200)  # at the door's side
    assert leaning[1] == pytest.approx(0.34, abs=0.01)
    assert leaning[2] == pytest.approx(0.3, abs=1e-5)


def test_a_random_door_differs_by_seed_and_is_the_same_in_start_and_goal() -> None:
    task = TwoRoom(TwoRoomConfig(door="random"))
    starts = [task.sample(np.random.default_rng(seed)) for seed in range(20)]
    doors = [start.qpos[2] for start in starts]
    assert np.ptp(doors) > 0.4
    assert len(set(doors)) == 20
    for start in starts:
        assert task.sample_goal(np.random.default_rng(0), start).qpos[2] == start.qpos[2]
    assert all(TwoRoom().sample(np.random.default_rng(seed)).qpos[2] == 0 for seed in range(5))


def test_exploration_walks_through_the_door_both_ways() -> None:
    for door in ("middle", "random"):
        task = make_task("worldmodel/TwoRoom-v0", f'{{"door": "{door}"}}')
        explorer = task.explorer()
        crossings = []
        for seed in range(12):
            task.reset(np.random.default_rng([1, seed]))
            explorer.reset(np.random.default_rng([2, seed]), seed)
            sides = []
            for _ in range(245):
                task.step(explorer(task))
                sides.append(task.data.qpos[0] > 0)
            crossings.append(np.abs(np.diff(np.array(sides, int))).sum())
        assert np.mean(crossings) > 2


def test_the_maze_has_the_doors_that_it_shows() -> None:
    doors = PointMaze().doors()
    assert sum(map(len, doors.values())) == 2 * 16  # of 24 places for walls, 8 have one
    assert doors[1, 2] == [(1, 3)]  # the dead end upon the shelf
    for cell, others in doors.items():
        assert all(cell in doors[other] for other in others)


def test_a_ball_passes_where_there_is_a_door_and_nowhere_else() -> None:
    task = PointMaze()
    for cell, others in task.doors().items():
        x, y = (np.array(cell) + 0.5 - CELLS / 2) * CELL
        for across, along in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            end = roll(task, ball(task, x, y), across, along, 12)
            passed = abs(end - [x, y]).max() > CELL / 2
            assert passed == ((cell[0] + across, cell[1] + along) in others)


def test_exploration_visits_the_whole_maze() -> None:
    task = PointMaze()
    explorer = task.explorer()
    visited = set()
    for seed in range(20):
        task.reset(np.random.default_rng([1, seed]))
        explorer.reset(np.random.default_rng([2, seed]), seed)
        cells = set()
        for _ in range(245):
            task.step(explorer(task))
            cells.add(tuple(np.floor(task.data.qpos / CELL).astype(int)))
        assert len(cells) >= 3
        visited |= cells
    assert len(visited) == CELLS**2
