"""Write LeRobot's dataset format v3.0: Parquet with a row for each frame, and MP4 videos, through pyarrow and PyAV.

Every episode has files of its own, which the format allows, so that memory does not grow with the recording. Columns
whose names begin with `observation` or `action` are what a LeRobot policy sees; qpos, qvel, time, ... beside them are
exact, in float64. The action in row t acts between frame t and the next one; in an episode's last row it is padding.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldmodel.datasets.formats.codec import Encoder, frame_rate
from worldmodel.datasets.formats.rows import Blocks, action_names, numbers_of, pieces
from worldmodel.datasets.formats.source import Source, optional_package, own_text
from worldmodel.datasets.manifest import Provenance
from worldmodel.datasets.schema import EpisodeStream, Segment

EXTRA = "lerobot"
OWN_FILE = "meta/worldmodel.json"
FILES_PER_CHUNK = 1000
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"

Rows = dict[str, NDArray[Any]]


class Moments:
    """Statistics of a column, gathered piece by piece."""

    def __init__(self) -> None:
        self._count = 0
        self._low: NDArray[Any] = np.array(np.inf)
        self._high: NDArray[Any] = np.array(-np.inf)
        self._sum: NDArray[Any] = np.array(0.0)
        self._squares: NDArray[Any] = np.array(0.0)

    def add(self, values: NDArray[Any]) -> None:
        """Add `values [N, ...]`."""
        values = values.astype(np.float64)
        self._count += len(values)
        self._low, self._high = np.minimum(self._low, values.min(0)), np.maximum(self._high, values.max(0))
        self._sum, self._squares = self._sum + values.sum(0), self._squares + (values**2).sum(0)

    def report(self) -> dict[str, Any]:
        mean = self._sum / self._count
        deviation = np.sqrt(np.maximum(self._squares / self._count - mean**2, 0))
        told = {"min": self._low, "max": self._high, "mean": mean, "std": deviation}
        return {name: np.atleast_1d(value).tolist() for name, value in told.items()} | {"count": [self._count]}


def write(source: Source, out: Path, *, lossy: bool, tick: Callable[[int], None]) -> None:
    """Write `source` into the new folder `out`; `tick` is told of frames.

    Raises:
        WorldModelError: a package is missing, or the recording has more than RGB.
    """
    source.refuse_channels_but_rgb("LeRobot's format")
    _Writer(source.provenance, out, lossy=lossy, tick=tick).write(source)


def camera_keys(provenance: Provenance) -> dict[str, str]:
    """Return LeRobot's name for each column of pictures."""
    return {column: f"observation.images.{column.split('/', 1)[1]}" for column in provenance.picture_shapes}


@dataclass(frozen=True)
class _Place:
    """Where an episode lies."""

    chunk: int
    file: int

    def of(self, template: str, **names: str) -> str:
        return template.format(chunk_index=self.chunk, file_index=self.file, **names)


class _Writer:
    def __init__(self, provenance: Provenance, out: Path, *, lossy: bool, tick: Callable[[int], None]) -> None:
        self._arrow = optional_package("pyarrow", EXTRA)
        self._parquet = optional_package("pyarrow.parquet", EXTRA)
        self._provenance, self._out, self._lossy, self._tick = provenance, out, lossy, tick
        self._fps = frame_rate(provenance.control_seconds * provenance.steps_per_frame)
        self._keys = camera_keys(provenance)
        self._moments: dict[str, Moments] = {}
        self._features: dict[str, Any] = {}
        self._frames = 0

    def write(self, source: Source) -> None:
        meta = self._out / "meta"
        (meta / "episodes/chunk-000").mkdir(parents=True)
        with ExitStack() as stack:
            index = None
            for episode in source.episodes:
                table = self._arrow.Table.from_pylist([self._episode(episode)])
                if index is None:
                    path = meta / "episodes/chunk-000/file-000.parquet"
                    index = stack.enter_context(self._parquet.ParquetWriter(path, table.schema))
                index.write_table(table)
        self._parquet.write_table(self._tasks(), meta / "tasks.parquet")
        moments = {name: moments.report() for name, moments in self._moments.items()}
        for name, value in (("info", self._info(len(source.episodes))), ("stats", moments)):
            (meta / f"{name}.json").write_text(json.dumps(value, indent=4), encoding="utf-8")
        (self._out / OWN_FILE).write_text(own_text(self._provenance), encoding="utf-8")

    def _episode(self, episode: EpisodeStream) -> dict[str, Any]:
        """Write the files of an episode; return its row among the episodes."""
        place = _Place(*divmod(episode.index, FILES_PER_CHUNK))
        height, width = self._provenance.height, self._provenance.width
        with ExitStack() as stack:
            videos = {}
            for column, key in self._keys.items():
                path = self._new(place.of(VIDEO, video_key=key))
                encoder = Encoder(path, height=height, width=width, fps=self._fps, lossy=self._lossy, extra=EXTRA)
                videos[column] = stack.enter_context(encoder)
            data = None
            held: Rows = {}
            for start, segment, blocks in pieces(episode, self._provenance.steps_per_frame):
                for column, picture in segment.pictures.items():
                    videos[column].write(picture)
                    colours = picture.reshape(-1, 3, 1, 1) / 255  # LeRobot states them as [3, 1, 1]
                    self._moments.setdefault(self._keys[column], Moments()).add(colours)
                now, into = self._frame_rows(segment, episode, start), _block_rows(blocks)
                # a row's block is the one into the frame after it, which the next piece may bring
                ahead = {name: rows if start else rows[1:] for name, rows in into.items()}
                now = {name: np.concatenate([held[name], rows]) if held else rows for name, rows in now.items()}
                held = {name: rows[-1:] for name, rows in now.items()}
                if start + len(segment) == episode.length:
                    ahead = {
                        name: np.concatenate([rows, np.zeros_like(into[name][:1])]) for name, rows in ahead.items()
                    }
                else:
                    now = {name: rows[:-1] for name, rows in now.items()}
                table = self._table(now | ahead)
                if data is None:
                    path = self._new(place.of(DATA))
                    data = stack.enter_context(self._parquet.ParquetWriter(path, table.schema))
                data.write_table(table)
                self._tick(len(segment))
        first, self._frames = self._frames, self._frames + episode.length
        where = {"chunk_index": place.chunk, "file_index": place.file}
        row: dict[str, Any] = {
            "episode_index": episode.index,
            "tasks": [self._provenance.env],
            "length": episode.length,
        }
        row |= {f"data/{name}": value for name, value in where.items()}
        row |= {"dataset_from_index": first, "dataset_to_index": self._frames}
        for key in self._keys.values():
            row |= {f"videos/{key}/{name}": value for name, value in where.items()}
            seconds = float(episode.length / self._fps)
            row |= {f"videos/{key}/from_timestamp": 0.0, f"videos/{key}/to_timestamp": seconds}
        row |= {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
        return row | {"steps": episode.steps, "seed": episode.seed, "ending": int(episode.ending)}

    def _new(self, name: str) -> Path:
        path = self._out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _frame_rows(self, segment: Segment, episode: EpisodeStream, start: int) -> Rows:
        count = len(segment)
        number = np.arange(start, start + count)
        state = np.concatenate([segment.qpos, segment.qvel], axis=1).astype(np.float32)
        return {
            **({"observation.state": state} if state.shape[1] else {}),
            **numbers_of(segment),
            "next.done": number == episode.length - 1,
            "timestamp": (number / float(self._fps)).astype(np.float32),
            "frame_index": number,
            "episode_index": np.full(count, episode.index),
            "index": self._frames + number,
            "task_index": np.zeros(count, np.int64),
        }

    def _table(self, rows: Rows) -> Any:
        """Return rows in Arrow: numbers `[N]`, or lists of fixed length for `[N, D]`; take notice of them."""
        if not self._features:
            self._features = self._describe(rows)
        columns = {}
        for name, values in rows.items():
            if len(values):
                self._moments.setdefault(name, Moments()).add(values)
            if values.ndim == 2 and values.shape[1] > 1:
                flat = self._arrow.array(values.ravel())
                columns[name] = self._arrow.FixedSizeListArray.from_arrays(flat, values.shape[1])
            else:
                columns[name] = self._arrow.array(values.ravel())
        return self._arrow.table(columns)

    def _describe(self, rows: Rows) -> dict[str, Any]:
        names = {"action": action_names(self._provenance)}
        features: dict[str, Any] = {
            name: {"dtype": str(values.dtype), "shape": list(values.shape[1:]) or [1], "names": names.get(name)}
            for name, values in rows.items()
        }
        height, width = self._provenance.height, self._provenance.width
        video = {
            "video.height": height,
            "video.width": width,
            "video.codec": "h264",
            "video.pix_fmt": "yuv420p" if self._lossy else "gbrp",
            "video.is_depth_map": False,
            "video.fps": _number(self._fps),
            "video.channels": 3,
            "has_audio": False,
        }
        for key in self._keys.values():
            names_of_axes = ["height", "width", "channels"]
            features[key] = {"dtype": "video", "shape": [height, width, 3], "names": names_of_axes, "info": video}
        return features

    def _info(self, episodes: int) -> dict[str, Any]:
        return {
            "codebase_version": "v3.0",
            "robot_type": None,
            "total_episodes": episodes,
            "total_frames": self._frames,
            "total_tasks": 1,
            "chunks_size": FILES_PER_CHUNK,
            "data_files_size_in_mb": 100,
            "video_files_size_in_mb": 200,
            "fps": _number(self._fps),
            "splits": {"train": f"0:{episodes}"},
            "data_path": DATA,
            "video_path": VIDEO,
            "features": self._features,
        }

    def _tasks(self) -> Any:
        """Return the table of tasks. LeRobot reads it through pandas, and takes a task's name from its index."""
        table = self._arrow.table({"task_index": np.zeros(1, np.int64), "task": [self._provenance.env]})
        number = {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64"}
        task = {"name": "task", "field_name": "task", "pandas_type": "unicode", "numpy_type": "object"}
        pandas = {
            "index_columns": ["task"],
            "columns": [number | {"metadata": None}, task | {"metadata": None}],
            "column_indexes": [],
            "pandas_version": "2.0.0",
        }
        return table.replace_schema_metadata({"pandas": json.dumps(pandas)})


def _block_rows(blocks: Blocks) -> Rows:
    action = {"action": blocks.action} if blocks.action.shape[1] else {}
    return action | {
        "next.reward": blocks.reward.astype(np.float32),
        "step_reward": blocks.step_reward,
        "control_steps": blocks.control_steps,
    }


def _number(fps: Fraction) -> int | float:
    """Return the frame rate as LeRobot writes it: whole where it is."""
    return fps.numerator if fps.denominator == 1 else float(fps)
