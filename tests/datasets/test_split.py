"""Episodes to train on and episodes held out."""

from __future__ import annotations

import numpy as np
import pytest

from worldmodel.datasets.reader import split_episodes
from worldmodel.errors import RecordingError, WorldModelError


@pytest.mark.parametrize(("episodes", "share"), [(2, 0.1), (2, 0.9), (10, 0.2), (101, 0.1), (50, 0.99)])
def test_a_split_leaves_none_out_and_takes_none_twice(episodes: int, share: float) -> None:
    train, held_out = split_episodes(episodes, share, seed=1)
    assert sorted([*train, *held_out]) == list(range(episodes))
    assert len(train) >= 1
    assert len(held_out) >= 1
    assert abs(len(held_out) - share * episodes) <= 1
    assert (np.diff(train) > 0).all()


def test_a_split_repeats_by_its_seed() -> None:
    assert np.array_equal(split_episodes(100, 0.1, 1)[1], split_episodes(100, 0.1, 1)[1])
    assert not np.array_equal(split_episodes(100, 0.1, 1)[1], split_episodes(100, 0.1, 2)[1])


def test_a_split_that_cannot_be_is_refused() -> None:
    with pytest.raises(RecordingError, match="at least 2"):
        split_episodes(1, 0.5, 0)
    for share in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(WorldModelError, match="between 0 and 1"):
            split_episodes(10, share, 0)
