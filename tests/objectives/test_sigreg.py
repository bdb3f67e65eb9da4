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


def plain(slices: torch.Tensor, config: SIGRegConfig) -> torch.Tensor:
    """The formula as it is written: cosine and sine at every knot."""
    t = torch.linspace(0, config.span, config.knots, dtype=slices.dtype)
    normal = torch.exp(-0.5 * t**2)
    phase = slices[..., None] * t
    gap = (phase.cos().mean(1) - normal) ** 2 + (phase.sin().mean(1)) ** 2
    return slices.shape[1] * (2 * torch.trapezoid(gap * normal, t)).mean()


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
@pytest.mark.parametrize(("knots", "span"), [(2, 1.0), (17, 3.0), (64, 6.0)])
def test_value_and_gradient_are_those_of_the_plain_formula(scale: float, knots: int, span: float) -> None:
    config = SIGRegConfig(slices=32, knots=knots, span=span)
    latents = (scale * torch.randn(3, 40, D, generator=torch.Generator().manual_seed(5))).requires_grad_()
    ours = 3 * SIGReg(config)(latents, Draws(torch.Generator().manual_seed(0)))
    directions = Draws(torch.Generator().manual_seed(0)).directions(D, 32)
    expected = 3 * plain((latents.double() @ directions.double()), config)
    torch.testing.assert_close(ours.double(), expected, rtol=1e-4, atol=1e-6)
    found, known = (torch.autograd.grad(loss, latents)[0] for loss in (ours, expected))
    torch.testing.assert_close(found, known, rtol=1e-3, atol=1e-4 * known.abs().max().item())


def test_autocast_does_not_coarsen_it() -> None:
    latents = torch.randn(2, 40, D, generator=torch.Generator().manual_seed(6))
    with torch.autocast("cpu", torch.bfloat16):
        coarse = statistic(latents)
    assert coarse == statistic(latents)


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
