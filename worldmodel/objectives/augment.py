"""Change frames in ways that do not change what they show: small shifts, and colours."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from worldmodel.errors import WorldModelError
from worldmodel.objectives.draws import Draws

LUMA = (0.299, 0.587, 0.114)  # how bright red, green and blue look; ITU-R BT.601
CHUNK = 32  # frames whose colours are changed at once: as floats they stay in a processor's cache
FOLD = 8  # pixels that are multiplied at once: matrices of 3 by 3 are too small for a matrix unit


@dataclass(frozen=True)
class AugmentConfig:
    """How far an augmented frame may be from the recorded one.

    Where things are must stay in the latents, for control. The crops and flips that image classifiers are
    trained with teach an encoder to ignore it, so there are none here: a shift of some pixels and a change of colour.
    Some shift there must be: on the reacher, after 200 steps of SimCLR, joint angles were read from the latents with
    a linear R² of 0.17 without it, 0.69 with either 2 or 4 pixels, and 0.33 before training (one seed).

    Attributes:
        shift: largest shift along each axis, pixels; what moves in repeats the border.
        brightness, contrast, saturation: largest relative change of each; contrast around the frame's mean.
        hue: largest rotation of the hues, as a share of the circle.
        grey: share of frames that lose all colour.
    """

    shift: int = 2
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.3
    hue: float = 0.05
    grey: float = 0.1

    def __post_init__(self) -> None:
        if self.shift < 0:
            raise WorldModelError(f"shift is {self.shift}; expected 0 pixels or more.")
        for name, most in (("brightness", 1.0), ("contrast", 1.0), ("saturation", 1.0), ("hue", 0.5), ("grey", 1.0)):
            if not 0 <= getattr(self, name) <= most:
                raise WorldModelError(f"{name} is {getattr(self, name)}; expected a share between 0 and {most:g}.")


def augment(frames: Tensor, config: AugmentConfig, draws: Draws, *, cameras: int = 1) -> Tensor:
    """Return `frames [N, H, W, 3]`, uint8, each changed in a way of its own, in the same form.

    Args:
        cameras: whose views lie side by side in a frame.

    Source: the shift is that of DrQ, Kostrikov et al., 2021; the colours are SimCLR's, Chen et al., 2020, appendix
    A. Differs: colours change by one affine map a frame, in no random order, and are not cut off in between.
    """
    by = draws.integers(-config.shift, config.shift + 1, len(frames), 2)
    strength = draws.uniform(len(frames), 5)
    if config.shift:
        frames = shift(frames, by, cameras)
    if not any((config.brightness, config.contrast, config.saturation, config.hue, config.grey)):
        return frames
    matrix, offset = colour_maps(frames, strength, config)
    size = CHUNK if frames.device.type == "cpu" else len(frames)
    parts = zip(*(torch.split(x, size) for x in (frames, matrix, offset)), strict=True)
    return torch.cat([recolour(*part) for part in parts])


def shift(frames: Tensor, by: Tensor, cameras: int) -> Tensor:
    """Move each view in `frames [N, H, W, 3]` by `by [N, 2]` pixels, down and right; its border is repeated."""
    n, height, width, _ = frames.shape
    down, right = by[:, :1], by[:, 1:]
    rows = (torch.arange(height, device=frames.device) - down).clamp(0, height - 1)
    across = torch.arange(width // cameras, device=frames.device)
    view = (across - right).clamp(0, len(across) - 1)
    columns = torch.cat([view + number * len(across) for number in range(cameras)], 1)
    first = torch.arange(n, device=frames.device)[:, None] * height
    pixels = ((first + rows) * width)[:, :, None] + columns[:, None]
    return frames.reshape(-1, 3).index_select(0, pixels.flatten()).view_as(frames)


def colour_maps(frames: Tensor, strength: Tensor, config: AugmentConfig) -> tuple[Tensor, Tensor]:
    """Return a map of colours for each frame: what to multiply a pixel (red, green, blue) by, and what to add.

    Args:
        frames: `[N, H, W, 3]` uint8.
        strength: `[N, 5]` in [0, 1): of brightness, contrast, saturation and hue (0.5 changes nothing), and which
            frames become grey.

    Returns:
        `[N, 3, 3]` and `[N, 1, 1]`; a pixel is a row vector, from 0 to 255.
    """
    n = len(frames)
    most = _row(strength, config.brightness, config.contrast, config.saturation, 2 * math.pi * config.hue)
    change = (2 * strength[:, :4] - 1) * most
    bright, contrast, saturation = (change[:, :3] + 1).unbind(1)
    saturation = saturation.where(strength[:, 4] >= config.grey, 0)
    luma = _row(strength, *LUMA)
    one = torch.eye(3, device=frames.device)
    saturate = saturation.view(n, 1, 1) * one + (1 - saturation).view(n, 1, 1) * luma[:, None]
    # the hues turn around the axis of the greys: Rodrigues' formula
    along = one.roll(1, 1)
    cross = (along - along.T) / math.sqrt(3)
    cos, sin = change[:, 3].cos().view(n, 1, 1), change[:, 3].sin().view(n, 1, 1)
    turn = cos * one + (1 - cos) / 3 + sin * cross
    with torch.autocast(frames.device.type, enabled=False):
        matrix = (bright * contrast).view(n, 1, 1) * torch.bmm(saturate, turn)
        mean = frames[:, ::4, ::4].float().mean((1, 2)) @ luma
    return matrix, (bright * (1 - contrast) * mean).view(n, 1, 1)


def _row(like: Tensor, *values: float) -> Tensor:
    """Return `values` where `like` is, written there: with a copy the processor would wait for a GPU."""
    return torch.cat([like.new_full((1,), value) for value in values])


def recolour(frames: Tensor, matrix: Tensor, offset: Tensor) -> Tensor:
    """Map the colours of `frames [N, H, W, 3]`, uint8, by `matrix [N, 3, 3]` and `offset [N, 1, 1]`."""
    n, height, width, _ = frames.shape
    fold = math.gcd(height * width, FOLD)
    wide = matrix.new_zeros(n, fold, 3, fold, 3)
    wide.diagonal(dim1=1, dim2=3).copy_(matrix[..., None])
    pixels = frames.reshape(n, -1, 3 * fold).float()
    with torch.autocast(frames.device.type, enabled=False):  # bfloat16 has fewer levels than a pixel
        mapped = torch.bmm(pixels, wide.view(n, 3 * fold, 3 * fold)).add_(offset)
    return mapped.round_().clamp_(0, 255).to(torch.uint8).view_as(frames)
