"""Hide patches of frames, and say how well what was hidden is drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from worldmodel.errors import WorldModelError
from worldmodel.objectives.draws import Draws


@dataclass(frozen=True)
class PatchConfig:
    """What is hidden of a frame.

    Attributes:
        patch: side of a patch, pixels.
        hidden: share of the patches that is hidden.
        floor: standard deviation of pixels, in [-1, 1], at which a patch counts as flat: the noise of a wall is
            not worth drawing.
    """

    patch: int = 8
    hidden: float = 0.75
    floor: float = 0.02

    def __post_init__(self) -> None:
        if self.patch < 1:
            raise WorldModelError(f"patch is {self.patch}; expected at least 1 pixel.")
        if not 0 < self.hidden < 1:
            raise WorldModelError(f"hidden is {self.hidden}; expected a share between 0 and 1, such as 0.75.")
        if not 0 < self.floor < math.inf:
            raise WorldModelError(f"floor is {self.floor}; expected more than 0.")


class Patches:
    """The grid of patches that lies on frames of one size.

    Shapes: N frames, H height, W width, P patches in a frame, V numbers in a patch: patch * patch * 3.

    Args:
        height, width: of the frames; multiples of `patch`.
    """

    def __init__(self, config: PatchConfig, *, height: int, width: int) -> None:
        if height % config.patch or width % config.patch:
            raise WorldModelError(
                f"Patches of {config.patch} pixels do not tile frames of {height} x {width}. Choose a patch that "
                "divides both."
            )
        self.config, self._rows, self._columns = config, height // config.patch, width // config.patch
        self.count = self._rows * self._columns
        self.hidden = round(config.hidden * self.count)
        if not 0 < self.hidden < self.count:
            raise WorldModelError(
                f"hidden is {config.hidden}, which of {self.count} patches hides {self.hidden}; expected at least one "
                "hidden and one visible. Choose smaller patches, or another share."
            )

    def draw(self, rows: int, draws: Draws) -> Tensor:
        """Return which patches to hide, `[rows, P]` bool: the same number in every row."""
        order = draws.uniform(rows, self.count).argsort(1)
        return torch.zeros_like(order, dtype=torch.bool).scatter(1, order[:, : self.hidden], True)

    def hide(self, frames: Tensor, masks: Tensor) -> Tensor:
        """Paint the patches `masks [N, P]` of `frames [N, H, W, 3]`, uint8, in the mean colour of the visible ones."""
        patches = self.cut(frames)
        visible = ~masks
        colour = (patches.view(*masks.shape, -1, 3).float().mean(2) * visible[..., None]).sum(1) / visible.sum(1)[
            :, None
        ]
        paint = colour.round().to(torch.uint8).repeat(1, self.config.patch**2)
        return self.join(torch.where(masks[..., None], paint[:, None], patches))

    def error(self, drawn: Tensor, frames: Tensor, masks: Tensor) -> Tensor:
        """Return the mean squared error of the hidden patches, each normalised by its own mean and deviation.

        Args:
            drawn: `[N, 3, H, W]`: the normalised pixels that a decoder says.
            frames: `[N, H, W, 3]` uint8, before anything was hidden.
            masks: `[N, P]` bool.
        """
        target = normalised(self.cut(frames).float() / 127.5 - 1, self.config.floor)
        error = (self.cut(drawn.float().permute(0, 2, 3, 1)) - target).square().mean(2)
        mean: Tensor = (error * masks).sum() / masks.sum()
        return mean

    def cut(self, frames: Tensor) -> Tensor:
        """Cut `[N, H, W, 3]` into `[N, P, V]`."""
        side = self.config.patch
        grid = frames.reshape(len(frames), self._rows, side, self._columns, side, 3)
        return grid.transpose(2, 3).reshape(len(frames), self.count, side * side * 3)

    def join(self, patches: Tensor) -> Tensor:
        """Put `[N, P, V]` together as `[N, H, W, 3]`."""
        side = self.config.patch
        grid = patches.view(len(patches), self._rows, self._columns, side, side, 3).transpose(2, 3)
        return grid.reshape(len(patches), self._rows * side, self._columns * side, 3)


def normalised(patches: Tensor, floor: float) -> Tensor:
    """Give each of `patches [N, P, V]` a mean of 0 and a variance of 1; less where it is flat."""
    return F.layer_norm(patches, patches.shape[-1:], eps=floor**2)
