"""SIGReg against answers known from the formula of Epps and Pulley."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from worldmodel.objectives.draws import Draws
from worldmodel.objectives.sigreg import SIGReg, SIGRegConfig

N, D = 1000, 6


def statistic(latents: torch.Tensor, seed: int = 0, slices: int = 128) -> float:
    return SIGReg(SIGRegConfig(slices=slices))(latents, Draws(torch.Generator().manual_seed(seed))).item()


@pytest.mark.parametrize("constant", [0.0, 1.0, 2.5])
def test_a_constant_latent(constant: float) -> None:
    t = np.linspace(-3, 3, 200_001)
    normal = np.exp(-(t**2) / 2)
    integrand = np.abs(np.exp(1j * constant * t) - normal) ** 2 * normal
    expected = N * np.trapezoid(integrand, t)
    assert statistic(torch.full((1, N, 1), constant)) == pytest.approx(expected, rel=3e-3)


def test_standard_normal_latents_give_what_chance_gives() -> None:
    expected = np.sqrt(2 * np.pi) * (1 - 1 / np.sqrt(3))  # E of the integral; what lies beyond the span is small
    normal = torch.randn(20, N, D, generator=torch.Generator().manual_seed(1))
    assert statistic(normal) == pytest.approx(expected, rel=0.15)
    few = torch.randn(200, N // 10, D, generator=torch.Generator().manual_seed(1))
    assert statistic(few) == pytest.approx(expected, rel=0.15)  # whatever N


def test_other_distributions_give_more() -> None:
    generator = torch.Generator().manual_seed(2)
    normal = torch.randn(4, N, D, generator=generator)
    collapsed_in_one = normal.clone()
    collapsed_in_one[..., 0] = 0
    others = {
        "constant": torch.zeros(4, N, D),
        "one direction lost": collapsed_in_one,
        "too wide": 2 * normal,
        "too narrow": 0.5 * normal,
        "shifted": normal + 1,
        "two points": normal.sign(),
        "correlated": normal[..., :1].expand(-1, -1, D),
    }
    for name, latents in others.items():
        assert statistic(latents) > 2 * statistic(normal), name


def test_the_gradient_is_finite_and_spreads_collapsed_latents() -> None:
    latents = (1e-3 * torch.randn(1, 64, D, generator=torch.Generator().manual_seed(3))).requires_grad_()
    sigreg = SIGReg(SIGRegConfig(slices=64))
    before = sigreg(latents, Draws(torch.Generator().manual_seed(0)))
    (gradient,) = torch.autograd.grad(before, latents)
    assert torch.isfinite(gradient).all()
    assert (gradient * latents).sum() < 0  # growing lowers it
    (zero,) = torch.autograd.grad(sigreg(latents * 0, Draws(torch.Generator().manual_seed(0))), latents)
    assert torch.isfinite(zero).all()


def test_the_generator_decides() -> None:
    latents = torch.rand(1, 50, D, generator=torch.Generator().manual_seed(4))
    assert statistic(latents, seed=1, slices=4) == statistic(latents, seed=1, slices=4)
    assert statistic(latents, seed=1, slices=4) != statistic(latents, seed=2, slices=4)
