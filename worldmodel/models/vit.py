"""From a frame to a latent, with a vision transformer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from worldmodel.errors import WorldModelError
from worldmodel.models.patches import cells, compute_dtype, fold, numbers_in_a_cell


@dataclass(frozen=True)
class ViTEncoderConfig:
    """A vision transformer.

    Attributes:
        patch: side of the squares of pixels that become tokens, pixels.
        width: size of a token.
        depth: number of blocks.
        heads: attention heads; divides `width`.
        grid: g, for a latent of g x g cells, each with its share of the numbers; 0 for one vector.
    """

    patch: int = 8
    width: int = 192
    depth: int = 12
    heads: int = 3
    grid: int = 0

    def __post_init__(self) -> None:
        for name, least in (("patch", 1), ("width", 1), ("depth", 1), ("heads", 1), ("grid", 0)):
            if getattr(self, name) < least:
                raise WorldModelError(f"{name} is {getattr(self, name)}; expected at least {least}.")
        if self.width % self.heads:
            raise WorldModelError(f"heads is {self.heads}; expected a divisor of width ({self.width}).")


class ViTEncoder(nn.Module):
    """Map frames to latents, each frame for itself.

    One vector is read from a class token; the cells of a grid each from the mean of the patches within.

    Shapes: B frames, H height, W width, P patches, D latent, g cells on a side.

    Args:
        height, width: of the frames; each a multiple of `patch`, and of g times as much.
        latent: D.

    Attributes:
        cells: how many parts of a latent, one after another, `project` writes.

    Source: Dosovitskiy et al., An image is worth 16x16 words, 2021. Differs: a grid of latents can be read.
    """

    def __init__(self, config: ViTEncoderConfig, *, height: int, width: int, latent: int) -> None:
        super().__init__()
        self.config = config
        self.cells = max(1, config.grid) ** 2
        step = config.patch * max(1, config.grid)
        if height % step or width % step:
            raise WorldModelError(
                f"Frames of {height} x {width} pixels do not fit this encoder: height and width must be multiples "
                f"of {step}. Record at another size, or change encoder.patch and encoder.grid."
            )
        self.embed = nn.Linear(3 * config.patch**2, config.width)
        self.position = nn.Parameter(torch.randn(height // config.patch, width // config.patch, config.width) * 0.02)
        self.class_token = None if config.grid else nn.Parameter(torch.randn(config.width) * 0.02)
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)
        self.project = nn.Linear(config.width, numbers_in_a_cell(latent, config.grid))

    def forward(self, frames: Tensor) -> Tensor:
        """Encode `frames [B, H, W, 3]`, uint8, or float in [-1, 1], as `[B, D]`, float32."""
        grid = self.embed(fold(frames, self.config.patch, compute_dtype(self.project.weight))) + self.position
        tokens = grid.flatten(1, 2)
        if self.class_token is not None:
            tokens = torch.cat([self.class_token.expand(len(tokens), 1, -1), tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        pooled = self.class_token is None
        read = cells(tokens.view_as(grid), self.config.grid).mean(2) if pooled else tokens[:, :1]
        latent: Tensor = self.project(self.norm(read))
        return latent.flatten(1).float()


class _Block(nn.Module):
    """Attention among all patches, then a perceptron, each added to its normalised input."""

    def __init__(self, config: ViTEncoderConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.norm_attention = nn.LayerNorm(config.width)
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.merge = nn.Linear(config.width, config.width)
        self.norm_mlp = nn.LayerNorm(config.width)
        self.widen = nn.Linear(config.width, 4 * config.width)
        self.narrow = nn.Linear(4 * config.width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        b, tokens, _ = x.shape
        q, k, v = self.qkv(self.norm_attention(x)).view(b, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind()
        mixed = F.scaled_dot_product_attention(q, k, v)
        x = x + self.merge(mixed.transpose(1, 2).flatten(2))
        hidden = F.gelu(self.widen(self.norm_mlp(x)))
        out: Tensor = x + self.narrow(hidden)
        return out
