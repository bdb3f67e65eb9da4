"""What every encoder keeps to, and what is special to each."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from worldmodel.errors import WorldModelError
from worldmodel.models.conv import ConvEncoderConfig
from worldmodel.models.encoders import ENCODERS, EncoderConfig, make_encoder
from worldmodel.models.patches import cells, fold, squares, windows
from worldmodel.models.vit import ViTEncoderConfig

CONV = ConvEncoderConfig(patch=4, widths=(8, 16))
VIT = ViTEncoderConfig(patch=8, width=16, depth=2, heads=2)
CONFIGS = [
    pytest.param(config, id=str(config))
    for kind in (CONV, replace(CONV, overlap=False), VIT)
    for config in (kind, replace(kind, grid=1), replace(kind, grid=2))
]
LATENT = 12


def test_every_encoder_is_tried() -> None:
    assert {type(config) for parameters in CONFIGS for config in parameters.values} == set(ENCODERS.values())


def random_frames(height: int, width: int, count: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 32), (32, 64), (32, 96), (224, 224)])
def test_frames_become_latents_each_for_itself(config: EncoderConfig, height: int, width: int) -> None:
    encoder = make_encoder(config, height=height, width=width, latent=LATENT)
    frames = random_frames(height, width)
    latents = encoder(frames)
    assert latents.shape == (3, LATENT)
    assert latents.dtype == torch.float32
    assert latents.std(0).min() > 0
    torch.testing.assert_close(encoder(frames[1:2]), latents[1:2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("config", CONFIGS)
def test_floats_between_minus_one_and_one_are_the_same_as_bytes(config: EncoderConfig) -> None:
    encoder = make_encoder(config, height=32, width=32, latent=LATENT)
    frames = random_frames(32, 32)
    floats = (frames / 127.5 - 1).requires_grad_()
    before = floats.detach().clone()
    latents = encoder(floats)
    torch.testing.assert_close(latents, encoder(frames), rtol=1e-4, atol=1e-5)
    latents.square().sum().backward()
    assert floats.grad is not None
    assert floats.grad.abs().amax((0, 3)).min() > 0  # every pixel counts
    assert torch.equal(floats, before)


@pytest.mark.parametrize("config", CONFIGS)
def test_bfloat16_gives_nearly_the_same(config: EncoderConfig) -> None:
    torch.manual_seed(0)
    encoder = make_encoder(config, height=32, width=32, latent=LATENT)
    frames = random_frames(32, 32)
    exact = encoder(frames)
    with torch.autocast("cpu", torch.bfloat16):
        coarse = encoder(frames)
    assert coarse.dtype == torch.float32
    assert (coarse - exact).norm() < 0.03 * exact.norm()


@pytest.mark.parametrize("config", CONFIGS)
def test_every_parameter_learns(config: EncoderConfig) -> None:
    encoder = make_encoder(config, height=32, width=32, latent=LATENT)
    encoder(random_frames(32, 32)).square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("kind", [CONV, VIT])
def test_a_cell_of_a_grid_is_written_by_the_shared_layer_from_its_own_place(kind: EncoderConfig) -> None:
    encoder = make_encoder(replace(kind, grid=2), height=64, width=64, latent=LATENT)
    assert encoder.cells == 4
    assert encoder.project.out_features == LATENT // 4
    seen: list[torch.Tensor] = []
    encoder.project.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    latents = encoder(random_frames(64, 64))
    torch.testing.assert_close(encoder.project(seen[0]).flatten(1), latents)
    grid = torch.arange(16).view(1, 4, 4, 1)
    assert cells(grid, 2).flatten(2).tolist() == [[[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]]


@pytest.mark.parametrize("kind", [CONV, VIT])
def test_what_does_not_fit_is_refused(kind: EncoderConfig) -> None:
    with pytest.raises(WorldModelError, match=r"40 x 36 pixels.*multiples"):
        make_encoder(kind, height=40, width=36, latent=LATENT)
    with pytest.raises(WorldModelError, match=r"latent is 10.*4 cells.*such as 12"):
        make_encoder(replace(kind, grid=2), height=64, width=64, latent=10)
    with pytest.raises(WorldModelError, match="-1"):
        replace(kind, grid=-1)
    with pytest.raises(WorldModelError, match=r"heads is 3.*width \(16\)"):
        ViTEncoderConfig(width=16, heads=3)


def test_folding_keeps_every_pixel_in_its_place() -> None:
    frames = random_frames(8, 12)
    folded = fold(frames, 4, torch.float32)
    assert folded.shape == (3, 2, 3, 48)
    patch = folded[1, 1, 2].view(4, 4, 3)
    torch.testing.assert_close(patch, frames[1, 4:8, 8:12] / 127.5 - 1)


def test_a_linear_layer_on_windows_is_a_convolution() -> None:
    x = torch.randn(2, 8, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    weight = torch.randn(7, 5, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    ours = windows(x) @ weight.permute(2, 3, 1, 0).reshape(45, 7)
    expected = F.conv2d(x.permute(0, 3, 1, 2), weight, stride=2, padding=1).permute(0, 2, 3, 1)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(
        torch.autograd.grad(ours.square().sum(), x), torch.autograd.grad(expected.square().sum(), x)
    )


def test_a_linear_layer_on_squares_is_a_convolution() -> None:
    x = torch.randn(2, 8, 6, 5, generator=torch.Generator().manual_seed(0))
    weight = torch.randn(7, 5, 2, 2, generator=torch.Generator().manual_seed(1))
    expected = F.conv2d(x.permute(0, 3, 1, 2), weight, stride=2).permute(0, 2, 3, 1)
    torch.testing.assert_close(squares(x) @ weight.permute(2, 3, 1, 0).reshape(20, 7), expected, rtol=1e-4, atol=1e-4)
