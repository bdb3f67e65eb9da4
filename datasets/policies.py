"""Policies that collect data, and the floors that control is measured against: none of them needs a label."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from worldmodel.datasets import custom_policies
from worldmodel.envs.exploration import Policy, SmoothNoise
from worldmodel.envs.world import Action, World
from worldmodel.errors import unknown_name


class Uniform:
    """Independent uniform actions: the usual random policy."""

    def __init__(self, low: Action, high: Action) -> None:
        self._low, self._high = low, high

    def reset(self, rng: np.random.Generator, episode: int) -> None:
        self._rng = rng

    def __call__(self, world: World) -> Action:
        return self._rng.uniform(self._low, self._high).astype(np.float32)


class Zero:
    """The action nearest to zero, always: what happens when nobody acts."""

    def __init__(self, low: Action, high: Action) -> None:
        self._action = np.clip(np.zeros_like(low), low, high)

    def reset(self, rng: np.random.Generator, episode: int) -> None:
        pass

    def __call__(self, world: World) -> Action:
        return self._action.copy()


POLICIES: Mapping[str, Callable[[World], Policy]] = {
    "explore": lambda world: world.explorer(),
    "smooth-noise": lambda world: SmoothNoise(world.low, world.high, world.control_seconds),
    "uniform": lambda world: Uniform(world.low, world.high),
    "zero": lambda world: Zero(world.low, world.high),
}


def make_policy(name: str, world: World) -> Policy:
    """Make a policy for `world`.

    Args:
        name: one of `POLICIES`, or one with a colon: see `custom_policies`.

    Raises:
        WorldModelError: no policy has that name (lists those there are), or it cannot be made.
    """
    if name in POLICIES:
        return POLICIES[name](world)
    kind, colon, rest = name.partition(":")
    if not colon:
        raise unknown_name("policy", name, [*POLICIES, *custom_policies.FORMS])
    return custom_policies.make(kind, rest, world)
