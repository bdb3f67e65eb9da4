"""The fast copy of the predictor forecasts what the predictor forecasts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from worldmodel.errors import WorldModelError
from worldmodel.models.imagination import Imagination
from worldmodel.models.world_model import WorldModel

B, N = 2, 6


@pytest.fixture
def model(tiny_model: WorldModel) -> WorldModel:
    generator = torch.Generator().manual_seed(3)
    for parameter in tiny_model.predictor.parameters():  # scales, shifts and tokens start alike: make all matter
        parameter.data += torch.randn(parameter.shape, generator=generator) * 0.2
    return tiny_model


def draw(model: WorldModel, visible: int, hold: int) -> tuple[Tensor, Tensor, Tensor]:
    """Latents `[B, C, D]`, blocks between them and plans after them, in the actuators' units."""
    generator = torch.Generator().manual_seed(visible)
    masked, steps = model.longest_clip - visible, 2 // hold
    latents = torch.randn(B, visible, 8, generator=generator)
    past, future = (
        model.low + (model.high - model.low) * torch.rand(*shape, steps, 2, generator=generator)
        for shape in ((B, visible - 1), (B, N, masked))
    )
    return latents, past, future


def forecast(model: WorldModel, latents: Tensor, past: Tensor, future: Tensor, hold: int) -> Tensor:
    """What `Predictor.forward` says, plan by plan, `[B, N, M, D]`."""
    visible, masked = latents.shape[1], future.shape[2]
    padded = torch.cat([latents, torch.zeros(B, masked, 8)], 1)
    seen = (torch.arange(visible + masked) < visible).expand(B, -1)
    whole = [torch.cat([past, future[:, plan]], 1).repeat_interleave(hold, 2) for plan in range(N)]
    forecasts = [model.predictor(padded, seen, model.flatten_actions(actions)) for actions in whole]
    return torch.stack(forecasts, 1)[:, :, visible:]


@torch.no_grad()
@pytest.mark.parametrize("hold", [1, 2])
@pytest.mark.parametrize("visible", [1, 2, 4])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.1)])
def test_it_agrees_with_the_predictor(
    model: WorldModel, visible: int, hold: int, dtype: torch.dtype, tolerance: float
) -> None:
    latents, past, future = draw(model, visible, hold)
    imagination = Imagination(model, hold=hold, dtype=dtype)
    imagined = imagination.imagine(imagination.remember(latents, past), future)
    expected = forecast(model, latents, past, future, hold)
    assert imagined.dtype == torch.float32
    torch.testing.assert_close(imagined, expected, rtol=0, atol=tolerance * float(expected.std()))


def test_gradients_reach_the_actions(model: WorldModel) -> None:
    latents, past, future = draw(model, 2, 1)
    imagination = Imagination(model, hold=1, dtype=torch.float32)
    with torch.no_grad():
        state = imagination.remember(latents, past)
    gradients = []
    for imagine in (
        lambda actions: imagination.imagine(state, actions),
        lambda actions: forecast(model, latents, past, actions, 1),
    ):
        actions = future.clone().requires_grad_()
        imagine(actions).square().sum().backward()
        assert actions.grad is not None
        gradients.append(actions.grad)
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_a_plan_beyond_the_trained_positions_is_refused(model: WorldModel) -> None:
    latents, past, future = draw(model, 2, 1)
    imagination = Imagination(model, hold=1, dtype=torch.float32)
    longer = torch.cat([future, future], 2)
    with pytest.raises(WorldModelError, match="7 frames is longer than the 5 positions"):
        imagination.imagine(imagination.remember(latents, past), longer)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_a_copy(model: WorldModel, dtype: torch.dtype) -> None:
    latents, past, future = draw(model, 2, 1)
    imagination = Imagination(model, hold=1, dtype=dtype)
    before = imagination.imagine(imagination.remember(latents, past), future)
    for parameter in model.predictor.parameters():
        parameter.add_(1.0)
    assert torch.equal(imagination.imagine(imagination.remember(latents, past), future), before)
