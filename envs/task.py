"""Our own tasks: a MuJoCo model beside its Python file, a start, and a goal told by a picture."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from pathlib import Path

import numpy as np

from worldmodel.envs.world import State
from worldmodel.envs.xml_world import XmlWorld


class Task(XmlWorld):
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
        xml = Path(inspect.getfile(type(self))).with_suffix(".xml")
        super().__init__(xml, substeps=self.substeps, camera=self.camera)

    @abstractmethod
    def sample(self, rng: np.random.Generator) -> State:
        """Draw a state to start from, or a goal to reach."""

    @abstractmethod
    def distance(self, state: State, goal: State) -> float:
        """Return how far `state` is from `goal`, in `unit`."""

    def reset(self, rng: np.random.Generator) -> None:
        self.set_state(self.sample(rng))
