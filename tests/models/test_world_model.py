"""What can be asked of a world model, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from worldmodel.errors import WorldModelError
from worldmodel.models.inverse import InverseDynamicsConfig
from worldmodel.models.world_model import WorldModel, WorldModelConfig

FRAMES = torch.randint(0, 256, (2, 3, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_every_frame_is_encoded_for_itself(tiny_model: WorldModel) -> None:
    latents = tiny_model.encode(FRAMES)
    assert latents.shape == (2, 3, 8)
    assert latents.dtype == torch.float32
    torch.testing.assert_close(tiny_model.encode(FRAMES[1, 2]), latents[1, 2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("frames", "named"),
    [
        (FRAMES.float(), "torch.float32"),
        (FRAMES[..., :16, :], r"\[2, 3, 32, 16, 3\]"),
        (FRAMES[..., :1], r"\[2, 3, 32, 32, 1\]"),
        (FRAMES.permute(0, 1, 4, 2, 3), r"\[2, 3, 3, 32, 32\]"),
    ],
)
def test_other_frames_are_refused(tiny_model: WorldModel, frames: torch.Tensor, named: str) -> None:
    with pytest.raises(WorldModelError, match=f"{named}.*32, 32, 3"):
        tiny_model.encode(frames)


@pytest.mark.parametrize("size", [-1, 0])
def test_a_size_of_nothing_is_refused(size: int) -> None:
    with pytest.raises(WorldModelError, match=f"latent is {size}; expected at least 1"):
        WorldModelConfig(latent=size)
    with pytest.raises(WorldModelError, match=f"width of the inverse dynamics is {size}; expected at least 1"):
        InverseDynamicsConfig(width=size)


def test_a_size_that_does_not_fit_the_encoder_is_refused(tiny_model: WorldModel) -> None:
    interface = replace(tiny_model.interface, height=48)
    with pytest.raises(WorldModelError, match=r"48 x 32 pixels.*multiples of 32"):
        WorldModel(tiny_model.config, interface=interface)


def test_actions_are_scaled_by_the_bounds(tiny_model: WorldModel) -> None:
    low, middle, high = tiny_model.low, torch.tensor([0.0, 2.0]), tiny_model.high
    blocks = torch.stack([torch.stack([low, high]), torch.stack([middle, middle])])
    assert tiny_model.flatten_actions(blocks).tolist() == [[-1, -1, 1, 1], [0, 0, 0, 0]]


@torch.no_grad()
def test_pictures_have_the_size_of_frames(tiny_model: WorldModel) -> None:
    pictures = tiny_model.picture(tiny_model.encode(FRAMES))
    assert pictures.shape == FRAMES.shape
    assert pictures.dtype == torch.uint8


@torch.no_grad()
def test_imagining_takes_plans_in_the_actuators_units(tiny_model: WorldModel) -> None:
    actions = torch.rand(2, 2, 2, 2) * (tiny_model.high - tiny_model.low) + tiny_model.low
    state = tiny_model.remember(tiny_model.encode(FRAMES), actions)
    plans = torch.rand(2, 6, 2, 2, 2)
    imagined = tiny_model.imagine(state, plans)
    assert imagined.shape == (2, 6, 2, 8)
    state = tiny_model.predictor.remember(tiny_model.encode(FRAMES), tiny_model.flatten_actions(actions))
    torch.testing.assert_close(imagined, tiny_model.predictor.imagine(state, tiny_model.flatten_actions(plans)))
