"""Our own tasks: a MuJoCo model beside its Python file, a start, and a goal told by a picture."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from pathlib import Path

import mujoco
import numpy as np

from worldmodel.envs.world import Action, Outcome, State, World


class Task(World):
    """A world whose goal is a state, shown as an image of it.

    A subclass in `<task>.py` finds its model in `<task>.xml` beside it.

    Attributes:
        substeps: physics steps in a control step.
        max_steps: control steps in an episode of the gymnasium environment.
        tolerance: largest `distance` to the goal that counts as success.
        unit: the unit of `distance` and `tolerance`, for people.
    """

    substeps: int
    max_steps: int
    tolerance: float
    unit: str

    def __init__(self) -> None:
        self.xml = Path(inspect.getfile(type(self))).with_suffix(".xml")
        self.model = mujoco.MjModel.from_xml_path(str(self.xml))
        self.data = mujoco.MjData(self.model)
        bounds = self.model.actuator_ctrlrange.astype(np.float32)
        self.low, self.high = bounds[:, 0].copy(), bounds[:, 1].copy()

    @property
    def control_seconds(self) -> float:
        return float(self.substeps * self.model.opt.timestep)

    @property
    def mjcf(self) -> str:
        return self.xml.read_text(encoding="utf-8")

    @abstractmethod
    def sample(self, rng: np.random.Generator) -> State:
        """Draw a state to start from, or a goal to reach."""

    @abstractmethod
    def distance(self, state: State, goal: State) -> float:
        """Return how far `state` is from `goal`, in `unit`."""

    def reset(self, rng: np.random.Generator) -> None:
        self.set_state(self.sample(rng))

    def step(self, action: Action) -> Outcome:
        self.data.ctrl[:] = np.clip(action, self.low, self.high)
        mujoco.mj_step(self.model, self.data, self.substeps)
        mujoco.mj_forward(self.model, self.data)
        return Outcome()
