"""Known answers for the hand and its cubes."""

from __future__ import annotations

import numpy as np
import pytest

from worldmodel.envs.cube import HAND, OPEN, Cube, CubeConfig
from worldmodel.envs.registry import make_task
from worldmodel.envs.world import State
from worldmodel.errors import WorldModelError


def scene(task: Cube, *, hand_z: float = 0.024) -> State:
    """The hand open, round a cube in the middle of the table."""
    qpos = np.array([0, 0, hand_z, 0, OPEN, OPEN, 0, 0, 0.025, 1, 0, 0, 0])
    return State(qpos, np.zeros(task.model.nv), np.zeros(0), 0.0)


def act(task: Cube, action: list[float], steps: int) -> None:
    for _ in range(steps):
        task.step(np.array(action, np.float32))


def test_a_hand_that_shuts_lifts_and_carries_its_cube_and_lets_it_fall() -> None:
    task = Cube()
    task.set_state(scene(task))
    act(task, [0, 0, 0, 0, 1], 8)
    act(task, [0, 0, 0.8, 0, 1], 8)
    assert task.places(task.state())[0, 2] > 0.07
    act(task, [0.8, 0, 0, 0, 1], 6)
    assert task.places(task.state())[0, 0] > 0.05
    act(task, [0, 0, 0, 0, -1], 15)
    assert task.places(task.state())[0, 2] == pytest.approx(0.025, abs=0.003)


def test_a_hand_that_stays_open_leaves_the_cube() -> None:
    task = Cube()
    task.set_state(scene(task))
    act(task, [0, 0, 0.8, 0, -1], 10)
    assert task.places(task.state())[0, 2] == pytest.approx(0.025, abs=0.003)


def test_distance_is_that_of_the_cube_farthest_off_and_forgets_the_hand() -> None:
    task = Cube(CubeConfig(cubes=3))
    goal = task.sample(np.random.default_rng(0))
    qpos = goal.qpos.copy()
    qpos[:HAND] += 0.1
    assert task.distance(State(qpos, goal.qvel, goal.act, 0.0), goal) == 0
    qpos[HAND] += 0.03
    qpos[HAND + 7 + 1] += 0.05
    assert task.distance(State(qpos, goal.qvel, goal.act, 0.0), goal) == pytest.approx(0.05)


@pytest.mark.parametrize("cubes", [1, 2, 3])
def test_it_has_as_many_cubes_as_asked_for_all_on_the_table(cubes: int) -> None:
    task = make_task("worldmodel/Cube-v0", f'{{"cubes": {cubes}}}')
    assert task.model.nq == HAND + 7 * cubes
    assert f"cube_{cubes - 1}" in task.mjcf
    assert f"cube_{cubes}" not in task.mjcf
    assert isinstance(task, Cube)
    rng = np.random.default_rng(0)
    for _ in range(5):
        start = task.sample(rng)
        task.set_state(start)
        act(task, [0, 0, 0, 0, -1], 10)
        assert task.distance(task.state(), start) < 0.005  # they stand where they were put


@pytest.mark.parametrize("cubes", [0, 4])
def test_another_number_of_cubes_is_refused(cubes: int) -> None:
    with pytest.raises(WorldModelError, match=f"cubes is {cubes}; expected 1 to 3"):
        CubeConfig(cubes=cubes)


def test_cubes_stay_on_the_table_whatever_the_hand_does() -> None:
    task, rng = Cube(CubeConfig(cubes=3)), np.random.default_rng(0)
    task.reset(rng)
    for _ in range(40):
        act(task, rng.choice([-1.0, 1.0], 5).tolist(), 15)
        places = task.places(task.state())
        assert np.abs(places[:, :2]).max() < 0.2
        assert places[:, 2].min() > 0


def test_exploration_lifts_pushes_and_spreads_the_cube() -> None:
    task = Cube()
    explorer = task.explorer()
    episodes = []
    for seed in range(16):
        task.reset(np.random.default_rng([1, seed]))
        explorer.reset(np.random.default_rng([2, seed]), seed)
        places = [task.places(task.state())[0]]
        for step in range(1, 246):
            task.step(explorer(task))
            if step % 5 == 0:
                places.append(task.places(task.state())[0])
        episodes.append(places)
    places = np.array(episodes)  # [16, 50, 3]
    assert (places[..., 2] > 0.05).any(1).mean() > 0.7  # lifted
    assert (np.linalg.norm(np.diff(places, axis=1), axis=-1) > 0.002).mean() > 0.3
    assert (places[..., :2].std((0, 1)) > 0.055).all()
