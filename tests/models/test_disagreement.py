"""An ensemble is of one mind where it has learned, and of several where it has not."""

from __future__ import annotations

import pytest
import torch

from worldmodel.models.disagreement import Disagreement, DisagreementConfig
from worldmodel.models.world_model import WorldModel
from worldmodel.training.guide import ensemble_error


def trained_ensemble() -> Disagreement:
    """Return an ensemble that has seen how a point is pushed about within a small square."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    ensemble = Disagreement(DisagreementConfig(heads=4, width=32), latent=2, action=2)
    assert not ensemble.known
    now, block = (torch.rand(500, 2, generator=generator) * 2 - 1 for _ in range(2))
    step = 0.3 * block * (1 + now)
    ensemble.fit(step)
    adam = torch.optim.Adam(ensemble.parameters(), lr=1e-2)
    for _ in range(300):
        loss = ensemble_error(ensemble, now, now, now + step, block)
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
    assert ensemble.known
    assert loss.item() < 0.02
    return ensemble


def test_it_disagrees_far_from_what_it_has_seen() -> None:
    ensemble = trained_ensemble()
    generator = torch.Generator().manual_seed(1)
    now, block = (torch.rand(200, 2, generator=generator) * 2 - 1 for _ in range(2))
    with torch.no_grad():
        near, far = (ensemble.variance(place, place, block) for place in (now, now + 6))
    assert near.shape == (200,)
    assert near.mean() < 0.02
    assert far.mean() > 20 * near.mean()


@torch.no_grad()
def test_the_variance_is_told_in_units_of_the_steps() -> None:
    ensemble = Disagreement(DisagreementConfig(heads=3, width=2), latent=1, action=0)
    ensemble.narrow.zero_()
    ensemble.fit(torch.tensor([[-5.0], [5.0]]))
    assert ensemble.scale.item() == pytest.approx(5)
    now, nothing = torch.zeros(4, 1), torch.zeros(4, 0)
    assert torch.equal(ensemble.variance(now, now, nothing), torch.zeros(4))
    told = torch.tensor([1.0, 2.0, 6.0])
    ensemble.widen.weight.zero_()
    ensemble.widen.bias.fill_(1.0)
    ensemble.narrow.copy_(told[:, None, None].expand(3, 2, 1))
    hidden = 2 * torch.nn.functional.gelu(torch.tensor(1.0), approximate="tanh")
    expected = (hidden * told).var().expand(4)
    torch.testing.assert_close(ensemble.variance(now, now, nothing), expected)


def test_heads_learn_apart_from_each_other() -> None:
    ensemble = Disagreement(DisagreementConfig(heads=3, width=4), latent=2, action=1)
    now, block = torch.randn(5, 2), torch.randn(5, 1)
    ensemble(now, now, block)[1].sum().backward()
    assert ensemble.narrow.grad is not None
    assert ensemble.widen.bias.grad is not None
    for touched in (ensemble.narrow.grad.abs().sum((1, 2)), ensemble.widen.bias.grad.view(3, 4).abs().sum(1)):
        assert (touched > 0).tolist() == [False, True, False]


@torch.no_grad()
def test_plans_are_judged_block_by_block(tiny_model: WorldModel) -> None:
    before, now, actions = torch.randn(2, 4, 3, 8), torch.randn(2, 4, 3, 8), torch.rand(2, 4, 3, 2, 2)
    doubt = tiny_model.disagreement_about(before, now, actions)
    assert doubt.shape == (2, 4, 3)
    one = tiny_model.disagreement_about(before[1, 2, 0], now[1, 2, 0], actions[1, 2, 0])
    torch.testing.assert_close(doubt[1, 2, 0], one)
