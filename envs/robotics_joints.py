"""Let gymnasium-robotics tell hinges from slides under MuJoCo 3.17, for its Fetch, hand and kitchen tasks."""

from __future__ import annotations

import enum
import importlib
from types import SimpleNamespace
from typing import Any

import mujoco
import numpy as np


def mend_joints() -> None:
    """Give gymnasium-robotics' helper functions joint types that equal the numbers in a model.

    They ask `joint_type in (mjJNT_HINGE, mjJNT_SLIDE)`, and MuJoCo's own enum no longer equals a number of NumPy's that
    stands to its right. Only that module's view of MuJoCo is changed, and only where it needs it.
    """
    hinge = mujoco.mjtJoint.mjJNT_HINGE
    if np.int32(hinge.value) in (hinge,):
        return
    helpers: Any = importlib.import_module("gymnasium_robotics.utils.mujoco_utils")
    joints = enum.IntEnum("mjtJoint", {name: kind.value for name, kind in mujoco.mjtJoint.__members__.items()})  # type: ignore[misc]
    helpers.mujoco = SimpleNamespace(**{**vars(mujoco), "mjtJoint": joints})
