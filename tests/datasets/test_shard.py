"""One HDF5 file: whole or not there, and never wrong data for right."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import h5py
import numpy as np
import pytest

from worldmodel.datasets.schema import Episode
from worldmodel.datasets.shard import Shard
from worldmodel.datasets.shard_writer import ShardSize, ShardWriter
from worldmodel.errors import RecordingError

MakeEpisode = Callable[[int], Episode]


def write(path: Path, *episodes: Episode) -> Path:
    with ShardWriter(path, ShardSize.of(*episodes), "top") as writer:
        for episode in episodes:
            writer.append(episode)
    return path


def same(one: Episode, other: Episode) -> bool:
    return all(np.array_equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(Episode))


@pytest.fixture
def path(tmp_path: Path, make_episode: MakeEpisode) -> Path:
    """A shard of three episodes."""
    return write(tmp_path / "shard.h5", *map(make_episode, range(3)))


def test_episodes_are_read_back_as_they_were_written(path: Path, make_episode: MakeEpisode) -> None:
    shard = Shard(path, "top")
    for row in range(3):
        held, expected = shard.read_episode(row), make_episode(row)
        assert same(held, expected)
        assert all(
            getattr(held, field.name).dtype == getattr(expected, field.name).dtype
            for field in fields(Episode)
            if isinstance(getattr(expected, field.name), np.ndarray)
        )


def test_the_same_episodes_make_the_same_bytes(path: Path, tmp_path: Path, make_episode: MakeEpisode) -> None:
    again = write(tmp_path / "again.h5", *map(make_episode, range(3)))
    assert path.read_bytes() == again.read_bytes()


def test_frames_are_compressed_checked_and_in_chunks_of_eight(tmp_path: Path, make_episode: MakeEpisode) -> None:
    path = write(tmp_path / "long.h5", *map(make_episode, range(7)))
    with h5py.File(path) as file:
        frames = file["frames/top"]
        assert frames.chunks == (8, *frames.shape[1:])
        assert frames.fletcher32
        assert "32004" in frames._filters  # LZ4


def test_a_writer_that_fails_leaves_nothing_behind(tmp_path: Path, make_episode: MakeEpisode) -> None:
    episode = make_episode(0)

    def fail() -> None:
        with ShardWriter(tmp_path / "shard.h5", ShardSize.of(episode), "top") as writer:
            writer.append(episode)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not list(tmp_path.iterdir())


def test_a_shard_that_is_not_whole_does_not_appear(tmp_path: Path, make_episode: MakeEpisode) -> None:
    size = ShardSize.of(make_episode(0), make_episode(1))
    with pytest.raises(RecordingError, match="announced"), ShardWriter(tmp_path / "shard.h5", size, "top") as writer:
        writer.append(make_episode(0))
    assert not list(tmp_path.iterdir())


FILL = """
import resource, sys
from pathlib import Path
import numpy as np
from worldmodel.datasets.schema import Ending, Episode
from worldmodel.datasets.shard_writer import ShardSize, ShardWriter

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), -1))
rng = np.random.default_rng(0)
noise = rng.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
rows, row = np.zeros((20, 2)), np.zeros(20)
episode = Episode(0, 0, Ending.LIMIT, noise, np.arange(20), rows, rows, rows, row, rows.astype("f4"), row)
try:
    with ShardWriter(Path(sys.argv[1]), ShardSize.of(episode), "top") as writer:
        writer.append(episode)
except OSError as error:
    print("OSError", error.filename)
print("still here")
"""


@pytest.mark.parametrize("limit", [0, 100, 5_000, 40_000, 62_000])
def test_a_disk_that_fills_is_an_error_and_no_crash(limit: int, tmp_path: Path) -> None:
    path = tmp_path / "shard.h5"
    done = subprocess.run(
        [sys.executable, "-c", FILL, str(path), str(limit)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"OSError {path}.partial\nstill here\n"
    assert done.stderr == ""
    assert not list(tmp_path.iterdir())


def test_ctrl_c_at_any_moment_leaves_a_whole_shard_or_none(tmp_path: Path, make_episode: MakeEpisode) -> None:
    path = tmp_path / "shard.h5"
    episodes = [make_episode(index) for index in range(3)]
    rng = random.Random(0)
    written = 0
    for _ in range(100):
        path.unlink(missing_ok=True)
        with pytest.raises(KeyboardInterrupt):
            write_and_be_interrupted(path, episodes, rng.uniform(0, 0.02))
        if path.exists():
            written += 1
            assert not assert_refused_or_right(path, episodes)
    assert 0 < written < 100


def write_and_be_interrupted(path: Path, episodes: list[Episode], seconds: float) -> None:
    threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT)).start()
    write(path, *episodes)
    time.sleep(10)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="missing"):
        Shard(tmp_path / "shard.h5", "top").read_episode(0)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x89HDF\r\n\x1a\n" + bytes(100)])
def test_another_kind_of_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "shard.h5").write_bytes(content)
    with pytest.raises(RecordingError, match="HDF5"):
        Shard(tmp_path / "shard.h5", "top").read_episode(0)


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


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.attrs.__delitem__("format"),
        lambda file: file.attrs.__setitem__("version", 2),
        lambda file: file.__delitem__("qpos"),
        lambda file: file.__delitem__("frames/top"),
        lambda file: file.__delitem__("episode"),
        lambda file: file.__delitem__("episode/seed"),
        lambda file: retype(file, "frames/top", "float32"),
        lambda file: retype(file, "actions", "float64"),
        lambda file: retype(file, "time", "int32"),
        lambda file: retype(file, "episode/index", "int8"),
        lambda file: shorten(file, "frames/top"),
        lambda file: shorten(file, "qvel"),
        lambda file: shorten(file, "reward"),
        lambda file: shorten(file, "episode/ending"),
        lambda file: shorten(file, "episode/frame_start"),
        lambda file: assign(file, "episode/frame_start", 0, 1),
        lambda file: assign(file, "episode/frame_start", 1, 99),
        lambda file: assign(file, "episode/action_start", 2, 0),
        lambda file: assign(file, "episode/ending", 0, 9),
    ],
)
def test_a_file_that_breaks_the_format_is_refused(damage: Callable[[h5py.File], object], path: Path) -> None:
    with h5py.File(path, "r+") as file:
        damage(file)
    with pytest.raises(RecordingError, match="shard"):
        Shard(path, "top").read_episode(0)


def assert_refused_or_right(path: Path, expected: list[Episode]) -> bool:
    """Read the whole shard; return whether it was refused."""
    shard = Shard(path, "top")
    try:
        for row, episode in enumerate(expected):
            assert same(shard.read_episode(row), episode)
    except RecordingError:
        return True
    finally:
        shard.close()
    return False


def test_a_truncated_file_is_refused(path: Path, make_episode: MakeEpisode) -> None:
    whole = path.read_bytes()
    expected = [make_episode(row) for row in range(3)]
    for length in np.linspace(0, len(whole) - 1, 40).astype(int):
        path.write_bytes(whole[:length])
        assert assert_refused_or_right(path, expected), f"cut to {length} of {len(whole)} bytes"


def test_a_flipped_bit_is_never_taken_for_right(path: Path, make_episode: MakeEpisode) -> None:
    whole = path.read_bytes()
    expected = [make_episode(row) for row in range(3)]
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        broken = bytearray(whole)
        broken[rng.integers(len(whole))] ^= 1 << int(rng.integers(8))
        path.write_bytes(broken)
        refused += assert_refused_or_right(path, expected)
    assert refused > 100


def test_a_flipped_bit_in_the_frames_fails_their_checksum(path: Path) -> None:
    with h5py.File(path) as file:
        chunk = file["frames/top"].id.get_chunk_info(0)
    with path.open("r+b") as raw:
        raw.seek(chunk.byte_offset + chunk.size // 2)
        byte = raw.read(1)[0]
        raw.seek(-1, os.SEEK_CUR)
        raw.write(bytes([byte ^ 4]))
    with pytest.raises(RecordingError, match="damaged"):
        Shard(path, "top").read_episode(0)
