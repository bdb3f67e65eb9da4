"""Rollout error: how far a forecast is off, against not forecasting and against not looking at the actions."""

from __future__ import annotations

from torch import Tensor


def rollout_error(forecast: Tensor, target: Tensor, variance: Tensor) -> Tensor:
    """Return the squared error `[M]` at each horizon, as a share of the latents' variance.

    0 is perfect, 1 as bad as forecasting the mean, 2 as bad as the latent of some other moment.

    Shapes: E clips, M frames ahead, D latent.

    Args:
        forecast, target: `[E, M, D]`.
        variance: of the latents, mean over their dimensions, a scalar.

    Source: as in Zhou et al., DINO-WM, 2025 (open-loop latent error). Differs: divided by the variance, so that
    runs with latents of different size compare.
    """
    return (forecast.float() - target.float()).square().mean((0, 2)) / variance
