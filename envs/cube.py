"""A hand with two fingers and one to three cubes on a table: bring the cubes to where an image shows them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import mujoco
import numpy as np
from numpy.typing import NDArray

from worldmodel.envs.exploration import Pausing, Policy
from worldmodel.envs.grasping import Grasping
from worldmodel.envs.task import Task, TaskConfig
from worldmodel.envs.world import State
from worldmodel.errors import WorldModelError

MOST_CUBES = 3  # in cube.xml
TABLE, APART = 0.13, 0.08  # cubes start within this in x and y, and this far from each other, m
HAND = 6  # numbers of a state that are the hand's: x, y, z, yaw, left, right
OPEN = 0.045  # of a finger, m
GRIP = 4  # the actuator that opens and shuts the hand


@dataclass(frozen=True)
class CubeConfig(TaskConfig):
    """What can be chosen.

    Attributes:
        cubes: how many: 1 to 3.
    """

    cubes: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.cubes <= MOST_CUBES:
            raise WorldModelError(f"cubes is {self.cubes}; expected 1 to {MOST_CUBES}.")


class Cube(Task):
    """Bring every cube to its place in the goal image: by pushing it, or by grasping, lifting and letting go.

    Actions: the hand's velocity along x, y and z, as a share of 0.4 m/s; about the vertical, as a share of 4 rad/s;
    and the grip, from -1, open by 0.09 m, to 1, shut. All in [-1, 1].
    Distance: the largest of the cubes' distances to their places in the goal, m; where the hand is, and how cubes
    are turned, does not count.
    Hard because a cube moves by contact only, in three dimensions: the fingers have to stand on either side of it,
    turned as it is, before they close; a grasp that slips is as good as none; and a cube is a few pixels large,
    behind the hand at times.

    Source: OGBench's cube tasks (Park et al., 2024): Cartesian actions of the same five kinds, free cubes on a
    table, success within 0.04 m. Differs: the hand hangs on slides, where OGBench solves for the joints of an arm of
    six that is to move its hand in this way; cubes of 0.05 m in place of 0.04 m on a smaller table, to be seen at
    64 x 64. OGBench's own scenes are recorded by name, such as "visual-cube-single-v0" (worldmodel[ogbench]).
    """

    Config: ClassVar[type[TaskConfig]] = CubeConfig
    camera = "front"
    substeps = 4
    max_steps = 300
    tolerance = 0.04
    unit = "m"

    def __init__(self, config: CubeConfig | None = None) -> None:
        self.cubes = (config or CubeConfig()).cubes
        super().__init__(config)

    def load(self) -> tuple[mujoco.MjModel, str]:
        spec = mujoco.MjSpec.from_file(str(self.xml))
        for number in range(self.cubes, MOST_CUBES):
            spec.delete(spec.body(f"cube_{number}"))
        return spec.compile(), str(spec.to_xml())

    def sample(self, rng: np.random.Generator) -> State:
        hand = [*rng.uniform(-0.12, 0.12, 2), rng.uniform(0.09, 0.15), rng.uniform(-0.8, 0.8), OPEN, OPEN]
        qpos = np.concatenate([hand, *(self._pose(place, rng) for place in self._places_apart(rng))])
        return State(qpos=qpos, qvel=np.zeros(self.model.nv), act=np.zeros(0), time=0.0)

    def _places_apart(self, rng: np.random.Generator) -> NDArray[np.float64]:
        while True:
            places = rng.uniform(-TABLE, TABLE, (self.cubes, 2))
            between = np.linalg.norm(places[:, None] - places[None], axis=-1) + np.eye(self.cubes)
            if between.min() > APART:
                return places

    def _pose(self, place: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
        """Return a cube's seven coordinates, standing on the table, turned at random."""
        half = rng.uniform(-np.pi, np.pi) / 2
        height = self.model.geom("cube_0").size[2]
        return np.array([*place, height, np.cos(half), 0, 0, np.sin(half)])

    def distance(self, state: State, goal: State) -> float:
        return float(np.linalg.norm(self.places(state) - self.places(goal), axis=-1).max())

    def places(self, state: State) -> NDArray[np.float64]:
        """Return where the cubes are, `[cubes, 3]`, m."""
        return state.qpos[HAND:].reshape(self.cubes, 7)[:, :3]

    def explorer(self) -> Policy:
        """Grasp, carry, drop and push cubes."""
        return Pausing(Grasping(self._cube, self.cubes), keeps=[GRIP])

    def _cube(self, number: int) -> tuple[float, float, float, float]:
        """Return where a cube is, x, y and z, m, and how a side of it is turned, rad, at most an eighth of a turn."""
        x, y, z, w, i, j, k = self.data.qpos[HAND + 7 * number : HAND + 7 * number + 7].tolist()
        yaw = math.atan2(2 * (w * k + i * j), 1 - 2 * (j * j + k * k))
        return x, y, z, math.remainder(yaw, math.pi / 2)
