"""Keep latents from collapsing: make every slice of their distribution look like a standard normal."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from worldmodel.objectives.draws import Draws
from worldmodel.objectives.joint import joint


@dataclass(frozen=True)
class SIGRegConfig:
    """Sketched isotropic Gaussian regularisation.

    Attributes:
        slices: random directions, drawn anew at each call.
        knots: points of the integral over [0, `span`].
        span: where the integral ends.
    """

    slices: int = 256
    knots: int = 17
    span: float = 3.0


class SIGReg:
    """Measure how far latents are from a standard normal, along random directions.

    For each direction, the Epps-Pulley statistic: N times the integral of |empirical characteristic
    function - exp(-t^2 / 2)|^2, weighted by exp(-t^2 / 2), by the trapezoidal rule. About constant in N for
    normal latents, growing with N for others.

    Shapes: T independent sets, N latents each, D latent.

    Source: Balestriero and LeCun, LeJEPA, 2025, section 4; Epps and Pulley, A test for normality, 1983.
    """

    def __init__(self, config: SIGRegConfig) -> None:
        self.config = config

    def __call__(self, latents: Tensor, draws: Draws) -> Tensor:
        """Return the mean statistic over sets and directions, a scalar.

        Args:
            latents: `[T, N, D]`; each set is tested for itself.
            draws: the directions.
        """
        config = self.config
        latents = joint(latents.float(), dim=1)
        t = torch.linspace(0, config.span, config.knots, device=latents.device)
        step = config.span / (config.knots - 1)
        weight = torch.full_like(t, 2 * step)  # the integrand is even: twice the half line
        weight[[0, -1]] = step
        normal = torch.exp(-0.5 * t**2)
        phase = (latents @ draws.directions(latents.shape[-1], config.slices))[..., None] * t  # [T, N, slices, knots]
        gap = (phase.cos().mean(1) - normal) ** 2 + phase.sin().mean(1) ** 2
        statistic: Tensor = latents.shape[1] * (gap @ (weight * normal)).mean()
        return statistic
