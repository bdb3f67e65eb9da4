"""Returns are what the environment pays, from the same beginnings for all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from worldmodel.envs.registry import make_world
from worldmodel.envs.world import Action, Outcome, World
from worldmodel.errors import WorldModelError
from worldmodel.evaluation import returns
from worldmodel.evaluation.returns import FLOORS, FOR_REWARD, ReturnsConfig, ReturnsReport, evaluate_returns
from worldmodel.planning.cem import CEMConfig
from worldmodel.planning.cost import CostConfig
from worldmodel.planning.policy import PlanningConfig
from worldmodel.training.checkpoint import load_model
from worldmodel.training.device import Compute

PLANNING = replace(FOR_REWARD, horizon=3, history=2, cem=CEMConfig(candidates=6, rounds=2, elites=2))
CONFIG = ReturnsConfig(planning=PLANNING, episodes=2, steps=5, seed=4)


def test_what_is_earned_is_what_the_environment_pays(rewarded: Path, cpu: Compute, tmp_path: Path) -> None:
    model = load_model(rewarded)
    told: list[tuple[int, int]] = []
    report = evaluate_returns(
        CONFIG, model=model, run=rewarded, compute=cpu, progress=lambda done, total: told.append((done, total))
    )
    assert told == [(1, 2), (2, 2)]
    assert report.returns.keys() == {"planned", *FLOORS}
    assert report.planned.value == pytest.approx(np.mean(report.returns["planned"]))
    world = make_world("Reacher-v5")
    for episode, earned in enumerate(report.returns["zero"]):
        world.reset(np.random.default_rng([4, episode, 0]))
        assert earned == pytest.approx(sum(world.step(np.zeros(2, np.float32)).reward for _ in range(5)))
    world.close()
    assert len({*report.returns["planned"], *report.returns["uniform"], *report.returns["zero"]}) == 6
    again = evaluate_returns(CONFIG, model=model, run=rewarded, compute=cpu)
    assert again.returns == report.returns
    report.write(tmp_path / "report.json")
    assert ReturnsReport.read(tmp_path / "report.json") == report


class Payer(World):
    """Pays 1, 2, 3, ...; after `end` steps it ends the episode."""

    def __init__(self, end: int) -> None:
        self._end, self._step = end, 0

    @property
    def control_seconds(self) -> float:
        return 1.0

    def reset(self, rng: np.random.Generator) -> None:
        self._step = 0

    def step(self, action: Action) -> Outcome:
        self._step += 1
        assert self._step <= self._end, "it goes on after the end"
        return Outcome(reward=self._step, terminated=self._step == self._end)


@pytest.mark.parametrize(("steps", "earned"), [(1, 1), (4, 10), (5, 15), (6, 21), (100, 21)])
def test_an_episode_ends_by_the_world_or_by_the_limit_within_blocks_too(steps: int, earned: float) -> None:
    assert returns._play(Payer(6), lambda: np.zeros((4, 1), np.float32), steps) == earned


@pytest.mark.parametrize(
    "cost", [CostConfig(), CostConfig(reward=1.0), CostConfig(away=0, last=0, effort=1.0), CostConfig(reward=1, last=0)]
)
def test_a_goal_or_no_reward_is_refused(cost: CostConfig) -> None:
    with pytest.raises(WorldModelError, match="weighs a reward and no goal"):
        ReturnsConfig(planning=PlanningConfig(planner="cem", cost=cost))


@pytest.mark.parametrize("wrong", [{"episodes": 1}, {"steps": 0}, {"seed": -1}])
def test_numbers_that_make_no_evaluation_are_refused(wrong: dict[str, int]) -> None:
    (name,) = wrong
    with pytest.raises(WorldModelError, match=f"{name} is"):
        ReturnsConfig(**wrong)


def test_a_run_without_a_reward_earns_nothing(trained: Path, cpu: Compute) -> None:
    with pytest.raises(WorldModelError, match=r"cost\.reward.*none that varies"):
        evaluate_returns(CONFIG, model=load_model(trained), run=trained, compute=cpu)


def test_what_is_no_report_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorldModelError, match="worldmodel earn"):
        ReturnsReport.read(tmp_path / "report.json")
