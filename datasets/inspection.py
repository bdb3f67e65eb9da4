"""What must hold in every episode, and what looks wrong in its pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldmodel.datasets.manifest import Provenance
from worldmodel.datasets.schema import Ending, EpisodeStream, Segment

MOVED = 0.05  # change of a joint that a picture should show, rad or m


class Inspector:
    """Look through one episode, segment by segment, in constant memory.

    Args:
        provenance: of its recording.
        rows: shape of a row of each column in the episodes before it; None where there is none.
        seen: last pictures of the episodes before it, kept from one `Inspector` to the next.

    Attributes:
        errors: what makes the episode useless.
        warnings: what looks wrong, but may be meant.
        rows: shape of a row of each column.
    """

    def __init__(
        self,
        provenance: Provenance,
        *,
        rows: Mapping[str, tuple[int, ...]] | None = None,
        seen: LastPictures | None = None,
    ) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []
        self.rows = rows
        self._provenance = provenance
        self._seen = LastPictures() if seen is None else seen
        self._low, self._high = (np.array(bound, np.float32) for bound in (provenance.low, provenance.high))
        self._frames = self._steps = self._outside = 0
        self._excess = 0.0
        self._last_step, self._last_gap = 0, provenance.steps_per_frame
        self._last_time = -np.inf
        self._start: Segment | None = None
        self._moved = 0.0
        self._views: dict[str, _View] = {}

    def add(self, segment: Segment) -> None:
        """Look at the next frames, and the actions that led to them."""
        self._check_shapes(segment)
        if self.errors:
            return
        if self._start is None:
            self._start = segment
            for name in (name for name in segment.pictures if name.startswith("frames/")):
                self._views[name] = _View(segment.pictures[name][0].copy())
        self._check_order(segment)
        self._check_actions(segment)
        for values, first in ((segment.qpos, self._start.qpos[0]), (segment.visual, self._start.visual[0])):
            if values.size:
                self._moved = max(self._moved, float(np.abs(values - first).max()))
        for name, view in self._views.items():
            view.add(segment.pictures[name], self._frames)
        self._frames += len(segment)
        self._steps += len(segment.actions)
        self._last = segment

    def finish(self, episode: EpisodeStream) -> None:
        """Judge the episode as a whole."""
        if self.errors:
            return
        if self._start is None or (self._frames, self._steps) != (episode.length, episode.steps):
            self.errors.append(
                f"it has {self._frames} frames and {self._steps} control steps; expected {episode.length} and "
                f"{episode.steps}"
            )
            return
        if self._last_step != episode.steps:
            self.errors.append(f"its last frame is of control step {self._last_step}; expected {episode.steps}")
        if episode.ending is Ending.LIMIT and self._last_gap != self._provenance.steps_per_frame:
            self.warnings.append("its last frame comes early, though its ending says that nothing ended it early")
        if self._outside:
            self.warnings.append(
                f"{self._outside} of {self._steps} actions are outside the actuators' bounds, by up to {self._excess:g}"
            )
        for name, view in self._views.items():
            self.warnings += [f"{name}: {text}" for text in view.judge(self._frames, self._moved)]
            before = self._seen.find(name, view.first, self._start.qpos[0])
            if before is not None and not view.constant_first:
                self.warnings.append(
                    f"{name}: its first frame is the last frame of episode {before}, though the state is another: "
                    "a stale picture"
                )
            self._seen.keep(name, self._last.pictures[name][-1], self._last.qpos[-1], episode.index)

    def _check_shapes(self, segment: Segment) -> None:
        rows = {name: tuple(values.shape[1:]) for name, values in segment.columns()}
        pictures = {name: tuple(values.shape[1:]) for name, values in segment.pictures.items()}
        if pictures != self._provenance.picture_shapes:
            self.errors.append(f"its pictures are {pictures}; expected {self._provenance.picture_shapes}")
        elif rows["actions"] != self._low.shape:
            self.errors.append(f"its actions are of {rows['actions']} actuators; expected {self._low.shape}")
        elif self.rows is not None and rows != self.rows:
            names = [name for name in rows if rows[name] != self.rows[name]]
            self.errors.append(f"its columns {names} have rows of another shape than in the other episodes")
        self.rows = rows if self.rows is None else self.rows

    def _check_order(self, segment: Segment) -> None:
        expected = self._provenance.steps_per_frame
        steps = segment.frame_step
        if not self._frames and steps[0] != 0:
            self.errors.append(f"its first frame is of control step {steps[0]}; expected 0")
        gaps = np.diff(steps, prepend=self._last_step)[0 if self._frames else 1 :]
        gaps = np.append(self._last_gap, gaps)
        if (gaps[:-1] != expected).any() or not 0 < gaps[-1] <= expected:
            self.errors.append(f"its frames are {np.unique(gaps)} control steps apart; expected {expected}")
        self._last_step, self._last_gap = int(steps[-1]), int(gaps[-1])
        if (np.diff(segment.time, prepend=self._last_time) <= 0).any():
            self.errors.append("its time does not rise from frame to frame")
        self._last_time = float(segment.time[-1])

    def _check_actions(self, segment: Segment) -> None:
        if segment.actions.size:
            excess = np.maximum(self._low - segment.actions, segment.actions - self._high).max(axis=1)
            self._outside += int((excess > 0).sum())
            self._excess = max(self._excess, float(excess.max()))


class LastPictures:
    """The last picture of each episode so far, as a hash, with the state that it shows."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, bytes], tuple[int, bytes]] = {}

    def keep(self, name: str, picture: NDArray[Any], state: NDArray[np.float64], episode: int) -> None:
        self._held[name, _digest(picture)] = episode, state.tobytes()

    def find(self, name: str, picture: NDArray[Any], state: NDArray[np.float64]) -> int | None:
        """Return the episode that ended with that picture in another state, None if there is none."""
        episode, held = self._held.get((name, _digest(picture)), (None, b""))
        return episode if held != state.tobytes() else None


class _View:
    """One camera's colour pictures of one episode."""

    def __init__(self, first: NDArray[np.uint8]) -> None:
        self.first = first
        self.constant_first = bool((first == first[:1, :1]).all())
        self._changes = False
        self._black: list[int] = []
        self._constant: list[int] = []
        self._blacks = self._constants = 0

    def add(self, pictures: NDArray[np.uint8], start: int) -> None:
        constant = (pictures == pictures[:, :1, :1]).all(axis=(1, 2, 3))
        black = constant & (pictures[:, 0, 0] == 0).all(axis=1)
        self._black = self._black or (np.flatnonzero(black)[:1] + start).tolist()
        self._constant = self._constant or (np.flatnonzero(constant & ~black)[:1] + start).tolist()
        self._blacks += int(black.sum())
        self._constants += int((constant & ~black).sum())
        self._changes = self._changes or bool((pictures != self.first).any())

    def judge(self, frames: int, moved: float) -> list[str]:
        """Return what looks wrong in an episode of so many frames, whose state moved so far."""
        texts = []
        if self._black:
            texts.append(f"{self._blacks} of {frames} frames are wholly black, first frame {self._black[0]}")
        if self._constant:
            texts.append(f"{self._constants} of {frames} frames have one colour, first frame {self._constant[0]}")
        if frames > 1 and not self._changes and moved > MOVED:
            texts.append(f"its picture never changes, though its state moves by {moved:.3g}")
        return texts


def _digest(picture: NDArray[Any]) -> bytes:
    return hashlib.blake2b(picture.tobytes(), digest_size=16).digest()
