"""Presets are as large as they say, and work."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from worldmodel.errors import WorldModelError
from worldmodel.models.interface import Interface
from worldmodel.models.presets import PRESETS, preset
from worldmodel.models.vit import ViTEncoderConfig
from worldmodel.models.world_model import WorldModel


def model_of(name: str, size: int) -> WorldModel:
    config = preset(name)
    if size == 224 and isinstance(config.encoder, ViTEncoderConfig):
        config = replace(config, encoder=replace(config.encoder, patch=16))
    interface = Interface("world", ("",), size, size, "fast", 5, 0.02, (-1.0, -1.0), (1.0, 1.0))
    return WorldModel(config, interface=interface).eval()


@pytest.mark.parametrize(
    ("name", "parts", "millions"),
    [
        ("tiny", ("encoder", "predictor", "inverse", "proposer", "distance", "decoder", "reward", "disagreement"), 3),
        ("small", ("encoder",), 5),
        ("small", ("predictor",), 11),
        ("base", ("encoder",), 85),
        ("base", ("predictor",), 19),
    ],
)
def test_they_have_as_many_parameters_as_they_say(name: str, parts: tuple[str, ...], millions: int) -> None:
    with torch.device("meta"):
        model = model_of(name, 64)
    count = sum(p.numel() for part in parts for p in model.get_submodule(part).parameters())
    assert round(count / 1e6) == millions


@torch.no_grad()
@pytest.mark.parametrize(("name", "size"), [("tiny", 64), ("small", 64), ("small", 224), ("base", 64), ("base", 224)])
def test_they_forecast_from_frames(name: str, size: int) -> None:
    model = model_of(name, size)
    frames = torch.randint(0, 256, (1, 1, size, size, 3), dtype=torch.uint8)
    latents = model.encode(frames)
    assert latents.shape == (1, 1, PRESETS[name].latent)
    state = model.remember(latents, torch.zeros(1, 0, 5, 2))
    imagined = model.imagine(state, torch.rand(1, 2, 3, 5, 2))
    assert imagined.shape == (1, 2, 3, PRESETS[name].latent)
    assert torch.isfinite(imagined).all()


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(WorldModelError, match=r"'smal'.*'small'.*base, small, tiny"):
        preset("smal")
