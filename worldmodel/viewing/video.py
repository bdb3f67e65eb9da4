"""Videos that a browser plays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from worldmodel.errors import WorldModelError
from worldmodel.viewing.pictures import GAP, LABEL_HEIGHT, check_alike, check_frames, enlarge, label, paper


def write_video(path: Path, frames: NDArray[np.uint8], *, fps: float) -> None:
    """Write an MP4 (VP9); the file appears when it is whole.

    VP9 keeps one colour for 2 × 2 pixels: an odd height or width grows by a pixel, like its neighbour.

    Args:
        path: ends in ".mp4".
        frames: `[T, H, W, 3]` uint8, RGB.
        fps: frames per second.

    Raises:
        WorldModelError: the frames or their rate are no video, or it cannot be written.
    """
    check_frames(frames)
    if path.suffix != ".mp4":
        raise WorldModelError(f"Video '{path}' has the suffix '{path.suffix}'; expected '.mp4'.")
    if not (math.isfinite(fps) and fps > 0):
        raise WorldModelError(f"A video of {fps} frames per second was asked for; expected more than 0.")
    partial = path.with_name(f".{path.stem}.partial.mp4")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not (_encode(partial, frames, fps) and _is_whole(partial)):
            raise WorldModelError(
                f"Video '{path}' cannot be written: expected a writable folder with space, and an OpenCV with FFmpeg "
                "and VP9 (opencv-python from PyPI has them)."
            )
        partial.replace(path)
    except OSError as error:
        raise WorldModelError(f"Video '{path}' cannot be written: {error.strerror}. Choose another place.") from error
    finally:
        if partial.is_file():
            partial.unlink()


def panels(columns: Sequence[tuple[str, NDArray[np.uint8]]], *, scale: int) -> NDArray[np.uint8]:
    """Put titled films side by side, `GAP` pixels apart.

    Shapes: C columns, T frames, H height, W width.

    Args:
        columns: title and frames `[T, H, W, 3]` of each, all of one shape.
        scale: how many times to enlarge them; a pixel stays a sharp square.

    Returns:
        `[T, LABEL_HEIGHT + scale H, C (scale W + GAP) - GAP, 3]`.
    """
    check_alike(columns, "columns")
    pieces: list[NDArray[np.uint8]] = []
    for title, frames in columns:
        large = enlarge(frames, scale)
        count, height, width, _ = large.shape
        band = np.broadcast_to(label(title, LABEL_HEIGHT, width), (count, LABEL_HEIGHT, width, 3))
        pieces += [np.concatenate([band, large], axis=1), paper(count, LABEL_HEIGHT + height, GAP)]
    return np.concatenate(pieces[:-1], axis=2)


def _encode(path: Path, frames: NDArray[np.uint8], fps: float) -> bool:
    _, height, width, _ = frames.shape
    odd = ((0, height % 2), (0, width % 2), (0, 0))
    size = (width + width % 2, height + height % 2)
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"vp09"), fps, size)
    if not writer.isOpened():
        return False
    for frame in frames:
        writer.write(cv2.cvtColor(np.pad(frame, odd, mode="edge"), cv2.COLOR_RGB2BGR))
    writer.release()
    return True


def _is_whole(path: Path) -> bool:
    """Return whether a video tells its length, which is written last: OpenCV does not tell of a full disk."""
    reader = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    frames = reader.get(cv2.CAP_PROP_FRAME_COUNT)
    reader.release()
    return bool(frames > 0)
