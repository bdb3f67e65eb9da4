"""Finished episodes, each in a closed file of its own, until a shard takes them.

HDF5 files that are open when a process is killed are often lost whole, and opening one for each episode costs
more than drawing it. So an episode waits as a plain file: blocks that are appended while it is played, then a
last block with its summary. It has its name only when it is whole.

    file   = MAGIC, block ..., summary block
    block  = sizes of head and body and their CRC-32 (little-endian uint32, uint64, uint32), head, body
    head   = JSON: [compression, columns as [name, dtype, shape, [rows, bytes] of each piece]], or the summary
    body   = the columns, in pieces of some rows that each fit into a processor's cache

Pictures are cut into pieces, and packed, as the shard will have its chunks; it takes those that turn out to be whole
chunks of it as they are. Other columns are compressed by LZ4.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, get_args

import lz4.block
import numpy as np
from numpy.typing import NDArray

from worldmodel.datasets.manifest import Compression
from worldmodel.datasets.packing import DAMAGED, filters_of, pack, unpack
from worldmodel.datasets.schema import ACTION_COLUMNS, FRAME_COLUMNS, PICTURES_PER_CHUNK, Ending, Segment
from worldmodel.errors import RecordingError

MAGIC = b"worldmodel-episode-2\n"
SIZES = struct.Struct("<IQI")
DTYPES = {"|u1", "<i4", "<i8", "<f4", "<f8"}
PIECE_BYTES = 3 * 2**15
LARGEST_RATIO = 1100  # deflate's is 1032, LZ4's 255
MALFORMED = (*DAMAGED, TypeError, KeyError, IndexError, OverflowError)  # what reading a damaged block raises
ACCELERATION = 8  # of LZ4: these files live for minutes, so a tenth larger is cheaper than slower


@dataclass(frozen=True)
class Summary:
    """An episode's last block: an `EpisodeStream`'s attributes."""

    index: int
    seed: int
    ending: int
    length: int
    steps: int


@dataclass(frozen=True)
class PackedRows:
    """Rows of a column of pictures as they lie in the spool.

    Attributes:
        dtype: kind of their numbers.
        shape: of all rows together.
        compression: how each piece is packed.
        pieces: how many rows each has, and its bytes.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    compression: Compression
    pieces: tuple[tuple[int, memoryview], ...]

    def __len__(self) -> int:
        return self.shape[0]

    def unpack(self, rows: int, data: memoryview) -> NDArray[Any]:
        """Return the rows of a piece."""
        size = rows * math.prod(self.shape[1:]) * self.dtype.itemsize
        if size > LARGEST_RATIO * len(data) + 64:
            raise ValueError(f"{len(data)} bytes claim {rows} rows of the shape {self.shape[1:]}")
        raw = unpack(data, filters_of(self.dtype, self.compression), size, self.dtype.itemsize)
        return np.frombuffer(raw, self.dtype).reshape(rows, *self.shape[1:])

    def rows(self) -> NDArray[Any]:
        """Return all rows."""
        return np.concatenate([self.unpack(*piece) for piece in self.pieces])


class SpoolWriter:
    """Append an episode's segments to its file as they come; memory does not grow with the episode.

    Used as a context manager: left without `finish`, or by an error, it removes the file.

    Args:
        path: where the finished episode will be.
        compression: of the shard that will take it.
        first_row: where in that shard the episode will begin, as far as one can tell; a wrong guess costs time alone.

    Raises:
        OSError: the disk is full or fails.
    """

    def __init__(
        self, path: Path, *, index: int, seed: int, compression: Compression = "lz4", first_row: int = 0
    ) -> None:
        self._path, self._index, self._seed = path, index, seed
        self._compression, self._first_row = compression, first_row
        self._partial = path.with_name(path.name + ".partial")
        self._length = self._steps = 0
        self._file = self._partial.open("wb")
        self._file.write(MAGIC)

    def add(self, segment: Segment) -> None:
        """Write the next frames of the episode."""
        columns, body = [], []
        for name, rows in segment.columns():
            if name in segment.pictures:
                pieces = _chunks(self._first_row + self._length, len(rows))
                filters = filters_of(rows.dtype, self._compression)
                packed = [pack(rows[piece], filters) for piece in pieces]
            else:
                pieces = _pieces(rows.shape, rows.itemsize)
                packed = [_pack(rows[piece]) for piece in pieces]
            sizes = [(piece.stop - piece.start, len(data)) for piece, data in zip(pieces, packed, strict=True)]
            columns.append((name, rows.dtype.str, rows.shape, sizes))
            body.extend(packed)
        self._write(json.dumps([self._compression, columns]).encode(), b"".join(body))
        self._length += len(segment)
        self._steps += len(segment.actions)

    def finish(self, ending: Ending) -> int:
        """Write the summary and give the file its name; return its bytes."""
        summary = Summary(self._index, self._seed, int(ending), self._length, self._steps)
        self._write(json.dumps(asdict(summary)).encode(), b"")
        size = self._file.tell()
        self._file.close()
        self._partial.rename(self._path)
        return size

    def _write(self, head: bytes, body: bytes) -> None:
        self._file.write(SIZES.pack(len(head), len(body), zlib.crc32(body, zlib.crc32(head))))
        self._file.write(head)
        self._file.write(body)

    def __enter__(self) -> SpoolWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.close()
        finally:
            self._partial.unlink(missing_ok=True)


class SpooledEpisode:
    """A finished episode in the spool, an `EpisodeStream`.

    Raises:
        RecordingError: the file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        summary = self._summary()
        self.index, self.seed, self.length, self.steps = summary.index, summary.seed, summary.length, summary.steps
        try:
            self.ending = Ending(summary.ending)
        except ValueError as error:
            raise self._damaged(str(error)) from error

    def segments(self) -> Iterator[Segment]:
        """Yield the episode's segments, checked; several may be read at once."""
        for segment, pictures in self.packed_segments():
            try:
                rows = {name: packed.rows() for name, packed in pictures.items()}
                yield replace(segment, pictures=rows)
            except (RecordingError, *MALFORMED) as error:
                raise self._damaged(str(error)) from error

    def packed_segments(self) -> Iterator[tuple[Segment, dict[str, PackedRows]]]:
        """Yield the episode's segments without pictures, checked, and their pictures as they are packed."""
        for head, body in self._blocks():
            if isinstance(head, dict):
                return
            try:
                yield _segment(head, body)
            except (RecordingError, *MALFORMED) as error:
                raise self._damaged(str(error)) from error

    def check(self) -> None:
        """Read everything once.

        Raises:
            RecordingError: anything is damaged.
        """
        frames, steps = 0, 0
        for segment in self.segments():
            frames, steps = frames + len(segment), steps + len(segment.actions)
        if (frames, steps) != (self.length, self.steps):
            raise self._damaged(f"{frames} frames and {steps} steps; its summary says {self.length} and {self.steps}")

    def _summary(self) -> Summary:
        for head, _ in self._blocks(bodies=False):
            if isinstance(head, dict):
                try:
                    return Summary(**{name: int(value) for name, value in head.items()})
                except (TypeError, ValueError, OverflowError) as error:
                    raise self._damaged(str(error)) from error
        raise self._damaged("it has no end")

    def _blocks(self, *, bodies: bool = True) -> Iterator[tuple[Any, bytes]]:
        """Yield each block's head and body; bodies are skipped, and not checked, without `bodies`."""
        try:
            with self._path.open("rb") as file:
                if file.read(len(MAGIC)) != MAGIC:
                    raise self._damaged("it does not begin like an episode")
                left = self._path.stat().st_size - len(MAGIC)
                while left >= SIZES.size:
                    head_size, body_size, crc = SIZES.unpack(file.read(SIZES.size))
                    left -= SIZES.size + head_size + body_size
                    if left < 0:
                        break
                    head = file.read(head_size)
                    body = file.read(body_size) if bodies else b""
                    if bodies and zlib.crc32(body, zlib.crc32(head)) != crc:
                        raise self._damaged("a checksum is wrong")
                    if not bodies:
                        file.seek(body_size, 1)
                    yield json.loads(head), body
        except (OSError, ValueError, RecursionError) as error:
            raise self._damaged(str(error)) from error

    def _damaged(self, why: str) -> RecordingError:
        return RecordingError(
            f"The episode '{self._path}' is damaged: {why}. Remove it, and --resume records it again."
        )


def _pieces(shape: Sequence[int], itemsize: int) -> list[slice]:
    """Return the rows of each piece of a column."""
    count = max(1, PIECE_BYTES // max(1, math.prod(shape[1:]) * itemsize))
    return [slice(start, min(start + count, shape[0])) for start in range(0, shape[0], count)]


def _chunks(first: int, count: int) -> list[slice]:
    """Return which of `count` rows, the first of which is row `first` of a shard, lie in each of its chunks."""
    ends = [*range(PICTURES_PER_CHUNK - first % PICTURES_PER_CHUNK, count, PICTURES_PER_CHUNK), count]
    return [slice(start, stop) for start, stop in zip([0, *ends], ends, strict=False)]


def _pack(rows: NDArray[Any]) -> bytes:
    packed: bytes = lz4.block.compress(
        np.ascontiguousarray(rows), mode="fast", acceleration=ACCELERATION, store_size=False
    )
    return packed


def _segment(head: Any, body: bytes) -> tuple[Segment, dict[str, PackedRows]]:
    compression, described = head
    columns: dict[str, NDArray[Any]] = {}
    pictures: dict[str, PackedRows] = {}
    view, start = memoryview(body), 0
    known = {*FRAME_COLUMNS, *ACTION_COLUMNS}
    for name, dtype, shape, sizes in described:
        if dtype not in DTYPES or compression not in get_args(Compression):
            raise ValueError(f"column '{name}' is of kind {dtype}, packed by {compression}")
        pieces = []
        for rows, size in sizes:
            pieces.append((rows, view[start : start + size]))
            start += size
        if sum(rows for rows, _ in pieces) != shape[0] or min((rows for rows, _ in pieces), default=1) < 1:
            raise ValueError(f"column '{name}' has other pieces than its {shape[0]} rows")
        if name not in known:
            pictures[name] = PackedRows(np.dtype(dtype), tuple(shape), compression, tuple(pieces))
            continue
        if math.prod(shape) * np.dtype(dtype).itemsize > LARGEST_RATIO * len(body) + 64:
            raise ValueError(f"column '{name}' claims the shape {shape}")
        column, at = columns.setdefault(name, np.empty(shape, dtype)), 0
        for count, data in pieces:
            part = column[at : at + count]
            raw = lz4.block.decompress(data, uncompressed_size=part.nbytes)
            part[...] = np.frombuffer(raw, column.dtype).reshape(part.shape)
            at += count
    segment = Segment(pictures={}, **{name: columns[name] for name in known})
    if any(len(packed) != len(segment) for packed in pictures.values()):
        raise ValueError(f"it has pictures for another number of frames than {len(segment)}")
    return segment, pictures
