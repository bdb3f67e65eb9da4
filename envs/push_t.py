"""A pusher and a block shaped like a T, seen from above: bring both to where an image shows them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from worldmodel.envs.exploration import Pausing, Policy
from worldmodel.envs.pushing import Pushing, Thing, Touch
from worldmodel.envs.task import Task
from worldmodel.envs.world import State

BOARD = 1.0  # its side, m, as in push_t.xml
UNIT = 0.065  # thickness of the T's bar and stem, m; the bar is 4 long, the stem 3
POSITION = 20 / 512 * BOARD  # tolerance for the places of pusher and block, together, m
ANGLE = math.pi / 9  # tolerance for the block's angle, rad

BLOCK_RADIUS = 0.175  # from its centre of mass to its farthest corner, m
PUSHER_RADIUS = 0.03  # m
BAR_TOP, BAR_BOTTOM, STEM_END = 0.088214, 0.023214, -0.171786  # from the centre of mass along the stem, m
CORNERS: tuple[tuple[float, float], ...] = (  # of the T, counter-clockwise, in its own frame, m
    *((2 * UNIT, BAR_TOP), (-2 * UNIT, BAR_TOP), (-2 * UNIT, BAR_BOTTOM), (-UNIT / 2, BAR_BOTTOM)),
    *((-UNIT / 2, STEM_END), (UNIT / 2, STEM_END), (UNIT / 2, BAR_BOTTOM), (2 * UNIT, BAR_BOTTOM)),
)


class PushT(Task):
    """Push the T to its place and angle in the goal image, and bring the pusher to its own.

    Actions: the pusher's velocity along x and y, as a share of 0.5 m/s, in [-1, 1].
    Distance: the larger of two ratios to what is allowed, without unit; 1 is the tolerance of both:
        places of pusher and block, as one vector of four numbers, to 20/512 of the board's side (0.039 m);
        the block's angle to pi/9 rad.
    Hard because the block moves by contact only: to turn it one way, the pusher must first go round it, away from
    the goal, and the angle, which is a few pixels of the picture, is the last thing that a model learns.

    Source: Florence et al., Implicit behavioral cloning, 2021; Chi et al., Diffusion policy, 2023. The criterion is
    the one by which world models are compared on it (DINO-WM, Zhou et al., 2024). Differs: MuJoCo; the pusher's
    velocity in place of a place to go to; a T of 0.26 of the board's side in place of 0.23; any goal in place of a
    single one.
    """

    camera = "top"
    substeps = 2
    max_steps = 300
    tolerance = 1.0
    unit = "x (3.9 cm, 20°)"

    def sample(self, rng: np.random.Generator) -> State:
        block, angle = rng.uniform(-0.3, 0.3, 2), rng.uniform(-np.pi, np.pi)
        while True:
            pusher = rng.uniform(-0.46, 0.46, 2)
            if np.linalg.norm(pusher - block) > BLOCK_RADIUS + PUSHER_RADIUS:
                break
        return State(qpos=np.array([*pusher, *block, angle]), qvel=np.zeros(5), act=np.zeros(0), time=0.0)

    def distance(self, state: State, goal: State) -> float:
        places, angle = self.errors(state, goal)
        return max(places / POSITION, angle / ANGLE)

    def errors(self, state: State, goal: State) -> tuple[float, float]:
        """Return how far pusher and block, together, are from their places, m, and the block from its angle, rad."""
        places = float(np.linalg.norm(state.qpos[:4] - goal.qpos[:4]))
        return places, abs(math.remainder(float(state.qpos[4] - goal.qpos[4]), 2 * math.pi))

    def explorer(self) -> Policy:
        """Push the block about, from all sides, and keep it off the edges."""
        return Pausing(Pushing(_Block(self), reach=BLOCK_RADIUS + PUSHER_RADIUS))


class _Block(Thing):
    """The T, to be pushed."""

    def __init__(self, task: PushT) -> None:
        self._task = task
        corners = np.array(CORNERS)
        sides = np.roll(corners, -1, axis=0) - corners
        length = np.linalg.norm(sides, axis=1)
        self._corners, self._sides = corners, sides
        self._outward: NDArray[np.float64] = np.stack([sides[:, 1], -sides[:, 0]], axis=1) / length[:, None]
        self._share = length / length.sum()

    def middle(self, part: int) -> tuple[float, float]:
        x, y = self._task.data.qpos[2:4].tolist()
        return x, y

    def touch(self, rng: np.random.Generator) -> Touch:
        side = int(rng.choice(len(self._share), p=self._share))
        place, outward = self._corners[side] + rng.random() * self._sides[side], self._outward[side]
        x, y, angle = self._task.data.qpos[2:].tolist()
        cos, sin = math.cos(angle), math.sin(angle)
        along, across = place.tolist()
        facing = math.atan2(outward[1], outward[0]) + angle
        return Touch(x + cos * along - sin * across, y + sin * along + cos * across, facing)
