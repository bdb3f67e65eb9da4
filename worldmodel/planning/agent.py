"""A planner as a policy for one robot, in any gymnasium loop."""

from __future__ import annotations

from dataclasses import replace
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
from worldmodel.training.device import Compute


class Agent:
    """Map what a `GoalEnv` shows to what to do.

        agent = Agent(PlanningConfig(), model=load_model(run), compute=choose_compute(), seed=0, env=env)
        agent.reset()
        while True:
            observation, *_ = env.step(agent(observation))

    It plans whenever a frame's worth of control steps has passed, and plays the planned block in between. A goal
    image that changes on the way is taken up at the next plan.

    Args:
        model: the world model, ready to use.
        compute: device and precision.
        seed: makes the plans repeatable.
        env: where it is to act.

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

    def reset(self) -> None:
        """Begin an episode."""
        self._goal: NDArray[np.uint8] | None = None
        self._waiting: list[Action] = []

    def __call__(self, observation: Observation) -> Action:
        """Return the next action `[A]`, in the actuators' units and within their bounds.

        Args:
            observation: `image` and `goal`, each `[H, W, 3]` uint8, and `proprioception`, `[P]` float32, if the model
                has it.

        Raises:
            WorldModelError: a picture, or what is felt, is not what the model can read; nothing was done.
        """
        for name in ("image", "goal"):
            check_picture(name, observation, self._interface)
        felt = check_felt(observation, self._interface) if self._interface.proprioception else None
        if not self._waiting:
            goal = observation["goal"]
            if self._goal is None:
                self._policy.reset(torch.from_numpy(goal[None].copy()))
            elif not np.array_equal(goal, self._goal):
                self._policy.aim(torch.from_numpy(goal[None].copy()))
            self._goal = goal.copy()
            decision = self._policy(torch.from_numpy(observation["image"][None].copy()), felt)
            self._waiting = list(decision.actions[0].cpu().numpy())
        return self._waiting.pop(0)


def check_env(env: gymnasium.Env[Any, Any], interface: Interface) -> None:
    """Refuse an environment that is not the one that a model was trained on. Its looks and physics may vary.

    Raises:
        WorldModelError: names what differs, what it is, and what the model was trained on.
    """
    inner = env.unwrapped
    if not isinstance(inner, GoalEnv):
        raise WorldModelError(
            f"{inner} shows no goal image; expected one of our tasks, such as gymnasium.make('{interface.env}')."
        )
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
    for what, (here, trained) in found.items():
        if here != trained:
            raise WorldModelError(
                f"The model does not fit this environment: its {what} is {here!r}, the model was trained on "
                f"{trained!r}. Use a model that was trained there, or the environment that it was trained in."
            )


def check_picture(name: str, observation: Any, interface: Interface) -> None:
    """Refuse a picture that a model cannot read.

    Raises:
        WorldModelError: names the picture, what it is, and what was expected.
    """
    expected = f"expected uint8 [{interface.height}, {interface.width}, 3], as the model was trained on"
    if not isinstance(observation, dict) or name not in observation:
        raise WorldModelError(f"The observation has no '{name}'; {expected}. Use one of our tasks.")
    picture = np.asarray(observation[name])
    if np.issubdtype(picture.dtype, np.floating) and not np.isfinite(picture).all():
        raise WorldModelError(f"observation['{name}'] holds a number that is not finite; {expected}.")
    if picture.dtype != np.uint8 or picture.shape != (interface.height, interface.width, 3):
        raise WorldModelError(f"observation['{name}'] is {picture.dtype} {list(picture.shape)}; {expected}.")


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
