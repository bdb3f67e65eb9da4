"""Our own tasks: a MuJoCo model beside its Python file, a start, and a goal told by a picture."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from worldmodel.envs.variation import Variation, VariedModel
from worldmodel.envs.world import State
from worldmodel.envs.xml_world import XmlWorld


@dataclass(frozen=True)
class TaskConfig:
    """What can be chosen about a task.

    Attributes:
        variation: how looks and physics differ from the plain task.
    """

    variation: Variation = field(default_factory=Variation)


class Task(XmlWorld):
    """A world whose goal is a state, shown as an image of it.

    A subclass in `<task>.py` finds its model in `<task>.xml` beside it. The model's geoms are in the groups that
    `variation` names, and its lights are its own (no headlight), so that they can be varied.

    Attributes:
        Config: the class of its configuration.
        config: what it was made with.
        substeps: physics steps in a control step.
        max_steps: control steps in an episode of the gymnasium environment.
        tolerance: largest `distance` to the goal that counts as success.
        unit: the unit of `distance` and `tolerance`, for people.
    """

    Config: ClassVar[type[TaskConfig]] = TaskConfig
    substeps: int
    max_steps: int
    tolerance: float
    unit: str

    def __init__(self, config: TaskConfig | None = None) -> None:
        xml = Path(inspect.getfile(type(self))).with_suffix(".xml")
        super().__init__(xml, substeps=self.substeps, camera=self.camera)
        self._varied = VariedModel(self.model)
        self.config = config or self.Config()
        self.vary(self.config.variation)

    @abstractmethod
    def sample(self, rng: np.random.Generator) -> State:
        """Draw a state to start from."""

    def sample_goal(self, rng: np.random.Generator, start: State) -> State:
        """Draw a goal that can be reached from `start`."""
        return self.sample(rng)

    @abstractmethod
    def distance(self, state: State, goal: State) -> float:
        """Return how far `state` is from `goal`, in `unit`."""

    @property
    def varies_every_episode(self) -> bool:
        """Whether each reset gives the task other looks or physics."""
        return self._variation.every_episode

    def vary(self, variation: Variation) -> None:
        """Make the task differ from its plain form by `variation`, and by nothing that was asked for before."""
        self._variation = variation
        self._varied.apply(variation, np.random.default_rng(variation.seed))
        self.set_state(self.state())

    def reset(self, rng: np.random.Generator) -> None:
        if self._variation.every_episode:
            self._varied.apply(self._variation, rng.spawn(1)[0])
        self.set_state(self.sample(rng))
