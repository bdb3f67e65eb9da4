"""One HDF5 file: whole or not there, read back as it was written."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from worldmodel.datasets.manifest import Compression
from worldmodel.datasets.schema import Episode, EpisodeStream, Segment, whole_episode
from worldmodel.datasets.shard import Shard, StoredEpisode
from worldmodel.datasets.shard_writer import ShardWriter
from worldmodel.errors import RecordingError

MakeEpisode = Callable[[int], Episode]
PICTURES = {"frames/top": (8, 8, 3)}
EVERYTHING = PICTURES | {"frames/side": (8, 8, 3), "depth/top": (8, 8), "segmentation/top": (8, 8, 2)}


def write(path: Path, *episodes: EpisodeStream, compression: Compression = "lz4") -> Path:
    with ShardWriter(path, compression) as writer:
        for episode in episodes:
            writer.append(episode)
    return path


def assert_same(held: Episode, expected: Episode) -> None:
    assert (held.index, held.seed, held.ending) == (expected.index, expected.seed, expected.ending)
    columns = dict(held.columns())
    assert list(held.pictures) == list(expected.pictures)
    for name, rows in expected.columns():
        assert columns[name].dtype == rows.dtype, name
        assert np.array_equal(columns[name], rows), name


def with_everything(episode: Episode) -> Episode:
    """Add a second camera, depth and segmentation."""
    rng = np.random.default_rng(episode.index)
    rows = len(episode)
    more = {
        "frames/side": rng.integers(0, 256, (rows, 8, 8, 3), np.uint8),
        "depth/top": rng.random((rows, 8, 8), np.float32) * 1e6,
        "segmentation/top": rng.integers(-1, 2**31, (rows, 8, 8, 2)).astype(np.int32),
    }
    return replace(episode, pictures={**episode.pictures, **more})


def test_episodes_are_read_back_as_they_were_written(tmp_path: Path, make_episode: MakeEpisode) -> None:
    episodes = list(map(make_episode, range(7)))
    with Shard(write(tmp_path / "shard.h5", *episodes), PICTURES) as shard:
        for row, expected in enumerate(episodes):
            assert_same(shard.read_episode(row), expected)


@pytest.mark.parametrize("compression", ["lz4", "gzip"])
def test_all_channels_of_all_cameras_are_read_back(
    compression: Compression, tmp_path: Path, make_episode: MakeEpisode
) -> None:
    episodes = [with_everything(make_episode(index)) for index in range(7)]
    with Shard(write(tmp_path / "shard.h5", *episodes, compression=compression), EVERYTHING) as shard:
        for row, expected in enumerate(episodes):
            assert_same(shard.read_episode(row), expected)


def test_video_without_actions_is_read_back(tmp_path: Path, make_episode: MakeEpisode) -> None:
    still, moving = make_episode(4), make_episode(0)
    one_frame = replace(
        still,
        pictures={"frames/top": still.frames[:1]},
        **{name: getattr(still, name)[:1] for name in ("frame_step", "time", "qpos", "qvel", "act", "extra", "visual")},
        actions=np.zeros((0, 0), np.float32),
        reward=np.zeros(0),
    )
    video = replace(
        moving, frame_step=np.arange(5), actions=np.zeros((4, 0), np.float32), reward=np.zeros(4), qpos=np.zeros((5, 0))
    )
    one_frame = replace(one_frame, qpos=np.zeros((1, 0)))
    for episodes in ([one_frame], [one_frame, video]):
        with Shard(write(tmp_path / "shard.h5", *episodes), PICTURES) as shard:
            for row, expected in enumerate(episodes):
                assert_same(shard.read_episode(row), expected)


@pytest.mark.parametrize("frames", [*range(1, 9), 64])
def test_an_episode_in_pieces_is_the_same_episode(frames: int, tmp_path: Path, make_episode: MakeEpisode) -> None:
    episodes = list(map(make_episode, range(7)))
    with Shard(write(tmp_path / "shard.h5", *episodes), PICTURES) as shard:
        for row, expected in enumerate(episodes):
            stream = StoredEpisode(shard, row)
            pieces = list(stream.segments(frames))
            assert (stream.length, stream.steps) == (len(expected), len(expected.actions))
            assert [len(piece) for piece in pieces[:-1]] == [frames] * (len(pieces) - 1)
            assert 1 <= len(pieces[-1]) <= frames
            before = [0, *(int(piece.frame_step[-1]) for piece in pieces)]
            assert [len(piece.actions) for piece in pieces] == np.diff(before).tolist()
            assert_same(whole_episode(stream.index, stream.seed, stream.ending, iter(pieces)), expected)


@pytest.mark.parametrize("frames", [1, 2, 5, 64])
def test_pieces_of_any_size_make_the_same_bytes(frames: int, tmp_path: Path, make_episode: MakeEpisode) -> None:
    class InPieces(StoredEpisode):
        def segments(self, _: int = 0) -> Iterator[Segment]:
            return super().segments(frames)

    episodes = list(map(make_episode, range(7)))
    whole = write(tmp_path / "whole.h5", *episodes)
    with Shard(whole, PICTURES) as shard:
        again = write(tmp_path / "again.h5", *[InPieces(shard, row) for row in range(7)])
    assert whole.read_bytes() == again.read_bytes()


def test_columns_are_compressed_and_checked(tmp_path: Path, make_episode: MakeEpisode) -> None:
    episodes = [with_everything(make_episode(index)) for index in range(7)]
    with h5py.File(write(tmp_path / "long.h5", *episodes)) as file:
        for name, shape in EVERYTHING.items():
            assert file[name].chunks == (8, *shape)
        for name in (*EVERYTHING, "frame_step", "time", "qpos", "qvel", "extra", "visual", "actions", "reward"):
            assert "32004" in file[name]._filters, name  # LZ4
            assert file[name].fletcher32, name
            assert file[name].shuffle is (file[name].dtype.itemsize > 1), name
        assert all(file["episode"][name].fletcher32 for name in file["episode"])
        chunk = np.prod(file["visual"].chunks) * 8
        assert file["visual"].id.get_storage_size() < chunk / 100  # all ones, and nothing behind them


PLAIN = """
import sys, h5py
with h5py.File(sys.argv[1]) as file:
    file.visititems(lambda name, item: print(name, item[:].tobytes().hex()) if isinstance(item, h5py.Dataset) else None)
assert "hdf5plugin" not in sys.modules
"""


def test_gzip_is_read_by_any_hdf5(tmp_path: Path, make_episode: MakeEpisode) -> None:
    episodes = [with_everything(make_episode(index)) for index in range(3)]
    path = write(tmp_path / "shard.h5", *episodes, compression="gzip")
    environment = {name: value for name, value in os.environ.items() if name != "HDF5_PLUGIN_PATH"}
    done = subprocess.run([sys.executable, "-c", PLAIN, str(path)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    held = dict(line.split(" ") for line in done.stdout.split("\n") if line)
    for name in [name for name, _ in episodes[0].columns()]:
        rows = np.concatenate([dict(episode.columns())[name] for episode in episodes])
        assert held[name] == rows.tobytes().hex(), name


def test_a_writer_that_fails_leaves_nothing_behind(tmp_path: Path, make_episode: MakeEpisode) -> None:
    episode = make_episode(0)

    def fail() -> None:
        with ShardWriter(tmp_path / "shard.h5", "lz4") as writer:
            writer.append(episode)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not list(tmp_path.iterdir())


def test_a_shard_of_nothing_does_not_appear(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no episode"):
        write(tmp_path / "shard.h5")
    assert not list(tmp_path.iterdir())


def test_episodes_of_other_columns_or_shapes_are_refused(tmp_path: Path, make_episode: MakeEpisode) -> None:
    first, other = make_episode(0), make_episode(1)
    for wrong, named in (
        (with_everything(other), "depth/top"),
        (replace(other, qpos=np.zeros((6, 3))), "'qpos' has rows of"),
        (replace(other, pictures={"frames/top": np.zeros((6, 4, 8, 3), np.uint8)}), "'frames/top' has rows of"),
        (replace(other, actions=np.zeros((15, 1), np.float32)), "'actions' has rows of"),
    ):
        with pytest.raises(RecordingError, match=named):
            write(tmp_path / "shard.h5", first, wrong)
        assert not list(tmp_path.iterdir())


FILL = """
import resource, sys
from pathlib import Path
import numpy as np
from worldmodel.datasets.schema import Ending, Episode
from worldmodel.datasets.shard_writer import ShardWriter

resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), -1))
rng = np.random.default_rng(0)
noise = {"frames/top": rng.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)}
rows, row = np.zeros((20, 2)), np.zeros(20)
part = (noise, np.arange(20), row, rows, rows, rows, rows, rows, rows.astype("f4"), row)
episode = Episode(*part, index=0, seed=0, ending=Ending.LIMIT)
try:
    with ShardWriter(Path(sys.argv[1]), "lz4") as writer:
        writer.append(episode)
except OSError as error:
    print("OSError", error.filename)
print("still here")
"""


@pytest.mark.parametrize("limit", [0, 100, 5_000, 40_000, 61_440])
def test_a_disk_that_fills_is_an_error_and_no_crash(limit: int, tmp_path: Path) -> None:
    path = tmp_path / "shard.h5"
    done = subprocess.run(
        [sys.executable, "-c", FILL, str(path), str(limit)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"OSError {path}.partial\nstill here\n"
    assert done.stderr == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it may hit a callback of Python's
def test_ctrl_c_at_any_moment_leaves_a_whole_shard_or_none(tmp_path: Path, make_episode: MakeEpisode) -> None:
    path = tmp_path / "shard.h5"
    episodes = [make_episode(index) for index in range(3)]
    rng = random.Random(0)
    written = 0
    for _ in range(100):
        path.unlink(missing_ok=True)
        with suppress(KeyboardInterrupt):
            timer = threading.Timer(rng.uniform(0, 0.02), os.kill, (os.getpid(), signal.SIGINT))
            timer.start()
            write(path, *episodes)
            timer.join()
            time.sleep(0.1)
        if path.exists():
            written += 1
            with Shard(path, PICTURES) as shard:
                for row, episode in enumerate(episodes):
                    assert_same(shard.read_episode(row), episode)
    assert 0 < written < 100
