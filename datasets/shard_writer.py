"""Write one HDF5 file of whole episodes: it appears under its name when it is whole, or not at all."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import hdf5plugin
import numpy as np

from worldmodel.datasets.schema import FORMAT, FRAMES_PER_CHUNK, VERSION, Episode
from worldmodel.datasets.shard import ACTION_COLUMNS, EPISODE_COLUMNS, FRAME_COLUMNS
from worldmodel.errors import RecordingError
from worldmodel.interrupts import signals_held

ROWS_PER_CHUNK = 4096


@dataclass(frozen=True)
class ShardSize:
    """How much a shard will hold."""

    episodes: int
    frames: int
    actions: int

    @classmethod
    def of(cls, *episodes: Episode) -> ShardSize:
        return cls(len(episodes), sum(len(e.frames) for e in episodes), sum(len(e.actions) for e in episodes))

    def __add__(self, other: ShardSize) -> ShardSize:
        return ShardSize(self.episodes + other.episodes, self.frames + other.frames, self.actions + other.actions)


class _Disk:
    """The file that HDF5 writes to, which keeps a failing disk from it.

    HDF5 crashes the interpreter when it cannot write while it closes a file. So after a first failure it is
    told that all is well, nothing more is written, and `check` raises what happened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("wb+", buffering=0)
        self._failure: OSError | None = None

    def check(self) -> None:
        """Raise the first failure, if there was one."""
        if self._failure:
            raise OSError(self._failure.errno, self._failure.strerror, str(self._path)) from self._failure

    def write(self, data: Any) -> int:
        rest = memoryview(data).cast("B")
        size = len(rest)
        try:
            while rest and not self._failure:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self._failure = error
        return size

    def truncate(self, size: int) -> int:
        try:
            return self._file.truncate(size)
        except OSError as error:
            self._failure = self._failure or error
            return size

    def read(self, size: int = -1) -> bytes | None:
        """Never called, but h5py takes nothing for a file that lacks it."""
        return self._file.read(size)

    def readinto(self, buffer: Any) -> int | None:
        return self._file.readinto(buffer)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        """Do nothing: nothing is buffered."""

    def close(self) -> None:
        self._file.close()


class ShardWriter:
    """Write episodes into one shard, which appears under its name only when it is whole.

    Until then it is `<name>.partial`. Used as a context manager: leaving it normally closes, syncs and
    renames; leaving it by an error removes the partial file.

    Args:
        path: where the shard will be.
        size: how much it will hold, exactly.
        camera: name of the column of frames.
        durable: wait until the disk has it. A process may be killed without this; the machine may not.
    """

    def __init__(self, path: Path, size: ShardSize, camera: str, *, durable: bool = True) -> None:
        self._path, self._size, self._camera, self._durable = path, size, camera, durable
        self._partial = path.with_name(path.name + ".partial")
        self._written = ShardSize(0, 0, 0)
        self._disk = _Disk(self._partial)
        with signals_held():
            self._file = h5py.File(self._disk, "w", libver="latest")
            self._file.attrs["format"] = FORMAT
            self._file.attrs["version"] = VERSION

    def append(self, episode: Episode) -> None:
        """Write `episode` behind those before it.

        Raises:
            OSError: the disk is full or fails.
        """
        with signals_held():
            self._append(episode)
        self._disk.check()

    def _append(self, episode: Episode) -> None:
        if self._written.episodes == 0:
            self._create(episode)
        at, after = self._written, self._written + ShardSize.of(episode)
        self._file[f"frames/{self._camera}"][at.frames : after.frames] = episode.frames
        for name in FRAME_COLUMNS:
            self._file[name][at.frames : after.frames] = getattr(episode, name)
        for name in ACTION_COLUMNS:
            self._file[name][at.actions : after.actions] = getattr(episode, name)
        group = self._file["episode"]
        group["index"][at.episodes] = episode.index
        group["seed"][at.episodes] = episode.seed
        group["ending"][at.episodes] = int(episode.ending)
        group["frame_start"][at.episodes + 1] = after.frames
        group["action_start"][at.episodes + 1] = after.actions
        self._written = after

    def _create(self, like: Episode) -> None:
        size = self._size
        frames = (size.frames, *like.frames.shape[1:])
        chunk = (min(FRAMES_PER_CHUNK, size.frames), *like.frames.shape[1:])
        self._file.create_dataset(
            f"frames/{self._camera}", frames, np.uint8, chunks=chunk, fletcher32=True, compression=hdf5plugin.LZ4()
        )
        for columns, rows in ((FRAME_COLUMNS, size.frames), (ACTION_COLUMNS, size.actions)):
            for name, (dtype, _) in columns.items():
                self._column(name, (rows, *getattr(like, name).shape[1:]), dtype)
        for name, dtype in EPISODE_COLUMNS.items():
            self._column(f"episode/{name}", (size.episodes + name.endswith("_start"),), dtype)

    def _column(self, name: str, shape: tuple[int, ...], dtype: Any) -> None:
        if 0 in shape:  # such as `act` of a model whose actuators have no state
            self._file.create_dataset(name, shape, dtype)
        else:
            chunk = (min(ROWS_PER_CHUNK, shape[0]), *shape[1:])
            self._file.create_dataset(name, shape, dtype, chunks=chunk, fletcher32=True)

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with signals_held():
                self._file.close()
            self._disk.close()
            if kind is None:
                self._disk.check()
                self._finish()
        finally:
            self._partial.unlink(missing_ok=True)

    def _finish(self) -> None:
        if self._written != self._size:
            raise RecordingError(f"Shard '{self._path}' got {self._written}; it was announced as {self._size}.")
        if self._durable:
            sync(self._partial)
        self._partial.rename(self._path)
        if self._durable:
            sync(self._path.parent)


def sync(path: Path) -> None:
    """Wait until the disk has the contents of a file or folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
