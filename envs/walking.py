"""Walks from place to place: exploration of rooms and mazes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from worldmodel.envs.exploration import coloured_noise

if TYPE_CHECKING:
    from worldmodel.envs.world import Action, World

Place = tuple[float, float]  # x, y, m


class Walker:
    """Walk to random places by ways that lead there, with noise, at changing speed, and sometimes without aim.

    The first two coordinates of the world are where the walker is, its two actuators drive it along x and y.

    Args:
        route: takes a generator; draws a place and returns the places to pass from here to there, it included.

    Source: the waypoint controller of D4RL's mazes (Fu et al., 2020). Differs: noise, speeds and idle strolls.
    """

    NEAR = 0.03  # a place counts as reached within this, m
    PATIENCE = 60  # steps after which a place is given up
    STROLL = 0.15  # share of walks that have no aim
    STEPS = (5, 40)  # of a walk without aim
    SPEED = (0.3, 1.2)  # share of the bounds; more than 1 is as fast as can be
    NOISE = 0.7  # an episode's noise is up to this, share of the bounds
    KEEP = 0.85  # of the noise, from one step to the next

    def __init__(self, route: Callable[[np.random.Generator], list[Place]]) -> None:
        self._route = route

    def reset(self, rng: np.random.Generator, episode: int) -> None:
        self._rng = rng
        self._strength = rng.uniform(0, self.NOISE)
        self._noise = coloured_noise(rng, 2, self.KEEP)
        self._places: list[Place] = []
        self._left = 0

    def __call__(self, world: World) -> Action:
        x, y = world.data.qpos[:2].tolist()
        if self._left <= 0:
            self._choose()
        self._left -= 1
        across, along = next(self._noise)
        strength = self._strength if self._places else 1.0
        across, along = strength * across, strength * along
        if self._places:
            goal_x, goal_y = self._places[0]
            far = math.hypot(goal_x - x, goal_y - y)
            if far < self.NEAR:
                self._places.pop(0)
                self._left = self.PATIENCE if self._places else 0
            share = self._speed / max(far, self.NEAR)
            across, along = across + share * (goal_x - x), along + share * (goal_y - y)
        return np.array([min(max(across, -1), 1), min(max(along, -1), 1)], np.float32)

    def _choose(self) -> None:
        self._speed = self._rng.uniform(*self.SPEED)
        if self._rng.random() < self.STROLL:
            self._places, self._left = [], int(self._rng.integers(*self.STEPS))
        else:
            self._places, self._left = self._route(self._rng), self.PATIENCE
