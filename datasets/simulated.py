"""The MuJoCo model that a recording was made with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import mujoco
import numpy as np

from worldmodel.datasets.manifest import Provenance
from worldmodel.envs.registry import make_world
from worldmodel.errors import RecordingError


def recorded_model(provenance: Provenance, nq: int, nv: int) -> mujoco.MjModel:
    """Return the recorded model, from its source where that suffices, else from its environment.

    Args:
        nq, nv: positions and velocities in each recorded state.

    Raises:
        RecordingError: nothing was simulated, or the model here is not the one that was recorded.
    """
    if provenance.simulation is None:
        raise RecordingError(f"The recording of '{provenance.env}' was not simulated: it has no MuJoCo model.")
    try:
        with _no_remarks():
            model = mujoco.MjModel.from_xml_string(provenance.simulation.mjcf)
    except ValueError:  # it needs further files, or is not known
        world = make_world(provenance.env, provenance.env_arguments)
        world.reset(np.random.default_rng(provenance.seed))
        model = world.model
        world.close()
    if (model.nq, model.nv) != (nq, nv):
        raise RecordingError(
            f"The model of '{provenance.env}' here has {model.nq} positions and {model.nv} velocities; the recording "
            f"holds {nq} and {nv}. Use the files and versions that it was recorded with; worldmodel info lists them."
        )
    return model


@contextmanager
def _no_remarks() -> Iterator[None]:
    """Keep back MuJoCo's remarks on old XML, which it also writes into a file where the user stands."""
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda remark: None)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(before)
