"""The cross-entropy method on problems whose answers are known."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from worldmodel.errors import WorldModelError
from worldmodel.planning.cem import CEMConfig, CEMPlanner, Plan
from worldmodel.planning.cost import GoalCost, GoalCostConfig

LOW, HIGH, STEPS = torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 5.0]), 2
CONFIG = CEMConfig(horizon=3, candidates=200, rounds=25, elites=20, least_spread=0.01)


def as_latents(actions: Tensor) -> Tensor:
    return actions.flatten(3)


def quadratic(target: Tensor) -> Callable[[Tensor], Tensor]:
    """The squared distance of every action to `target [..., A]`, each in its own unit's range."""
    scale = (HIGH - LOW).repeat(STEPS)
    return lambda latents: ((latents - target.repeat(STEPS)) / scale).square().sum((-1, -2))


def search(
    cost: Callable[[Tensor], Tensor], config: CEMConfig = CONFIG, *, starts: int = 1, seed: int = 0, **more: Tensor
) -> Plan:
    planner = CEMPlanner(config, low=LOW, high=HIGH, steps=STEPS)
    return planner.plan(as_latents, cost, starts=starts, generator=torch.Generator().manual_seed(seed), **more)


def test_it_finds_the_minimum_of_a_quadratic() -> None:
    target = torch.tensor([0.4, 3.5])
    plan = search(quadratic(target), starts=3)
    assert plan.actions.shape == (3, 3, STEPS, 2)
    assert plan.cost.shape == (3,)
    assert plan.best_by_round.shape == (25, 3)
    assert ((plan.actions - target).abs() / (HIGH - LOW)).max() < 0.05
    assert plan.cost.max() < 0.01
    torch.testing.assert_close(plan.cost, quadratic(target)(as_latents(plan.actions[:, None]))[:, 0])


def test_every_start_has_its_own_minimum() -> None:
    targets = torch.tensor([[-0.8, 1.0], [0.8, 4.0]])
    goals = targets.repeat(1, STEPS)

    def cost(latents: Tensor) -> Tensor:
        return (latents - goals[:, None, None]).square().sum((-1, -2))

    plan = search(cost, starts=2)
    assert (plan.actions.mean((1, 2)) - targets).abs().max() < 0.2


@pytest.mark.parametrize("target", [torch.tensor([3.0, 9.0]), torch.tensor([-3.0, -9.0])])
def test_an_optimum_outside_is_met_on_the_bound_and_no_candidate_leaves(target: Tensor) -> None:
    seen = []

    def cost(latents: Tensor) -> Tensor:
        seen.append(latents)
        return quadratic(target)(latents)

    plan = search(cost)
    bound = HIGH if target[0] > 0 else LOW
    assert ((plan.actions - bound).abs() / (HIGH - LOW)).max() < 0.02
    tried = torch.stack(seen)
    assert tried.shape == (25, 1, 200, 3, 4)
    assert (tried >= LOW.repeat(STEPS)).all()
    assert (tried <= HIGH.repeat(STEPS)).all()


@pytest.mark.parametrize("candidates", [1, 2, 3, 30])
def test_the_predicted_cost_never_rises(candidates: int) -> None:
    def rugged(latents: Tensor) -> Tensor:
        return torch.sin(40 * latents).sum((-1, -2))

    config = CEMConfig(horizon=3, candidates=candidates, rounds=15, elites=max(1, candidates // 4))
    plan = search(rugged, config, starts=4)
    assert (plan.best_by_round.diff(dim=0) <= 1e-5).all()
    assert torch.equal(plan.best_by_round[-1], plan.cost)


def test_the_generator_decides() -> None:
    cost = quadratic(torch.tensor([0.4, 3.5]))
    config = CEMConfig(horizon=3, candidates=20, rounds=2, elites=5)
    one, same, other = (search(cost, config, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.actions, same.actions)
    assert not torch.equal(one.actions, other.actions)


def test_a_good_beginning_is_never_made_worse() -> None:
    target = torch.tensor([0.4, 3.5])
    warm = target.expand(1, 3, STEPS, 2)
    plan = search(quadratic(target), CEMConfig(horizon=3, candidates=10, rounds=2, elites=3), warm=warm)
    assert torch.equal(plan.actions, warm)
    assert plan.cost.item() == 0


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), -float("inf")])
def test_a_cost_that_is_not_finite_is_an_error_that_says_where(poison: float) -> None:
    rounds = []

    def cost(latents: Tensor) -> Tensor:
        rounds.append(1)
        costs = quadratic(torch.zeros(2))(latents)
        if len(rounds) == 3:
            costs[1, 17] = poison
        return costs

    with pytest.raises(WorldModelError, match=r"Round 2, start 1: candidate 17 has cost"):
        search(cost, starts=2)


@pytest.mark.parametrize("values", [{"elites": 0}, {"elites": 301}, {"horizon": 0}, {"rounds": 0}])
def test_impossible_searches_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(WorldModelError, match=next(iter(values))):
        CEMConfig(**values)  # type: ignore[arg-type]


def test_the_cost_of_a_plan() -> None:
    goal = torch.tensor([[1.0, 1.0]])
    latents = torch.tensor([[[[1.0, 1.0], [1.0, 3.0]], [[1.0, 3.0], [1.0, 1.0]]]])  # distances (0, 2) and (2, 0)
    assert GoalCost(GoalCostConfig(last=3.0), goal=goal)(latents).tolist() == [[1 + 3 * 2, 1]]
