"""Pushes from all sides: exploration of things that move by contact only, on a board seen from above."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from worldmodel.envs.exploration import coloured_noise

if TYPE_CHECKING:
    from worldmodel.envs.world import Action, World

Place = tuple[float, float]  # x and y, m
Phase = Literal["approach", "push", "back", "stroll"]
Velocity = tuple[float, float]  # along x and y, share of the bounds


@dataclass(frozen=True)
class Touch:
    """A point on the boundary of a thing.

    Attributes:
        x, y: where it is, m.
        facing: the direction in which the outside lies there, rad.
        part: which part of the thing it belongs to; 0 where there is one only.
    """

    x: float
    y: float
    facing: float
    part: int = 0


class Thing(ABC):
    """What is pushed."""

    @abstractmethod
    def touch(self, rng: np.random.Generator) -> Touch:
        """Draw a point of its boundary."""

    @abstractmethod
    def middle(self, part: int) -> Place:
        """Return where the middle of a part is, x and y, m."""


@dataclass(frozen=True)
class Push:
    """A push to make.

    Attributes:
        begin: where the pusher stands as it begins, x and y, m.
        toward: its direction, of length 1.
        length: how far to go once the thing is touched, m.
        part: the part of the thing that is pushed.
    """

    begin: Place
    toward: Place
    length: float
    part: int


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
    SPEED, WAY_SPEED = (0.2, 1.0), (0.6, 1.0)  # of pushes, and of the ways between them, share of the bounds
    NOISE = 0.25  # an episode's noise is up to this, share of the bounds
    KEEP = 0.85  # of the noise, from one step to the next
    STROLL, STROLL_STEPS = 0.08, (8, 40)  # share of strolls, and how long they are, steps
    BACK_STEPS = (0, 6)  # of letting go, steps
    PATIENCE = 70  # steps after which a way is given up
    NEAR = 0.02  # a place counts as reached within this, m
    STRAIGHT = 0.4  # the pusher leaves its way round when it faces where the push begins within this, rad

    _push: Push

    def __init__(
        self, thing: Thing, *, reach: float, room: float = 0.46, inner: float = 0.27, clearance: float = 0.045
    ) -> None:
        self._thing, self._reach, self._room, self._inner, self._clearance = thing, reach, room, inner, clearance

    def reset(self, rng: np.random.Generator, episode: int) -> None:
        self._rng = rng
        self._noise = coloured_noise(rng, 2, self.KEEP)
        self._strength = rng.uniform(0, self.NOISE)
        self._phase: Phase = "back"
        self._left = 0  # steps of the phase

    def __call__(self, world: World) -> Action:
        here: Place = tuple(world.data.qpos[:2].tolist())
        if self._phase == "push" and self._leads_out():
            self._left = 0
        if self._left <= 0:
            self._next(here, world)
        self._left -= 1
        noise_x, noise_y = next(self._noise)
        if self._phase == "stroll":
            return _within_bounds(noise_x, noise_y)
        move_x, move_y = self._move(here)
        return _within_bounds(move_x + self._strength * noise_x, move_y + self._strength * noise_y)

    def _next(self, here: Place, world: World) -> None:
        """Enter the next phase, and say how many steps it lasts at most."""
        rng = self._rng
        if self._phase == "push":
            self._phase, self._left = "back", int(rng.integers(*self.BACK_STEPS))
        elif self._phase == "approach" and self._arrived(here):
            self._phase, self._speed = "push", rng.uniform(*self.SPEED)
            metres_per_step = self._speed * _top_speed(world) * world.control_seconds
            self._left = round((self._push.length + self._clearance) / metres_per_step)
            return
        if self._left > 0:
            return
        push = self._choose(here)
        if push is None or rng.random() < self.STROLL:
            self._phase, self._left = "stroll", int(rng.integers(*self.STROLL_STEPS))
        else:
            self._push, self._phase, self._left = push, "approach", self.PATIENCE
            self._speed = rng.uniform(*self.WAY_SPEED)

    def _choose(self, here: Place) -> Push | None:
        """Return a push that does not end at an edge, or None if none is found."""
        found: list[Push] = []
        for _ in range(self.TRIES):
            if (push := self._draw()) is not None:
                found.append(push)
            if len(found) == self.CHOICE:
                break
        return min(found, key=lambda push: math.dist(push.begin, here), default=None)

    def _draw(self) -> Push | None:
        """Draw a push; None if it would lead to an edge."""
        touch = self._thing.touch(self._rng)
        x, y = self._thing.middle(touch.part)
        direction = touch.facing + self._rng.uniform(-self.SLANT, self.SLANT)
        toward_x, toward_y = -math.cos(direction), -math.sin(direction)
        length = self._rng.uniform(*self.LENGTH)
        begin = touch.x - self._clearance * toward_x, touch.y - self._clearance * toward_y
        end = max(abs(x + length * toward_x), abs(y + length * toward_y))
        if max(map(abs, begin)) > self._room or end > max(self._inner, max(abs(x), abs(y)) - 0.02):
            return None
        return Push(begin, (toward_x, toward_y), length, touch.part)

    def _leads_out(self) -> bool:
        """Return whether what is pushed is near an edge and goes there."""
        place = self._thing.middle(self._push.part)
        return any(abs(v) > self._inner and v * way > 0 for v, way in zip(place, self._push.toward, strict=True))

    def _arrived(self, here: Place) -> bool:
        return math.dist(here, self._push.begin) < self.NEAR

    def _move(self, here: Place) -> Velocity:
        toward_x, toward_y = self._push.toward
        if self._phase == "push":
            return self._speed * toward_x, self._speed * toward_y
        if self._phase == "back":
            return -self._speed * toward_x, -self._speed * toward_y
        if self._arrived(here):
            self._left = 0
        way_x, way_y = self._way(here)
        return self._speed * way_x, self._speed * way_y

    def _way(self, here: Place) -> Velocity:
        """Return the direction to where the push begins: straight if the thing is not in the way, else round it."""
        begin, middle = self._push.begin, self._thing.middle(self._push.part)
        way_x, way_y = begin[0] - here[0], begin[1] - here[1]
        out_x, out_y = here[0] - middle[0], here[1] - middle[1]
        far, radius = max(math.hypot(way_x, way_y), 1e-6), max(math.hypot(out_x, out_y), 1e-6)
        share = min(max(-(out_x * way_x + out_y * way_y) / far**2, 0.0), 1.0)
        passes = math.hypot(out_x + share * way_x, out_y + share * way_y)
        target = math.atan2(begin[1] - middle[1], begin[0] - middle[0])
        turn = math.remainder(target - math.atan2(out_y, out_x), 2 * math.pi)
        if passes > self._reach or abs(turn) < self.STRAIGHT:
            return way_x / far, way_y / far
        side, inward = math.copysign(1.0, turn), min(max((radius - self._reach) / 0.05, -1.0), 1.0)
        move_x, move_y = -side * out_y - inward * out_x, side * out_x - inward * out_y
        norm = math.hypot(move_x, move_y)
        return move_x / norm, move_y / norm


def _within_bounds(x: float, y: float) -> Action:
    return np.array([min(max(x, -1.0), 1.0), min(max(y, -1.0), 1.0)], np.float32)


def _top_speed(world: World) -> float:
    """Return the velocity that an action of 1 asks for, m/s."""
    return float(-world.model.actuator_gainprm[0, 0] / world.model.actuator_biasprm[0, 2])
