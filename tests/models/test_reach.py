"""How much action lies between two latents: what the linear map finds."""

from __future__ import annotations

import torch

from worldmodel.models.basis import whiten
from worldmodel.models.reach import fit_reach
from worldmodel.models.world_model import WorldModel


def test_what_actions_move_is_found_among_what_moves_by_itself() -> None:
    generator = torch.Generator().manual_seed(0)
    actions = torch.rand(2000, 2, generator=generator) * 2 - 1
    steps = 5 * torch.randn(2000, 6, generator=generator)  # of things that nobody pushed
    steps[:, 1], steps[:, 4] = 0.2 * actions[:, 0], -0.5 * actions[:, 1]
    reach = fit_reach(steps, actions)
    expected = torch.zeros(2, 6)
    expected[0, 1], expected[1, 4] = 1 / 0.2, -1 / 0.5
    torch.testing.assert_close(reach, expected, rtol=0.1, atol=0.05)


def test_actions_that_explain_nothing_weigh_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    steps, actions = torch.randn(4000, 6, generator=generator), torch.randn(4000, 1, generator=generator)
    assert fit_reach(steps, actions).abs().max() < 1e-3


def test_recordings_without_actions_and_actuators_that_rest() -> None:
    steps = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    assert fit_reach(steps, torch.zeros(50, 0)).shape == (0, 6)
    assert not fit_reach(steps, torch.zeros(50, 2)).any()


@torch.no_grad()
def test_another_basis_does_not_change_the_actions(tiny_model: WorldModel) -> None:
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (60, 32, 32, 3), dtype=torch.uint8, generator=generator)
    tiny_model.reach.copy_(torch.randn(tiny_model.reach.shape, generator=generator))
    before = tiny_model.encode(frames)
    actions = tiny_model.actions_between(before[:30], before[30:])
    whiten(tiny_model, before, floor=1e-9)
    after = tiny_model.encode(frames)
    torch.testing.assert_close(tiny_model.actions_between(after[:30], after[30:]), actions, rtol=1e-3, atol=1e-3)
