"""Known answers for the cart and its pole."""

from __future__ import annotations

import numpy as np
import pytest

from worldmodel.envs.cartpole import Cartpole
from worldmodel.envs.world import State


def pose(cart: float, angle: float, turn: float = 0.0) -> State:
    return State(np.array([cart, angle]), np.array([0.0, turn]), np.zeros(0), 0.0)


def test_distance_agrees_with_the_model_s_own_places() -> None:
    task, rng = Cartpole(), np.random.default_rng(0)

    def places(state: State) -> np.ndarray:
        task.set_state(state)
        return np.stack([task.data.geom(name).xpos[[0, 2]].copy() for name in ("cart", "tip")])

    for _ in range(20):
        one, other = task.sample(rng), task.sample(rng)
        expected = np.linalg.norm(places(one) - places(other), axis=1).max()
        assert task.distance(one, other) == pytest.approx(expected, abs=1e-9)


def test_goals_are_upright_and_starts_anywhere() -> None:
    task, rng = Cartpole(), np.random.default_rng(0)
    starts = [task.sample(rng) for _ in range(50)]
    assert np.ptp([start.qpos[1] for start in starts]) > 5
    assert all(abs(task.sample_goal(rng, start).qpos[1]) <= 0.1 for start in starts)


def test_an_upright_pole_falls_and_no_steady_force_lifts_it() -> None:
    task = Cartpole()
    task.set_state(pose(0, 0.05))
    for _ in range(50):
        task.step(np.zeros(1, np.float32))
    assert np.cos(task.data.qpos[1]) < 0
    for force in (-1, 0, 1):
        task.set_state(pose(0, np.pi))
        heights = []
        for _ in range(200):
            task.step(np.array([force], np.float32))
            heights.append(np.cos(task.data.qpos[1]))
        assert max(heights) < 0.9


def test_exploration_swings_up_and_keeps_the_cart_off_the_ends() -> None:
    task = Cartpole()
    explorer = task.explorer()
    upright, at_end = [], []
    for seed in range(12):
        task.set_state(pose(0, np.pi))  # hanging
        explorer.reset(np.random.default_rng(seed), seed)
        for _ in range(300):
            task.step(explorer(task))
            upright.append(np.cos(task.data.qpos[1]) > 0.9)
            at_end.append(abs(task.data.qpos[0]) > 0.53)
    assert np.mean(upright) > 0.03
    assert np.mean(at_end) < 0.15
