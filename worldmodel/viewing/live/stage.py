"""The simulator of a live session: the world that the model was trained on, filmed as it was recorded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from worldmodel.datasets.reader import Recording
from worldmodel.datasets.schema import Segment
from worldmodel.datasets.states import state_at
from worldmodel.envs.registry import make_world
from worldmodel.envs.task import Task
from worldmodel.envs.world import State, World
from worldmodel.errors import WorldModelError
from worldmodel.planning.sight import Sight
from worldmodel.training.config import interface_of
from worldmodel.viewing.live.factors import FactorControl, Factors


class Stage:
    """One world, advanced a block of control steps at a time.

    It belongs to the thread that made it. Close it.

    Args:
        recording: says what to simulate, how to film it, and what the robot feels.

    Raises:
        WorldModelError: the recording was not simulated, or its world cannot be made here.
    """

    def __init__(self, recording: Recording) -> None:
        provenance = recording.provenance
        if provenance.simulation is None:
            raise WorldModelError(f"The recording comes from '{provenance.env}', not from MuJoCo: nothing to steer.")
        self.world: World = make_world(provenance.env, provenance.env_arguments)
        try:
            self.world.reset(np.random.default_rng(provenance.seed))
            self._sight = Sight(interface_of(recording), world=self.world)
        except BaseException:
            self.world.close()
            raise
        self._factors = Factors()
        self._control = FactorControl(self.world.model)

    def reset(self, rng: np.random.Generator) -> None:
        """Start an episode as the recorder does."""
        self._control.restore()
        self.world.reset(rng)
        self._hold_factors()

    def restore(self, segment: Segment, row: int) -> None:
        """Put the world into the recorded state that frame `row` shows, with its looks."""
        self._control.restore()
        self.world.set_visual(segment.visual[row])
        self.world.set_state(state_at(segment, row))
        self._hold_factors()

    def vary(self, factors: Factors) -> None:
        """Change looks and friction from now on."""
        self._factors = factors
        self._control.apply(factors)

    def act(self, block: NDArray[np.float32]) -> bool:
        """Take the control steps of `block [K, A]`; return whether the world ended the episode, and stop there."""
        for action in block:
            outcome = self.world.step(action)
            if outcome.terminated or outcome.truncated:
                return True
        return False

    def frame(self) -> NDArray[np.uint8]:
        """Film the present, `[H, W, 3]` uint8."""
        return self._sight.image()

    def felt(self) -> NDArray[np.float32]:
        """Return what the robot feels of its joints at present, `[P]`; P is 0 without proprioception."""
        return self._sight.felt()

    def distance(self, goal: State) -> float | None:
        """Return how far the world is from `goal`, in the task's unit; None where it is none of our tasks."""
        return self.world.distance(self.world.state(), goal) if isinstance(self.world, Task) else None

    def close(self) -> None:
        self._sight.close()
        self.world.close()

    def _hold_factors(self) -> None:
        """Lay the factors over what the world has just become."""
        if self._control.model is not self.world.model:
            self._control = FactorControl(self.world.model)
        self._control.keep()
        self._control.apply(self._factors)
