"""A planar arm of two links, seen from above, that takes the pose shown in an image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from worldmodel.envs.task import Task
from worldmodel.envs.world import State


class Reacher(Task):
    """Bring the whole arm, not only its fingertip, to the pose in the goal image.

    Actions: torque of shoulder and elbow, as a share of 0.05 N m, in [-1, 1].
    Distance: the larger of the elbow's and the fingertip's distance to their places in the goal pose, m.
    Hard because the motors set accelerations: a pose must be reached and the arm be brought to rest there,
    and one image does not show velocity.

    Source: after dm_control's reacher (Tassa et al., DeepMind Control Suite, 2018): its lengths, gears and
    damping. Differs: the goal is a pose instead of a point, its tolerance 0.025 m instead of 0.05 m.

    Attributes:
        LINK: length of each link, m.
        JOINTS: how many there are.
    """

    LINK = 0.12
    JOINTS = 2

    camera = "top"
    substeps = 2
    max_steps = 200
    tolerance = 0.025
    unit = "m"

    def sample(self, rng: np.random.Generator) -> State:
        qpos = np.array([rng.uniform(-np.pi, np.pi), *rng.uniform(-2.6, 2.6, self.JOINTS - 1)])
        return State(qpos=qpos, qvel=np.zeros(self.JOINTS), act=np.zeros(0), time=0.0)

    def distance(self, state: State, goal: State) -> float:
        return float(np.linalg.norm(self._places(state) - self._places(goal), axis=-1).max())

    def _places(self, state: State) -> NDArray[np.float64]:
        """Return where the ends of the links are, `[JOINTS, 2]`, m."""
        direction = np.cumsum(state.qpos)
        return self.LINK * np.cumsum([np.cos(direction), np.sin(direction)], axis=1).T
