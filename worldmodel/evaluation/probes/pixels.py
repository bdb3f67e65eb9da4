"""Principal components of pixels: what a probe can read without any learned encoder."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from worldmodel.evenly import evenly

LARGEST = 64  # side of a frame, pixels; larger ones are brought down by averaging
FITTED = 2000  # frames that the components are found on
AT_ONCE = 512


@dataclass(frozen=True)
class PixelPCA:
    """Projects frames on the directions in which pixels vary most.

    Attributes:
        mean: `[P]`, of the pixels.
        axes: `[P, D]`, orthonormal.
    """

    mean: Tensor
    axes: Tensor

    def __call__(self, frames: NDArray[np.uint8]) -> Tensor:
        """Project `frames [N, H, W, 3]` to `[N, D]` float32."""
        parts = [frames[start : start + AT_ONCE] for start in range(0, len(frames), AT_ONCE)]
        return torch.cat([(_pixels(part, self.mean.device) - self.mean) @ self.axes for part in parts])


def fit_pixel_pca(frames: NDArray[np.uint8], components: int, device: torch.device) -> PixelPCA:
    """Find D = `components` directions from `frames [N, H, W, 3]`, of which 2,000 are taken evenly.

    Source: Turk and Pentland, Eigenfaces for recognition, 1991: through the frames' inner products, which are fewer
    than the pixels'.
    """
    chosen = evenly(len(frames), FITTED)
    pixels = _pixels(frames[chosen], device)
    mean = pixels.mean(0)
    apart = pixels - mean
    values, vectors = torch.linalg.eigh(apart @ apart.T)
    axes = apart.T @ vectors[:, -components:]
    return PixelPCA(mean, axes / values[-components:].clamp(min=1e-12 * float(values[-1])).sqrt())


def _pixels(frames: NDArray[np.uint8], device: torch.device) -> Tensor:
    """Return `[N, P]` float32 in [0, 1]."""
    images = torch.from_numpy(np.ascontiguousarray(frames)).to(device).permute(0, 3, 1, 2).float() / 255
    fold = math.ceil(max(images.shape[2:]) / LARGEST)
    return (F.avg_pool2d(images, fold) if fold > 1 else images).flatten(1)
