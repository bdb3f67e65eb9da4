"""Frames and grids as matrices of patches, channels last: what matrix multiplications are fed with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from worldmodel.errors import WorldModelError


def fold(frames: Tensor, patch: int, dtype: torch.dtype) -> Tensor:
    """Fold squares of pixels into channels.

    Half-integers up to 127.5 are exact in bfloat16, so that each number is rounded once. Bytes are made numbers before
    they are moved: what turns bytes while it moves them is slower than both one after the other.

    Shapes: B frames, H height, W width, p `patch`, which divides both.

    Args:
        frames: `[B, H, W, 3]`, uint8, or float in [-1, 1].
        dtype: of the outcome.

    Returns:
        `[B, H / p, W / p, 3 p^2]` in [-1, 1].
    """
    b, height, width, channels = frames.shape
    x = frames.to(dtype)
    if frames.dtype == torch.uint8:
        x.sub_(127.5).mul_(1 / 127.5)
    return x.reshape(b, height // patch, patch, width // patch, patch * channels).transpose(2, 3).flatten(3)


def cells(x: Tensor, side: int) -> Tensor:
    """Cut a grid `[B, h, w, C]` into `side` x `side` cells, row by row: `[B, side^2, h w / side^2, C]`."""
    b, height, width, channels = x.shape
    h, w = height // side, width // side
    return x.reshape(b, side, h, side, w, channels).transpose(2, 3).reshape(b, side**2, h * w, channels)


def squares(x: Tensor) -> Tensor:
    """Return the squares of 2 x 2 that `x [B, h, w, C]` is made of, `[B, h / 2, w / 2, 4 C]`; h and w are even."""
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2 * c).transpose(2, 3).reshape(b, h // 2, w // 2, 4 * c)


def windows(x: Tensor) -> Tensor:
    """Return the 3 x 3 neighbourhoods at every second row and column of `x [B, h, w, C]`, `[B, h / 2, w / 2, 9 C]`.

    A linear layer on them is a convolution with stride 2 and padding 1. Zeros stand above and left of the grid, whose
    height and width are even.
    """
    neighbourhoods: Tensor = _Windows.apply(x)  # type: ignore[no-untyped-call]
    return neighbourhoods


class _Windows(torch.autograd.Function):
    """Copy rows of three neighbours at a time; backward, add them up where they came from: rows first, then columns."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        b, h, w, c = ctx.size = x.shape
        padded = x.new_zeros(b, h + 1, w + 1, c)
        padded[:, 1:, 1:] = x
        frame, row, column, _ = padded.stride()
        rows = padded.as_strided((b, h // 2, w // 2, 3, 3 * c), (frame, 2 * row, 2 * column, row, 1))
        return rows.reshape(b, h // 2, w // 2, 9 * c)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        b, h, w, c = ctx.size
        parts = gradient.view(b, h // 2, w // 2, 3, 3, c)
        rows = _merge(parts.movedim(3, 2), gradient.new_empty(b, h // 2, 2, w // 2, 3, c))
        places = gradient.new_empty(b, h // 2, 2, w // 2, 2, c)
        _merge(rows.movedim((3, 4), (1, 2)), places.movedim((3, 4), (1, 2)))  # columns now stand where rows stood
        return places.view(b, h, w, c)


def _merge(parts: Tensor, out: Tensor) -> Tensor:
    """Add up along one direction what neighbourhoods say of the places that they share.

    Args:
        parts: `[B, n, 3, ...]`, of the place before a neighbourhood's own two, and of these.
        out: `[B, n, 2, ...]`, filled and returned.
    """
    out[:, :, 0] = parts[:, :, 1]
    out[:, -1, 1] = parts[:, -1, 2]
    torch.add(parts[:, :-1, 2], parts[:, 1:, 0], out=out[:, :-1, 1])
    return out


def compute_dtype(weight: Tensor) -> torch.dtype:
    """Return the type in which a layer with this weight computes: autocast's where it is on."""
    device = weight.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype


def numbers_in_a_cell(latent: int, grid: int) -> int:
    """Return how many of a latent's numbers belong to each cell of a grid x grid latent; `grid` 0 is one vector.

    Raises:
        WorldModelError: they do not divide evenly.
    """
    count = max(1, grid) ** 2
    if latent % count:
        raise WorldModelError(
            f"latent is {latent}, which does not divide evenly among the {count} cells of encoder.grid {grid}. "
            f"Use a multiple of {count}, such as {-(-latent // count) * count}."
        )
    return latent // count
