"""Known answers for the rope."""

from __future__ import annotations

import numpy as np
import pytest

from worldmodel.envs.rope import PIECE, POINTS, Rope
from worldmodel.envs.world import State


def straight(task: Rope, *, pusher: tuple[float, float] = (0.0, -0.2)) -> State:
    qpos = np.zeros(task.model.nq)
    qpos[:2] = pusher
    return State(qpos, np.zeros(task.model.nv), np.zeros(0), 0.0)


def push(task: Rope, x: float, y: float, steps: int) -> None:
    for _ in range(steps):
        task.step(np.array([x, y], np.float32))


def test_the_points_are_the_model_s() -> None:
    task = Rope()
    task.set_state(task.sample(np.random.default_rng(0)))
    assert task.points(task.data.qpos) == pytest.approx(task.data.flexvert_xpos[:, :2], abs=1e-12)


def test_distance_is_that_of_the_point_farthest_off_and_forgets_pusher_and_order() -> None:
    task = Rope()
    goal = straight(task)
    moved = goal.qpos.copy()
    moved[:2] += 0.3
    moved[3] += 0.07  # the first point, across
    assert task.distance(State(moved, goal.qvel, goal.act, 0.0), goal) == pytest.approx(0.07)
    turned = task.points(goal.qpos)[::-1] - task.points(np.zeros_like(goal.qpos))
    turned_round = State(np.concatenate([[0, 0.3], turned.reshape(-1)]), goal.qvel, goal.act, 0.0)
    assert task.distance(turned_round, goal) == pytest.approx(0)


def test_a_pushed_rope_bends_keeps_its_length_and_stays_where_it_is_left() -> None:
    task = Rope()
    task.set_state(straight(task))
    push(task, 0, 1, 20)
    points = task.points(task.data.qpos)
    assert points[POINTS // 2, 1] > 0.1
    assert points[POINTS // 2, 1] - points[0, 1] > 0.05
    assert np.linalg.norm(np.diff(points, axis=0), axis=1) == pytest.approx(np.full(POINTS - 1, PIECE), rel=0.04)
    push(task, 0, -1, 5)
    left = task.points(task.data.qpos)
    push(task, 0, -1, 8)
    assert task.points(task.data.qpos) == pytest.approx(left, abs=2e-3)


def test_the_rope_stays_on_the_board() -> None:
    task = Rope()
    task.set_state(straight(task, pusher=(0.0, -0.2)))
    push(task, 0, 1, 200)
    assert np.abs(task.points(task.data.qpos)).max() < 0.51


def test_exploration_pushes_and_bends_the_rope() -> None:
    task = Rope()
    explorer = task.explorer()
    moved, changed = [], []
    for seed in range(6):
        task.reset(np.random.default_rng([1, seed]))
        explorer.reset(np.random.default_rng([2, seed]), seed)
        states = [task.state()]
        for step in range(1, 246):
            task.step(explorer(task))
            if step % 5 == 0:
                states.append(task.state())
        points = np.array([task.points(state.qpos) for state in states])
        moved.append(np.linalg.norm(np.diff(points, axis=0), axis=-1).max(1) > 0.005)
        shape = points - points.mean(1, keepdims=True)
        changed.append(np.abs(shape[-1] - shape[0]).max())
    assert np.mean(moved) > 0.35
    assert np.mean(changed) > 0.1
