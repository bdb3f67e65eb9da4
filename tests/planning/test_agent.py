"""The planner as a gymnasium policy, and what it refuses before anything moves."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from worldmodel.errors import WorldModelError
from worldmodel.models.world_model import WorldModel
from worldmodel.planning.agent import Agent
from worldmodel.planning.cem import CEMConfig
from worldmodel.planning.policy import PlanningConfig
from worldmodel.training.checkpoint import load_model
from worldmodel.training.device import Compute

CONFIG = PlanningConfig(planner="cem", horizon=3, history=2, cem=CEMConfig(candidates=8, rounds=2, elites=2))
Env = gymnasium.Env[Any, Any]


@pytest.fixture
def model(trained: Path) -> WorldModel:
    return load_model(trained)


@pytest.fixture(scope="module")
def env() -> Any:
    env = gymnasium.make("worldmodel/Reacher-v0", size=32)
    yield env
    env.close()


def agent(model: WorldModel, env: Env, cpu: Compute) -> Agent:
    return Agent(CONFIG, model=model, compute=cpu, seed=0, env=env)


def test_it_plays_blocks_and_repeats_after_a_reset(model: WorldModel, env: Env, cpu: Compute) -> None:
    episodes = []
    for _ in range(2):
        policy = agent(model, env, cpu)
        observation, _ = env.reset(seed=4)
        policy.reset()
        actions = []
        for _ in range(5):
            actions.append(policy(observation))
            observation, *_ = env.step(actions[-1])
        episodes.append(np.array(actions))
    assert np.array_equal(*episodes)
    assert np.array_equal(episodes[0][0], episodes[0][1])  # held for the model's two control steps
    assert not np.array_equal(episodes[0][1], episodes[0][2])
    assert env.action_space.contains(episodes[0][4])


def test_another_goal_on_the_way_is_taken_up(model: WorldModel, env: Env, cpu: Compute) -> None:
    def second_block(change: bool) -> np.ndarray:
        policy = agent(model, env, cpu)
        observation, _ = env.reset(seed=4)
        for _ in range(2):
            observation, *_ = env.step(policy(observation))
        goal = 255 - observation["goal"] if change else observation["goal"]
        return policy({"image": observation["image"], "goal": goal})

    assert not np.array_equal(second_block(change=True), second_block(change=False))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"env": "worldmodel/Other-v0"}, "environment is 'worldmodel/Reacher-v0'.*'worldmodel/Other-v0'"),
        ({"cameras": ("side",)}, r"cameras is \('top',\).*\('side',\)"),
        ({"height": 64}, r"image size is \(32, 32, 3\).*\(64, 32, 3\)"),
        ({"quality": "faithful"}, "quality of pictures is 'fast'.*'faithful'"),
        ({"control_seconds": 0.1}, "time between two actions"),
        ({"low": (-1.0,), "high": (1.0,)}, "number of actuators is 2"),
        ({"high": (1.0, 2.0)}, r"upper bounds of the actions is \(1.0, 1.0\)"),
    ],
)
def test_another_world_is_refused(
    model: WorldModel, env: Env, cpu: Compute, change: dict[str, Any], named: str
) -> None:
    model.interface = replace(model.interface, **change)
    with pytest.raises(WorldModelError, match=named):
        agent(model, env, cpu)


def test_other_looks_and_physics_are_acted_in_and_another_task_is_not(model: WorldModel, cpu: Compute) -> None:
    with closing(gymnasium.make("worldmodel/Reacher-v0", size=32, arguments='{"variation": {"light": 1}}')) as varied:
        assert agent(model, varied, cpu)(varied.reset(seed=4)[0]).shape == (2,)
    with closing(gymnasium.make("worldmodel/Cube-v0", size=32, arguments='{"cubes": 3}')) as three:
        unwrapped: Any = three.unwrapped
        space = three.action_space
        assert isinstance(space, gymnasium.spaces.Box)
        model.interface = replace(
            model.interface,
            env="worldmodel/Cube-v0",
            cameras=unwrapped.cameras,
            control_seconds=unwrapped.task.control_seconds,
            low=tuple(space.low.tolist()),
            high=tuple(space.high.tolist()),
            env_arguments='{"variation": {"colour": 1}}',
        )
        with pytest.raises(WorldModelError, match=r"configuration is .*cubes=3.*cubes=1"):
            agent(model, three, cpu)


def test_an_environment_without_goals_is_refused(model: WorldModel, cpu: Compute) -> None:
    with pytest.raises(WorldModelError, match=r"does not show what a model sees.*WorldEnv\(model\.interface\)"):
        agent(model, gymnasium.make("CartPole-v1"), cpu)


@pytest.mark.parametrize("name", ["image", "goal"])
@pytest.mark.parametrize(
    ("picture", "named"),
    [
        (np.full((32, 32, 3), np.nan, np.float32), "not finite"),
        (np.zeros((32, 32, 3), np.float32), r"float32 \[32, 32, 3\]"),
        (np.zeros((64, 64, 3), np.uint8), r"uint8 \[64, 64, 3\]; expected uint8 \[32, 32, 3\]"),
        (None, "has no"),
    ],
)
def test_a_picture_that_the_model_cannot_read_is_refused(
    model: WorldModel, env: Env, cpu: Compute, name: str, picture: Any, named: str
) -> None:
    policy = agent(model, env, cpu)
    observation, _ = env.reset(seed=4)
    policy(observation)  # also in the midst of a block
    broken = {**observation, name: picture}
    if picture is None:
        del broken[name]
    with pytest.raises(WorldModelError, match=rf"{name}.*{named}|{named} '{name}'"):
        policy(broken)
