"""A watched search finds what an unwatched one finds, and shows each round as it was."""

from __future__ import annotations

import torch

from worldmodel.models.world_model import WorldModel
from worldmodel.planning.cem import CEMConfig
from worldmodel.planning.policy import PlanningConfig, PlanningPolicy
from worldmodel.training.device import Compute
from worldmodel.viewing.search import Round, Search

CONFIG = PlanningConfig(horizon=3, history=2, cem=CEMConfig(candidates=20, rounds=4, elites=5))


def test_the_search_is_the_planners_own(tiny_model: WorldModel, cpu: Compute) -> None:
    frames = torch.randint(0, 256, (3, 1, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    policy = PlanningPolicy(CONFIG, model=tiny_model, compute=cpu, seed=3)
    policy.reset(frames[2])
    with torch.no_grad():
        goal, start, later = (tiny_model.encode(frames[n])[0] for n in (2, 0, 1))
    search = Search(CONFIG, model=tiny_model, compute=cpu, goal=goal, seed=3)
    first = policy(frames[0])
    found = search(start[None], torch.zeros(0, 2, 2))
    assert torch.equal(found.blocks[0], first.actions[0])
    assert torch.allclose(found.latents, first.imagined[0], atol=1e-6)
    second = policy(frames[1])
    again = search(torch.stack([start, later]), first.actions)
    assert torch.equal(again.blocks[0], second.actions[0])


def test_each_round_is_shown(tiny_model: WorldModel, cpu: Compute) -> None:
    search = Search(CONFIG, model=tiny_model, compute=cpu, goal=torch.zeros(8))
    rounds: list[Round] = []
    found = search(torch.ones(1, 8), torch.zeros(0, 2, 2), rounds.append)
    assert len(rounds) == 4
    for tried in rounds:
        assert tried.actions.shape == (20, 3, 1, 2)
        assert tried.latents.shape == (20, 3, 8)
        assert torch.equal(tried.cost[tried.elites], tried.cost.sort().values[:5])
    assert rounds[-1].actions.std(0).mean() < rounds[0].actions.std(0).mean()
    assert found.cost == rounds[-1].cost.min()
