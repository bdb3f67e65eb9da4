"""Draw frames coarsely from their latents: what can be seen must be in the latents, though nothing acts on it yet."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from worldmodel.errors import WorldModelError
from worldmodel.objectives.joint import joint

CHANNELS = 3
LEAST_VARIANCE = 1e-6  # of pixels in [-1, 1]: a hundredth of a grey level's; less counts as no difference


@dataclass(frozen=True)
class SketchConfig:
    """A perceptron with two hidden layers.

    Attributes:
        width: of the hidden layers.
        pixels: height of a sketch, pixels; its width follows from the frames'.
    """

    width: int = 512
    pixels: int = 32

    def __post_init__(self) -> None:
        for name in ("width", "pixels"):
            if getattr(self, name) < 1:
                raise WorldModelError(f"{name} of a sketch is {getattr(self, name)}; expected at least 1.")


class Sketch(nn.Module):
    """Draw a small picture of a frame from its latent.

    A forecast is at peace with latents that hold little: on PushT, where the block was but not how it was turned. What
    is drawn is how a frame differs from the mean of its batch, and the error is a share of that difference's mean
    square: 1 for drawing the mean, whatever the scene. A perceptron, and few pixels, cost a tenth of what a
    convolutional decoder does.

    Shapes: N frames, H height, W width, D latent.

    Args:
        height, width: of the frames.
        latent: D.

    Source: the reconstruction of an autoencoder (Hinton and Salakhutdinov, 2006). It was found to hurt where a large
    pretrained encoder was at hand (Maes et al., 2026, section 4); with small ones trained from scratch it helps.
    """

    def __init__(self, config: SketchConfig, *, height: int, width: int, latent: int) -> None:
        super().__init__()
        self._size = config.pixels, max(1, round(config.pixels * width / height))
        hidden, numbers = config.width, CHANNELS * self._size[0] * self._size[1]
        self.layers = nn.Sequential(
            *(nn.Linear(latent, hidden), nn.GELU("tanh"), nn.Linear(hidden, hidden), nn.GELU("tanh")),
            nn.Linear(hidden, numbers),
        )

    def forward(self, latents: Tensor, frames: Tensor) -> Tensor:
        """Return the error, a scalar, of sketches of `frames [N, H, W, 3]`, uint8, from their latents `[N, D]`."""
        small = shrink(frames, self._size).flatten(1)
        everyone = joint(small)
        mean = everyone.mean(0)
        scale = (everyone - mean).square().mean().clamp_min(LEAST_VARIANCE)
        drawn: Tensor = self.layers(latents).float()
        return (drawn - (small - mean)).square().mean() / scale


def shrink(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the means of the pixels of `frames [N, H, W, 3]`, uint8, on a grid of `size`, `[N, *size, 3]` in [-1, 1].

    Height and width are halved, in whole numbers, as long as that cuts no cell of the grid: a tenth of the time that
    pooling takes for 64 x 64 pixels to 32 x 32.
    """
    sums, pixels = frames.int(), 1
    while sums.shape[1] % (2 * size[0]) == 0 and sums.shape[2] % (2 * size[1]) == 0:
        n, height, width, channels = sums.shape
        pairs = sums.view(n, height // 2, 2, width * channels)
        pairs = (pairs[:, :, 0] + pairs[:, :, 1]).view(n, height // 2, width // 2, 2, channels)
        sums, pixels = pairs[..., 0, :] + pairs[..., 1, :], 4 * pixels
    means = sums.float() / (127.5 * pixels) - 1
    if means.shape[1:3] == size:
        return means
    return F.adaptive_avg_pool2d(means.permute(0, 3, 1, 2), size).permute(0, 2, 3, 1)
