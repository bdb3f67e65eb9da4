"""What a planner earns: whole episodes of any world with a reward, beside what is earned without a model."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from numpy.typing import NDArray

from worldmodel.config import to_json
from worldmodel.datasets.policies import make_policy
from worldmodel.envs.exploration import Policy
from worldmodel.envs.registry import make_world
from worldmodel.envs.world import World
from worldmodel.errors import WorldModelError
from worldmodel.evaluation.control import Progress
from worldmodel.evaluation.interval import Mean, student
from worldmodel.evaluation.reports import read_report
from worldmodel.models.interface import Interface
from worldmodel.models.world_model import WorldModel
from worldmodel.planning.cost import CostConfig
from worldmodel.planning.policy import PlanningConfig, PlanningPolicy
from worldmodel.planning.sight import Sight
from worldmodel.training.config import read_train_config
from worldmodel.training.device import Compute

FLOORS = ("uniform", "zero", "smooth-noise")  # policies without a model
FOR_REWARD = PlanningConfig(planner="cem", cost=CostConfig(away=0, last=0, reach=0, reward=1))

Act = Callable[[], NDArray[np.float32]]


@dataclass(frozen=True)
class ReturnsConfig:
    """How to evaluate planning for a reward.

    Attributes:
        episodes: how many, at least 2; they begin as the environment begins them, with draws that no recording has.
        steps: control steps after which an episode is ended, where the environment does not end it before.
        seed: decides how episodes begin, and all draws.
    """

    planning: Annotated[PlanningConfig, tyro.conf.arg(name="")] = FOR_REWARD
    episodes: int = 10
    steps: int = 250
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("episodes", 2), ("steps", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise WorldModelError(f"{name} is {getattr(self, name)}; expected at least {least}.")
        cost = self.planning.cost
        if cost.asks_for_goal or cost.reach or not cost.reward:
            raise WorldModelError(
                f"The cost is {cost}; expected one that weighs a reward and no goal. Leave cost.away, cost.last, "
                "cost.least, cost.steps and cost.reach at 0 and cost.reward above it; worldmodel plan goes to goals."
            )


@dataclass(frozen=True)
class ReturnsReport:
    """What was earned.

    Attributes:
        env: name of the environment.
        planner: who planned.
        steps: control steps after which episodes were ended.
        training_seed, seed: of the run, and of the episodes.
        planned: mean return under the planner, a return being the sum of an episode's rewards; Student's interval.
        floors: the same of policies without a model, by name, from the same beginnings.
        returns: of every episode, in the environment's unit, by policy; the planner's as "planned".
        milliseconds_per_plan: mean, ms.
        seconds: wall-clock time of the evaluation, s.
    """

    env: str
    planner: str
    steps: int
    training_seed: int
    seed: int
    planned: Mean
    floors: dict[str, Mean]
    returns: dict[str, tuple[float, ...]]
    milliseconds_per_plan: float
    seconds: float

    def write(self, path: Path) -> None:
        """Write the report as JSON."""
        path.write_text(to_json(self), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> ReturnsReport:
        """Read what `write` wrote.

        Raises:
            WorldModelError: there is no such file, or it is no report.
        """
        return read_report(cls, path, of="returns", made_by="worldmodel earn")


def evaluate_returns(
    config: ReturnsConfig, *, model: WorldModel, run: Path, compute: Compute, progress: Progress | None = None
) -> ReturnsReport:
    """Let a run's model plan for the reward of the environment that it was trained in.

    Args:
        run: folder of the run.
        progress: is told of every episode that the planner played.

    Raises:
        WorldModelError: the model knows no reward, or the environment cannot be made here.
    """
    started, interface = time.perf_counter(), model.interface
    training = read_train_config(run)
    policy = PlanningPolicy(config.planning, model=model, compute=compute, seed=config.seed)
    world = make_world(interface.env, interface.env_arguments)
    try:
        floors = {name: _floor(name, world, config) for name in FLOORS}
        planned, seconds = _planned(policy, world, interface, config, progress)
    finally:
        world.close()
    return ReturnsReport(
        env=interface.env,
        planner=config.planning.planner,
        steps=config.steps,
        training_seed=training.seed,
        seed=config.seed,
        planned=student(planned),
        floors={name: student(returns) for name, returns in floors.items()},
        returns={"planned": planned, **floors},
        milliseconds_per_plan=1000 * float(np.mean(seconds)),
        seconds=time.perf_counter() - started,
    )


def _planned(
    policy: PlanningPolicy, world: World, interface: Interface, config: ReturnsConfig, progress: Progress | None
) -> tuple[tuple[float, ...], list[float]]:
    """Return the planner's returns, and the time of each of its plans, s."""
    _begin(world, config.seed, 0)  # some worlds have no model before
    sight = Sight(interface, world=world)
    returns, seconds = [], []

    def act() -> NDArray[np.float32]:
        world.check_alive()
        decision = policy(torch.from_numpy(sight.image()[None]), torch.from_numpy(sight.felt()[None]))
        seconds.append(decision.seconds)
        block: NDArray[np.float32] = decision.actions[0].cpu().numpy()
        return block

    try:
        for episode in range(config.episodes):
            policy.reset()
            _begin(world, config.seed, episode)
            returns.append(_play(world, act, config.steps))
            if progress:
                progress(episode + 1, config.episodes)
    finally:
        sight.close()
    return tuple(returns), seconds


def _floor(name: str, world: World, config: ReturnsConfig) -> tuple[float, ...]:
    """Return the returns of a policy without a model."""
    returns = []
    for episode in range(config.episodes):
        _begin(world, config.seed, episode)
        policy = make_policy(name, world)
        policy.reset(np.random.default_rng([config.seed, episode, 1]), episode)
        returns.append(_play(world, _one_by_one(policy, world), config.steps))
    return tuple(returns)


def _one_by_one(policy: Policy, world: World) -> Act:
    return lambda: policy(world)[None]


def _begin(world: World, seed: int, episode: int) -> None:
    """Begin an episode, the same for every policy; the recorder's beginnings come from other draws."""
    world.reset(np.random.default_rng([seed, episode, 0]))


def _play(world: World, act: Act, steps: int) -> float:
    """Return the sum of the rewards until the world ends the episode, or `steps` are done.

    Args:
        act: returns the next actions, `[K, A]`.
    """
    earned, done = 0.0, 0
    while True:
        for action in act():
            outcome = world.step(action)
            earned, done = earned + outcome.reward, done + 1
            if outcome.terminated or outcome.truncated or done == steps:
                return earned
