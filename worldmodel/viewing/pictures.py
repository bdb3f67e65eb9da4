"""Still pictures: frames side by side, with words beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from worldmodel.errors import WorldModelError

Image = NDArray[np.uint8]  # [H, W, 3] RGB

GAP = 2  # between two pictures, pixels
LABEL_WIDTH, LABEL_HEIGHT = 84, 18  # of a label beside a row and of a caption above a column, pixels
PAPER, INK = (255, 255, 255), (40, 40, 40)
_FONT, _FONT_SCALE, _MARGIN = cv2.FONT_HERSHEY_SIMPLEX, 0.42, 3


def check_frames(frames: NDArray[np.uint8], what: str = "Frames") -> None:
    """Refuse what is not `[T, H, W, 3]` uint8 with at least one frame.

    Raises:
        WorldModelError: names shape and type.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or 0 in frames.shape:
        raise WorldModelError(
            f"{what} are {frames.dtype} {list(frames.shape)}; expected uint8 [T, H, W, 3], none of them 0."
        )


def paper(*shape: int) -> NDArray[np.uint8]:
    """Return blank pixels `[*shape, 3]`."""
    return np.full((*shape, 3), PAPER, np.uint8)


def label(text: str, height: int, width: int) -> Image:
    """Write one line on a band `[height, width, 3]`; it is made smaller where it does not fit."""
    band = paper(height, width)
    (wide, high), _ = cv2.getTextSize(text, _FONT, _FONT_SCALE, 1)
    scale = _FONT_SCALE * min(1.0, max(1, width - 2 * _MARGIN) / max(wide, 1))
    baseline = (height + round(high * scale / _FONT_SCALE)) // 2
    cv2.putText(band, text, (_MARGIN, baseline), _FONT, scale, INK, 1, cv2.LINE_AA)
    return band


def enlarge(frames: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """Repeat each pixel of `[..., H, W, 3]` `scale` times down and across."""
    if scale < 1:
        raise WorldModelError(f"Pictures were to be enlarged {scale} times; expected 1 or more.")
    return frames.repeat(scale, axis=-3).repeat(scale, axis=-2)


def thumbnails(frames: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Shrink frames `[T, H, W, 3]` to squares `[T, side, side, 3]`."""
    check_frames(frames)
    return np.stack([cv2.resize(frame, (side, side), interpolation=cv2.INTER_AREA) for frame in frames]).astype(
        np.uint8
    )


def contact_sheet(frames: NDArray[np.uint8], columns: int) -> Image:
    """Lay frames `[N, H, W, 3]` out row by row, `GAP` pixels apart; places left over stay blank."""
    check_frames(frames)
    if columns < 1:
        raise WorldModelError(f"A contact sheet of {columns} columns was asked for; expected 1 or more.")
    count, height, width, _ = frames.shape
    rows = -(-count // columns)
    sheet = paper(rows * (height + GAP) - GAP, columns * (width + GAP) - GAP)
    for index, frame in enumerate(frames):
        top, left = index // columns * (height + GAP), index % columns * (width + GAP)
        sheet[top : top + height, left : left + width] = frame
    return sheet


def rollout_strip(rows: Sequence[tuple[str, NDArray[np.uint8]]]) -> Image:
    """Draw rows of frames below one another, each behind its label.

    Args:
        rows: label and frames `[T, H, W, 3]` of each row, all of one shape.

    Returns:
        `[R (H + GAP) - GAP, LABEL_WIDTH + T (W + GAP) - GAP, 3]`.
    """
    check_alike(rows, "rows")
    frames = [row for _, row in rows]
    pictures = contact_sheet(np.concatenate(frames), columns=len(frames[0]))
    labels = paper(pictures.shape[0], LABEL_WIDTH)
    height = frames[0].shape[1]
    for index, (text, _) in enumerate(rows):
        top = index * (height + GAP)
        labels[top : top + height] = label(text, height, LABEL_WIDTH)
    return np.concatenate([labels, pictures], axis=1)


def check_alike(named: Sequence[tuple[str, NDArray[np.uint8]]], what: str) -> None:
    """Refuse named frames `[T, H, W, 3]` that differ in shape, or none at all."""
    if not named:
        raise WorldModelError(f"No {what} were given; expected at least one.")
    for text, frames in named:
        check_frames(frames, f"Frames of '{text}'")
        first, expected = named[0][0], named[0][1].shape
        if frames.shape != expected:
            raise WorldModelError(
                f"Frames of '{text}' are {list(frames.shape)}; expected {list(expected)}, as of '{first}'."
            )


def write_png(path: Path, image: Image) -> None:
    """Write `image [H, W, 3]`, RGB; the file appears when it is whole.

    Raises:
        WorldModelError: not an image, or the file cannot be written.
    """
    check_frames(image[None], "Pixels of a picture")
    _, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    partial = path.with_name(f".{path.stem}.partial.png")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data.tobytes())
        partial.replace(path)
    except OSError as error:
        raise WorldModelError(f"Picture '{path}' cannot be written: {error.strerror}. Choose another place.") from error
    finally:
        if partial.is_file():
            partial.unlink()
