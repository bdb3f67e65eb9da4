"""Known answers for the arm of two links."""

from __future__ import annotations

import numpy as np
import pytest

from worldmodel.envs.reacher import Reacher
from worldmodel.envs.world import State


def pose(shoulder: float, elbow: float) -> State:
    return State(np.array([shoulder, elbow]), np.zeros(2), np.zeros(0), 0.0)


def test_distance_agrees_with_the_model_s_own_places() -> None:
    task = Reacher()
    rng = np.random.default_rng(0)

    def places(state: State) -> np.ndarray:
        task.set_state(state)
        return np.stack([task.data.site(name).xpos.copy() for name in ("elbow", "fingertip")])

    for _ in range(50):
        one, other = task.sample(rng), task.sample(rng)
        expected = np.linalg.norm(places(one) - places(other), axis=1).max()
        assert task.distance(one, other) == pytest.approx(expected, abs=1e-12)


def test_distance_of_the_arm_turned_half_round_is_twice_its_length() -> None:
    assert Reacher().distance(pose(0, 0), pose(np.pi, 0)) == pytest.approx(0.48)


def test_distance_forgets_whole_turns() -> None:
    assert Reacher().distance(pose(0.3, 1), pose(0.3 + 2 * np.pi, 1)) == pytest.approx(0)


def test_distance_sees_the_elbow_where_only_the_fingertip_fits() -> None:
    mirrored = Reacher().distance(pose(-0.5, 1), pose(0.5, -1))
    assert mirrored == pytest.approx(2 * 0.12 * np.sin(0.5))


def test_a_torque_turns_its_own_joint_first() -> None:
    task = Reacher()
    task.set_state(pose(0, 0))
    for _ in range(5):
        task.step(np.array([1, 0], np.float32))
    assert task.data.qvel[0] > 0.1
