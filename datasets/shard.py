"""Read one HDF5 file of whole episodes; nothing in it is believed before it is checked."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  registers the LZ4 that columns are compressed by
import numpy as np
from numpy.typing import NDArray

from worldmodel.datasets.chunks import ChunkedColumn, check_dataset
from worldmodel.datasets.manifest import Provenance
from worldmodel.datasets.schema import (
    ACTION_COLUMNS,
    EPISODE_COLUMNS,
    FORMAT,
    FRAME_COLUMNS,
    SEGMENT_FRAMES,
    VERSION,
    Ending,
    Episode,
    Segment,
    whole_episode,
)
from worldmodel.envs.channels import CHANNELS
from worldmodel.errors import RecordingError

# What h5py raises over a file that is damaged or made by somebody else.
UNREADABLE = (OSError, KeyError, AttributeError, IndexError, TypeError, ValueError, RuntimeError, OverflowError)
PICTURE_KINDS = {spec.group: spec.dtype for spec in CHANNELS.values()}


class Shard:
    """Read one shard. The file is opened when first needed, anew in every process, so that a fork is safe.

    Args:
        path: the file.
        pictures: its columns of pictures, and the shape of one picture in each.

    Raises:
        RecordingError: on first use, if the file is missing, foreign, damaged or inconsistent.
    """

    def __init__(self, path: Path, pictures: Mapping[str, tuple[int, ...]]) -> None:
        self.path, self.pictures = path, dict(pictures)
        self._lock = threading.Lock()
        self._forget()

    @classmethod
    def of(cls, path: Path, provenance: Provenance) -> Shard:
        """Return the shard of a recording of that provenance."""
        return cls(path, provenance.picture_shapes)

    def _forget(self) -> None:
        self._open_in: int | None = None
        self._file: Any = None
        self._descriptor = -1
        self._columns: dict[str, ChunkedColumn] = {}
        self._episodes: dict[str, NDArray[Any]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "pictures": self.pictures}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"], state["pictures"])  # type: ignore[misc]

    @property
    def file(self) -> Any:
        """The file, h5py's, opened and checked."""
        with self._lock:
            if self._open_in != os.getpid():
                if self._open_in is not None:  # a fork's copy, whose position in the file the parent shares
                    self._abandon(self._file)
                self._file = self._open()
                self._open_in = os.getpid()
            return self._file

    def _open(self) -> Any:
        try:
            kind = self.path.lstat().st_mode
        except (OSError, ValueError) as error:
            raise RecordingError(
                f"Shard '{self.path}' is missing, though the manifest lists it ({error}). Restore the file."
            ) from error
        if not stat.S_ISREG(kind):
            raise RecordingError(
                f"Shard '{self.path}' is a link, a folder or a device; expected a file. Put the file itself there."
            )
        try:
            file = h5py.File(self.path, "r", locking=False)  # a shard never changes under its name
        except UNREADABLE as error:
            raise RecordingError(
                f"Shard '{self.path}' cannot be read as HDF5: it is truncated, damaged or another kind of file "
                f"({error})."
            ) from error
        try:
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            self._check(file)
        except UNREADABLE as error:
            self._abandon(file)
            raise RecordingError(
                f"Shard '{self.path}' is foreign or damaged: a column of the format is missing or unreadable ({error})."
            ) from error
        except RecordingError:
            self._abandon(file)
            raise
        return file

    def _abandon(self, file: Any) -> None:
        file.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._forget()

    def _check(self, file: Any) -> None:
        if (_attribute(file, "format"), _attribute(file, "version")) != (FORMAT.encode(), VERSION):
            raise RecordingError(f"'{self.path}' is HDF5 but not a shard of {FORMAT} version {VERSION}.")
        if file.userblock_size:
            raise RecordingError(f"Shard '{self.path}' has something before its data; a recording never has that.")
        frames, actions = (self._rows_of(file, f"episode/{name}_start") for name in ("frame", "action"))
        episodes = len(file["episode/frame_start"]) - 1
        groups = {name: name.split("/")[0] for name in self.pictures}
        # rows, kind, and shape of a row (or how many axes the column has)
        expected: dict[str, tuple[int, type[np.generic], tuple[int, ...] | int]] = {
            **{name: (frames, PICTURE_KINDS[groups[name]], shape) for name, shape in self.pictures.items()},
            **{name: (frames, kind, axes) for name, (kind, axes) in FRAME_COLUMNS.items()},
            **{name: (actions, kind, axes) for name, (kind, axes) in ACTION_COLUMNS.items()},
            **{
                f"episode/{name}": (episodes + name.endswith("_start"), kind, 1)
                for name, kind in EPISODE_COLUMNS.items()
            },
        }
        self._check_names(file, set(expected), {"episode", *groups.values()})
        for name, (rows, kind, row) in expected.items():
            column = file[name]
            self._add(name, column)
            fits = column.ndim == row if isinstance(row, int) else column.shape[1:] == row
            if len(column) != rows or column.dtype != kind or not fits:
                what = f"{row} axes" if isinstance(row, int) else f"shape {row}"
                raise RecordingError(
                    f"Shard '{self.path}': column '{name}' is {column.dtype} {column.shape}; expected {rows} rows "
                    f"of {np.dtype(kind)}, {what}."
                )

    def _rows_of(self, file: Any, name: str) -> int:
        """Return how many rows an index of first rows speaks of."""
        for place in (name.split("/")[0], name):
            if not isinstance(file.get(place, getlink=True), h5py.HardLink):
                raise RecordingError(f"Shard '{self.path}' has no column '{name}' of its own.")
        column = self._add(name, file[name])
        start = self._rows(column, 0, len(column))
        least = 1 if name.endswith("frame_start") else 0
        column_of_numbers = start.ndim == 1 and start.dtype == np.int64 and len(start) >= 2
        if not column_of_numbers or start[0] != 0 or (np.diff(start) < least).any():
            raise RecordingError(f"Shard '{self.path}': {name} must rise from 0 row by row; it is {start}.")
        return int(start[-1])

    def _add(self, name: str, dataset: Any) -> ChunkedColumn:
        check_dataset(self.path, dataset)
        self._columns[name] = ChunkedColumn(self.path, dataset, keep=name not in self.pictures)
        return self._columns[name]

    def _check_names(self, file: Any, columns: set[str], groups: set[str]) -> None:
        """Refuse anything but the columns themselves: links to elsewhere, and what nobody here wrote."""
        for group in ("/", *groups):
            for key in file[group]:
                name = key if group == "/" else f"{group}/{key}"
                if not isinstance(file.get(name, getlink=True), h5py.HardLink):
                    raise RecordingError(f"Shard '{self.path}': '{name}' is a link; a recording never has one.")
                if name not in columns | groups:
                    raise RecordingError(f"Shard '{self.path}' holds '{name}', which this recording does not have.")
                if not isinstance(file[name], h5py.Group if name in groups else h5py.Dataset):
                    raise RecordingError(f"Shard '{self.path}': '{name}' is of another kind than a recording's.")

    def episode_column(self, name: str) -> NDArray[Any]:
        """Return a column of `episode/`, whole."""
        if name not in self._episodes:
            column = self._column(f"episode/{name}")
            self._episodes[name] = self._rows(column, 0, len(column))
        return self._episodes[name]

    def row_shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of one row of a column."""
        return self._column(name).row_shape

    def read(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Return rows `start` to `stop` of a column."""
        return self._rows(self._column(name), start, stop)

    def place(self, name: str, row: int) -> tuple[ChunkedColumn, int, int]:
        """Return where row `row` of a column is to be read, for `chunks.read_clips`; threads may share this."""
        return self._column(name), self._descriptor, row

    def _column(self, name: str) -> ChunkedColumn:
        if self._open_in != os.getpid():
            self.file  # noqa: B018  opens it
        return self._columns[name]

    def _rows(self, column: ChunkedColumn, start: int, stop: int) -> NDArray[Any]:
        out = np.empty((stop - start, *column.row_shape), column.dtype)
        column.read(self._descriptor, start, out)
        return out

    def read_episode(self, row: int) -> Episode:
        """Return the shard's episode number `row`, whole."""
        return StoredEpisode(self, row).whole()

    def close(self) -> None:
        """Close the file in this process."""
        if self._open_in == os.getpid():
            self._abandon(self._file)
        self._forget()

    def __enter__(self) -> Shard:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _attribute(file: Any, name: str) -> Any:
    """Return a plain attribute, None where there is none.

    HDF5 keeps text of variable length in a heap without a checksum; a flipped bit in one makes it read for ever.
    """
    if name not in file.attrs:
        return None
    held = file.attrs.get_id(name)
    plain = held.shape == () and held.dtype.kind in "Siu" and h5py.check_dtype(vlen=held.dtype) is None
    return file.attrs[name] if plain else None


class StoredEpisode:
    """Episode number `row` of a shard, an `EpisodeStream`."""

    def __init__(self, shard: Shard, row: int) -> None:
        self._shard = shard
        columns = {name: shard.episode_column(name) for name in EPISODE_COLUMNS}
        self.index, self.seed = int(columns["index"][row]), int(columns["seed"][row])
        try:
            self.ending = Ending(int(columns["ending"][row]))
        except ValueError as error:
            raise RecordingError(f"Shard '{shard.path}' is damaged: {error}.") from error
        self._frame, self._frame_end = columns["frame_start"][row : row + 2].tolist()
        self._action, self._action_end = columns["action_start"][row : row + 2].tolist()
        self.length, self.steps = self._frame_end - self._frame, self._action_end - self._action

    def segments(self, frames: int = SEGMENT_FRAMES) -> Iterator[Segment]:
        """Yield the episode in pieces of at most `frames` frames."""
        for start in range(self._frame, self._frame_end, frames):
            yield self._segment(start, min(start + frames, self._frame_end))

    def whole(self) -> Episode:
        """Return the episode in memory."""
        segments = self.segments(max(1, self.length))
        return whole_episode(self.index, self.seed, self.ending, segments)

    def _segment(self, start: int, stop: int) -> Segment:
        shard = self._shard
        columns = {name: shard.read(name, start, stop) for name in FRAME_COLUMNS}
        steps = columns["frame_step"]
        before = 0 if start == self._frame else int(shard.read("frame_step", start - 1, start)[0])
        first, last = self._action + before, self._action + int(steps[-1])
        if not self._action <= first <= last <= self._action_end or (np.diff(steps) <= 0).any():
            raise RecordingError(f"Shard '{shard.path}' is damaged: episode {self.index} has the frame steps {steps}.")
        rows = {
            "pictures": {name: shard.read(name, start, stop) for name in shard.pictures},
            **columns,
            **{name: shard.read(name, first, last) for name in ACTION_COLUMNS},
        }
        try:
            return Segment(**rows)  # type: ignore[arg-type]
        except RecordingError as error:
            raise RecordingError(f"Shard '{shard.path}', episode {self.index}: {error}") from error
