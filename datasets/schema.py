"""What a recording is: a folder with `manifest.json` and shards in HDF5.

A shard holds whole episodes as flat columns, one episode after another. An episode of F frames has T
control steps; frame 0 shows the start, and every `steps_per_frame` control steps there is another frame.
A video without actions has T = F - 1 steps of zero actuators.

    frames/<camera>       [N, H, W, 3]  uint8    RGB, first row at the top
    depth/<camera>        [N, H, W]     float32  distance along the optical axis, m      (where recorded)
    segmentation/<camera> [N, H, W, 2]  int32    object's number and MuJoCo type, -1 nothing  (where recorded)
    frame_step            [N]           int64    control steps of its episode before this frame
    time                  [N]           float64  simulated time, s
    qpos, qvel, act       [N, ...]      float64  physics state that the frame shows
    extra                 [N, ...]      float64  rest of MuJoCo's integration state (warm start, mocap bodies, ...)
    visual                [N, ...]      float64  what is drawn of the model and may change (colours, places, ...)
    actions               [M, A]        float32  action of every control step
    reward                [M]           float64
    episode/index         [E]           int64    number of the episode in the recording
    episode/seed          [E]           uint64   entropy of its random numbers, with `index`
    episode/frame_start   [E + 1]       int64    rows of an episode: frame_start[e] to frame_start[e + 1]
    episode/action_start  [E + 1]       int64    the same for `actions` and `reward`
    episode/ending        [E]           uint8    an `Ending`
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from worldmodel.envs.channels import CHANNELS, Channel, join_views
from worldmodel.errors import RecordingError

FORMAT = "worldmodel-recording"
VERSION = 2
PICTURES_PER_CHUNK = 8
SEGMENT_FRAMES = 64  # of an episode that are in memory at once while it is recorded or copied

# Kind and number of axes of each column beside the pictures.
FRAME_COLUMNS: Mapping[str, tuple[type[np.generic], int]] = {
    "frame_step": (np.int64, 1),
    "time": (np.float64, 1),
    "qpos": (np.float64, 2),
    "qvel": (np.float64, 2),
    "act": (np.float64, 2),
    "extra": (np.float64, 2),
    "visual": (np.float64, 2),
}
ACTION_COLUMNS: Mapping[str, tuple[type[np.generic], int]] = {"actions": (np.float32, 2), "reward": (np.float64, 1)}
EPISODE_COLUMNS: Mapping[str, type[np.generic]] = {
    "index": np.int64,
    "seed": np.uint64,
    "frame_start": np.int64,
    "action_start": np.int64,
    "ending": np.uint8,
}


def picture_column(channel: Channel, camera: str) -> str:
    """Return the column of what `camera` recorded; a name in HDF5 cannot hold a slash, nor be empty."""
    return f"{CHANNELS[channel].group}/{camera.replace('/', ':') or 'free'}"


class Ending(enum.IntEnum):
    """How an episode ended: the recorder's limit, or the environment's own word."""

    LIMIT = 0
    TERMINATED = 1
    TRUNCATED = 2


@dataclass(frozen=True)
class Segment:
    """Some frames of an episode, one after another, with the actions that led from the frame before into them.

    Shapes: F frames, T control steps; the first segment of an episode has none before its first frame.

    Attributes:
        pictures: what the cameras saw, by column, each `[F, H, W, ...]`.
        frame_step: `[F]` int64, control steps of the episode before each frame.
        time: `[F]` float64, s.
        qpos, qvel, act, extra: physics state at each frame, `[F, ...]` float64.
        visual: changing fields of the model at each frame, `[F, ...]` float64.
        actions: `[T, A]` float32.
        reward: `[T]` float64.

    Raises:
        RecordingError: columns of different lengths, or a number that is not finite.
    """

    pictures: Mapping[str, NDArray[Any]]
    frame_step: NDArray[np.int64]
    time: NDArray[np.float64]
    qpos: NDArray[np.float64]
    qvel: NDArray[np.float64]
    act: NDArray[np.float64]
    extra: NDArray[np.float64]
    visual: NDArray[np.float64]
    actions: NDArray[np.float32]
    reward: NDArray[np.float64]

    def __post_init__(self) -> None:
        for name, column in self.frame_columns():
            if len(column) != len(self):
                raise RecordingError(
                    f"Column '{name}' has {len(column)} rows; expected {len(self)}, one for each frame."
                )
        if len(self.reward) != len(self.actions):
            raise RecordingError(f"Column 'reward' has {len(self.reward)} rows for {len(self.actions)} actions.")
        for name in ("time", "qpos", "qvel", "act", "extra", "visual", "actions", "reward"):
            if not np.isfinite(getattr(self, name)).all():
                raise RecordingError(
                    f"Column '{name}' holds a non-finite number: the simulation diverged. "
                    "Use a smaller time step or gentler actions."
                )

    def __len__(self) -> int:
        """Return F."""
        return len(self.frame_step)

    def frame_columns(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Yield name and rows of every column that has a row for each frame."""
        yield from self.pictures.items()
        for name in FRAME_COLUMNS:
            yield name, getattr(self, name)

    def columns(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Yield name and rows of every column."""
        yield from self.frame_columns()
        for name in ACTION_COLUMNS:
            yield name, getattr(self, name)


class EpisodeStream(Protocol):
    """One whole episode, in memory or on a disk, told piece by piece.

    Attributes:
        index: number of the episode in the recording.
        seed: the recording's seed; with `index` it repeats the episode.
        ending: how it ended.
        length: how many frames.
        steps: how many control steps.
    """

    @property
    def index(self) -> int: ...
    @property
    def seed(self) -> int: ...
    @property
    def ending(self) -> Ending: ...
    @property
    def length(self) -> int: ...
    @property
    def steps(self) -> int: ...

    def segments(self) -> Iterator[Segment]: ...


@dataclass(frozen=True)
class Episode(Segment):
    """One whole episode in memory, an `EpisodeStream` of a single segment.

    Attributes:
        cameras: whose views `frames` shows; the first one's where none is named.
    """

    index: int
    seed: int
    ending: Ending
    cameras: tuple[str, ...] = ()

    @property
    def frames(self) -> NDArray[np.uint8]:
        """What the cameras saw, side by side, `[F, H, V * W, 3]` uint8."""
        first = next(name for name in self.pictures if name.startswith("frames/"))
        columns = [picture_column("rgb", camera) for camera in self.cameras] or [first]
        return join_views([self.pictures[column] for column in columns])

    @property
    def length(self) -> int:
        return len(self)

    @property
    def steps(self) -> int:
        return len(self.actions)

    def segments(self) -> Iterator[Segment]:
        yield self


def whole_episode(index: int, seed: int, ending: Ending, segments: Iterator[Segment]) -> Episode:
    """Join the segments of an episode."""
    parts = list(segments)
    names = [name for name, _ in parts[0].columns()]
    joined = {name: np.concatenate([dict(part.columns())[name] for part in parts]) for name in names}
    pictures = {name: joined.pop(name) for name in parts[0].pictures}
    return Episode(pictures=pictures, **joined, index=index, seed=seed, ending=ending, cameras=())
