"""Positions that turn all the way round: an angle and the same angle a turn later are one place."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from worldmodel.datasets.manifest import Provenance
from worldmodel.envs.registry import make_world
from worldmodel.errors import WorldModelError

TURN = 2 * np.pi


def turning_positions(provenance: Provenance) -> NDArray[np.bool_]:
    """Return which numbers of `qpos [nq]` are angles of joints without limits.

    None, `[0]`, where nothing was simulated or the world cannot be made here: then no angle is wrapped.
    """
    if provenance.simulation is None:
        return np.zeros(0, bool)
    try:
        world = make_world(provenance.env, provenance.env_arguments)
    except WorldModelError:
        return np.zeros(0, bool)
    model = world.model
    turning = np.zeros(model.nq, bool)
    hinges = (model.jnt_type == mujoco.mjtJoint.mjJNT_HINGE.value) & ~model.jnt_limited.astype(bool)
    turning[model.jnt_qposadr[hinges]] = True
    world.close()
    return turning


def wrap(positions: NDArray[np.float64], turning: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Bring angles, or differences of them, of `[..., nq]` into [-pi, pi)."""
    return np.where(turning, (positions + np.pi) % TURN - np.pi, positions) if turning.any() else positions
