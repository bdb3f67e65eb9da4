"""dm_control's tasks keep their own rules."""

from __future__ import annotations

import numpy as np
import pytest

from worldmodel.envs.registry import make_world
from worldmodel.errors import WorldModelError

pytest.importorskip("dm_control")


def test_rewards_and_ends_are_the_task_s_own() -> None:
    arguments = '{"task_kwargs": {"time_limit": 0.1}}'
    world = make_world("dm_control/cheetah-run", arguments)
    from dm_control import suite

    env = suite.load("cheetah", "run", {"random": 0, "time_limit": 0.1})
    world.reset(np.random.default_rng(4))
    env.task.random.seed(int(np.random.default_rng(4).integers(2**31)))
    env.reset()
    ends = []
    for _ in range(10):
        outcome = world.step(world.high)
        expected = env.step(world.high)
        assert outcome.reward == expected.reward
        assert np.array_equal(world.data.qpos, env.physics.data.qpos)
        assert np.array_equal(world.observation["velocity"], expected.observation["velocity"])
        ends.append((outcome.terminated, outcome.truncated))
    assert ends == [(False, False)] * 9 + [(False, True)]


def test_a_target_that_moves_at_reset_is_part_of_the_look() -> None:
    world = make_world("dm_control/reacher-easy")
    target = world.model.geom("target").id
    places = []
    for seed in (0, 1):
        world.reset(np.random.default_rng(seed))
        places.append((world.visual(), world.model.geom_pos[target].copy()))
    world.set_visual(places[0][0])
    assert not np.array_equal(places[0][1], places[1][1])
    assert np.array_equal(world.model.geom_pos[target], places[0][1])


def test_actuators_without_limits_are_bounded_and_the_model_is_the_same_in_every_process() -> None:
    one, other = make_world("dm_control/lqr-lqr_2_1"), make_world("dm_control/lqr-lqr_2_1")
    assert (one.low.tolist(), one.high.tolist()) == ([-1], [1])
    assert np.array_equal(one.model.body_mass, other.model.body_mass)
    assert one.mjcf == other.mjcf


def test_it_tells_its_model_and_is_filmed_by_its_first_camera() -> None:
    world = make_world("dm_control/cheetah-run")
    assert world.mjcf.startswith('<mujoco model="cheetah">')
    assert world.camera == "side"
    assert world.control_seconds == pytest.approx(0.01)


def test_an_unknown_task_is_refused_with_near_ones() -> None:
    with pytest.raises(WorldModelError, match=r"'dm_control/reacher-eesy'.*mean 'dm_control/reacher-easy'"):
        make_world("dm_control/reacher-eesy")


def test_an_unknown_argument_is_refused_with_those_there_are() -> None:
    with pytest.raises(WorldModelError, match=r"'seed'.*environment_kwargs, task_kwargs"):
        make_world("dm_control/cheetah-run", '{"seed": 1}')
    with pytest.raises(WorldModelError, match=r"cannot be made with arguments .*nonsense"):
        make_world("dm_control/cheetah-run", '{"task_kwargs": {"nonsense": 1}}')


def test_a_simulation_that_diverges_is_told() -> None:
    world = make_world("dm_control/cheetah-run")
    world.reset(np.random.default_rng(0))
    world.data.qvel[:] = 1e12
    with pytest.raises(WorldModelError, match="'dm_control/cheetah-run' diverged"):
        world.step(world.high)


def test_new_terrain_in_each_episode_is_refused() -> None:
    with pytest.raises(WorldModelError, match="terrain"):
        make_world("dm_control/quadruped-escape")
    make_world("dm_control/quadruped-walk").close()  # on flat ground
