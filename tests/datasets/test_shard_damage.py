"""A shard that is damaged, foreign or changed is refused; wrong data is never taken for right."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import h5py
import numpy as np
import pytest

from worldmodel.datasets.chunks import read_clips
from worldmodel.datasets.schema import Episode
from worldmodel.datasets.shard import Shard
from worldmodel.datasets.shard_writer import ShardWriter
from worldmodel.errors import RecordingError

MakeEpisode = Callable[[int], Episode]
PICTURES = {"frames/top": (8, 8, 3)}


@pytest.fixture
def expected(make_episode: MakeEpisode) -> list[Episode]:
    return list(map(make_episode, range(3)))


@pytest.fixture
def path(tmp_path: Path, expected: list[Episode]) -> Path:
    """A shard of three episodes."""
    with ShardWriter(tmp_path / "shard.h5", "lz4") as writer:
        for episode in expected:
            writer.append(episode)
    return tmp_path / "shard.h5"


def same(one: Episode, other: Episode) -> bool:
    rows = dict(one.columns())
    about = [(each.index, each.seed, each.ending) for each in (one, other)]
    return about[0] == about[1] and all(np.array_equal(rows[name], held) for name, held in other.columns())


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="missing"):
        Shard(tmp_path / "shard.h5", PICTURES).read_episode(0)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x89HDF\r\n\x1a\n" + bytes(100)])
def test_another_kind_of_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "shard.h5").write_bytes(content)
    with pytest.raises(RecordingError, match="HDF5"):
        Shard(tmp_path / "shard.h5", PICTURES).read_episode(0)


def retype(file: h5py.File, name: str, dtype: str) -> None:
    values = file[name][:]
    del file[name]
    file[name] = values.astype(dtype)


def shorten(file: h5py.File, name: str) -> None:
    values = file[name][:-1]
    del file[name]
    file[name] = values


def assign(file: h5py.File, name: str, row: int, value: int) -> None:
    file[name][row] = value


DAMAGES: dict[str, Callable[[h5py.File], object]] = {
    "no format": lambda file: file.attrs.__delitem__("format"),
    "another version": lambda file: file.attrs.__setitem__("version", 1),
    "no qpos": lambda file: file.__delitem__("qpos"),
    "no extra": lambda file: file.__delitem__("extra"),
    "no frames": lambda file: file.__delitem__("frames/top"),
    "no episodes": lambda file: file.__delitem__("episode"),
    "no seeds": lambda file: file.__delitem__("episode/seed"),
    "another camera": lambda file: file.move("frames/top", "frames/side"),
    "one camera more": lambda file: file.copy("frames/top", "frames/side"),
    "something more": lambda file: file.__setitem__("notes", np.zeros(3)),
    "frames of another kind": lambda file: retype(file, "frames/top", "float32"),
    "actions of another kind": lambda file: retype(file, "actions", "float64"),
    "times of another kind": lambda file: retype(file, "time", "int32"),
    "numbers of another kind": lambda file: retype(file, "episode/index", "int8"),
    "fewer frames": lambda file: shorten(file, "frames/top"),
    "fewer velocities": lambda file: shorten(file, "qvel"),
    "fewer rewards": lambda file: shorten(file, "reward"),
    "fewer visuals": lambda file: shorten(file, "visual"),
    "fewer endings": lambda file: shorten(file, "episode/ending"),
    "fewer starts": lambda file: shorten(file, "episode/frame_start"),
    "first frame is not 0": lambda file: assign(file, "episode/frame_start", 0, 1),
    "starts beyond the rows": lambda file: assign(file, "episode/frame_start", 1, 99),
    "starts that fall": lambda file: assign(file, "episode/action_start", 2, 0),
    "an episode without frames": lambda file: assign(file, "episode/frame_start", 1, 0),
    "an unknown ending": lambda file: assign(file, "episode/ending", 0, 9),
    "steps beyond the episode": lambda file: assign(file, "frame_step", 4, 13),
    "steps before the episode": lambda file: assign(file, "frame_step", 4, -1),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_that_breaks_the_format_is_refused(damage: str, path: Path) -> None:
    with h5py.File(path, "r+") as file:
        DAMAGES[damage](file)
    with pytest.raises(RecordingError, match="shard"):
        Shard(path, PICTURES).read_episode(0)


def test_pictures_of_another_size_are_refused(path: Path) -> None:
    for other in ({"frames/top": (4, 8, 3)}, {"frames/side": (8, 8, 3)}, {**PICTURES, "depth/top": (8, 8)}, {}):
        with pytest.raises(RecordingError, match="shard"):
            Shard(path, other).read_episode(0)


def assert_refused_or_right(path: Path, expected: list[Episode]) -> bool:
    """Read the whole shard; return whether it was refused."""
    shard = Shard(path, PICTURES)
    try:
        for row, episode in enumerate(expected):
            assert same(shard.read_episode(row), episode)
    except RecordingError:
        return True
    finally:
        shard.close()
    return False


def test_a_truncated_file_is_refused(path: Path, expected: list[Episode]) -> None:
    whole = path.read_bytes()
    for length in np.linspace(0, len(whole) - 1, 60).astype(int):
        path.write_bytes(whole[:length])
        assert assert_refused_or_right(path, expected), f"cut to {length} of {len(whole)} bytes"


def test_a_flipped_bit_is_never_taken_for_right(path: Path, expected: list[Episode]) -> None:
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        broken = bytearray(whole)
        broken[rng.integers(len(whole))] ^= 1 << int(rng.integers(8))
        path.write_bytes(broken)
        refused += assert_refused_or_right(path, expected)
    assert refused > 100


@pytest.mark.parametrize(
    "column", ["frames/top", "frame_step", "time", "qpos", "qvel", "extra", "visual", "actions", "reward"]
)
def test_a_flipped_bit_in_a_column_fails_its_checksum(column: str, path: Path) -> None:
    with h5py.File(path) as file:
        chunk = file[column].id.get_chunk_info(0)
    with path.open("r+b") as raw:
        raw.seek(chunk.byte_offset + chunk.size // 2)
        byte = raw.read(1)[0]
        raw.seek(-1, os.SEEK_CUR)
        raw.write(bytes([byte ^ 4]))
    with pytest.raises(RecordingError, match="damaged"):
        Shard(path, PICTURES).read_episode(0)


def test_a_file_that_became_shorter_is_refused_and_no_crash(path: Path) -> None:
    with Shard(path, PICTURES) as shard:
        shard.read_episode(0)
        os.truncate(path, 0)
        with pytest.raises(RecordingError, match="damaged"):
            shard.read("frames/top", 0, 3)
        with pytest.raises(RecordingError, match="damaged"):
            shard.read_episode(1)


def test_threads_may_open_a_shard_at_once(path: Path, expected: list[Episode]) -> None:
    with Shard(path, PICTURES) as known:
        for _ in range(20):
            shard, together = pickle.loads(pickle.dumps(known)), Barrier(4)
            files = len(os.listdir("/proc/self/fd"))

            def right(row: int, shard: Shard = shard, together: Barrier = together) -> bool:
                together.wait(10)
                out = np.empty_like(expected[row].frames)
                start = sum(map(len, expected[:row]))
                read_clips([shard.place("frames/top", start)], out[None])
                return np.array_equal(out, expected[row].frames)

            with ThreadPoolExecutor(4) as pool:
                assert all(pool.map(right, [0, 1, 2, 0]))
            shard.close()
            assert len(os.listdir("/proc/self/fd")) == files
