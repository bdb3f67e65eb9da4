"""Random short clips of frames, with the actions between them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldmodel.datasets.memory import memory
from worldmodel.datasets.reader import Recording
from worldmodel.errors import RecordingError, WorldModelError

CACHE_SHARE = 0.25  # of the memory that this process may count on, for frames
ACTION_SHARE = 0.05  # the same for actions


@dataclass(frozen=True)
class ClipBatch:
    """B clips of L frames.

    Attributes:
        frames: `[B, L, H, W, 3]` uint8.
        actions: `[B, L - 1, K, A]` float32; block t holds the K control steps from frame t to frame t + 1.
        felt: `[B, L, P]` float32, what the robot felt at each frame; P is 0 for a recording without proprioception.
    """

    frames: NDArray[np.uint8]
    actions: NDArray[np.float32]
    felt: NDArray[np.float32]


@dataclass(frozen=True)
class Columns:
    """All that clips are cut from, some episodes one after another.

    Attributes:
        frames: `[F, H, W, 3]` uint8.
        actions: `[S, A]` float32, of the control steps.
        felt: `[F, P]` float32.
    """

    frames: NDArray[np.uint8]
    actions: NDArray[np.float32]
    felt: NDArray[np.float32]


class Clips:
    """Clips of `length` frames from some episodes of a recording.

    Frames are kept in memory when they fit in a quarter of what this process may count on, and read from the disk,
    only those of the clip, when they do not. So are actions, in a twentieth. What was felt is little, and always kept.

    Args:
        recording: where the clips come from.
        episodes: numbers of the episodes to use.
        length: frames in a clip.
        stride: recorded frames from one frame of a clip to the next.
        in_memory: keep frames in memory, or do not; None decides by their size.

    Raises:
        RecordingError: no episode is long enough.
    """

    def __init__(
        self,
        recording: Recording,
        episodes: NDArray[np.int64],
        *,
        length: int,
        stride: int = 1,
        in_memory: bool | None = None,
    ) -> None:
        self._recording, self._episodes, self._stride = recording, episodes, stride
        self._block = recording.provenance.steps_per_frame
        self._cut(length)
        frames, actions = (
            np.diff(starts)[episodes].sum() for starts in (recording.frame_start, recording.action_start)
        )
        if in_memory is None:
            in_memory = bool(frames * math.prod(recording.frame_shape) <= CACHE_SHARE * memory())
        self._frames = _load_frames(recording, episodes) if in_memory else None
        few = actions * len(recording.provenance.low) * 4 <= ACTION_SHARE * memory()
        self._actions = _load_actions(recording, episodes) if few else None
        self._felt = _load_felt(recording, episodes)

    def __len__(self) -> int:
        """Return how many different clips there are."""
        return int(self._first_clip[-1])

    def of_length(self, length: int) -> Clips:
        """Return clips of another length from the same episodes; what is in memory is shared.

        Raises:
            RecordingError: no episode is long enough.
            WorldModelError: `length` is less than 2.
        """
        clips = copy(self)
        clips._cut(length)
        return clips

    def _cut(self, length: int) -> None:
        """Cut the episodes into clips of `length` frames."""
        recording, stride = self._recording, self._stride
        if length < 2 or stride < 1:
            raise WorldModelError(
                f"A clip of {length} frames with a stride of {stride} was asked for; expected at least 2 and 1."
            )
        self.length = length
        whole = recording.whole_frames[self._episodes]
        self._first_clip = np.concatenate([[0], np.cumsum(np.maximum(whole - (length - 1) * stride, 0))])
        if len(self) == 0:
            raise RecordingError(
                f"No episode of '{recording.folder}' is long enough for clips of {length} frames, {stride} apart; the "
                f"longest has {whole.max(initial=0)}. Record longer episodes, or use shorter clips."
            )

    def take(self, clips: NDArray[np.int64]) -> ClipBatch:
        """Return the clips of these numbers, each in `0 .. len(self) - 1`."""
        position, offset = self._place(clips)
        frames = self._take_frames(position, offset)
        actions = self._take_actions(position, offset * self._block)
        blocks = (len(clips), self.length - 1, self._block * self._stride, actions.shape[-1])
        felt = np.empty((len(clips), self.length, self._recording.proprioception.size), np.float32)
        self._felt.gather(position, offset, self._stride, felt)
        return ClipBatch(frames, actions.reshape(blocks), felt)

    @property
    def columns(self) -> Columns | None:
        """What the clips are cut from, where it is in memory."""
        if self._frames is None or self._actions is None:
            return None
        return Columns(self._frames.rows, self._actions.rows, self._felt.rows)

    def rows(self, clips: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where the clips of these numbers lie in `columns`.

        Returns:
            The numbers of their frames, `[B, L]`, and of their control steps, `[B, L - 1, K]`.
        """
        assert self._frames is not None
        assert self._actions is not None
        position, offset = self._place(clips)
        frames = self._frames.index(position, offset, self._stride, self.length)
        steps = self._actions.index(position, offset * self._block, 1, self._steps)
        return frames, steps.reshape(len(clips), self.length - 1, self._block * self._stride)

    def rewards(self, clips: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the rewards of the blocks in the clips of these numbers, `[B, L - 1]`: sums over control steps.

        They are read from the disk.
        """
        position, offset = self._place(clips)
        first = self._recording.action_start[self._episodes[position]] + offset * self._block
        rows = [self._recording.read_rewards(start, start + self._steps) for start in first.tolist()]
        sums: NDArray[np.float64] = np.reshape(rows, (len(clips), self.length - 1, -1)).sum(-1)
        return sums

    @property
    def _steps(self) -> int:
        """Control steps in a clip."""
        return (self.length - 1) * self._block * self._stride

    def _place(self, clips: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the position of each clip's episode, and how many frames of it come before the clip."""
        if len(clips) and (clips.min() < 0 or clips.max() >= len(self)):
            raise WorldModelError(
                f"Clips {clips.min()} to {clips.max()} were asked for; there are 0 to {len(self) - 1}."
            )
        position = np.searchsorted(self._first_clip, clips, side="right") - 1
        return position, clips - self._first_clip[position]

    def _take_frames(self, position: NDArray[np.int64], offset: NDArray[np.int64]) -> NDArray[np.uint8]:
        frames = np.empty((len(position), self.length, *self._recording.frame_shape), np.uint8)
        if self._frames is not None:
            self._frames.gather(position, offset, self._stride, frames)
        else:
            starts = self._recording.frame_start[self._episodes[position]] + offset
            self._recording.read_clips(starts, frames, stride=self._stride)
        return frames

    def _take_actions(self, position: NDArray[np.int64], offset: NDArray[np.int64]) -> NDArray[np.float32]:
        actions = np.empty((len(position), self._steps, len(self._recording.provenance.low)), np.float32)
        if self._actions is not None:
            self._actions.gather(position, offset, 1, actions)
        else:
            starts = self._recording.action_start[self._episodes[position]] + offset
            for start, out in zip(starts.tolist(), actions, strict=True):
                out[:] = self._recording.read_actions(start, start + self._steps)
        return actions

    def draw(self, number: int, size: int, *, seed: int, rank: int = 0, ranks: int = 1) -> NDArray[np.int64]:
        """Return the numbers of the clips in random batch `number`, which depends on that and `seed` alone.

        Where several processes share a batch, each gets its part of it.

        Args:
            size: clips in a batch, drawn with replacement.
            rank, ranks: which of how many processes this is; `ranks` divides `size`.
        """
        own = slice(rank * size // ranks, (rank + 1) * size // ranks)
        return np.random.default_rng([seed, number]).integers(len(self), size=size)[own]

    def batches(self, size: int, *, seed: int, first: int = 0, rank: int = 0, ranks: int = 1) -> Iterator[ClipBatch]:
        """Yield random batches (see `draw`) without end, the next one read while the last one is used.

        Args:
            first: number of the first batch.
            size, seed, rank, ranks: as `draw` takes them.
        """

        def read(number: int) -> ClipBatch:
            return self.take(self.draw(number, size, seed=seed, rank=rank, ranks=ranks))

        with ThreadPoolExecutor(1, thread_name_prefix="clips") as ahead:
            number = first
            waiting = ahead.submit(read, number)
            while True:
                number += 1
                ready, waiting = waiting, ahead.submit(read, number)
                yield ready.result()


@dataclass(frozen=True)
class _InMemory:
    """A column of some episodes, one after another; episode p has the rows `start[p]` to `start[p + 1]`."""

    start: NDArray[np.int64]
    rows: NDArray[Any]

    def index(
        self, position: NDArray[np.int64], offset: NDArray[np.int64], stride: int, count: int
    ) -> NDArray[np.int64]:
        """Return the numbers of `count` rows, `stride` apart, from each episode and offset on, `[B, count]`."""
        index: NDArray[np.int64] = (self.start[position] + offset)[:, None] + np.arange(count) * stride
        return index

    def gather(self, position: NDArray[np.int64], offset: NDArray[np.int64], stride: int, out: NDArray[Any]) -> None:
        """Copy `out.shape[1]` rows, `stride` apart, from each episode and offset into `out`."""
        index = self.index(position, offset, stride, out.shape[1]).ravel()
        # "clip" copies straight into `out`, which "raise" does not; the rows are known to exist
        np.take(self.rows, index, axis=0, out=out.reshape(len(index), *self.rows.shape[1:]), mode="clip")


def _load_frames(recording: Recording, episodes: NDArray[np.int64]) -> _InMemory:
    start = np.concatenate([[0], np.cumsum(np.diff(recording.frame_start)[episodes])])
    rows = np.empty((start[-1], *recording.frame_shape), np.uint8)
    for position, episode in enumerate(episodes):
        out = rows[start[position] : start[position + 1]]
        recording.read_frames(int(recording.frame_start[episode]), out)
    return _InMemory(start, rows)


def _load_actions(recording: Recording, episodes: NDArray[np.int64]) -> _InMemory:
    start = np.concatenate([[0], np.cumsum(np.diff(recording.action_start)[episodes])])
    rows = np.empty((start[-1], len(recording.provenance.low)), np.float32)
    for position, episode in enumerate(episodes):
        first, last = recording.action_start[episode : episode + 2].tolist()
        rows[start[position] : start[position + 1]] = recording.read_actions(first, last)
    return _InMemory(start, rows)


def _load_felt(recording: Recording, episodes: NDArray[np.int64]) -> _InMemory:
    start = np.concatenate([[0], np.cumsum(np.diff(recording.frame_start)[episodes])])
    return _InMemory(start, recording.felt_in(episodes))
