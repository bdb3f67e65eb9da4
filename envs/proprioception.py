"""What a robot feels of itself: position and velocity of the joints that its actuators act on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from worldmodel.errors import WorldModelError

_JOINT = (mujoco.mjtTrn.mjTRN_JOINT, mujoco.mjtTrn.mjTRN_JOINTINPARENT)
_KINDS = {
    int(mujoco.mjtJoint.mjJNT_HINGE): "hinge",
    int(mujoco.mjtJoint.mjJNT_SLIDE): "slide",
    int(mujoco.mjtJoint.mjJNT_BALL): "ball",
    int(mujoco.mjtJoint.mjJNT_FREE): "free",
}
_POSITIONS = {"hinge": 1, "slide": 1, "ball": 4, "free": 7}
_VELOCITIES = {"hinge": 1, "slide": 1, "ball": 3, "free": 6}


@dataclass(frozen=True)
class Joint:
    """A joint, and where its numbers are.

    Attributes:
        name: in the model; "" where it has none.
        kind: "hinge", "slide", "ball" or "free".
        qpos, qvel: its first place in a state's positions and velocities.
    """

    name: str
    kind: str
    qpos: int
    qvel: int


@dataclass(frozen=True)
class Proprioception:
    """Reads what a robot feels out of physics states, and nothing else that is in them.

    A hinge is felt as sine and cosine of its angle and its velocity, rad/s; a slide as position, m, and velocity, m/s;
    ball and free joints as position, unit quaternion (its first number not negative) and velocities.

    Shapes: P numbers that are felt.

    Attributes:
        joints: that are felt; of none, nothing is felt, and P is 0.
    """

    joints: tuple[Joint, ...] = ()

    @property
    def size(self) -> int:
        """P."""
        return sum(_POSITIONS[j.kind] + (j.kind == "hinge") + _VELOCITIES[j.kind] for j in self.joints)

    def __call__(self, qpos: NDArray[np.float64], qvel: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return what is felt in the states `qpos [..., nq]`, `qvel [..., nv]`: `[..., P]`."""
        felt = [np.zeros((*qpos.shape[:-1], 0))]
        for joint in self.joints:
            felt += _place(joint.kind, qpos[..., joint.qpos : joint.qpos + _POSITIONS[joint.kind]])
            felt.append(qvel[..., joint.qvel : joint.qvel + _VELOCITIES[joint.kind]])
        return np.concatenate(felt, axis=-1, dtype=np.float32)


def proprioception_of(model: mujoco.MjModel) -> Proprioception:
    """Return what the robot in `model` feels.

    Its joints are those that actuators drive, directly or by a tendon: of a tendon that runs over joints, those; of one
    that runs through space, all that move some of its points against others.

    Raises:
        WorldModelError: no actuator acts on a joint.
    """
    acted = sorted({joint for actuator in range(model.nu) for joint in _acted_on(model, actuator)})
    if not acted:
        raise WorldModelError(
            f"None of the model's {model.nu} actuators acts on a joint, so there is nothing that the robot could feel "
            "of itself. Leave out proprioception."
        )
    return Proprioception(
        tuple(
            Joint(
                str(model.joint(joint).name),
                _KINDS[int(model.jnt_type[joint])],
                int(model.jnt_qposadr[joint]),
                int(model.jnt_dofadr[joint]),
            )
            for joint in acted
        )
    )


def _place(kind: str, position: NDArray[np.float64]) -> list[NDArray[Any]]:
    if kind == "hinge":
        return [np.sin(position), np.cos(position)]
    if kind == "slide":
        return [position]
    quaternion = position[..., -4:]
    quaternion = quaternion / np.linalg.norm(quaternion, axis=-1, keepdims=True)
    return [position[..., :-4], np.where(quaternion[..., :1] < 0, -quaternion, quaternion)]


def _acted_on(model: mujoco.MjModel, actuator: int) -> Iterator[int]:
    """Yield the numbers of the joints that an actuator drives."""
    kind, target = mujoco.mjtTrn(int(model.actuator_trntype[actuator])), int(model.actuator_trnid[actuator, 0])
    if kind in _JOINT:
        yield target
    elif kind == mujoco.mjtTrn.mjTRN_TENDON:
        yield from _moving(model, target)


def _moving(model: mujoco.MjModel, tendon: int) -> Iterator[int]:
    """Yield the numbers of the joints that change a tendon's length."""
    first = int(model.tendon_adr[tendon])
    chains: list[set[int]] = []
    for wrap in range(first, first + int(model.tendon_num[tendon])):
        kind, held = mujoco.mjtWrap(int(model.wrap_type[wrap])), int(model.wrap_objid[wrap])
        if kind == mujoco.mjtWrap.mjWRAP_JOINT:
            yield held
        elif kind == mujoco.mjtWrap.mjWRAP_SITE:
            chains.append(_chain(model, int(model.site_bodyid[held])))
        elif kind in (mujoco.mjtWrap.mjWRAP_SPHERE, mujoco.mjtWrap.mjWRAP_CYLINDER):
            chains.append(_chain(model, int(model.geom_bodyid[held])))
    if chains:
        for body in chains[0].union(*chains) - chains[0].intersection(*chains):
            begin = int(model.body_jntadr[body])
            yield from range(begin, begin + int(model.body_jntnum[body]))


def _chain(model: mujoco.MjModel, body: int) -> set[int]:
    """Return a body with all that it hangs on."""
    chain = {body}
    while body:
        body = int(model.body_parentid[body])
        chain.add(body)
    return chain
