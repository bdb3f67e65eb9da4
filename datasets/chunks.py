"""Read rows of a compressed column fast: straight from the file, chunk by chunk, past HDF5's global lock.

HDF5 is asked once where the chunks lie. After that, reading is a `pread`, a checksum and LZ4, which is several
times as fast, runs in many threads at once, and is safe after a fork.
"""

from __future__ import annotations

import math
import os
import zlib
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from worldmodel.datasets.packing import DAMAGED, FLETCHER, LZ4, PIPELINES, checked, unpack, unpack_start
from worldmodel.errors import RecordingError

LARGEST_CHUNK = 2**30
LARGEST_RATIO = 1100  # deflate's is 1032, LZ4's 255
UNREAD = -1  # in place of the CRC-32 of a chunk


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
        self._row_bytes = math.prod(self.row_shape) * self.dtype.itemsize
        self._chunk_bytes = self._chunk * self._row_bytes
        self._filters = pipeline(dataset)
        self._kept: tuple[int, NDArray[Any]] | None = None
        count = -(-self._rows // self._chunk) if dataset.chunks else 0
        offset, sizes = np.zeros(count, np.int64), np.zeros(count, np.int64)

        def note(info: Any) -> None:
            index = info.chunk_offset[0] // self._chunk
            offset[index], sizes[index] = info.byte_offset, info.size
            if info.filter_mask:
                raise self._damaged(index, "a filter was left out")

        if count:
            dataset.id.chunk_iter(note)
        room = path.stat().st_size - offset
        if ((sizes <= 0) | (offset <= 0) | (sizes > room)).any():
            raise RecordingError(f"Shard '{path}': chunks of column '{self._name}' are missing or outside the file.")
        # arrays of Python's own, whose numbers are read faster one by one
        self._offset, self._size, self._crc = (
            array("q", values.tobytes()) for values in (offset, sizes, np.full(count, UNREAD))
        )

    def __len__(self) -> int:
        return self._rows

    def read(self, file: int, start: int, out: NDArray[Any], *, stride: int = 1) -> None:
        """Read rows `start`, `start + stride`, ... from the open file descriptor `file` into `out`.

        Only the chunks that hold those rows are read.

        Raises:
            RecordingError: a checksum is wrong, or a chunk is damaged.
        """
        if len(out):
            read_clips([(self, file, start)], out[None], stride=stride)

    def read_clip(self, file: int, start: int, out: NDArray[Any], clip: int, address: int, *, stride: int) -> None:
        """Read rows `start`, `start + stride`, ... into `out[clip]`; see `read_clips`.

        Args:
            address: of `out`, if its bytes lie together and before the clip may be overwritten; else 0.
        """
        length = out.shape[1]
        last = start + (length - 1) * stride
        if not 0 <= start <= last < self._rows:
            raise RecordingError(f"Rows {start} to {last} were asked for of {self._rows} in '{self._path}'.")
        direct = address and stride == 1 and self._filters == (LZ4, FLETCHER)
        place = address + (clip * length - start) * self._row_bytes  # where the column's row 0 would be
        index = last // self._chunk
        try:
            while index >= start // self._chunk:
                begin = index * self._chunk
                to = place + begin * self._row_bytes
                wanted = min(self._chunk, last + 1 - begin) * self._row_bytes
                if not (
                    direct and to >= address and unpack_start(self._fetch(file, index), self._chunk_bytes, to, wanted)
                ):
                    first = max(0, -(-(begin - start) // stride))
                    rows = self._decode(file, index)[start + first * stride - begin :: stride][: length - first]
                    out[clip, first : first + len(rows)] = rows
                index -= 1
        except (OSError, *DAMAGED) as error:
            raise self._damaged(index, str(error)) from error

    def _decode(self, file: int, index: int) -> NDArray[Any]:
        kept = self._kept
        if kept and kept[0] == index:
            return kept[1]
        raw = unpack(self._fetch(file, index), self._filters, self._chunk_bytes, self.dtype.itemsize)
        rows = np.frombuffer(raw, self.dtype).reshape(self._chunk_shape)
        if self._keep:
            self._kept = index, rows
        return rows

    def _fetch(self, file: int, index: int) -> bytes:
        """Return a chunk as it lies in the file, checksum and all.

        HDF5's checksum is computed the first time, and a CRC-32, which zlib computes at several times the speed; after
        that, the CRC-32 must stay what it was.
        """
        data = os.pread(file, self._size[index], self._offset[index])
        if len(data) != self._size[index]:
            raise ValueError("the file is shorter than it was")
        crc, known = zlib.crc32(data), self._crc[index]
        if crc != known:
            if known != UNREAD:
                raise ValueError("its checksum is wrong: it is not what it was when it was first read")
            checked(data)
            self._crc[index] = crc
        return data

    def _damaged(self, index: int, why: str) -> RecordingError:
        return RecordingError(
            f"Shard '{self._path}' is damaged: chunk {index} of column '{self._name}' cannot be read ({why}). "
            "Keep what is whole with: worldmodel repair"
        )


def read_clips(clips: Sequence[tuple[ChunkedColumn, int, int]], out: NDArray[Any], *, stride: int = 1) -> None:
    """Read clip b, told by its column, an open file descriptor and its first row, into `out[b]`, `[B, L, ...]`.

    From the last clip to the first, each from its end to its start: so a chunk that holds rows before the clip is
    unpacked with those lying over the end of the clip before, which then puts them right. Nothing is copied, and of
    a clip's last chunk no more than is wanted is unpacked.

    Raises:
        RecordingError: a checksum is wrong, or a chunk is damaged.
    """
    if out.size:
        address = out.ctypes.data if out.flags.c_contiguous else 0
        for number in range(len(clips) - 1, -1, -1):
            column, file, start = clips[number]
            column.read_clip(file, start, out, number, address, stride=stride)


def pipeline(dataset: Any) -> tuple[int, ...]:
    """Return the numbers of a column's filters, in the order of writing."""
    creation = dataset.id.get_create_plist()
    return tuple(creation.get_filter(index)[0] for index in range(creation.get_nfilters()))


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
