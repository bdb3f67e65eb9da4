"""Another basis of the latents changes distances, not what the model knows."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from worldmodel.models.basis import weigh_by_certainty, whiten
from worldmodel.models.conv import ConvEncoderConfig
from worldmodel.models.encoders import EncoderConfig
from worldmodel.models.vit import ViTEncoderConfig
from worldmodel.models.world_model import WorldModel

CLIPS, L = 60, 5


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    frames = torch.randint(0, 256, (CLIPS, L, 32, 32, 3), dtype=torch.uint8, generator=generator)
    return frames, torch.rand(CLIPS, L - 1, 4, generator=generator) * 2 - 1


@torch.no_grad()
def test_the_covariance_is_the_identity_and_the_forecast_the_same(
    tiny_model: WorldModel, batch: tuple[Tensor, Tensor]
) -> None:
    frames, actions = batch
    visible = (torch.arange(L) < 2).expand(CLIPS, L)
    before = tiny_model.encode(frames)
    forecast_before = tiny_model.predictor(before, visible, actions)
    inverse_before = tiny_model.inverse(before)

    whiten(tiny_model, before.flatten(0, 1), floor=1e-9)

    after = tiny_model.encode(frames)
    flat = after.flatten(0, 1).double()
    torch.testing.assert_close(torch.cov(flat.T), torch.eye(8, dtype=torch.float64), rtol=0, atol=1e-2)
    assert flat.mean(0).abs().max() < 1e-2

    def with_one(x: Tensor) -> Tensor:
        return torch.cat([x.double(), torch.ones(*x.shape[:-1], 1, dtype=torch.float64)], -1)

    back = torch.linalg.lstsq(with_one(flat), before.flatten(0, 1).double()).solution  # from the new basis to the old
    torch.testing.assert_close(with_one(after) @ back, before.double(), rtol=1e-3, atol=1e-3)
    forecast_after = tiny_model.predictor(after, visible, actions)
    torch.testing.assert_close(with_one(forecast_after) @ back, forecast_before.double(), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(tiny_model.inverse(after), inverse_before, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_the_floor_keeps_noise_small(tiny_model: WorldModel, batch: tuple[Tensor, Tensor]) -> None:
    tiny_model.encoder.project.weight[0] *= 1e-4
    tiny_model.encoder.project.bias[0] = 0
    before = tiny_model.encode(batch[0]).flatten(0, 1)
    whiten(tiny_model, before, floor=1e-2)
    after = tiny_model.encode(batch[0]).flatten(0, 1)
    variance = torch.linalg.eigvalsh(torch.cov(after.T))
    assert variance.max() < 1.01
    assert variance.min() < 1e-3


@torch.no_grad()
@pytest.mark.parametrize("kind", [ConvEncoderConfig(4, (8, 16), grid=2), ViTEncoderConfig(8, 16, 1, 2, grid=2)])
def test_cells_share_one_map_and_the_forecast_stays_the_same(
    tiny_model: WorldModel, batch: tuple[Tensor, Tensor], kind: EncoderConfig
) -> None:
    model = WorldModel(replace(tiny_model.config, encoder=kind), interface=tiny_model.interface).eval()
    frames, actions = batch
    visible = (torch.arange(L) < 2).expand(CLIPS, L)
    before = model.encode(frames)
    forecast_before = model.predictor(before, visible, actions)
    inverse_before = model.inverse(before)

    whiten(model, before.flatten(0, 1), floor=1e-9)

    after = model.encode(frames)
    cells = after.unflatten(-1, (4, 2))
    flat = cells.flatten(0, 2).double()
    torch.testing.assert_close(torch.cov(flat.T), torch.eye(2, dtype=torch.float64), rtol=0, atol=1e-2)

    def with_one(x: Tensor) -> Tensor:
        return torch.cat([x.double(), torch.ones(*x.shape[:-1], 1, dtype=torch.float64)], -1)

    back = torch.linalg.lstsq(with_one(flat), before.unflatten(-1, (4, 2)).flatten(0, 2).double()).solution
    forecast_after = with_one(model.predictor(after, visible, actions).unflatten(-1, (4, 2))) @ back
    torch.testing.assert_close(forecast_after.flatten(-2), forecast_before.double(), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(model.inverse(after), inverse_before, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_weighed_by_certainty_errors_are_alike_in_every_direction(
    tiny_model: WorldModel, batch: tuple[Tensor, Tensor]
) -> None:
    frames, actions = batch
    visible = (torch.arange(L) < 2).expand(CLIPS, L)
    before = tiny_model.encode(frames)
    whiten(tiny_model, before.flatten(0, 1), floor=1e-9)
    before = tiny_model.encode(frames)
    errors = (tiny_model.predictor(before, visible, actions) - before)[:, 2:].flatten(0, 1)
    spread = torch.linalg.eigvalsh(errors.T @ errors / len(errors))
    assert spread.max() > 2 * spread.min()
    inverse_before = tiny_model.inverse(before)

    weigh_by_certainty(tiny_model, before.flatten(0, 1), errors, floor=1e-9)

    after = tiny_model.encode(frames)
    errors = (tiny_model.predictor(after, visible, actions) - after)[:, 2:].flatten(0, 1)
    spread = torch.linalg.eigvalsh(errors.T @ errors / len(errors))
    assert spread.max() < 1.02 * spread.min()
    variance = [(x - x.mean(0)).square().mean() for x in (after.flatten(0, 1), before.flatten(0, 1))]
    torch.testing.assert_close(*variance, rtol=1e-3, atol=1e-3)  # latents are as large as before
    torch.testing.assert_close(tiny_model.inverse(after), inverse_before, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_cells_of_one_number_are_whitened_too(tiny_model: WorldModel, batch: tuple[Tensor, Tensor]) -> None:
    kind = ConvEncoderConfig(4, (8, 16), grid=2)
    config = replace(tiny_model.config, latent=4, encoder=kind)
    model = WorldModel(config, interface=tiny_model.interface).eval()
    latents = model.encode(batch[0]).flatten(0, 1)
    whiten(model, latents, floor=1e-9)
    cells = model.encode(batch[0]).double()
    assert cells.var() == pytest.approx(1, abs=1e-2)
    assert cells.mean() == pytest.approx(0, abs=1e-2)
