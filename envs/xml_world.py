"""A plain MJCF file as a world."""

from __future__ import annotations

import math
from pathlib import Path

import mujoco
import numpy as np
from numpy.typing import NDArray

from worldmodel.envs.world import Action, Outcome, World, first_camera
from worldmodel.errors import WorldModelError

CONTROL_SECONDS = 0.02  # a control step lasts at least this long where nothing else is said
UNLIMITED = 1.0  # actuators without limits take controls between minus this and this
NOISE = 0.05  # how far episodes start from the keyframe: share of a joint's range, or rad, m, rad/s, m/s


class XmlWorld(World):
    """Simulate an MJCF file, its actuators driven directly.

    Actions: the controls of all actuators, in their own units and within their `ctrlrange`; [-1, 1] for those
    without one. A model without actuators has actions of length 0: it just falls.
    Episodes start from the keyframe called "home", else from the first, else from the model's reference pose;
    hinges and slides are moved by up to 5 % of their range (0.05 rad or m where they are not limited), and
    every velocity by Gaussian noise of 0.05 (rad/s or m/s). They never end by themselves, and rewards are 0.

    Args:
        xml: path of the file.
        substeps: physics steps in a control step; 0 takes as few as last 0.02 s.
        camera: a camera of the model to film with; "" takes its first, or the free camera if there is none.

    Raises:
        WorldModelError: no such file, or MuJoCo refuses it.
    """

    def __init__(self, xml: Path, *, substeps: int = 0, camera: str = "") -> None:
        if not xml.is_file():
            raise WorldModelError(f"There is no file '{xml}'; expected a MuJoCo model in MJCF (.xml).")
        self.xml = xml
        try:
            model, self._mjcf = self.load()
        except ValueError as error:
            raise WorldModelError(f"MuJoCo cannot load '{xml}': {' '.join(str(error).split())}") from error
        self.hold(model, mujoco.MjData(model))
        mujoco.mj_forward(model, self.data)
        self.low, self.high = control_bounds(model)
        self.camera = camera or first_camera(model)
        self.substeps = substeps or math.ceil(CONTROL_SECONDS / model.opt.timestep - 1e-9)
        self._keyframe = _home(model)

    @property
    def control_seconds(self) -> float:
        return float(self.substeps * self.model.opt.timestep)

    def load(self) -> tuple[mujoco.MjModel, str]:
        """Return the compiled model, and its MJCF."""
        return mujoco.MjModel.from_xml_path(str(self.xml)), self.xml.read_text(encoding="utf-8", errors="replace")

    @property
    def mjcf(self) -> str:
        return self._mjcf

    def reset(self, rng: np.random.Generator) -> None:
        model, data = self.model, self.data
        if self._keyframe < 0:
            mujoco.mj_resetData(model, data)
        else:
            mujoco.mj_resetDataKeyframe(model, data, self._keyframe)
        joints = np.flatnonzero(np.isin(model.jnt_type, _ONE_NUMBER))
        limited, (low, high) = model.jnt_limited[joints].astype(bool), model.jnt_range[joints].T
        reach = np.where(limited, NOISE * (high - low), NOISE)
        address = model.jnt_qposadr[joints]
        moved = data.qpos[address] + rng.uniform(-reach, reach)
        data.qpos[address] = np.where(limited, np.clip(moved, low, high), moved)
        data.qvel[:] += NOISE * rng.standard_normal(model.nv)
        mujoco.mj_forward(model, data)

    def step(self, action: Action) -> Outcome:
        self.data.ctrl[:] = np.clip(action, self.low, self.high)
        mujoco.mj_step(self.model, self.data, self.substeps)
        mujoco.mj_forward(self.model, self.data)
        return Outcome()

    def drawable(self) -> mujoco.MjData:
        """Return the simulation's own data, which every step leaves up to date."""
        return self.data


_ONE_NUMBER = (mujoco.mjtJoint.mjJNT_HINGE.value, mujoco.mjtJoint.mjJNT_SLIDE.value)


def control_bounds(model: mujoco.MjModel) -> tuple[Action, Action]:
    """Return the bounds of all actuators, `[A]` each: their `ctrlrange`, or [-1, 1] for those without one."""
    limited = model.actuator_ctrllimited.astype(bool)[:, None]
    unlimited: NDArray[np.float64] = np.array([-UNLIMITED, UNLIMITED])
    low, high = np.where(limited, model.actuator_ctrlrange, unlimited).astype(np.float32).T
    return low.copy(), high.copy()


def _home(model: mujoco.MjModel) -> int:
    """Return the number of the keyframe to start from, or -1."""
    named = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_KEY, "home")
    if named >= 0:
        return int(named)
    return 0 if model.nkey else -1
