"""What the physics states of a recording mean: a name and a unit for every number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import mujoco
import numpy as np
from numpy.typing import NDArray

from worldmodel.datasets.manifest import Provenance
from worldmodel.datasets.simulated import recorded_model
from worldmodel.errors import RecordingError

STILL = 1e-6  # a number that varies less than this (rad, m, rad/s, m/s) over the whole recording is left out
UPRIGHT = 1e-3  # rad, tilt below which a free body counts as turning in the plane

Kind = Literal["position", "velocity"]
Array = NDArray[np.float64]


class Simulated(Protocol):
    """What is needed of an episode: its physics states `[F, ...]`."""

    @property
    def qpos(self) -> Array: ...
    @property
    def qvel(self) -> Array: ...


@dataclass(frozen=True)
class Dimension:
    """One number of a physical state.

    Attributes:
        name: such as "elbow sin" or "block x".
        unit: "m", "rad/s", ...; "" where it has none.
        kind: "velocity" cannot be told from a single frame.
        angle: name of the angle that this is the sine or the cosine of; "" for any other.
    """

    name: str
    unit: str
    kind: Kind
    angle: str = ""

    def __str__(self) -> str:
        return f"{self.name} [{self.unit}]" if self.unit else self.name


@dataclass(frozen=True)
class PhysicalStates:
    """The states of some episodes as numbers that a probe can read.

    Hinges and bodies that turn in the plane are told by sine and cosine, which do not jump where an angle comes
    round; ball joints and free bodies that tilt by the first two columns of their rotation matrix (6d).

    Shapes: F frames, S dimensions.

    Attributes:
        dimensions: what each column is.
        values: `[F, S]` float64 for every episode, in the units of `dimensions`.
        still: names of what never moves, and is left out.

    Source: Zhou et al., On the continuity of rotation representations in neural networks, 2019 (6d).
    """

    dimensions: tuple[Dimension, ...]
    values: tuple[Array, ...]
    still: tuple[str, ...]


def has_states(episodes: Sequence[Simulated]) -> bool:
    """Return whether the episodes come with physics states that mean something."""
    return any(episode.qpos.shape[1] or episode.qvel.shape[1] for episode in episodes)


def physical_states(provenance: Provenance, episodes: Sequence[Simulated]) -> PhysicalStates:
    """Read the physics states of `episodes`, which decide together what moves and what tilts.

    Raises:
        RecordingError: there are none, or the model here is not the one that was recorded.
    """
    if not has_states(episodes):
        raise RecordingError(
            f"The recording of '{provenance.env}' holds no physics states: it was not simulated, so there is nothing "
            "to probe for. Measure it without labels: worldmodel measure RUN RECORDING"
        )
    qpos, qvel = (np.concatenate([getattr(episode, name) for episode in episodes]) for name in ("qpos", "qvel"))
    if provenance.simulation is None:
        columns = [*_plain("qpos", qpos, "position"), *_plain("qvel", qvel, "velocity")]
    else:
        columns = list(_columns(recorded_model(provenance, qpos.shape[1], qvel.shape[1]), qpos, qvel))
    moving = [(dimension, column) for dimension, column in columns if np.ptp(column) > STILL]
    if not moving:
        raise RecordingError(f"Nothing moves in the recording of '{provenance.env}': there is nothing to probe for.")
    dimensions = tuple(dimension for dimension, _ in moving)
    ends = np.cumsum([len(episode.qpos) for episode in episodes])[:-1]
    values = np.split(np.stack([column for _, column in moving], axis=1), ends)
    still = tuple(dimension.name for dimension, column in columns if np.ptp(column) <= STILL)
    return PhysicalStates(dimensions, tuple(values), still)


def _plain(name: str, values: Array, kind: Kind) -> Iterator[tuple[Dimension, Array]]:
    """Yield columns of which nobody said what they mean."""
    for index, column in enumerate(values.T):
        yield Dimension(f"{name} {index}", "", kind), column


def _columns(model: mujoco.MjModel, qpos: Array, qvel: Array) -> Iterator[tuple[Dimension, Array]]:
    """Yield every dimension with its values `[F]`: positions of all joints, then their velocities."""
    joints = range(model.njnt)
    for joint in joints:
        yield from _positions(model, joint, qpos[:, model.jnt_qposadr[joint] :])
    for joint in joints:
        yield from _velocities(model, joint, qvel[:, model.jnt_dofadr[joint] :])


def _positions(model: mujoco.MjModel, joint: int, q: Array) -> Iterator[tuple[Dimension, Array]]:
    name, type_ = _name(model, joint), model.jnt_type[joint]
    if type_ == mujoco.mjtJoint.mjJNT_SLIDE:
        yield Dimension(name, "m", "position"), q[:, 0]
    elif type_ == mujoco.mjtJoint.mjJNT_HINGE:
        yield from _angle(name, q[:, 0])
    elif type_ == mujoco.mjtJoint.mjJNT_BALL:
        yield from _rotation(name, q[:, :4])
    else:
        for axis, column in zip("xyz", q[:, :3].T, strict=True):
            yield Dimension(f"{name} {axis}", "m", "position"), column
        yield from _rotation(name, q[:, 3:7])


def _velocities(model: mujoco.MjModel, joint: int, v: Array) -> Iterator[tuple[Dimension, Array]]:
    name, type_ = _name(model, joint), model.jnt_type[joint]
    if type_ == mujoco.mjtJoint.mjJNT_SLIDE:
        yield Dimension(f"{name} velocity", "m/s", "velocity"), v[:, 0]
    elif type_ == mujoco.mjtJoint.mjJNT_HINGE:
        yield Dimension(f"{name} velocity", "rad/s", "velocity"), v[:, 0]
    else:
        if type_ == mujoco.mjtJoint.mjJNT_FREE:
            for axis, column in zip("xyz", v[:, :3].T, strict=True):
                yield Dimension(f"{name} {axis} velocity", "m/s", "velocity"), column
            v = v[:, 3:]
        for axis, column in zip("xyz", v[:, :3].T, strict=True):
            yield Dimension(f"{name} turning about its {axis}", "rad/s", "velocity"), column


def _angle(name: str, angle: Array) -> Iterator[tuple[Dimension, Array]]:
    yield Dimension(f"{name} sin", "", "position", angle=name), np.sin(angle)
    yield Dimension(f"{name} cos", "", "position", angle=name), np.cos(angle)


def _rotation(name: str, quaternion: Array) -> Iterator[tuple[Dimension, Array]]:
    """Yield yaw where the body turns about the vertical alone, else the rotation in 6d."""
    w, x, y, z = (quaternion / np.linalg.norm(quaternion, axis=1, keepdims=True)).T
    if 2 * np.hypot(x, y).max() < UPRIGHT:
        yield from _angle(f"{name} yaw", 2 * np.arctan2(z, w))
        return
    first = (1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y))
    second = (2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x))
    for label, axis in (("x", first), ("y", second)):
        for part, column in zip("xyz", axis, strict=True):
            yield Dimension(f"{name} {label} axis {part}", "", "position"), column


def _name(model: mujoco.MjModel, joint: int) -> str:
    """Return the joint's name, or that of the body that it moves."""
    body = model.body(model.jnt_bodyid[joint]).name
    free = model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE
    return (free and body) or model.joint(joint).name or body or f"joint {joint}"
