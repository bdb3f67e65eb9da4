"""Write one HDF5 file of whole episodes: it appears under its name when it is whole, or not at all."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
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
from worldmodel.datasets.packing import GZIP_LEVEL, filters_of, pack
from worldmodel.datasets.schema import (
    ACTION_COLUMNS,
    EPISODE_COLUMNS,
    FORMAT,
    PICTURES_PER_CHUNK,
    VERSION,
    EpisodeStream,
    Segment,
)
from worldmodel.datasets.spool import PackedRows, SpooledEpisode
from worldmodel.errors import RecordingError
from worldmodel.interrupts import signals_held

CHUNK_BYTES = 2**18  # of columns other than pictures


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
    """One column of the shard, written chunk by chunk, each packed once, here or before."""

    def __init__(self, dataset: Any, compression: Compression) -> None:
        self._dataset, self._compression = dataset, compression
        self._filters = filters_of(dataset.dtype, compression)
        self._written = self._filled = 0
        self._chunk = np.zeros(dataset.chunks, dataset.dtype)

    def append(self, rows: NDArray[Any] | PackedRows) -> None:
        if not isinstance(rows, PackedRows):
            self._fill(rows)
            return
        for count, packed in rows.pieces:
            if count == len(self._chunk) and not self._filled and rows.compression == self._compression:
                self._write(packed, count)
            else:
                self._fill(rows.unpack(count, packed))

    def _fill(self, rows: NDArray[Any]) -> None:
        while len(rows):
            count = min(len(rows), len(self._chunk) - self._filled)
            self._chunk[self._filled : self._filled + count] = rows[:count]
            self._filled += count
            rows = rows[count:]
            if self._filled == len(self._chunk):
                self.flush()

    def flush(self) -> None:
        """Write the rows that wait; as the last of the column, if they do not fill a chunk."""
        if self._filled:
            self._chunk[self._filled :] = 0
            self._write(pack(self._chunk, self._filters), self._filled)
            self._filled = 0

    def _write(self, packed: bytes | memoryview, rows: int) -> None:
        start = (self._written, *(0 for _ in self._chunk.shape[1:]))
        self._written += rows
        self._dataset.id.set_extent((self._written, *self._chunk.shape[1:]))
        self._dataset.id.write_direct_chunk(start, packed)


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
        for segment, pictures in _parts(episode):
            frames, steps = frames + len(segment), steps + len(segment.actions)
            with signals_held():
                self._append(segment, pictures)
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

    def _append(self, segment: Segment, pictures: Mapping[str, NDArray[Any] | PackedRows]) -> None:
        rows = {**pictures, **dict(segment.columns())}
        kinds = {name: (values.dtype, values.shape[1:]) for name, values in rows.items()}
        if not self._kinds:
            self._kinds = kinds
            for name, (dtype, row) in kinds.items():
                if 0 not in row:
                    self._columns[name] = self._create(name, dtype, row, is_picture=name in pictures)
        if kinds.keys() != self._kinds.keys():
            raise RecordingError(f"An episode has the columns {sorted(rows)}; expected {sorted(self._kinds)}.")
        for name, kind in kinds.items():
            expected = self._kinds[name]
            if kind != expected:
                raise RecordingError(
                    f"Column '{name}' has rows of {kind[0]} {kind[1]} in one episode and of {expected[0]} "
                    f"{expected[1]} in another; expected the same model in all of them."
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
        return _Column(dataset, self._compression)

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


def _parts(episode: EpisodeStream) -> Iterator[tuple[Segment, Mapping[str, NDArray[Any] | PackedRows]]]:
    """Yield the episode's segments, and their pictures, packed where they are."""
    if isinstance(episode, SpooledEpisode):
        yield from episode.packed_segments()
    else:
        yield from ((segment, segment.pictures) for segment in episode.segments())
