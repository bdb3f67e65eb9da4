"""What a live session tells its viewers: JSON, with pictures as PNG in data addresses."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray


class Publish(Protocol):
    """Takes a message for one viewer, or for all where `viewer` is None; a newer one of the same kind replaces it."""

    def __call__(self, kind: str, text: str, viewer: int | None = None) -> None: ...


def message(kind: str, **fields: Any) -> str:
    """Write a message; JSON has no infinite numbers, and a field with one is a mistake."""
    return json.dumps({"type": kind, **fields}, allow_nan=False, separators=(",", ":"))


def png(frame: NDArray[np.uint8]) -> str:
    """Return `frame [H, W, 3]` as an address that a browser shows."""
    _, data = cv2.imencode(".png", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return "data:image/png;base64," + base64.b64encode(data.tobytes()).decode("ascii")


def pngs(frames: Iterable[NDArray[np.uint8]]) -> list[str]:
    """Return frames as addresses."""
    return [png(frame) for frame in frames]


def rounded(values: NDArray[Any] | float, digits: int = 4) -> Any:
    """Return numbers short enough to send."""
    return np.round(np.asarray(values, np.float64), digits).tolist()
