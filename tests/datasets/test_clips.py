"""Clips: consecutive frames of one episode with the actions between them, every one of them, and no others."""

from __future__ import annotations

import multiprocessing
import pickle
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worldmodel.datasets.clips import ClipBatch, Clips
from worldmodel.datasets.manifest import Camera, Provenance
from worldmodel.datasets.reader import Recording
from worldmodel.datasets.schema import ACTION_COLUMNS, FRAME_COLUMNS, Episode
from worldmodel.datasets.store import RecordingStore
from worldmodel.errors import RecordingError, WorldModelError

MakeEpisode = Callable[[int], Episode]
EPISODES = np.arange(7)
WHOLE = [5, 6, 2, 5, 1, 4, 3]  # frames of each episode by hand that are a whole block apart


@pytest.fixture
def recording(by_hand: Path) -> Iterator[Recording]:
    with Recording.open(by_hand) as recording:
        yield recording


@pytest.fixture(params=["in memory", "actions in memory", "from the disk"])
def cached(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Try each test with the caches and without."""
    if request.param != "in memory":
        monkeypatch.setattr("worldmodel.datasets.clips.CACHE_SHARE", 0.0)
    if request.param == "from the disk":
        monkeypatch.setattr("worldmodel.datasets.clips.ACTION_SHARE", 0.0)


def place(batch: ClipBatch, clip: int) -> tuple[int, int]:
    """Return the episode of a clip and its first frame, which the frames by hand tell of themselves."""
    episode, frame = batch.frames[clip, 0, 0, 0, :2]
    return int(episode), int(frame)


@pytest.mark.usefixtures("cached")
@pytest.mark.parametrize("length", [2, 3, 5, 6])
def test_a_clip_is_a_piece_of_its_episode(length: int, recording: Recording, make_episode: MakeEpisode) -> None:
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


@pytest.mark.usefixtures("cached")
@pytest.mark.parametrize(("length", "stride"), [(2, 1), (2, 2), (2, 5), (3, 2)])
def test_a_stride_leaves_out_frames_and_no_action(
    length: int, stride: int, recording: Recording, make_episode: MakeEpisode
) -> None:
    clips = Clips(recording, EPISODES, length=length, stride=stride)
    batch = clips.take(np.arange(len(clips)))
    assert batch.frames.shape == (len(clips), length, 8, 8, 3)
    assert batch.actions.shape == (len(clips), length - 1, 3 * stride, 2)
    held = Counter(place(batch, clip) for clip in range(len(clips)))
    span = (length - 1) * stride
    assert held == Counter((index, first) for index in range(7) for first in range(WHOLE[index] - span))
    for clip in range(len(clips)):
        index, first = place(batch, clip)
        episode = make_episode(index)
        assert np.array_equal(batch.frames[clip], episode.frames[first : first + span + 1 : stride])
        for block in range(length - 1):
            steps = episode.frame_step[[first + block * stride, first + (block + 1) * stride]]
            assert np.array_equal(batch.actions[clip, block], episode.actions[slice(*steps)])


@pytest.mark.usefixtures("cached")
def test_in_memory_or_not_the_clips_are_the_same(recording: Recording) -> None:
    one, other = (Clips(recording, np.array([6, 0, 3]), length=3, in_memory=kept) for kept in (True, False))
    for held, expected in zip(islice(one.batches(16, seed=1), 5), islice(other.batches(16, seed=1), 5), strict=True):
        assert np.array_equal(held.frames, expected.frames)
        assert np.array_equal(held.actions, expected.actions)


@pytest.mark.parametrize("stride", [1, 2])
def test_whoever_holds_the_columns_can_cut_the_clips(recording: Recording, stride: int) -> None:
    clips = Clips(recording, np.array([6, 0, 3]), length=3, stride=stride, in_memory=True)
    columns, chosen = clips.columns, clips.draw(4, 16, seed=1)
    assert columns is not None
    frames, actions = clips.rows(chosen)
    expected = clips.take(chosen)
    assert np.array_equal(columns.frames[frames], expected.frames)
    assert np.array_equal(columns.actions[actions], expected.actions)
    assert np.array_equal(columns.felt[frames], expected.felt)
    assert Clips(recording, np.array([6]), length=3, in_memory=False).columns is None


@pytest.mark.usefixtures("cached")
def test_clips_show_the_views_of_the_cameras_that_were_asked_for_side_by_side(
    tmp_path: Path, provenance: Provenance, make_episode: MakeEpisode
) -> None:
    both = replace(provenance, cameras=(Camera("top"), Camera("")))
    with RecordingStore(tmp_path / "both", both, resume=False) as store:
        for index in range(2):
            episode = make_episode(index)
            pictures = {**episode.pictures, "frames/free": 255 - episode.frames}
            store.add(replace(episode, pictures=pictures))
        store.finish(1.0)
    with Recording.open(tmp_path / "both") as recording:

        def frames(*cameras: str) -> np.ndarray:
            clips = Clips(recording.seen_by(cameras), np.arange(2), length=3, stride=2)
            return clips.take(np.arange(len(clips))).frames

        main = frames()
        assert np.array_equal(main, frames("top"))
        assert np.array_equal(main, 255 - frames(""))
        assert np.array_equal(np.concatenate([255 - main, main], axis=3), frames("", "top"))


@pytest.mark.usefixtures("cached")
def test_video_without_actions_has_clips_too(tmp_path: Path, provenance: Provenance, make_episode: MakeEpisode) -> None:
    video = replace(provenance, low=(), high=(), steps_per_frame=1, simulation=None, policy="")
    episode = make_episode(0)
    with RecordingStore(tmp_path / "video", video, resume=False) as store:
        with store.episode(0, seed=0) as writer:
            still = {"frame_step": np.arange(5), "actions": np.zeros((4, 0), np.float32), "reward": np.zeros(4)}
            writer.add(replace(episode, **still))
            writer.finish(episode.ending)
        store.finish(1.0)
    with Recording.open(tmp_path / "video") as recording:
        clips = Clips(recording, np.arange(1), length=3)
        batch = clips.take(np.arange(3))
        assert batch.actions.shape == (3, 2, 1, 0)
        assert np.array_equal(batch.frames[2], episode.frames[2:])
        if clips.columns is not None:
            _, actions = clips.rows(np.arange(3))
            assert clips.columns.actions[actions].shape == (3, 2, 1, 0)


@pytest.mark.usefixtures("cached")
def test_a_last_episode_of_one_frame_gives_no_clip(
    tmp_path: Path, provenance: Provenance, make_episode: MakeEpisode
) -> None:
    first, last = make_episode(0), make_episode(1)
    last = replace(
        last,
        pictures={name: rows[:1] for name, rows in last.pictures.items()},
        **{name: getattr(last, name)[:1] for name in FRAME_COLUMNS},
        **{name: getattr(last, name)[:0] for name in ACTION_COLUMNS},
    )
    with RecordingStore(tmp_path / "out", provenance, resume=False) as store:
        for episode in (first, last):
            store.add(episode)
        store.finish(1.0)
    with Recording.open(tmp_path / "out") as recording:
        clips = Clips(recording, np.arange(2), length=3)
        assert len(clips) == 3
        batch = clips.take(np.arange(3))
        for start in range(3):
            assert np.array_equal(batch.frames[start], first.frames[start : start + 3])
            assert np.array_equal(batch.actions[start].reshape(-1, 2), first.actions[3 * start : 3 * start + 6])
        with pytest.raises(RecordingError, match="the longest has 1"):
            Clips(recording, np.array([1]), length=2)


def _take_in_child(clips: Clips, answer: Any) -> None:
    answer.send([clips.take(np.arange(len(clips))) for _ in range(10)])


@pytest.mark.usefixtures("cached")
@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # newer Pythons warn of forks beside threads
def test_clips_are_taken_in_other_processes_at_once(method: str, recording: Recording) -> None:
    context: Any = multiprocessing.get_context(method)
    clips = Clips(recording, EPISODES, length=3)
    expected = clips.take(np.arange(len(clips)))  # files are open when the children begin
    pipes = []
    for _ in range(2):
        ours, theirs = context.Pipe()
        context.Process(target=_take_in_child, args=(clips, theirs), daemon=True).start()
        theirs.close()
        pipes.append(ours)
    for pipe in pipes:
        for _ in range(10):
            assert np.array_equal(clips.take(np.arange(len(clips))).frames, expected.frames)
        assert pipe.poll(60)
        for batch in pipe.recv():
            assert np.array_equal(batch.frames, expected.frames)
            assert np.array_equal(batch.actions, expected.actions)


def test_clips_travel_by_pickle(recording: Recording) -> None:
    for in_memory in (True, False):
        clips = Clips(recording, EPISODES, length=3, in_memory=in_memory)
        copy = pickle.loads(pickle.dumps(clips))
        every = np.arange(len(clips))
        assert np.array_equal(copy.take(every).frames, clips.take(every).frames)
        assert np.array_equal(copy.take(every).actions, clips.take(every).actions)


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


@pytest.mark.usefixtures("cached")
def test_clips_of_another_length_share_what_is_in_memory(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    clips, apart = (Clips(recording, EPISODES, length=length) for length in (3, 5))
    monkeypatch.setattr(Recording, "read_frames", lambda *_: pytest.fail("frames are read once more"))
    other = clips.of_length(5)
    assert (len(other), clips.length) == (len(apart), 3)
    every = np.arange(len(apart))
    for name in ("frames", "actions", "felt"):
        assert np.array_equal(getattr(other.take(every), name), getattr(apart.take(every), name))
    with pytest.raises(RecordingError, match="clips of 7 frames"):
        clips.of_length(7)


def test_clips_longer_than_any_episode_are_refused(recording: Recording) -> None:
    with pytest.raises(RecordingError, match="7 frames, 1 apart; the longest has 6"):
        Clips(recording, EPISODES, length=7)
    with pytest.raises(RecordingError, match="longest has 0"):
        Clips(recording, EPISODES[:0], length=2)


@pytest.mark.parametrize(("length", "stride"), [(1, 1), (0, 1), (2, 0), (2, -1)])
def test_an_impossible_clip_is_refused(length: int, stride: int, recording: Recording) -> None:
    with pytest.raises(WorldModelError, match="at least 2 and 1"):
        Clips(recording, EPISODES, length=length, stride=stride)


def test_a_stride_beyond_any_episode_is_refused(recording: Recording) -> None:
    with pytest.raises(RecordingError, match="2 frames, 6 apart; the longest has 6"):
        Clips(recording, EPISODES, length=2, stride=6)


def test_a_damaged_shard_is_told_while_batches_are_drawn(by_hand: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worldmodel.datasets.clips.CACHE_SHARE", 0.0)
    with Recording.open(by_hand) as recording:
        clips = Clips(recording, EPISODES, length=3)
        recording.close()
        for path in by_hand.glob("shard-*.h5"):
            path.write_bytes(path.read_bytes()[:2000])
        with pytest.raises(RecordingError, match="shard-0000"):
            next(clips.batches(32, seed=0))
