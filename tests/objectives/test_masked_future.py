"""Masked-future forecasting: what learns from it, and what does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from worldmodel.errors import WorldModelError
from worldmodel.models.world_model import WorldModel
from worldmodel.objectives.draws import Draws
from worldmodel.objectives.masked_future import MaskedFuture, MaskedFutureConfig, forecast_error
from worldmodel.objectives.objective import ClipTensors
from worldmodel.objectives.sigreg import SIGRegConfig

CONFIG = MaskedFutureConfig(visible=2, sigreg=SIGRegConfig(slices=16))


@pytest.fixture
def batch() -> ClipTensors:
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (6, 4, 32, 32, 3), dtype=torch.uint8, generator=generator)
    return ClipTensors(frames, torch.rand(6, 3, 2, 2, generator=generator))


def draws(seed: int = 0) -> Draws:
    return Draws(torch.Generator().manual_seed(seed))


def test_gradients_reach_all_but_the_decoder(tiny_model: WorldModel, batch: ClipTensors) -> None:
    loss, logs = MaskedFuture(CONFIG, model=tiny_model)(tiny_model, batch, draws())
    loss.backward()
    assert torch.isfinite(loss)
    assert logs.latent_std > 0
    total = logs.forecast + CONFIG.anti_collapse_weight * logs.anti_collapse + CONFIG.inverse_weight * logs.inverse
    torch.testing.assert_close(total, loss.detach())
    for name, parameter in tiny_model.named_parameters():
        if name.startswith("decoder"):
            assert parameter.grad is None, name
        elif name != "predictor.position":  # its last positions are not used by so short a clip
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.abs().max() > 0, name


def test_the_targets_learn_too(tiny_model: WorldModel, batch: ClipTensors) -> None:
    latents = tiny_model.encode(batch.frames).detach().requires_grad_()
    error = forecast_error(tiny_model, latents, latents, batch.actions, CONFIG, draws())
    (gradient,) = torch.autograd.grad(error, latents)
    assert (gradient[:, -1].abs().amax(-1) > 0).all()


def test_the_generator_decides_the_masks(tiny_model: WorldModel, batch: ClipTensors) -> None:
    objective = MaskedFuture(CONFIG, model=tiny_model)
    one, same, other = (objective(tiny_model, batch, draws(seed))[0].item() for seed in (1, 1, 2))
    assert one == same
    assert one != other


@torch.no_grad()
def test_without_actions_nothing_depends_on_them(tiny_model: WorldModel, batch: ClipTensors) -> None:
    config = replace(CONFIG, action_dropout=1.0)
    latents = tiny_model.encode(batch.frames)
    blocks = batch.actions
    one, other = (forecast_error(tiny_model, latents, latents, a, config, draws()) for a in (blocks, 1 - blocks))
    assert one == other


@pytest.mark.parametrize("visible", [4, 5])
def test_something_must_be_masked(tiny_model: WorldModel, batch: ClipTensors, visible: int) -> None:
    with pytest.raises(WorldModelError, match=f"visible is {visible}, but clips have 4 frames"):
        MaskedFuture(replace(CONFIG, visible=visible), model=tiny_model)(tiny_model, batch, draws())
