"""Plain videos: one file is one episode without actions."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from worldmodel.datasets.formats.codec import Encoder, frame_rate
from worldmodel.datasets.formats.rows import Blocks
from worldmodel.datasets.formats.source import Source, SourceConfig, SourceEpisode, fit, foreign_provenance
from worldmodel.datasets.schema import SEGMENT_FRAMES, Ending, Segment
from worldmodel.errors import RecordingError, WorldModelError

EXTRA = "video"
MP4, OTHERS = (".mp4", ".m4v", ".mov"), (".avi", ".mkv", ".webm")
BEGINNINGS = {".avi": b"RIFF", ".mkv": b"\x1aE\xdf\xa3", ".webm": b"\x1aE\xdf\xa3"}
SUFFIXES = (*MP4, *OTHERS)
SIDE = 64
CONVERT = "Convert it with: ffmpeg -i IN -c:v libx264 OUT.mp4"


def write(source: Source, out: Path, *, lossy: bool, tick: Callable[[int], None]) -> None:
    """Write the main camera's frames of each episode as an MP4 into the new folder `out`; `tick` is told of frames.

    Raises:
        WorldModelError: PyAV is missing, or `lossy` meets an odd size.
    """
    provenance = source.provenance
    column = next(iter(provenance.picture_shapes))
    fps = frame_rate(provenance.control_seconds * provenance.steps_per_frame)
    out.mkdir(parents=True)
    for episode in source.episodes:
        path = out / f"episode-{episode.index:05d}.mp4"
        with Encoder(
            path, height=provenance.height, width=provenance.width, fps=fps, lossy=lossy, extra=EXTRA
        ) as encoder:
            for segment in episode.segments():
                encoder.write(segment.pictures[column])
                tick(len(segment))


@contextmanager
def open_source(paths: Sequence[Path], config: SourceConfig) -> Iterator[Source]:
    """Open videos to import, an episode each.

    Raises:
        RecordingError: one is missing, broken, of a codec that OpenCV does not decode, or differs in its rate.
    """
    clips = [Clip.open(path) for path in paths]
    for clip in clips:
        if not config.fps and abs(clip.fps - clips[0].fps) > 1e-3 * clips[0].fps:
            raise RecordingError(
                f"'{clip.path}' has {clip.fps:g} frames per second, '{clips[0].path}' has {clips[0].fps:g}; expected "
                "one rate in a recording. Import them apart, or convert one: ffmpeg -i IN -r RATE OUT.mp4"
            )
    size = config if config.height else SourceConfig(SIDE, SIDE, config.fps)
    seconds = 1 / (config.fps or clips[0].fps)
    nothing = np.zeros(0)
    provenance = foreign_provenance(
        f"video:{paths[0].name}",
        {"video": (SIDE, SIDE, 3)},
        size,
        seconds=seconds,
        bounds=(nothing, nothing),
        files=paths,
    )

    def episode(index: int, clip: Clip) -> SourceEpisode:
        steps = clip.frames - 1
        return SourceEpisode(index, 0, Ending.LIMIT, clip.frames, steps, lambda: clip.segments(size, seconds))

    yield Source(provenance, [episode(index, clip) for index, clip in enumerate(clips)])


@dataclass(frozen=True)
class Clip:
    """A video file.

    Attributes:
        fps: frames per second.
        frames: how many the file says it holds.
    """

    path: Path
    fps: float
    frames: int

    @classmethod
    def open(cls, path: Path) -> Clip:
        """Look at the file and its first frame.

        Raises:
            RecordingError: it is missing, no video, cut short, or OpenCV cannot decode it.
        """
        _check_container(path)
        with _capture(path) as capture:
            fps, frames = capture.get(cv2.CAP_PROP_FPS), int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
            shown, _ = capture.read()
            if not shown:
                code = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").decode("ascii", "replace")
                raise RecordingError(f"Not one frame of '{path}' (codec '{code}') can be decoded by OpenCV. {CONVERT}")
        if not 0 < fps < 10_000:
            raise RecordingError(f"'{path}' states {fps} frames per second; expected more than 0. {CONVERT}")
        return cls(path, fps, max(1, frames))

    def segments(self, config: SourceConfig, seconds: float) -> Iterator[Segment]:
        """Yield its frames, `seconds` apart, at the size of `config`.

        Raises:
            RecordingError: it breaks off, or its frames are not evenly spaced.
        """
        with _capture(self.path) as capture:
            done = 0
            while frames := self._read(capture, done):
                count = len(frames)
                number = np.arange(done, done + count)
                control_steps = (number > 0).astype(np.int64)
                blocks = Blocks(np.zeros((count, 0), np.float32), np.zeros((count, 1)), control_steps)
                pictures = {"frames/video": np.ascontiguousarray(fit(np.stack(frames), config)[..., ::-1])}
                yield blocks.segment(pictures, {"time": number.astype(np.float64) * seconds}, max(0, done - 1))
                done += count
        if done < self.frames:
            raise RecordingError(
                f"'{self.path}' breaks off: {done} of its {self.frames} frames can be decoded. {CONVERT}"
            )

    def _read(self, capture: cv2.VideoCapture, done: int) -> list[NDArray[np.uint8]]:
        """Return the next frames, BGR."""
        frames: list[NDArray[np.uint8]] = []
        while len(frames) < SEGMENT_FRAMES:
            shown, frame = capture.read()
            if not shown:
                break
            number = done + len(frames)
            at = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            if abs(at - number / self.fps) > 0.6 / self.fps:
                raise RecordingError(
                    f"'{self.path}': frame {number} is shown at {at:.3f} s; expected {number / self.fps:.3f} s, as its "
                    f"{self.fps:g} frames per second say. Give it an even rate: ffmpeg -i IN -r {self.fps:g} OUT.mp4"
                )
            frames.append(frame.astype(np.uint8, copy=False))
        return frames


@contextmanager
def _capture(path: Path) -> Iterator[cv2.VideoCapture]:
    # FFmpeg reads this when OpenCV first opens a video; without it, it writes to the terminal, past Python
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    before = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        if not capture.isOpened():
            raise RecordingError(f"'{path}' holds no video that OpenCV can open. {CONVERT}")
        yield capture
    finally:
        capture.release()
        cv2.utils.logging.setLogLevel(before)


def _check_container(path: Path) -> None:
    """Refuse what is no whole video file, before FFmpeg, which would follow addresses in it, sees it."""
    if not path.is_file():
        raise RecordingError(f"'{path}' {'is no file' if path.exists() else 'does not exist'}; expected a video.")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise WorldModelError(f"'{path}' ends in '{suffix}'; expected a video: {', '.join(SUFFIXES)}.")
    if suffix in MP4:
        return _check_boxes(path)
    with path.open("rb") as file:
        head = file.read(len(BEGINNINGS[suffix]))
    if head != BEGINNINGS[suffix]:
        raise RecordingError(f"'{path}' is no {suffix} video: it begins with {head!r}. {CONVERT}")


def _check_boxes(path: Path) -> None:
    """Refuse what is no whole MP4 file, by the boxes that it is made of."""
    size, at = path.stat().st_size, 0
    kinds: list[bytes] = []
    with path.open("rb") as file:
        while at < size:
            file.seek(at)
            head = file.read(16)
            length, kind = int.from_bytes(head[:4], "big"), head[4:8]
            if length == 1:
                length = int.from_bytes(head[8:16], "big")
            elif length == 0:  # up to the end of the file
                length = size - at
            if not kinds and kind not in (b"ftyp", b"wide", b"moov", b"mdat"):
                raise RecordingError(f"'{path}' is no MP4 video: it begins with {head[:8]!r}. {CONVERT}")
            if length < 8 or at + length > size:
                raise RecordingError(f"'{path}' is cut short or damaged at byte {at} of {size}. Copy it again.")
            kinds.append(kind)
            at += length
    if b"moov" not in kinds:
        what = "it is empty" if not kinds else "its index is missing: whoever wrote it did not finish"
        raise RecordingError(f"'{path}' is no whole MP4 video: {what}.")
