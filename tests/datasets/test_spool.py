"""Finished episodes in files of their own: read back as they were written, whole or not at all."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from worldmodel.datasets.manifest import Compression
from worldmodel.datasets.schema import Ending, Episode, Segment, whole_episode
from worldmodel.datasets.shard_writer import ShardWriter
from worldmodel.datasets.spool import SIZES, SpooledEpisode, SpoolWriter
from worldmodel.errors import RecordingError

MakeEpisode = Callable[[int], Episode]


def segment(frames: int, steps: int, *, first: int = 0, size: int = 2, actuators: int = 2) -> Segment:
    """Return a segment of noise with every kind of picture; `act` and `visual` have no width."""
    rng = np.random.default_rng([frames, steps, first])
    return Segment(
        pictures={
            "frames/top": rng.integers(0, 256, (frames, size, size, 3), np.uint8),
            "frames/side": np.full((frames, size, size, 3), 7, np.uint8),
            "depth/top": rng.random((frames, size, size), np.float32),
            "segmentation/top": rng.integers(-1, 99, (frames, size, size, 2), np.int32),
        },
        frame_step=np.arange(first, first + frames),
        time=rng.random(frames),
        qpos=rng.normal(size=(frames, 3)),
        qvel=rng.normal(size=(frames, 2)),
        act=np.zeros((frames, 0)),
        extra=rng.normal(size=(frames, 1)),
        visual=np.zeros((frames, 0)),
        actions=rng.random((steps, actuators), np.float32),
        reward=rng.random(steps),
    )


def write(path: Path, *segments: Segment, seed: int = 2**63 + 5) -> int:
    with SpoolWriter(path, index=4, seed=seed) as writer:
        for each in segments:
            writer.add(each)
        return writer.finish(Ending.TERMINATED)


class Unpacked:
    """An episode of the spool, told without what it is packed as."""

    def __init__(self, path: Path) -> None:
        held = SpooledEpisode(path)
        self.index, self.seed, self.ending = held.index, held.seed, held.ending
        self.length, self.steps, self.segments = held.length, held.steps, held.segments


def assert_same(one: Segment, other: Segment) -> None:
    held, expected = dict(one.columns()), dict(other.columns())
    assert held.keys() == expected.keys()
    for name, rows in expected.items():
        assert held[name].dtype == rows.dtype, name
        assert held[name].shape == rows.shape, name
        assert np.array_equal(held[name], rows), name


@pytest.mark.parametrize(
    "segments",
    [
        [segment(1, 0)],
        [segment(5, 12)],
        [segment(5, 12, actuators=0)],
        [segment(3, 0, actuators=0), segment(1, 1, first=3, actuators=0)],
        [segment(4, 9), segment(1, 3, first=4), segment(7, 20, first=5)],
    ],
    ids=["one frame", "one segment", "no actuators", "video", "three segments"],
)
def test_an_episode_is_read_back_as_it_was_written(segments: list[Segment], tmp_path: Path) -> None:
    path = tmp_path / "episode.bin"
    size = write(path, *segments)
    assert size == path.stat().st_size
    episode = SpooledEpisode(path)
    episode.check()
    assert (episode.index, episode.seed, episode.ending) == (4, 2**63 + 5, Ending.TERMINATED)
    assert isinstance(episode.ending, Ending)
    assert episode.length == sum(map(len, segments))
    assert episode.steps == sum(len(each.actions) for each in segments)
    for held, expected in zip(episode.segments(), segments, strict=True):
        assert_same(held, expected)


def test_rows_that_do_not_lie_together_are_written_right(tmp_path: Path) -> None:
    whole = segment(8, 8)
    every_other = replace(
        whole,
        pictures={name: rows[::2] for name, rows in whole.pictures.items()},
        **{name: getattr(whole, name)[::-2] for name in ("frame_step", "time", "qpos", "qvel", "act", "extra")},
        visual=whole.visual[::2],
        actions=whole.actions[:, ::-1],
    )
    write(tmp_path / "episode.bin", every_other)
    assert_same(next(SpooledEpisode(tmp_path / "episode.bin").segments()), every_other)


@pytest.mark.parametrize("compression", ["lz4", "gzip"])
def test_a_shard_is_the_same_wherever_its_episodes_were_expected(compression: Compression, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    parts = [[segment(23, 22), segment(9, 9, first=23), segment(1, 1, first=32)], [segment(40, 39)], [segment(3, 2)]]
    shards: set[bytes] = set()
    for number in range(12):
        with ShardWriter(tmp_path / f"{number}.h5", compression) as shard:
            row = 0
            for index, segments in enumerate(parts):
                path = tmp_path / f"{number}-{index}.bin"
                first = row if number == 0 else int(rng.integers(100))
                packed: Compression = compression if number < 10 else ("gzip" if compression == "lz4" else "lz4")
                with SpoolWriter(path, index=index, seed=0, compression=packed, first_row=first) as writer:
                    for each in segments:
                        writer.add(each)
                    writer.finish(Ending.LIMIT)
                episode = SpooledEpisode(path)
                shard.append(Unpacked(path) if number == 9 else episode)
                row += episode.length
        shards.add((tmp_path / f"{number}.h5").read_bytes())
    assert len(shards) == 1
    with h5py.File(tmp_path / "0.h5") as file:
        for name, expected in segment(40, 39).pictures.items():
            assert np.array_equal(file[name][33:73], expected), name


def test_what_was_added_may_be_overwritten_afterwards(tmp_path: Path) -> None:
    given, kept = segment(4, 4), segment(4, 4)
    with SpoolWriter(tmp_path / "episode.bin", index=0, seed=0) as writer:
        writer.add(given)
        for _, rows in given.columns():
            rows.fill(0)
        writer.finish(Ending.LIMIT)
    assert_same(next(SpooledEpisode(tmp_path / "episode.bin").segments()), kept)


def test_an_episode_may_be_read_twice_at_once(tmp_path: Path) -> None:
    parts = [segment(4, 9), segment(2, 3, first=4)]
    write(tmp_path / "episode.bin", *parts)
    episode = SpooledEpisode(tmp_path / "episode.bin")
    for one, other, expected in zip(episode.segments(), episode.segments(), parts, strict=True):
        assert_same(one, expected)
        assert_same(other, expected)


def test_memory_does_not_grow_with_the_episode(tmp_path: Path) -> None:
    part = segment(16, 16, size=32)
    size = sum(rows.nbytes for _, rows in part.columns())

    def most(segments: int) -> int:
        """Return the most memory that writing and reading an episode takes."""
        tracemalloc.start()
        write(tmp_path / "episode.bin", *[part] * segments)
        episode = SpooledEpisode(tmp_path / "episode.bin")
        episode.check()
        assert sum(len(each) for each in episode.segments()) == 16 * segments
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    assert most(40) < most(3) + size


def test_a_file_that_is_not_finished_has_no_name(tmp_path: Path) -> None:
    with SpoolWriter(tmp_path / "episode.bin", index=0, seed=0) as writer:
        writer.add(segment(4, 4))
        assert not (tmp_path / "episode.bin").exists()
        assert len(list(tmp_path.iterdir())) == 1
    assert not list(tmp_path.iterdir())


def test_a_writer_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail() -> None:
        with SpoolWriter(tmp_path / "episode.bin", index=0, seed=0) as writer:
            writer.add(segment(4, 4))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not list(tmp_path.iterdir())


def read_all(path: Path) -> Episode:
    episode = SpooledEpisode(path)
    episode.check()
    return whole_episode(episode.index, episode.seed, episode.ending, episode.segments())


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "episode.bin"
    write(path, segment(1, 0), segment(1, 1, first=1))
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(RecordingError, match=r"episode.bin' is damaged: .*--resume"):
            SpooledEpisode(path)


def test_a_flipped_byte_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "episode.bin"
    write(path, segment(1, 0), segment(1, 1, first=1), seed=199_999)
    whole = path.read_bytes()
    for at in range(len(whole)):
        for flip in (1, 0x20, ord("9") ^ ord("e"), 0xFF):  # the third makes a seed that is no number
            broken = bytearray(whole)
            broken[at] ^= flip
            path.write_bytes(broken)
            with pytest.raises(RecordingError, match=r"episode.bin' is damaged: .*--resume"):
                read_all(path)


@pytest.mark.parametrize("value", [math.inf, math.nan, None, "x", []])
@pytest.mark.parametrize("field", ["index", "seed", "ending", "length", "steps"])
def test_a_summary_of_other_values_is_refused(field: str, value: object, tmp_path: Path) -> None:
    path = tmp_path / "episode.bin"
    write(path, segment(1, 0))
    whole = path.read_bytes()
    start = whole.rindex(b"{")
    head = json.dumps(json.loads(whole[start:]) | {field: value}).encode()
    path.write_bytes(whole[: start - SIZES.size] + SIZES.pack(len(head), 0, zlib.crc32(head)) + head)
    with pytest.raises(RecordingError, match="damaged"):
        SpooledEpisode(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="No such file"):
        SpooledEpisode(tmp_path / "episode.bin")


FILL = """
import resource, sys
from pathlib import Path
import numpy as np
from worldmodel.datasets.schema import Ending, Segment
from worldmodel.datasets.spool import SpoolWriter

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), -1))
noise = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)
rows, row = np.zeros((20, 2)), np.zeros(20)
part = Segment({"frames/top": noise}, np.arange(20), row, rows, rows, rows, rows, rows, rows.astype("f4"), row)
try:
    with SpoolWriter(Path(sys.argv[1]), index=0, seed=0) as writer:
        for _ in range(3):
            writer.add(part)
        writer.finish(Ending.LIMIT)
except OSError as error:
    print("OSError", error.errno)
print("still here")
"""


@pytest.mark.parametrize("limit", [0, 10, 20_000, 46_000])
def test_a_disk_that_fills_is_an_error_and_leaves_nothing(limit: int, tmp_path: Path) -> None:
    path = tmp_path / "episode.bin"
    done = subprocess.run(
        [sys.executable, "-c", FILL, str(path), str(limit)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "OSError 27\nstill here\n"
    assert not list(tmp_path.iterdir())
