"""A planner as a policy for one robot, in any gymnasium loop."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldmodel.envs.goal_env import GoalEnv, Observation
from worldmodel.envs.registry import task_config
from worldmodel.envs.world import Action
from worldmodel.errors import WorldModelError
from worldmodel.models.interface import Interface
from worldmodel.models.world_model import WorldModel
from worldmodel.planning.policy import PlanningConfig, PlanningPolicy
from worldmodel.planning.world_env import WorldEnv
from worldmodel.training.device import Compute


class Agent:
    """Map what an environment shows to what to do.

        agent = Agent(PlanningConfig(), model=load_model(run), compute=choose_compute(), seed=0, env=env)
        observation, _ = env.reset()
        agent.reset()
        while True:
            observation, *_ = env.step(agent(observation))

    It plans whenever a frame's worth of control steps has passed, and plays the planned block in between. A goal
    image that changes on the way is taken up at the next plan. That the goal's picture shows this world, from the same
    camera, it cannot tell; only that it has the right size.

    Args:
        model: the world model, ready to use.
        compute: device and precision; the model is moved there.
        seed: makes the plans repeatable.
        env: where it is to act: one of our tasks by `gymnasium.make`, which shows its goal, or any other world that a
            model was trained in, as a `WorldEnv`.

    Raises:
        WorldModelError: `env` is not the world that the model was trained on; names what differs.
    """

    def __init__(
        self,
        config: PlanningConfig,
        *,
        model: WorldModel,
        compute: Compute,
        seed: int,
        env: gymnasium.Env[Any, Any],
    ) -> None:
        self._interface = model.interface
        check_env(env, model.interface)
        self._policy = PlanningPolicy(config, model=model, compute=compute, seed=seed)
        self.reset()

    def reset(self, goal: NDArray[np.uint8] | None = None) -> None:
        """Begin an episode.

        Args:
            goal: picture of what is to be, `[H, W, 3]` uint8, in the place of those in the observations, or where they
                show none. A cost that weighs no goal, but a reward, needs none.

        Raises:
            WorldModelError: the picture is not what the model can read.
        """
        if goal is not None:
            check_picture("goal", goal, self._interface)
        self._given = goal
        self._aimed: Tensor | None = None
        self._begun = False
        self._waiting: list[Action] = []

    def __call__(self, observation: Observation) -> Action:
        """Return the next action `[A]`, in the actuators' units and within their bounds.

        Args:
            observation: `image`, `[H, W, 3]` uint8; `goal`, the same, unless there is none or `reset` was given one;
                and `proprioception`, `[P]` float32, if the model has it.

        Raises:
            WorldModelError: a picture, or what is felt, is not what the model can read, or the cost weighs a goal and
                there is none; nothing was done.
        """
        goal = self._given
        if goal is None and self._policy.config.cost.asks_for_goal:
            goal = picture_in(observation, "goal", self._interface)
        image = picture_in(observation, "image", self._interface)
        felt = check_felt(observation, self._interface) if self._interface.proprioception else None
        if not self._waiting:
            self._aim(goal)
            decision = self._policy(torch.from_numpy(image[None].copy()), felt)
            self._waiting = list(decision.actions[0].cpu().numpy())
        return self._waiting.pop(0)

    def _aim(self, goal: NDArray[np.uint8] | None) -> None:
        """Begin, or take up another goal."""
        goals = None if goal is None else torch.from_numpy(goal[None].copy())
        if not self._begun:
            self._policy.reset(goals)
        elif goals is not None and (self._aimed is None or not torch.equal(goals, self._aimed)):
            self._policy.aim(goals)
        self._begun, self._aimed = True, goals


def check_env(env: gymnasium.Env[Any, Any], interface: Interface) -> None:
    """Refuse an environment that is not the one that a model was trained on. A task's looks and physics may vary.

    Raises:
        WorldModelError: names what differs, what it is, and what the model was trained on.
    """
    inner = env.unwrapped
    if isinstance(inner, WorldEnv):
        found = _other_interface(inner.interface, interface)
    elif isinstance(inner, GoalEnv):
        found = _other_task(env, inner, interface)
    else:
        raise WorldModelError(
            f"{inner} does not show what a model sees; expected one of our tasks, by gymnasium.make, or "
            f"WorldEnv(model.interface), which for this model is '{interface.env}'."
        )
    for what, (here, trained) in found.items():
        if here != trained:
            raise WorldModelError(
                f"The model does not fit this environment: its {what} is {here!r}, the model was trained on "
                f"{trained!r}. Use a model that was trained there, or the environment that it was trained in."
            )


def _other_interface(here: Interface, trained: Interface) -> dict[str, tuple[object, object]]:
    """Return what a world as another model sees it could differ in: here, and as trained."""
    ours, theirs = (asdict(replace(interface, recording="")) for interface in (here, trained))
    return {name: (value, theirs[name]) for name, value in ours.items()}


def _other_task(env: gymnasium.Env[Any, Any], inner: GoalEnv, interface: Interface) -> dict[str, tuple[object, object]]:
    """Return what a task's environment could differ in: here, and as trained."""
    space = inner.action_space
    assert isinstance(space, gymnasium.spaces.Box)
    shown = inner.observation_space["image"]  # type: ignore[index]
    found: dict[str, tuple[object, object]] = {
        "environment": (env.spec.id if env.spec else interface.env, interface.env),
        "quality of pictures": (inner.quality, interface.quality),
        "choice of cameras": (inner.cameras, interface.cameras),
        "image size": (shown.shape, (interface.height, interface.width, 3)),
        "time between two actions, s": (round(inner.task.control_seconds, 9), round(interface.control_seconds, 9)),
        "number of actuators": (space.shape[0], len(interface.low)),
        "lower bounds of the actions": (tuple(space.low.tolist()), interface.low),
        "upper bounds of the actions": (tuple(space.high.tolist()), interface.high),
    }
    if interface.proprioception:
        found["number of values in 'proprioception'"] = (inner.proprioception.size, interface.proprioception)
    if interface.env == found["environment"][0]:
        trained_in = task_config(interface.env, interface.env_arguments)
        found["configuration"] = (replace(inner.task.config, variation=trained_in.variation), trained_in)
    return found


def picture_in(observation: Any, name: str, interface: Interface) -> NDArray[np.uint8]:
    """Return a picture that an observation shows.

    Raises:
        WorldModelError: there is none of that name, or a model cannot read it.
    """
    if not isinstance(observation, dict) or name not in observation:
        remedy = "Use one of our tasks, or give one to reset" if name == "goal" else "Use an environment that has it"
        raise WorldModelError(f"The observation has no '{name}'; {_expected(interface)}. {remedy}.")
    check_picture(f"observation['{name}']", observation[name], interface)
    picture: NDArray[np.uint8] = observation[name]
    return picture


def check_picture(what: str, picture: Any, interface: Interface) -> None:
    """Refuse a picture that a model cannot read.

    Raises:
        WorldModelError: names `what` it is, and what was expected.
    """
    held = np.asarray(picture)
    if np.issubdtype(held.dtype, np.floating) and not np.isfinite(held).all():
        raise WorldModelError(f"{what} holds a number that is not finite; {_expected(interface)}.")
    if held.dtype != np.uint8 or held.shape != (interface.height, interface.width, 3):
        raise WorldModelError(f"{what} is {held.dtype} {list(held.shape)}; {_expected(interface)}.")


def _expected(interface: Interface) -> str:
    return f"expected uint8 [{interface.height}, {interface.width}, 3], as the model was trained on"


def check_felt(observation: Any, interface: Interface) -> Tensor:
    """Return what the robot feels, `[1, P]` float32.

    Raises:
        WorldModelError: it is missing, or not P finite numbers.
    """
    expected = f"expected {interface.proprioception} finite numbers, which the model was trained with"
    if "proprioception" not in observation:
        raise WorldModelError(
            f"The observation has no 'proprioception'; {expected}. Make the environment with proprioception=True."
        )
    felt = np.asarray(observation["proprioception"], np.float32)
    if felt.shape != (interface.proprioception,) or not np.isfinite(felt).all():
        raise WorldModelError(f"observation['proprioception'] is {felt}; {expected}.")
    return torch.from_numpy(felt[None].copy())
