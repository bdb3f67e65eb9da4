"""Two rooms and a door between them, seen from above: a ball goes to the place shown in an image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from worldmodel.envs.exploration import Pausing, Policy
from worldmodel.envs.task import Task, TaskConfig
from worldmodel.envs.walking import Place, Walker
from worldmodel.envs.world import State

ROOM = 0.46  # the ball's centre stays within this in x and y, m, as in two_room.xml
WALL = 0.07  # the ball's centre keeps this far from the middle of the wall, m
DOOR = 0.35  # how far from the middle a door can be, m
CROSS = 0.7  # share of exploring walks that lead into the other room


@dataclass(frozen=True)
class TwoRoomConfig(TaskConfig):
    """What can be chosen.

    Attributes:
        door: "middle", or "random": elsewhere in the wall in each episode, and in the goal where it is at the start.
    """

    door: Literal["middle", "random"] = "middle"


class TwoRoom(Task):
    """Bring the ball to its place in the goal image, through the door if that is in the other room.

    Actions: velocity along x and y, as a share of 0.5 m/s, in [-1, 1].
    Distance: from the ball to its place in the goal, m.
    Hard because the straight way is blocked: near the wall, a place on the other side looks much like the one at
    hand and is far away, so that going down the distance between pictures ends at the wall. The door lets pass a
    ball of half its width. With random doors, the way must be read off the picture.

    The door's place is the third coordinate of the state: the wall stands on a slide that nothing moves.

    Source: PLDM (Sobal et al., Learning from reward-free offline data, 2025) and DINO-WM (Zhou et al., 2024), whose
    dot moves by its action and stops at walls by rule. Differs: a ball with inertia in MuJoCo, that contact stops;
    it rolls by up to 2.5 % of the world's width a step.
    """

    Config: ClassVar[type[TaskConfig]] = TwoRoomConfig
    camera = "top"
    substeps = 2
    max_steps = 200
    tolerance = 0.05
    unit = "m"

    def __init__(self, config: TwoRoomConfig | None = None) -> None:
        self._door = (config or TwoRoomConfig()).door
        super().__init__(config)

    def sample(self, rng: np.random.Generator) -> State:
        door = rng.uniform(-DOOR, DOOR) if self._door == "random" else 0.0
        return _state(_somewhere(rng), door)

    def sample_goal(self, rng: np.random.Generator, start: State) -> State:
        return _state(_somewhere(rng), float(start.qpos[2]))

    def distance(self, state: State, goal: State) -> float:
        return float(np.linalg.norm(state.qpos[:2] - goal.qpos[:2]))

    def explorer(self) -> Policy:
        """Walk to random places, most of them in the other room, through the door."""
        return Pausing(Walker(self._route))

    def _route(self, rng: np.random.Generator) -> list[Place]:
        x, _, door = self.data.qpos.tolist()
        goal = _somewhere(rng)
        if rng.random() > CROSS:
            return [(math.copysign(goal[0], x), goal[1])]
        goal = -math.copysign(goal[0], x), goal[1]
        side = WALL if x > 0 else -WALL
        return [(side, door), (-side, door), goal]


def _somewhere(rng: np.random.Generator) -> Place:
    x, y = rng.uniform((WALL, -ROOM), ROOM)
    return (float(x) if rng.random() < 0.5 else -float(x)), float(y)


def _state(place: Place, door: float) -> State:
    return State(qpos=np.array([*place, door]), qvel=np.zeros(3), act=np.zeros(0), time=0.0)
