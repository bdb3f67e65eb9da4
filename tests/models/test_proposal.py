"""Plans are proposed within the bounds, and lead as far as the goal."""

from __future__ import annotations

import pytest
import torch

from worldmodel.models.world_model import WorldModel


@torch.no_grad()
@pytest.mark.parametrize(("horizon", "hold"), [(2, 2), (3, 1), (5, 2)])
def test_proposals_are_within_the_bounds_and_end_at_the_goal(tiny_model: WorldModel, horizon: int, hold: int) -> None:
    before, now, goal = 10 * torch.randn(3, 4, 8, generator=torch.Generator().manual_seed(0))
    plans = tiny_model.propose(before, now, goal, horizon=horizon, hold=hold)
    known, steps = min(horizon, 3), 2 // hold
    assert plans.shape == (4, 2 * known, horizon, steps, 2)
    assert (plans >= tiny_model.low).all()
    assert (plans <= tiny_model.high).all()
    middle = ((tiny_model.low + tiny_model.high) / 2).expand(4, steps, 2)
    for ahead, alternatives in enumerate(plans.split(2, 1)):
        for plan in alternatives.unbind(1):
            assert torch.equal(plan[:, ahead + 1 :], middle[:, None].expand(-1, horizon - ahead - 1, -1, -1))
            assert not torch.equal(plan[:, ahead], middle)


@torch.no_grad()
def test_a_held_action_is_the_mean_of_those_it_stands_for(tiny_model: WorldModel) -> None:
    latents = torch.randn(3, 4, 8, generator=torch.Generator().manual_seed(0))
    each, held = (tiny_model.propose(*latents, horizon=3, hold=hold) for hold in (1, 2))
    torch.testing.assert_close(held, each.mean(3, keepdim=True))


@torch.no_grad()
def test_steps_are_told_for_latents_of_any_shape(tiny_model: WorldModel) -> None:
    now, goal = torch.randn(2, 4, 5, 8, generator=torch.Generator().manual_seed(0))
    steps = tiny_model.steps_between(now, goal)
    assert steps.shape == (4, 5)
    assert (steps >= 0).all()
