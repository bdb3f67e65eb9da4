"""What the recorder and the planner need of any MuJoCo simulation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from worldmodel.envs.exploration import Policy, SmoothNoise
from worldmodel.envs.renderer import find_camera
from worldmodel.errors import WorldModelError

Action = NDArray[np.float32]

ALL_STATE = mujoco.mjtState.mjSTATE_INTEGRATION.value
_NAMED_STATE = ("TIME", "QPOS", "QVEL", "ACT")
EXTRA_STATE = ALL_STATE & ~reduce(or_, (getattr(mujoco.mjtState, f"mjSTATE_{name}").value for name in _NAMED_STATE))

# Fields of MuJoCo's model that are drawn and that environments change while they run.
VISUAL_FIELDS = (
    *("body_pos", "body_quat"),
    *("geom_pos", "geom_quat", "geom_size", "geom_rgba", "geom_matid"),
    *("site_pos", "site_quat", "site_size", "site_rgba", "site_matid"),
    *("mat_rgba", "mat_emission", "mat_specular", "mat_shininess", "mat_reflectance"),
    *("cam_pos", "cam_quat", "cam_fovy", "cam_pos0", "cam_poscom0", "cam_mat0"),
    *("light_pos", "light_dir", "light_pos0", "light_poscom0", "light_dir0"),
    *("light_active", "light_ambient", "light_diffuse", "light_specular"),
    *("tendon_rgba", "tendon_width", "skin_rgba", "flex_rgba"),
)

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
        extra: the rest of what MuJoCo integrates `[S]`: the solver's warm start, poses of mocap bodies, controls,
            applied forces, active constraints. Empty: as MuJoCo has them after a reset.
    """

    qpos: NDArray[np.float64]
    qvel: NDArray[np.float64]
    act: NDArray[np.float64]
    time: float
    extra: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def named(self) -> tuple[tuple[str, NDArray[np.float64] | float], ...]:
        """Return its parts by their names."""
        return (
            ("time", self.time),
            ("qpos", self.qpos),
            ("qvel", self.qvel),
            ("act", self.act),
            ("extra", self.extra),
        )


class World(ABC):
    """One MuJoCo simulation, advanced one control step at a time.

    Attributes:
        model, data: MuJoCo's own, live. Some environments replace both upon `reset`.
        low, high: actuator bounds `[A]`, in each actuator's unit.
        camera: the camera to film with; "" is the environment's default view.
        observation: what a policy trained in that environment expects now; None where there is no such thing.
    """

    model: mujoco.MjModel
    data: mujoco.MjData
    low: Action
    high: Action
    camera: str
    observation: Any = None

    _drawn: mujoco.MjData | None = None
    _fields: list[NDArray[Any]] | None = None
    _seen: bytes | None = None
    _look: NDArray[np.float64]

    def hold(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        """Take `model` and `data` as the simulation; what was prepared for another model is dropped."""
        if getattr(self, "model", None) is not model:
            self._drawn, self._fields, self._seen = None, None, None
        self.model, self.data = model, data

    @property
    @abstractmethod
    def control_seconds(self) -> float:
        """Seconds of simulated time between two control steps."""

    @abstractmethod
    def reset(self, rng: np.random.Generator) -> None:
        """Start an episode; every draw comes from `rng`."""

    @abstractmethod
    def step(self, action: Action) -> Outcome:
        """Advance one control step with `action [A]`, within the bounds; `check_alive` tells whether that went well."""

    def check_alive(self) -> None:
        """Refuse a simulation that has diverged since it was last reset.

        MuJoCo puts such a one back to its start, without a word but for its counters of warnings.

        Raises:
            WorldModelError: it has diverged.
        """
        numbers = self.data.warning.number.tolist()
        for warning in DIVERGED:
            if numbers[warning.value]:
                raise WorldModelError(
                    f"The simulation diverged ({warning.name}): its numbers grew beyond bounds; expected them to stay "
                    "finite. Use a smaller time step in the model, or gentler actions."
                )

    def explorer(self) -> Policy:
        """Return a policy that shows what this world can do; coloured noise where there is none of its own."""
        return SmoothNoise(self.low, self.high, self.control_seconds)

    def close(self) -> None:  # noqa: B027  most worlds hold nothing
        """Free what the world holds."""

    @property
    def mjcf(self) -> str:
        """The model as MJCF text, or "" where it cannot be told."""
        return ""

    def viewpoint(self, name: str) -> mujoco.MjvCamera:
        """Return the camera `name` of the model, or the environment's own default view for "".

        Raises:
            RendererError: no camera of that name; lists those there are.
        """
        return find_camera(self.model, name)

    def drawable(self) -> mujoco.MjData:
        """Return data to draw from: of the current state, with everything that derives from it up to date.

        A copy: many environments leave their own data one physics step behind, and some count on it (the
        rewards of gymnasium's Ant and Humanoid are differences of such positions).
        """
        if self._drawn is None:
            self._drawn = mujoco.MjData(self.model)
        mujoco.mj_copyState(self.model, self.data, self._drawn, ALL_STATE)
        mujoco.mj_forward(self.model, self._drawn)
        return self._drawn

    def state(self) -> State:
        """Return a copy of the physics state."""
        data = self.data
        extra = np.empty(mujoco.mj_stateSize(self.model, EXTRA_STATE))
        mujoco.mj_getState(self.model, data, extra, EXTRA_STATE)
        return State(data.qpos.copy(), data.qvel.copy(), data.act.copy(), float(data.time), extra)

    def set_state(self, state: State) -> None:
        """Put the simulation into `state` and bring everything that derives from it up to date.

        With `state.extra`, the simulation goes on from there bit for bit as it did, if it depends on nothing
        but the physics state and the actions. What an environment keeps in Python, such as its count of
        steps, is not in a state; nor are positions that it left one physics step behind and reads as
        its controls are set (OGBench's arms).

        Raises:
            WorldModelError: the state is of another model.
        """
        expected = mujoco.mj_stateSize(self.model, EXTRA_STATE)
        if len(state.extra) not in (0, expected):
            raise WorldModelError(
                f"The state's `extra` has {len(state.extra)} numbers; this model's has {expected}. It was taken in "
                "another world or by another version of MuJoCo."
            )
        mujoco.mj_resetData(self.model, self.data)
        if len(state.extra):
            mujoco.mj_setState(self.model, self.data, state.extra, EXTRA_STATE)
        self.data.qpos[:] = state.qpos
        self.data.qvel[:] = state.qvel
        self.data.act[:] = state.act
        self.data.time = state.time
        mujoco.mj_forward(self.model, self.data)

    def visual(self) -> NDArray[np.float64]:
        """Return how the model looks, `[P]`, read-only: the numbers in `VISUAL_FIELDS`, one field after another.

        Environments move targets, cameras and lights, and recolour things, by writing to the model.
        """
        fields: list[Any] = self._visual_fields()
        held = b"".join(fields)  # most environments change nothing, and comparing bytes is fast
        if held != self._seen:
            self._seen, self._look = held, np.concatenate(fields, dtype=np.float64)
            self._look.flags.writeable = False
        return self._look

    def set_visual(self, values: NDArray[np.float64]) -> None:
        """Make the model look as it did when `visual()` returned `values`.

        Raises:
            WorldModelError: the values are of another model.
        """
        fields = self._visual_fields()
        expected = sum(map(len, fields))
        if np.shape(values) != (expected,):
            raise WorldModelError(
                f"A look of shape {np.shape(values)} does not fit this model: expected [{expected}]. It was taken in "
                "another world or by another version of MuJoCo."
            )
        for into, part in zip(fields, np.split(values, np.cumsum([len(into) for into in fields])[:-1]), strict=True):
            into[:] = part
        mujoco.mj_forward(self.model, self.data)

    def _visual_fields(self) -> list[NDArray[Any]]:
        """Return the fields, flat; they are views into the model."""
        if self._fields is None:
            fields = (getattr(self.model, name) for name in VISUAL_FIELDS)
            self._fields = [field.reshape(-1) for field in fields if field.size]
        return self._fields


def first_camera(model: mujoco.MjModel) -> str:
    """Return the name of the model's first camera, or "" if it has none or that has no name."""
    return str(model.camera(0).name) if model.ncam else ""
