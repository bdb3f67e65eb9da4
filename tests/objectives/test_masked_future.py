"""Masked-future forecasting: what learns from it, and what does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from worldmodel.errors import WorldModelError
from worldmodel.models.world_model import WorldModel
from worldmodel.objectives.masked_future import MaskedFuture, MaskedFutureConfig, forecast_error
from worldmodel.objectives.sigreg import SIGRegConfig

CONFIG = MaskedFutureConfig(visible=2, sigreg=SIGRegConfig(slices=16))


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (6, 4, 32, 32, 3), dtype=torch.uint8, generator=generator)
    return frames, torch.rand(6, 3, 2, 2, generator=generator)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_gradients_reach_all_but_the_decoder(tiny_model: WorldModel, batch: tuple[Tensor, Tensor]) -> None:
    loss, logs = MaskedFuture(CONFIG)(tiny_model, *batch, generator())
    loss.backward()
    assert torch.isfinite(loss)
    assert logs.latent_std > 0
    total = logs.forecast + CONFIG.sigreg_weight * logs.sigreg + CONFIG.inverse_weight * logs.inverse
    torch.testing.assert_close(total, loss.detach())
    for name, parameter in tiny_model.named_parameters():
        if name.startswith("decoder"):
            assert parameter.grad is None, name
        elif name != "predictor.position":  # its last positions are not used by so short a clip
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.abs().max() > 0, name


def test_the_targets_learn_too(tiny_model: WorldModel, batch: tuple[Tensor, Tensor]) -> None:
    latents = tiny_model.encode(batch[0]).detach().requires_grad_()
    error = forecast_error(tiny_model, latents, batch[1], CONFIG, generator())
    (gradient,) = torch.autograd.grad(error, latents)
    assert (gradient[:, -1].abs().amax(-1) > 0).all()


def test_the_generator_decides_the_masks(tiny_model: WorldModel, batch: tuple[Tensor, Tensor]) -> None:
    objective = MaskedFuture(CONFIG)
    one, same, other = (objective(tiny_model, *batch, generator(seed))[0].item() for seed in (1, 1, 2))
    assert one == same
    assert one != other


@torch.no_grad()
def test_without_actions_nothing_depends_on_them(tiny_model: WorldModel, batch: tuple[Tensor, Tensor]) -> None:
    config = replace(CONFIG, action_dropout=1.0)
    latents = tiny_model.encode(batch[0])
    one, other = (forecast_error(tiny_model, latents, a, config, generator()) for a in (batch[1], 1 - batch[1]))
    assert one == other


@pytest.mark.parametrize("visible", [4, 5])
def test_something_must_be_masked(tiny_model: WorldModel, batch: tuple[Tensor, Tensor], visible: int) -> None:
    with pytest.raises(WorldModelError, match=f"visible is {visible}, but clips have 4 frames"):
        MaskedFuture(replace(CONFIG, visible=visible))(tiny_model, *batch, generator())
