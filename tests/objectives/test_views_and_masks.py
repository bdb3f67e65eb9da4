"""What objectives show the encoder: pairs of views, hidden patches, turned frames."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from worldmodel.errors import WorldModelError
from worldmodel.models.world_model import WorldModel
from worldmodel.objectives.draws import Draws
from worldmodel.objectives.mae import VideoMAE, VideoMAEConfig
from worldmodel.objectives.masking import PatchConfig, Patches, normalised
from worldmodel.objectives.objective import ClipTensors
from worldmodel.objectives.rotation import Rotation, RotationConfig, turned
from worldmodel.objectives.views import ViewsConfig, two_views


def draws() -> Draws:
    return Draws(torch.Generator().manual_seed(0))


def numbered(clips: int, length: int) -> Tensor:
    """Return clips of 16 by 16 pixels whose red is their clip and whose green is their frame."""
    frames = torch.zeros(clips, length, 16, 16, 3, dtype=torch.uint8)
    frames[..., 0] = torch.arange(clips).view(-1, 1, 1, 1)
    frames[..., 1] = torch.arange(length).view(1, -1, 1, 1)
    return frames


def test_near_frames_are_near_and_of_one_clip() -> None:
    config = ViewsConfig(positives="time", near=2)
    one, other = two_views(numbered(200, 6), config, draws(), cameras=1)[:, :, 0, 0].long()
    assert torch.equal(one[:, 0], torch.arange(200))
    assert torch.equal(other[:, 0], one[:, 0])
    apart = other[:, 1] - one[:, 1]
    assert set(apart.tolist()) == {-2, -1, 1, 2}
    assert set(one[:, 1].tolist()) == set(range(6))


def test_augmented_views_are_of_the_same_frame_and_differ() -> None:
    frames = numbered(20, 3) * 10
    one, other = two_views(frames, ViewsConfig(), draws(), cameras=1)
    assert one.shape == other.shape == (60, 16, 16, 3)
    assert (one != other).flatten(1).any(1).float().mean() > 0.9


def frames_and_masks(config: PatchConfig) -> tuple[Patches, Tensor, Tensor]:
    frames = torch.randint(0, 256, (5, 32, 48, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    patches = Patches(config, height=32, width=48)
    return patches, frames, patches.draw(5, draws())


def test_hidden_patches_tell_nothing() -> None:
    patches, frames, masks = frames_and_masks(PatchConfig(hidden=0.75))
    assert masks.shape == (5, 24)
    assert (masks.sum(1) == 18).all()
    pixels = masks.view(5, 4, 6).repeat_interleave(8, 1).repeat_interleave(8, 2)
    shown = patches.hide(frames, masks)
    assert torch.equal(shown[~pixels], frames[~pixels])
    other = torch.where(pixels[..., None], 255 - frames, frames)
    assert torch.equal(patches.hide(other, masks), shown)
    mean = frames[0][~pixels[0]].float().mean(0)
    assert (shown[0][pixels[0]] - mean).abs().max() <= 0.51


def test_the_error_is_of_the_hidden_patches_alone() -> None:
    patches, frames, masks = frames_and_masks(PatchConfig(floor=1e-3))
    target = patches.join(normalised(patches.cut(frames).float() / 127.5 - 1, 1e-3)).permute(0, 3, 1, 2)
    assert patches.error(target, frames, masks) < 1e-10
    assert patches.error(torch.zeros_like(target), frames, masks).item() == pytest.approx(1, abs=1e-3)
    pixels = masks.view(5, 4, 6).repeat_interleave(8, 1).repeat_interleave(8, 2)[:, None]
    assert patches.error(torch.where(pixels, target, 9), frames, masks) < 1e-10
    assert patches.error(target + 2 * pixels, frames, masks).item() == pytest.approx(4, rel=1e-4)


def test_flat_patches_count_little() -> None:
    patches = Patches(PatchConfig(), height=32, width=32)
    wall = torch.full((1, 32, 32, 3), 100, dtype=torch.uint8)
    wall[:, ::2] += 1  # a level of noise
    error = patches.error(torch.zeros(1, 3, 32, 32), wall, patches.draw(1, draws()))
    assert error < 0.05


def test_tubes_hide_the_same_patches_in_all_frames(tiny_model: WorldModel, clips: ClipTensors) -> None:
    seen: list[Tensor] = []
    tiny_model.encoder.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    still = replace(clips, frames=clips.frames[:, :1].expand_as(clips.frames))
    VideoMAE(VideoMAEConfig(), model=tiny_model)(tiny_model, still, draws())
    frames = seen[0].view_as(still.frames)
    assert (frames == frames[:, :1]).all()
    assert (frames != still.frames).flatten(1).any(1).all()


def test_turns_are_counter_clockwise() -> None:
    frame = torch.arange(16 * 3, dtype=torch.uint8).view(1, 4, 4, 3)
    for turn, result in enumerate(turned(frame.expand(4, 4, 4, 3), torch.arange(4))):
        assert torch.equal(result, torch.rot90(frame[0], turn, (0, 1)))
    assert torch.equal(turned(frame, torch.tensor([1]))[0, 0, 0], frame[0, 0, 3])  # the right edge comes to the top


def test_only_square_frames_can_be_turned(tiny_model: WorldModel) -> None:
    tiny_model.interface = replace(tiny_model.interface, width=64)
    with pytest.raises(WorldModelError, match="32 x 64 pixels cannot be turned"):
        Rotation(RotationConfig(), model=tiny_model)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (PatchConfig(patch=12), "Patches of 12 pixels do not tile frames of 32 x 48"),
        (PatchConfig(hidden=0.01), "of 24 patches hides 0"),
        (PatchConfig(hidden=0.99), "of 24 patches hides 24"),
    ],
)
def test_patches_that_do_not_fit(config: PatchConfig, message: str) -> None:
    with pytest.raises(WorldModelError, match=message):
        Patches(config, height=32, width=48)
