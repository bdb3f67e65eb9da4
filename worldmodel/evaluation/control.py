"""Does the robot get there? Closed-loop control on held-out goals, beside what happens without a model."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldmodel.datasets.policies import make_policy
from worldmodel.envs.proprioception import Proprioception, proprioception_of
from worldmodel.envs.registry import make_task
from worldmodel.envs.task import Task
from worldmodel.envs.views import ViewsRenderer
from worldmodel.evaluation.goals import Trial
from worldmodel.evaluation.interval import Rate, wilson
from worldmodel.models.interface import Interface
from worldmodel.models.world_model import WorldModel
from worldmodel.planning.planner import Round
from worldmodel.planning.policy import Decision, PlanningPolicy

# Policies without a model; "explore" is a task's own exploration, where tasks have one.
FLOORS = ("uniform", "zero", "smooth-noise", "explore")


@dataclass(frozen=True)
class Trace:
    """What happened in B trials of T blocks of K control steps.

    Attributes:
        distance: `[B, T * K + 1]`, to the goal, in the task's unit, before and after each control step.
    """

    distance: NDArray[np.float64]

    def success(self, tolerance: float) -> Rate:
        """Return how often the goal is held at the end."""
        return wilson(int((self.distance[:, -1] <= tolerance).sum()), len(self.distance))

    def success_ever(self, tolerance: float) -> Rate:
        """Return how often the goal is touched at any time, as most published figures count."""
        return wilson(int((self.distance <= tolerance).any(1).sum()), len(self.distance))


@dataclass(frozen=True)
class FirstSearch:
    """What a planner tried in every trial before the first block was done: M plans in R rounds.

    Attributes:
        actions: `[B, M, H, K', A]` float32, in the actuators' units; K' numbers are held over a block.
        cost: `[B, M]` float32, as predicted.
        round: `[M]` int64, in which of the rounds each was tried.
        elites: `[R]` int64, how many of the cheapest the planner went on from; 0 where it keeps none apart.
        course: `[B, H, D]` float32, the latents that the chosen plan was expected to lead to.
    """

    actions: NDArray[np.float32]
    cost: NDArray[np.float32]
    round: NDArray[np.int64]
    elites: NDArray[np.int64]
    course: NDArray[np.float32]


@dataclass(frozen=True)
class ControlTrace(Trace):
    """What happened under a planner.

    Attributes:
        frames: `[B, T + 1, H, W, 3]` uint8, what the robot saw.
        felt: `[B, T + 1, P]` float32, what it felt of its joints then; P is 0 without proprioception.
        imagined: `[B, T + 1, H, W, 3]` uint8, what it had expected to see there when it decided; the first
            is its own picture of the start.
        imagined_cost, achieved_cost: `[B, T]`, distance to the goal's latent one block ahead, as forecast and
            as it came.
        seconds_per_plan: `[T]`, wall-clock time of one planning call for all trials, s.
        model_share: share of that time spent in encoding and imagining.
        search: the first of the T searches.
        best_by_round: `[B, T, R]`, the lowest cost found up to each round of each search; NaN where a time budget
            ended the search before it.
    """

    frames: NDArray[np.uint8]
    felt: NDArray[np.float32]
    imagined: NDArray[np.uint8]
    imagined_cost: NDArray[np.float64]
    achieved_cost: NDArray[np.float64]
    seconds_per_plan: NDArray[np.float64]
    model_share: float
    search: FirstSearch
    best_by_round: NDArray[np.float64]


class Progress(Protocol):
    """Is told how many blocks, or trials, of all are done."""

    def __call__(self, done: int, total: int, /) -> None: ...


def film(interface: Interface, task: Task) -> ViewsRenderer:
    """Return what draws a task as a model sees it."""
    size = interface.height, interface.width
    return ViewsRenderer(interface.cameras, *size, quality=interface.quality, model=task.model)


def feel(interface: Interface, tasks: Sequence[Task]) -> Tensor:
    """Return what the robots in these tasks feel now, `[B, P]` float32, as far as a model asks for it."""
    sense = proprioception_of(tasks[0].model) if interface.proprioception else Proprioception()
    return torch.from_numpy(np.stack([sense(task.data.qpos, task.data.qvel) for task in tasks]))


def control(
    policy: PlanningPolicy,
    model: WorldModel,
    interface: Interface,
    trials: list[Trial],
    *,
    blocks: int,
    progress: Progress | None = None,
) -> ControlTrace:
    """Let the planner act in every trial, all planned in one batch.

    Args:
        interface: of the world to act in, which may look and behave otherwise than the one that `model` knows.
        blocks: T, action blocks to act for; nothing ends a trial early.
    """
    tasks = [make_task(interface.env, interface.env_arguments) for _ in trials]
    with film(interface, tasks[0]) as renderer:
        distances = [_begin(tasks, trials)]
        policy.reset(torch.from_numpy(np.stack([trial.goal_image for trial in trials])))
        frames, felt = [np.stack([renderer.draw(task.data) for task in tasks])], [feel(interface, tasks)]
        goal = _encode(model, np.stack([trial.goal_image for trial in trials]))
        imagined = [_picture(model, _encode(model, frames[0]))]
        imagined_cost, achieved_cost, seconds, model_seconds = [], [], [], 0.0
        tried: list[_Tried] = []
        decisions: list[Decision] = []

        def note(each: Round) -> None:
            if not decisions:
                tried.append(_Tried(each.actions, each.cost, each.elites))

        for done in range(blocks):
            start = time.perf_counter()
            decision = policy(torch.from_numpy(frames[-1]), felt[-1], watch=note)
            decisions.append(decision)
            actions = decision.actions.cpu().numpy()
            seconds.append(time.perf_counter() - start)
            model_seconds += decision.model_seconds
            distances.extend(_act(tasks, trials, _planned(actions), interface.steps_per_frame))
            frames.append(np.stack([renderer.draw(task.data) for task in tasks]))
            felt.append(feel(interface, tasks))
            imagined.append(_picture(model, decision.imagined[:, 0]))
            imagined_cost.append((decision.imagined[:, 0] - goal).square().mean(-1).cpu().numpy())
            achieved_cost.append((_encode(model, frames[-1]) - goal).square().mean(-1).cpu().numpy())
            if progress:
                progress(done + 1, blocks)
    return ControlTrace(
        np.stack(distances, 1),
        np.stack(frames, 1),
        torch.stack(felt, 1).numpy(),
        np.stack(imagined, 1),
        np.stack(imagined_cost, 1),
        np.stack(achieved_cost, 1),
        np.array(seconds),
        model_seconds / sum(seconds),
        _first_search(tried, decisions[0]),
        _best_by_round(decisions),
    )


def seconds_for_one(policy: PlanningPolicy, trials: list[Trial], trace: ControlTrace) -> float:
    """Return the median time in which one robot's plan is made, s: the first trial's, as it begins.

    Args:
        policy: it forgets what it was doing.
        trace: what the robot saw and felt; the first four frames are enough.
    """
    policy.reset(torch.from_numpy(trials[0].goal_image[None].copy()))
    seen, felt = (torch.from_numpy(x[0, :4, None].copy()) for x in (trace.frames, trace.felt))
    return float(np.median([policy(frame, sensed).seconds for frame, sensed in zip(seen, felt, strict=True)]))


def floor(name: str, interface: Interface, trials: list[Trial], *, steps: int, seed: int) -> Trace:
    """Let a policy without a model act in every trial for `steps` control steps."""
    tasks = [make_task(interface.env, interface.env_arguments) for _ in trials]
    policies = [make_policy(name, task) for task in tasks]
    for index, policy in enumerate(policies):
        policy.reset(np.random.default_rng([seed, index]), index)
    distances = [_begin(tasks, trials)]
    distances.extend(_act(tasks, trials, lambda i, _: policies[i](tasks[i]), steps))
    return Trace(np.stack(distances, 1))


def _planned(actions: NDArray[np.float32]) -> Callable[[int, int], NDArray[np.float32]]:
    """Return the action of each trial at each step of a block `[B, K, A]`."""
    return lambda trial, step: actions[trial, step]


def _begin(tasks: list[Task], trials: list[Trial]) -> NDArray[np.float64]:
    for task, trial in zip(tasks, trials, strict=True):
        task.set_state(trial.start)
    return _distances(tasks, trials)


def _act(
    tasks: list[Task], trials: list[Trial], action: Callable[[int, int], NDArray[np.float32]], steps: int
) -> list[NDArray[np.float64]]:
    """Take `steps` control steps in every task; return the distances `[B]` after each."""
    distances = []
    for step in range(steps):
        for index, task in enumerate(tasks):
            task.step(action(index, step))
        distances.append(_distances(tasks, trials))
    for task in tasks:
        task.check_alive()
    return distances


def _distances(tasks: list[Task], trials: list[Trial]) -> NDArray[np.float64]:
    return np.array([task.distance(task.state(), trial.goal) for task, trial in zip(tasks, trials, strict=True)])


@dataclass(frozen=True)
class _Tried:
    """A round without its latents, which would fill the memory: they follow from the actions."""

    actions: torch.Tensor
    cost: torch.Tensor
    elites: int


def _first_search(tried: list[_Tried], decision: Decision) -> FirstSearch:
    return FirstSearch(
        torch.cat([each.actions for each in tried], 1).float().cpu().numpy(),
        torch.cat([each.cost for each in tried], 1).float().cpu().numpy(),
        np.repeat(np.arange(len(tried)), [each.cost.shape[1] for each in tried]),
        np.array([each.elites for each in tried]),
        decision.imagined.float().cpu().numpy(),
    )


def _best_by_round(decisions: list[Decision]) -> NDArray[np.float64]:
    found = [decision.plan.best_by_round.double().cpu().numpy() for decision in decisions]
    best = np.full((found[0].shape[1], len(found), max(map(len, found))), np.nan)
    for plan, costs in enumerate(found):
        best[:, plan, : len(costs)] = costs.T
    return best


@torch.inference_mode()
def _encode(model: WorldModel, frames: NDArray[np.uint8]) -> torch.Tensor:
    return model.encode(torch.from_numpy(frames).to(model.low.device))


@torch.inference_mode()
def _picture(model: WorldModel, latents: torch.Tensor) -> NDArray[np.uint8]:
    drawn: NDArray[np.uint8] = model.picture(latents).cpu().numpy()
    return drawn
