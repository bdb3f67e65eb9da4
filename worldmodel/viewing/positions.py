"""What the numbers of a recorded state are: what they are called, and which of them turn."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from worldmodel.datasets.reader import Recording
from worldmodel.envs.registry import make_world
from worldmodel.errors import WorldModelError

TURN = 2 * np.pi


@dataclass(frozen=True)
class Positions:
    """What the columns of `qpos [nq]` and `qvel [nv]` are.

    Attributes:
        names, speeds: what they are called, with the unit: "elbow, rad", "elbow, rad/s".
        turning: `[nq]`, whether it is the angle of a joint without limits: it and itself a turn later are one place.
        orientation: `[nq]`, whether it is a part of a quaternion, which says little by itself.
    """

    names: tuple[str, ...]
    speeds: tuple[str, ...]
    turning: NDArray[np.bool_]
    orientation: NDArray[np.bool_]

    def wrap(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Bring angles, or differences of them, of `[..., nq]` into [-pi, pi)."""
        return np.where(self.turning, (positions + np.pi) % TURN - np.pi, positions)


def positions_of(recording: Recording) -> Positions:
    """Return what a recording's states are.

    Where nothing was simulated, or the world cannot be made here, they are numbered and none is taken to turn.
    """
    first, provenance = next(recording.stream(0).segments(1)), recording.provenance
    nq, nv = first.qpos.shape[1], first.qvel.shape[1]
    if provenance.simulation is not None:
        try:
            world = make_world(provenance.env, provenance.env_arguments)
        except WorldModelError:
            pass
        else:
            model = world.model
            world.close()
            if (model.nq, model.nv) == (nq, nv):
                return _described(model)
    none = np.zeros(nq, bool)
    return Positions(tuple(f"qpos {i}" for i in range(nq)), tuple(f"qvel {i}" for i in range(nv)), none, none)


def _described(model: mujoco.MjModel) -> Positions:
    names: list[str] = []
    speeds: list[str] = []
    turning: list[bool] = []
    orientation: list[bool] = []

    def add(name: str, unit: str, *, turns: bool = False) -> None:
        names.append(f"{name}, {unit}")
        speeds.append(f"{name}, {unit}/s")
        turning.append(turns)
        orientation.append(False)

    for joint in range(model.njnt):
        kind, body = model.jnt_type[joint], model.body(model.jnt_bodyid[joint]).name
        name = model.joint(joint).name or body or f"joint {joint}"
        if kind == mujoco.mjtJoint.mjJNT_SLIDE:
            add(name, "m")
        elif kind == mujoco.mjtJoint.mjJNT_HINGE:
            add(name, "rad", turns=not model.jnt_limited[joint])
        else:
            if kind == mujoco.mjtJoint.mjJNT_FREE:
                for axis in "xyz":
                    add(f"{body or name} {axis}", "m")
            names += [f"{body or name} quaternion {part}" for part in "wxyz"]
            speeds += [f"{body or name} about {axis}, rad/s" for axis in "xyz"]
            turning += [False] * 4
            orientation += [True] * 4
    return Positions(tuple(names), tuple(speeds), np.array(turning, bool), np.array(orientation, bool))
