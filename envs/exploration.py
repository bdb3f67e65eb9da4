"""Acting without a goal: what explores a world, so that a recording holds what there is to learn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from worldmodel.envs.world import Action, World


class Policy(Protocol):
    """Chooses the actions of an episode."""

    def reset(self, rng: np.random.Generator, episode: int) -> None:
        """Begin episode number `episode`; every draw until the next reset comes from `rng`."""

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
    BLOCK = 64  # actions drawn at once: one by one they would take longer than the physics

    def __init__(self, low: Action, high: Action, control_seconds: float, memory_seconds: float = 0.25) -> None:
        self._low, self._high = low, high
        self._middle, self._half = (low + high) / 2, (high - low) / 2
        self._keep = float(np.exp(-control_seconds / memory_seconds))

    def reset(self, rng: np.random.Generator, episode: int) -> None:
        self._rng = rng
        self._strength = rng.uniform(*self.STRENGTH)
        self._noise = rng.standard_normal(self._low.shape)
        self._ready: Iterator[Action] = iter(())

    def __call__(self, world: World) -> Action:
        action = next(self._ready, None)
        if action is None:
            self._ready = iter(self._block())
            action = next(self._ready)
        return action

    def _block(self) -> Action:
        """Return the next actions, `[BLOCK, A]`."""
        noise = self._rng.standard_normal((self.BLOCK, *self._low.shape)) * np.sqrt(1 - self._keep**2)
        for row in noise:
            row += self._keep * self._noise
            self._noise = row
        actions = self._middle + self._half * self._strength * noise
        clipped: Action = np.clip(actions, self._low, self._high).astype(np.float32)
        return clipped


class Pausing:
    """Let a robot that explores rest now and then.

    Who always moves while recording has not seen what it is like to stay: a model of such a recording forecasts drift
    where nothing moves, and a planner that has arrived leaves its goal again.

    Args:
        policy: explores; its actuators rest at 0.
        keeps: actuators that go on with their last action, such as a grip.
    """

    RATE = 0.01  # share of steps at which a pause begins
    STEPS = (5, 25)  # of a pause

    def __init__(self, policy: Policy, keeps: Sequence[int] = ()) -> None:
        self._policy, self._keeps = policy, list(keeps)

    def reset(self, rng: np.random.Generator, episode: int) -> None:
        self._policy.reset(rng, episode)
        self._rng, self._left = rng, 0
        self._last: Action | None = None

    def __call__(self, world: World) -> Action:
        if not self._left and self._last is not None and self._rng.random() < self.RATE:
            self._left = int(self._rng.integers(*self.STEPS))
            last, self._last = self._last, np.zeros_like(self._last)
            self._last[self._keeps] = last[self._keeps]
        if self._left:
            self._left -= 1
            assert self._last is not None
            return self._last.copy()
        self._last = self._policy(world)
        return self._last


def coloured_noise(rng: np.random.Generator, size: int, keep: float) -> Iterator[list[float]]:
    """Yield `size` numbers at a time, of standard deviation 1, that share `keep` with those before them."""
    before = rng.standard_normal(size)
    while True:
        block = rng.standard_normal((SmoothNoise.BLOCK, size)) * np.sqrt(1 - keep**2)
        for row in block:
            row += keep * before
            before = row
        yield from block.tolist()
