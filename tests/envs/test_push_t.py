"""Known answers for the T and its pusher."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from worldmodel.envs.push_t import ANGLE, CORNERS, POSITION, PushT
from worldmodel.envs.world import State


def state(*qpos: float) -> State:
    return State(np.array(qpos), np.zeros(5), np.zeros(0), 0.0)


def test_each_quantity_alone_reaches_its_tolerance() -> None:
    task, goal = PushT(), state(0.3, 0.3, 0, 0, 1)
    assert task.distance(state(0.3 + POSITION, 0.3, 0, 0, 1), goal) == pytest.approx(1)
    assert task.distance(state(0.3, 0.3, 0, POSITION, 1), goal) == pytest.approx(1)
    assert task.distance(state(0.3, 0.3, 0, 0, 1 + ANGLE), goal) == pytest.approx(1)
    together = POSITION / np.sqrt(2)  # places count as one vector
    assert task.distance(state(0.3 + together, 0.3, together, 0, 1), goal) == pytest.approx(1)


def test_the_angle_forgets_whole_turns() -> None:
    assert PushT().distance(state(0, 0.3, 0, 0, 3.1), state(0, 0.3, 0, 0, 3.1 - 4 * np.pi)) == pytest.approx(0)


def test_the_outline_is_the_model_s() -> None:
    task = PushT()
    task.set_state(state(0.4, 0.4, 0, 0, 0))
    corners = []
    for name in ("bar", "stem"):
        geom, (x, y, _) = task.data.geom(name).xpos, task.model.geom(name).size
        corners += [geom[:2] + np.array([sx * x, sy * y]) for sx in (-1, 1) for sy in (-1, 1)]
    for corner in CORNERS:
        assert np.abs(np.array(corners) - corner).max(1).min() < 1e-5
    assert task.model.body("block").ipos[:2] == pytest.approx([0, 0], abs=1e-4)  # angles turn about the centre of mass


def test_the_block_is_pushed_turned_and_stays_where_it_is_left() -> None:
    task = PushT()
    task.set_state(state(-0.3, 0.08, 0, 0, 0))  # beside the bar, off the centre
    for _ in range(20):
        task.step(np.array([1, 0], np.float32))
    pushed = task.state().qpos
    assert pushed[2] > 0.05
    assert pushed[4] < -0.1
    for _ in range(10):
        task.step(np.array([-1, 0], np.float32))
    left = task.state().qpos[2:]
    for _ in range(25):
        task.step(np.array([0, 0], np.float32))
    assert task.state().qpos[2:] == pytest.approx(left, abs=1e-3)


def test_the_block_stays_on_the_board_however_it_is_pushed() -> None:
    task, rng = PushT(), np.random.default_rng(0)
    for _ in range(5):
        task.reset(rng)
        for _ in range(300):
            block = task.data.qpos[2:4] - task.data.qpos[:2]
            task.step((block / np.abs(block).max() + rng.normal(0, 0.3, 2)).astype(np.float32))  # always at it
            assert np.abs(task.data.qpos[2:4]).max() < 0.5
    assert not task.data.warning[mujoco.mjtWarning.mjWARN_BADQACC].number


def test_exploration_pushes_turns_and_keeps_off_the_edges() -> None:
    task = PushT()
    explorer = task.explorer()
    episodes = []
    for seed in range(8):
        task.reset(np.random.default_rng([1, seed]))
        explorer.reset(np.random.default_rng([2, seed]), seed)
        poses = [task.data.qpos[2:].copy()]
        for step in range(1, 246):
            task.step(explorer(task))
            if step % 5 == 0:
                poses.append(task.data.qpos[2:].copy())
        episodes.append(poses)
    poses = np.array(episodes)  # [8, 50, 3]
    moved = np.linalg.norm(np.diff(poses, axis=1) * [1, 1, 0.1], axis=-1) > 0.002
    assert moved.mean() > 0.35
    assert moved.any(1).all()
    assert np.ptp(poses[..., 2], axis=1).mean() > 1.0  # rad, within an episode
    assert (poses[..., :2].std((0, 1)) > 0.1).all()
    assert (np.abs(poses[..., :2]).max(-1) > 0.42).mean() < 0.02  # of a board of 0.5
