"""The policies that collect data."""

from __future__ import annotations

import numpy as np
import pytest

from worldmodel.datasets.policies import POLICIES, make_policy
from worldmodel.envs.registry import make_task, make_world
from worldmodel.envs.world import World
from worldmodel.errors import WorldModelError


@pytest.fixture
def world() -> World:
    return make_task("worldmodel/Reacher-v0")


def play(name: str, world: World, seed: int, steps: int = 400) -> np.ndarray:
    policy = make_policy(name, world)
    policy.reset(np.random.default_rng(seed), 0)
    return np.stack([policy(world) for _ in range(steps)])


def correlation_with_the_next(actions: np.ndarray) -> float:
    return float(np.corrcoef(actions[:-1, 0], actions[1:, 0])[0, 1])


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("env", ["worldmodel/Reacher-v0", "Pusher-v5"])
def test_actions_are_within_the_bounds(name: str, env: str) -> None:
    world = make_world(env)
    for seed in range(5):
        actions = play(name, world, seed)
        assert actions.dtype == np.float32
        assert actions.shape == (400, len(world.low))
        assert (world.low <= actions).all()
        assert (actions <= world.high).all()
    world.close()


@pytest.mark.parametrize("name", POLICIES)
def test_a_seed_repeats_the_actions_whatever_went_before(name: str, world: World) -> None:
    policy = make_policy(name, world)
    policy.reset(np.random.default_rng(1), 4)
    policy(world)
    policy.reset(np.random.default_rng(2), 0)
    assert np.array_equal(np.stack([policy(world) for _ in range(50)]), play(name, world, 2, 50))


@pytest.mark.parametrize("name", ["smooth-noise", "uniform"])
def test_another_seed_gives_other_actions(name: str, world: World) -> None:
    assert not np.array_equal(play(name, world, 1), play(name, world, 2))


def test_smooth_noise_keeps_its_direction_and_uniform_does_not(world: World) -> None:
    smooth = np.mean([correlation_with_the_next(play("smooth-noise", world, seed)) for seed in range(10)])
    uniform = np.mean([correlation_with_the_next(play("uniform", world, seed)) for seed in range(10)])
    expected = np.exp(-world.control_seconds / 0.25)  # less a little for clipping
    assert smooth == pytest.approx(expected, abs=0.05)
    assert abs(uniform) < 0.1


def test_smooth_noise_goes_both_ways_and_reaches_the_bounds(world: World) -> None:
    actions = np.concatenate([play("smooth-noise", world, seed) for seed in range(30)])
    assert abs(actions.mean()) < 0.1
    assert actions.min() == world.low.min()
    assert actions.max() == world.high.max()


def test_explore_is_the_task_s_own_way_and_smooth_noise_where_there_is_none(world: World) -> None:
    assert np.array_equal(play("explore", world, 1), play("smooth-noise", world, 1))
    walks = make_task("worldmodel/TwoRoom-v0")
    assert not np.array_equal(play("explore", walks, 1), play("smooth-noise", walks, 1))


def test_zero_does_nothing(world: World) -> None:
    assert not play("zero", world, 0).any()


def test_an_unknown_policy_is_refused_with_those_there_are(world: World) -> None:
    with pytest.raises(WorldModelError, match=r"'smooth'.*module:function, replay.*sb3.*smooth-noise, uniform, zero"):
        make_policy("smooth", world)
