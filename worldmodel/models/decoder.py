"""From a latent back to a picture: for people to look at, never for the model to learn from."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from worldmodel.errors import WorldModelError


@dataclass(frozen=True)
class DecoderConfig:
    """A small convolutional network.

    Attributes:
        width: channels at the coarsest grid, a sixteenth of the frame's height and width.
    """

    width: int = 128

    def __post_init__(self) -> None:
        if self.width < 2 or self.width % 2:
            raise WorldModelError(f"width of the decoder is {self.width}; expected an even number, at least 2.")


class Decoder(nn.Module):
    """Draw the frame that a latent stands for.

    It is trained on detached latents: no gradient of it reaches the encoder (a decoder's loss in the
    encoder cost LeWM 10 points of control on Push-T; Maes et al., LeWorldModel, 2026).

    Shapes: B latents, D latent, H height, W width, both multiples of 16.
    """

    def __init__(self, config: DecoderConfig, *, height: int, width: int, latent: int) -> None:
        super().__init__()
        if height % 16 or width % 16:
            raise WorldModelError(
                f"Frames of {height} x {width} pixels do not fit the decoder: both must be multiples of 16. "
                "Record at another size."
            )
        self._grid = (height // 16, width // 16)
        c = config.width
        self.spread = nn.Linear(latent, c * self._grid[0] * self._grid[1])
        self.up = nn.Sequential(
            nn.Conv2d(c, 4 * c, 3, padding=1),
            nn.PixelShuffle(2),
            nn.GELU("tanh"),
            nn.Conv2d(c, 2 * c, 3, padding=1),
            nn.PixelShuffle(2),
            nn.GELU("tanh"),
            nn.Conv2d(c // 2, 48, 3, padding=1),
        )

    def forward(self, latents: Tensor) -> Tensor:
        """Draw `latents [B, D]` as `[B, 3, H, W]`, about in [-1, 1]."""
        x = F.gelu(self.spread(latents), approximate="tanh").view(len(latents), -1, *self._grid)
        return F.pixel_shuffle(self.up(x), 4)
