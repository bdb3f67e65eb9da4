"""Write one HDF5 file of whole episodes: it appears under its name when it is whole, or not at all."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

from worldmodel.datasets.disk import Disk, sync
from worldmodel.datasets.manifest import Compression
from worldmodel.datasets.schema import (
    ACTION_COLUMNS,
    EPISODE_COLUMNS,
    FORMAT,
    VERSION,
    EpisodeStream,
    Segment,
)
from worldmodel.errors import RecordingError
from worldmodel.interrupts import signals_held

PICTURES_PER_CHUNK = 8
CHUNK_BYTES = 2**18  # of columns other than pictures
BUFFER_BYTES = 2**20
GZIP_LEVEL = 4


@dataclass(frozen=True)
class ShardSize:
    """How much a shard holds."""

    episodes: int
    frames: int
    actions: int

    @classmethod
    def of(cls, episode: EpisodeStream) -> ShardSize:
        return cls(1, episode.length, episode.steps)

    def __add__(self, other: ShardSize) -> ShardSize:
        return ShardSize(self.episodes + other.episodes, self.frames + other.frames, self.actions + other.actions)


class _Column:
    """One column of the shard, written in whole chunks, so that each is compressed once."""

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self._filled = 0
        chunk, row = dataset.chunks[0], dataset.shape[1:]
        row_bytes = dataset.dtype.itemsize * math.prod(row)
        self._buffer = np.empty((max(1, BUFFER_BYTES // (chunk * row_bytes)) * chunk, *row), dataset.dtype)

    def append(self, rows: NDArray[Any]) -> None:
        while len(rows):
            count = min(len(rows), len(self._buffer) - self._filled)
            self._buffer[self._filled : self._filled + count] = rows[:count]
            self._filled += count
            rows = rows[count:]
            if self._filled == len(self._buffer):
                self.flush()

    def flush(self) -> None:
        if self._filled:
            start = self._dataset.shape[0]
            self._dataset.resize(start + self._filled, axis=0)
            self._dataset[start:] = self._buffer[: self._filled]
            self._filled = 0


class ShardWriter:
    """Write episodes into one shard, which appears under its name only when it is whole and on the disk.

    Until `finish` it is `<name>.partial`; `discard` removes that. As a context manager, it finishes when it is
    left normally, and discards when it is left by an error.

    Args:
        path: where the shard will be.
        compression: "lz4", or "gzip", which any HDF5 reads.

    Attributes:
        path: where the shard will be.
        size: what it holds by now.
    """

    def __init__(self, path: Path, compression: Compression) -> None:
        self.path, self._compression = path, compression
        self._partial = path.with_name(path.name + ".partial")
        self.size = ShardSize(0, 0, 0)
        self._kinds: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}  # of all columns
        self._columns: dict[str, _Column] = {}  # those with a width
        self._episodes = {name: [0] if name.endswith("_start") else [] for name in EPISODE_COLUMNS}
        self._disk = Disk(self._partial)
        with signals_held():
            self._file = h5py.File(self._disk, "w", libver="latest")
            self._file.attrs["format"] = np.bytes_(FORMAT)  # of fixed length: HDF5 keeps others without a checksum
            self._file.attrs["version"] = VERSION

    def append(self, episode: EpisodeStream) -> None:
        """Write `episode` behind those before it, one segment after the other.

        After an error, the shard holds part of it: `discard` it.

        Raises:
            OSError: the disk is full or fails.
            RecordingError: the episode is damaged, or its columns are not like those before it.
        """
        frames = steps = 0
        for segment in episode.segments():
            frames, steps = frames + len(segment), steps + len(segment.actions)
            with signals_held():
                self._append(segment)
            self._disk.check()
        if (frames, steps) != (episode.length, episode.steps) or frames == 0:
            raise RecordingError(
                f"Episode {episode.index} has {frames} frames and {steps} steps; expected {episode.length} and "
                f"{episode.steps}, and at least one frame."
            )
        self.size += ShardSize.of(episode)
        for name, value in (
            ("index", episode.index),
            ("seed", episode.seed),
            ("ending", int(episode.ending)),
            ("frame_start", self.size.frames),
            ("action_start", self.size.actions),
        ):
            self._episodes[name].append(value)

    def _append(self, segment: Segment) -> None:
        rows = dict(segment.columns())
        kinds = {name: (values.dtype, values.shape[1:]) for name, values in rows.items()}
        if not self._kinds:
            self._kinds = kinds
            for name, (dtype, row) in kinds.items():
                if 0 not in row:
                    self._columns[name] = self._create(name, dtype, row, is_picture=name in segment.pictures)
        if kinds.keys() != self._kinds.keys():
            raise RecordingError(f"An episode has the columns {sorted(rows)}; expected {sorted(self._kinds)}.")
        for name, (_, row) in kinds.items():
            expected = self._kinds[name][1]
            if row != expected:
                raise RecordingError(
                    f"Column '{name}' has rows of {row} in one episode and of {expected} in another; expected the same "
                    "model in all of them."
                )
        for name, column in self._columns.items():
            column.append(rows[name])

    def _create(self, name: str, dtype: np.dtype[Any], row: tuple[int, ...], *, is_picture: bool) -> _Column:
        packed: Mapping[str, Any] = (
            hdf5plugin.LZ4() if self._compression == "lz4" else {"compression": "gzip", "compression_opts": GZIP_LEVEL}
        )
        chunk = PICTURES_PER_CHUNK if is_picture else max(1, CHUNK_BYTES // (dtype.itemsize * math.prod(row)))
        dataset = self._file.create_dataset(
            name,
            (0, *row),
            dtype,
            maxshape=(None, *row),
            chunks=(chunk, *row),
            shuffle=dtype.itemsize > 1,
            fletcher32=True,
            **packed,
        )
        return _Column(dataset)

    def finish(self) -> None:
        """Write what is still in memory, wait for the disk, and give the shard its name.

        Raises:
            OSError: the disk is full or fails; nothing is left.
            RecordingError: it holds no episode.
        """
        try:
            if self.size.episodes == 0:
                raise RecordingError(f"Shard '{self.path}' would hold no episode; expected one at least.")
            with signals_held():
                self._complete()
                self._file.close()
            self._disk.close()
            self._disk.check()
            sync(self._partial)
            self._partial.rename(self.path)
            sync(self.path.parent)
        finally:
            self.discard()

    def _complete(self) -> None:
        for column in self._columns.values():
            column.flush()
        for name in sorted(self._kinds.keys() - self._columns.keys()):
            kind, row = self._kinds[name]  # of no width, such as `act` of motors without a state
            count = self.size.actions if name in ACTION_COLUMNS else self.size.frames
            self._file.create_dataset(name, (count, *row), kind)
        for name, dtype in EPISODE_COLUMNS.items():
            values = np.array(self._episodes[name], dtype)
            self._file.create_dataset(f"episode/{name}", data=values, chunks=values.shape, fletcher32=True)

    def discard(self) -> None:
        """Close and remove what is not finished; does nothing after `finish`."""
        with signals_held():
            self._file.close()
        self._disk.close()
        self._partial.unlink(missing_ok=True)

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish()
        else:
            self.discard()
