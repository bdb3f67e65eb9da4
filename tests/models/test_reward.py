"""What blocks earn, told from latents."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from worldmodel.models.reward import RewardConfig, RewardHead, rewards_vary
from worldmodel.models.world_model import WorldModel


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_it_learns_a_reward_of_any_scale_that_depends_on_position_speed_and_action(unit: float) -> None:
    generator = torch.Generator().manual_seed(0)
    before, now, after, block = (torch.randn(900, size, generator=generator) for size in (3, 3, 3, 2))
    reward = unit * (100 + after[:, 0] + (after - now)[:, 1] + (now - before)[:, 2] - block[:, 0] ** 2).double()
    torch.manual_seed(0)
    head = RewardHead(RewardConfig(width=32), latent=3, action=2)
    assert not head.known
    head.fit(reward)
    assert head.known
    right = head.standardise(reward)
    assert right.mean().abs() < 1e-3
    assert right.std(correction=0).item() == pytest.approx(1, abs=1e-3)
    adam = torch.optim.Adam(head.parameters(), lr=1e-2)
    for _ in range(300):
        loss = F.mse_loss(head(*(x[:800] for x in (before, now, after, block))), right[:800])
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
    with torch.no_grad():
        assert F.mse_loss(head(*(x[800:] for x in (before, now, after, block))), right[800:]) < 0.05


@pytest.mark.parametrize(
    ("rewards", "vary"),
    [([], False), ([0.0, 0.0], False), ([3.0], False), ([0.1 + 0.2, 0.3], False), ([0.0, 1e-9], True), ([5, 6], True)],
)
def test_what_counts_as_a_reward(rewards: list[float], vary: bool) -> None:
    told = torch.tensor(rewards, dtype=torch.float64)
    assert rewards_vary(told) == vary
    head = RewardHead(RewardConfig(width=2), latent=1, action=1)
    head.fit(told)
    assert head.known == vary


def test_plans_are_rewarded_block_by_block(tiny_model: WorldModel) -> None:
    before, now, after = torch.randn(3, 2, 4, 3, 8)
    actions = torch.rand(2, 4, 3, 2, 2)
    with torch.no_grad():
        rewards = tiny_model.reward_of(before, now, after, actions)
        one = tiny_model.reward_of(*(x[1, 2, 0] for x in (before, now, after, actions)))
    assert rewards.shape == (2, 4, 3)
    torch.testing.assert_close(rewards[1, 2, 0], one)
