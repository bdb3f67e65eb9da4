"""Pack rows into chunks as HDF5's filters would, and unpack them: bytes shuffled, compressed, with a checksum.

Workers pack, and shards take what they packed as it is (`write_direct_chunk`); reading goes past HDF5 too, whose
LZ4 filter reads beyond the end of a chunk whose head lies.
"""

from __future__ import annotations

import ctypes
import struct
import zlib
from typing import Any

import lz4.block
import numpy as np
from lz4.block import _block
from numpy.typing import NDArray

GZIP, SHUFFLE, FLETCHER, LZ4 = 1, 2, 3, 32004  # HDF5's registered numbers of filters
GZIP_LEVEL = 4
CHECKSUM_BYTES = 4
Buffer = bytes | memoryview
Filters = tuple[int, ...]  # in the order of writing

# How a shard packs its columns; the checksum comes last, so that nothing is unpacked before it is checked.
PIPELINES = {
    (FLETCHER,),
    *((*shuffle, codec, FLETCHER) for shuffle in ((), (SHUFFLE,)) for codec in (LZ4, GZIP)),
}
DAMAGED = (ValueError, struct.error, zlib.error, lz4.block.LZ4BlockError)  # what `unpack` raises

# LZ4's filter writes the bytes of a chunk and of a block, then each block: its packed bytes, and these.
_LZ4_HEAD, _LZ4_START = struct.Struct(">QI"), struct.Struct(">QII")


def filters_of(dtype: np.dtype[Any], compression: str) -> Filters:
    """Return how a shard packs a column of that kind."""
    codec = {"lz4": LZ4, "gzip": GZIP}[compression]
    return (SHUFFLE, codec, FLETCHER) if dtype.itemsize > 1 else (codec, FLETCHER)


def pack(rows: NDArray[Any], filters: Filters) -> bytes:
    """Pack one chunk, of all its rows."""
    data: Any = np.ascontiguousarray(rows)
    if SHUFFLE in filters:  # first bytes of all numbers, then their second bytes, ...
        data = np.ascontiguousarray(data.reshape(-1).view(np.uint8).reshape(-1, rows.itemsize).T)
    if LZ4 in filters:
        packed: bytes = lz4.block.compress(data, store_size=False)
        if len(packed) >= rows.nbytes:  # the filter keeps such a block as it is
            packed = data.tobytes()
        body = _LZ4_START.pack(rows.nbytes, rows.nbytes, len(packed)) + packed
    else:
        body = zlib.compress(data, GZIP_LEVEL) if GZIP in filters else data.tobytes()
    return body + fletcher32(body).to_bytes(CHECKSUM_BYTES, "little")


def unpack(data: Buffer, filters: Filters, size: int, itemsize: int) -> Buffer:
    """Return the `size` bytes of a chunk, of numbers of `itemsize` bytes.

    Raises:
        DAMAGED: a checksum is wrong, or it does not hold that.
    """
    body: Buffer = checked(data)
    if LZ4 in filters:
        body = unpack_lz4(body, size)
    elif GZIP in filters:
        unzip = zlib.decompressobj()
        body = unzip.decompress(body, size)
        if not unzip.eof and unzip.decompress(unzip.unconsumed_tail, 1):
            raise ValueError("it holds more than its chunk")
    if len(body) != size:
        raise ValueError(f"it holds {len(body)} bytes; expected {size}")
    if SHUFFLE in filters:
        body = np.frombuffer(body, np.uint8).reshape(itemsize, -1).T.tobytes()
    return body


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


def unpack_start(data: bytes, chunk: int, address: int, size: int) -> bool:
    """Unpack the first `size` bytes of a chunk of `chunk` bytes, whose checksum is known to be right, to `address`.

    Not a byte beyond them is touched, and the rest of the chunk costs nothing.

    Returns:
        Whether that was done: not for a chunk in several blocks, or one that did not compress.

    Raises:
        ValueError: it is damaged.
    """
    total, block, packed = _LZ4_START.unpack_from(data)
    if _decompress is None or total != chunk or block < chunk or packed == chunk:
        return False
    if packed != len(data) - _LZ4_START.size - CHECKSUM_BYTES:
        raise ValueError("its block ends early or late")
    if _decompress(data[_LZ4_START.size :], address, packed, size, size) != size:
        raise ValueError("LZ4 cannot unpack it")
    return True


def _lz4_partial() -> Any:
    """Return LZ4's function that unpacks the start of a block into memory, which its Python package does not offer.

    The library lies in that package, or is loaded by it; None where it keeps its functions to itself.
    """
    try:
        function = ctypes.CDLL(_block.__file__).LZ4_decompress_safe_partial
    except (AttributeError, OSError):
        return None
    function.argtypes = (ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int)
    return function


_decompress = _lz4_partial()


def checked(data: Buffer) -> memoryview:
    """Return `data` without its checksum.

    Raises:
        ValueError: the checksum is wrong.
    """
    body = memoryview(data)[:-CHECKSUM_BYTES]
    if len(data) < CHECKSUM_BYTES or fletcher32(body) != int.from_bytes(data[-CHECKSUM_BYTES:], "little"):
        raise ValueError("its checksum is wrong")
    return body


def fletcher32(data: Buffer) -> int:
    """Return HDF5's Fletcher-32: over big-endian 16-bit words, an odd last byte as the high one.

    Computed over little-endian words, whose sums are the same with their bytes swapped: the sum of the words, and
    the sum of its running values.

    Source: Fletcher, An arithmetic checksum for serial transmissions, 1982. A sum that is a multiple of 65,535
    is kept as 65,535, as folding the carries does, unless everything is zero.
    """
    words = np.frombuffer(data, "<u2", len(data) // 2)
    if len(data) % 2:
        words = np.append(words, np.uint16(data[-1]))
    first = second = 0
    for start in range(0, len(words), _PIECE):
        running = np.add.accumulate(words[start : start + _PIECE].astype(np.uint64))
        second += first * len(running) + int(np.add.reduce(running))
        first += int(running[-1])
    return _folded(second) << 16 | _folded(first)


def _folded(total: int) -> int:
    """Return a sum modulo 65,535, its two bytes swapped."""
    return (total * 256 - 1) % 65535 + 1 if total else 0


_PIECE = 2**20  # words, of which the sum of running sums fits into 64 bits
