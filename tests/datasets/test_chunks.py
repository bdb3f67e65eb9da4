"""Reading past HDF5: the same numbers as HDF5 reads, and what is damaged is refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest

from worldmodel.datasets.chunks import ChunkedColumn, check_dataset, pipeline, read_clips
from worldmodel.datasets.packing import FLETCHER, GZIP, LZ4, SHUFFLE, fletcher32, unpack_lz4
from worldmodel.errors import RecordingError

PACKINGS: dict[str, dict[str, Any]] = {
    "lz4": {**hdf5plugin.LZ4(), "fletcher32": True},
    "lz4 in blocks": {**hdf5plugin.LZ4(nbytes=100), "fletcher32": True},
    "lz4 shuffled": {**hdf5plugin.LZ4(), "shuffle": True, "fletcher32": True},
    "gzip": {"compression": "gzip", "compression_opts": 4, "fletcher32": True},
    "gzip shuffled": {"compression": "gzip", "shuffle": True, "fletcher32": True},
    "only checked": {"fletcher32": True},
}
FOREIGN: dict[str, dict[str, Any]] = {
    "no checksum": {**hdf5plugin.LZ4()},
    "nothing": {},
    "another filter": {**hdf5plugin.Zstd(), "fletcher32": True},
    "two codecs": {**hdf5plugin.Bitshuffle(), "fletcher32": True},
}


def stored(
    path: Path, rows: np.ndarray, chunk: int, packing: str = "lz4", *, keep: bool = False
) -> tuple[ChunkedColumn, list[Any]]:
    """Write a column; return it, and what h5py says of its chunks."""
    with h5py.File(path, "w") as file:
        file.create_dataset("rows", data=rows, chunks=(chunk, *rows.shape[1:]), **PACKINGS[packing])
    with h5py.File(path) as file:
        dataset = file["rows"]
        check_dataset(path, dataset)
        return ChunkedColumn(path, dataset, keep=keep), [
            dataset.id.get_chunk_info(n) for n in range(dataset.id.get_num_chunks())
        ]


@contextmanager
def opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def samples() -> Iterator[np.ndarray]:
    """Yield bytes of many lengths: noise, all zero, all one, and sums that are multiples of 65,535."""
    rng = np.random.default_rng(0)
    for size in [*range(1, 40), 719, 720, 721, 1440, 65_535, 65_536, 100_001]:
        yield rng.integers(0, 256, size, np.uint8)
    for size in (1, 2, 3, 4, 1000, 1001):
        yield np.zeros(size, np.uint8)
        yield np.full(size, 0xFF, np.uint8)
        yield np.frombuffer(bytes([0, 1, 0xFF, 0xFE]) * size, np.uint8)
    for size in (2 * 2**20 - 1, 2 * 2**20, 2 * 2**20 + 1, 5 * 2**20 + 3):
        yield np.full(size, 0xFF, np.uint8)
        yield rng.integers(0, 256, size, np.uint8)


def test_the_checksum_is_hdf5_s_own(tmp_path: Path) -> None:
    for data in samples():
        with h5py.File(tmp_path / "file.h5", "w") as file:
            dataset = file.create_dataset("rows", data=data, chunks=data.shape, fletcher32=True)
            _, raw = dataset.id.read_direct_chunk((0,))
        assert raw[:-4] == data.tobytes()
        assert fletcher32(raw[:-4]) == int.from_bytes(raw[-4:], "little"), len(data)


def test_the_checksum_of_known_words() -> None:
    assert fletcher32(b"") == 0
    assert fletcher32(b"\x00\x01\x00\x02") == 4 << 16 | 3  # 1 + (1 + 2), 1 + 2
    assert fletcher32(b"\x12") == 0x1200 << 16 | 0x1200


@pytest.mark.parametrize("block", [0, 1, 7, 100, 999, 1000, 1001, 4096])
@pytest.mark.parametrize("kind", ["noise", "zeros", "ramp", "half noise"])
def test_lz4_is_unpacked_as_hdf5plugin_packs_it(block: int, kind: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, 4000, np.uint8)
    data = {
        "noise": noise,  # which LZ4 cannot pack, and keeps as it is
        "zeros": np.zeros(4000, np.uint8),
        "ramp": np.arange(4000).astype(np.uint8),
        "half noise": np.concatenate([noise[:2000], np.zeros(2000, np.uint8)]),
    }[kind]
    with h5py.File(tmp_path / "file.h5", "w") as file:
        dataset = file.create_dataset("rows", data=data, chunks=data.shape, **hdf5plugin.LZ4(nbytes=block))
        _, raw = dataset.id.read_direct_chunk((0,))
    assert unpack_lz4(raw, 4000) == data.tobytes()
    assert unpack_lz4(memoryview(raw), 4000) == data.tobytes()
    for wrong in (0, 3999, 4001):
        with pytest.raises(ValueError, match="expected"):
            unpack_lz4(raw, wrong)


def test_filters_are_told_by_their_numbers(tmp_path: Path) -> None:
    expected = {
        "lz4": {LZ4, FLETCHER},
        "lz4 shuffled": {SHUFFLE, LZ4, FLETCHER},
        "gzip": {GZIP, FLETCHER},
        "only checked": {FLETCHER},
    }
    for packing, filters in expected.items():
        stored(tmp_path / "file.h5", np.zeros((4, 4), np.int32), 2, packing)
        with h5py.File(tmp_path / "file.h5") as file:
            assert set(pipeline(file["rows"])) == filters


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize(
    ("dtype", "row"), [("u1", (5, 4, 3)), ("<f4", (4, 4)), ("<i4", (3, 2, 2)), ("<f8", ()), ("<u2", (1,))]
)
def test_rows_are_those_that_h5py_reads(
    packing: str, dtype: str, row: tuple[int, ...], keep: bool, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "file.h5"
    for count, chunk in ((1, 1), (8, 8), (37, 8), (37, 1), (20, 19)):
        rows = rng.integers(0, 200, (count, *row)).astype(dtype)
        column, _ = stored(path, rows, chunk, packing, keep=keep)
        assert (len(column), column.row_shape, column.dtype) == (count, row, dtype)
        with opened(path) as file, h5py.File(path) as hdf5:
            for _ in range(20):
                start, stride = int(rng.integers(count)), int(rng.integers(1, 12))
                length = int(rng.integers(1, (count - 1 - start) // stride + 2))
                out = np.empty((length, *row), dtype)
                column.read(file, start, out, stride=stride)
                assert np.array_equal(out, hdf5["rows"][start : start + length * stride : stride][:length])


@pytest.mark.parametrize("packing", ["lz4", "lz4 in blocks", "gzip"])
@pytest.mark.parametrize(("dtype", "row"), [("u1", (5, 4, 3)), ("<f4", (2,))])
@pytest.mark.parametrize(("length", "stride"), [(1, 1), (3, 1), (8, 1), (9, 1), (30, 1), (2, 3), (5, 7)])
def test_clips_lie_side_by_side(
    length: int, stride: int, packing: str, dtype: str, row: tuple[int, ...], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    files = {}
    for name, count in (("one", 37), ("other", 64)):  # the first's last chunk is not full
        rows = rng.integers(0, 9, (count, *row)).astype(dtype)
        files[name] = rows, stored(tmp_path / name, rows, 8, packing)[0]
    with opened(tmp_path / "one") as one, opened(tmp_path / "other") as other:
        descriptors = {"one": one, "other": other}
        chosen = [
            (name, int(rng.integers(len(files[name][0]) - (length - 1) * stride)))
            for name in rng.choice(["one", "other"], 40)
        ]
        clips = [(files[name][1], descriptors[name], start) for name, start in chosen]
        expected = [files[name][0][start : start + length * stride : stride][:length] for name, start in chosen]
        around = np.full((42, length, *row), 77, dtype)
        for out in (around[1:-1], np.empty((length, 40, *row), dtype).swapaxes(0, 1)):
            for _ in range(2):  # read for the first time, and again
                read_clips(clips, out, stride=stride)
                assert np.array_equal(out, expected)
        assert (around[[0, -1]] == 77).all()


def test_bytes_that_change_after_they_were_checked_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    column, chunks = stored(path, np.random.default_rng(0).integers(0, 3, (16, 500), np.uint8), 8)
    out = np.empty((16, 500), np.uint8)
    with opened(path) as file:
        column.read(file, 0, out)
        broken = bytearray(path.read_bytes())
        broken[chunks[1].byte_offset + 100] ^= 1
        path.write_bytes(broken)
        with pytest.raises(RecordingError, match=r"chunk 1 .*not what it was"):
            column.read(file, 0, out)


@pytest.mark.parametrize(("start", "length", "stride"), [(-1, 2, 1), (0, 38, 1), (37, 1, 1), (36, 2, 1), (0, 5, 10)])
def test_rows_that_are_not_there_are_refused(start: int, length: int, stride: int, tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    column, _ = stored(path, np.zeros((37, 2)), 8)
    with opened(path) as file, pytest.raises(RecordingError, match=r"Rows .* of 37"):
        column.read(file, start, np.empty((length, 2)), stride=stride)


def test_reading_no_rows_reads_nothing(tmp_path: Path) -> None:
    column, _ = stored(tmp_path / "file.h5", np.zeros((37, 2)), 8)
    with opened(tmp_path / "file.h5") as file:
        column.read(file, 3, np.empty((0, 2)))


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_flipped_byte_anywhere_in_a_chunk_is_refused(packing: str, tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    rows = np.random.default_rng(0).integers(0, 3, (16, 15), np.uint8)
    column, chunks = stored(path, rows, 8, packing)
    whole, out = path.read_bytes(), np.empty((8, 15), np.uint8)
    for at in range(chunks[1].byte_offset, chunks[1].byte_offset + chunks[1].size):
        broken = bytearray(whole)
        broken[at] ^= 0xFF
        path.write_bytes(broken)
        with opened(path) as file:
            column.read(file, 0, out)
            assert np.array_equal(out, rows[:8])
            with pytest.raises(RecordingError, match=r"chunk 1 of column '/rows'.*worldmodel repair"):
                column.read(file, 8, out)


@pytest.mark.parametrize("packing", PACKINGS)
def test_damage_with_a_right_checksum_never_crashes(packing: str, tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    rng = np.random.default_rng(0)
    column, chunks = stored(path, rng.integers(0, 3, (8, 60), np.int32), 8, packing)
    whole, out = path.read_bytes(), np.empty((8, 60), np.int32)
    begin, end = chunks[0].byte_offset, chunks[0].byte_offset + chunks[0].size
    for _ in range(200):
        broken = bytearray(whole)
        for at in rng.integers(begin, end - 4, 3):
            broken[at] = rng.integers(256)
        broken[end - 4 : end] = fletcher32(broken[begin : end - 4]).to_bytes(4, "little")
        path.write_bytes(broken)
        with opened(path) as file, suppress(RecordingError):
            column.read(file, 0, out)


@pytest.mark.parametrize("packing", FOREIGN)
def test_columns_that_are_packed_in_other_ways_are_refused(packing: str, tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("rows", data=np.zeros((8, 4)), chunks=(8, 4), **FOREIGN[packing])
    with h5py.File(path) as file, pytest.raises(RecordingError, match=r"'/rows' .*do not trust it"):
        check_dataset(path, file["rows"])


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_file_that_became_shorter_is_refused(packing: str, tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    rows = np.random.default_rng(0).integers(0, 256, (16, 40), np.uint8)
    column, chunks = stored(path, rows, 8, packing)
    with opened(path) as file:
        os.truncate(path, chunks[1].byte_offset + chunks[1].size - 1)
        with pytest.raises(RecordingError, match="shorter than it was"):
            column.read(file, 8, np.empty((8, 40), np.uint8))
        os.truncate(path, 0)
        with pytest.raises(RecordingError, match="shorter than it was"):
            column.read(file, 0, np.empty((8, 40), np.uint8))


def test_chunks_that_were_never_written_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("rows", (16, 4), np.uint8, chunks=(8, 4), fletcher32=True)
        dataset[:8] = 1
    with h5py.File(path) as file, pytest.raises(RecordingError, match="missing"):
        ChunkedColumn(path, file["rows"])


@pytest.mark.parametrize("keep", [False, True])
def test_threads_may_read_at_once(keep: bool, tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    rows = np.random.default_rng(0).integers(0, 256, (200, 16, 16, 3), np.uint8)
    column, _ = stored(path, rows, 8, keep=keep)
    with opened(path) as file, ThreadPoolExecutor(8) as pool:

        def right(start: int) -> bool:
            out = np.empty((20, 16, 16, 3), np.uint8)
            column.read(file, start, out, stride=3)
            return np.array_equal(out, rows[start : start + 60 : 3])

        assert all(pool.map(right, np.random.default_rng(1).integers(0, 140, 400).tolist()))
