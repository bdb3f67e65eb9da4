"""Reading: every episode as it was, in any process, and nothing that does not fit the manifest."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from worldmodel.datasets.reader import Recording, split_episodes
from worldmodel.datasets.schema import MANIFEST, Episode, Manifest
from worldmodel.errors import RecordingError, WorldModelError

EPISODES = 7


def read_everything(recording: Recording) -> np.ndarray:
    """Return all frames in one array, read episode by episode."""
    frames = np.empty((recording.frames, recording.provenance.height, recording.provenance.width, 3), np.uint8)
    for start, stop in zip(recording.frame_start[:-1], recording.frame_start[1:], strict=True):
        recording.read_frames(int(start), int(stop), frames[start:stop])
    return frames


def test_episodes_are_read_back_across_shards(by_hand: Path, make_episode: Callable[[int], Episode]) -> None:
    with Recording.open(by_hand) as recording:
        assert len(recording.manifest.shards) == 3
        assert recording.episodes == EPISODES
        for index in range(EPISODES):
            held, expected = recording.episode(index), make_episode(index)
            assert held.index == index
            assert held.ending is expected.ending
            assert np.array_equal(held.frames, expected.frames)
            assert np.array_equal(held.actions, expected.actions)
            assert np.array_equal(held.qpos, expected.qpos)


def test_rows_are_those_of_the_episodes(by_hand: Path, make_episode: Callable[[int], Episode]) -> None:
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
    "more episodes in the manifest": lambda folder: edit(folder, lambda raw: raw["shards"][0].update(episodes=4)),
    "fewer frames in the manifest": lambda folder: edit(folder, lambda raw: raw["shards"][0].update(frames=13)),
    "fewer actions in the manifest": lambda folder: edit(folder, lambda raw: raw["shards"][0].update(actions=1)),
    "a shard listed twice": lambda folder: edit(folder, lambda raw: raw["shards"].append(raw["shards"][-1])),
    "a shard not listed": lambda folder: edit(folder, lambda raw: raw["shards"].pop(0)),
    "another size": lambda folder: edit(folder, lambda raw: raw["provenance"].update(height=4)),
    "another camera": lambda folder: edit(folder, lambda raw: raw["provenance"].update(camera="side")),
    "more actuators": lambda folder: edit(folder, lambda raw: raw["provenance"].update(low=[0] * 3)),
    "other blocks": lambda folder: edit(folder, lambda raw: raw["provenance"].update(steps_per_frame=1)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_does_not_fit_is_refused_on_opening(damage: str, by_hand: Path) -> None:
    DAMAGES[damage](by_hand)
    with pytest.raises(RecordingError, match=r"shard-0000|no column|missing"):
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
