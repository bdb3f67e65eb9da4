"""From a frame to a latent."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from worldmodel.errors import WorldModelError

GROUPS = 8  # of channels that are normalised together


@dataclass(frozen=True)
class ConvEncoderConfig:
    """A small convolutional network.

    Attributes:
        patch: side of the squares of pixels that are folded into channels before the first layer, pixels.
        widths: channels of each stage; a stage halves height and width.
    """

    patch: int = 8
    widths: tuple[int, ...] = (128, 256)

    def __post_init__(self) -> None:
        if any(width < 1 or width % GROUPS for width in self.widths) or not self.widths:
            raise WorldModelError(f"widths are {self.widths}; expected multiples of {GROUPS}, at least one.")


class ConvEncoder(nn.Module):
    """Map frames to latents, each frame for itself.

    A first layer with 3 input channels wastes a processor's matrix units; pixels are folded into
    channels first (pixel-unshuffle). The latents leave a plain linear layer: a batch norm there, with
    running statistics that lag behind a quickly changing encoder, made validation errors of up to 50
    times the variance in short runs.

    Shapes: B frames, H height, W width, D latent.

    Args:
        height, width: of the frames; each a multiple of `patch * 2 ** len(widths)`.
        latent: D.
    """

    def __init__(self, config: ConvEncoderConfig, *, height: int, width: int, latent: int) -> None:
        super().__init__()
        self.config = config
        step = config.patch * 2 ** len(config.widths)
        if height % step or width % step:
            raise WorldModelError(
                f"Frames of {height} x {width} pixels do not fit this encoder: height and width must be multiples "
                f"of {step}. Record at another size, or change encoder.patch and encoder.widths."
            )
        channels = (3 * config.patch**2, *config.widths)
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(GROUPS, after), nn.GELU("tanh")
            )
            for before, after in pairwise(channels)
        )
        self.project = nn.Linear(channels[-1] * (height // step) * (width // step), latent)

    def forward(self, frames: Tensor) -> Tensor:
        """Encode `frames [B, H, W, 3]`, uint8, as `[B, D]`, float32."""
        x = frames.permute(0, 3, 1, 2).to(self.project.weight.dtype) / 127.5 - 1
        x = F.pixel_unshuffle(x, self.config.patch).contiguous(memory_format=torch.channels_last)
        for stage in self.stages:
            x = stage(x)
        latent: Tensor = self.project(x.flatten(1)).float()
        return latent
