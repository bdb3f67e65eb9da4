"""Any recorded world as a gymnasium environment, and the planner in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import TimeLimit

from worldmodel.envs.registry import make_world
from worldmodel.errors import WorldModelError
from worldmodel.evaluation.returns import FOR_REWARD
from worldmodel.models.world_model import WorldModel
from worldmodel.planning.agent import Agent
from worldmodel.planning.cem import CEMConfig
from worldmodel.planning.policy import PlanningConfig
from worldmodel.planning.sight import Sight
from worldmodel.planning.world_env import WorldEnv
from worldmodel.training.checkpoint import load_model
from worldmodel.training.device import Compute

CEM = CEMConfig(candidates=8, rounds=2, elites=2)
TO_GOAL = PlanningConfig(planner="cem", horizon=3, history=2, cem=CEM)
TO_EARN = replace(FOR_REWARD, horizon=3, history=2, cem=CEM)


@pytest.fixture
def model(rewarded: Path) -> WorldModel:
    return load_model(rewarded)


@pytest.fixture
def env(model: WorldModel) -> Iterator[WorldEnv]:
    with closing(WorldEnv(model.interface)) as env:
        yield env


def test_it_is_a_gymnasium_environment(env: WorldEnv) -> None:
    check_env(env, skip_render_check=True)
    with pytest.raises(WorldModelError, match="options"):
        env.reset(options={"goal": 1})
    with pytest.raises(WorldModelError, match="finite"):
        env.step(np.full(env.action_space.shape or (), np.nan, np.float32))


def test_it_shows_and_pays_what_the_world_does(env: WorldEnv, model: WorldModel) -> None:
    observation, _ = env.reset(seed=3)
    with closing(make_world(model.interface.env)) as world:
        world.reset(np.random.default_rng(3))  # as gymnasium's own generator draws
        with closing(Sight(model.interface, world=world)) as sight:
            assert np.array_equal(observation["image"], sight.image())
            for _ in range(3):
                action = np.full(len(world.low), 0.5, np.float32)
                observation, reward, *_ = env.step(action)
                assert reward == world.step(action).reward
                assert np.array_equal(observation["image"], sight.image())
                assert np.array_equal(env.render(), sight.image())


def test_a_reward_is_planned_for_without_a_goal(env: WorldEnv, model: WorldModel, cpu: Compute) -> None:
    limited: Any = TimeLimit(env, 6)
    episodes = []
    for _ in range(2):
        observation, _ = limited.reset(seed=4)
        agent = Agent(TO_EARN, model=model, compute=cpu, seed=0, env=limited)
        actions, ended = [], False
        while not ended:
            actions.append(agent(observation))
            observation, _, terminated, truncated, _ = limited.step(actions[-1])
            ended = terminated or truncated
        episodes.append(np.array(actions))
    assert episodes[0].shape == (6, 2)
    assert np.array_equal(*episodes)


def test_a_goal_is_given_where_none_is_shown(env: WorldEnv, model: WorldModel, cpu: Compute) -> None:
    agent = Agent(TO_GOAL, model=model, compute=cpu, seed=0, env=env)
    goal = env.reset(seed=1)[0]["image"]
    observation, _ = env.reset(seed=2)
    with pytest.raises(WorldModelError, match=r"has no 'goal'.*give one to reset"):
        agent(observation)
    with pytest.raises(WorldModelError, match=r"goal is uint8 \[8, 8, 3\]"):
        agent.reset(goal[:8, :8])
    agent.reset(goal)
    assert env.action_space.contains(agent(observation))


@pytest.mark.parametrize(
    "change", [{"env": "Pusher-v5"}, {"height": 64}, {"cameras": ("track",)}, {"env_arguments": '{"a": 1}'}]
)
def test_another_world_is_refused(env: WorldEnv, model: WorldModel, cpu: Compute, change: dict[str, Any]) -> None:
    model.interface = replace(model.interface, **change)
    with pytest.raises(WorldModelError, match=f"does not fit this environment: its {next(iter(change))} is"):
        Agent(TO_EARN, model=model, compute=cpu, seed=0, env=env)


def test_a_simulation_that_diverges_is_told(env: WorldEnv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # MuJoCo leaves a log where it runs
    env.reset(seed=0)
    still = np.zeros(env.action_space.shape or (), np.float32)
    env.world.data.qvel[:] = 1e13
    with pytest.raises(WorldModelError, match=r"diverged \(mjWARN_BADQVEL\)"):
        env.step(still)
    env.reset(seed=0)
    env.step(still)
