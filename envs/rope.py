"""A pusher and a rope, seen from above: bring the rope into the shape that an image shows."""

from __future__ import annotations

import math

import mujoco
import numpy as np
from numpy.typing import NDArray

from worldmodel.envs.exploration import Pausing, Policy
from worldmodel.envs.pushing import Pushing, Thing, Touch
from worldmodel.envs.task import Task
from worldmodel.envs.world import State

POINTS, PIECE = 13, 0.045  # of the rope, and the length between two of them, m, as in rope.xml
ROOM = 0.44  # the rope starts within this in x and y, m
BEND = 0.28  # standard deviation of the curvature's changes from point to point, rad
DRAG = 0.5  # friction of each point with the board, as of something that slides slowly, N per m/s
CLEAR = 0.07  # the pusher starts this far from all points, m

_REST: NDArray[np.float64] = np.stack(  # where the points are while their coordinates are 0, [POINTS, 2], m
    [PIECE * (np.arange(POINTS) - (POINTS - 1) / 2), np.zeros(POINTS)], axis=1
)


class Rope(Task):
    """Push the rope into its shape and place in the goal image.

    Actions: the pusher's velocity along x and y, as a share of 0.5 m/s, in [-1, 1].
    Distance: the largest of the distances of the rope's 13 points to their places in the goal, m; both ends look
    the same, so either may be the first. Where the pusher is does not count.
    Hard because the state has 26 coordinates of which the pusher moves a few at a time: to push one bend in, pulls
    the rest along, and a rope that is too straight must be pushed from the side, away from the goal.

    The rope is a MuJoCo flex of one dimension: points that slide on the board, at fixed distances. It does not
    resist bending, and may lie across itself.

    Source: DINO-WM's rope (Zhou et al., 2024), made in NVIDIA Flex and moved by an arm's sweeps, which is measured
    by Chamfer distance. Differs: MuJoCo, velocities at every step, in the plane, and a tolerance of 0.05 m for
    every point of a rope of 0.54 m.
    """

    camera = "top"
    substeps = 2
    max_steps = 300
    tolerance = 0.05
    unit = "m"

    def load(self) -> tuple[mujoco.MjModel, str]:
        """Return the model with drag on the rope's points: MuJoCo computes it, and its compiler refuses it."""
        model, mjcf = super().load()
        model.dof_damping[2:] = DRAG
        return model, mjcf

    def sample(self, rng: np.random.Generator) -> State:
        while True:
            heading = rng.uniform(-np.pi, np.pi) + np.cumsum(np.cumsum(rng.normal(0, BEND, POINTS - 1)) * 0.5)
            steps = PIECE * np.stack([np.cos(heading), np.sin(heading)], axis=1)
            points = np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
            points += rng.uniform(-0.3, 0.3, 2) - points.mean(0)
            pusher = rng.uniform(-ROOM, ROOM, 2)
            if np.abs(points).max() < ROOM and np.linalg.norm(points - pusher, axis=1).min() > CLEAR:
                qpos = np.concatenate([pusher, (points - _REST).reshape(-1)])
                return State(qpos=qpos, qvel=np.zeros(self.model.nv), act=np.zeros(0), time=0.0)

    def distance(self, state: State, goal: State) -> float:
        here, there = self.points(state.qpos), self.points(goal.qpos)
        return float(min(np.linalg.norm(here - other, axis=1).max() for other in (there, there[::-1])))

    @staticmethod
    def points(qpos: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where the rope's points are, `[POINTS, 2]`, m."""
        return _REST + qpos[2:].reshape(POINTS, 2)

    def explorer(self) -> Policy:
        """Push the rope about, at all of its points and from both sides."""
        return Pausing(Pushing(_Pieces(self), reach=0.0, inner=0.36, clearance=0.065))


class _Pieces(Thing):
    """The rope, a part of it for each point."""

    def __init__(self, task: Rope) -> None:
        self._task = task

    def middle(self, part: int) -> tuple[float, float]:
        along, across = self._task.data.qpos[2 + 2 * part : 4 + 2 * part].tolist()
        return along + float(_REST[part, 0]), across

    def touch(self, rng: np.random.Generator) -> Touch:
        part = int(rng.integers(POINTS))
        points = self._task.points(self._task.data.qpos)
        along_x, along_y = (points[min(part + 1, POINTS - 1)] - points[max(part - 1, 0)]).tolist()
        side = math.pi / 2 if rng.random() < 0.5 else -math.pi / 2
        x, y = points[part].tolist()
        return Touch(x, y, math.atan2(along_y, along_x) + side, part)
