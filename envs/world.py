"""What the recorder and the planner need of any MuJoCo simulation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

Action = NDArray[np.float32]

# MuJoCo's warnings that it has reset a simulation whose numbers grew beyond bounds.
DIVERGED = (mujoco.mjtWarning.mjWARN_BADQPOS, mujoco.mjtWarning.mjWARN_BADQVEL, mujoco.mjtWarning.mjWARN_BADQACC)


@dataclass(frozen=True)
class Outcome:
    """What a control step answered beside the new state.

    Attributes:
        reward: in the environment's own unit; 0 where it has none.
        terminated: the episode ended for a reason in the world.
        truncated: the episode ran out of time.
    """

    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False


@dataclass(frozen=True)
class State:
    """The full physics state: with the model, all that the future depends on beside the actions.

    Attributes:
        qpos: generalised positions `[nq]`, rad or m.
        qvel: generalised velocities `[nv]`, rad/s or m/s.
        act: actuator activations `[na]`.
        time: s.
    """

    qpos: NDArray[np.float64]
    qvel: NDArray[np.float64]
    act: NDArray[np.float64]
    time: float


class World(ABC):
    """One MuJoCo simulation, advanced one control step at a time.

    Attributes:
        model, data: MuJoCo's own, live.
        low, high: actuator bounds `[A]`, in each actuator's unit.
        camera: the camera to film with; "" is MuJoCo's free camera.
    """

    model: mujoco.MjModel
    data: mujoco.MjData
    low: Action
    high: Action
    camera: str

    @property
    @abstractmethod
    def control_seconds(self) -> float:
        """Seconds of simulated time between two control steps."""

    @abstractmethod
    def reset(self, rng: np.random.Generator) -> None:
        """Start an episode; every draw comes from `rng`."""

    @abstractmethod
    def step(self, action: Action) -> Outcome:
        """Advance one control step with `action [A]`, within the bounds."""

    def close(self) -> None:  # noqa: B027  most worlds hold nothing
        """Free what the world holds."""

    @property
    def mjcf(self) -> str:
        """The model as MJCF text, or "" where it cannot be told."""
        return ""

    def state(self) -> State:
        """Return a copy of the physics state."""
        data = self.data
        return State(data.qpos.copy(), data.qvel.copy(), data.act.copy(), float(data.time))

    def drawable(self) -> mujoco.MjData:
        """Return data to draw from: of the current state, with everything that derives from it up to date."""
        return self.data

    def set_state(self, state: State) -> None:
        """Put the simulation into `state` and bring everything that derives from it up to date."""
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:] = state.qpos
        self.data.qvel[:] = state.qvel
        self.data.act[:] = state.act
        self.data.time = state.time
        mujoco.mj_forward(self.model, self.data)
