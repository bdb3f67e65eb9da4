"""What the planner could do with a perfect model: it plans on the simulator itself, with the true distance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldmodel.envs.registry import make_task
from worldmodel.envs.task import Task
from worldmodel.envs.world import State
from worldmodel.evaluation.control import Progress, Trace
from worldmodel.evaluation.goals import Trial
from worldmodel.models.interface import Interface
from worldmodel.planning.cost import CostConfig, PlanCost
from worldmodel.planning.planner import PlanSpace, Problem
from worldmodel.planning.policy import PlanningConfig
from worldmodel.planning.registry import PlannerName, make_planner

BLIND = ("cem", "icem", "mppi", "random")  # planners that need neither gradients nor proposals


def oracle_planner(planner: PlannerName) -> PlannerName:
    """Return who searches on the simulator in a planner's place: itself, or "cem" where it needs more than that."""
    return planner if planner in BLIND else "cem"


def oracle(
    config: PlanningConfig,
    interface: Interface,
    trials: list[Trial],
    *,
    blocks: int,
    seed: int,
    progress: Progress | None = None,
) -> Trace:
    """Let `oracle_planner` act in every trial with the simulator as its model, whose distance to the goal is the cost.

    Distances, as shares of the trial's first, take the place of latents: their squares are weighed along the plan as
    the planner's cost weighs those of latents. Time budgets do not count.

    Args:
        blocks: T, action blocks to act for.
    """
    distances = []
    for index, trial in enumerate(trials):
        distances.append(_control(config, interface, trial, blocks, seed + index))
        if progress:
            progress(index + 1, len(trials))
    return Trace(np.array(distances))


def _control(config: PlanningConfig, interface: Interface, trial: Trial, blocks: int, seed: int) -> list[float]:
    """Return the distances `[T * K + 1]` of one trial."""
    task, steps = make_task(interface.env, interface.env_arguments), interface.steps_per_frame
    hold = config.hold or steps
    low, high = torch.tensor(interface.low), torch.tensor(interface.high)
    planner = make_planner(oracle_planner(config.planner), config, PlanSpace(low, high, config.horizon, steps // hold))
    cost = PlanCost(_distance_only(config.cost), goal=torch.zeros(1, 1), low=low, high=high)
    generator = torch.Generator().manual_seed(seed)
    task.set_state(trial.start)
    distances, warm = [task.distance(trial.start, trial.goal)], None
    unit = max(distances[0], task.tolerance)  # a trial may begin at its goal
    for _ in range(blocks):
        state = task.state()
        problem = Problem(_Simulator(task, state, trial.goal, hold, unit), cost, starts=1)
        plan = planner.plan(problem, generator=generator, warm=warm)
        warm = torch.cat([plan.actions[:, 1:], plan.actions[:, -1:]], 1)
        task.set_state(state)
        for action in plan.actions[0, 0].repeat_interleave(hold, 0).numpy():
            task.step(action)
            distances.append(task.distance(task.state(), trial.goal))
    return distances


class _Simulator:
    """Rolls plans out in a task: distances to the goal in place of latents.

    Args:
        state: where plans begin.
        hold: control steps for which an action is held.
        unit: what a distance of 1 is, in the task's unit.
    """

    def __init__(self, task: Task, state: State, goal: State, hold: int, unit: float) -> None:
        self._task, self._state, self._goal, self._hold, self._unit = task, state, goal, hold, unit

    def __call__(self, actions: Tensor) -> Tensor:
        """Map plans `[1, N, H, S, A]` to distances `[1, N, H, 1]`."""
        distances = [[self._distances(plan) for plan in actions[0].numpy()]]
        return torch.tensor(distances, dtype=torch.float32)[..., None]

    def _distances(self, plan: NDArray[np.float32]) -> list[float]:
        task, distances = self._task, []
        task.set_state(self._state)
        for block in plan:
            for action in block:
                for _ in range(self._hold):
                    task.step(action)
            distances.append(task.distance(task.state(), self._goal) / self._unit)
        return distances


def _distance_only(config: CostConfig) -> CostConfig:
    """Leave out what is told by networks; where nothing else weighs anything, weigh as by default."""
    weighed = config if config.away or config.last or config.least else CostConfig()
    return replace(weighed, steps=0, reach=0, reward=0, disagreement=0)
