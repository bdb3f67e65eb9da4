"""Grasps, drops and pushes: exploration of a hand among cubes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from worldmodel.envs.exploration import coloured_noise

if TYPE_CHECKING:
    from worldmodel.envs.world import Action, World

OPEN, SHUT = -1.0, 1.0


@dataclass(frozen=True)
class Leg:
    """A part of a manoeuvre.

    Attributes:
        x, y, z: where the hand goes, m.
        yaw: how it turns, rad; None leaves it.
        grip: from OPEN to SHUT.
        steps: how long it may take; it ends sooner where the hand is there.
        stay: last for all the steps, as closing the fingers takes its time.
    """

    x: float
    y: float
    z: float
    yaw: float | None
    grip: float
    steps: int
    stay: bool = False


class Grasping:
    """Choose a cube, and carry it elsewhere, push it, or poke about, again and again, with noise.

    The world's first four coordinates are the hand's x, y, z and yaw; its five actuators are their velocities and
    the grip.

    Args:
        cube: takes a cube's number; returns where it is, x, y, z, m, and how a side of it is turned, rad.
        cubes: how many there are.

    Source: the scripted play of OGBench's manipulation data (Park et al., 2024). Differs: pushes and strolls beside
    grasps, drops from any height.
    """

    CARRY, PUSH = 0.6, 0.25  # shares of manoeuvres; the rest are strolls
    ROOM = 0.12  # cubes are brought to places within this in x and y, m
    LOW, ABOVE = 0.024, 0.1  # the hand's height to grasp at, and to pass over cubes, m
    LIFT = (0.04, 0.13)  # heights to carry at, m
    DROP = 0.3  # share of cubes that are let fall from there
    SPEED = (0.6, 1.0)  # share of the bounds
    NOISE, KEEP = 0.25, 0.8  # an episode's noise is up to this; of it, from one step to the next
    GAIN = 25.0  # share of the bounds per m or rad that is left to go
    NEAR = 0.008  # a place counts as reached within this, m

    def __init__(self, cube: Callable[[int], tuple[float, float, float, float]], cubes: int) -> None:
        self._cube, self._cubes = cube, cubes

    def reset(self, rng: np.random.Generator, episode: int) -> None:
        self._rng = rng
        self._noise = coloured_noise(rng, 5, self.KEEP)
        self._strength = rng.uniform(0, self.NOISE)
        self._legs: list[Leg] = []
        self._left = 0

    def __call__(self, world: World) -> Action:
        hand = world.data.qpos[:4].tolist()
        while not self._legs or self._left <= 0:
            self._next(hand)
        self._left -= 1
        leg, noise = self._legs[0], next(self._noise)
        away = [leg.x - hand[0], leg.y - hand[1], leg.z - hand[2]]
        turn = 0.0 if leg.yaw is None else leg.yaw - hand[3]
        if not leg.stay and math.hypot(*away) < self.NEAR and abs(turn) < 0.1:
            self._left = 0
        wanted = [*(self.GAIN * way for way in away), self.GAIN / 5 * turn]
        moves = [
            min(max(way, -self._speed), self._speed) + self._strength * off
            for way, off in zip(wanted, noise[:4], strict=True)
        ]
        action = np.array([*moves, leg.grip + 0.3 * self._strength * noise[4]], np.float32)
        return action.clip(world.low, world.high)

    def _next(self, hand: list[float]) -> None:
        """Go on to the next leg, or to another manoeuvre."""
        self._legs = self._legs[1:]
        if not self._legs:
            self._legs = self._manoeuvre(hand)
            self._speed = self._rng.uniform(*self.SPEED)
        self._left = self._legs[0].steps

    def _manoeuvre(self, hand: list[float]) -> list[Leg]:
        rng = self._rng
        kind = rng.random()
        cube = self._cube(int(rng.integers(self._cubes)))
        if kind < self.CARRY:
            return self._carry(cube)
        if kind < self.CARRY + self.PUSH:
            return self._push(cube)
        x, y = rng.uniform(-self.ROOM, self.ROOM, 2).tolist()
        grip, yaw = float(rng.uniform(OPEN, SHUT)), float(rng.uniform(-1, 1))
        return [Leg(x, y, float(rng.uniform(self.LOW, 0.15)), yaw, grip, int(rng.integers(5, 25)))]

    def _carry(self, cube: tuple[float, float, float, float]) -> list[Leg]:
        rng = self._rng
        x, y, z, yaw = cube
        to_x, to_y = rng.uniform(-self.ROOM, self.ROOM, 2).tolist()
        low = max(self.LOW, z)
        high, turned = float(rng.uniform(*self.LIFT)) + low - self.LOW, float(rng.uniform(-1, 1))
        end = high if rng.random() < self.DROP else self.LOW
        return [
            Leg(x, y, low + self.ABOVE, yaw, OPEN, 30),
            Leg(x, y, low, yaw, OPEN, 20),
            Leg(x, y, low, yaw, SHUT, 5, stay=True),
            Leg(x, y, high, None, SHUT, 12),
            Leg(to_x, to_y, high, turned, SHUT, 30),
            Leg(to_x, to_y, end, turned, SHUT, 15),
            Leg(to_x, to_y, end, turned, OPEN, 4, stay=True),
            Leg(to_x, to_y, self.ABOVE, None, OPEN, 12),
        ]

    def _push(self, cube: tuple[float, float, float, float]) -> list[Leg]:
        """Push a cube towards a random place, with shut fingers, from behind."""
        rng = self._rng
        x, y, _, _ = cube
        to_x, to_y = rng.uniform(-self.ROOM, self.ROOM, 2).tolist()
        far = max(math.hypot(to_x - x, to_y - y), 1e-3)
        along_x, along_y = (to_x - x) / far, (to_y - y) / far
        from_x, from_y = x - 0.07 * along_x, y - 0.07 * along_y
        end_x, end_y = to_x - 0.035 * along_x, to_y - 0.035 * along_y
        return [
            Leg(from_x, from_y, self.ABOVE, None, SHUT, 30),
            Leg(from_x, from_y, self.LOW, None, SHUT, 15),
            Leg(end_x, end_y, self.LOW, None, SHUT, 25),
            Leg(end_x, end_y, self.ABOVE, None, SHUT, 8),
        ]
