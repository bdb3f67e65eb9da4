"""Pushes from all sides: exploration of things that move by contact only, on a board seen from above."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from worldmodel.envs.exploration import coloured_noise

if TYPE_CHECKING:
    from worldmodel.envs.world import Action, World

Place = tuple[float, float]  # x and y, m; or a direction
Velocity = tuple[float, float]  # along x and y, share of the bounds


class Thing(ABC):
    """What is pushed."""

    @abstractmethod
    def centre(self) -> tuple[float, float]:
        """Return where its middle is, or of something that bends, the part drawn last: x and y, m."""

    @abstractmethod
    def touch(self, rng: np.random.Generator) -> tuple[float, float, float]:
        """Draw a point of its boundary: x and y, m, and the direction in which its outside lies there, rad."""


class Pushing:
    """Go round a thing to a random point of its boundary, push through it, let go; sometimes just stroll.

    Noisy actions alone seldom meet a block, and when they do, they push it on until it lies at an edge for good.
    Here a push is chosen among some by where it leads: one that would bring the thing to an edge is left, and
    stopped if it does after all; a thing that lies there is pushed back from the outside.

    The first two coordinates of the world are where the pusher is, its two actuators drive it along x and y.

    Args:
        thing: what is pushed.
        reach: how far from the middle of the thing the pusher's centre passes by without touching it, m; 0 goes
            straight through whatever lies between.
        room: the pusher stays within this in x and y, m.
        inner: the thing's middle is to stay within this, m.
        clearance: from the boundary to the pusher's centre when a push begins, m.
    """

    TRIES, CHOICE = 12, 2  # pushes to draw; of so many that will do, the one that begins nearest is taken
    SLANT = 0.9  # a push goes up to this far from straight in, rad
    LENGTH = (0.05, 0.45)  # of a push, m
    SPEED, WAY_SPEED = (0.4, 1.0), (0.7, 1.0)  # of pushes, and of the ways between them, share of the bounds
    NOISE = 0.25  # an episode's noise is up to this, share of the bounds
    KEEP = 0.85  # of the noise, from one step to the next
    STROLL, STROLL_STEPS = 0.08, (8, 40)  # share of strolls, and how long they are, steps
    BACK_STEPS = (0, 6)  # of letting go, steps
    PATIENCE = 70  # steps after which a way is given up
    NEAR = 0.02  # a place counts as reached within this, m

    def __init__(
        self, thing: Thing, *, reach: float, room: float = 0.46, inner: float = 0.27, clearance: float = 0.045
    ) -> None:
        self._thing, self._reach, self._room, self._inner, self._clearance = thing, reach, room, inner, clearance

    def reset(self, rng: np.random.Generator, episode: int) -> None:
        self._rng = rng
        self._noise = coloured_noise(rng, 2, self.KEEP)
        self._strength = rng.uniform(0, self.NOISE)
        self._phase, self._left = "choose", 0

    def __call__(self, world: World) -> Action:
        x, y = world.data.qpos[:2].tolist()
        if self._left <= 0:
            self._next(world)
        self._left -= 1
        noise_x, noise_y = next(self._noise)
        if self._phase == "stroll":
            move_x, move_y = noise_x, noise_y
        else:
            move_x, move_y = self._move(x, y)
            move_x, move_y = move_x + self._strength * noise_x, move_y + self._strength * noise_y
        return np.array([min(max(move_x, -1.0), 1.0), min(max(move_y, -1.0), 1.0)], np.float32)

    def _next(self, world: World) -> None:
        """Enter the phase that follows, and say how many steps it lasts at most."""
        rng = self._rng
        if self._phase == "push":
            self._phase, self._left = "back", int(rng.integers(*self.BACK_STEPS))
        if self._left <= 0 and self._phase == "arrived":
            self._phase, self._speed = "push", rng.uniform(*self.SPEED)
            metres_per_step = self._speed * self._top_speed(world) * world.control_seconds
            self._left = round((self._length + self._clearance) / metres_per_step)
        if self._left <= 0:
            x, y = world.data.qpos[:2].tolist()
            stroll = rng.random() < self.STROLL or not self._choose(x, y)
            self._speed = rng.uniform(*self.WAY_SPEED)
            self._phase = "stroll" if stroll else "approach"
            self._left = int(rng.integers(*self.STROLL_STEPS)) if stroll else self.PATIENCE

    def _top_speed(self, world: World) -> float:
        """Return the velocity that an action of 1 asks for, m/s."""
        model = world.model
        return float(-model.actuator_gainprm[0, 0] / model.actuator_biasprm[0, 2])

    def _choose(self, x: float, y: float) -> bool:
        """Choose a push that does not end at an edge, or say that there is none; the pusher is at `x`, `y`."""
        nearest, found = math.inf, 0
        for _ in range(self.TRIES):
            begin, toward, length = self._draw()
            if begin is None:
                continue
            found += 1
            far = math.hypot(begin[0] - x, begin[1] - y)
            if far < nearest:
                nearest, self._from, self._toward, self._length = far, begin, toward, length
            if found == self.CHOICE:
                break
        return found > 0

    def _draw(self) -> tuple[Place | None, Place, float]:
        """Draw a push: where the pusher begins, or None if it would lead to an edge, its direction, its length, m."""
        rng = self._rng
        at_x, at_y, facing = self._thing.touch(rng)
        x, y = self._thing.centre()
        slant, (shortest, longest) = rng.uniform(-self.SLANT, self.SLANT), self.LENGTH
        toward_x, toward_y = -math.cos(facing + slant), -math.sin(facing + slant)
        length = rng.uniform(shortest, longest)
        ends = max(abs(x + length * toward_x), abs(y + length * toward_y))
        from_x, from_y = at_x - self._clearance * toward_x, at_y - self._clearance * toward_y
        fits = max(abs(from_x), abs(from_y)) < self._room and ends < max(self._inner, max(abs(x), abs(y)) - 0.02)
        return (from_x, from_y) if fits else None, (toward_x, toward_y), length

    def _move(self, x: float, y: float) -> Velocity:
        speed, (toward_x, toward_y) = self._speed, self._toward
        if self._phase == "approach":
            return self._approach(x, y)
        if self._phase == "back":
            return -speed * toward_x, -speed * toward_y
        middle_x, middle_y = self._thing.centre()
        ahead = (toward_x if abs(middle_x) > self._inner else 0) * middle_x + (
            toward_y if abs(middle_y) > self._inner else 0
        ) * middle_y
        if ahead > 0:  # it is near an edge, and goes there
            self._left = 0
        return speed * toward_x, speed * toward_y

    def _approach(self, x: float, y: float) -> Velocity:
        """Go to where the push begins: straight if the thing is not in the way, else round it."""
        from_x, from_y = self._from
        way_x, way_y = from_x - x, from_y - y
        far = math.hypot(way_x, way_y)
        if far < self.NEAR:
            self._phase, self._left = "arrived", 0
            return 0.0, 0.0
        middle_x, middle_y = self._thing.centre()
        out_x, out_y = x - middle_x, y - middle_y
        share = min(max(-(out_x * way_x + out_y * way_y) / far**2, 0.0), 1.0)
        passes = math.hypot(out_x + share * way_x, out_y + share * way_y)
        turn = math.remainder(math.atan2(from_y - middle_y, from_x - middle_x) - math.atan2(out_y, out_x), 2 * math.pi)
        if passes > self._reach or abs(turn) < 0.4:
            return self._speed * way_x / far, self._speed * way_y / far
        radius = math.hypot(out_x, out_y)
        inward = min(max((radius - self._reach) / 0.05, -1.0), 1.0)
        side = math.copysign(1.0, turn)
        move_x = -side * out_y / radius - inward * out_x / radius
        move_y = side * out_x / radius - inward * out_y / radius
        norm = math.hypot(move_x, move_y)
        return self._speed * move_x / norm, self._speed * move_y / norm
