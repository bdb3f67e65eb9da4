"""Explorers that rest now and then."""

from __future__ import annotations

import numpy as np

from worldmodel.envs.exploration import Pausing
from worldmodel.envs.push_t import PushT
from worldmodel.envs.world import Action, World


class Counting:
    """Its actions count its calls."""

    def reset(self, rng: np.random.Generator, episode: int) -> None:
        self.calls = 0

    def __call__(self, world: World) -> Action:
        self.calls += 1
        return np.array([self.calls, -self.calls], np.float32)


def act(keeps: tuple[int, ...], steps: int = 4000, seed: int = 0) -> np.ndarray:
    explorer, world = Pausing(Counting(), keeps), PushT()
    explorer.reset(np.random.default_rng(seed), 0)
    return np.array([explorer(world) for _ in range(steps)])


def test_it_rests_for_a_while_and_then_goes_on_where_it_was() -> None:
    actions = act(())
    resting = (actions == 0).all(1)
    assert 0.05 < resting.mean() < 0.25
    assert not resting[0]
    np.testing.assert_array_equal(actions[~resting, 0], np.arange(1, (~resting).sum() + 1))
    ends = np.flatnonzero(np.diff(resting.astype(int)))
    lengths = np.diff(ends)[::2]
    assert lengths.min() >= Pausing.STEPS[0]


def test_what_is_kept_goes_on_with_its_last_action() -> None:
    actions = act((1,))
    resting = actions[:, 0] == 0
    assert resting.any()
    for row in np.flatnonzero(resting):
        assert actions[row, 1] == actions[row - 1, 1]


def test_the_generator_decides_when() -> None:
    np.testing.assert_array_equal(act(()), act(()))
    assert not np.array_equal(act(()), act((), seed=1))
