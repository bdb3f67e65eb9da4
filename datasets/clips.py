"""Random short clips of frames, with the actions between them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldmodel.datasets.reader import Recording
from worldmodel.errors import RecordingError, WorldModelError

CACHE_SHARE = 0.25  # of the machine's memory that the cache may take


@dataclass(frozen=True)
class ClipBatch:
    """B clips of L frames.

    Attributes:
        frames: `[B, L, H, W, 3]` uint8.
        actions: `[B, L - 1, K, A]` float32; block t holds the K control steps from frame t to frame t + 1.
    """

    frames: NDArray[np.uint8]
    actions: NDArray[np.float32]


class Clips:
    """Clips of `length` frames from some episodes of a recording.

    Frames and actions are kept in memory when they fit in a quarter of it, and read from the disk,
    only those of the clip, when they do not.

    Args:
        recording: where the clips come from.
        episodes: numbers of the episodes to use.
        length: frames in a clip.

    Raises:
        RecordingError: no episode is long enough.
    """

    def __init__(self, recording: Recording, episodes: NDArray[np.int64], *, length: int) -> None:
        if length < 2:
            raise WorldModelError(f"A clip of {length} frames is too short; expected at least 2.")
        self.length = length
        self._recording = recording
        self._block = recording.provenance.steps_per_frame
        self._episodes = episodes
        usable = np.maximum(recording.whole_frames[episodes] - length + 1, 0)
        self._first_clip = np.concatenate([[0], np.cumsum(usable)])
        if len(self) == 0:
            raise RecordingError(
                f"No episode of '{recording.folder}' is long enough for clips of {length} frames; the longest has "
                f"{recording.whole_frames[episodes].max(initial=0)}. Record longer episodes, or use shorter clips."
            )
        self._frame_shape = (recording.provenance.height, recording.provenance.width, 3)
        frames = int(np.diff(recording.frame_start)[episodes].sum())
        fits = frames * int(np.prod(self._frame_shape)) <= _cache_bytes()
        self._cache = _Cache(recording, episodes, self._frame_shape) if fits else None

    def __len__(self) -> int:
        """Return how many different clips there are."""
        return int(self._first_clip[-1])

    def take(self, clips: NDArray[np.int64]) -> ClipBatch:
        """Return the clips of these numbers, each in `0 .. len(self) - 1`."""
        if len(clips) and (clips.min() < 0 or clips.max() >= len(self)):
            raise WorldModelError(
                f"Clips {clips.min()} to {clips.max()} were asked for; there are 0 to {len(self) - 1}."
            )
        position = np.searchsorted(self._first_clip, clips, side="right") - 1
        offset = clips - self._first_clip[position]
        frames = np.empty((len(clips), self.length, *self._frame_shape), np.uint8)
        steps = (self.length - 1) * self._block
        actions = np.empty((len(clips), steps, len(self._recording.provenance.low)), np.float32)
        if self._cache is not None:
            _gather(self._cache.frames, self._cache.frame_start[position] + offset, frames)
            _gather(self._cache.actions, self._cache.action_start[position] + offset * self._block, actions)
        else:
            episodes = self._episodes[position]
            frame_rows = self._recording.frame_start[episodes] + offset
            action_rows = self._recording.action_start[episodes] + offset * self._block
            for clip, (frame, action) in enumerate(zip(frame_rows, action_rows, strict=True)):
                self._recording.read_frames(int(frame), int(frame) + self.length, frames[clip])
                actions[clip] = self._recording.read_actions(int(action), int(action) + steps)
        return ClipBatch(frames, actions.reshape(len(clips), self.length - 1, self._block, actions.shape[-1]))

    def batches(self, size: int, *, seed: int, first: int = 0) -> Iterator[ClipBatch]:
        """Yield random batches without end, the next one read while the last one is used.

        Batch number n depends on `seed` and n alone, so a run that is resumed at batch n sees what it
        would have seen.

        Args:
            size: clips in a batch, drawn with replacement.
            first: number of the first batch.
        """

        def draw(number: int) -> ClipBatch:
            return self.take(np.random.default_rng([seed, number]).integers(len(self), size=size))

        with ThreadPoolExecutor(1, thread_name_prefix="clips") as ahead:
            number = first
            waiting = ahead.submit(draw, number)
            while True:
                number += 1
                ready, waiting = waiting, ahead.submit(draw, number)
                yield ready.result()


class _Cache:
    """The frames and actions of some episodes, in memory, one episode after another."""

    def __init__(self, recording: Recording, episodes: NDArray[np.int64], frame_shape: tuple[int, int, int]) -> None:
        self.frame_start = np.concatenate([[0], np.cumsum(np.diff(recording.frame_start)[episodes])])
        self.action_start = np.concatenate([[0], np.cumsum(np.diff(recording.action_start)[episodes])])
        self.frames = np.empty((self.frame_start[-1], *frame_shape), np.uint8)
        self.actions = np.empty((self.action_start[-1], len(recording.provenance.low)), np.float32)
        for position, episode in enumerate(episodes):
            start, stop = recording.frame_start[episode : episode + 2].tolist()
            recording.read_frames(start, stop, self.frames[slice(*self.frame_start[position : position + 2])])
            start, stop = recording.action_start[episode : episode + 2].tolist()
            self.actions[slice(*self.action_start[position : position + 2])] = recording.read_actions(start, stop)


def _gather(rows: NDArray[Any], starts: NDArray[np.int64], out: NDArray[Any]) -> None:
    """Copy `out.shape[1]` rows from each of `starts` into `out`."""
    index = (starts[:, None] + np.arange(out.shape[1])).ravel()
    # "clip" copies straight into `out`, which "raise" does not; the rows are known to exist
    np.take(rows, index, axis=0, out=out.reshape(-1, *rows.shape[1:]), mode="clip")


def _cache_bytes() -> int:
    return int(CACHE_SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
