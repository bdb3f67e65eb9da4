"""The dream is the model's forecast: in one pass while it can, from its own frames beyond."""

from __future__ import annotations

import pytest
import torch

from worldmodel.errors import WorldModelError
from worldmodel.models.world_model import WorldModel
from worldmodel.training.device import Compute
from worldmodel.viewing.dream import Dream


@pytest.fixture
def seen() -> tuple[torch.Tensor, torch.Tensor]:
    """Latents of six frames and blocks of eleven, within the actuators' bounds."""
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(6, 8, generator=generator)
    return latents, torch.rand(11, 2, 2, generator=generator) * torch.tensor([2.0, 4.0]) - torch.tensor([1.0, 0.0])


def test_it_forecasts_as_in_training_and_then_from_its_own_frames(
    tiny_model: WorldModel, cpu: Compute, seen: tuple[torch.Tensor, torch.Tensor]
) -> None:
    latents, blocks = seen
    dream = Dream(model=tiny_model, compute=cpu, visible=2)
    dream.look(list(latents[:4]), list(blocks[:3]))
    assert torch.equal(dream.latent, latents[3])
    dreamt = torch.stack([dream.advance(block) for block in blocks[3:10]])

    def forecast(visible: torch.Tensor, between: torch.Tensor, plan: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return tiny_model.imagine(tiny_model.remember(visible[None], between[None]), plan[None, None])[0, 0]

    # Five positions: two are seen, three forecast at once; then the last two of them are taken for seen.
    assert torch.allclose(dreamt[:3], forecast(latents[2:4], blocks[2:3], blocks[3:6]), atol=1e-5)
    assert torch.allclose(dreamt[3:6], forecast(dreamt[1:3], blocks[5:6], blocks[6:9]), atol=1e-5)
    assert torch.allclose(dreamt[6:], forecast(dreamt[4:6], blocks[8:9], blocks[9:10]), atol=1e-5)


def test_a_look_ends_the_dream(tiny_model: WorldModel, cpu: Compute, seen: tuple[torch.Tensor, torch.Tensor]) -> None:
    latents, blocks = seen
    one, other = (Dream(model=tiny_model, compute=cpu, visible=2) for _ in range(2))
    one.look([latents[0]], [])
    for block in blocks[:7]:
        one.advance(block)
    for dream in (one, other):
        dream.look([latents[5]], [])
    assert torch.equal(one.advance(blocks[0]), other.advance(blocks[0]))
    with pytest.raises(WorldModelError, match="2 frames and 0 blocks"):
        one.look(list(latents[:2]), [])
