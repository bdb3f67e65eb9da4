"""Read one HDF5 file of whole episodes; nothing in it is believed before it is checked."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import h5py
import hdf5plugin  # noqa: F401  registers the LZ4 that frames are compressed by
import numpy as np
from numpy.typing import NDArray

from worldmodel.datasets.schema import FORMAT, VERSION, Ending, Episode
from worldmodel.errors import RecordingError

# Kind and number of axes of each column.
FRAME_COLUMNS: Mapping[str, tuple[type[np.generic], int]] = {
    "frame_step": (np.int64, 1),
    "qpos": (np.float64, 2),
    "qvel": (np.float64, 2),
    "act": (np.float64, 2),
    "time": (np.float64, 1),
}
ACTION_COLUMNS: Mapping[str, tuple[type[np.generic], int]] = {"actions": (np.float32, 2), "reward": (np.float64, 1)}
EPISODE_COLUMNS: Mapping[str, type[np.generic]] = {
    "index": np.int64,
    "seed": np.uint64,
    "frame_start": np.int64,
    "action_start": np.int64,
    "ending": np.uint8,
}
# What h5py raises over a file that is damaged or made by somebody else.
UNREADABLE = (OSError, KeyError, AttributeError, IndexError, TypeError, ValueError, RuntimeError)

T = TypeVar("T")


class Shard:
    """Read one shard. The file is opened when first needed, anew in every process, so that a fork is safe.

    Args:
        path: the file.
        camera: name of the column of frames.

    Raises:
        RecordingError: on first use, if the file is missing, foreign, damaged or inconsistent.
    """

    def __init__(self, path: Path, camera: str) -> None:
        self.path, self.camera = path, camera
        self._open_in: int | None = None
        self._file: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "camera": self.camera, "_open_in": None, "_file": None}

    @property
    def file(self) -> Any:
        if self._open_in != os.getpid():
            if self._open_in is not None:  # a fork's copy, whose position in the file the parent shares
                self._file.close()
            self._file = self._open()
            self._open_in = os.getpid()
        return self._file

    def _open(self) -> Any:
        if not self.path.is_file():
            raise RecordingError(f"Shard '{self.path}' is missing, though the manifest lists it. Restore the file.")
        try:
            file = h5py.File(self.path, "r", locking=False)  # a shard never changes under its name
        except UNREADABLE as error:
            raise RecordingError(
                f"Shard '{self.path}' cannot be read as HDF5: it is truncated, damaged or another kind of file "
                f"({error})."
            ) from error
        try:
            self._check(file)
        except UNREADABLE as error:
            file.close()
            raise RecordingError(
                f"Shard '{self.path}' is foreign or damaged: a column of the format is missing or unreadable ({error})."
            ) from error
        except RecordingError:
            file.close()
            raise
        return file

    def _check(self, file: Any) -> None:
        if file.attrs.get("format") != FORMAT or file.attrs.get("version") != VERSION:
            raise RecordingError(f"'{self.path}' is HDF5 but not a shard of {FORMAT} version {VERSION}.")
        frames = file[f"frames/{self.camera}"]
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
            raise RecordingError(
                f"Shard '{self.path}': frames are {frames.dtype} {frames.shape}; expected uint8 [N, H, W, 3]."
            )
        for start_name, columns, rows in (
            ("frame_start", FRAME_COLUMNS, len(frames)),
            ("action_start", ACTION_COLUMNS, len(file["actions"])),
        ):
            start = file["episode"][start_name][:]
            if start[0] != 0 or start[-1] != rows or (np.diff(start) <= 0).any():
                raise RecordingError(
                    f"Shard '{self.path}': episode/{start_name} must rise from 0 to {rows}; it is {start}."
                )
            for name, (dtype, axes) in columns.items():
                column = file[name]
                if (len(column), column.dtype, column.ndim) != (rows, dtype, axes):
                    raise RecordingError(
                        f"Shard '{self.path}': column '{name}' is {column.dtype} {column.shape}; expected {rows} rows "
                        f"of {np.dtype(dtype)} with {axes} axes."
                    )
        for name, dtype in EPISODE_COLUMNS.items():
            rows = len(file["episode/frame_start"]) - (not name.endswith("_start"))
            column = file["episode"][name]
            if (column.shape, column.dtype) != ((rows,), dtype):
                raise RecordingError(
                    f"Shard '{self.path}': column 'episode/{name}' is {column.dtype} {column.shape}; "
                    f"expected {np.dtype(dtype)} ({rows},)."
                )

    def episode_column(self, name: str) -> NDArray[Any]:
        """Return a column of `episode/`, whole."""
        return self._guard(lambda: self.file["episode"][name][:])

    def row_shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of one row of a column, or of the frames if `name` is "frames"."""
        return tuple(self._dataset(name).shape[1:])

    def read(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Return rows `start` to `stop` of a column, or of the frames if `name` is "frames"."""
        return self._guard(lambda: self._dataset(name)[start:stop])

    def read_into(self, name: str, start: int, stop: int, out: NDArray[Any]) -> None:
        """Read rows `start` to `stop` straight into `out`, without a copy between."""
        self._guard(lambda: self._dataset(name).read_direct(out, np.s_[start:stop]))

    def _dataset(self, name: str) -> Any:
        return self.file[f"frames/{self.camera}" if name == "frames" else name]

    def _guard(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except UNREADABLE as error:
            raise RecordingError(
                f"Shard '{self.path}' is damaged: its data cannot be decoded or fails its checksum ({error})."
            ) from error

    def read_episode(self, row: int) -> Episode:
        """Return the shard's episode number `row`, whole."""
        episode = {name: self.episode_column(name) for name in EPISODE_COLUMNS}
        frames = slice(*episode["frame_start"][row : row + 2])
        actions = slice(*episode["action_start"][row : row + 2])
        return Episode(
            index=int(episode["index"][row]),
            seed=int(episode["seed"][row]),
            ending=self._guard(lambda: Ending(episode["ending"][row])),
            frames=self.read("frames", frames.start, frames.stop),
            **{name: self.read(name, frames.start, frames.stop) for name in FRAME_COLUMNS},
            **{name: self.read(name, actions.start, actions.stop) for name in ACTION_COLUMNS},
        )

    def close(self) -> None:
        """Close the file in this process."""
        if self._open_in == os.getpid():
            self._file.close()
            self._open_in = None

    def __enter__(self) -> Shard:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
