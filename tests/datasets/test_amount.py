"""How many episodes make an amount: never one too few, never one too many."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from worldmodel.datasets.amount import Amount, Quota
from worldmodel.datasets.shard_writer import ShardSize
from worldmodel.errors import WorldModelError

NOTHING = ShardSize(0, 0, 0)
FULL = ShardSize(1, 10, 18)  # an episode of ten frames, two steps apart


def amount(**given: Any) -> Amount:
    asked = {"frames": None, "episodes": None, "hours": None} | given
    return Amount.of(**asked, control_seconds=0.02, episode_frames=10, steps_per_frame=2)


def frames_only(frames: int) -> ShardSize:
    return ShardSize(1, frames, 2 * (frames - 1))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"frames": 1}, 1),
        ({"frames": 10}, 1),
        ({"frames": 11}, 2),
        ({"frames": 100}, 10),
        ({"episodes": 1}, 1),
        ({"episodes": 7}, 7),
        ({"hours": 18 * 0.02 / 3600}, 1),
        ({"hours": 19 * 0.02 / 3600}, 2),
        ({"hours": 0.1}, 1000),  # 360 s of 0.36 s each
        ({"hours": 1e-9}, 1),
    ],
)
def test_full_episodes_that_make_an_amount(given: dict[str, Any], expected: int) -> None:
    assert Quota(amount(**given), sealed=NOTHING, waiting={}).episodes == expected


def test_hours_are_of_the_robot_s_time() -> None:
    assert amount(hours=1) == Amount("actions", 180_000, 18)
    assert amount(hours=0.7) == Amount("actions", 126_000, 18)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"frames": 5, "episodes": 5},
        {"episodes": 5, "hours": 1.0},
        {"frames": 0},
        {"frames": 0, "episodes": 5},
        {"episodes": -1},
        {"hours": 0.0},
        {"hours": -1.0},
        {"hours": math.nan},
        {"hours": math.inf},
    ],
)
def test_anything_but_one_amount_above_zero_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(WorldModelError, match="expected one of them, above zero"):
        amount(**given)


def test_an_episode_that_ends_early_asks_for_more() -> None:
    quota = Quota(amount(frames=30), sealed=NOTHING, waiting={})
    assert quota.episodes == 3
    quota.finished(1, frames_only(4))
    assert quota.episodes == 4
    quota.finished(0, FULL)
    quota.finished(2, FULL)
    assert quota.episodes == 4
    quota.finished(3, frames_only(5))
    assert quota.episodes == 5
    quota.finished(4, frames_only(2))
    assert quota.episodes == 5  # 10 + 4 + 10 + 5 + 2 = 31


def test_what_is_there_already_counts() -> None:
    sealed, waiting = ShardSize(2, 14, 24), {2: frames_only(6), 3: FULL, 5: frames_only(3)}
    assert Quota(amount(frames=14), sealed=sealed, waiting=waiting).episodes == 2
    assert Quota(amount(frames=20), sealed=sealed, waiting=waiting).episodes == 3
    assert Quota(amount(frames=30), sealed=sealed, waiting=waiting).episodes == 4
    assert Quota(amount(frames=40), sealed=sealed, waiting=waiting).episodes == 5
    assert Quota(amount(frames=43), sealed=sealed, waiting=waiting).episodes == 6
    assert Quota(amount(frames=44), sealed=sealed, waiting=waiting).episodes == 7
    assert Quota(amount(frames=1), sealed=sealed, waiting=waiting).episodes == 2


def test_what_waits_beyond_the_amount_is_not_missing_less() -> None:
    quota = Quota(amount(episodes=11), sealed=ShardSize(10, 100, 180), waiting=dict.fromkeys((11, 12, 13), FULL))
    assert (quota.episodes, quota.missing) == (11, 1)
    quota.finished(10, FULL)
    assert (quota.episodes, quota.missing) == (11, 0)
    quota = Quota(amount(frames=30), sealed=ShardSize(1, 10, 18), waiting={3: FULL})
    assert (quota.episodes, quota.missing) == (3, 2)
    quota.finished(1, frames_only(4))  # the amount reaches to the one that waits
    assert (quota.episodes, quota.missing) == (4, 1)
    assert Quota(amount(frames=5), sealed=ShardSize(1, 10, 18), waiting={3: FULL}).missing == 0


def shortest(wanted: Amount, lengths: list[ShardSize]) -> int:
    """Return how many of the first episodes make the amount."""
    sums = np.cumsum([wanted.of_size(size) for size in lengths])
    return int(np.argmax(sums >= wanted.count)) + 1


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("unit", ["frames", "episodes", "hours"])
def test_exactly_the_shortest_prefix_is_played_whatever_finishes_first(unit: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 300))
    wanted = amount(**{unit: count * 0.02 / 3600 if unit == "hours" else count})
    early = rng.random()
    lengths = [
        ShardSize(1, -(-steps // 2) + 1, steps)
        for steps in (int(rng.integers(1, 18)) if rng.random() < early else 18 for _ in range(400))
    ]
    expected = shortest(wanted, lengths)

    # an earlier run sealed some of the first episodes and left some finished ones behind them
    sealed = int(rng.integers(0, expected + 1)) if rng.random() < 0.5 else 0
    left = {index for index in range(sealed, expected) if rng.random() < 0.3} if rng.random() < 0.5 else set()
    quota = Quota(
        wanted, sealed=sum(lengths[:sealed], NOTHING), waiting={index: lengths[index] for index in sorted(left)}
    )
    played = left | set(range(sealed))
    assert quota.missing == len(set(range(quota.episodes)) - played)
    playing: list[int] = []
    following = 0
    while True:
        while len(playing) < 4 and following < quota.episodes:  # four workers, handed episodes in rising order
            if following not in played:
                playing.append(following)
            following += 1
        if not playing:
            break
        index = playing.pop(int(rng.integers(len(playing))))
        played.add(index)
        quota.finished(index, lengths[index])
        assert quota.missing == len(set(range(quota.episodes)) - played)
    assert played == set(range(expected))
    assert quota.episodes == expected
