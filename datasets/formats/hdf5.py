"""What the formats in HDF5 share: a file that is filled piece by piece, and columns of one that somebody else made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import DTypeLike, NDArray

from worldmodel.datasets.disk import Disk, sync
from worldmodel.datasets.formats.rows import NUMBERS, Columns, Reader
from worldmodel.datasets.formats.source import Source, SourceConfig, SourceEpisode, fit, reading
from worldmodel.datasets.schema import SEGMENT_FRAMES, Ending, Segment, picture_column
from worldmodel.errors import RecordingError
from worldmodel.interrupts import signals_held

STATE = ("qpos", "qvel")  # columns of others that are taken for what they are called


class Hdf5Output:
    """An HDF5 file to fill; a full disk raises, where HDF5 itself would crash the interpreter.

    Args:
        path: the file to make.
        packing: h5py's options of compression, for pictures.
        pictures_per_chunk: pictures that are compressed as one.
    """

    def __init__(self, path: Path, packing: Mapping[str, Any], pictures_per_chunk: int) -> None:
        self._path, self._packing, self._pictures_per_chunk = path, dict(packing), pictures_per_chunk
        self._disk = Disk(path)
        with signals_held():
            self.file: Any = h5py.File(self._disk, "w", libver="latest")

    def column(self, name: str, count: int, like: NDArray[Any], *, fill: float = 0) -> None:
        """Make a column of `count` rows like those of `like`; what is not written later stays `fill`."""
        shape = (count, *like.shape[1:])
        with signals_held():
            if like.ndim >= 3 and count:
                chunks = (min(self._pictures_per_chunk, count), *shape[1:])
                self.file.create_dataset(name, shape, like.dtype, chunks=chunks, fillvalue=fill, **self._packing)
            else:
                self.file.create_dataset(name, shape, like.dtype, fillvalue=fill)
        self._disk.check()

    def write(self, name: str, start: int, rows: NDArray[Any]) -> None:
        """Write rows from row `start` on."""
        if rows.size:
            with signals_held():
                self.file[name][start : start + len(rows)] = rows
            self._disk.check()

    def write_blocks(self, name: str, offset: int, start: int, rows: NDArray[Any]) -> None:
        """Write rows that lead into the frames from `start` on to where the frames before them are.

        Args:
            offset: row of the episode's first frame.
        """
        self.write(name, offset + max(start - 1, 0), rows if start else rows[1:])

    def attributes(self, name: str, values: Mapping[str, object]) -> None:
        """Set attributes of a group or column, "/" for those of the file."""
        with signals_held():
            self.file.require_group(name).attrs.update(values)
        self._disk.check()

    def __enter__(self) -> Hdf5Output:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with signals_held():
            self.file.close()
        self._disk.close()
        if kind is None:
            self._disk.check()
            sync(self._path)


@contextmanager
def hdf5_input(path: Path, format: str) -> Iterator[Any]:
    """Open an HDF5 file to read."""
    if not path.is_file():
        raise RecordingError(f"'{path}' {'is no file' if path.exists() else 'does not exist'}; expected {format}.")
    with reading(path, format):
        file = h5py.File(path, "r", locking=False)
    with file:
        yield file


@contextmanager
def hdf5_source(path: Path, format: str, build: Callable[[Any], Source]) -> Iterator[Source]:
    """Open an HDF5 file for as long as the source is used that `build` makes of it."""
    with hdf5_input(path, format) as file:
        with reading(path, format):
            source = build(file)
        yield source


def episode_of(
    columns: Columns, path: Path, format: str, *, index: int, seed: int, ending: Ending, length: int, steps: int
) -> SourceEpisode:
    """Return an episode that is read from `columns`; what goes wrong then names the file."""

    def read() -> Iterator[Segment]:
        with reading(path, format):
            yield from columns.segments(f"'{path}', episode {index}", length)

    return SourceEpisode(index, seed, ending, length, steps, read)


def part(dataset: Any, offset: int = 0) -> Reader:
    """Read rows of a dataset, counted from row `offset`."""
    return lambda start, stop: dataset[offset + start : offset + stop]


def constant(row: NDArray[Any]) -> Reader:
    """Read the same row again and again."""
    return lambda start, stop: np.repeat(row[None], stop - start, axis=0)


def fitted(read: Reader, config: SourceConfig) -> Reader:
    """Read pictures, at the size asked for."""
    return lambda start, stop: fit(read(start, stop), config)


def foreign_columns(
    pictures: Mapping[str, Reader],
    numbers: Mapping[str, Reader],
    action: Reader,
    reward: Reader | None,
    *,
    config: SourceConfig,
    seconds: float,
) -> Columns:
    """Return an episode of a data set that somebody else made: one action to a frame, reward 0 where there is none.

    Args:
        pictures: by the camera's name.
        numbers: those of `NUMBERS` that there are; without `time`, frames are `seconds` apart.
    """

    def clock(start: int, stop: int) -> NDArray[np.float64]:
        return np.arange(start, stop, dtype=np.float64) * seconds

    def step_reward(start: int, stop: int) -> NDArray[np.float64]:
        if reward is None:
            return np.zeros((stop - start, 1))
        return np.asarray(reward(start, stop), np.float64).reshape(stop - start, 1)

    return Columns(
        pictures={picture_column("rgb", name): fitted(read, config) for name, read in pictures.items()},
        numbers={"time": clock, **{name: read for name, read in numbers.items() if name in NUMBERS}},
        action=action,
        step_reward=step_reward,
        control_steps=constant(np.array(1)),
    )


def in_pieces(read: Reader, count: int) -> Iterator[NDArray[Any]]:
    """Yield all of `count` rows."""
    for start in range(0, count, SEGMENT_FRAMES):
        yield read(start, min(start + SEGMENT_FRAMES, count))


def ending_of(*, terminated: bool, truncated: bool) -> Ending:
    """Return how an episode ended, by the two words that gymnasium has for it."""
    return Ending.TERMINATED if terminated else Ending.TRUNCATED if truncated else Ending.LIMIT


def dataset(group: Any, name: str, kind: DTypeLike | None = None) -> Any:
    """Return a dataset of a group.

    Raises:
        RecordingError: there is none of that name, or it holds another kind of numbers.
    """
    held = group.get(name)
    if not isinstance(held, h5py.Dataset) or held.ndim == 0:
        raise RecordingError(f"'{group.file.filename}' has no column '{group.name.rstrip('/')}/{name}'.")
    if kind is not None and not np.issubdtype(held.dtype, kind):
        raise RecordingError(f"'{group.file.filename}': column '{name}' is {held.dtype}; expected {kind}.")
    return held
