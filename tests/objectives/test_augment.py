"""Augmentations: what they change, and by how much."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from worldmodel.objectives.augment import AugmentConfig, augment, shift
from worldmodel.objectives.draws import Draws

NOTHING = {"shift": 0, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0, "grey": 0.0}


@pytest.fixture
def frames() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(60, 180, (70, 16, 24, 3), dtype=torch.uint8, generator=generator)


def draws(rank: int = 0, ranks: int = 1) -> Draws:
    return Draws(torch.Generator().manual_seed(1), rank=rank, ranks=ranks)


def only(**changes: float) -> AugmentConfig:
    return AugmentConfig(**(NOTHING | changes))  # type: ignore[arg-type]


def test_no_change_changes_nothing(frames: Tensor) -> None:
    assert torch.equal(augment(frames, only(), draws()), frames)
    almost = augment(frames, only(brightness=1e-9), draws())  # through the colours
    assert torch.equal(almost, frames)


def test_shifts_repeat_the_border(frames: Tensor) -> None:
    by = torch.tensor([[0, 0], [2, -1], [-2, 2]])
    padded = F.pad(frames[:3].permute(0, 3, 1, 2).float(), (2, 2, 2, 2), mode="replicate")
    for moved, source, (down, right) in zip(shift(frames[:3], by, 1), padded, by.tolist(), strict=True):
        expected = source[:, 2 - down : 18 - down, 2 - right : 26 - right].permute(1, 2, 0)
        assert torch.equal(moved.float(), expected)
    side_by_side = torch.cat([frames[:3], frames[3:6]], 2)
    each = torch.cat([shift(frames[:3], by, 1), shift(frames[3:6], by, 1)], 2)
    assert torch.equal(shift(side_by_side, by, 2), each)  # nothing comes over from another camera's view


def test_every_shift_is_drawn(frames: Tensor) -> None:
    dot = torch.zeros_like(frames).repeat(4, 1, 1, 1)
    dot[:, 8, 12] = 255
    moved = augment(dot, only(shift=1), draws())
    places = {tuple(frame[..., 0].nonzero()[0].tolist()) for frame in moved}
    assert places == {(y, x) for y in (7, 8, 9) for x in (11, 12, 13)}


def test_brightness_scales_a_frame(frames: Tensor) -> None:
    ratio = augment(frames, only(brightness=0.3), draws()).float() / frames
    scale = ratio.mean((1, 2, 3))
    torch.testing.assert_close(ratio, scale.view(-1, 1, 1, 1).expand_as(ratio), atol=0.02, rtol=0)
    assert scale.min() < 0.8
    assert scale.max() > 1.2


def test_contrast_keeps_the_mean(frames: Tensor) -> None:
    flat = frames.new_full((40, 16, 24, 3), 100)
    flat[:, ::2, :, :] = 140  # rows 0, 4, 8 … are what the mean is taken from: all bright
    changed = augment(flat, only(contrast=0.5), draws()).float()
    assert (changed[:, ::2] == 140).all()
    spread = 140 - changed[:, 1, 0, 0]
    assert spread.min() < 30
    assert spread.max() > 50


def test_grey_frames_have_no_colour(frames: Tensor) -> None:
    grey = augment(frames, only(grey=1.0), draws())
    assert (grey == grey[..., :1]).all()
    luma = frames.float() @ torch.tensor([0.299, 0.587, 0.114])
    assert (grey[..., 0] - luma).abs().max() <= 0.51
    share = (augment(frames, only(grey=0.5), draws()).flatten(1) != frames.flatten(1)).any(1).float().mean()
    assert 0.3 < share < 0.7


def test_hue_keeps_the_sum_of_the_channels_and_greys(frames: Tensor) -> None:
    changed = augment(frames, only(hue=0.1), draws())
    assert (changed != frames).any()
    assert (changed.float().sum(-1) - frames.float().sum(-1)).abs().max() <= 2
    grey = frames[..., :1].expand_as(frames)
    assert torch.equal(augment(grey, only(hue=0.5), draws()), grey)
    third = torch.tensor([[[[200, 50, 20]]]], dtype=torch.uint8).expand(60, 16, 16, 3)
    nearest = augment(third, only(hue=0.5), draws())[:, 0, 0].float() - torch.tensor([20.0, 200.0, 50.0])
    assert nearest.norm(dim=1).min() < 15  # one of 60 turns is about a third: red becomes green


def test_frames_change_each_in_its_way_whoever_has_them(frames: Tensor) -> None:
    config = AugmentConfig()
    whole = augment(frames, config, draws())
    halves = [augment(half, config, draws(rank, 2)) for rank, half in enumerate(frames.chunk(2))]
    assert torch.equal(whole, torch.cat(halves))
    same = augment(frames[:1].expand_as(frames), config, draws())
    assert len({frame.numpy().tobytes() for frame in same}) > 60
