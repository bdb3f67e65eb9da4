"""Keep latents from collapsing: make every slice of their distribution look like a standard normal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from worldmodel.errors import WorldModelError
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

    def __post_init__(self) -> None:
        if self.slices < 1 or self.knots < 2 or not 0 < self.span < math.inf:
            raise WorldModelError(
                f"slices, knots and span are {self.slices}, {self.knots} and {self.span}; expected at least 1, at "
                "least 2, and more than 0."
            )


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
        with torch.autocast(latents.device.type, enabled=False):  # phases up to `span` times a latent need float32
            slices = latents @ draws.directions(latents.shape[-1], config.slices)
        statistic: Tensor = _EppsPulley.apply(slices, config.knots, config.span)  # type: ignore[no-untyped-call]
        return statistic


class _EppsPulley(torch.autograd.Function):
    """The mean statistic of `slices [T, N, S]`, with a gradient that keeps one array instead of two per knot.

    The knots are evenly spaced, so exp(i t x) at each is that at the one before times the same `turn`: one sine
    and one cosine serve all knots. The gradient at x is a polynomial in the turn, evaluated by Horner's rule.
    """

    @staticmethod
    def forward(ctx: Any, slices: Tensor, knots: int, span: float) -> Tensor:
        step = span / (knots - 1)
        t = step * torch.arange(1, knots, device=slices.device)  # at 0 the gap is 0, whatever the latents
        normal = torch.exp(-0.5 * t**2)
        weight = 2 * step * normal  # the integrand is even: twice the half line
        weight[-1] /= 2
        turn = torch.polar(torch.ones_like(slices), step * slices)
        power, gaps = turn, []
        for knot in normal:
            gaps.append(power.mean(1) - knot)
            power = power * turn
        gap = torch.stack(gaps)  # [knots - 1, T, S]
        n = slices.shape[1]
        slope = (weight * t)[:, None, None] * gap.conj().resolve_conj() * (-2 / gap[0].numel())
        ctx.save_for_backward(turn, slope)
        square = torch.view_as_real(gap).square().sum(-1).flatten(1).mean(1)
        return n * (weight * square).sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        turn, slope = ctx.saved_tensors
        total = torch.zeros_like(turn)
        for coefficient in slope.flip(0):
            total.add_(coefficient[:, None]).mul_(turn)
        return gradient * total.imag, None, None
