"""Videos through PyAV, frame by frame: H.264 without loss, or as players take it, and whatever FFmpeg decodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldmodel.datasets.formats.source import optional_package
from worldmodel.errors import RecordingError, WorldModelError

QUIET = {"x264-params": "log-level=error"}
LOSSLESS = {"crf": "0", "preset": "veryfast", "g": "10", **QUIET}
FOR_PLAYERS = {"crf": "18", "preset": "veryfast", "g": "10", **QUIET}


def frame_rate(seconds: float) -> Fraction:
    """Return the frames per second of pictures that are `seconds` apart, as a fraction that an MP4 can tell."""
    return Fraction(1 / seconds).limit_denominator(10_000)


class Encoder:
    """Write one MP4 (H.264).

    Args:
        path: the file to make.
        height, width: of a frame, pixels; even when `lossy`.
        fps: frames per second.
        lossy: YUV 4:2:0 at a quality of 18, which browsers play, instead of every pixel as it is (RGB), which FFmpeg,
            OpenCV and PyAV read, and browsers do not.
        extra: what brings PyAV.

    Raises:
        WorldModelError: PyAV is missing, or an odd size is asked for with `lossy`.
    """

    def __init__(self, path: Path, *, height: int, width: int, fps: Fraction, lossy: bool, extra: str) -> None:
        self._av = optional_package("av", extra)
        if lossy and (height % 2 or width % 2):
            raise WorldModelError(
                f"Frames are of {height} x {width} pixels; a lossy video needs even sizes. Leave out --lossy."
            )
        self._container: Any = self._av.open(str(path), "w", format="mp4", options={"movflags": "faststart"})
        name, options = ("libx264", FOR_PLAYERS) if lossy else ("libx264rgb", LOSSLESS)
        self._stream = self._container.add_stream(name, fps, options=options)
        self._stream.height, self._stream.width = height, width
        self._stream.pix_fmt = "yuv420p" if lossy else "rgb24"

    def write(self, frames: Iterable[NDArray[np.uint8]]) -> None:
        """Append frames, each `[H, W, 3]` RGB."""
        for frame in frames:
            picture = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            self._container.mux(self._stream.encode(picture))

    def __enter__(self) -> Encoder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._container.mux(self._stream.encode())
        self._container.close()


def decode(path: Path, start: float, fps: float, count: int, *, extra: str) -> Iterator[NDArray[np.uint8]]:
    """Yield `count` frames `[H, W, 3]` RGB, the first one shown at `start` (s) and the others 1 / `fps` apart.

    Raises:
        RecordingError: the file is missing or damaged, or shows no frame at one of these times.
        WorldModelError: PyAV is missing.
    """
    av = optional_package("av", extra)
    if not path.is_file():
        raise RecordingError(f"The video '{path}' is missing.")
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            container.seek(max(0, int(start / stream.time_base)), stream=stream)  # lands on the key frame before it
            number = 0
            for frame in container.decode(stream):
                early = frame.time - (start + number / fps)
                if early < -0.5 / fps:
                    continue
                if early > 0.5 / fps:
                    raise RecordingError(f"'{path}' has no frame at {start + number / fps:.4f} s.")
                yield frame.to_ndarray(format="rgb24")
                number += 1
                if number == count:
                    return
    except (av.FFmpegError, IndexError) as error:
        raise RecordingError(
            f"The video '{path}' cannot be decoded: it is damaged or of another kind ({error})."
        ) from error
    raise RecordingError(f"'{path}' breaks off: {number} of {count} frames from {start:.4f} s on can be decoded.")
