"""Read rows of a compressed column fast: straight from the file, chunk by chunk, past HDF5's global lock.

HDF5 is asked once where the chunks lie. After that, reading is a `pread`, a checksum and LZ4, which is several
times as fast, runs in many threads at once, and is safe after a fork. It also keeps bytes that nobody has checked
from HDF5's LZ4 filter, which reads beyond the end of a chunk whose head lies.
"""

from __future__ import annotations

import math
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import h5py
import lz4.block
import numpy as np
from numpy.typing import NDArray

from worldmodel.errors import RecordingError

GZIP, SHUFFLE, FLETCHER, LZ4 = 1, 2, 3, 32004  # HDF5's registered numbers of filters
Buffer = bytes | memoryview
# How a shard packs its columns; the checksum comes last, so that nothing is unpacked before it is checked.
PIPELINES = {
    (FLETCHER,),
    *((*shuffle, codec, FLETCHER) for shuffle in ((), (SHUFFLE,)) for codec in (LZ4, GZIP)),
}
LARGEST_CHUNK = 2**30
LARGEST_RATIO = 1100  # deflate's is 1032, LZ4's 255

_LZ4_HEAD = struct.Struct(">QI")


class ChunkedColumn:
    """Where the chunks of one column lie in its file.

    Args:
        path: the file.
        dataset: the column, h5py's, which has passed `check_dataset`. It is not kept.
        keep: keep the last chunk in memory, for columns that are read a few rows at a time.

    Attributes:
        row_shape: shape of one row.
        dtype: kind of its numbers.

    Raises:
        RecordingError: chunks are missing, do not lie in the file, or are packed in a way that a shard never is.
    """

    def __init__(self, path: Path, dataset: Any, *, keep: bool = False) -> None:
        self._path, self._name, self._keep = path, dataset.name, keep
        self.row_shape, self.dtype = tuple(dataset.shape[1:]), dataset.dtype
        self._rows, self._chunk_shape = int(dataset.shape[0]), dataset.chunks or (1, *self.row_shape)
        self._chunk = self._chunk_shape[0]
        self._chunk_bytes = math.prod(self._chunk_shape) * self.dtype.itemsize
        self._filters = pipeline(dataset)
        self._kept: tuple[int, NDArray[Any]] | None = None
        count = -(-self._rows // self._chunk) if dataset.chunks else 0
        self._offset, self._size = np.zeros(count, np.int64), np.zeros(count, np.int64)

        def note(info: Any) -> None:
            index = info.chunk_offset[0] // self._chunk
            self._offset[index], self._size[index] = info.byte_offset, info.size
            if info.filter_mask:
                raise self._damaged(index, "a filter was left out")

        if count:
            dataset.id.chunk_iter(note)
        room = path.stat().st_size - self._offset
        if ((self._size <= 0) | (self._offset <= 0) | (self._size > room)).any():
            raise RecordingError(f"Shard '{path}': chunks of column '{self._name}' are missing or outside the file.")

    def __len__(self) -> int:
        return self._rows

    def read(self, file: int, start: int, out: NDArray[Any], *, stride: int = 1) -> None:
        """Read rows `start`, `start + stride`, ... from the open file descriptor `file` into `out`.

        Only the chunks that hold those rows are read.

        Raises:
            RecordingError: a checksum is wrong, or a chunk is damaged.
        """
        if not out.size:
            return
        last = start + (len(out) - 1) * stride
        if not 0 <= start <= last < self._rows:
            raise RecordingError(f"Rows {start} to {last} were asked for of {self._rows} in '{self._path}'.")
        filled = 0
        while filled < len(out):
            row = start + filled * stride
            index, within = divmod(row, self._chunk)
            rows = self._decode(file, index)[within::stride][: len(out) - filled]
            out[filled : filled + len(rows)] = rows
            filled += len(rows)

    def _decode(self, file: int, index: int) -> NDArray[Any]:
        kept = self._kept
        if kept and kept[0] == index:
            return kept[1]
        size = int(self._size[index])
        try:
            data = os.pread(file, size, int(self._offset[index]))
            if len(data) != size:
                raise ValueError("the file is shorter than it was")
            raw = self._unpack(_checked(data))
        except (OSError, ValueError, struct.error, zlib.error, lz4.block.LZ4BlockError) as error:
            raise self._damaged(index, str(error)) from error
        rows = np.frombuffer(raw, self.dtype).reshape(self._chunk_shape)
        if self._keep:
            self._kept = index, rows
        return rows

    def _unpack(self, data: Buffer) -> Buffer:
        if LZ4 in self._filters:
            data = unpack_lz4(data, self._chunk_bytes)
        elif GZIP in self._filters:
            unzip = zlib.decompressobj()
            data = unzip.decompress(data, self._chunk_bytes)
            if not unzip.eof and unzip.decompress(unzip.unconsumed_tail, 1):
                raise ValueError("it holds more than its chunk")
        if len(data) != self._chunk_bytes:
            raise ValueError(f"it holds {len(data)} bytes; expected {self._chunk_bytes}")
        if SHUFFLE in self._filters:  # first bytes of all numbers, then their second bytes, ...
            data = np.frombuffer(data, np.uint8).reshape(self.dtype.itemsize, -1).T.tobytes()
        return data

    def _damaged(self, index: int, why: str) -> RecordingError:
        return RecordingError(
            f"Shard '{self._path}' is damaged: chunk {index} of column '{self._name}' cannot be read ({why}). "
            "Keep what is whole with: worldmodel repair"
        )


def pipeline(dataset: Any) -> tuple[int, ...]:
    """Return the numbers of a column's filters, in the order of writing."""
    creation = dataset.id.get_create_plist()
    return tuple(creation.get_filter(index)[0] for index in range(creation.get_nfilters()))


def unpack_lz4(data: Buffer, expected: int) -> bytes:
    """Unpack what HDF5's LZ4 filter packed.

    Raises:
        ValueError: it does not hold `expected` bytes.
    """
    total, block = _LZ4_HEAD.unpack_from(data)
    if total != expected or block == 0:
        raise ValueError(f"its head says {total} bytes in blocks of {block}; expected {expected}")
    parts: list[Any] = []
    at, left, view = _LZ4_HEAD.size, total, memoryview(data)
    while left:
        here = min(block, left)
        packed = int.from_bytes(view[at : at + 4], "big")
        body = view[at + 4 : at + 4 + packed]
        if len(body) != packed:
            raise ValueError("a block ends early")
        parts.append(body if packed == here else lz4.block.decompress(body, uncompressed_size=here))
        at, left = at + 4 + packed, left - here
    return bytes(parts[0]) if len(parts) == 1 and isinstance(parts[0], bytes) else b"".join(parts)


def _checked(data: bytes) -> memoryview:
    """Return `data` without its checksum.

    Raises:
        ValueError: the checksum is wrong.
    """
    body = memoryview(data)[:-4]
    if len(data) < 4 or fletcher32(body) != int.from_bytes(data[-4:], "little"):
        raise ValueError("its checksum is wrong")
    return body


def fletcher32(data: Buffer) -> int:
    """Return HDF5's Fletcher-32: over big-endian 16-bit words, an odd last byte as the high one.

    Computed over little-endian words, whose sums are the same with their bytes swapped, and in float64, which
    is exact here and fast.

    Source: Fletcher, An arithmetic checksum for serial transmissions, 1982. A sum that is a multiple of 65,535
    is kept as 65,535, as folding the carries does, unless everything is zero.
    """
    words = np.frombuffer(data, "<u2", len(data) // 2).astype(np.float64)
    if len(data) % 2:
        words = np.append(words, float(data[-1]))
    first = second = 0
    for start in range(0, len(words), _PIECE):
        piece = words[start : start + _PIECE]
        second += first * len(piece) + int(piece @ _WEIGHTS[_PIECE - len(piece) :])
        first += int(piece @ _ONES[: len(piece)])
    return _folded(second) << 16 | _folded(first)


def _folded(total: int) -> int:
    """Return a sum modulo 65,535, its two bytes swapped."""
    return (total * 256 - 1) % 65535 + 1 if total else 0


_PIECE = 2**17  # words: a sum of so many, weighted, is exact in float64
_WEIGHTS = np.arange(_PIECE, 0, -1, dtype=np.float64)
_ONES = np.ones(_PIECE)


def check_dataset(path: Path, dataset: Any) -> None:
    """Refuse a dataset that a shard never holds: foreign filters, links to other files, impossible sizes.

    Raises:
        RecordingError: says which dataset, and what is wrong with it.
    """

    def refuse(what: str) -> RecordingError:
        return RecordingError(
            f"Shard '{path}': column '{dataset.name}' {what}; a recording never has that. It was made or changed by "
            "something else: do not trust it."
        )

    if dataset.is_virtual or dataset.external:
        raise refuse("keeps its rows in other files")
    if dataset.dtype.kind not in "uif" or h5py.check_dtype(ref=dataset.dtype) is not None:
        raise refuse(f"is of kind {dataset.dtype}")
    if dataset.shape is None or dataset.maxshape not in (dataset.shape, (None, *dataset.shape[1:])):
        raise refuse("has no fixed shape")
    if not dataset.id.get_type().equal(h5py.h5t.py_create(dataset.dtype)):
        raise refuse(f"keeps its numbers in another form than {dataset.dtype}")
    if h5py.h5o.get_info(dataset.id).rc != 1:
        raise refuse("has several names")
    size = dataset.size * dataset.dtype.itemsize
    filters = pipeline(dataset)
    if size and filters not in PIPELINES:
        raise refuse(f"is packed by the filters {filters}")
    if size and (not dataset.chunks or dataset.chunks[1:] != dataset.shape[1:]):
        raise refuse(f"has chunks of {dataset.chunks}")
    if size > LARGEST_RATIO * path.stat().st_size + 2**20:
        raise refuse(f"claims {size:,} bytes in a file of {path.stat().st_size:,}")
    if dataset.chunks and math.prod(dataset.chunks) * dataset.dtype.itemsize > LARGEST_CHUNK:
        raise refuse(f"has chunks of {dataset.chunks}")
    if size:
        expected = -(-len(dataset) // dataset.chunks[0])
        if dataset.id.get_num_chunks() != expected:
            raise refuse(f"has {dataset.id.get_num_chunks()} of its {expected} chunks")
