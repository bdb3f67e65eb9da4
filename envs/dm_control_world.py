"""The DeepMind Control Suite's tasks as worlds."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import mujoco
import numpy as np

from worldmodel.envs.gl import opengl_hidden
from worldmodel.envs.gymnasium_world import last_xml
from worldmodel.envs.world import Action, Outcome, World, first_camera
from worldmodel.envs.xml_world import control_bounds
from worldmodel.errors import WorldModelError, unknown_name

PREFIX = "dm_control/"
ARGUMENTS = ("task_kwargs", "environment_kwargs")


class DmControlWorld(World):
    """Drive a task of dm_control's suite by its own `reset` and `step`, so that its rules hold.

    Filmed by the model's first camera. Actuators without limits (lqr's) take controls in [-1, 1].

    Args:
        name: "dm_control/<domain>-<task>", such as "dm_control/reacher-easy".
        arguments: may hold `task_kwargs` and `environment_kwargs`, each a mapping, as `suite.load` takes them.

    Raises:
        WorldModelError: a task that cannot be recorded, or unknown arguments.
        ValueError: no such task.
    """

    def __init__(self, name: str, arguments: Mapping[str, Any]) -> None:
        suite = import_suite()
        domain, _, task = name.removeprefix(PREFIX).partition("-")
        if unknown := sorted(set(arguments) - set(ARGUMENTS)):
            raise unknown_name("argument of a dm_control task", unknown[0], ARGUMENTS)
        # The seed here decides what is random about the model itself (lqr's masses), the same for all episodes.
        task_kwargs = {"random": 0, **arguments.get("task_kwargs", {})}
        self._name = name
        self._diverged = importlib.import_module("dm_control.rl.control").PhysicsError
        self._env: Any = suite.load(domain, task, task_kwargs, arguments.get("environment_kwargs"))
        model = self._env.physics.model.ptr
        if (model.geom_type == mujoco.mjtGeom.mjGEOM_HFIELD.value).any():
            raise WorldModelError(
                f"Environment '{name}' makes new terrain for each episode, which a recording cannot keep. "
                "Choose another task."
            )
        self._mjcf = last_xml(model)
        self.low, self.high = control_bounds(model)
        self.camera = first_camera(model)
        self.reset(np.random.default_rng(0))

    @property
    def control_seconds(self) -> float:
        return float(self._env.control_timestep())

    @property
    def mjcf(self) -> str:
        return self._mjcf

    def reset(self, rng: np.random.Generator) -> None:
        self._env.task.random.seed(int(rng.integers(2**31)))
        self.observation = self._env.reset().observation
        physics = self._env.physics
        self.hold(physics.model.ptr, physics.data.ptr)

    def step(self, action: Action) -> Outcome:
        try:
            answer = self._env.step(np.clip(action, self.low, self.high))
        except self._diverged as error:
            raise WorldModelError(f"Environment '{self._name}' diverged: {error}. Use gentler actions.") from error
        self.observation = answer.observation
        terminated = answer.last() and answer.discount == 0
        return Outcome(float(answer.reward or 0), bool(terminated), bool(answer.last() and not terminated))

    def close(self) -> None:
        self._env.close()


def import_suite() -> Any:
    """Import `dm_control.suite`, without the OpenGL that it would load.

    It would look for a display first and complain, or take the place of the renderer's own choice. Import
    dm_control before to draw with it as well.
    """
    with opengl_hidden():
        return importlib.import_module("dm_control.suite")


def suite_names() -> list[str]:
    """Return the names of all tasks of the suite."""
    return [f"{PREFIX}{domain}-{task}" for domain, task in import_suite().ALL_TASKS]
