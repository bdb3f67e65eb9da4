"""One row for each frame: how several control steps between frames fit formats that have one action for each frame.

Row t of an episode holds frame t and the block of K control steps that leads from it to frame t + 1. The actions of
the block lie side by side, `[K * A]`, in the order in which they act. A block that the end of the episode cut short is
filled up with zeros; `control_steps` says how many of the K are real. With K = 1 this is the plain form of one action
to a frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldmodel.datasets.manifest import Provenance
from worldmodel.datasets.schema import SEGMENT_FRAMES, EpisodeStream, Segment
from worldmodel.errors import RecordingError

NUMBERS = ("time", "qpos", "qvel", "act", "extra", "visual")

# Reads rows `start` to `stop` of an episode's column.
Reader = Callable[[int, int], NDArray[Any]]


@dataclass(frozen=True)
class Blocks:
    """The blocks of K control steps of A actuators that lead into F frames; nothing leads into an episode's first.

    Attributes:
        action: `[F, K * A]` float32.
        step_reward: `[F, K]` float64, reward of every control step.
        control_steps: `[F]` int64, how many of the K are real.
    """

    action: NDArray[np.float32]
    step_reward: NDArray[np.float64]
    control_steps: NDArray[np.int64]

    @classmethod
    def into(cls, segment: Segment, *, steps_per_frame: int, before: int) -> Blocks:
        """Return the blocks that lead into the frames of `segment`; the frame before is at control step `before`."""
        control_steps = np.diff(segment.frame_step, prepend=before)
        real = np.arange(steps_per_frame) < control_steps[:, None]
        action = np.zeros((*real.shape, segment.actions.shape[1]), np.float32)
        action[real] = segment.actions
        step_reward = np.zeros(real.shape, np.float64)
        step_reward[real] = segment.reward
        return cls(action.reshape(len(real), -1), step_reward, control_steps)

    @property
    def reward(self) -> NDArray[np.float64]:
        """Reward of each whole block, `[F]`."""
        total: NDArray[np.float64] = self.step_reward.sum(axis=1)
        return total

    def segment(
        self, pictures: Mapping[str, NDArray[np.generic]], numbers: Mapping[str, NDArray[np.float64]], before: int
    ) -> Segment:
        """Return the segment that these blocks lead through; a column that `numbers` lacks has no width."""
        count, steps_per_frame = self.step_reward.shape
        real = np.arange(steps_per_frame) < self.control_steps[:, None]
        columns = {name: np.zeros((count, 0)) for name in NUMBERS} | dict(numbers)
        return Segment(
            pictures=pictures,
            frame_step=before + np.cumsum(self.control_steps),
            **columns,
            actions=self.action.reshape(count, steps_per_frame, -1)[real],
            reward=self.step_reward[real],
        )


def pieces(episode: EpisodeStream, steps_per_frame: int) -> Iterator[tuple[int, Segment, Blocks]]:
    """Yield an episode's segments, each with the number of its first frame and the blocks into its frames."""
    start = before = 0
    for segment in episode.segments():
        yield start, segment, Blocks.into(segment, steps_per_frame=steps_per_frame, before=before)
        start, before = start + len(segment), int(segment.frame_step[-1])


def numbers_of(segment: Segment) -> dict[str, NDArray[np.float64]]:
    """Return the columns of `NUMBERS` that have a width: none of the formats likes empty rows."""
    columns = {name: getattr(segment, name) for name in NUMBERS}
    return {name: rows for name, rows in columns.items() if rows.ndim == 1 or rows.shape[1]}


def action_names(provenance: Provenance) -> list[str]:
    """Name the numbers of a row's action: control step within the block, then actuator."""
    steps, actuators = range(provenance.steps_per_frame), range(len(provenance.low))
    return [f"step{step}.actuator{actuator}" for step in steps for actuator in actuators]


def picture_keys(provenance: Provenance) -> dict[str, str]:
    """Return the name that each column of pictures has in formats that have no groups.

    The main camera's is "pixels"; others are "pixels_<camera>", "depth_<camera>", "segmentation_<camera>".
    """
    columns = list(provenance.picture_shapes)
    others = {column: column.replace("frames/", "pixels/").replace("/", "_") for column in columns[1:]}
    return {columns[0]: "pixels"} | others


@dataclass(frozen=True)
class Columns:
    """One episode as columns of F rows, read piece by piece.

    Attributes:
        pictures: by the recording's column, `[n, H, W, ...]`.
        numbers: those of `NUMBERS` that there are, `[n, ...]`.
        action: `[n, K * A]`, of the blocks that begin at a frame; may hold anything in the last row.
        step_reward: `[n, K]`.
        control_steps: `[n]`.
    """

    pictures: Mapping[str, Reader]
    numbers: Mapping[str, Reader]
    action: Reader
    step_reward: Reader
    control_steps: Reader

    def segments(self, where: str, length: int) -> Iterator[Segment]:
        """Yield the episode; `where` names it in errors."""
        before = 0
        for start in range(0, length, SEGMENT_FRAMES):
            stop = min(start + SEGMENT_FRAMES, length)
            blocks = Blocks(
                finite(where, "action", self._into(self.action, start, stop).astype(np.float32), start - 1),
                finite(where, "reward", self._into(self.step_reward, start, stop).astype(np.float64), start - 1),
                self._into(self.control_steps, start, stop).astype(np.int64),
            )
            pictures = {name: read(start, stop) for name, read in self.pictures.items()}
            numbers = {
                name: finite(where, name, read(start, stop).astype(np.float64), start)
                for name, read in self.numbers.items()
            }
            segment = blocks.segment(pictures, numbers, before)
            before = int(segment.frame_step[-1])
            yield segment

    def _into(self, read: Reader, start: int, stop: int) -> NDArray[Any]:
        """Return the rows of the blocks that lead into the frames from `start` to `stop`; zeros into the first."""
        if start > 0:
            return read(start - 1, stop - 1)
        rows = read(0, stop - 1)
        return np.concatenate([np.zeros((1, *rows.shape[1:]), rows.dtype), rows])


def finite(where: str, name: str, rows: NDArray[Any], first: int = 0) -> NDArray[Any]:
    """Return `rows`, of a column from row `first` on, if all of it is finite.

    Raises:
        RecordingError: it is not.
    """
    if not np.isfinite(rows).all():
        row = first + int(np.argwhere(~np.isfinite(rows))[0, 0])
        raise RecordingError(
            f"{where}: column '{name}' holds a number that is not finite in row {row}. Expected finite numbers; mend "
            "or remove the episode at its source."
        )
    return rows
