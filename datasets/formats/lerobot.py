"""Read LeRobot's dataset format v3.0: Parquet with a row for each frame, and videos, through pyarrow and PyAV.

The action in row t acts between frame t and the next one; that of an episode's last row led to no frame and is left
out. Pictures may be videos of any codec that FFmpeg decodes (AV1 is LeRobot's own), or be packed in the rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from worldmodel.datasets.formats.codec import decode
from worldmodel.datasets.formats.lerobot_export import EXTRA, OWN_FILE, camera_keys
from worldmodel.datasets.formats.rows import NUMBERS, Blocks, finite
from worldmodel.datasets.formats.source import (
    Source,
    SourceConfig,
    SourceEpisode,
    bounds_of,
    fit,
    foreign_provenance,
    optional_package,
    own_provenance,
    reading,
    widened,
)
from worldmodel.datasets.manifest import Provenance
from worldmodel.datasets.schema import SEGMENT_FRAMES, Ending, Segment, picture_column
from worldmodel.errors import RecordingError

NAME = "a LeRobot dataset (v3.0)"
INFO = "meta/info.json"


@contextmanager
def open_source(folder: Path, config: SourceConfig) -> Iterator[Source]:
    """Open the dataset in `folder` to import.

    Raises:
        RecordingError: there is none, it is of another version, damaged, or has no pictures.
        WorldModelError: a package is missing.
    """
    if not (folder / INFO).is_file():
        raise RecordingError(f"There is no LeRobot dataset at '{folder}': expected a folder with {INFO}.")
    with reading(folder, NAME):
        info = json.loads((folder / INFO).read_text(encoding="utf-8"))
        version = str(info["codebase_version"])
        if not version.startswith("v3."):
            raise RecordingError(
                f"The LeRobot dataset '{folder}' is of version {version}; expected v3.0. Convert it with LeRobot: "
                "python -m lerobot.datasets.v30.convert_dataset_v21_to_v30 --repo-id=USER/NAME"
            )
        files = _Files.of(folder, info)
        own = folder / OWN_FILE
        if own.is_file():
            config.refuse_for(folder)
            source = files.own(own_provenance(own.read_text(encoding="utf-8"), own))
        else:
            source = files.foreign(config)
    yield source


@dataclass(frozen=True)
class _Files:
    """The files of a dataset.

    Attributes:
        fps: frames per second.
        features: what `info.json` tells of each column.
        episodes: what `meta/episodes` tells of each episode.
    """

    folder: Path
    fps: float
    data_path: str
    video_path: str
    features: Mapping[str, Any]
    episodes: list[dict[str, Any]]

    @classmethod
    def of(cls, folder: Path, info: dict[str, Any]) -> _Files:
        parquet = optional_package("pyarrow.parquet", EXTRA)
        rows: list[dict[str, Any]] = []
        for path in sorted((folder / "meta/episodes").glob("*/*.parquet")):
            names = [name for name in parquet.read_schema(path).names if not name.startswith("stats/")]
            rows += parquet.read_table(path, columns=names).to_pylist()
        rows.sort(key=lambda row: int(row["episode_index"]))
        if len(rows) != info["total_episodes"] or not rows:
            raise RecordingError(
                f"'{folder}' lists {len(rows)} episodes in meta/episodes; {INFO} says {info['total_episodes']}."
            )
        fps = float(info["fps"])
        if not 0 < fps < 10_000:
            raise RecordingError(f"'{folder}' states {fps} frames per second; expected more than 0.")
        video_path = str(info.get("video_path") or "")
        return cls(folder, fps, str(info["data_path"]), video_path, info["features"], rows)

    def own(self, provenance: Provenance) -> Source:
        """Return a recording that `lerobot_export` wrote."""
        cameras = {column: _Camera(key, SourceConfig()) for column, key in camera_keys(provenance).items()}
        numbers = tuple(name for name in NUMBERS if name in self.features)
        layout = _Layout(cameras, numbers, provenance.steps_per_frame, len(provenance.low), "step_reward", True)
        return Source(provenance, [self._episode(index, row, layout) for index, row in enumerate(self.episodes)])

    def foreign(self, config: SourceConfig) -> Source:
        """Return a dataset that somebody else made."""
        shapes = {
            key: _picture_shape(told) for key, told in self.features.items() if told["dtype"] in ("video", "image")
        }
        if not shapes:
            raise RecordingError(f"'{self.folder}' has no pictures: its features are {list(self.features)}.")
        names = {key: key.removeprefix("observation.").removeprefix("images.") for key in shapes}
        actuators = int(np.prod(self.features["action"]["shape"])) if "action" in self.features else 0
        provenance = foreign_provenance(
            f"lerobot:{self.folder.name}",
            {names[key]: shape for key, shape in shapes.items()},
            config,
            seconds=1 / self.fps,
            bounds=self._bounds(actuators),
            files=[
                path
                for part in ("meta", "data", "videos")
                for path in sorted((self.folder / part).rglob("*"))
                if path.is_file()
            ],
        )
        cameras = {picture_column("rgb", names[key]): _Camera(key, config) for key in shapes}
        reward = "next.reward" if "next.reward" in self.features else ""
        layout = _Layout(cameras, (), 1, actuators, reward, False)
        return Source(provenance, [self._episode(index, row, layout) for index, row in enumerate(self.episodes)])

    def _episode(self, index: int, row: dict[str, Any], layout: _Layout) -> SourceEpisode:
        length = int(row["length"])
        steps, seed, ending = length - 1, 0, Ending.LIMIT
        if layout.own:
            steps, seed, ending = int(row["steps"]), int(row["seed"]), Ending(int(row["ending"]))
        return SourceEpisode(index, seed, ending, length, steps, lambda: self._segments(index, row, layout))

    def _segments(self, index: int, row: dict[str, Any], layout: _Layout) -> Iterator[Segment]:
        where = f"'{self.folder}', episode {index}"
        with reading(self.folder, NAME):
            films = {column: self._film(row, camera.key) for column, camera in layout.cameras.items()}
            packed = [camera.key for column, camera in layout.cameras.items() if films[column] is None]
            before = done = 0
            held: list[NDArray[Any]] = []
            for batch in self.batches(row, [*layout.columns, *packed]):
                count = batch.num_rows
                told = layout.blocks(batch, self.column)
                zero = [np.zeros((1, *rows.shape[1:]), rows.dtype) for rows in told]
                into = [np.concatenate(pair)[:-1] for pair in zip(held or zero, told, strict=True)]
                held = [rows[-1:] for rows in told]
                blocks = Blocks(
                    finite(where, "action", into[0], done - 1), finite(where, "reward", into[1], done - 1), into[2]
                )
                pictures = {}
                for column, camera in layout.cameras.items():
                    film = films[column] or _unpacked(batch.column(camera.key).to_pylist())
                    pictures[column] = fit(np.stack([next(film) for _ in range(count)]), camera.config)
                numbers = {name: layout.number(name, self.column(batch, name)) for name in layout.numbers}
                numbers.setdefault("time", (done + np.arange(count)) / self.fps)
                segment = blocks.segment(pictures, numbers, before)
                before, done = int(segment.frame_step[-1]), done + count
                yield segment
            if done != row["length"]:
                raise RecordingError(f"{where} has {done} rows; expected {row['length']}.")

    def _film(self, row: dict[str, Any], key: str) -> Iterator[NDArray[np.uint8]] | None:
        """Return an episode's frames from its video; None where they are packed in the rows."""
        if self.features[key]["dtype"] == "image":
            return None
        chunk, file = row[f"videos/{key}/chunk_index"], row[f"videos/{key}/file_index"]
        path = self.folder / self.video_path.format(video_key=key, chunk_index=chunk, file_index=file)
        start = float(row[f"videos/{key}/from_timestamp"])
        return decode(path, start, self.fps, int(row["length"]), extra=EXTRA)

    def batches(self, row: dict[str, Any], columns: list[str]) -> Iterator[Any]:
        """Yield some rows after another of an episode."""
        arrow = optional_package("pyarrow.dataset", EXTRA)
        place = {"chunk_index": row["data/chunk_index"], "file_index": row["data/file_index"]}
        path = self.folder / self.data_path.format(**place)
        mine = arrow.field("episode_index") == row["episode_index"]
        scan = arrow.dataset(path, format="parquet").scanner(
            columns=columns, filter=mine, batch_size=SEGMENT_FRAMES, use_threads=False
        )
        yield from (batch for batch in scan.to_batches() if batch.num_rows)

    @staticmethod
    def column(batch: Any, name: str) -> NDArray[Any]:
        """Return a column of numbers, `[n, D]`; D is 1 for plain numbers."""
        column = batch.column(name)
        flat = column.flatten() if hasattr(column, "flatten") else column  # lists have it, numbers have not
        values: NDArray[Any] = flat.to_numpy(zero_copy_only=False)
        return values.reshape(len(column), -1)

    def _bounds(self, actuators: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the lowest and highest action, as the dataset states them or as they occur."""
        stats = self.folder / "meta/stats.json"
        told = json.loads(stats.read_text(encoding="utf-8")).get("action", {}) if stats.is_file() else {}
        low, high = (np.array(told.get(name, []), np.float64).ravel() for name in ("min", "max"))
        if actuators and len(low) == len(high) == actuators and np.isfinite([low, high]).all():
            return widened(low, high)
        if not actuators:
            return np.zeros(0), np.zeros(0)
        return bounds_of(f"'{self.folder}'", actuators, self._actions())

    def _actions(self) -> Iterator[NDArray[Any]]:
        """Yield all actions but each episode's last."""
        for row in self.episodes:
            left = int(row["length"]) - 1
            for batch in self.batches(row, ["action"]):
                yield self.column(batch, "action")[:left]
                left = max(0, left - batch.num_rows)


@dataclass(frozen=True)
class _Camera:
    """A feature with pictures, and the size to bring them to."""

    key: str
    config: SourceConfig


@dataclass(frozen=True)
class _Layout:
    """What the columns of a dataset mean; `reward` is "" where there is none."""

    cameras: Mapping[str, _Camera]
    numbers: tuple[str, ...]
    steps_per_frame: int
    actuators: int
    reward: str
    own: bool

    @property
    def columns(self) -> list[str]:
        named = ["action"] * bool(self.actuators) + [self.reward] * bool(self.reward)
        return [*self.numbers, *named, *["control_steps"] * self.own]

    def blocks(self, batch: Any, column: Any) -> list[NDArray[Any]]:
        """Return the action, rewards and control steps of a batch of rows, as `Blocks` has them."""
        count = batch.num_rows
        action = column(batch, "action").astype(np.float32) if self.actuators else np.zeros((count, 0), np.float32)
        reward = column(batch, self.reward).astype(np.float64) if self.reward else np.zeros((count, 1))
        steps = column(batch, "control_steps")[:, 0] if self.own else np.ones(count, np.int64)
        return [action, reward, steps]

    def number(self, name: str, rows: NDArray[Any]) -> NDArray[np.float64]:
        values: NDArray[np.float64] = rows.astype(np.float64)
        return values[:, 0] if name == "time" else values


def _picture_shape(told: dict[str, Any]) -> tuple[int, int, int]:
    """Return height, width and channels of a feature, which may state the channels first."""
    shape = [int(side) for side in told["shape"]]
    if len(shape) == 3 and shape[2] != 3 and shape[0] == 3:
        shape = [shape[1], shape[2], 3]
    if len(shape) != 3 or shape[2] != 3:
        raise RecordingError(f"A feature has pictures of {shape}; expected [height, width, 3].")
    return shape[0], shape[1], 3


def _unpacked(packed: list[dict[str, Any]]) -> Iterator[NDArray[np.uint8]]:
    """Decode pictures that are packed in rows."""
    for picture in packed:
        decoded = cv2.imdecode(np.frombuffer(picture["bytes"], np.uint8), cv2.IMREAD_COLOR)
        if decoded is None:
            raise RecordingError("A picture that is packed in the rows cannot be decoded: the file is damaged.")
        yield decoded[..., ::-1].astype(np.uint8)
