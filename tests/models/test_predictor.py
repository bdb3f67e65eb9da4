"""The predictor sees the past, and only the past."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from worldmodel.errors import WorldModelError
from worldmodel.models.predictor import Predictor, PredictorConfig

B, L, C, D, U = 3, 6, 2, 4, 5


@pytest.fixture
def predictor() -> Predictor:
    torch.manual_seed(0)
    predictor = Predictor(PredictorConfig(token=16, width=16, hidden=32, positions=L), latent=D, action=U).eval()
    for parameter in predictor.parameters():  # tokens start near zero: make everything matter
        torch.nn.init.normal_(parameter, std=0.5)
    return predictor


@pytest.fixture
def clip() -> tuple[Tensor, Tensor, Tensor]:
    """Latents, visible, actions."""
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(B, L, D, generator=generator)
    actions = torch.rand(B, L - 1, U, generator=generator) * 2 - 1
    return latents, (torch.arange(L) < C).expand(B, L), actions


@torch.no_grad()
@pytest.mark.parametrize("block", range(L - 1))
def test_an_action_changes_what_comes_after_it_and_nothing_else(
    predictor: Predictor, clip: tuple[Tensor, Tensor, Tensor], block: int
) -> None:
    latents, visible, actions = clip
    before = predictor(latents, visible, actions)
    changed = actions.clone()
    changed[:, block] += 1
    after = predictor(latents, visible, changed)
    torch.testing.assert_close(after[:, : block + 1], before[:, : block + 1])
    moved = (after - before).abs().amax((0, 2))[block + 1 :]
    assert (moved > 1e-4).all()


@torch.no_grad()
def test_masked_latents_are_not_looked_at_and_visible_ones_are(
    predictor: Predictor, clip: tuple[Tensor, Tensor, Tensor]
) -> None:
    latents, visible, actions = clip
    before = predictor(latents, visible, actions)
    hidden = latents.clone()
    hidden[:, C:] = 1e3
    torch.testing.assert_close(predictor(hidden, visible, actions), before, rtol=0, atol=0)
    changed = latents.clone()
    changed[:, 0] += 1
    assert ((predictor(changed, visible, actions) - before).abs().amax((0, 2)) > 1e-4).all()


@torch.no_grad()
@pytest.mark.parametrize("visible", [1, 2, 4])
def test_remembering_then_imagining_is_forecasting(predictor: Predictor, visible: int) -> None:
    generator = torch.Generator().manual_seed(2)
    plans, masked = 4, L - visible
    latents = torch.randn(B, visible, D, generator=generator)
    past = torch.randn(B, visible - 1, U, generator=generator)
    future = torch.randn(B, plans, masked, U, generator=generator)
    imagined = predictor.imagine(predictor.remember(latents, past), future)
    assert imagined.shape == (B, plans, masked, D)
    padded = torch.cat([latents, torch.zeros(B, masked, D)], 1)
    seen = (torch.arange(L) < visible).expand(B, L)
    for plan in range(plans):
        whole = predictor(padded, seen, torch.cat([past, future[:, plan]], 1))
        torch.testing.assert_close(imagined[:, plan], whole[:, visible:])


def test_a_clip_that_is_too_long_is_refused(predictor: Predictor) -> None:
    long = torch.zeros(1, L + 1, D), torch.ones(1, L + 1, dtype=torch.bool), torch.zeros(1, L, U)
    with pytest.raises(WorldModelError, match=f"{L + 1} frames.*{L} positions"):
        predictor(*long)
    state = predictor.remember(torch.zeros(1, 2, D), torch.zeros(1, 1, U))
    with pytest.raises(WorldModelError, match=f"{L + 1} frames.*{L} positions"):
        predictor.imagine(state, torch.zeros(1, 1, L, U))


@torch.no_grad()
def test_a_clip_without_actions_ignores_them(predictor: Predictor, clip: tuple[Tensor, Tensor, Tensor]) -> None:
    latents, visible, actions = clip
    acted = torch.tensor([True, False, True])
    one, other = (predictor(latents, visible, a, acted) for a in (actions, -actions))
    torch.testing.assert_close(one[1], other[1], rtol=0, atol=0)
    assert (one[0] - other[0]).abs().max() > 1e-4
    torch.testing.assert_close(predictor(latents, visible, actions, acted)[0], predictor(latents, visible, actions)[0])


def test_dropout_is_for_training_only(clip: tuple[Tensor, Tensor, Tensor]) -> None:
    config = PredictorConfig(token=16, width=16, hidden=32, positions=L, dropout=0.5)
    predictor = Predictor(config, latent=D, action=U)
    assert not torch.equal(predictor(*clip), predictor(*clip))
    predictor.eval()
    assert torch.equal(predictor(*clip), predictor(*clip))
