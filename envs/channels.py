"""What a camera can record of a scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Channel = Literal["rgb", "depth", "segmentation"]


@dataclass(frozen=True)
class ChannelSpec:
    """How a channel is stored.

    Attributes:
        group: the group of its columns in a recording.
        dtype: kind of one number.
        values: shape of one pixel.
    """

    group: str
    dtype: type[np.generic]
    values: tuple[int, ...]

    def shape(self, height: int, width: int) -> tuple[int, ...]:
        """Return the shape of one picture."""
        return (height, width, *self.values)


CHANNELS: Mapping[Channel, ChannelSpec] = {
    "rgb": ChannelSpec("frames", np.uint8, (3,)),
    "depth": ChannelSpec("depth", np.float32, ()),
    "segmentation": ChannelSpec("segmentation", np.int32, (2,)),
}


def join_views(views: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Lay views `[..., H, W, 3]` of the same moments side by side, the first at the left: `[..., H, V * W, 3]`.

    One view alone is a frame as it is.
    """
    return views[0] if len(views) == 1 else np.concatenate(views, axis=-2)
