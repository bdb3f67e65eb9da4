"""What a camera can record of a scene."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

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
