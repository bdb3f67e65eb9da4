"""A ball in a maze, seen from above, that rolls to the place shown in an image."""

from __future__ import annotations

from collections import deque

import mujoco
import numpy as np

from worldmodel.envs.exploration import Pausing, Policy
from worldmodel.envs.task import Task
from worldmodel.envs.walking import Place, Walker
from worldmodel.envs.world import State

CELLS, CELL = 4, 0.25  # to a side, and the side of each, m, as in point_maze.xml
SPREAD = 0.07  # how far from the middle of its cell a place can be, in x and y, m

Cell = tuple[int, int]  # column from the west, row from the south


class PointMaze(Task):
    """Roll the ball to its place in the goal image, round all walls between.

    Actions: force along x and y, as a share of 1 N, in [-1, 1]. The ball rolls at up to 0.5 m/s; it takes
    0.3 s to gain two thirds of that.
    Distance: from the ball to its place in the goal, m.
    Hard because places that are close in the picture can be far apart: from one side of the shelf to the other, or
    through the wall beside it, is a way of more than a metre. There is a dead end, and a ring with two ways round.
    One image does not show velocity, and the ball goes on when it is let go.

    Source: D4RL's point mazes (Fu et al., 2020), as DINO-WM (Zhou et al., 2024) uses them: force-driven, success
    within half a cell. Differs: thin walls, so that the whole maze is seen at 64 x 64; within a fifth of a cell.
    """

    camera = "top"
    substeps = 2
    max_steps = 300
    tolerance = 0.05
    unit = "m"

    def sample(self, rng: np.random.Generator) -> State:
        column, row = rng.integers(CELLS, size=2).tolist()
        place = np.array(_middle((column, row))) + rng.uniform(-SPREAD, SPREAD, 2)
        return State(qpos=place, qvel=np.zeros(2), act=np.zeros(0), time=0.0)

    def distance(self, state: State, goal: State) -> float:
        return float(np.linalg.norm(state.qpos - goal.qpos))

    def explorer(self) -> Policy:
        """Roll to random places, by the shortest way."""
        doors = self.doors()
        ways = {(start, goal): _way(doors, start, goal) for start in doors for goal in doors}

        def route(rng: np.random.Generator) -> list[Place]:
            x, y = self.sample(rng).qpos.tolist()
            here = _cell(*self.data.qpos.tolist())
            return [*map(_middle, ways[here, _cell(x, y)]), (x, y)]

        return Pausing(Walker(route))

    def doors(self) -> dict[Cell, list[Cell]]:
        """Return, for each cell, the neighbours that no wall separates from it: the model says so."""
        cells = [(column, row) for column in range(CELLS) for row in range(CELLS)]
        return {
            cell: [other for other in cells if abs(np.subtract(cell, other)).sum() == 1 and self._open(cell, other)]
            for cell in cells
        }

    def _open(self, cell: Cell, other: Cell) -> bool:
        start, end = (np.array([*_middle(place), 0.0]) for place in (cell, other))
        ball = self.model.body("ball").id
        hit = np.zeros(1, np.int32)
        far = mujoco.mj_ray(self.model, self.data, start, end - start, None, 1, ball, hit)
        return not 0 <= far <= 1


def _middle(cell: Cell) -> Place:
    column, row = cell
    return (column + 0.5 - CELLS / 2) * CELL, (row + 0.5 - CELLS / 2) * CELL


def _cell(x: float, y: float) -> Cell:
    column, row = (min(max(int(v / CELL + CELLS / 2), 0), CELLS - 1) for v in (x, y))
    return column, row


def _way(doors: dict[Cell, list[Cell]], start: Cell, goal: Cell) -> list[Cell]:
    """Return the cells of a shortest way, `start` left out, found breadth first."""
    came, waiting = {start: start}, deque([start])
    while goal not in came:
        cell = waiting.popleft()
        for other in doors[cell]:
            if other not in came:
                came[other] = cell
                waiting.append(other)
    way = [goal]
    while way[-1] != start:
        way.append(came[way[-1]])
    return way[-2::-1]
