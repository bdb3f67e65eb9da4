"""Some of many."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def evenly(count: int, most: int) -> NDArray[np.int64]:
    """Choose `most` numbers evenly from `0 .. count - 1`, or all of them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))
