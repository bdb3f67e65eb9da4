"""Reading: every episode as it was, in any process, and nothing that does not fit the manifest."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from worldmodel.datasets.manifest import MANIFEST, Camera, Manifest, Provenance
from worldmodel.datasets.reader import Recording
from worldmodel.datasets.schema import ACTION_COLUMNS, FRAME_COLUMNS, Episode, whole_episode
from worldmodel.datasets.store import RecordingStore
from worldmodel.errors import RecordingError, WorldModelError

MakeEpisode = Callable[[int], Episode]
EPISODES = 7


def read_everything(recording: Recording) -> np.ndarray:
    """Return all frames in one array, read episode by episode."""
    frames = np.empty((recording.frames, recording.provenance.height, recording.provenance.width, 3), np.uint8)
    for start, stop in zip(recording.frame_start[:-1], recording.frame_start[1:], strict=True):
        recording.read_frames(int(start), frames[start:stop])
    return frames


def assert_same(held: Episode, expected: Episode) -> None:
    for (name, rows), (other, expected_rows) in zip(held.columns(), expected.columns(), strict=True):
        assert name == other
        assert np.array_equal(rows, expected_rows), name


def test_episodes_are_read_back_across_shards(by_hand: Path, make_episode: MakeEpisode) -> None:
    with Recording.open(by_hand) as recording:
        assert len(recording.manifest.shards) > 1
        assert recording.episodes == EPISODES
        for index in range(EPISODES):
            held, expected = recording.episode(index), make_episode(index)
            assert held.index == index
            assert held.ending is expected.ending
            assert_same(held, expected)


def test_rows_are_those_of_the_episodes(by_hand: Path, make_episode: MakeEpisode) -> None:
    with Recording.open(by_hand) as recording:
        frames = read_everything(recording)
        for index in range(EPISODES):
            expected = make_episode(index)
            assert np.array_equal(frames[slice(*recording.frame_start[index : index + 2])], expected.frames)
            start, stop = recording.action_start[index : index + 2]
            assert np.array_equal(recording.read_actions(int(start), int(stop)), expected.actions)


def test_whole_frames_leave_out_one_that_ends_a_broken_block(by_hand: Path) -> None:
    with Recording.open(by_hand) as recording:
        assert recording.whole_frames.tolist() == [5, 6, 2, 5, 1, 4, 3]
        assert np.diff(recording.frame_start).tolist() == [5, 6, 3, 5, 2, 4, 4]


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 6, 64])
def test_an_episode_may_be_read_piece_by_piece(frames: int, by_hand: Path) -> None:
    with Recording.open(by_hand) as recording:
        for index in range(EPISODES):
            stream = recording.stream(index)
            whole = whole_episode(stream.index, stream.seed, stream.ending, stream.segments(frames))
            assert_same(whole, recording.episode(index))


def test_its_index_takes_arrays_and_not_an_object_for_each_episode(by_hand: Path) -> None:
    with Recording.open(by_hand) as recording:
        for name, rows in (("frame_start", EPISODES + 1), ("action_start", EPISODES + 1), ("whole_frames", EPISODES)):
            column = getattr(recording, name)
            assert isinstance(column, np.ndarray)
            assert (column.dtype, column.shape) == (np.int64, (rows,))


@pytest.mark.parametrize("shards", ["one", "several"])
def test_a_last_episode_of_one_frame_has_no_actions(
    shards: str, tmp_path: Path, provenance: Provenance, make_episode: MakeEpisode, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shards == "several":
        monkeypatch.setattr("worldmodel.datasets.store.SHARD_BYTES", 1)
    last = make_episode(1)
    last = replace(
        last,
        pictures={name: rows[:1] for name, rows in last.pictures.items()},
        **{name: getattr(last, name)[:1] for name in FRAME_COLUMNS},
        **{name: getattr(last, name)[:0] for name in ACTION_COLUMNS},
    )
    with RecordingStore(tmp_path / "out", provenance, resume=False) as store:
        for episode in (make_episode(0), last):
            store.add(episode)
        store.finish(1.0)
    with Recording.open(tmp_path / "out") as recording:
        assert len(recording.manifest.shards) == (1 if shards == "one" else 2)
        start, stop = recording.action_start[1:].tolist()
        assert recording.read_actions(start, stop).shape == (0, 2)
        assert recording.read_rewards(start, stop).shape == (0,)
        assert recording.rewards_in(np.arange(2)).shape == (6,)
        out = np.empty((2, 1, 8, 8, 3), np.uint8)
        recording.read_clips(np.array([5, 0]), out)
        assert np.array_equal(out, [last.frames, make_episode(0).frames[:1]])
        assert_same(recording.episode(1), last)


def test_frames_with_a_stride_are_those_of_the_episode(by_hand: Path, make_episode: MakeEpisode) -> None:
    with Recording.open(by_hand) as recording:
        for stride, count in ((1, 6), (2, 3), (5, 2), (9, 1)):
            out = np.empty((count, 8, 8, 3), np.uint8)
            recording.read_frames(int(recording.frame_start[1]), out, stride=stride)
            assert np.array_equal(out, make_episode(1).frames[::stride])


def test_every_camera_can_be_read(tmp_path: Path, provenance: Provenance, make_episode: MakeEpisode) -> None:
    both = replace(provenance, cameras=(Camera("top"), Camera("robot/wrist")))
    episode = make_episode(0)
    wrist = 255 - episode.frames
    with RecordingStore(tmp_path / "both", both, resume=False) as store:
        store.add(replace(episode, pictures={**episode.pictures, "frames/robot:wrist": wrist}))
        store.finish(1.0)
    with Recording.open(tmp_path / "both") as recording:
        for cameras, expected in (
            ((), episode.frames),
            (("top",), episode.frames),
            (("robot/wrist",), wrist),
            (("robot/wrist", "top"), np.concatenate([wrist, episode.frames], axis=2)),
        ):
            seen = recording.seen_by(cameras)
            out = np.empty((5, *seen.frame_shape), np.uint8)
            seen.read_frames(0, out)
            assert np.array_equal(out, expected)
            assert np.array_equal(seen.episode(0).frames, expected)
        assert recording.cameras == ("top",)
        with pytest.raises(WorldModelError, match=r"Unknown camera 'side'.*robot/wrist, top"):
            recording.seen_by(["top", "side"])
        with pytest.raises(WorldModelError, match="'top' is named twice"):
            recording.seen_by(["top", "top"])


def test_the_fingerprint_tells_recordings_apart(
    by_hand: Path, tmp_path: Path, provenance: Provenance, make_episode: MakeEpisode
) -> None:
    shutil.copytree(by_hand, tmp_path / "copy")
    with Recording.open(by_hand) as recording, Recording.open(tmp_path / "copy") as copy:
        assert recording.fingerprint == copy.fingerprint
    with RecordingStore(tmp_path / "copy", provenance, resume=True) as store:
        store.reopen()
        store.add(make_episode(EPISODES))
        store.finish(1.0)
    with Recording.open(by_hand) as recording, Recording.open(tmp_path / "copy") as more:
        assert more.episodes == EPISODES + 1
        assert recording.fingerprint != more.fingerprint


@pytest.mark.parametrize("index", [-1, EPISODES, 100])
def test_an_episode_that_is_not_there_is_refused(index: int, by_hand: Path) -> None:
    with Recording.open(by_hand) as recording, pytest.raises(RecordingError, match="0 to 6"):
        recording.episode(index)


def test_a_recording_travels_by_pickle(by_hand: Path) -> None:
    with Recording.open(by_hand) as recording:
        expected = read_everything(recording)
        with pickle.loads(pickle.dumps(recording)) as copy:
            assert np.array_equal(read_everything(copy), expected)


def _read_in_child(recording: Recording, answer: Any) -> None:
    answer.send([read_everything(recording) for _ in range(20)])


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # newer Pythons warn of forks beside threads
def test_a_recording_is_read_in_other_processes_at_once(method: str, by_hand: Path) -> None:
    context: Any = multiprocessing.get_context(method)
    with Recording.open(by_hand) as recording:
        expected = read_everything(recording)  # files are open when the children begin
        pipes, children = [], []
        for _ in range(2):
            ours, theirs = context.Pipe()
            child = context.Process(target=_read_in_child, args=(recording, theirs), daemon=True)
            child.start()
            theirs.close()
            pipes.append(ours)
            children.append(child)
        for _ in range(20):
            assert np.array_equal(read_everything(recording), expected)
        for pipe, child in zip(pipes, children, strict=True):
            assert pipe.poll(60)
            assert all(np.array_equal(frames, expected) for frames in pipe.recv())
            child.join()


def test_a_folder_without_a_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="No recording at"):
        Recording.open(tmp_path / "nowhere")


def test_a_recording_without_an_episode_is_refused(by_hand: Path) -> None:
    edit(by_hand, lambda raw: raw.update(shards=[]))
    with pytest.raises(RecordingError, match="no finished episode"):
        Recording.open(by_hand)


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest."""
    raw = json.loads((folder / MANIFEST).read_text())
    change(raw)
    (folder / MANIFEST).write_text(json.dumps(raw))


def swap_shards(folder: Path) -> None:
    first, second = folder / "shard-00000.h5", folder / "shard-00001.h5"
    kept = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(kept)
    edit(folder, lambda raw: raw["shards"].__setitem__(slice(0, 2), [
        raw["shards"][1] | {"file": "shard-00000.h5"}, raw["shards"][0] | {"file": "shard-00001.h5"}
    ]))  # fmt: skip


def reseed(folder: Path) -> None:
    with h5py.File(folder / "shard-00001.h5", "r+") as file:
        file["episode/seed"][0] = 8


DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing shard": lambda folder: (folder / "shard-00001.h5").unlink(),
    "empty shard": lambda folder: (folder / "shard-00001.h5").write_bytes(b""),
    "foreign shard": lambda folder: (folder / "shard-00001.h5").write_bytes(b"\x89PNG\r\n" * 100),
    "folder for a shard": lambda folder: [
        (folder / "shard-00001.h5").unlink(),
        (folder / "shard-00001.h5").mkdir(),
    ],
    "another shard in its place": lambda folder: shutil.copy(folder / "shard-00000.h5", folder / "shard-00001.h5"),
    "shards in another order": swap_shards,
    "another seed": reseed,
    "more episodes in the manifest": lambda folder: edit(folder, lambda raw: raw["shards"][0].update(episodes=5)),
    "fewer frames in the manifest": lambda folder: edit(folder, lambda raw: raw["shards"][0].update(frames=13)),
    "fewer actions in the manifest": lambda folder: edit(folder, lambda raw: raw["shards"][0].update(actions=1)),
    "a shard listed twice": lambda folder: edit(folder, lambda raw: raw["shards"].append(raw["shards"][-1])),
    "a shard not listed": lambda folder: edit(folder, lambda raw: raw["shards"].pop(0)),
    "another size": lambda folder: edit(folder, lambda raw: raw["provenance"].update(height=4)),
    "another camera": lambda folder: edit(folder, lambda raw: raw["provenance"]["cameras"][0].update(name="side")),
    "more channels": lambda folder: edit(folder, lambda raw: raw["provenance"].update(channels=["rgb", "depth"])),
    "more actuators": lambda folder: edit(folder, lambda raw: raw["provenance"].update(low=[0] * 3, high=[1] * 3)),
    "other blocks": lambda folder: edit(folder, lambda raw: raw["provenance"].update(steps_per_frame=1)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_does_not_fit_is_refused_on_opening(damage: str, by_hand: Path) -> None:
    DAMAGES[damage](by_hand)
    with pytest.raises(RecordingError, match=r"shard-0000"):
        Recording.open(by_hand)


def test_a_damaged_frame_is_refused_when_it_is_read(by_hand: Path) -> None:
    with h5py.File(by_hand / "shard-00001.h5") as file:
        chunk = file["frames/top"].id.get_chunk_info(1)
    with (by_hand / "shard-00001.h5").open("r+b") as raw:
        raw.seek(chunk.byte_offset + 40)
        raw.write(b"\x13\x37")
    with Recording.open(by_hand) as recording:
        assert recording.episode(0).index == 0
        with pytest.raises(RecordingError, match=r"shard-00001.h5' is damaged"):
            read_everything(recording)


def test_the_manifest_tells_the_hash_of_each_shard(
    by_hand: Path, shard_hashes: Callable[[Path], dict[str, str]]
) -> None:
    assert {entry.file: entry.sha256 for entry in Manifest.read(by_hand).shards} == shard_hashes(by_hand)
