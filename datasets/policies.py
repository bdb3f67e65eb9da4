"""Policies that collect data, and the floors that control is measured against: none of them needs a label."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from worldmodel.envs.world import Action, World
from worldmodel.errors import unknown_name


class Policy(Protocol):
    """Chooses the actions of an episode."""

    def reset(self, rng: np.random.Generator) -> None:
        """Begin an episode; every draw until the next reset comes from `rng`."""

    def __call__(self, world: World) -> Action:
        """Return the next action `[A]`, within the world's bounds."""


class SmoothNoise:
    """Coloured noise: an Ornstein-Uhlenbeck process, clipped to the bounds.

    White noise at 50 Hz averages out before a limb has moved; noise that keeps its direction for a
    while goes to places. Each episode draws its own strength, so that slow and fast motion are both seen.

    Args:
        low, high: actuator bounds `[A]`.
        control_seconds: time between two actions, s.
        memory_seconds: time in which the noise forgets, s.

    Source: Uhlenbeck and Ornstein, On the theory of Brownian motion, 1930; for exploration, Lillicrap et
    al., Continuous control with deep reinforcement learning, 2015, section 7.
    """

    STRENGTH = (0.0, 1.2)  # standard deviation, as a share of half the range

    def __init__(self, low: Action, high: Action, control_seconds: float, memory_seconds: float = 0.25) -> None:
        self._low, self._high = low, high
        self._middle, self._half = (low + high) / 2, (high - low) / 2
        self._keep = float(np.exp(-control_seconds / memory_seconds))

    def reset(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._strength = rng.uniform(*self.STRENGTH)
        self._noise = rng.standard_normal(self._low.shape)

    def __call__(self, world: World) -> Action:
        action = self._middle + self._half * self._strength * self._noise
        fresh = self._rng.standard_normal(self._low.shape)
        self._noise = self._keep * self._noise + np.sqrt(1 - self._keep**2) * fresh
        return np.clip(action, self._low, self._high).astype(np.float32)


class Uniform:
    """Independent uniform actions: the usual random policy."""

    def __init__(self, low: Action, high: Action) -> None:
        self._low, self._high = low, high

    def reset(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def __call__(self, world: World) -> Action:
        return self._rng.uniform(self._low, self._high).astype(np.float32)


class Zero:
    """The action nearest to zero, always: what happens when nobody acts."""

    def __init__(self, low: Action, high: Action) -> None:
        self._action = np.clip(np.zeros_like(low), low, high)

    def reset(self, rng: np.random.Generator) -> None:
        pass

    def __call__(self, world: World) -> Action:
        return self._action.copy()


POLICIES: dict[str, Callable[[World], Policy]] = {
    "smooth-noise": lambda world: SmoothNoise(world.low, world.high, world.control_seconds),
    "uniform": lambda world: Uniform(world.low, world.high),
    "zero": lambda world: Zero(world.low, world.high),
}


def make_policy(name: str, world: World) -> Policy:
    """Make a policy by its name for `world`.

    Raises:
        WorldModelError: no policy has that name; lists those there are.
    """
    if name not in POLICIES:
        raise unknown_name("policy", name, POLICIES)
    return POLICIES[name](world)
