"""Finished episodes, each in a closed file of its own, until a shard takes them.

HDF5 files that are open when a process is killed are often lost whole, and opening one for each episode costs
more than drawing it. So an episode waits as a plain file: blocks that are appended while it is played, then a
last block with its summary. It has its name only when it is whole.

    file   = MAGIC, block ..., summary block
    block  = sizes of head and body and their CRC-32 (little-endian uint32, uint64, uint32), head, body
    head   = JSON: the body's columns as [name, dtype, shape, bytes of each piece], or the summary
    body   = the columns, in pieces of some rows that each fit into a processor's cache, compressed by LZ4
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import lz4.block
import numpy as np
from numpy.typing import NDArray

from worldmodel.datasets.schema import ACTION_COLUMNS, FRAME_COLUMNS, Ending, Segment
from worldmodel.errors import RecordingError

MAGIC = b"worldmodel-episode-1\n"
SIZES = struct.Struct("<IQI")
DTYPES = {"|u1", "<i4", "<i8", "<f4", "<f8"}
PIECE_BYTES = 3 * 2**15
LARGEST_RATIO = 255  # that LZ4 reaches
ACCELERATION = 8  # of LZ4: these files live for minutes, so a tenth larger is cheaper than slower


@dataclass(frozen=True)
class Summary:
    """An episode's last block: an `EpisodeStream`'s attributes."""

    index: int
    seed: int
    ending: int
    length: int
    steps: int


class SpoolWriter:
    """Append an episode's segments to its file as they come; memory does not grow with the episode.

    Used as a context manager: left without `finish`, or by an error, it removes the file.

    Args:
        path: where the finished episode will be.

    Raises:
        OSError: the disk is full or fails.
    """

    def __init__(self, path: Path, *, index: int, seed: int) -> None:
        self._path, self._index, self._seed = path, index, seed
        self._partial = path.with_name(path.name + ".partial")
        self._length = self._steps = 0
        self._file = self._partial.open("wb")
        self._file.write(MAGIC)

    def add(self, segment: Segment) -> None:
        """Write the next frames of the episode."""
        head, body = [], []
        for name, rows in segment.columns():
            packed = [_pack(rows[piece]) for piece in _pieces(rows.shape, rows.itemsize)]
            head.append([name, rows.dtype.str, rows.shape, [len(piece) for piece in packed]])
            body.extend(packed)
        self._write(json.dumps(head).encode(), b"".join(body))
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
        for head, body in self._blocks():
            if isinstance(head, dict):
                return
            try:
                yield _segment(head, body)
            except (RecordingError, ValueError, TypeError, KeyError, lz4.block.LZ4BlockError) as error:
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


def _pack(rows: NDArray[Any]) -> bytes:
    packed: bytes = lz4.block.compress(
        np.ascontiguousarray(rows), mode="fast", acceleration=ACCELERATION, store_size=False
    )
    return packed


def _segment(head: list[Any], body: bytes) -> Segment:
    columns: dict[str, NDArray[Any]] = {}
    view, start = memoryview(body), 0
    for name, dtype, shape, sizes in head:
        if dtype not in DTYPES:
            raise ValueError(f"column '{name}' is of kind {dtype}")
        if math.prod(shape) * np.dtype(dtype).itemsize > LARGEST_RATIO * len(body) + 64:
            raise ValueError(f"column '{name}' claims the shape {shape}")
        column = columns[name] = np.empty(shape, dtype)
        for piece, size in zip(_pieces(shape, column.itemsize), sizes, strict=True):
            rows = column[piece]
            raw = lz4.block.decompress(view[start : start + size], uncompressed_size=rows.nbytes)
            rows[...] = np.frombuffer(raw, column.dtype).reshape(rows.shape)
            start += size
    known = {*FRAME_COLUMNS, *ACTION_COLUMNS}
    return Segment(
        pictures={name: rows for name, rows in columns.items() if name not in known},
        **{name: columns[name] for name in known},
    )
