"""Clips: consecutive frames of one episode with the actions between them, every one of them, and no others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from worldmodel.datasets.clips import ClipBatch, Clips
from worldmodel.datasets.reader import Recording
from worldmodel.datasets.schema import Episode
from worldmodel.errors import RecordingError, WorldModelError

EPISODES = np.arange(7)
WHOLE = [5, 6, 2, 5, 1, 4, 3]  # frames of each episode by hand that are a whole block apart


@pytest.fixture
def recording(by_hand: Path) -> Iterator[Recording]:
    with Recording.open(by_hand) as recording:
        yield recording


@pytest.fixture(params=["cached", "from the disk"])
def cached(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Try each test with the cache and without."""
    if request.param == "from the disk":
        monkeypatch.setattr("worldmodel.datasets.clips.CACHE_SHARE", 0.0)


def place(batch: ClipBatch, clip: int) -> tuple[int, int]:
    """Return the episode of a clip and its first frame, which the frames by hand tell of themselves."""
    episode, frame = batch.frames[clip, 0, 0, 0, :2]
    return int(episode), int(frame)


@pytest.mark.usefixtures("cached")
@pytest.mark.parametrize("length", [2, 3, 5, 6])
def test_a_clip_is_a_piece_of_its_episode(
    length: int, recording: Recording, make_episode: Callable[[int], Episode]
) -> None:
    clips = Clips(recording, EPISODES, length=length)
    batch = clips.take(np.random.default_rng(0).integers(len(clips), size=200))
    assert batch.frames.shape == (200, length, 8, 8, 3)
    assert batch.actions.shape == (200, length - 1, 3, 2)
    assert batch.frames.dtype == np.uint8
    assert batch.actions.dtype == np.float32
    for clip in range(200):
        index, first = place(batch, clip)
        episode = make_episode(index)
        assert np.array_equal(batch.frames[clip], episode.frames[first : first + length])
        steps = episode.frame_step[first], episode.frame_step[first + length - 1]
        assert np.array_equal(batch.actions[clip].reshape(-1, 2), episode.actions[slice(*steps)])


@pytest.mark.usefixtures("cached")
@pytest.mark.parametrize("episodes", [EPISODES, np.array([5, 1]), np.array([4, 2, 6])])
def test_there_is_every_clip_once_and_none_across_an_end(episodes: np.ndarray, recording: Recording) -> None:
    clips = Clips(recording, episodes, length=3)
    batch = clips.take(np.arange(len(clips)))
    held = Counter(place(batch, clip) for clip in range(len(clips)))
    assert held == Counter((int(index), first) for index in episodes for first in range(WHOLE[index] - 2))


def test_cached_and_uncached_agree(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    cached = Clips(recording, np.array([6, 0, 3]), length=3)
    monkeypatch.setattr("worldmodel.datasets.clips.CACHE_SHARE", 0.0)
    uncached = Clips(recording, np.array([6, 0, 3]), length=3)
    for one, other in zip(islice(cached.batches(16, seed=1), 5), islice(uncached.batches(16, seed=1), 5), strict=True):
        assert np.array_equal(one.frames, other.frames)
        assert np.array_equal(one.actions, other.actions)


def test_batches_repeat_by_their_seed_and_go_on_from_any(recording: Recording) -> None:
    clips = Clips(recording, EPISODES, length=3)
    whole = [batch.frames for batch in islice(clips.batches(8, seed=1), 6)]
    later = [batch.frames for batch in islice(clips.batches(8, seed=1, first=3), 3)]
    other = [batch.frames for batch in islice(clips.batches(8, seed=2), 6)]
    assert all(map(np.array_equal, whole[3:], later))
    assert not any(map(np.array_equal, whole, other))
    assert not np.array_equal(whole[0], whole[1])


def test_batches_are_the_caller_s_own(recording: Recording) -> None:
    clips = Clips(recording, EPISODES, length=3)
    first = clips.take(np.arange(4))
    first.frames[:] = 0
    first.actions[:] = 0
    assert clips.take(np.arange(4)).frames.any()
    assert clips.take(np.arange(4)).actions.any()


def test_no_clip_is_a_batch_too(recording: Recording) -> None:
    batch = Clips(recording, EPISODES, length=3).take(np.zeros(0, np.int64))
    assert batch.frames.shape == (0, 3, 8, 8, 3)
    assert batch.actions.shape == (0, 2, 3, 2)


@pytest.mark.parametrize("clip", [-1, 13])
def test_a_clip_that_is_not_there_is_refused(clip: int, recording: Recording) -> None:
    clips = Clips(recording, EPISODES, length=3)
    assert len(clips) == 13
    with pytest.raises(WorldModelError, match="0 to 12"):
        clips.take(np.array([0, clip]))


def test_clips_longer_than_any_episode_are_refused(recording: Recording) -> None:
    with pytest.raises(RecordingError, match="7 frames; the longest has 6"):
        Clips(recording, EPISODES, length=7)
    with pytest.raises(RecordingError, match="longest has 0"):
        Clips(recording, EPISODES[:0], length=2)


def test_a_clip_of_one_frame_is_refused(recording: Recording) -> None:
    with pytest.raises(WorldModelError, match="at least 2"):
        Clips(recording, EPISODES, length=1)


def test_a_damaged_shard_is_told_while_batches_are_drawn(by_hand: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worldmodel.datasets.clips.CACHE_SHARE", 0.0)
    with Recording.open(by_hand) as recording:
        clips = Clips(recording, EPISODES, length=3)
        recording.close()
        for path in by_hand.glob("shard-*.h5"):
            path.write_bytes(path.read_bytes()[:2000])
        with pytest.raises(RecordingError, match="shard-0000"):
            next(clips.batches(32, seed=0))
